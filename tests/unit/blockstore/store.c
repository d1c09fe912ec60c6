#include "tests/unit/blockstore/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "blockstore/direct.h"

static void test_round_trip(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    const size_t sizes[] = {1, 100, 511, 512, 4096, 65536, LIMIT_BLOCK_BYTES};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_false(must_have(s, i, sizes[i]));
        must_put(s, i, sizes[i], i % 2);
        assert_true(must_have(s, i, sizes[i]));
        must_put(s, i, sizes[i], true); /* there already */
    }
    assert_int_equal(block_store_sync(s), ERR_OK);
    block_store_close(s);
    s = must_open(path);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        assert_true(must_have(s, i, sizes[i]));
    block_store_close(s);
    block_store_close(NULL);
    directory_remove(path);
}

static void test_refused_blocks(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    struct block good, bad;
    block_make(&good, 1, 5000);
    block_make(&bad, 2, 5000);
    bad.data.data[4999] ^= 1;
    assert_int_equal(block_store_put(s, &bad.id, bytes_slice(&bad.data), true), ERR_CORRUPT);
    struct sha256 ids[2] = {good.id, bad.id};
    struct slice datas[2] = {bytes_slice(&good.data), bytes_slice(&bad.data)};
    assert_int_equal(block_store_put_many(s, ids, datas, 2, false), ERR_CORRUPT);
    bool has[2];
    assert_int_equal(block_store_has(s, ids, 2, has), ERR_OK);
    assert_false(has[0] || has[1]); /* all of them or none */
    assert_int_equal(block_store_put(s, &good.id, SLICE(NULL, 0), true), ERR_INVAL);
    block_free(&bad);
    block_make(&bad, 3, LIMIT_BLOCK_BYTES + 1);
    assert_int_equal(block_store_put(s, &bad.id, bytes_slice(&bad.data), true), ERR_TOO_BIG);
    assert_int_equal(block_store_put(s, &good.id, bytes_slice(&good.data), true), ERR_OK); /* still takes blocks */
    block_free(&good);
    block_free(&bad);
    block_store_close(s);
    directory_remove(path);
}

static void test_put_many(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    struct block b[20];
    struct sha256 ids[21];
    struct slice datas[21];
    for (unsigned i = 0; i < 20; i++) {
        block_make(&b[i], i, 3000 * (i + 1));
        ids[i] = b[i].id, datas[i] = bytes_slice(&b[i].data);
    }
    ids[20] = ids[3], datas[20] = datas[3]; /* twice in one call */
    must_put(s, 5, 3000 * 6, false);
    assert_int_equal(block_store_put_many(s, ids, datas, 21, false), ERR_OK);
    assert_int_equal(block_store_put_many(s, ids, datas, 21, true), ERR_OK);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(must_have(s, i, 3000 * (i + 1)));
        block_free(&b[i]);
    }
    assert_int_equal(block_store_put_many(s, ids, datas, 0, true), ERR_OK);
    block_store_close(s);
    directory_remove(path);
}

static void test_dedupe(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    struct block_store_stat once, often;
    must_put(s, 1, LIMIT_BLOCK_BYTES, false);
    assert_int_equal(block_store_sync(s), ERR_OK);
    block_store_stat(s, &once);
    for (unsigned i = 0; i < 20; i++) {
        must_put(s, 1, LIMIT_BLOCK_BYTES, i % 2);
        assert_int_equal(block_store_sync(s), ERR_OK);
    }
    block_store_stat(s, &often);
    assert_true(often.block_bytes < once.block_bytes + MIB / 2);
    assert_int_equal(often.blocks, 1);
    block_store_close(s);
    directory_remove(path);
}

static void test_delete(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    struct block b;
    block_make(&b, 1, 3000);
    must_put(s, 1, 3000, true);
    assert_int_equal(delete_block(s, &b.id), ERR_OK);
    assert_false(must_have(s, 1, 3000));
    assert_int_equal(delete_block(s, &b.id), ERR_OK); /* none there is fine */
    must_put(s, 1, 3000, true);
    assert_true(must_have(s, 1, 3000));
    assert_int_equal(delete_block(s, &b.id), ERR_OK);
    assert_int_equal(block_store_sync(s), ERR_OK);
    block_store_close(s);
    s = must_open(path);
    assert_false(must_have(s, 1, 3000));
    block_free(&b);
    block_store_close(s);
    directory_remove(path);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_SIZE);
}

