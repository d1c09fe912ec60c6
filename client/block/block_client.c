/* block_client.c: durable puts, gets and space. */
#include "client/block/block_client.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "client/block/block_servers.h"
#include "proto/methods.h"
#include "proto/wire_block.h"

#define LOG_MODULE "blocks"
#include "base/log.h"

#define SPARE_PART 8u /* of a block in memory: more than that is not kept with it unused */
#define LAST_PUTS_NS (200 * NS_PER_MS)

struct block_buffer *block_buffer_within(void *memory, struct slice data)
{
    struct block_buffer *b = MEM_NEW(struct block_buffer);
    atomic_init(&b->references, 1);
    b->memory = memory;
    b->data = data;
    sha256_of(b->data, &b->id);
    return b;
}

struct block_buffer *block_buffer_new(void *data, size_t size)
{
    return block_buffer_within(data, SLICE(data, size));
}

struct block_buffer *block_buffer_ref(struct block_buffer *b)
{
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

void block_buffer_unref(struct block_buffer *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) > 1)
        return;
    free(b->memory);
    free(b);
}

struct block_client *block_client_new(struct meta_client *meta, int64_t soft_timeout_ns)
{
    struct block_client *c = MEM_NEW(struct block_client);
    c->meta = meta;
    c->soft_timeout_ns = soft_timeout_ns;
    c->made_ns = clock_boot_ns();
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* Last copies that are still on their way get a moment; whether those that come no further arrive is not known. */
static void end_puts(struct block_client *c)
{
    int64_t until = clock_boot_ns() + LAST_PUTS_NS;
    while (atomic_load(&c->left) > 0 && clock_boot_ns() < until)
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    bool unknown = atomic_load(&c->left) > 0;
    for (size_t i = 0; i < c->server_count; i++) {
        struct block_server *s = c->servers[i];
        if (atomic_load(&s->suspect_until_ns) == 0 && (unknown || atomic_load(&s->short_owed)))
            block_server_tell_short(s);
    }
}

void block_client_free(struct block_client *c)
{
    if (!c)
        return;
    end_puts(c);
    for (size_t i = 0; i < c->server_count; i++) {
        atomic_store(&c->servers[i]->suspect_until_ns, INT64_MAX); /* what ends now is no failure of theirs */
        rpc_channel_free(c->servers[i]->channel);
    }
    /* Calls that ended at this moment may still be telling so on other threads. */
    while (atomic_load(&c->left) > 0)
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    for (size_t i = 0; i < c->server_count; i++)
        free(c->servers[i]);
    free(c->servers);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- put ---- */

/* Calls under way to servers of a route. */
struct fan {
    struct rpc_call *calls[LIMIT_BLOCK_SERVERS];
    unsigned started, under_way;
    size_t put_bytes; /* of each, when they are puts */
    uint64_t epoch;   /* the same */
};

static void fan_start(struct fan *f, struct block_route *route, struct block_buffer *const *blocks, size_t count,
                      struct rpc_cancel *cancel)
{
    f->calls[f->started] = block_put_start(route->servers[f->started], blocks, count, true, f->epoch,
                                           clock_boot_ns() + BLOCK_TRY_NS, cancel);
    f->started++;
    f->under_way++;
}

/* holder: has what these calls put. */
static void fan_end(struct fan *f, const struct block_route *route, struct block_server *holder)
{
    for (unsigned i = 0; i < f->started; i++)
        if (f->calls[i])
            block_server_leave(route->servers[i], f->calls[i], f->put_bytes, holder);
}

/* One attempt: ERR_OK when a majority has them, ERR_NOSPC when that fails for want of room, ERR_BLOCKS when it can't be
 * reached now, ERR_CANCELLED. */
static enum err put_once(struct block_route *route, struct block_buffer *const *blocks, size_t count, uint64_t epoch,
                         struct rpc_cancel *cancel)
{
    struct fan f = {.put_bytes = block_put_bytes(blocks, count), .epoch = epoch};
    unsigned acknowledged = 0, failed = 0, full = 0;
    struct block_server *holder = NULL;
    enum err e = ERR_BLOCKS;
    while (f.started < block_route_width(route))
        fan_start(&f, route, blocks, count, cancel);
    while (f.under_way > 0) {
        size_t at;
        enum err waited = rpc_call_wait_any(f.calls, f.started, INT64_MAX, cancel, &at);
        if (waited != ERR_OK) {
            e = waited == ERR_CANCELLED ? ERR_CANCELLED : ERR_BLOCKS;
            break;
        }
        struct slice message, payload;
        uint64_t boot_id;
        enum err status = rpc_call_result(f.calls[at], &message, &payload);
        status = block_put_ended(route->servers[at], f.put_bytes, status, message, &boot_id);
        rpc_call_free(f.calls[at]);
        f.calls[at] = NULL;
        f.under_way--;
        if (status != ERR_OK) {
            if (status == ERR_CANCELLED) {
                e = ERR_CANCELLED;
                break;
            }
            failed++;
            full += status == ERR_NOSPC;
            /* The next in order takes the copy. */
            if (f.started < route->count)
                fan_start(&f, route, blocks, count, cancel);
        } else if (++acknowledged >= route->majority) {
            e = ERR_OK;
            holder = route->servers[at];
            if (failed + route->passed_over > 0)
                block_server_tell_short(holder);
            break;
        }
    }
    fan_end(&f, route, holder);
    return e == ERR_BLOCKS && block_route_is_full(route, full) ? ERR_NOSPC : e;
}

/* Blocks that go to the same servers, in one frame. */
static size_t group_size(struct block_client *c, struct block_buffer *const *blocks, size_t count,
                         const struct block_route *ret)
{
    size_t bytes = blocks[0]->data.size, n = 1;
    for (; n < count && n < RPC_PAYLOAD_SLICES; n++) {
        bytes += blocks[n]->data.size;
        if (bytes > LIMIT_FRAME_PAYLOAD_BYTES)
            break;
        if (ret->count > ret->replicas) {
            struct block_route other;
            block_route_for(c, &blocks[n]->id, &other);
            if (memcmp(other.servers, ret->servers, ret->replicas * sizeof ret->servers[0]) != 0)
                break;
        }
    }
    return n;
}

enum err block_client_put_durable(struct block_client *c, struct block_buffer *const *blocks, size_t count,
                                  struct rpc_cancel *cancel)
{
    int64_t begun = clock_boot_ns();
    unsigned attempt = 0;
    while (count > 0) {
        struct block_route route;
        TRY(block_route_for_put(c, &blocks[0]->id, cancel, &route));
        size_t group = group_size(c, blocks, count, &route);
        enum err e = route.count > 0 ? put_once(&route, blocks, group, meta_client_epoch(c->meta), cancel) : ERR_BLOCKS;
        if (e == ERR_OK) {
            blocks += group;
            count -= group;
            attempt = 0;
        } else if (e != ERR_BLOCKS) {
            return e;
        } else {
            TRY(block_backoff(c, attempt++, begun, cancel));
            enum err refreshed = meta_client_map_refresh(c->meta, cancel);
            if (err_class(refreshed) == ERR_CLASS_GIVE_UP || refreshed == ERR_CANCELLED)
                return refreshed;
        }
    }
    return ERR_OK;
}

enum err block_client_put_batch(struct block_client *c, struct block_buffer *const *blocks, size_t count,
                                struct rpc_cancel *cancel)
{
    struct block_route route;
    struct sha256 any = {{0}};
    block_route_for(c, &any, &route);
    if (route.count <= route.replicas) /* all go to all */
        return block_client_put_durable(c, blocks, count, cancel);
    struct block_tracker *t = block_tracker_new(c);
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = block_tracker_put(t, blocks[i], cancel);
    if (e == ERR_OK)
        e = block_tracker_sync(t, cancel);
    block_tracker_free(t);
    return e;
}

/* ---- get ---- */

/* Keeps the answer's memory, but for what it has to spare. */
static struct block_buffer *buffer_of(struct rpc_call *call, struct slice payload)
{
    struct bytes answer;
    rpc_call_take(call, &answer);
    size_t offset = (size_t)(payload.data - answer.data), size = offset + payload.size;
    uint8_t *memory = answer.capacity - size > size / SPARE_PART ? mem_realloc(answer.data, size) : answer.data;
    return block_buffer_within(memory, SLICE(memory + offset, payload.size));
}

/* The block that an answer carries: NOT_FOUND when it says absent, CORRUPT when the bytes are others. */
static enum err take_block(struct rpc_call *call, const struct sha256 *id, struct block_buffer **ret)
{
    struct slice message, payload;
    TRY(rpc_call_result(call, &message, &payload));
    struct arena a = {0};
    struct wire_block_sizes sizes;
    struct err_text why;
    enum err e = wire_block_sizes_decode(message, payload.size, &a, &sizes, &why);
    if (e == ERR_OK && (sizes.count != 1 || sizes.sizes[0] == WIRE_BLOCK_ABSENT))
        e = ERR_NOT_FOUND;
    arena_free(&a);
    TRY(e);
    struct block_buffer *b = buffer_of(call, payload);
    if (!sha256_equal(&b->id, id)) {
        block_buffer_unref(b);
        return ERR_CORRUPT;
    }
    *ret = b;
    return ERR_OK;
}

struct asking {
    const struct sha256 *id;
    struct block_route route;
    struct fan fan;
    unsigned answered_without;         /* servers that have answered and don't have it intact */
    bool without[LIMIT_BLOCK_SERVERS]; /* the same, by their place in the route */
    struct slice message;              /* the request */
    struct rpc_cancel *cancel;
};

static void ask_next(struct asking *q)
{
    struct fan *f = &q->fan;
    f->calls[f->started] = rpc_call_start(q->route.servers[f->started]->channel, METHOD_BLOCK_GET, q->message, NULL, 0,
                                          clock_boot_ns() + BLOCK_TRY_NS, q->cancel);
    f->started++;
    f->under_way++;
}

static enum err take_answer(struct asking *q, size_t at, struct block_buffer **ret)
{
    enum err e = take_block(q->fan.calls[at], q->id, ret);
    rpc_call_free(q->fan.calls[at]);
    q->fan.calls[at] = NULL;
    q->fan.under_way--;
    if (e == ERR_CORRUPT || e == ERR_IO) {
        char hex[65];
        sha256_hex(q->id, hex);
        log_warn("block %s: bad copy on server %u (%s), reading another", hex, q->route.servers[at]->id,
                 err_message(e));
    }
    if (e == ERR_NOT_FOUND || e == ERR_CORRUPT || e == ERR_IO)
        q->answered_without++, q->without[at] = true;
    else if (e != ERR_OK)
        block_server_suspect(q->route.servers[at], e);
    else
        block_server_answered(q->route.servers[at]);
    if (e == ERR_OK && at + 1 == q->fan.started)
        block_server_in_time(q->route.servers[at]);
    return e;
}

/* Whoever has not answered by now is read last for a while. */
static void overtake(struct asking *q)
{
    for (unsigned i = 0; i < q->fan.started; i++)
        if (q->fan.calls[i])
            block_server_overtaken(q->route.servers[i]);
}

/* One walk over the servers in order. */
static enum err get_once(struct asking *q, struct block_buffer **ret)
{
    enum err e = ERR_BLOCKS;
    while (q->fan.under_way > 0 || q->fan.started < q->route.count) {
        if (q->fan.under_way == 0)
            ask_next(q);
        bool more = q->fan.started < q->route.count;
        size_t at;
        enum err waited = rpc_call_wait_any(q->fan.calls, q->fan.started,
                                            more ? clock_boot_ns() + BLOCK_HEDGE_NS : INT64_MAX, q->cancel, &at);
        if (waited == ERR_TIMEOUT && more) {
            overtake(q);
            ask_next(q);
            continue;
        }
        e = waited == ERR_OK ? take_answer(q, at, ret) : waited;
        if (e == ERR_OK || e == ERR_CANCELLED)
            break;
    }
    fan_end(&q->fan, &q->route, NULL);
    /* Whether one of these should have it at all is its own to know. */
    for (unsigned i = 0; e == ERR_OK && i < q->fan.started; i++)
        if (q->without[i])
            block_server_tell_bad(q->route.servers[i], q->id);
    if (e == ERR_OK || e == ERR_CANCELLED)
        return e;
    return q->answered_without == q->route.count && q->route.count > 0 ? ERR_NOT_FOUND : ERR_BLOCKS;
}

/* It may not be on the block servers yet: then the metastore has it. NOT_FOUND when it hasn't, or doesn't answer. */
static enum err get_inline(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                           struct block_buffer **ret)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_INLINE, .block = *id};
    struct meta_query_reply reply;
    enum err e = meta_client_query(c->meta, &query, cancel, &a, &reply);
    bool there =
        e == ERR_OK && reply.status == ERR_OK && reply.inlined_count > 0 && sha256_equal(&reply.inlined[0].id, id);
    if (there)
        *ret = block_buffer_new(mem_dup(reply.inlined[0].data.data, reply.inlined[0].data.size),
                                reply.inlined[0].data.size);
    arena_free(&a);
    return there ? ERR_OK : e == ERR_CANCELLED ? e : ERR_NOT_FOUND;
}

