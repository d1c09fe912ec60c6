/* invalidate.h: tells the kernel to drop an inode's pages, from a thread that holds no request: the kernel may wait for
 * pages that a request is about to fill. Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/map.h"
#include "fusefs/fuse.h"

struct invalidator {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct map_u64 pending; /* inode -> anything; bounded by the inodes that are open */
    uint64_t under_way;     /* an inode, 0: none */
    pthread_cond_t done;    /* with that */
    bool stopping;
    struct fuse_session *session;
    pthread_t thread;
};

void invalidator_init(struct invalidator *v); /* starts the thread */
/* Before this, and with NULL, what is asked for waits. */
void invalidator_set_session(struct invalidator *v, struct fuse_session *session);
void invalidator_add(struct invalidator *v, uint64_t ino);
/* Waits until it is done, at most until then (clock_boot_ns). False: it is not. */
bool invalidator_drop(struct invalidator *v, uint64_t ino, int64_t until_ns);
/* False: the thread is stuck in the kernel; v and the session must stay as they are. */
bool invalidator_close(struct invalidator *v);
