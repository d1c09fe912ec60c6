/* Touches, what may go by them, and when a server looks; and the same in a store, with puts under way. */
#include "tests/unit/blockstore/fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "blockstore/collect.h"
#include "blockstore/touch.h"

static struct sha256 id_of(uint64_t number)
{
    struct sha256 id;
    sha256_of(SLICE(&number, sizeof number), &id);
    return id;
}

static void note(struct touch_table *t, uint64_t number, uint64_t epoch)
{
    struct sha256 id = id_of(number);
    touch_note(t, &id, epoch);
}

static uint64_t touch(const struct touch_table *t, uint64_t number)
{
    struct sha256 id = id_of(number);
    return touch_of(t, &id);
}

static void after_a_start_nothing_may_go(void **state)
{
    (void)state;
    struct touch_table t;
    touch_init(&t);
    note(&t, 1, 9);
    assert_true(touch(&t, 1) == TOUCH_UNKNOWN && touch(&t, 2) == TOUCH_UNKNOWN);
    touch_begin_at(&t, 7);
    assert_int_equal(touch(&t, 1), 9); /* it was put since the start, by who knew more than that answer */
    assert_int_equal(touch(&t, 2), 7);
    touch_begin_at(&t, 8); /* only the first counts */
    assert_int_equal(touch(&t, 2), 7);
    touch_close(&t);
}

static void the_latest_touch_counts(void **state)
{
    (void)state;
    struct touch_table t;
    touch_init(&t);
    touch_begin_at(&t, 1);
    note(&t, 1, 5);
    note(&t, 1, 3);
    note(&t, 2, 3);
    note(&t, 2, 4);
    assert_int_equal(touch(&t, 1), 5);
    assert_int_equal(touch(&t, 2), 4);
    assert_int_equal(touch(&t, 3), 1);
    touch_close(&t);
}

static void what_is_forgotten_counts_as_later_than_it_was(void **state)
{
    (void)state;
    struct touch_table t;
    touch_init(&t);
    touch_begin_at(&t, 1);
    for (uint64_t epoch = 2; epoch <= 9; epoch++)
        note(&t, epoch, epoch);
    for (uint64_t epoch = 2; epoch <= 9; epoch++)
        assert_int_equal(touch(&t, epoch), MAX(epoch, UINT64_C(5)));
    note(&t, 20, 4); /* late */
    assert_true(touch(&t, 20) >= 4 && touch(&t, 20) <= 6);
    touch_close(&t);
}

static void a_full_epoch_counts_for_all(void **state)
{
    (void)state;
    struct touch_table t;
    touch_init(&t);
    touch_begin_at(&t, 1);
    note(&t, 0, 3);
    for (uint64_t n = 1; n <= TOUCH_MAX; n++)
        note(&t, n, 2);
    assert_int_equal(touch(&t, 0), 3);
    assert_int_equal(touch(&t, 7), 2);
    assert_int_equal(touch(&t, TOUCH_MAX + 7), 2);
    touch_close(&t);
}

static void only_what_is_old_leaves(void **state)
{
    (void)state;
    struct touch_table t;
    bool leaves[3];
    const struct sha256 ids[] = {id_of(1), id_of(2), id_of(3)};
    touch_init(&t);
    assert_int_equal(touch_leave(&t, ids, 3, 1000, leaves), 0);
    touch_left(&t);
    touch_begin_at(&t, 1);
    note(&t, 1, 4);
    note(&t, 2, 5);
    assert_int_equal(touch_leave(&t, ids, 3, 5, leaves), 2);
    assert_true(leaves[0] && !leaves[1] && leaves[2]);
    assert_true(touch_is_leaving(&t, &ids[0]) && !touch_is_leaving(&t, &ids[1]) && touch_is_leaving(&t, &ids[2]));
    touch_left(&t);
    assert_false(touch_is_leaving(&t, &ids[0]));
    touch_close(&t);
}

static void limits(void **state)
{
    (void)state;
    assert_int_equal(collect_limit(0), 0);
    assert_int_equal(collect_limit(1), 0);
    assert_int_equal(collect_limit(5), 4); /* what was touched in 3 goes, in 4 it stays */
    assert_int_equal(collect_stray_limit(5), 6);
}

