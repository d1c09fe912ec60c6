/* last_told.h: the attributes that the kernel was last told, of a bounded number of inodes. Who has a removed directory
 * as its working directory, or a removed fifo open, may still ask for its attributes and change them (fstat(2): links:
 * 0). The metastore keeps removed inodes for open regular files only, so this mount answers for the others.
 * Thread-safe. */
#pragma once

#include <pthread.h>

#include "client/surf.h"

#define LAST_TOLD_INODES 8192u /* of regular files, and as many of others; one takes the place of another */

struct last_told {
    pthread_mutex_t lock; /* protects slots */
    struct meta_attr slots[2][LAST_TOLD_INODES];
};

void last_told_init(struct last_told *l);
void last_told_close(struct last_told *l);
/* True: it was told another size or time of contents before, so it drops the pages of before by itself. */
bool last_told_put(struct last_told *l, const struct meta_attr *attr);
/* Of an inode that the metastore calls stale. False: nothing is known of it. */
bool last_told_removed(struct last_told *l, uint64_t ino, struct meta_attr *ret);
/* The same, and changes it. */
bool last_told_change(struct last_told *l, uint64_t ino, const struct surf_setattr *set, struct meta_attr *ret);
