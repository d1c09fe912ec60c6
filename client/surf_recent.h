/* surf_recent.h: attributes of directories as this mount's own latest changes in them left them. The kernel forgets a
 * directory's attributes with each change in it and asks for them before the next one; the reply to the change had
 * them. Thread-safe. */
#pragma once

#include <pthread.h>

#include "meta/types.h"

#define SURF_RECENT_SLOTS 256u

struct surf_recent {
    pthread_mutex_t lock; /* protects the slots */
    struct {
        struct meta_attr attr; /* ino 0: empty */
        int64_t at_ns;         /* clock_boot_ns before it was asked for */
    } slots[SURF_RECENT_SLOTS];
};

void surf_recent_init(struct surf_recent *r);
void surf_recent_close(struct surf_recent *r);
/* Enters a directory; asked_ns is from before the metastore was asked. An entry that is newer stays. */
void surf_recent_put(struct surf_recent *r, const struct meta_attr *attr, int64_t asked_ns);
/* Brings an entry that is there up to date; enters nothing. */
void surf_recent_update(struct surf_recent *r, const struct meta_attr *attr, int64_t asked_ns);
void surf_recent_drop(struct surf_recent *r, uint64_t ino);
/* True: *ret, which was so *ret_age_ns ago or later. */
bool surf_recent_get(struct surf_recent *r, uint64_t ino, struct meta_attr *ret, int64_t *ret_age_ns);
