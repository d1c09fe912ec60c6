/* Garbage: own blocks, in batches: the metastore is asked which of them files name, and what it doesn't name is removed
 * when it has not been touched lately (blockstore/collect.h, with the proof). When much has gone the store's files are
 * rewritten, so that the file system gets the space. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/block/block_keeper.h"

#define RETRY_NS (2 * NS_PER_S) /* after one that was broken off */
#define COMPACT_MIN_BYTES (16 * (uint64_t)MIB)
#define COMPACT_PARTS 64u /* or when one of so many parts of the store has gone, if that is more */

static void work(struct block_keeper *k);

/* ---- space ---- */

static void on_compact(uv_work_t *request)
{
    struct block_keeper *k = request->data;
    k->collect.compacted = block_store_compact(k->node->blocks);
}

static void on_compacted(uv_work_t *request, int cancelled)
{
    struct block_keeper *k = request->data;
    struct keeper_collect *c = &k->collect;
    CHECK(cancelled == 0);
    c->compacting = false;
    k->told.compactions++;
    log_info("the block store's files were rewritten in %.3f s%s%s",
             (double)(clock_boot_ns() - c->compact_begun_ns) / (double)NS_PER_S, c->compacted == ERR_OK ? "" : ": ",
             c->compacted == ERR_OK ? "" : err_message(c->compacted));
    if (!k->closing)
        block_reporter_now(k->node);
}

static void compact_if_due(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    uint64_t enough = MAX(COMPACT_MIN_BYTES, k->node->block_stat.block_bytes / COMPACT_PARTS);
    if (c->compacting || c->removed_bytes < enough || !keeper_active(k))
        return;
    c->compacting = true;
    c->removed_bytes = 0;
    c->compact_begun_ns = clock_boot_ns();
    c->compaction.data = k;
    CHECK(uv_queue_work(k->node->loop, &c->compaction, on_compact, on_compacted) == 0);
}

/* ---- one collection ---- */

static void finish(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    int64_t now_ns = clock_boot_ns();
    c->running = false;
    c->past = (struct collect_past){
        .epoch = c->begun.epoch, .released = c->begun.released, .waiting = c->waiting, .ended_ns = now_ns};
    k->told.collections++;
    k->told.collect_epoch = c->begun.epoch;
    k->told.collect_blocks = c->blocks;
    k->told.collect_waiting = c->waiting;
    k->told.collect_ns = (uint64_t)(now_ns - c->begun_ns);
    k->told.collect_ended_ns = (uint64_t)clock_wall_ns();
    log_info("epoch %llu: %llu blocks looked at in %.3f s, %llu removed, %llu wait", (unsigned long long)c->begun.epoch,
             (unsigned long long)c->blocks, (double)(now_ns - c->begun_ns) / (double)NS_PER_S,
             (unsigned long long)c->removed_blocks, (unsigned long long)c->waiting);
    compact_if_due(k);
    block_reporter_now(k->node);
}

static void break_off(struct block_keeper *k, enum err why)
{
    struct keeper_collect *c = &k->collect;
    c->running = false;
    c->retry_ns = clock_boot_ns() + RETRY_NS;
    if (why != ERR_OK)
        log_info("garbage is not looked for now: %s", err_message(why));
}

/* What was found goes, and the next batch is listed. */
static void on_work(uv_work_t *request)
{
    struct block_keeper *k = request->data;
    struct keeper_collect *c = &k->collect;
    unsigned skipped = 0;
    c->result = ERR_OK;
    c->gone = (struct block_store_removed){0};
    if (c->garbage_count > 0)
        c->result = block_store_collect(k->node->blocks, c->garbage, c->garbage_count, c->limit, &c->gone);
    if (c->result == ERR_OK)
        c->result = keeper_list(k, &c->after, KEEPER_REFS, c->refs.ids, &c->refs.count, &skipped);
}

static void on_refs(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    const struct keeper_refs *r = &c->refs;
    c->garbage_count = 0;
    if (!keeper_active(k) || r->status != ERR_OK) {
        break_off(k, r->status);
        return;
    }
    c->heard = true;
    c->limit = collect_limit(r->epoch);
    for (unsigned i = 0; i < r->count; i++) {
        if (r->referenced[i])
            continue;
        if (block_store_touched(k->node->blocks, &r->ids[i]) < c->limit)
            c->garbage[c->garbage_count++] = r->ids[i];
        else
            c->waiting++;
    }
    work(k);
}

static void on_first_epoch(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    c->heard = c->refs.status == ERR_OK;
    if (c->heard && keeper_active(k))
        finish(k);
    else
        break_off(k, c->refs.status);
}

/* An empty store asks all the same, of a block that nobody has: from the answer on it is known of its blocks that they
 * were not touched later (touch_begin_at). */
static void ask_for_epoch(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    memset(&c->refs.ids[0], 0, sizeof c->refs.ids[0]);
    c->refs.count = 1;
    keeper_refs_ask(k, &c->refs, on_first_epoch);
}

static void on_worked(uv_work_t *request, int cancelled)
{
    struct block_keeper *k = request->data;
    struct keeper_collect *c = &k->collect;
    CHECK(cancelled == 0);
    c->worker = false;
    c->waiting += c->result == ERR_OK ? c->garbage_count - c->gone.blocks : 0;
    c->removed_blocks += c->gone.blocks;
    c->removed_bytes += c->gone.bytes;
    k->told.collected_blocks += c->gone.blocks;
    k->told.collected_bytes += c->gone.bytes;
    c->garbage_count = 0;
    if (!keeper_active(k) || c->result != ERR_OK) {
        break_off(k, c->result);
    } else if (c->refs.count == 0 && !c->heard) {
        ask_for_epoch(k);
    } else if (c->refs.count == 0) {
        finish(k);
    } else {
        c->blocks += c->refs.count;
        c->after = c->refs.ids[c->refs.count - 1];
        keeper_refs_ask(k, &c->refs, on_refs);
    }
}

static void work(struct block_keeper *k)
{
    k->collect.worker = true;
    CHECK(uv_queue_work(k->node->loop, &k->collect.work, on_work, on_worked) == 0);
}

static void begin(struct block_keeper *k, int64_t now_ns)
{
    struct keeper_collect *c = &k->collect;
    c->work.data = k;
    c->running = true;
    c->begun = c->news;
    c->begun_ns = now_ns;
    c->blocks = c->waiting = c->removed_blocks = 0;
    c->garbage_count = 0;
    memset(&c->after, 0, sizeof c->after);
    work(k);
}

void block_keeper_epoch_told(struct node *n, uint64_t epoch, uint64_t released)
{
    struct block_keeper *k = n->keeper;
    if (k && epoch >= k->collect.news.epoch)
        k->collect.news = (struct collect_news){.epoch = epoch, .released = released};
}

void keeper_collect_tick(struct block_keeper *k)
{
    struct keeper_collect *c = &k->collect;
    struct node *n = k->node;
    struct meta_collection own = {0};
    int64_t now_ns = clock_boot_ns(), interval_ns = (int64_t)n->config.repair_interval_s * NS_PER_S;
    if (node_has_state(n) && replica_meta(n->replica))
        meta_collection(replica_meta(n->replica), &own);
    if (own.epoch > 0)
        block_keeper_epoch_told(n, own.epoch, own.released);
    if (!c->running && now_ns >= c->retry_ns && keeper_active(k) &&
        collect_is_due(&c->past, &c->news, now_ns, interval_ns))
        begin(k, now_ns);
}

void keeper_collect_free(struct block_keeper *k)
{
    arena_free(&k->collect.refs.arena);
}
