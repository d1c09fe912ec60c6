/* Rewrites of fragmented extents: nothing of the inode changes, only exactly what was expected is replaced, counts of
 * blocks follow; and which files are listed as fragmented. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO
#define PAGE 4096u
#define WHOLE 900u

static struct meta_command rewrite_command(uint64_t ino, uint64_t offset, uint32_t length,
                                           const struct meta_extent *extents, unsigned count)
{
    struct meta_command c = {.op = META_REWRITE,
                             .rewrite = {.ino = ino,
                                         .offset = offset,
                                         .length = length,
                                         .extents = extents,
                                         .extent_count = count,
                                         .epoch = UINT64_MAX}};
    put_u32be(c.rewrite.block.bytes, WHOLE);
    return c;
}

/* Pages of different blocks, from the start of the file; page n is of block n + 1. */
static uint64_t make_pages(struct fixture *f, const char *name, unsigned count)
{
    uint64_t ino = must_make(f, META_CREATE, ROOT, name, 0644);
    for (unsigned n = 0; n < count; n++)
        assert_status(do_write(f, ino, (uint64_t)n * PAGE, PAGE, n + 1, 0), ERR_OK);
    return ino;
}

static void expect_page(struct meta_extent *e, unsigned n)
{
    *e = extent_of((uint64_t)n * PAGE, PAGE, n + 1, 0);
}

static void assert_same_attr(const struct meta_attr *a, const struct meta_attr *b)
{
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->allocated, b->allocated);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->ctime_ns, b->ctime_ns);
}

static void pages_become_one_block(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 8);
    struct meta_extent expected[8];
    for (unsigned n = 0; n < 8; n++)
        expect_page(&expected[n], n);
    struct meta_attr before = must_getattr(f, ino), after;
    struct meta_reply r = fixture_call(f, rewrite_command(ino, 0, 8 * PAGE, expected, 8));
    assert_status(r, ERR_OK);
    after = must_getattr(f, ino);
    assert_same_attr(&before, &after);
    struct meta_query_reply layout = do_layout(f, ino);
    assert_int_equal(layout.extent_count, 1);
    assert_int_equal(layout.extents[0].length, 8 * PAGE);
    assert_int_equal(get_u32be(layout.extents[0].block.bytes), WHOLE);
    assert_int_equal(references_of(f, WHOLE), 1);
    for (unsigned n = 0; n < 8; n++)
        assert_int_equal(references_of(f, n + 1), 0);
    fixture_verify(f);
}

/* What reaches over the range keeps its ends, and holes stay holes. */
static void only_the_range_changes(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 4);
    assert_status(do_write(f, ino, PAGE, PAGE, 0, 0), ERR_OK); /* a hole */
    struct meta_extent expected[] = {extent_of(100, PAGE - 100, 1, 100), extent_of(2 * PAGE, PAGE, 3, 0),
                                     extent_of(3 * PAGE, 50, 4, 0)};
    struct meta_attr before = must_getattr(f, ino), after;
    assert_status(fixture_call(f, rewrite_command(ino, 100, 3 * PAGE - 50, expected, 3)), ERR_OK);
    after = must_getattr(f, ino);
    assert_same_attr(&before, &after);
    struct meta_query_reply layout = do_layout(f, ino);
    assert_int_equal(layout.extent_count, 4);
    assert_int_equal(layout.extents[0].length, 100);
    assert_int_equal(layout.extents[1].block_offset, 0);
    assert_int_equal(layout.extents[2].file_offset, 2 * PAGE);
    assert_int_equal(layout.extents[2].length, PAGE + 50);
    assert_int_equal(layout.extents[2].block_offset, 2 * PAGE - 100);
    assert_int_equal(layout.extents[3].block_offset, 50);
    assert_int_equal(get_u32be(layout.extents[3].block.bytes), 4);
    assert_int_equal(references_of(f, WHOLE), 2);
    fixture_verify(f);
}

