/* stale.h: tells the kernel to drop an inode's pages after another mount has changed it. From a thread of its own that
 * holds no request: the kernel may make the notification wait for a page that a request of ours is about to fill.
 * Bounded: when too many are waiting, the oldest go unsaid; the next open asks anyway (close-to-open). Thread-safe. */
#pragma once

#include "fusefs/fusefs.h"
#include <stdint.h>

struct stale_queue;

struct stale_queue *stale_queue_new(struct fuse_session *session);
void stale_queue_push(struct stale_queue *q, uint64_t ino);
void stale_queue_free(struct stale_queue *q);
