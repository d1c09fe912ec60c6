/* What can be written yet: the block servers are asked. */
#include "base/mem.h"
#include "client/block/block_servers.h"
#include "proto/methods.h"
#include "proto/wire_block.h"

#define SPACE_CACHED_NS (2 * NS_PER_S)
#define ROOM_MAX (UINT64_MAX / LIMIT_BLOCK_SERVERS) /* so that sums don't overflow */

/* Each byte needs as many servers as it has copies, so of one server no more counts than that many bytes. */
static bool fits(const uint64_t *room, unsigned count, unsigned copies, uint64_t bytes)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += MIN(MIN(room[i], ROOM_MAX), bytes);
    return bytes <= ROOM_MAX && sum / copies >= bytes;
}

uint64_t block_space_writable(const uint64_t *room, unsigned count, unsigned copies)
{
    uint64_t low = 0, high = ROOM_MAX;
    if (copies == 0 || count < copies)
        return 0;
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (fits(room, count, copies, middle))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static enum err ask(struct block_server *s, struct rpc_cancel *cancel, struct wire_block_info *ret)
{
    struct rpc_call *call = NULL;
    struct slice message, payload;
    enum err e = rpc_channel_call(s->channel, METHOD_BLOCK_INFO, SLICE(NULL, 0), NULL, 0,
                                  clock_boot_ns() + BLOCK_TRY_NS, cancel, &call, &message, &payload);
    if (e == ERR_OK) {
        struct arena a = {0};
        struct err_text why;
        e = wire_block_info_decode(message, &a, ret, &why);
        if (e == ERR_OK)
            ret->address = ret->zone = SLICE(NULL, 0); /* they live in the arena */
        arena_free(&a);
    }
    if (call)
        rpc_call_free(call);
    return e;
}

/* Nothing new is put on one that is drained. */
static bool is_drained(const struct cluster_map *map, uint32_t id)
{
    for (unsigned i = 0; i < map->server_count; i++)
        if (map->servers[i].id == id)
            return map->servers[i].draining;
    return true;
}

static enum err ask_all(struct block_client *c, struct rpc_cancel *cancel, struct block_client_space *ret)
{
    struct block_route route;
    struct sha256 any = {{0}};
    uint64_t room[LIMIT_BLOCK_SERVERS];
    unsigned answered = 0;
    enum err e = ERR_OK;
    block_route_for(c, &any, &route);
    const struct cluster_map *map = meta_client_map_get(c->meta);
    for (unsigned i = 0; i < route.count && e != ERR_CANCELLED; i++) {
        struct wire_block_info info;
        /* Who failed may not answer; but one that had no room does, and that it has none counts. */
        if (i >= route.well && route.well > 0 && !atomic_load(&route.servers[i]->full))
            continue;
        e = ask(route.servers[i], cancel, &info);
        if (e != ERR_OK && e != ERR_CANCELLED)
            block_server_suspect(route.servers[i], e);
        if (e != ERR_OK)
            continue;
        ret->total += info.disk_total;
        ret->free += info.disk_free;
        if (!is_drained(map, info.node_id))
            room[answered++] =
                info.full || info.failed || info.disk_free <= info.disk_kept ? 0 : info.disk_free - info.disk_kept;
    }
    meta_client_map_release(c->meta, map);
    if (e == ERR_CANCELLED)
        return e;
    if (route.replicas > 0) {
        ret->total /= route.replicas;
        ret->free /= route.replicas;
    }
    /* One that is away gets its copies when it is back. */
    ret->available = MIN(block_space_writable(room, answered, MIN(route.replicas, answered)), ret->free);
    return ERR_OK;
}

enum err block_client_space(struct block_client *c, struct rpc_cancel *cancel, struct block_client_space *ret)
{
    int64_t now = clock_boot_ns();
    struct block_client_space space = {0};
    pthread_mutex_lock(&c->lock);
    bool cached = c->space_ns != 0 && now - c->space_ns < SPACE_CACHED_NS;
    *ret = c->space;
    pthread_mutex_unlock(&c->lock);
    if (cached)
        return ERR_OK;
    TRY(ask_all(c, cancel, &space));
    pthread_mutex_lock(&c->lock);
    c->space = *ret = space;
    c->space_ns = now;
    pthread_mutex_unlock(&c->lock);
    return ERR_OK;
}
