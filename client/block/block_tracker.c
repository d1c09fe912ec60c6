/* block_tracker.c: bulk puts: received by a majority at once, durable after a sync. */
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "client/block/block_servers.h"
#include "proto/methods.h"

#define TURN_LOOK_NS (1 * NS_PER_MS)
#define UNSYNCED_BYTES_MAX (64u * MIB)

/* One block that no sync covers yet. Shared between the tracker and the calls that still run for it. */
struct tracked {
    struct list_node node; /* in the tracker's list */
    atomic_uint references;
    pthread_mutex_t lock;
    struct block_buffer *block;
    struct {
        struct block_server *server;
        uint64_t boot_id;
    } copies[LIMIT_REPLICAS + 1]; /* who has acknowledged it; protected by lock */
    unsigned copy_count;          /* protected by lock */
    unsigned before; /* during a sync: how many there were when it began; only those can be durable by it */
    unsigned synced; /* during a sync: how many of them are durable */
};

struct block_tracker {
    struct block_client *client;
    pthread_mutex_t lock;
    bool syncing;          /* what was taken out of `unsynced` may not be durable yet; protected by lock */
    struct list unsynced;  /* protected by lock */
    size_t unsynced_bytes; /* protected by lock */
};

struct block_tracker *block_tracker_new(struct block_client *c)
{
    struct block_tracker *t = MEM_NEW(struct block_tracker);
    t->client = c;
    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->unsynced);
    return t;
}

