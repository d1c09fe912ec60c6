/* Epochs of collection: how they rise, which commits they refuse, and what the state says of blocks. */
#include "tests/unit/meta/commands.h"

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

static struct meta_reply raise_epoch(struct fixture *f, uint64_t after, bool look)
{
    return fixture_apply(f, (struct meta_command){.op = META_EPOCH, .epoch = {.after = after, .look = look}});
}

static struct meta_collection collection(struct fixture *f)
{
    struct meta_collection c;
    meta_collection(f->meta, &c);
    return c;
}

static struct meta_reply commit(struct fixture *f, uint64_t ino, uint64_t length, uint32_t block, uint64_t epoch)
{
    const struct meta_extent extent = extent_of(0, length, block, 0);
    return fixture_call(
        f, (struct meta_command){
               .op = META_COMMIT,
               .commit = {.ino = ino, .extents = &extent, .extent_count = 1, .size_at_least = length, .epoch = epoch}});
}

static void epochs_rise_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(collection(f).epoch, 1);
    assert_status(raise_epoch(f, 2, false), ERR_AGAIN);
    struct meta_reply r = raise_epoch(f, 1, false);
    assert_status(r, ERR_OK);
    assert_int_equal(r.epoch, 2);
    assert_status(raise_epoch(f, 1, false), ERR_AGAIN); /* two leaders, one after the other, meant the same one */
    assert_int_equal(collection(f).epoch, 2);
    assert_int_equal(must_getattr(f, ROOT).ino, ROOT);
    assert_int_equal(do_getattr(f, ROOT).epoch, 2);
    fixture_reopen(f);
    assert_int_equal(collection(f).epoch, 2);
}

static void a_commit_of_old_puts_is_refused_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    for (uint64_t epoch = 1; epoch < 5; epoch++)
        assert_status(raise_epoch(f, epoch, false), ERR_OK);
    struct meta_attr before = must_getattr(f, ino);
    struct meta_reply r = commit(f, ino, 100, 1, 3);
    assert_status(r, ERR_STALE_EPOCH);
    assert_int_equal(r.epoch, 5);
    assert_int_equal(must_getattr(f, ino).version, before.version);
    assert_int_equal(references_of(f, 1), 0);
    assert_status(commit(f, ino, 100, 1, 4), ERR_OK);
    assert_status(commit(f, ino, 100, 2, 5), ERR_OK);
    assert_status(commit(f, ino, 100, 2, 6), ERR_OK); /* put by who knows more than this state */
    assert_status(commit(f, ino, 100, 0, 0), ERR_OK); /* a hole names nothing */
}

static void what_lets_go_of_blocks_is_counted(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    assert_status(commit(f, ino, 100, 1, 1), ERR_OK);
    assert_int_equal(collection(f).released, 0);
    assert_int_equal(collection(f).released_epoch, 0);
    assert_status(raise_epoch(f, 1, false), ERR_OK);
    assert_status(commit(f, ino, 100, 2, 2), ERR_OK);
    struct meta_collection over = collection(f);
    assert_int_equal(over.released, 1);
    assert_int_equal(over.released_epoch, 2);
    assert_status(raise_epoch(f, 2, true), ERR_OK); /* somebody wants them to look */
    assert_int_equal(collection(f).released, 2);
    assert_int_equal(collection(f).released_epoch, 3);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    reap_all(f);
    assert_int_equal(collection(f).released, 3);
}

static void the_state_says_which_blocks_are_referenced(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    assert_status(commit(f, ino, 100, 1, 1), ERR_OK);
    assert_status(commit(f, ino, 100, 2, 1), ERR_OK);
    const struct sha256 blocks[] = {extent_of(0, 1, 1, 0).block, extent_of(0, 1, 2, 0).block,
                                    extent_of(0, 1, 3, 0).block};
    struct meta_query_reply r =
        fixture_query(f, (struct meta_query){.op = META_QUERY_BLOCK_REFS, .blocks = blocks, .block_count = 3});
    assert_status(r, ERR_OK);
    assert_int_equal(r.referenced_count, 3);
    assert_int_equal(r.referenced[0], 0); /* counted to zero */
    assert_int_equal(r.referenced[1], 1);
    assert_int_equal(r.referenced[2], 0); /* never heard of */
    assert_int_equal(r.released, 1);
    assert_int_equal(r.epoch, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(epochs_rise_one_at_a_time),
        TEST(a_commit_of_old_puts_is_refused_and_changes_nothing),
        TEST(what_lets_go_of_blocks_is_counted),
        TEST(the_state_says_which_blocks_are_referenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
