#include "tests/unit/raftlog/workload.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

#define OPEN_EVERY 12u

void run_free(struct run *r)
{
    entry_list_free(&r->list);
}

enum err run_batch(struct run *r, struct raftlog *l, uint64_t after, uint64_t term, unsigned count)
{
    entry_list_free(&r->list);
    entry_list_make(&r->list, after, term, count);
    r->batch.entries = r->list.entries;
    r->batch.entry_count = count;
    r->under_way = true;
    TRY(raftlog_write(l, &r->batch));
    r->under_way = false;
    model_apply(&r->acknowledged, &r->batch);
    return ERR_OK;
}

enum err run_compaction(struct run *r, struct raftlog *l, uint64_t index)
{
    uint64_t compacted;
    r->compacting = index;
    TRY(raftlog_compact(l, index, &compacted));
    r->compacting = 0;
    r->acknowledged.compacted = compacted;
    return ERR_OK;
}

static void check_error_is_final(const struct run *r, struct raftlog *l, const struct sim_disk *d)
{
    struct raftlog_batch again = {0};
    if (l && (d->fail_at || d->dead_after))
        assert_int_equal(raftlog_write(l, &again), r->failed);
}

void run_workload(struct run *r, struct sim_disk *d, run_step step, unsigned steps)
{
    struct raftlog_options o = sim_options(d, RUN_SEGMENT_BYTES);
    struct raft_restart restart;
    struct raftlog *l = NULL;
    r->failed = ERR_OK;
    for (unsigned n = 0; n < steps && r->failed == ERR_OK; n++) {
        if (n % OPEN_EVERY == 0) {
            raftlog_close(l);
            l = NULL;
            r->failed = raftlog_open(&o, &l, &restart, NULL);
        }
        if (r->failed == ERR_OK) {
            r->failed = step(r, l, n);
            if (r->failed != ERR_OK)
                check_error_is_final(r, l, d);
        }
    }
    raftlog_close(l);
    r->calls = d->calls;
}

/* Which of the allowed states is it? Fills ret with that one. */
static bool find_state(const struct run *r, struct raftlog *l, struct model *ret)
{
    struct raftlog_bounds b;
    raftlog_bounds(l, &b);
    *ret = r->acknowledged;
    if (r->compacting) {
        if (b.compacted_index > r->compacting || b.compacted_index < ret->compacted)
            return false;
        ret->compacted = b.compacted_index;
    }
    if (!r->under_way)
        return model_matches(l, ret, false);
    bool hard_is_new =
        r->batch.hard_state_changed && b.hard.term == r->batch.hard.term && b.hard.vote == r->batch.hard.vote;
    struct raftlog_batch part = r->batch;
    part.hard_state_changed = hard_is_new;
    part.reset = part.truncate = false, part.entry_count = 0;
    model_apply(ret, &part);
    if (model_matches(l, ret, false))
        return true;
    part = r->batch;
    for (part.entry_count = 0; part.entry_count <= r->batch.entry_count; part.entry_count++) {
        *ret = r->acknowledged;
        model_apply(ret, &part);
        if (model_matches(l, ret, false))
            return true;
    }
    return false;
}

static void say_state(const struct run *r, struct raftlog *l)
{
    const struct raftlog_batch *b = &r->batch;
    struct raftlog_bounds found;
    raftlog_bounds(l, &found);
    fprintf(stderr,
            "acknowledged: (%" PRIu64 ", %" PRIu64 "] term %" PRIu64 "; under way: %d reset %d to %" PRIu64
            " truncate %d after %" PRIu64 " entries %u; found: (%" PRIu64 ", %" PRIu64 "] term %" PRIu64 "\n",
            r->acknowledged.compacted, r->acknowledged.last, r->acknowledged.hard.term, r->under_way, b->reset,
            b->reset_index, b->truncate, b->truncate_after, b->entry_count, found.compacted_index, found.last_index,
            found.hard.term);
    model_matches(l, &r->acknowledged, true);
}

void run_check(struct run *r, struct sim_disk *d, const char *what, uint64_t n, uint64_t seed)
{
    struct raftlog_options o = sim_options(d, RUN_SEGMENT_BYTES);
    struct raft_restart restart;
    struct err_text why = {""};
    struct raftlog *l = NULL;
    enum err e = raftlog_open(&o, &l, &restart, &why);
    if (e != ERR_OK)
        fail_msg("%s %" PRIu64 " seed %" PRIu64 ": open: %s: %s", what, n, seed, err_name(e), why.text);
    struct model found;
    if (!find_state(r, l, &found)) {
        say_state(r, l);
        fail_msg("%s %" PRIu64 " seed %" PRIu64 ": not an allowed state", what, n, seed);
    }
    if (restart.fresh && r->acknowledged.hard.term > 0)
        fail_msg("%s %" PRIu64 " seed %" PRIu64 ": says that it is fresh", what, n, seed);
    r->acknowledged = found;
    r->under_way = false, r->compacting = 0;
    d->dead_after = d->calls; /* no goodbye */
    raftlog_close(l);
    sim_disk_crash(d, SIM_CRASH_LOSE);
    l = must_open(&o, NULL);
    if (!model_matches(l, &r->acknowledged, true))
        fail_msg("%s %" PRIu64 " seed %" PRIu64 ": what an open reported was lost by a power cut behind it", what, n,
                 seed);
    raftlog_close(l);
}