static void what_is_not_expected_stays(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 4);
    struct meta_extent expected[4];
    for (unsigned n = 0; n < 4; n++)
        expect_page(&expected[n], n);
    assert_status(do_write(f, ino, 2 * PAGE + 7, 1, 77, 0), ERR_OK);
    assert_status(fixture_call(f, rewrite_command(ino, 0, 4 * PAGE, expected, 4)), ERR_VERSION);
    /* What was written lies outside of this. */
    assert_status(fixture_call(f, rewrite_command(ino, 0, 2 * PAGE, expected, 2)), ERR_OK);
    /* Something more, something less, a hole where none is. */
    expect_page(&expected[0], 3);
    assert_status(fixture_call(f, rewrite_command(ino, 3 * PAGE - 1, PAGE + 1, expected, 1)), ERR_VERSION);
    expected[1] = extent_of(4 * PAGE, PAGE, 5, 0);
    assert_status(fixture_call(f, rewrite_command(ino, 3 * PAGE, 2 * PAGE, expected, 2)), ERR_VERSION);
    expected[0].length--;
    assert_status(fixture_call(f, rewrite_command(ino, 3 * PAGE, PAGE, expected, 1)), ERR_VERSION);
    assert_int_equal(references_of(f, WHOLE), 1);
    assert_int_equal(references_of(f, 77), 1);
    fixture_verify(f);
}

static void nonsense_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 2), directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    struct meta_extent e = extent_of(0, PAGE, 1, 0);
    assert_status(fixture_call(f, rewrite_command(ino, 0, PAGE, &e, 0)), ERR_INVAL);
    assert_status(fixture_call(f, rewrite_command(ino, 1, PAGE, &e, 1)), ERR_INVAL);
    assert_status(fixture_call(f, rewrite_command(ino, 0, PAGE - 1, &e, 1)), ERR_INVAL);
    assert_status(fixture_call(f, rewrite_command(directory, 0, PAGE, &e, 1)), ERR_ISDIR);
    assert_status(fixture_call(f, rewrite_command(12345, 0, PAGE, &e, 1)), ERR_STALE);
    memset(&e.block, 0, sizeof e.block);
    assert_status(fixture_call(f, rewrite_command(ino, 0, PAGE, &e, 1)), ERR_INVAL);
    fixture_verify(f);
}

static void blocks_of_long_ago_are_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 2);
    struct meta_extent expected[2];
    for (unsigned n = 0; n < 2; n++)
        expect_page(&expected[n], n);
    struct meta_command c = rewrite_command(ino, 0, 2 * PAGE, expected, 2);
    c.rewrite.epoch = 1;
    for (uint64_t after = 1; after <= 2; after++)
        assert_status(fixture_apply(f, (struct meta_command){.op = META_EPOCH, .epoch.after = after}), ERR_OK);
    assert_status(fixture_call(f, c), ERR_STALE_EPOCH);
    c.rewrite.epoch = 2;
    assert_status(fixture_call(f, c), ERR_OK);
}

/* ---- the list ---- */

static struct meta_query_reply listed(struct fixture *f, uint64_t behind)
{
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_FRAGMENTED, .ino = behind});
    assert_status(r, ERR_OK);
    return r;
}

