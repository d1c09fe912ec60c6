/* A scripted workload on the simulated disk. The power goes after every call of the file table, or a call fails: what
 * was acknowledged must be there afterwards, and of the batch under way a prefix or nothing. */
#include "tests/unit/raftlog/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define LOG_MODULE "test"
#include "base/log.h"

#define STEPS 36u

/* Step n of the script: mostly appends, with truncations, terms, resets and compactions in between. */
static enum err script(struct run *r, struct raftlog *l, unsigned n)
{
    struct model *m = &r->acknowledged;
    if (n % 11 == 10)
        return run_compaction(r, l, m->last * 2 / 3);
    bool new_term = n % 5 == 0, reset = n % 13 == 9, truncate = !reset && n % 7 == 5;
    uint64_t term = new_term ? m->hard.term + 1 : m->hard.term;
    uint64_t back = MIN(n % 14 == 5 ? 3u : 9u, m->last - m->compacted); /* within a segment, over several */
    uint64_t after = reset ? m->last + (n % 2 ? 5 : 0) : m->last - (truncate ? back : 0);
    term += truncate;
    r->batch = (struct raftlog_batch){.reset = reset,
                                      .reset_index = after,
                                      .reset_term = term,
                                      .truncate = truncate,
                                      .truncate_after = after,
                                      .hard_state_changed = new_term || truncate,
                                      .hard = {.term = term, .vote = n % 3}};
    return run_batch(r, l, after, term, n % 9 == 4 ? 0 : 1 + n % 4);
}

/* What is left, and goes on a little, and loses the power again. */
static void check_disk(struct run *r, struct sim_disk *d, const char *what, uint64_t n, uint64_t seed)
{
    struct raftlog_options o = sim_options(d, RUN_SEGMENT_BYTES);
    struct model *m = &r->acknowledged;
    run_check(r, d, what, n, seed);
    struct raftlog *l = must_open(&o, NULL);
    must_append(l, m, m->hard.term + 1, 3);
    must_append(l, m, m->hard.term, 2);
    d->dead_after = d->calls;
    raftlog_close(l);
    sim_disk_crash(d, SIM_CRASH_LOSE);
    l = must_open(&o, NULL);
    if (!model_matches(l, m, true))
        fail_msg("%s %" PRIu64 " seed %" PRIu64 ": what was written after recovery is lost", what, n, seed);
    raftlog_close(l);
}

static uint64_t count_calls(void)
{
    struct sim_disk d;
    struct run r = {0};
    sim_disk_init(&d, 1);
    run_workload(&r, &d, script, STEPS);
    assert_int_equal(r.failed, ERR_OK);
    check_disk(&r, &d, "no fault", 0, 1);
    run_free(&r);
    sim_disk_free(&d);
    assert_true(r.calls > 200);
    return r.calls;
}

static void crash_case(uint64_t n, uint64_t seed, enum sim_crash how, bool twice)
{
    struct sim_disk d;
    struct run r = {0};
    sim_disk_init(&d, seed);
    d.dead_after = n;
    run_workload(&r, &d, script, STEPS);
    sim_disk_crash(&d, how);
    if (twice) { /* the power goes once more, during recovery */
        struct raftlog_options o = sim_options(&d, RUN_SEGMENT_BYTES);
        struct raft_restart restart;
        struct raftlog *l = NULL;
        d.dead_after = prng_between(&d.prng, 1, 40);
        if (raftlog_open(&o, &l, &restart, NULL) == ERR_OK) {
            d.dead_after = d.calls;
            raftlog_close(l);
        }
        sim_disk_crash(&d, how);
    }
    check_disk(&r, &d, twice ? "crash, twice, after call" : "crash after call", n, seed);
    run_free(&r);
    sim_disk_free(&d);
}

