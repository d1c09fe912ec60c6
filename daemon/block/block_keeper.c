#include "daemon/block/block_keeper.h"

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define SKIP_PARTS_MAX 1024u /* of 65,536, over ids that can't be listed */

bool keeper_active(const struct block_keeper *k)
{
    return !k->closing && node_in_service(k->node) && k->map.self < k->map.count;
}

void keeper_walk_due(struct block_keeper *k, int64_t delay_ns, const char *why)
{
    int64_t at_ns = clock_boot_ns() + MAX(delay_ns, KEEPER_SETTLE_NS);
    if (!k->due)
        log_info("own blocks are to be compared with the other servers': %s", why);
    if (!k->due || at_ns < k->due_ns)
        k->due_ns = at_ns;
    k->due = true;
}

void block_keeper_short(struct node *n)
{
    struct block_keeper *k = n->keeper;
    if (!k || k->closing || k->short_due_ns > 0)
        return;
    log_info("own blocks are to be compared with the other servers': a client could not reach all owners");
    k->short_due_ns = clock_boot_ns() + MAX(KEEPER_SHORT_NS, KEEPER_SHORT_WALKS * (int64_t)k->told.walk_ns);
}

enum err keeper_list(struct block_keeper *k, struct sha256 *after, unsigned max, struct sha256 *ret,
                     unsigned *ret_count, unsigned *skipped)
{
    for (unsigned parts = 1;; parts = MIN(2 * parts, SKIP_PARTS_MAX)) {
        enum err e = block_store_inventory(k->node->blocks, after, max, ret, ret_count);
        if (e != ERR_CORRUPT)
            return e;
        ++*skipped;
        *ret_count = 0;
        if (!upkeep_skip(after, parts))
            return ERR_OK;
    }
}

static void tick_walk(struct block_keeper *k, int64_t now_ns)
{
    /* By the clock alone nothing is due: nothing is known to have changed. */
    bool routine = now_ns >= k->interval_ns || (k->stray_due_ns > 0 && now_ns >= k->stray_due_ns);
    bool is_short = k->short_due_ns > 0 && now_ns >= k->short_due_ns;
    bool is_again = k->again_due_ns > 0 && now_ns >= k->again_due_ns;
    bool wanted = is_short || is_again || (k->due ? now_ns >= k->due_ns : routine);
    if (!wanted || k->walk.running || k->news.waits || !keeper_active(k))
        return;
    k->due = false;
    k->walk.told = is_short;
    if (is_short)
        k->short_due_ns = 0;
    if (is_again)
        k->again_due_ns = 0;
    k->interval_ns = now_ns + (int64_t)k->node->config.repair_interval_s * NS_PER_S;
    keeper_walk_begin(k);
}

/* Others hear of it with the next report, and take its copies when it has been so for --repair-delay. */
static void tell_failure(struct block_keeper *k)
{
    enum err e = block_store_failed(k->node->blocks);
    if (e == ERR_OK || k->told_failed)
        return;
    k->told_failed = true;
    log_error(
        "no blocks are taken any more, since a write of the block store failed (%s): this node is to be started anew%s",
        err_message(e), e == ERR_CORRUPT ? "; surfd --rebuild-blocks takes all blocks anew" : "");
    block_reporter_now(k->node);
}

static void on_tick(uv_timer_t *timer)
{
    struct block_keeper *k = timer->data;
    if (k->node->stopping || k->node->fault.text[0])
        return;
    tell_failure(k);
    if (node_in_service(k->node))
        keeper_map_tick(k);
    tick_walk(k, clock_boot_ns());
    keeper_collect_tick(k);
    keeper_heal_go(k);
}

static void timer_open(struct block_keeper *k, uv_timer_t *timer)
{
    CHECK(uv_timer_init(k->node->loop, timer) == 0);
    timer->data = k;
}

void block_keeper_open(struct node *n)
{
    struct block_keeper *k = n->keeper = MEM_NEW(struct block_keeper);
    k->node = n;
    k->pace.rate = n->config.repair_rate;
    k->interval_ns = clock_boot_ns() + (int64_t)n->config.repair_interval_s * NS_PER_S;
    timer_open(k, &k->timer);
    timer_open(k, &k->walk_timer);
    timer_open(k, &k->scrub_timer);
    timer_open(k, &k->heal_timer);
    timer_open(k, &k->refs_timer);
    uv_timer_start(&k->timer, on_tick, KEEPER_TICK_MS, KEEPER_TICK_MS);
    keeper_scrub_open(k);
}

