/* The metastore: the state machine itself, without members or a log. */
#include <string.h>

#include "base/check.h"
#include "tests/gc_sim/world.h"

#define EPOCHS_FIRST 5u /* a seed by itself is like one among many */

static unsigned named_now(struct world *w, uint64_t *ret_epoch)
{
    struct meta_query query = {.op = META_QUERY_BLOCK_REFS, .blocks = w->blocks, .block_count = BLOCKS};
    struct meta_query_reply reply;
    unsigned named = 0;
    arena_reset(&w->arena);
    CHECK(meta_query(w->meta, &query, &w->arena, &reply) == ERR_OK && reply.status == ERR_OK);
    for (unsigned b = 0; b < BLOCKS; b++)
        named |= reply.referenced[b] ? BIT(b) : 0;
    *ret_epoch = reply.epoch;
    return named;
}

static void remember(struct world *w)
{
    struct answer now;
    now.named = named_now(w, &now.epoch);
    if (w->history_count == HISTORY)
        memmove(w->history, w->history + 1, --w->history_count * sizeof w->history[0]);
    w->history[w->history_count++] = now;
    for (unsigned b = 0; b < BLOCKS; b++)
        if (!(now.named & BIT(b)))
            w->counted[b] = 0;
}

struct meta_reply state_apply(struct world *w, struct meta_command c)
{
    struct meta_reply reply;
    c.time_ns = (int64_t)++w->index;
    CHECK(meta_apply(w->meta, w->index, 1, &c, &reply) == ERR_OK);
    remember(w);
    return reply;
}

void state_open(struct world *w)
{
    char name[] = "f0";
    CHECK(state_apply(w, (struct meta_command){.op = META_INIT}).status == ERR_OK);
    for (unsigned c = 0; c <= CLIENTS; c++) {
        struct meta_command open = {.op = META_SESSION_OPEN,
                                    .session_open = {.export = slice_str("default"), .client = slice_str("simulated")}};
        open.session_open.nonce[0] = (uint8_t)(c + 1);
        w->clients[c].session = state_apply(w, open).session;
    }
    for (unsigned f = 0; f < FILES; f++, name[1]++) {
        struct client *c = &w->clients[CLIENTS];
        struct meta_command make = {.op = META_CREATE,
                                    .session = c->session,
                                    .seq = ++c->seq,
                                    .make = {.parent = META_ROOT_INO, .name = slice_str(name), .mode = 0100644}};
        w->files[f] = state_apply(w, make).attr.ino;
    }
    for (unsigned i = 0; i < EPOCHS_FIRST; i++)
        state_raise_epoch(w);
}

void state_begin(struct world *w)
{
    for (unsigned b = 0; b < BLOCKS; b++) {
        uint64_t words[] = {w->seed, b};
        sha256_of(SLICE((const uint8_t *)words, sizeof words), &w->blocks[b]);
    }
    memset(w->counted, 0, sizeof w->counted);
    w->history_count = 0;
    remember(w);
}

struct answer state_now(const struct world *w)
{
    return w->history[w->history_count - 1];
}

struct answer state_answer(struct world *w, bool may_lag)
{
    if (may_lag && chance(w, 40))
        return w->history[prng_below(&w->prng, w->history_count)];
    return state_now(w);
}

void state_raise_epoch(struct world *w)
{
    struct meta_collection now;
    meta_collection(w->meta, &now);
    struct meta_reply r = state_apply(w, (struct meta_command){.op = META_EPOCH, .epoch.after = now.epoch});
    CHECK(r.status == ERR_OK && r.epoch == now.epoch + 1);
    seeds_trace("epoch %llu", (unsigned long long)r.epoch);
}

static struct meta_reply call(struct world *w, struct meta_command c)
{
    struct client *client = &w->clients[CLIENTS];
    c.session = client->session;
    c.seq = ++client->seq;
    c.acked = client->acked;
    return state_apply(w, c);
}

void state_truncate(struct world *w, unsigned file)
{
    struct meta_command c = {.op = META_SETATTR, .setattr = {.ino = w->files[file], .mask = META_SET_SIZE}};
    CHECK(call(w, c).status == ERR_OK);
    seeds_trace("file %u is truncated", file);
}

void state_clone(struct world *w, unsigned from, unsigned to)
{
    struct meta_command c = {.op = META_CLONE,
                             .clone = {.source = w->files[from], .ino = w->files[to], .length = LIMIT_BLOCK_BYTES}};
    struct meta_reply r = call(w, c);
    seeds_trace("file %u becomes a copy of %u: %s", to, from, err_name(r.status));
}

unsigned state_extents(struct world *w, unsigned file, struct meta_extent *ret)
{
    struct meta_query query = {.op = META_QUERY_EXTENTS, .ino = w->files[file], .length = LIMIT_BLOCK_BYTES};
    struct meta_query_reply reply;
    arena_reset(&w->arena);
    CHECK(meta_query(w->meta, &query, &w->arena, &reply) == ERR_OK && reply.status == ERR_OK);
    CHECK(reply.extent_count <= SLOTS);
    if (reply.extent_count > 0)
        memcpy(ret, reply.extents, reply.extent_count * sizeof *ret);
    return reply.extent_count;
}

void state_reap(struct world *w)
{
    uint64_t content_id;
    if (!meta_reap_pending(w->meta, &content_id))
        return;
    (void)state_apply(w, (struct meta_command){.op = META_REAP, .reap.content_id = content_id});
    seeds_trace("dead contents are reaped");
}

void state_check(const struct world *w, const char *after)
{
    struct answer now = state_now(w);
    for (unsigned b = 0; b < BLOCKS; b++)
        for (unsigned s = 0; s < SERVERS; s++)
            if ((now.named & BIT(b)) && (w->counted[b] & BIT(s)) && !(w->servers[s].here & BIT(b)))
                seeds_fail("after %s: block %u is named, and server %u, which has acknowledged it, lacks it", after, b,
                           s);
}
