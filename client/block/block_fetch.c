/* block_fetch.c: many blocks at a time. Each is asked for at the server that is first in its order, with others in one
 * request; what comes no answer for soon, or no good one, is asked for at the next. That is meant for what goes well:
 * what is left after it is left to block_client_get, which knows all that can go wrong. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/block/block_servers.h"
#include "proto/methods.h"
#include "proto/wire_block.h"

#define LOG_MODULE "blocks"
#include "base/log.h"

#define REQUESTS_MAX 8u /* under way at once */
#define SERVERS_TRIED 2u

/* A block that is wanted. */
struct wanted {
    struct block_server *without; /* has answered, and not with this block; NULL: none has */
    unsigned tried;               /* so many servers were asked in vain */
    bool asked, got;              /* asked: a request for it is under way that is not late */
};

struct request {
    struct rpc_call *call; /* NULL: free, or not sent yet */
    struct block_server *server;
    int64_t begun_ns;
    bool late;
    unsigned count;
    unsigned which[LIMIT_BLOCKS_PER_FRAME]; /* of the blocks that are wanted */
};

struct fetch {
    struct block_client *client;
    const struct sha256 *ids;
    struct wanted *wanted;
    size_t count, left; /* left: are neither here nor given up */
    struct request requests[REQUESTS_MAX];
    void (*take)(void *context, size_t index, struct block_buffer *block);
    void *context;
    struct rpc_cancel *cancel;
};

static void tried(struct fetch *f, unsigned i)
{
    struct wanted *w = &f->wanted[i];
    w->asked = false;
    if (!w->got && w->tried < SERVERS_TRIED && ++w->tried == SERVERS_TRIED)
        f->left--;
}

/* The request that a block is to go with: one to that server which is not full, or a new one. NULL: later. */
static struct request *request_to(struct fetch *f, struct block_server *server)
{
    struct request *new = NULL;
    for (unsigned n = 0; n < REQUESTS_MAX; n++) {
        struct request *r = &f->requests[n];
        if (r->call)
            continue;
        if (r->count == 0)
            new = new ? new : r;
        else if (r->server == server && r->count < LIMIT_BLOCKS_PER_FRAME)
            return r;
    }
    if (new)
        new->server = server;
    return new;
}

static void gather(struct fetch *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct wanted *w = &f->wanted[i];
        if (w->got || w->asked || w->tried == SERVERS_TRIED)
            continue;
        struct block_route route;
        block_route_for(f->client, &f->ids[i], &route);
        block_route_by_speed(&route);
        if (w->tried >= route.well) {
            w->tried = SERVERS_TRIED;
            f->left--;
            continue;
        }
        struct request *r = request_to(f, route.servers[w->tried]);
        if (!r)
            continue;
        r->which[r->count++] = i;
        w->asked = true;
    }
}

static void send_gathered(struct fetch *f)
{
    for (unsigned n = 0; n < REQUESTS_MAX; n++) {
        struct request *r = &f->requests[n];
        if (r->call || r->count == 0)
            continue;
        struct sha256 ids[LIMIT_BLOCKS_PER_FRAME];
        for (unsigned k = 0; k < r->count; k++)
            ids[k] = f->ids[r->which[k]];
        struct wire_block_ids question = {.ids = ids, .count = r->count};
        struct arena a = {0};
        r->late = false;
        r->begun_ns = clock_boot_ns();
        r->call = rpc_call_start(r->server->channel, METHOD_BLOCK_GET, wire_block_ids_encode(&question, &a), NULL, 0,
                                 r->begun_ns + BLOCK_TRY_NS, f->cancel);
        arena_free(&a);
    }
}

/* One that came; another server may have been asked for it meanwhile and have answered first. */
static void take_one(struct fetch *f, const struct request *r, unsigned i, struct slice data)
{
    struct wanted *w = &f->wanted[i];
    if (w->got)
        return;
    struct block_buffer *b = block_buffer_new(mem_dup(data.data, data.size), data.size);
    if (sha256_equal(&b->id, &f->ids[i])) {
        if (w->tried < SERVERS_TRIED)
            f->left--;
        w->got = true;
        w->asked = false;
        if (w->without && w->without != r->server)
            block_server_tell_bad(w->without, &f->ids[i]);
        f->take(f->context, i, b);
    } else {
        char hex[65];
        sha256_hex(&f->ids[i], hex);
        log_warn("block %s: bad copy on server %u, reading another", hex, r->server->id);
        w->without = r->server;
        if (!r->late)
            tried(f, i);
    }
    block_buffer_unref(b);
}

/* In the order of the question; behind the last that came are those that did not fit, which are asked for again. If
 * none came there are none that did not fit. */
static void take_all(struct fetch *f, struct request *r, const struct wire_block_sizes *sizes, struct slice payload)
{
    unsigned end = r->count;
    while (end > 0 && sizes->sizes[end - 1] == WIRE_BLOCK_ABSENT)
        end--;
    end = end > 0 ? end : r->count;
    size_t at = 0;
    for (unsigned k = 0; k < end; k++) {
        unsigned i = r->which[k];
        if (sizes->sizes[k] == WIRE_BLOCK_ABSENT) {
            f->wanted[i].without = r->server;
            if (!r->late)
                tried(f, i);
            continue;
        }
        take_one(f, r, i, slice_sub(payload, at, sizes->sizes[k]));
        at += sizes->sizes[k];
    }
    for (unsigned k = end; k < r->count && !r->late; k++)
        f->wanted[r->which[k]].asked = false;
}

