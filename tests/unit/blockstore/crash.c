/* Processes that end without closing the store, and disks that refuse to write. */
#include "tests/unit/blockstore/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

#define BULK (256u * KIB)

static void work_durable(const char *path)
{
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 50; i++)
        must_put(s, i, 1000 + i, true);
    must_put(s, 50, LIMIT_BLOCK_BYTES, true);
}

static void test_durable_puts(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    run_killed("work_durable", path);
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 50; i++)
        assert_true(must_have(s, i, 1000 + i));
    assert_true(must_have(s, 50, LIMIT_BLOCK_BYTES));
    block_store_close(s);
    directory_remove(path);
}

/* Enough for both ways of a bulk put; the sync covers all of them. What comes behind it is not covered. */
static void work_bulk(const char *path)
{
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        must_put(s, i, BULK, false);
    if (block_store_sync(s) != ERR_OK)
        abort();
    for (unsigned i = 100; i < 140; i++)
        must_put(s, i, BULK, false);
}

static void test_bulk_puts(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    run_killed("work_bulk", path);
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        assert_true(must_have(s, i, BULK));
    unsigned lost = 0;
    for (unsigned i = 100; i < 140; i++)
        lost += !must_have(s, i, BULK);
    assert_in_range(lost, 1, 40); /* or the test wouldn't see a sync that does nothing */
    block_store_close(s);
    directory_remove(path);
}

/* A durable put of what an uncovered bulk put has brought: durable all the same. */
static void work_durable_over_bulk(const char *path)
{
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        must_put(s, i, BULK, false);
    for (unsigned i = 0; i < 40; i++)
        must_put(s, i, BULK, true);
}

static void test_durable_over_bulk(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    run_killed("work_durable_over_bulk", path);
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        assert_true(must_have(s, i, BULK));
    block_store_close(s);
    directory_remove(path);
}

/* Bulk puts, durable puts and syncs in turn, killed again and again. */
static void work_mixed(const char *path)
{
    struct block_store *s = must_open(path);
    struct sha256 page[1];
    unsigned count, round = 0;
    while (must_have(s, round * 1000, 5000))
        round++;
    for (unsigned i = 0; i < 30; i++) {
        must_put(s, round * 1000 + i, i % 3 ? 5000 : 300000, i % 2);
        if (i % 7 == 0 && block_store_sync(s) != ERR_OK)
            abort();
    }
    if (block_store_inventory(s, NULL, 1, page, &count) != ERR_OK || block_store_sync(s) != ERR_OK)
        abort();
    must_put(s, round * 1000, 5000, true);
}

static void test_mixed_rounds(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    for (unsigned round = 0; round < 6; round++)
        run_killed("work_mixed", path);
    struct block_store *s = must_open(path);
    for (unsigned round = 0; round < 6; round++) {
        assert_true(must_have(s, round * 1000, 5000));
        for (unsigned i = 0; i < 30; i++)
            assert_true(must_have(s, round * 1000 + i, i % 3 ? 5000 : 300000));
    }
    block_store_close(s);
    directory_remove(path);
}

static void test_clean_close_keeps_bulk(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        must_put(s, i, BULK, false);
    block_store_close(s);
    s = must_open(path);
    for (unsigned i = 0; i < 40; i++)
        assert_true(must_have(s, i, BULK));
    block_store_close(s);
    directory_remove(path);
}

/* Files can't grow beyond 6 MiB: as a disk that fails. Whatever put or sync meets it says so, and no later one
 * succeeds. */
static void work_refused(const char *path, bool durable)
{
    struct block_store *s = must_open(path);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = 6 * MIB, .rlim_max = 6 * MIB};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
    bool failed = false;
    for (unsigned i = 0; i < 64; i++) {
        struct block b;
        block_make(&b, i, LIMIT_BLOCK_BYTES);
        enum err e = block_store_put(s, &b.id, bytes_slice(&b.data), durable);
        block_free(&b);
        if (e == ERR_OK && !durable && i % 16 == 15)
            e = block_store_sync(s);
        if (failed && e == ERR_OK && (durable || i % 16 == 15)) {
            fprintf(stderr, "block %u: succeeds after a failure\n", i);
            abort();
        }
        failed |= e != ERR_OK;
    }
    if (!failed) {
        fprintf(stderr, "a disk that refuses to write was not noticed\n");
        abort();
    }
    struct block b;
    block_make(&b, 0, LIMIT_BLOCK_BYTES);
    struct bytes got = {0};
    if (block_store_get(s, &b.id, &got) != ERR_OK) /* reads go on */
        abort();
}

static void work_refused_durable(const char *path)
{
    work_refused(path, true);
}

static void work_refused_bulk(const char *path)
{
    work_refused(path, false);
}

static void test_disk_refuses(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        char path[64];
        directory_make(path);
        run_killed(durable ? "work_refused_durable" : "work_refused_bulk", path);
        directory_remove(path);
    }
}

int main(int argc, char **argv)
{
    const struct killed_work works[] = {
        {"work_durable", work_durable},
        {"work_bulk", work_bulk},
        {"work_durable_over_bulk", work_durable_over_bulk},
        {"work_mixed", work_mixed},
        {"work_refused_durable", work_refused_durable},
        {"work_refused_bulk", work_refused_bulk},
    };
    killed_main(argc, argv, works, ARRAY_SIZE(works));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_puts),      cmocka_unit_test(test_bulk_puts),
        cmocka_unit_test(test_durable_over_bulk), cmocka_unit_test(test_mixed_rounds),
        cmocka_unit_test(test_disk_refuses),      cmocka_unit_test(test_clean_close_keeps_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
