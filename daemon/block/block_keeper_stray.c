/* Copies that belong on other servers: they came here while one of those was down, or before the map changed. A copy
 * goes when this server is none of the block's owners, no owner is away, each of them has said that it holds the block
 * synced and has just read it without fault (a `sure` question), and the copy was a stray for --stray-age before.
 * The question carries the copy's touch, which must not have risen when it goes (blockstore/collect.h).
 * Why nothing is lost by it: blockstore/repair.h. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/block/block_keeper.h"
#include "proto/methods.h"

static void ask_next(struct block_keeper *k);

void keeper_strays_end(struct block_keeper *k)
{
    int64_t first_ns = strays_walk_end(&k->strays), age_ns = (int64_t)k->node->config.stray_age_s * NS_PER_S;
    /* Those that were old enough and are still here wait for another walk: not at once. */
    k->stray_due_ns = first_ns == INT64_MAX ? 0 : MAX(first_ns + age_ns, clock_boot_ns() + age_ns / 2 + NS_PER_S);
}

/* ---- removal ---- */

static void on_remove(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    /* Not one that was put here since the owners were asked: they have not heard of that put. */
    w->removed = block_store_collect(k->node->blocks, w->leaving, w->leaving_count,
                                     collect_stray_limit(w->batch.sure_touched), &w->strays_gone);
}

static void on_removed(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_walk *w = &k->walk;
    CHECK(cancelled == 0);
    w->worker = k->removals.under_way = false;
    for (unsigned i = 0; i < w->leaving_count; i++)
        strays_forget(&k->strays, &w->leaving[i]);
    if (w->removed == ERR_OK)
        k->told.strays_removed += w->strays_gone.blocks, w->strays_removed += w->strays_gone.blocks;
    ask_next(k);
}

/* Those of which every owner was sure. */
static void remove_sure(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    w->leaving_count = repair_batch_sure_end(&w->batch, w->leaving);
    if (w->leaving_count == 0) {
        ask_next(k);
        return;
    }
    w->worker = k->removals.under_way = true;
    k->removals.begun++;
    CHECK(uv_queue_work(k->node->loop, &w->work, on_remove, on_removed) == 0);
}

static enum err take_sure(struct block_keeper *k, unsigned server, const struct rpc_response *response)
{
    struct wire_block_present present;
    struct err_text why;
    TRY(response->status);
    arena_reset(&k->arena);
    TRY(wire_block_present_decode(response->message, &k->arena, &present, &why));
    repair_batch_sure_answer(&k->walk.batch, server, present.map_version, present.present, present.count);
    return ERR_OK;
}

static void on_sure(void *context, const struct rpc_response *response)
{
    const struct walk_call *call = context;
    struct block_keeper *k = call->keeper;
    struct keeper_walk *w = &k->walk;
    w->calls--;
    (void)!take_sure(k, call->server, response);
    if (w->calls > 0)
        return;
    if (keeper_active(k))
        remove_sure(k);
    else
        keeper_walk_stop(k);
}

/* ---- questions ---- */

/* The next strays with the same owners. */
static void ask_next(struct block_keeper *k)
{
    struct keeper_walk *w = &k->walk;
    if (!keeper_active(k) || k->news.waits) {
        keeper_walk_next_batch(k);
        return;
    }
    arena_reset(&k->arena);
    struct sha256 *ids = arena_alloc(&k->arena, REPAIR_SURE_MAX * sizeof *ids);
    unsigned count = repair_batch_sure(&w->batch, ids);
    if (count == 0) {
        keeper_walk_next_batch(k);
        return;
    }
    struct wire_block_ids question = {.ids = ids, .count = count, .sure = true, .epoch = w->batch.sure_touched};
    struct slice message = wire_block_ids_encode(&question, &k->arena);
    for (unsigned s = 0; s < k->map.count; s++)
        if (w->batch.sure_owners & UPKEEP_BIT(s)) {
            if (!keeper_server_ready(k->servers[s]))
                continue; /* no answer, and so no removal */
            w->calls++;
            rpc_peer_call(k->servers[s]->peer, METHOD_BLOCK_HAS, message, SLICE(NULL, 0),
                          clock_boot_ns() + KEEPER_ASK_DEADLINE_NS, on_sure, &w->slots[s]);
        }
    if (w->calls == 0)
        ask_next(k);
}

void keeper_strays_begin(struct block_keeper *k)
{
    repair_batch_strays(&k->walk.batch, &k->strays, clock_boot_ns(), (int64_t)k->node->config.stray_age_s * NS_PER_S);
    ask_next(k);
}
