/* What survives a crash, and what two replicas have in common. */
#include "tests/unit/meta/steps.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/store.h"

static struct hashes undisturbed(uint64_t index)
{
    char path[64];
    directory_make(path);
    struct meta *m = must_open(path);
    run_to(m, index);
    struct hashes h = hashes_of(m);
    meta_close(m);
    directory_remove(path);
    return h;
}

/* ---- a process that dies. It is this program, started anew: RocksDB's threads don't survive a fork. ---- */

struct report {
    uint64_t flushed, applied;
};

/* Applies from where it is to `to`, with a flush at flush_at; says what was durable, and dies. */
static void child(const char *path, uint64_t flush_at, uint64_t to)
{
    struct meta *m = must_open(path);
    struct report r;
    if (flush_at > 0) {
        run_to(m, flush_at);
        if (meta_flush(m, true) != ERR_OK)
            _exit(2);
    }
    run_to(m, to);
    r.applied = meta_applied_index(m);
    if (meta_flushed_index(m, &r.flushed) != ERR_OK || write(STDOUT_FILENO, &r, sizeof r) != sizeof r)
        _exit(3);
    _exit(0);
}

static struct report run_killed(const char *path, uint64_t flush_at, uint64_t to)
{
    char numbers[2][24];
    int pipes[2], status = 0;
    struct report r;
    assert_int_equal(pipe(pipes), 0);
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)flush_at);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)to);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execl("/proc/self/exe", "child", path, numbers[0], numbers[1], (char *)NULL);
        _exit(1);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], &r, sizeof r);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || got != (ssize_t)sizeof r)
        fail_msg("the child ended with status 0x%x", (unsigned)status);
    return r;
}

static void after_a_crash_the_flushed_index_is_the_applied_one(void **state)
{
    (void)state;
    struct hashes want = undisturbed(STEPS);
    static const uint64_t flush_at[] = {0, 1, 2, 37, 599};
    for (size_t i = 0; i < ARRAY_SIZE(flush_at); i++) {
        char path[64];
        directory_make(path);
        struct report r = run_killed(path, flush_at[i], STEPS - (flush_at[i] == 37 ? 100 : 0));
        assert_int_equal(r.flushed, flush_at[i]);
        struct meta *m = must_open(path);
        uint64_t flushed;
        assert_int_equal(meta_applied_index(m), r.flushed);
        assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
        assert_int_equal(flushed, r.flushed);
        assert_true(meta_initialised(m) == (r.flushed > 0));
        run_to(m, STEPS);
        assert_same(hashes_of(m), want);
        meta_close(m);
        directory_remove(path);
    }
}

static void many_crashes_in_a_row(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    uint64_t durable = 0;
    for (uint64_t to = 50; to <= STEPS; to += 50) {
        /* Every other life ends before it has flushed anything. */
        uint64_t flush_at = to / 50 % 2 ? 0 : to - 20;
        struct report r = run_killed(path, flush_at, to);
        assert_int_equal(r.applied, to);
        if (flush_at > 0)
            durable = flush_at;
        assert_int_equal(r.flushed, durable);
    }
    struct meta *m = must_open(path);
    assert_int_equal(meta_applied_index(m), durable);
    run_to(m, STEPS);
    assert_same(hashes_of(m), undisturbed(STEPS));
    meta_close(m);
    directory_remove(path);
}

static void closing_loses_nothing_that_was_flushed(void **state)
{
    (void)state;
    char path[64];
    uint64_t flushed;
    directory_make(path);
    struct meta *m = must_open(path);
    run_to(m, 100);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 0);
    assert_int_equal(meta_flush(m, true), ERR_OK);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 100);
    run_to(m, 150);
    assert_int_equal(meta_flushed_index(m, &flushed), ERR_OK);
    assert_int_equal(flushed, 100);
    meta_close(m);
    m = must_open(path);
    assert_true(meta_applied_index(m) == 100 || meta_applied_index(m) == 150);
    run_to(m, STEPS);
    assert_same(hashes_of(m), undisturbed(STEPS));
    meta_close(m);
    directory_remove(path);
}

/* ---- determinism ---- */

static void replicas_agree_at_every_index(void **state)
{
    (void)state;
    char paths[2][64];
    struct meta *m[2];
    for (unsigned i = 0; i < 2; i++) {
        directory_make(paths[i]);
        m[i] = must_open(paths[i]);
    }
    for (uint64_t index = 1; index <= STEPS; index++) {
        struct sha256 chains[2];
        for (unsigned i = 0; i < 2; i++) {
            run_to(m[i], index);
            meta_chain_hash(m[i], &chains[i]);
        }
        if (!sha256_equal(&chains[0], &chains[1]))
            fail_msg("seed %u, index %llu", SEED, (unsigned long long)index);
        /* One of them is busy with flushing and compaction, and restarts now and then. */
        if (index % 50 == 0)
            assert_int_equal(meta_flush(m[1], true), ERR_OK);
        if (index % 100 == 0) {
            rocksdb_compact_range(m[1]->db, NULL, 0, NULL, 0);
            assert_same(hashes_of(m[0]), hashes_of(m[1]));
        }
        if (index % 150 == 0) {
            meta_close(m[1]);
            m[1] = must_open(paths[1]);
            assert_int_equal(meta_applied_index(m[1]), index);
        }
    }
    assert_same(hashes_of(m[0]), hashes_of(m[1]));
    for (unsigned i = 0; i < 2; i++) {
        meta_close(m[i]);
        directory_remove(paths[i]);
    }
}

static void the_chain_hash_tells_histories_apart(void **state)
{
    (void)state;
    char paths[2][64];
    struct meta *m[2];
    struct sha256 chains[2];
    for (unsigned i = 0; i < 2; i++) {
        directory_make(paths[i]);
        m[i] = must_open(paths[i]);
        run_to(m[i], 3 + i); /* the other one has one more */
    }
    assert_int_equal(meta_apply_nothing(m[0], 4, 1), ERR_OK);
    run_to(m[0], 9);
    run_to(m[1], 9);
    for (unsigned i = 0; i < 2; i++)
        meta_chain_hash(m[i], &chains[i]);
    assert_false(sha256_equal(&chains[0], &chains[1]));
    for (unsigned i = 0; i < 2; i++) {
        meta_close(m[i]);
        directory_remove(paths[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4)
        child(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_crash_the_flushed_index_is_the_applied_one),
        cmocka_unit_test(many_crashes_in_a_row),
        cmocka_unit_test(closing_loses_nothing_that_was_flushed),
        cmocka_unit_test(replicas_agree_at_every_index),
        cmocka_unit_test(the_chain_hash_tells_histories_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
