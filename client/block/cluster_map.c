#include "client/block/cluster_map.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct cluster_map_box {
    unsigned references; /* protected by the holder's lock */
    struct cluster_map map;
};

void cluster_map_init(struct cluster_map_holder *h)
{
    pthread_mutex_init(&h->lock, NULL);
    h->latest = MEM_NEW(struct cluster_map_box);
    h->latest->references = 1;
    h->latest->map.replicas = META_REPLICAS_DEFAULT;
}

void cluster_map_close(struct cluster_map_holder *h)
{
    CHECK(h->latest->references == 1);
    free(h->latest);
    pthread_mutex_destroy(&h->lock);
}

const struct cluster_map *cluster_map_get(struct cluster_map_holder *h)
{
    pthread_mutex_lock(&h->lock);
    h->latest->references++;
    const struct cluster_map *m = &h->latest->map;
    pthread_mutex_unlock(&h->lock);
    return m;
}

static void drop(struct cluster_map_box *box)
{
    CHECK(box->references > 0);
    if (--box->references == 0)
        free(box);
}

void cluster_map_release(struct cluster_map_holder *h, const struct cluster_map *m)
{
    union {
        const struct cluster_map *constant;
        struct cluster_map *changeable;
    } map = {.constant = m};
    pthread_mutex_lock(&h->lock);
    drop(container_of(map.changeable, struct cluster_map_box, map));
    pthread_mutex_unlock(&h->lock);
}

void cluster_map_put(struct cluster_map_holder *h, const struct meta_query_reply *reply)
{
    CHECK(reply->cluster.server_count <= LIMIT_BLOCK_SERVERS);
    struct cluster_map_box *box = MEM_NEW(struct cluster_map_box);
    box->references = 1;
    box->map.version = reply->cluster.map_version;
    box->map.replicas = reply->cluster.replicas;
    box->map.server_count = reply->cluster.server_count;
    if (reply->cluster.server_count > 0)
        memcpy(box->map.servers, reply->cluster.servers, reply->cluster.server_count * sizeof box->map.servers[0]);
    pthread_mutex_lock(&h->lock);
    drop(h->latest);
    h->latest = box;
    pthread_mutex_unlock(&h->lock);
}