static enum err take_answer(struct fetch *f, struct request *r)
{
    struct slice message, payload;
    struct arena a = {0};
    struct wire_block_sizes sizes;
    struct err_text why;
    enum err e = rpc_call_result(r->call, &message, &payload);
    if (e == ERR_OK)
        e = wire_block_sizes_decode(message, payload.size, &a, &sizes, &why);
    if (e == ERR_OK && sizes.count != r->count)
        e = ERR_PROTOCOL;
    if (e == ERR_OK) {
        block_server_answered(r->server);
        if (!r->late)
            block_server_in_time(r->server);
        take_all(f, r, &sizes, payload);
    } else {
        block_server_suspect(r->server, e);
        for (unsigned k = 0; k < r->count && !r->late; k++)
            tried(f, r->which[k]);
    }
    arena_free(&a);
    rpc_call_free(r->call);
    r->call = NULL;
    r->count = 0;
    return e == ERR_CANCELLED ? e : ERR_OK;
}

/* Others are asked for what these have not brought by now; if they bring it yet, it is welcome. */
static void overtake(struct fetch *f)
{
    int64_t now_ns = clock_boot_ns();
    for (unsigned n = 0; n < REQUESTS_MAX; n++) {
        struct request *r = &f->requests[n];
        if (!r->call || r->late || now_ns - r->begun_ns < BLOCK_HEDGE_NS)
            continue;
        r->late = true;
        block_server_overtaken(r->server);
        for (unsigned k = 0; k < r->count; k++)
            tried(f, r->which[k]);
    }
}

/* Until the next of those that are under way is late. INT64_MAX: all are. */
static int64_t late_at_ns(const struct fetch *f)
{
    int64_t at_ns = INT64_MAX;
    for (unsigned n = 0; n < REQUESTS_MAX; n++)
        if (f->requests[n].call && !f->requests[n].late)
            at_ns = MIN(at_ns, f->requests[n].begun_ns + BLOCK_HEDGE_NS);
    return at_ns;
}

static enum err wait_and_take(struct fetch *f)
{
    struct rpc_call *calls[REQUESTS_MAX];
    for (unsigned n = 0; n < REQUESTS_MAX; n++)
        calls[n] = f->requests[n].call;
    size_t at;
    enum err e = rpc_call_wait_any(calls, REQUESTS_MAX, late_at_ns(f), f->cancel, &at);
    if (e == ERR_OK)
        return take_answer(f, &f->requests[at]);
    overtake(f);
    return e == ERR_TIMEOUT ? ERR_OK : e;
}

static enum err fetch_together(struct fetch *f)
{
    enum err e = ERR_OK;
    while (e == ERR_OK && f->left > 0) {
        gather(f);
        send_gathered(f);
        /* What can't be asked for now, since there are too many late requests, is as good as given up. */
        if (late_at_ns(f) == INT64_MAX)
            break;
        e = wait_and_take(f);
    }
    for (unsigned n = 0; n < REQUESTS_MAX; n++)
        if (f->requests[n].call)
            block_server_leave(f->requests[n].server, f->requests[n].call, 0, NULL);
    return e;
}

/* ret_got: of each, whether it was given. */
static enum err get_together(struct block_client *c, const struct sha256 *ids, size_t count, struct rpc_cancel *cancel,
                             void (*take)(void *context, size_t index, struct block_buffer *block), void *context,
                             bool *ret_got)
{
    struct fetch *f = MEM_NEW(struct fetch);
    *f = (struct fetch){.client = c,
                        .ids = ids,
                        .wanted = mem_zalloc(MAX(count, (size_t)1) * sizeof *f->wanted),
                        .count = count,
                        .left = count,
                        .take = take,
                        .context = context,
                        .cancel = cancel};
    enum err e = fetch_together(f);
    for (size_t i = 0; ret_got && i < count; i++)
        ret_got[i] = f->wanted[i].got;
    free(f->wanted);
    free(f);
    return e;
}

enum err block_client_get_together(struct block_client *c, const struct sha256 *ids, size_t count,
                                   struct rpc_cancel *cancel,
                                   void (*take)(void *context, size_t index, struct block_buffer *block), void *context)
{
    return get_together(c, ids, count, cancel, take, context, NULL);
}

enum err block_client_get_many(struct block_client *c, const struct sha256 *ids, size_t count,
                               struct rpc_cancel *cancel,
                               void (*take)(void *context, size_t index, struct block_buffer *block), void *context)
{
    _cleanup_free_ bool *got = mem_zalloc(MAX(count, (size_t)1));
    enum err e = count > 1 ? get_together(c, ids, count, cancel, take, context, got) : ERR_OK;
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        struct block_buffer *b;
        if (got[i])
            continue;
        e = block_client_get(c, &ids[i], cancel, &b);
        if (e == ERR_OK) {
            take(context, i, b);
            block_buffer_unref(b);
        }
    }
    return e;
}
