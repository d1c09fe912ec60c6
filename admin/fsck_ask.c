/* The block servers are asked, each on a thread of its own and one question at a time: that is the pace of the check,
 * which leaves each server at most one worker busy. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "admin/fsck.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define SURE_BLOCKS 32u /* in one question: each is read */
#define TRIES 4u
#define RETRY_NS (100 * NS_PER_MS)
#define SUSPECTS_PER_S 200u /* what servers take is bounded (daemon/block/block_keeper.h) */

_Static_assert(SURE_BLOCKS <= LIMIT_BLOCKS_PER_FRAME, "a question fits in a frame");

enum said { SAID_NOTHING, SAID_GOOD, SAID_BAD, SAID_ABSENT };

struct work {
    struct admin admin; /* with an arena of its own */
    struct fsck_server *server;
    unsigned index;
    const struct fsck_block *blocks;
    unsigned count;
    const struct fsck_range *page; /* NULL: none */
    uint8_t *said;                 /* of each block */
    bool tell;                     /* of suspects, instead of asking */
    uint64_t rate;
    pthread_t thread;
};

static bool is_passing(enum err e)
{
    return err_class(e) == ERR_CLASS_LEADER || err_class(e) == ERR_CLASS_WAIT || err_class(e) == ERR_CLASS_RETRY;
}

/* A server that can't be asked after some tries is not asked again in this round. */
static enum err call(struct work *w, unsigned method, struct slice message, struct slice *ret)
{
    struct fsck_server *s = w->server;
    enum err e = ERR_UNREACHABLE;
    for (unsigned i = 0; i < TRIES; i++) {
        if (i > 0)
            fsck_pause(RETRY_NS);
        if (!s->channel)
            s->channel = admin_channel(&w->admin, s->address, w->admin.timeout_ns, &s->why);
        if (!s->channel)
            return ERR_ADDRESS;
        e = admin_call(&w->admin, s->channel, method, message, w->admin.timeout_ns, ret, &s->why);
        if (e == ERR_OK)
            s->why.text[0] = 0;
        if (!is_passing(e))
            return e;
        rpc_channel_free(s->channel);
        s->channel = NULL;
    }
    return e;
}

/* Waits until what was read stays below the rate. What a server says is bounded by what it could have read. */
static void keep_to_rate(struct work *w, unsigned blocks, uint64_t read_bytes)
{
    struct fsck_server *s = w->server;
    if (w->rate == 0)
        return;
    uint64_t bytes = MIN(read_bytes, blocks * (uint64_t)LIMIT_BLOCK_BYTES);
    int64_t now_ns = clock_boot_ns();
    s->paced_until_ns = MAX(s->paced_until_ns, now_ns) + (int64_t)((unsigned __int128)bytes * NS_PER_S / w->rate);
    fsck_pause(s->paced_until_ns - now_ns);
}

static enum err ask_has(struct work *w, const struct sha256 *ids, unsigned count, bool sure, const uint8_t **ret)
{
    struct wire_block_ids query = {.ids = ids, .count = count, .sure = sure};
    struct wire_block_present reply;
    struct slice answer;
    TRY(call(w, METHOD_BLOCK_HAS, wire_block_ids_encode(&query, &w->admin.arena), &answer));
    TRY(wire_block_present_decode(answer, &w->admin.arena, &reply, &w->server->why));
    if (reply.count != count)
        return err_explain(&w->server->why, ERR_PROTOCOL, "it answers for %u blocks of %u", reply.count, count);
    *ret = reply.present;
    if (sure)
        keep_to_rate(w, count, reply.read_bytes);
    return ERR_OK;
}

/* A copy that can't be read for sure is absent, or bad when the server thinks that it has it. */
static enum err ask_batch(struct work *w, const unsigned *which, unsigned count)
{
    struct sha256 ids[SURE_BLOCKS];
    const uint8_t *sure, *present = NULL;
    bool all = true;
    for (unsigned i = 0; i < count; i++)
        ids[i] = w->blocks[which[i]].id;
    TRY(ask_has(w, ids, count, true, &sure));
    for (unsigned i = 0; i < count; i++)
        all = all && sure[i];
    if (!all)
        TRY(ask_has(w, ids, count, false, &present));
    for (unsigned i = 0; i < count; i++)
        w->said[which[i]] = sure[i] ? SAID_GOOD : present[i] ? SAID_BAD : SAID_ABSENT;
    arena_reset(&w->admin.arena);
    return ERR_OK;
}

static enum err ask_all(struct work *w)
{
    unsigned which[SURE_BLOCKS], count = 0;
    for (unsigned i = 0; i < w->count; i++) {
        if (w->blocks[i].ask & FSCK_BIT(w->index))
            which[count++] = i;
        if (count == SURE_BLOCKS) {
            TRY(ask_batch(w, which, count));
            count = 0;
        }
    }
    return count > 0 ? ask_batch(w, which, count) : ERR_OK;
}

