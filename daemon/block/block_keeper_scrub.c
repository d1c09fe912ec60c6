/* The scrub: reads and hashes every block, in the order of their ids, at a bounded rate. What is bad goes to
 * block_keeper_heal.c. The first pass begins somewhere in the middle, or a server that is often started anew would
 * never look at its last blocks. */
#include <string.h>

#define LOG_MODULE "keeper"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/prng.h"
#include "daemon/block/block_keeper.h"

#define STEP_BLOCKS 64u
#define STEP_BYTES (1 * MIB)
#define BLOCK_COST_BYTES (4 * KIB) /* of a small block: the disk has to move all the same */
#define IDLE_MS 500u
#define BUSY_PART 8    /* this node is busy when it takes more than one part of so many of a processor */
#define BUSY_SLOWER 4u /* the scrub goes so much more slowly then */

_Static_assert(STEP_BLOCKS <= REPAIR_FRAME_MAX, "all of a step may be bad");

static void schedule(struct block_keeper *k, uint64_t delay_ms)
{
    if (!k->closing && !k->node->stopping)
        uv_timer_start(&k->scrub_timer, keeper_scrub_on_timer, delay_ms, 0);
}

static void verify_step(struct block_keeper *k, const struct sha256 *ids, unsigned count)
{
    struct keeper_scrub *s = &k->scrub;
    _cleanup_(bytes_free) struct bytes data = {0};
    for (unsigned i = 0; i < count && s->read_bytes < STEP_BYTES; i++) {
        bytes_clear(&data);
        enum err e = block_store_get_verified(k->node->blocks, &ids[i], &data);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            s->bad[s->bad_count++] = ids[i];
        s->read_bytes += MAX(data.size, BLOCK_COST_BYTES);
        s->after = ids[i];
        s->at_start = false;
    }
}

static void on_step(uv_work_t *work)
{
    struct block_keeper *k = work->data;
    struct keeper_scrub *s = &k->scrub;
    struct sha256 ids[STEP_BLOCKS];
    unsigned count = 0;
    s->bad_count = 0;
    s->read_bytes = 0;
    if (keeper_list(k, &s->after, STEP_BLOCKS, ids, &count, &s->unreadable_count) != ERR_OK)
        count = 0, s->unreadable_count++;
    s->listed_all = count == 0;
    verify_step(k, ids, count);
}

static void end_pass(struct block_keeper *k)
{
    struct keeper_scrub *s = &k->scrub;
    if (!s->partial) {
        k->told.scrub_passes++;
        log_info("all blocks were read (%llu bytes); %llu bad copies found since the start, %llu healed",
                 (unsigned long long)s->pass_bytes, (unsigned long long)k->heal.suspects.found,
                 (unsigned long long)k->heal.suspects.healed);
    }
    if (s->unreadable_count > 0)
        log_error(
            "a file of the block store is damaged so that a part of its blocks can't be listed; when they are not "
            "many, others copy them here again; surfd --rebuild-blocks takes all anew");
    if (!s->partial)
        s->next_pass_ns = clock_boot_ns() + (int64_t)k->node->config.repair_interval_s * NS_PER_S;
    s->partial = false;
    s->unreadable_count = 0;
    s->pass_bytes = 0;
    s->at_start = true;
    memset(&s->after, 0, sizeof s->after);
    schedule(k, IDLE_MS);
}

/* Since it was asked last. What the scrub itself takes at its usual rate is far less. */
static bool is_busy(struct keeper_scrub *s, int64_t now_ns)
{
    int64_t cpu_ns = clock_cpu_ns();
    bool busy = s->looked_ns > 0 && cpu_ns - s->looked_cpu_ns > (now_ns - s->looked_ns) / BUSY_PART;
    s->looked_ns = now_ns;
    s->looked_cpu_ns = cpu_ns;
    return busy;
}

static void on_stepped(uv_work_t *work, int cancelled)
{
    struct block_keeper *k = work->data;
    struct keeper_scrub *s = &k->scrub;
    CHECK(cancelled == 0);
    s->worker = false;
    int64_t now_ns = clock_boot_ns();
    upkeep_pace_spend(&s->pace, s->read_bytes, now_ns);
    s->pass_bytes += s->read_bytes;
    k->told.scrubbed_bytes += s->read_bytes;
    s->told = s->after;
    s->at_end = s->listed_all;
    for (unsigned i = 0; i < s->bad_count; i++)
        (void)suspects_add(&k->heal.suspects, &s->bad[i], true);
    if (k->closing || k->node->stopping)
        return;
    if (s->bad_count > 0)
        keeper_heal_go(k);
    if (s->at_end) {
        end_pass(k);
        return;
    }
    uint64_t wait_ms = (uint64_t)(upkeep_pace_wait_ns(&s->pace, now_ns) / NS_PER_MS) + 1;
    schedule(k, is_busy(s, now_ns) ? BUSY_SLOWER * wait_ms : wait_ms);
}

void keeper_scrub_on_timer(uv_timer_t *timer)
{
    struct block_keeper *k = timer->data;
    struct keeper_scrub *s = &k->scrub;
    bool waits = !keeper_active(k) || (s->at_start && clock_boot_ns() < s->next_pass_ns) ||
                 k->heal.suspects.count + STEP_BLOCKS > SUSPECTS_MAX;
    if (s->worker || waits) {
        schedule(k, IDLE_MS);
        return;
    }
    s->worker = true;
    s->at_end = false;
    CHECK(uv_queue_work(k->node->loop, &s->work, on_step, on_stepped) == 0);
}

void keeper_scrub_open(struct block_keeper *k)
{
    struct keeper_scrub *s = &k->scrub;
    s->pace.rate = k->node->config.scrub_rate;
    s->work.data = k;
    if (s->pace.rate == 0)
        return;
    random_bytes(&s->after, sizeof s->after);
    s->told = s->after;
    s->partial = true;
    schedule(k, IDLE_MS);
}
