#include "client/block_servers.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "blockstore/placement.h"
#include "proto/methods.h"
#include "proto/wire_block.h"

#define LOG_MODULE "blocks"
#include "base/log.h"

#define CONNECT_TIMEOUT_NS (1 * NS_PER_S)
#define SUSPECT_FAILED_NS (1 * NS_PER_S)
#define SUSPECT_SLOW_NS (5 * NS_PER_S)
#define STALLED_NS (2 * NS_PER_S) /* a server with much unanswered that says nothing for so long is suspected */
#define PROBE_TRY_NS (200 * NS_PER_MS)
#define ROOM_LOOK_NS (200 * NS_PER_US)
#define SMALL_MAP_YOUNG_NS (5 * NS_PER_S)
#define SMALL_MAP_AGE_NS (1 * NS_PER_S)
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MAX_MS 200
#define BACKOFF_SLICE_MS 20 /* how soon a cancel is noticed */

static enum err accept_hello(void *context, struct slice hello, struct err_text *why)
{
    (void)context;
    struct arena a = {0};
    struct wire_hello h;
    enum err e = wire_hello_decode(hello, &a, &h, why);
    arena_free(&a);
    return e;
}

static struct block_server *server_new(const struct meta_block_server *from, atomic_uint *left)
{
    struct arena a = {0};
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surffs")};
    struct rpc_channel_options options = {
        .hello = wire_hello_encode(&hello, &a), .on_hello = accept_hello, .connect_timeout_ns = CONNECT_TIMEOUT_NS};
    struct block_server *s = NULL;
    if (rpc_address_parse(from->address, &options.address, NULL) == ERR_OK) {
        s = MEM_NEW(struct block_server);
        s->id = from->id;
        s->left = left;
        s->channel = rpc_channel_new(&options);
    }
    arena_free(&a);
    return s;
}