static void fragmented_files_are_listed(void **state)
{
    struct fixture *f = *state;
    uint64_t whole = must_make(f, META_CREATE, ROOT, "whole", 0644);
    assert_status(do_write(f, whole, 0, MIB, 900, 0), ERR_OK);
    assert_status(do_write(f, whole, MIB, MIB, 901, 0), ERR_OK);
    assert_status(do_write(f, whole, MIB / 2, MIB, 902, 0), ERR_OK); /* long ones don't matter */
    assert_status(do_write(f, whole, 2 * MIB, PAGE, 1, 0), ERR_OK);  /* nor does a short one behind them */
    uint64_t small = must_make(f, META_CREATE, ROOT, "small", 0644);
    assert_status(do_write(f, small, 0, PAGE, 1, 0), ERR_OK);
    assert_status(do_write(f, small, 0, PAGE, 2, 0), ERR_OK); /* all of it anew */
    assert_int_equal(listed(f, 0).fragmented_count, 0);

    assert_status(do_write(f, whole, PAGE, PAGE, 3, 0), ERR_OK);
    struct meta_reply r = do_write(f, small, PAGE, PAGE, 4, 0);
    struct meta_query_reply list = listed(f, 0);
    assert_int_equal(list.fragmented_count, 2);
    assert_true(list.end && list.fragmented[0].ino == whole && list.fragmented[1].ino == small);
    assert_int_equal(list.fragmented[1].version, r.attr.version);
    assert_int_equal(listed(f, whole).fragmented_count, 1);
    assert_int_equal(listed(f, small).fragmented_count, 0);
    assert_int_equal(listed(f, UINT64_MAX).fragmented_count, 0);
    uint64_t sparse = must_make(f, META_CREATE, ROOT, "sparse", 0644);
    assert_status(do_truncate(f, sparse, MIB), ERR_OK);
    assert_int_equal(listed(f, small).fragmented_count, 0);
    assert_status(do_write(f, sparse, 10 * PAGE, PAGE, 3, 0), ERR_OK);
    assert_int_equal(listed(f, small).fragmented[0].ino, sparse);
    fixture_verify(f);
}

static struct meta_reply done(struct fixture *f, uint64_t ino, uint64_t version)
{
    return fixture_call(f, (struct meta_command){.op = META_REWRITE, .rewrite = {.ino = ino, .version = version}});
}

static void who_is_done_is_listed_no_more(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 3);
    struct meta_query_reply list = listed(f, 0);
    assert_int_equal(list.fragmented_count, 1);
    uint64_t version = list.fragmented[0].version;
    assert_status(do_write(f, ino, 10, 1, 77, 0), ERR_OK);
    assert_status(done(f, ino, version), ERR_OK);
    assert_int_equal(listed(f, 0).fragmented_count, 1);
    assert_status(done(f, ino, version + 1), ERR_OK);
    assert_int_equal(listed(f, 0).fragmented_count, 0);
    assert_int_equal(rows_of(f, 'f'), 0);
    assert_status(done(f, ino, version + 1), ERR_OK);

    /* One that is gone stays listed until somebody finds that out. */
    assert_status(do_write(f, ino, 20, 1, 78, 0), ERR_OK);
    version = listed(f, 0).fragmented[0].version;
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    reap_all(f);
    fixture_verify(f);
    assert_int_equal(listed(f, 0).fragmented_count, 1);
    assert_status(done(f, ino, version), ERR_OK);
    assert_int_equal(rows_of(f, 'f'), 0);
}

static void a_long_list_comes_in_parts(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 0; n <= LIMIT_FRAGMENTED; n++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", n);
        make_pages(f, name, 2);
    }
    struct meta_query_reply list = listed(f, 0);
    assert_int_equal(list.fragmented_count, LIMIT_FRAGMENTED);
    assert_false(list.end);
    list = listed(f, list.fragmented[LIMIT_FRAGMENTED - 1].ino);
    assert_int_equal(list.fragmented_count, 1);
    assert_true(list.end);
}

/* An answer that grants nothing is about no inode that anybody must be told of. */
static void extents_are_no_look(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_pages(f, "f", 3);
    struct meta_query_reply r =
        fixture_query(f, (struct meta_query){.op = META_QUERY_EXTENTS, .ino = ino, .offset = PAGE, .length = PAGE});
    assert_status(r, ERR_OK);
    assert_int_equal(r.extent_count, 1);
    struct meta_touched touched;
    meta_touched(f->meta, &touched);
    assert_int_equal(touched.seen_count, 0);
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_EXTENTS, .ino = 12345}), ERR_STALE);
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_EXTENTS, .ino = ROOT}), ERR_INVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pages_become_one_block),        TEST(only_the_range_changes),         TEST(what_is_not_expected_stays),
        TEST(nonsense_is_refused),           TEST(blocks_of_long_ago_are_refused), TEST(fragmented_files_are_listed),
        TEST(who_is_done_is_listed_no_more), TEST(a_long_list_comes_in_parts),     TEST(extents_are_no_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