void block_keeper_close(struct node *n)
{
    struct block_keeper *k = n->keeper;
    if (!k)
        return;
    k->closing = true;
    block_store_compact_stop(n->blocks);
    uv_close((uv_handle_t *)&k->timer, NULL);
    uv_close((uv_handle_t *)&k->walk_timer, NULL);
    uv_close((uv_handle_t *)&k->scrub_timer, NULL);
    uv_close((uv_handle_t *)&k->heal_timer, NULL);
    uv_close((uv_handle_t *)&k->refs_timer, NULL);
    keeper_map_close(k);
}

void block_keeper_free(struct node *n)
{
    struct block_keeper *k = n->keeper;
    if (!k)
        return;
    keeper_walk_free(k);
    strays_close(&k->strays);
    keeper_heal_free(k);
    keeper_collect_free(k);
    arena_free(&k->arena);
    free(k);
    n->keeper = NULL;
}

/* What came and went since the last walk began is added to what that walk met. */
static void describe_bytes(const struct block_keeper *k, struct wire_block_upkeep *ret)
{
    int64_t net, net_stored;
    if (!k->measured)
        return;
    block_store_net(k->node->blocks, &net, &net_stored);
    ret->unique_bytes = (uint64_t)MAX(k->base_bytes + net, 0);
    ret->stored_bytes = (uint64_t)MAX(k->base_stored_bytes + net_stored, 0);
}

static void describe_walk(const struct block_keeper *k, struct wire_block_upkeep *ret)
{
    const struct keeper_walk *w = &k->walk;
    ret->short_blocks = k->last_failed;
    if (!w->running)
        return;
    /* While a worker lists, the batch is its own. */
    ret->short_blocks = MAX(k->last_failed, w->failed + (w->listing ? 0 : repair_batch_left(&w->batch)));
    ret->walk_position = w->position;
    int64_t took_s = (clock_boot_ns() - w->begun_ns) / NS_PER_S;
    if (w->position > 0)
        ret->walk_eta_s = (uint64_t)took_s * (WIRE_UPKEEP_WHOLE - w->position) / w->position;
}

static void describe_scrub(const struct block_keeper *k, struct wire_block_upkeep *ret)
{
    const struct keeper_scrub *s = &k->scrub;
    ret->scrub_rate = s->pace.rate;
    if (s->pace.rate == 0)
        return;
    ret->scrub_position = s->at_end ? WIRE_UPKEEP_WHOLE : upkeep_position(&s->told, WIRE_UPKEEP_WHOLE);
    uint64_t left = WIRE_UPKEEP_WHOLE - ret->scrub_position;
    ret->scrub_eta_s = k->node->block_stat.block_bytes / WIRE_UPKEEP_WHOLE * left / s->pace.rate;
}

void block_keeper_describe(struct node *n, struct wire_block_upkeep *ret)
{
    const struct block_keeper *k = n->keeper;
    *ret = (struct wire_block_upkeep){0};
    if (!k)
        return;
    const struct keeper_walk *w = &k->walk;
    *ret = k->told;
    ret->map_version = k->map.version;
    ret->walking = w->running;
    ret->walk_due = k->due || k->short_due_ns > 0 || k->again_due_ns > 0 || k->news.waits || k->told.walks == 0;
    ret->unsure_blocks = w->running ? MAX(k->last_unsure, w->unsure) : k->last_unsure;
    ret->bad_found = k->heal.suspects.found;
    ret->bad_healed = k->heal.suspects.healed;
    ret->bad_now = suspects_bad(&k->heal.suspects);
    ret->repair_rate = k->pace.rate;
    ret->collecting = k->collect.running;
    describe_walk(k, ret);
    describe_scrub(k, ret);
    describe_bytes(k, ret);
}

struct repair_mark block_keeper_mark(const struct node *n)
{
    const struct block_keeper *k = n->keeper;
    return k ? repair_mark_of(&k->removals, k->map.version) : (struct repair_mark){0};
}

uint64_t block_keeper_version_since(const struct node *n, struct repair_mark mark)
{
    const struct block_keeper *k = n->keeper;
    return k ? repair_mark_version(&k->removals, k->map.version, mark) : 0;
}