static void when_it_is_looked(void **state)
{
    (void)state;
    const int64_t second = 1000000000, hour = 3600 * second;
    const struct {
        struct collect_past past;
        struct collect_news news;
        int64_t now_ns;
        bool due;
    } cases[] = {
        {{0}, {0, 0}, 0, false},                                                   /* nothing is known yet */
        {{0}, {1, 0}, 0, true},                                                    /* never looked */
        {{.epoch = 3, .released = 5}, {3, 6}, second, false},                      /* in this epoch already */
        {{.epoch = 3, .released = 5}, {4, 5}, second, false},                      /* nothing was let go of */
        {{.epoch = 3, .released = 5}, {4, 6}, second, true},                       /* something was */
        {{.epoch = 3, .released = 5, .waiting = 1}, {4, 5}, second, true},         /* something may go now */
        {{.epoch = 3, .released = 5, .waiting = 1}, {3, 5}, second, false},        /* not yet */
        {{.epoch = 3, .released = 5, .ended_ns = second}, {3, 5}, hour, false},    /* nearly */
        {{.epoch = 3, .released = 5, .ended_ns = second}, {3, 5}, 2 * hour, true}, /* what nobody committed */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(collect_is_due(&cases[i].past, &cases[i].news, cases[i].now_ns, hour), cases[i].due);
}

/* ---- a store ---- */

#define BLOCKS 40u
#define ROUNDS 400u

struct race {
    struct block_store *store;
    atomic_bool over;
};

/* By old answers, which name none of the blocks. */
static void *collector(void *arg)
{
    struct race *r = arg;
    struct sha256 ids[BLOCKS];
    struct block_store_removed removed;
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block b;
        block_make(&b, i, 1000);
        ids[i] = b.id;
        block_free(&b);
    }
    while (!atomic_load(&r->over))
        if (block_store_collect(r->store, ids, BLOCKS, 5, &removed) != ERR_OK)
            abort();
    return NULL;
}

static void a_touched_block_stays(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct race r = {.store = must_open(path)};
    pthread_t thread;
    block_store_epoch(r.store, 1);
    for (unsigned i = 0; i < BLOCKS; i++)
        must_put(r.store, i, 1000, false); /* before there was anything to fear */
    assert_int_equal(pthread_create(&thread, NULL, collector, &r), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct block b;
        bool there;
        block_make(&b, i, 1000);
        block_store_touch(r.store, &b.id, 1, 5 + i % 2);
        assert_int_equal(block_store_has(r.store, &b.id, 1, &there), ERR_OK);
        if (!there)
            must_put(r.store, i, 1000, i % 3 == 0);
        for (unsigned n = 0; n < ROUNDS / BLOCKS; n++)
            assert_true(must_have(r.store, i, 1000));
        block_free(&b);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_true(must_have(r.store, i, 1000));
    atomic_store(&r.over, true);
    pthread_join(thread, NULL);
    block_store_close(r.store);
    directory_remove(path);
}

static uint64_t bytes_in(const char *path)
{
    char command[128];
    unsigned long long bytes = 0;
    snprintf(command, sizeof command, "du -s --block-size=1 %s", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu", &bytes), 1);
    pclose(f);
    return bytes;
}

static void collect_numbers(struct block_store *s, unsigned from, unsigned to, unsigned step)
{
    for (unsigned i = from; i < to; i += step) {
        struct block b;
        struct block_store_removed removed;
        block_make(&b, i, LIMIT_BLOCK_BYTES);
        assert_int_equal(block_store_collect(s, &b.id, 1, 5, &removed), ERR_OK);
        assert_int_equal(removed.blocks, 1);
        assert_int_equal(removed.bytes, LIMIT_BLOCK_BYTES);
        block_free(&b);
    }
}

static void space_comes_back(void **state)
{
    (void)state;
    char path[64];
    const unsigned count = 96;
    directory_make(path);
    struct block_store *s = must_open(path);
    block_store_epoch(s, 1);
    for (unsigned i = 0; i < count; i++)
        must_put(s, i, LIMIT_BLOCK_BYTES, false);
    assert_int_equal(block_store_sync(s), ERR_OK);
    assert_true(bytes_in(path) > count * (uint64_t)LIMIT_BLOCK_BYTES);
    collect_numbers(s, 0, count, 2); /* every second one: those between them are moved */
    assert_int_equal(block_store_compact(s), ERR_OK);
    assert_true(bytes_in(path) < count * (uint64_t)LIMIT_BLOCK_BYTES * 2 / 3);
    for (unsigned i = 1; i < count; i += 2)
        assert_true(must_have(s, i, LIMIT_BLOCK_BYTES));
    collect_numbers(s, 1, count, 2);
    assert_int_equal(block_store_compact(s), ERR_OK);
    assert_true(bytes_in(path) < 8 * (uint64_t)MIB);
    block_store_compact_stop(s);
    assert_int_equal(block_store_compact(s), ERR_OK); /* at once */
    block_store_close(s);
    directory_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_start_nothing_may_go),
        cmocka_unit_test(the_latest_touch_counts),
        cmocka_unit_test(what_is_forgotten_counts_as_later_than_it_was),
        cmocka_unit_test(a_full_epoch_counts_for_all),
        cmocka_unit_test(only_what_is_old_leaves),
        cmocka_unit_test(limits),
        cmocka_unit_test(when_it_is_looked),
        cmocka_unit_test(a_touched_block_stays),
        cmocka_unit_test(space_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
