/* cluster_map.h: holds the latest cluster map and hands out snapshots of it by reference count. Thread-safe. */
#pragma once

#include <pthread.h>

#include "client/meta/meta_client.h"

struct cluster_map_box;

struct cluster_map_holder {
    pthread_mutex_t lock; /* protects latest */
    struct cluster_map_box *latest;
};

void cluster_map_init(struct cluster_map_holder *h); /* with an empty map of version 0 */
/* Every snapshot must have been released. */
void cluster_map_close(struct cluster_map_holder *h);
const struct cluster_map *cluster_map_get(struct cluster_map_holder *h);
void cluster_map_release(struct cluster_map_holder *h, const struct cluster_map *m);
void cluster_map_put(struct cluster_map_holder *h, const struct meta_query_reply *reply);