static void test_inventory(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path);
    struct sha256 expected[100], got[100], page[7];
    unsigned count = 0;
    assert_int_equal(block_store_inventory(s, NULL, 7, page, &count), ERR_OK);
    assert_int_equal(count, 0);
    for (unsigned i = 0; i < 100; i++) {
        struct block b;
        block_make(&b, i, 10 + i * 20);
        expected[i] = b.id;
        assert_int_equal(block_store_put(s, &b.id, bytes_slice(&b.data), false), ERR_OK);
        block_free(&b);
    }
    qsort(expected, 100, sizeof expected[0], compare_ids);
    unsigned total = 0;
    do {
        assert_int_equal(block_store_inventory(s, total ? &got[total - 1] : NULL, 7, page, &count), ERR_OK);
        assert_true(count <= 7 && total + count <= 100);
        memcpy(got + total, page, count * sizeof page[0]);
        total += count;
    } while (count > 0);
    assert_int_equal(total, 100);
    assert_memory_equal(got, expected, sizeof got);
    struct sha256 last;
    memset(&last, 0xff, sizeof last);
    assert_int_equal(block_store_inventory(s, &last, 7, page, &count), ERR_OK);
    assert_int_equal(count, 0);
    block_store_close(s);
    directory_remove(path);
}

static void test_boot_id_stat_lock(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct block_store *s = must_open(path), *second = NULL;
    uint64_t first = block_store_boot_id(s);
    assert_true(first != 0);
    struct block_store_options options = {0};
    struct err_text why = {""};
    assert_int_equal(block_store_open(path, &options, &second, &why), ERR_LOCKED);
    assert_true(why.text[0] != 0);
    struct block_store_stat stat;
    for (unsigned i = 0; i < 10; i++)
        must_put(s, i, 100000, i % 2);
    block_store_stat(s, &stat);
    assert_int_equal(stat.blocks, 10);
    assert_true(stat.block_bytes >= 1000000 && stat.disk_total >= stat.disk_free && stat.disk_free > 0);
    block_store_close(s);
    s = must_open(path);
    assert_true(block_store_boot_id(s) != first);
    block_store_close(s);
    assert_true(block_store_open("/nonexistent/dir/blocks", &options, &second, &why) != ERR_OK);
    assert_non_null(strstr(why.text, "/nonexistent"));
    directory_remove(path);
}

#define THREADS 4u

struct shared {
    struct block_store *store;
    atomic_uint number;
};

/* Puts of both kinds, syncs, reads and deletes, partly of the same blocks. */
static void *worker(void *arg)
{
    struct shared *s = arg;
    unsigned me = atomic_fetch_add(&s->number, 1);
    struct prng p;
    prng_seed(&p, me);
    for (unsigned n = 0; n < 60; n++) {
        uint64_t which = prng_below(&p, 40);
        size_t size = which % 4 == 0 ? 200000 : 1000 + which;
        must_put(s->store, which, size, n % 3 == 0);
        if (n % 5 == 0 && block_store_sync(s->store) != ERR_OK)
            abort();
        struct block b;
        struct bytes got = {0};
        block_make(&b, which, size);
        if (which < 35) { /* never deleted */
            if (block_store_get(s->store, &b.id, &got) != ERR_OK ||
                !slice_equal(bytes_slice(&got), bytes_slice(&b.data)))
                abort();
        } else if (delete_block(s->store, &b.id) != ERR_OK) {
            abort();
        }
        struct sha256 page[50];
        unsigned count;
        if (n % 10 == 9 && block_store_inventory(s->store, NULL, 50, page, &count) != ERR_OK)
            abort();
        bytes_free(&got);
        block_free(&b);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct shared s = {.store = must_open(path)};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    block_store_close(s.store);
    directory_remove(path);
}

/* Where it can't be there is none; where the store is, its parent says. */
static void test_direct(void **state)
{
    (void)state;
    assert_false(direct_is_possible("/proc/self"));
    assert_false(direct_is_possible("/nowhere/at/all"));
    assert_true(direct_is_possible("/tmp/not-there-yet") == direct_is_possible("/tmp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused_blocks),
        cmocka_unit_test(test_put_many),   cmocka_unit_test(test_dedupe),
        cmocka_unit_test(test_delete),     cmocka_unit_test(test_inventory),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_boot_id_stat_lock),
        cmocka_unit_test(test_direct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
