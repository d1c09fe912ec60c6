#include "client/block/block_servers.h"

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
#define TRIAL_STALLED_NS (200 * NS_PER_MS) /* the same for one that failed lately and has not caught up since */
#define TRIAL_BYTES (64u * KIB)
#define SLOW_FIRST_NS (1 * NS_PER_S)
#define SLOW_MAX_NS (60 * NS_PER_S)
#define PROBE_TRY_NS (200 * NS_PER_MS)
#define TELL_BAD_NS (20 * NS_PER_MS)
#define TELL_SHORT_NS (1 * NS_PER_S) /* less than until the server looks (daemon/block/block_keeper.h) */
#define ROOM_LOOK_NS (200 * NS_PER_US)
#define SMALL_MAP_YOUNG_NS (5 * NS_PER_S)
#define SMALL_MAP_AGE_NS (1 * NS_PER_S)
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MAX_MS 200
#define BACKOFF_SLICE_MS 20 /* how soon a cancel is noticed */

/* An address can lead to another server than the map says (one that was told to give out its loopback address, say).
 * Two copies on the same server would count as two. */
static enum err on_hello(void *context, struct slice hello, struct err_text *why)
{
    const struct block_server *s = context;
    struct arena a = {0};
    struct wire_hello h;
    enum err e = wire_hello_decode(hello, &a, &h, why);
    if (e == ERR_OK && h.node_id != s->id)
        e = err_explain(why, ERR_WRONG_NODE, "node %u answers there", h.node_id);
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
        .hello = wire_hello_encode(&hello, &a), .on_hello = on_hello, .connect_timeout_ns = CONNECT_TIMEOUT_NS};
    struct block_server *s = NULL;
    if (rpc_address_parse(from->address, &options.address, NULL) == ERR_OK) {
        s = MEM_NEW(struct block_server);
        s->id = from->id;
        s->left = left;
        options.context = s;
        atomic_store(&s->room_bytes, BLOCK_PENDING_BYTES);
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
    unsigned owning =
        0; /* nothing is put on those that are drained, but they may still be the only ones that have it */
    for (unsigned i = 0; i < map->server_count; i++) {
        candidates[i] = (struct placement_server){.id = map->servers[i].id,
                                                  .weight = map->servers[i].weight,
                                                  .zone = placement_zone(map->servers[i].zone),
                                                  .last = map->servers[i].draining};
        owning += !candidates[i].last;
    }
    placement_order(candidates, map->server_count, id, order);
    struct block_server *suspects[LIMIT_BLOCK_SERVERS];
    unsigned suspect_count = 0;
    int64_t now = clock_boot_ns();
    ret->replicas = MIN(map->replicas, owning);
    for (unsigned i = 0; i < map->server_count; i++) {
        struct block_server *s = server_for(c, &map->servers[order[i]]);
        bool well = s && server_is_well(s, now);
        if (well)
            ret->servers[ret->count++] = s;
        else if (s)
            suspects[suspect_count++] = s;
        ret->passed_over += !well && i < ret->replicas;
        if (well && atomic_exchange(&s->short_owed, false))
            block_server_tell_short(s);
    }
    ret->well = ret->count;
    memcpy(ret->servers + ret->count, suspects, suspect_count * sizeof(struct block_server *));
    ret->count += suspect_count;
    ret->majority = ret->replicas / 2 + 1;
    meta_client_map_release(c->meta, map);
}

static bool is_stalled(struct block_server *s, int64_t begun_ns)
{
    int64_t patience_ns = atomic_load(&s->room_bytes) < BLOCK_PENDING_BYTES ? TRIAL_STALLED_NS : STALLED_NS;
    return clock_boot_ns() - MAX(begun_ns, (int64_t)atomic_load(&s->answered_ns)) > patience_ns;
}

