/* work.h: threads that wait for the cluster, so that a gateway's own thread never does. A pool has a bounded queue and
 * starts threads as there is work for them; they stay until its end. Thread-safe. */
#pragma once

#include <stdbool.h>

#include "base/list.h"

struct work_pool;

/* Embedded by its owner, who keeps it until `run` is called; the pool doesn't look at it after that. */
struct work {
    struct list_node node;
    void (*run)(struct work *w);
};

struct work_pool *work_pool_new(unsigned threads_max, unsigned queue_max);
/* Everything that was taken is run first. NULL is allowed. */
void work_pool_free(struct work_pool *p);
/* False: there is too much to do already; nothing has been taken. */
bool work_pool_put(struct work_pool *p, struct work *w);