/* The connection to this server at this address; made at the first use. */
static struct block_server *server_for(struct block_client *c, const struct meta_block_server *from)
{
    struct block_server *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->server_count && !found; i++)
        if (c->servers[i]->id == from->id && strcmp(rpc_channel_address(c->servers[i]->channel), from->address) == 0)
            found = c->servers[i];
    if (!found && (found = server_new(from, &c->left))) {
        c->servers = mem_realloc(c->servers, (c->server_count + 1) * sizeof(struct block_server *));
        c->servers[c->server_count++] = found;
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void on_probed(void *context, enum err status, struct slice message)
{
    (void)message;
    struct block_server *s = context;
    if (status == ERR_OK)
        block_server_answered(s);
    else
        block_server_suspect(s, status);
    atomic_store(&s->probing, false);
    atomic_fetch_sub(s->left, 1);
}

/* One that failed must answer a small question before it is given work again; who asks does not wait for that. */
static bool server_is_well(struct block_server *s, int64_t now)
{
    int64_t until = atomic_load(&s->suspect_until_ns);
    if (until != 0 && now >= until && !atomic_exchange(&s->probing, true)) {
        struct rpc_call *call =
            rpc_call_start(s->channel, METHOD_BLOCK_INFO, SLICE(NULL, 0), NULL, 0, now + PROBE_TRY_NS, NULL);
        atomic_fetch_add(s->left, 1);
        rpc_call_abandon(call, on_probed, s);
    }
    return until == 0;
}

void block_route_for(struct block_client *c, const struct sha256 *id, struct block_route *ret)
{
    *ret = (struct block_route){0};
    const struct cluster_map *map = meta_client_map_get(c->meta);
    struct placement_server candidates[LIMIT_BLOCK_SERVERS];
    unsigned order[LIMIT_BLOCK_SERVERS];
    for (unsigned i = 0; i < map->server_count; i++)
        candidates[i] = (struct placement_server){.id = map->servers[i].id, .weight = map->servers[i].weight};
    placement_order(candidates, map->server_count, id, order);
    struct block_server *suspects[LIMIT_BLOCK_SERVERS];
    unsigned suspect_count = 0;
    int64_t now = clock_boot_ns();
    for (unsigned i = 0; i < map->server_count; i++) {
        struct block_server *s = server_for(c, &map->servers[order[i]]);
        if (s && server_is_well(s, now))
            ret->servers[ret->count++] = s;
        else if (s)
            suspects[suspect_count++] = s;
    }
    ret->well = ret->count;
    memcpy(ret->servers + ret->count, suspects, suspect_count * sizeof(struct block_server *));
    ret->count += suspect_count;
    ret->replicas = MIN(map->replicas, map->server_count);
    ret->majority = ret->replicas / 2 + 1;
    meta_client_map_release(c->meta, map);
}

/* False: it had to be suspected. */
static enum err await_room(struct block_server *s, struct rpc_cancel *cancel, bool *ret_has_room)
{
    int64_t begun = clock_boot_ns();
    while (atomic_load(&s->pending_bytes) > BLOCK_PENDING_BYTES && atomic_load(&s->suspect_until_ns) == 0) {
        if (cancel && rpc_cancel_fired(cancel))
            return ERR_CANCELLED;
        if (clock_boot_ns() - MAX(begun, (int64_t)atomic_load(&s->answered_ns)) > STALLED_NS)
            block_server_suspect(s, ERR_TIMEOUT);
        else
            nanosleep(&(struct timespec){.tv_nsec = ROOM_LOOK_NS}, NULL);
    }
    *ret_has_room = atomic_load(&s->suspect_until_ns) == 0;
    return ERR_OK;
}

/* While a cluster starts, its block servers register one after the other. A map with fewer of them than there shall be
 * replicas is asked for again before it is trusted with data: at each put in the first seconds, later once a second. */
static enum err refresh_small_map(struct block_client *c, struct rpc_cancel *cancel)
{
    const struct cluster_map *map = meta_client_map_get(c->meta);
    bool small = map->server_count < map->replicas;
    meta_client_map_release(c->meta, map);
    if (!small)
        return ERR_OK;
    int64_t now = clock_boot_ns(), checked = atomic_load(&c->small_map_ns);
    if (now - c->made_ns > SMALL_MAP_YOUNG_NS && now - checked < SMALL_MAP_AGE_NS)
        return ERR_OK;
    atomic_store(&c->small_map_ns, now);
    return meta_client_map_refresh(c->meta, cancel);
}

enum err block_route_for_put(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                             struct block_route *ret)
{
    TRY(refresh_small_map(c, cancel));
    bool ready;
    do {
        ready = true;
        block_route_for(c, id, ret);
        for (unsigned i = 0; ready && i < MIN(block_route_width(ret), ret->well); i++)
            TRY(await_room(ret->servers[i], cancel, &ready));
    } while (!ready);
    return ERR_OK;
}

unsigned block_route_width(const struct block_route *r)
{
    return MIN(r->count, MIN(r->replicas, MAX(r->well, r->majority)));
}

bool block_route_is_full(const struct block_route *r, unsigned full)
{
    return full > 0 && full + r->majority > r->count;
}

void block_route_by_speed(struct block_route *r)
{
    struct block_server *slow[LIMIT_BLOCK_SERVERS];
    unsigned slow_count = 0, kept = 0;
    int64_t now = clock_boot_ns();
    for (unsigned i = 0; i < r->well; i++) {
        if (atomic_load(&r->servers[i]->slow_until_ns) > now)
            slow[slow_count++] = r->servers[i];
        else
            r->servers[kept++] = r->servers[i];
    }
    memcpy(r->servers + kept, slow, slow_count * sizeof slow[0]);
}

void block_server_suspect(struct block_server *s, enum err why)
{
    /* A busy one works; and a block whose bytes were damaged says nothing of the others. */
    if (why == ERR_CANCELLED || why == ERR_BUSY_NOW || why == ERR_CORRUPT)
        return;
    int64_t until = clock_boot_ns() + (why == ERR_TIMEOUT ? SUSPECT_SLOW_NS : SUSPECT_FAILED_NS);
    if (atomic_exchange(&s->suspect_until_ns, until) == 0)
        log_warn("block server %u at %s: %s", s->id, rpc_channel_address(s->channel), err_message(why));
}

void block_server_answered(struct block_server *s)
{
    atomic_store(&s->answered_ns, clock_boot_ns());
    if (atomic_load(&s->suspect_until_ns) != 0 && atomic_exchange(&s->suspect_until_ns, 0) != 0)
        log_info("block server %u at %s answers again", s->id, rpc_channel_address(s->channel));
}

struct left_call {
    struct block_server *server;
    size_t put_bytes;
};

static void on_left(void *context, enum err status, struct slice message)
{
    (void)message;
    struct left_call *l = context;
    struct block_server *s = l->server;
    atomic_fetch_sub(&s->pending_bytes, l->put_bytes);
    if (status == ERR_OK)
        block_server_answered(s);
    else
        block_server_suspect(s, status);
    atomic_fetch_sub(s->left, 1);
    free(l);
}

void block_server_leave(struct block_server *s, struct rpc_call *call, size_t put_bytes)
{
    struct left_call *l = MEM_NEW(struct left_call);
    *l = (struct left_call){.server = s, .put_bytes = put_bytes};
    atomic_fetch_add(s->left, 1);
    rpc_call_abandon(call, on_left, l);
}

size_t block_put_bytes(struct block_buffer *const *blocks, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += blocks[i]->data.size;
    return bytes;
}

struct rpc_call *block_put_start(struct block_server *s, struct block_buffer *const *blocks, size_t count, bool durable,
                                 int64_t deadline_ns, struct rpc_cancel *cancel)
{
    struct sha256 ids[RPC_PAYLOAD_SLICES];
    uint32_t sizes[RPC_PAYLOAD_SLICES];
    struct slice payload[RPC_PAYLOAD_SLICES];
    for (size_t i = 0; i < count; i++) {
        ids[i] = blocks[i]->id;
        sizes[i] = (uint32_t)blocks[i]->data.size;
        payload[i] = blocks[i]->data;
    }
    atomic_fetch_add(&s->pending_bytes, block_put_bytes(blocks, count));
    struct wire_block_put put = {.durable = durable, .ids = ids, .sizes = sizes, .count = (unsigned)count};
    struct arena a = {0};
    struct rpc_call *call = rpc_call_start(s->channel, METHOD_BLOCK_PUT, wire_block_put_encode(&put, &a), payload,
                                           count, deadline_ns, cancel);
    arena_free(&a);
    return call;
}

enum err block_put_ended(struct block_server *s, size_t put_bytes, enum err status, struct slice message,
                         uint64_t *ret_boot_id)
{
    atomic_fetch_sub(&s->pending_bytes, put_bytes);
    enum err e = block_ack_of(status, message, ret_boot_id);
    if (e == ERR_OK)
        block_server_answered(s);
    else
        block_server_suspect(s, e);
    return e;
}

enum err block_ack_of(enum err status, struct slice message, uint64_t *ret_boot_id)
{
    TRY(status);
    struct arena a = {0};
    struct wire_block_ack ack;
    struct err_text why;
    enum err e = wire_block_ack_decode(message, &a, &ack, &why);
    if (e == ERR_OK)
        *ret_boot_id = ack.boot_id;
    arena_free(&a);
    return e;
}

enum err block_backoff(struct block_client *c, unsigned attempt, int64_t begun_ns, struct rpc_cancel *cancel)
{
    int64_t wait_ms = BACKOFF_FIRST_MS;
    while (attempt-- > 0 && wait_ms < BACKOFF_MAX_MS)
        wait_ms *= 2;
    int64_t until = clock_boot_ns() + MIN(wait_ms, (int64_t)BACKOFF_MAX_MS) * NS_PER_MS;
    for (;;) {
        int64_t now = clock_boot_ns();
        if (cancel && rpc_cancel_fired(cancel))
            return ERR_CANCELLED;
        if (c->soft_timeout_ns > 0 && now - begun_ns > c->soft_timeout_ns)
            return ERR_TIMEOUT;
        if (now >= until)
            return ERR_OK;
        nanosleep(&(struct timespec){.tv_nsec = MIN(until - now, BACKOFF_SLICE_MS * NS_PER_MS)}, NULL);
    }
}