/* False: it had to be suspected. */
static enum err await_room(struct block_server *s, struct rpc_cancel *cancel, bool *ret_has_room)
{
    int64_t begun = clock_boot_ns();
    while (atomic_load(&s->pending_bytes) > atomic_load(&s->room_bytes) && atomic_load(&s->suspect_until_ns) == 0) {
        if (cancel && rpc_cancel_fired(cancel))
            return ERR_CANCELLED;
        if (is_stalled(s, begun))
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

/* Which of them may be the first that is asked: the smallest goes first. An owner on this machine costs no network;
 * another one there has the block only by accident. */
static unsigned read_class(const struct block_route *r, unsigned i, int64_t now_ns)
{
    if (atomic_load(&r->servers[i]->slow_until_ns) > now_ns)
        return 2;
    return i < r->replicas && rpc_channel_is_local(r->servers[i]->channel) ? 0 : 1;
}

void block_route_by_speed(struct block_route *r)
{
    struct block_server *by_class[3][LIMIT_BLOCK_SERVERS];
    unsigned counts[3] = {0}, at = 0;
    int64_t now_ns = clock_boot_ns();
    for (unsigned i = 0; i < r->well; i++) {
        unsigned class = read_class(r, i, now_ns);
        by_class[class][counts[class]++] = r->servers[i];
    }
    for (unsigned class = 0; class < 3; class ++) {
        memcpy(r->servers + at, by_class[class], counts[class] * sizeof by_class[0][0]);
        at += counts[class];
    }
}

void block_server_suspect(struct block_server *s, enum err why)
{
    /* A busy one works; and a block whose bytes were damaged says nothing of the others. */
    if (why == ERR_CANCELLED || why == ERR_BUSY_NOW || why == ERR_CORRUPT)
        return;
    atomic_store(&s->full, why == ERR_NOSPC);
    if (why != ERR_NOSPC)
        atomic_store(&s->room_bytes, TRIAL_BYTES);
    int64_t until = clock_boot_ns() + (why == ERR_TIMEOUT ? SUSPECT_SLOW_NS : SUSPECT_FAILED_NS);
    if (atomic_exchange(&s->suspect_until_ns, until) == 0) {
        struct err_text reason;
        rpc_channel_explain(s->channel, why, &reason);
        log_warn("block server %u at %s: %s", s->id, rpc_channel_address(s->channel), reason.text);
    }
}

void block_server_answered(struct block_server *s)
{
    atomic_store(&s->answered_ns, clock_boot_ns());
    if (atomic_load(&s->suspect_until_ns) != 0 && atomic_exchange(&s->suspect_until_ns, 0) != 0)
        log_info("block server %u at %s answers again", s->id, rpc_channel_address(s->channel));
}

void block_server_overtaken(struct block_server *s)
{
    int64_t last_ns = atomic_load(&s->slow_for_ns), now = clock_boot_ns();
    if (atomic_load(&s->slow_until_ns) > now)
        return;
    int64_t for_ns = last_ns == 0 ? SLOW_FIRST_NS : MIN(2 * last_ns, SLOW_MAX_NS);
    atomic_store(&s->slow_for_ns, for_ns);
    atomic_store(&s->slow_until_ns, now + for_ns);
}

void block_server_in_time(struct block_server *s)
{
    if (atomic_load(&s->slow_for_ns) != 0 && atomic_load(&s->slow_until_ns) <= clock_boot_ns())
        atomic_store(&s->slow_for_ns, 0);
}

/* A put has come through. */
static void make_room(struct block_server *s)
{
    uint_fast64_t room = atomic_load(&s->room_bytes);
    if (room < BLOCK_PENDING_BYTES)
        atomic_compare_exchange_strong(&s->room_bytes, &room, MIN(2 * room, (uint_fast64_t)BLOCK_PENDING_BYTES));
}

struct left_call {
    struct block_server *server, *holder;
    size_t put_bytes;
};

static void on_left(void *context, enum err status, struct slice message)
{
    (void)message;
    struct left_call *l = context;
    struct block_server *s = l->server;
    atomic_fetch_sub(&s->pending_bytes, l->put_bytes);
    if (status == ERR_OK && l->put_bytes > 0)
        make_room(s);
    if (status == ERR_OK)
        block_server_answered(s);
    else
        block_server_suspect(s, status);
    if (status != ERR_OK && l->holder)
        atomic_store(&l->holder->short_owed, true);
    atomic_fetch_sub(s->left, 1);
    free(l);
}

void block_server_leave(struct block_server *s, struct rpc_call *call, size_t put_bytes, struct block_server *holder)
{
    struct left_call *l = MEM_NEW(struct left_call);
    *l = (struct left_call){.server = s, .holder = holder, .put_bytes = put_bytes};
    atomic_fetch_add(s->left, 1);
    rpc_call_abandon(call, on_left, l);
}

static void on_told(void *context, enum err status, struct slice message)
{
    (void)status, (void)message; /* one that doesn't know the method finds its bad copies by itself, or not at all */
    struct block_server *s = context;
    atomic_fetch_sub(s->left, 1);
}

void block_server_tell_bad(struct block_server *s, const struct sha256 *id)
{
    int64_t now = clock_boot_ns();
    int_fast64_t told = atomic_load(&s->told_ns);
    if (now - told < TELL_BAD_NS || !atomic_compare_exchange_strong(&s->told_ns, &told, now))
        return;
    struct wire_block_ids ids = {.ids = id, .count = 1};
    struct arena a = {0};
    struct rpc_call *call = rpc_call_start(s->channel, METHOD_BLOCK_SUSPECT, wire_block_ids_encode(&ids, &a), NULL, 0,
                                           now + BLOCK_TRY_NS, NULL);
    arena_free(&a);
    atomic_fetch_add(s->left, 1);
    rpc_call_abandon(call, on_told, s);
}

void block_server_tell_short(struct block_server *s)
{
    int64_t now = clock_boot_ns();
    int_fast64_t told = atomic_load(&s->told_short_ns);
    if (now - told < TELL_SHORT_NS || !atomic_compare_exchange_strong(&s->told_short_ns, &told, now))
        return;
    struct rpc_call *call =
        rpc_call_start(s->channel, METHOD_BLOCK_SHORT, SLICE(NULL, 0), NULL, 0, now + BLOCK_TRY_NS, NULL);
    atomic_fetch_add(s->left, 1);
    rpc_call_abandon(call, on_told, s);
}

size_t block_put_bytes(struct block_buffer *const *blocks, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += blocks[i]->data.size;
    return bytes;
}

struct rpc_call *block_put_start(struct block_server *s, struct block_buffer *const *blocks, size_t count, bool durable,
                                 uint64_t epoch, int64_t deadline_ns, struct rpc_cancel *cancel)
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
    struct wire_block_put put = {
        .durable = durable, .ids = ids, .sizes = sizes, .count = (unsigned)count, .epoch = epoch};
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
    if (e == ERR_OK && put_bytes > 0)
        make_room(s);
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