/* Both lists are in order. */
static void count_others(struct work *w, const struct wire_ids *page, unsigned *at)
{
    for (unsigned i = 0; i < page->count; i++) {
        while (*at < w->count && memcmp(w->blocks[*at].id.bytes, page->ids[i].bytes, SHA256_SIZE) < 0)
            ++*at;
        bool named = *at < w->count && sha256_equal(&w->blocks[*at].id, &page->ids[i]);
        w->server->unnamed += !named;
        w->server->strays += named && !(w->blocks[*at].owners & FSCK_BIT(w->index));
    }
}

/* What the server has that nobody names: no error, and so is a list that can't be had. */
static void ask_inventory(struct work *w)
{
    struct wire_ids_query query = {.after = w->page->after, .upto = w->page->upto, .max = FSCK_PAGE_BLOCKS};
    unsigned at = 0;
    while (memcmp(query.after.bytes, query.upto.bytes, SHA256_SIZE) < 0) {
        struct slice answer;
        struct wire_ids page;
        struct err_text why;
        if (call(w, METHOD_BLOCK_INVENTORY, wire_ids_query_encode(&query, &w->admin.arena), &answer) != ERR_OK ||
            wire_ids_decode(answer, &w->admin.arena, &page, &why) != ERR_OK ||
            memcmp(page.through.bytes, query.after.bytes, SHA256_SIZE) <= 0)
            break;
        count_others(w, &page, &at);
        query.after = page.through;
        arena_reset(&w->admin.arena);
    }
    w->server->why.text[0] = 0;
}

static enum err tell(struct work *w)
{
    struct sha256 ids[SUSPECTS_PER_S];
    struct wire_block_ids message = {.ids = ids};
    struct slice answer;
    for (unsigned i = 0; i < w->count && message.count < SUSPECTS_PER_S; i++)
        if (((w->blocks[i].absent & w->blocks[i].owners) | w->blocks[i].bad) & FSCK_BIT(w->index))
            ids[message.count++] = w->blocks[i].id;
    return message.count == 0
               ? ERR_OK
               : call(w, METHOD_BLOCK_SUSPECT, wire_block_ids_encode(&message, &w->admin.arena), &answer);
}

static void *work_main(void *p)
{
    struct work *w = p;
    enum err e = w->tell ? tell(w) : ask_all(w);
    if (e == ERR_OK && w->page)
        ask_inventory(w);
    if (e != ERR_OK && !w->server->why.text[0])
        (void)err_explain(&w->server->why, e, "%s", err_message(e));
    arena_free(&w->admin.arena);
    return NULL;
}

/* One thread for each server that is to be asked something and has not failed. */
static void run(struct fsck *f, struct work *work, const struct work *common)
{
    bool begun[LIMIT_BLOCK_SERVERS] = {false};
    for (unsigned s = 0; s < f->server_count; s++) {
        work[s] = *common;
        work[s].admin = (struct admin){.timeout_ns = f->a->timeout_ns};
        work[s].server = &f->servers[s];
        work[s].index = s;
        work[s].said = mem_zalloc(common->count + 1);
        begun[s] = !f->servers[s].why.text[0];
        if (begun[s])
            CHECK(pthread_create(&work[s].thread, NULL, work_main, &work[s]) == 0);
    }
    for (unsigned s = 0; s < f->server_count; s++)
        if (begun[s])
            pthread_join(work[s].thread, NULL);
}

void fsck_ask_blocks(struct fsck *f, struct fsck_block *blocks, unsigned count, const struct fsck_range *page)
{
    struct work work[LIMIT_BLOCK_SERVERS], common = {.blocks = blocks, .count = count, .page = page, .rate = f->rate};
    run(f, work, &common);
    for (unsigned s = 0; s < f->server_count; s++) {
        for (unsigned i = 0; i < count; i++) {
            struct fsck_block *b = &blocks[i];
            uint64_t bit = FSCK_BIT(s);
            if (!(b->ask & bit))
                continue;
            b->good &= ~bit, b->bad &= ~bit, b->absent &= ~bit;
            b->good |= work[s].said[i] == SAID_GOOD ? bit : 0;
            b->bad |= work[s].said[i] == SAID_BAD ? bit : 0;
            b->absent |= work[s].said[i] == SAID_ABSENT ? bit : 0;
        }
        free(work[s].said);
    }
}

void fsck_tell_suspects(struct fsck *f, const struct fsck_block *blocks, unsigned count)
{
    struct work work[LIMIT_BLOCK_SERVERS], common = {.blocks = blocks, .count = count, .tell = true};
    run(f, work, &common);
    for (unsigned s = 0; s < f->server_count; s++)
        free(work[s].said);
}

void fsck_servers_close(struct fsck *f)
{
    for (unsigned s = 0; s < f->server_count; s++) {
        if (f->servers[s].channel)
            rpc_channel_free(f->servers[s].channel);
        f->servers[s].channel = NULL;
    }
}
