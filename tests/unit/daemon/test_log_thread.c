/* The log thread: what random pushes with truncations leave on disk is what they say in order, however they are merged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "daemon/log_thread.h"

#define PUSHES 400
#define ENTRIES_MAX (PUSHES * 8)

static char path[64];
static uv_loop_t loop;
static struct raftlog *raftlog;
static struct raft_restart restart;
static struct log_thread_result last;
static uint64_t waited_for;

static void on_done(void *context, const struct log_thread_result *r)
{
    (void)context;
    last = *r;
    if (r->error != ERR_OK || r->sequence >= waited_for)
        uv_stop(&loop);
}

static struct raftlog *open_log(void)
{
    struct raftlog_options options = {.files = file_table_system(), .path = path, .segment_bytes = 256 * KIB};
    struct err_text why;
    struct raftlog *l;
    if (raftlog_open(&options, &l, &restart, &why) != ERR_OK)
        fail_msg("%s", why.text);
    return l;
}

static void wait_for_log(struct log_thread *t)
{
    log_thread_turn(t);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static struct log_thread *begin(void)
{
    snprintf(path, sizeof path, "/tmp/test_log_thread_XXXXXX");
    assert_non_null(mkdtemp(path));
    assert_int_equal(uv_loop_init(&loop), 0);
    raftlog = open_log();
    last = (struct log_thread_result){0};
    return log_thread_new(&loop, raftlog, restart.hard, on_done, NULL);
}

static void end_thread(struct log_thread *t)
{
    log_thread_free(t);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    raftlog_close(raftlog);
}

static void remove_log(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static bool push_one(struct log_thread *t, uint64_t index)
{
    struct raft_entry e = {index, 1, RAFT_ENTRY_COMMAND, SLICE("entry", 5)};
    struct raft_update u = {.entries = &e, .entry_count = 1, .hard_state_changed = index == 1, .hard = {1, 1}};
    bool here;
    waited_for = log_thread_push(t, &u, &here);
    return here;
}

static void test_the_loop_writes_what_comes_alone(void **state)
{
    (void)state;
    struct log_thread *t = begin();
    push_one(t, 1); /* makes the first segment, which takes its time: the thread's */
    while (last.sequence < waited_for)
        wait_for_log(t);
    log_thread_free(t);
    uv_run(&loop, UV_RUN_DEFAULT);

    /* One that knows nothing of how long writes take. */
    t = log_thread_new(&loop, raftlog, restart.hard, on_done, NULL);
    last = (struct log_thread_result){0};
    assert_true(push_one(t, 2));
    assert_int_equal(last.sequence, 0);
    log_thread_turn(t);
    assert_int_equal(last.sequence, 1);
    assert_int_equal(last.index, 2);

    /* Of several in one turn the thread writes all, in order. */
    push_one(t, 3);
    assert_false(push_one(t, 4));
    while (last.sequence < waited_for)
        wait_for_log(t);
    assert_int_equal(last.index, 4);

    /* And what comes while the loop serves others. */
    for (unsigned i = 0; i < 100; i++)
        log_thread_served(t);
    assert_false(push_one(t, 5));
    while (last.sequence < waited_for)
        wait_for_log(t);
    assert_int_equal(last.index, 5);

    /* What the loop would write when the end comes is written. */
    push_one(t, 6);
    end_thread(t);
    raftlog = open_log();
    assert_int_equal(restart.last_index, 6);
    raftlog_close(raftlog);
    remove_log();
}

static void test_random_pushes(void **state)
{
    (void)state;
    const uint64_t seed = 42;
    struct prng prng;
    prng_seed(&prng, seed);
    struct log_thread *t = begin();
    uint64_t terms[ENTRIES_MAX + 1] = {0}, end = 0, term = 1;
    struct raft_hard_state hard = {0};
    for (int i = 0; i < PUSHES; i++) {
        struct raft_update u = {0};
        struct raft_entry entries[8];
        char data[8][32];
        if (end > 0 && prng_below(&prng, 5) == 0) { /* a new leader's entries in place of some */
            u.truncate = true;
            u.truncate_after = end - prng_between(&prng, 1, MIN(end, 6));
            end = u.truncate_after;
            term++;
            u.hard_state_changed = true;
            u.hard = hard = (struct raft_hard_state){term, (uint32_t)prng_between(&prng, 1, 3)};
        }
        u.entry_count = (unsigned)prng_between(&prng, 1, 8);
        for (unsigned e = 0; e < u.entry_count && end < ENTRIES_MAX; e++) {
            terms[++end] = term;
            int size =
                snprintf(data[e], sizeof data[e], "%llu/%llu", (unsigned long long)end, (unsigned long long)term);
            entries[e] = (struct raft_entry){end, term, RAFT_ENTRY_COMMAND, SLICE(data[e], (size_t)size)};
        }
        u.entries = entries;
        bool here;
        waited_for = log_thread_push(t, &u, &here);
        if (prng_below(&prng, 2) == 0)
            log_thread_turn(t);
        if (prng_below(&prng, 8) == 0)
            log_thread_compact(t, 1);
        if (prng_below(&prng, 20) == 0)
            wait_for_log(t);
    }
    while (last.sequence < waited_for && last.error == ERR_OK)
        wait_for_log(t);
    assert_int_equal(last.error, ERR_OK);
    assert_int_equal(last.index, end);
    assert_int_equal(last.term, terms[end]);
    assert_int_equal(last.hard.term, hard.term);
    assert_int_equal(last.hard.vote, hard.vote);
    end_thread(t);

    raftlog = open_log();
    assert_int_equal(restart.last_index, end);
    assert_int_equal(restart.hard.term, hard.term);
    struct bytes buffer = {0};
    for (uint64_t i = 1; i <= end; i++) {
        struct raft_entry e;
        unsigned count;
        char expected[32];
        assert_int_equal(raftlog_read(raftlog, i, 1, 1, &buffer, &e, &count), ERR_OK);
        int size =
            snprintf(expected, sizeof expected, "%llu/%llu", (unsigned long long)i, (unsigned long long)terms[i]);
        if (e.index != i || e.term != terms[i] || !slice_equal(e.data, SLICE(expected, (size_t)size)))
            fail_msg("seed %llu: entry %llu is not %s", (unsigned long long)seed, (unsigned long long)i, expected);
    }
    bytes_free(&buffer);
    raftlog_close(raftlog);
    remove_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_loop_writes_what_comes_alone),
                                       cmocka_unit_test(test_random_pushes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