static void test_crash_after_every_call(void **state)
{
    (void)state;
    uint64_t calls = count_calls(), cases = 0;
    for (uint64_t n = 1; n <= calls; n++) {
        crash_case(n, n, SIM_CRASH_LOSE, false);
        crash_case(n, n, SIM_CRASH_KEEP, false);
        crash_case(n, n, SIM_CRASH_LOSE, true);
        cases += 3;
        for (uint64_t seed = 1; seed <= 6; seed++, cases += 2) {
            crash_case(n, n * 1000 + seed, SIM_CRASH_RANDOM, false);
            crash_case(n, n * 1000 + seed, SIM_CRASH_RANDOM, true);
        }
    }
    printf("%" PRIu64 " calls, %" PRIu64 " power cuts\n", calls, cases);
}

static void fail_case(uint64_t n, uint64_t seed, enum err e, bool cut)
{
    struct sim_disk d;
    struct run r = {0};
    sim_disk_init(&d, seed);
    d.fail_at = n;
    d.fail_with = e;
    run_workload(&r, &d, script, STEPS);
    assert_true(d.calls >= n);
    d.calls = d.fail_at = 0;
    if (cut)
        sim_disk_crash(&d, SIM_CRASH_RANDOM);
    check_disk(&r, &d, "failed call", n, seed);
    run_free(&r);
    sim_disk_free(&d);
}

static void test_every_call_fails(void **state)
{
    (void)state;
    uint64_t calls = count_calls();
    for (uint64_t n = 1; n <= calls; n++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            fail_case(n, n * 1000 + seed, ERR_IO, false);
            fail_case(n, n * 1000 + seed, ERR_IO, true);
            fail_case(n, n * 1000 + seed, ERR_NOSPC, true);
        }
    printf("%" PRIu64 " failed calls\n", calls);
}

/* After an error every later write gives the same one, and touches nothing. */
static void test_error_is_final(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 16);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    must_append(l, &m, 1, 3);
    struct entry_list list;
    entry_list_make(&list, m.last, 1, 1);
    struct raftlog_batch b = {.entries = list.entries, .entry_count = 1};
    d.fail_at = d.calls + 2; /* the sync */
    assert_int_equal(raftlog_write(l, &b), ERR_IO);
    uint64_t calls = d.calls, compacted;
    assert_int_equal(raftlog_write(l, &b), ERR_IO);
    assert_int_equal(raftlog_compact(l, 1, &compacted), ERR_IO);
    assert_int_equal(d.calls, calls);
    assert_true(model_matches(l, &m, true)); /* readers see what was acknowledged */
    calls = d.calls;
    raftlog_close(l);
    assert_int_equal(d.calls, calls); /* not marked as closed cleanly */
    entry_list_free(&list);
    sim_disk_free(&d);
}

/* No room for the next segment yet: goes on, and recovers when there is room by the time that it is needed. */
static void test_full_disk_ahead_of_need(void **state)
{
    (void)state;
    struct sim_disk d;
    sim_disk_init(&d, 1);
    struct raftlog_options o = sim_options(&d, 1 << 16);
    struct raftlog *l = must_open(&o, NULL);
    struct model m = {0};
    struct raftlog_bounds before, after;
    must_append(l, &m, 1, 1);
    d.fail_with = ERR_NOSPC;
    for (;;) {
        raftlog_bounds(l, &before);
        d.fail_at = d.calls + 5; /* behind the write, its sync and the marker come open and allocate */
        must_append(l, &m, 1, 1);
        raftlog_bounds(l, &after);
        if (d.calls >= d.fail_at)
            break;
        assert_int_equal(after.segments, MAX(before.segments, 1));
    }
    d.fail_at = 0;
    while (after.segments < 3) {
        must_append(l, &m, 1, 1);
        raftlog_bounds(l, &after);
    }
    assert_true(model_matches(l, &m, true));
    raftlog_close(l);
    sim_disk_free(&d);
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* thousands of expected lines */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_after_every_call),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_error_is_final),
        cmocka_unit_test(test_full_disk_ahead_of_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