static void tracked_unref(struct tracked *b)
{
    if (atomic_fetch_sub(&b->references, 1) > 1)
        return;
    block_buffer_unref(b->block);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void block_tracker_free(struct block_tracker *t)
{
    if (!t)
        return;
    for (struct list_node *n; (n = list_pop_front(&t->unsynced));)
        tracked_unref(container_of(n, struct tracked, node));
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void note_copy(struct tracked *b, struct block_server *server, uint64_t boot_id)
{
    pthread_mutex_lock(&b->lock);
    if (b->copy_count < ARRAY_SIZE(b->copies)) {
        b->copies[b->copy_count].server = server;
        b->copies[b->copy_count].boot_id = boot_id;
        b->copy_count++;
    }
    pthread_mutex_unlock(&b->lock);
}

/* One of those that have it is to be told that not all owners do. */
static void owe_short(struct tracked *b)
{
    pthread_mutex_lock(&b->lock);
    if (b->copy_count > 0)
        atomic_store(&b->copies[0].server->short_owed, true);
    pthread_mutex_unlock(&b->lock);
}

/* A put that finishes after its caller went on. */
struct late {
    struct tracked *block;
    struct block_server *server;
};

static void on_late(void *context, enum err status, struct slice message)
{
    struct late *l = context;
    uint64_t boot_id;
    if (block_put_ended(l->server, l->block->block->data.size, status, message, &boot_id) == ERR_OK)
        note_copy(l->block, l->server, boot_id);
    else
        owe_short(l->block);
    tracked_unref(l->block);
    atomic_fetch_sub(l->server->left, 1);
    free(l);
}

static void finish_late(struct tracked *b, struct block_server *server, struct rpc_call *call)
{
    struct late *l = MEM_NEW(struct late);
    l->block = b;
    l->server = server;
    atomic_fetch_add(&b->references, 1);
    atomic_fetch_add(server->left, 1);
    rpc_call_abandon(call, on_late, l);
}

static enum err put_once(struct tracked *b, struct block_route *route, uint64_t epoch, struct rpc_cancel *cancel)
{
    struct rpc_call *calls[LIMIT_BLOCK_SERVERS] = {NULL};
    unsigned started = 0, under_way = 0, acknowledged = 0, width = block_route_width(route);
    unsigned full = 0, failed = 0;
    enum err e = ERR_BLOCKS;
    while (e == ERR_BLOCKS && (under_way > 0 || started < route->count)) {
        while (started < route->count && under_way + acknowledged < width) {
            calls[started] = block_put_start(route->servers[started], &b->block, 1, false, epoch,
                                             clock_boot_ns() + BLOCK_TRY_NS, cancel);
            started++, under_way++;
        }
        if (under_way == 0)
            break;
        size_t at;
        enum err waited = rpc_call_wait_any(calls, started, INT64_MAX, cancel, &at);
        if (waited != ERR_OK) {
            e = waited;
            break;
        }
        struct slice message, payload;
        uint64_t boot_id;
        enum err status = rpc_call_result(calls[at], &message, &payload);
        status = block_put_ended(route->servers[at], b->block->data.size, status, message, &boot_id);
        rpc_call_free(calls[at]);
        calls[at] = NULL;
        under_way--;
        if (status == ERR_OK) {
            note_copy(b, route->servers[at], boot_id);
            if (++acknowledged < route->majority)
                continue;
            e = ERR_OK;
            if (failed + route->passed_over > 0)
                block_server_tell_short(route->servers[at]);
        } else if (status == ERR_CANCELLED) {
            e = status;
        } else {
            failed++;
            full += status == ERR_NOSPC;
        }
    }
    for (unsigned i = 0; i < started; i++)
        if (calls[i])
            finish_late(b, route->servers[i], calls[i]);
    return e == ERR_BLOCKS && block_route_is_full(route, full) ? ERR_NOSPC : e;
}

enum err block_tracker_put(struct block_tracker *t, struct block_buffer *block, struct rpc_cancel *cancel)
{
    pthread_mutex_lock(&t->lock);
    bool full = t->unsynced_bytes + block->data.size > UNSYNCED_BYTES_MAX;
    pthread_mutex_unlock(&t->lock);
    if (full)
        TRY(block_tracker_sync(t, cancel));

    struct tracked *b = MEM_NEW(struct tracked);
    atomic_init(&b->references, 1);
    pthread_mutex_init(&b->lock, NULL);
    b->block = block_buffer_ref(block);
    int64_t begun = clock_boot_ns();
    enum err e = ERR_BLOCKS;
    for (unsigned attempt = 0; e == ERR_BLOCKS; attempt++) {
        struct block_route route;
        e = block_route_for_put(t->client, &block->id, cancel, &route);
        if (e == ERR_OK)
            e = put_once(b, &route, meta_client_epoch(t->client->meta), cancel);
        if (e == ERR_BLOCKS) {
            e = block_backoff(t->client, attempt, begun, cancel);
            if (e == ERR_OK) {
                enum err refreshed = meta_client_map_refresh(t->client->meta, cancel);
                e = refreshed == ERR_CANCELLED || refreshed == ERR_SESSION_EXPIRED ? refreshed : ERR_BLOCKS;
            }
        }
    }
    if (e != ERR_OK) {
        tracked_unref(b);
        return e;
    }
    pthread_mutex_lock(&t->lock);
    list_push_back(&t->unsynced, &b->node);
    t->unsynced_bytes += block->data.size;
    pthread_mutex_unlock(&t->lock);
    return ERR_OK;
}

/* ---- sync ---- */

struct barrier {
    struct list blocks;
    struct block_server *servers[LIMIT_BLOCK_SERVERS];
    struct rpc_call *calls[LIMIT_BLOCK_SERVERS];
    unsigned server_count;
};

static void barrier_add_servers(struct barrier *s)
{
    list_for_each (n, &s->blocks) {
        struct tracked *b = container_of(n, struct tracked, node);
        pthread_mutex_lock(&b->lock);
        b->synced = 0;
        b->before = b->copy_count;
        for (unsigned i = 0; i < b->copy_count; i++) {
            bool known = false;
            for (unsigned k = 0; k < s->server_count; k++)
                known = known || s->servers[k] == b->copies[i].server;
            if (!known && s->server_count < LIMIT_BLOCK_SERVERS)
                s->servers[s->server_count++] = b->copies[i].server;
        }
        pthread_mutex_unlock(&b->lock);
    }
}

/* A server has synced: copies that it took in the same life are durable. */
static void barrier_count(struct barrier *s, struct block_server *server, uint64_t boot_id)
{
    list_for_each (n, &s->blocks) {
        struct tracked *b = container_of(n, struct tracked, node);
        pthread_mutex_lock(&b->lock);
        for (unsigned i = 0; i < b->before; i++)
            if (b->copies[i].server == server && b->copies[i].boot_id == boot_id) {
                b->synced++;
                break;
            }
        pthread_mutex_unlock(&b->lock);
    }
}

static bool barrier_satisfied(const struct barrier *s, unsigned majority)
{
    list_for_each (n, &s->blocks) {
        const struct tracked *b = container_of(n, struct tracked, node);
        if (b->synced < majority)
            return false;
    }
    return true;
}

static enum err barrier_run(struct barrier *s, unsigned majority, struct rpc_cancel *cancel)
{
    unsigned under_way = s->server_count;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < s->server_count; i++)
        s->calls[i] = rpc_call_start(s->servers[i]->channel, METHOD_BLOCK_SYNC, SLICE(NULL, 0), NULL, 0,
                                     clock_boot_ns() + 10 * BLOCK_TRY_NS, cancel);
    while (e == ERR_OK && under_way > 0 && !barrier_satisfied(s, majority)) {
        size_t at;
        e = rpc_call_wait_any(s->calls, s->server_count, INT64_MAX, cancel, &at);
        if (e != ERR_OK)
            break;
        struct slice message, payload;
        uint64_t boot_id;
        enum err status = rpc_call_result(s->calls[at], &message, &payload);
        status = block_put_ended(s->servers[at], 0, status, message, &boot_id);
        rpc_call_free(s->calls[at]);
        s->calls[at] = NULL;
        under_way--;
        if (status == ERR_OK)
            barrier_count(s, s->servers[at], boot_id);
        else if (status == ERR_CANCELLED)
            e = status;
    }
    for (unsigned i = 0; i < s->server_count; i++)
        if (s->calls[i])
            block_server_leave(s->servers[i], s->calls[i], 0, NULL);
    return e;
}

/* What too few servers have synced is put again, durably. */
static enum err put_the_rest(struct block_tracker *t, struct barrier *s, unsigned majority, struct rpc_cancel *cancel)
{
    list_for_each (n, &s->blocks) {
        struct tracked *b = container_of(n, struct tracked, node);
        if (b->synced < majority)
            TRY(block_client_put_durable(t->client, &b->block, 1, cancel));
    }
    return ERR_OK;
}

/* Another thread's sync has taken blocks that ours must cover as well. With the lock, which is released meanwhile. */
static enum err await_turn(struct block_tracker *t, struct rpc_cancel *cancel)
{
    while (t->syncing) {
        pthread_mutex_unlock(&t->lock);
        bool cancelled = cancel && rpc_cancel_fired(cancel);
        if (!cancelled)
            nanosleep(&(struct timespec){.tv_nsec = TURN_LOOK_NS}, NULL);
        pthread_mutex_lock(&t->lock);
        if (cancelled)
            return ERR_CANCELLED;
    }
    return ERR_OK;
}

enum err block_tracker_sync(struct block_tracker *t, struct rpc_cancel *cancel)
{
    struct barrier s = {.server_count = 0};
    struct block_route route;
    struct sha256 any = {{0}};
    list_init(&s.blocks);
    pthread_mutex_lock(&t->lock);
    enum err e = await_turn(t, cancel);
    if (e != ERR_OK || list_empty(&t->unsynced)) {
        pthread_mutex_unlock(&t->lock);
        return e;
    }
    t->syncing = true;
    for (struct list_node *n; (n = list_pop_front(&t->unsynced));)
        list_push_back(&s.blocks, n);
    size_t bytes = t->unsynced_bytes;
    t->unsynced_bytes = 0;
    pthread_mutex_unlock(&t->lock);

    block_route_for(t->client, &any, &route);
    barrier_add_servers(&s);
    e = barrier_run(&s, route.majority, cancel);
    if (e == ERR_OK)
        e = put_the_rest(t, &s, route.majority, cancel);
    pthread_mutex_lock(&t->lock);
    t->syncing = false;
    if (e != ERR_OK) {
        /* They stay to be synced. */
        for (struct list_node *n; (n = list_pop_front(&s.blocks));)
            list_push_back(&t->unsynced, n);
        t->unsynced_bytes += bytes;
    }
    pthread_mutex_unlock(&t->lock);
    TRY(e);
    for (struct list_node *n; (n = list_pop_front(&s.blocks));)
        tracked_unref(container_of(n, struct tracked, node));
    return ERR_OK;
}