enum err block_client_get(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                          struct block_buffer **ret)
{
    int64_t begun = clock_boot_ns();
    struct arena a = {0};
    struct wire_block_ids ids = {.ids = id, .count = 1};
    struct slice message = wire_block_ids_encode(&ids, &a);
    enum err e = ERR_BLOCKS;
    bool again = true; /* it may have been moved to the block servers after these were asked and before the metastore */
    for (unsigned attempt = 0; e == ERR_BLOCKS; attempt++) {
        struct asking q = {.id = id, .message = message, .cancel = cancel};
        block_route_for(c, id, &q.route);
        block_route_by_speed(&q.route);
        e = get_once(&q, ret);
        if (e == ERR_BLOCKS || e == ERR_NOT_FOUND) {
            enum err there = get_inline(c, id, cancel, ret);
            e = there == ERR_NOT_FOUND ? e : there;
        }
        if (e == ERR_NOT_FOUND && again) {
            again = false;
            e = ERR_BLOCKS;
        } else if (e == ERR_BLOCKS) {
            e = block_backoff(c, attempt, begun, cancel);
            if (e == ERR_OK) {
                enum err refreshed = meta_client_map_refresh(c->meta, cancel);
                e = refreshed == ERR_CANCELLED || refreshed == ERR_SESSION_EXPIRED ? refreshed : ERR_BLOCKS;
            }
        }
    }
    arena_free(&a);
    return e;
}
