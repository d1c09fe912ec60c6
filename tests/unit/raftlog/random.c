/* Random workloads of batches, truncations, resets, compactions and changes of the hard state, with the power cut after
 * every call of the file table, or with one call that fails; and long histories of one disk with many cuts. Writes that
 * were not synced arrive sector by sector or not at all. Nothing acknowledged may go, and the log opens.
 *
 *   unit_raftlog_random [FIRST COUNT]   seeds; more than ctest's take longer
 *   ... --plant NAME                    with a planted bug (base/plant.h): 0 if some seed finds it */
#include "tests/unit/raftlog/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "test"
#include "base/log.h"
#include "base/mem.h"
#include "tests/support/plant_name.h"

#define STEPS 40u
#define LIVES 30u
#define INDEX_MAX (MODEL_ENTRIES_MAX - 200u)

static uint64_t first_seed = 1, seeds = 24;

static bool one_in(struct prng *p, uint64_t n)
{
    return prng_below(p, n) == 0;
}

static uint64_t term_at(const struct model *m, uint64_t index)
{
    return index == 0 ? 0 : m->terms[index];
}

/* A snapshot may reach behind the log, end with it, or replace its end by another history. */
static uint64_t reset_index(struct run *r)
{
    const struct model *m = &r->acknowledged;
    switch (prng_below(&r->prng, 3)) {
    case 0:
        return m->last + 1 + prng_below(&r->prng, 30);
    case 1:
        return MAX(m->last, 1);
    default:
        return prng_between(&r->prng, MAX(m->compacted, 1), MAX(m->last, 1));
    }
}

static enum err random_step(struct run *r, struct raftlog *l, unsigned n)
{
    (void)n;
    struct prng *p = &r->prng;
    const struct model *m = &r->acknowledged;
    if (m->last > INDEX_MAX || one_in(p, 12))
        return run_compaction(r, l, prng_between(p, m->compacted, m->last + 3));
    bool reset = one_in(p, 12), truncate = !reset && one_in(p, 5);
    struct raft_hard_state hard = m->hard;
    if (hard.term == 0 || one_in(p, 4))
        hard = (struct raft_hard_state){.term = hard.term + 1 + prng_below(p, 2), .vote = (uint32_t)prng_below(p, 4)};
    else if (one_in(p, 8))
        hard.vote = (uint32_t)prng_below(p, 4);
    uint64_t after = reset ? reset_index(r) : truncate ? prng_between(p, m->compacted, m->last) : m->last;
    r->batch = (struct raftlog_batch){.reset = reset,
                                      .reset_index = after,
                                      .reset_term = prng_between(p, MAX(term_at(m, m->compacted), 1), hard.term),
                                      .truncate = truncate,
                                      .truncate_after = after,
                                      .hard_state_changed = hard.term != m->hard.term || hard.vote != m->hard.vote,
                                      .hard = hard};
    unsigned count = (unsigned)(one_in(p, 20) ? 40 : prng_below(p, 6));
    return run_batch(r, l, after, hard.term, count);
}

static void run_random(struct run *r, struct sim_disk *d, uint64_t seed)
{
    prng_seed(&r->prng, seed * 7919);
    run_workload(r, d, random_step, STEPS);
}

static uint64_t count_calls(uint64_t seed)
{
    struct sim_disk d;
    struct run r = {0};
    sim_disk_init(&d, seed);
    run_random(&r, &d, seed);
    assert_int_equal(r.failed, ERR_OK);
    run_check(&r, &d, "no fault, call", 0, seed);
    run_free(&r);
    sim_disk_free(&d);
    return r.calls;
}

static void cut_case(uint64_t n, uint64_t seed, enum sim_crash how)
{
    struct sim_disk d;
    struct run r = {0};
    sim_disk_init(&d, seed * 1000003 + n);
    d.dead_after = n;
    run_random(&r, &d, seed);
    sim_disk_crash(&d, how);
    run_check(&r, &d, "power cut after call", n, seed);
    run_free(&r);
    sim_disk_free(&d);
}

static void power_cut_after_every_call(void **state)
{
    (void)state;
    uint64_t cases = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        uint64_t calls = count_calls(seed);
        for (uint64_t n = 1; n <= calls; n++, cases += 3) {
            cut_case(n, seed, SIM_CRASH_LOSE);
            cut_case(n, seed, SIM_CRASH_RANDOM);
            cut_case(n, seed, n % 2 ? SIM_CRASH_KEEP : SIM_CRASH_RANDOM);
        }
    }
    printf("%" PRIu64 " workloads, %" PRIu64 " power cuts: nothing acknowledged lost\n", seeds, cases);
}

/* The error is final, and afterwards, with or without a power cut, all that was acknowledged is there. */
static void every_call_fails_once(void **state)
{
    (void)state;
    uint64_t cases = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        uint64_t calls = count_calls(seed);
        for (uint64_t n = 1; n <= calls; n++, cases++) {
            struct sim_disk d;
            struct run r = {0};
            sim_disk_init(&d, seed * 1000003 + n);
            d.fail_at = n;
            d.fail_with = n % 2 ? ERR_IO : ERR_NOSPC;
            run_random(&r, &d, seed);
            d.calls = d.fail_at = 0;
            if ((n + seed) % 3)
                sim_disk_crash(&d, SIM_CRASH_RANDOM);
            run_check(&r, &d, "failed call", n, seed);
            run_free(&r);
            sim_disk_free(&d);
        }
    }
    printf("%" PRIu64 " workloads, %" PRIu64 " failed calls: nothing acknowledged lost\n", seeds, cases);
}

/* One disk, many lives: each goes on with what the one before left, and ends with a power cut or a failing call, also
 * while it recovers. */
static void many_lives(void **state)
{
    (void)state;
    uint64_t lives = 0;
    for (uint64_t seed = first_seed; seed < first_seed + seeds * 10; seed++) {
        struct sim_disk d;
        struct run r = {0};
        sim_disk_init(&d, seed);
        prng_seed(&r.prng, seed * 104729);
        for (unsigned life = 0; life < LIVES; life++, lives++) {
            uint64_t call = prng_between(&r.prng, 1, one_in(&r.prng, 3) ? 30 : 400);
            d.dead_after = one_in(&r.prng, 4) ? 0 : call;
            d.fail_at = d.dead_after == 0 ? call : 0;
            d.fail_with = one_in(&r.prng, 2) ? ERR_IO : ERR_NOSPC;
            run_workload(&r, &d, random_step, STEPS);
            sim_disk_crash(&d, one_in(&r.prng, 4) ? SIM_CRASH_LOSE : SIM_CRASH_RANDOM);
            run_check(&r, &d, "life", life, seed);
        }
        run_free(&r);
        sim_disk_free(&d);
    }
    printf("%" PRIu64 " disks, %" PRIu64 " lives: nothing acknowledged lost\n", seeds * 10, lives);
}

int main(int argc, char **argv)
{
    bool must_fail = false;
#ifdef SURF_PLANTS
    if (argc >= 3 && strcmp(argv[argc - 2], "--plant") == 0) {
        if (!plant_find(argv[argc - 1], &plant_chosen))
            return fprintf(stderr, "no such plant: %s\n", argv[argc - 1]), 64;
        must_fail = true;
        argc -= 2;
    }
#endif
    if (argc == 3)
        first_seed = strtoull(argv[1], NULL, 10), seeds = strtoull(argv[2], NULL, 10);
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* thousands of expected lines */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cut_after_every_call),
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(many_lives),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return must_fail ? failed == 0 : failed;
}
