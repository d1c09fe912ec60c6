/* Extent arithmetic, against arrays of bytes. */
#include "tests/unit/meta/commands.h"

#include <string.h>

#include "base/mem.h"
#include "meta/extent.h"

#define FILE_BYTES 10u

/* What each byte of a tiny file is: 0 is nothing, else 1 + the offset in the block. */
static void paint(uint32_t bytes[FILE_BYTES], const struct meta_extent *e)
{
    for (uint64_t i = 0; i < e->length; i++) {
        assert_true(e->file_offset + i < FILE_BYTES);
        assert_int_equal(bytes[e->file_offset + i], 0); /* parts don't overlap */
        bytes[e->file_offset + i] = 1 + (meta_extent_is_hole(e) ? 0 : e->block_offset + (uint32_t)i);
    }
}

static void subtract_once(uint64_t begin, uint64_t end, uint64_t from, uint64_t to, uint32_t block)
{
    struct meta_extent old = extent_of(begin, end - begin, block, block ? 100 : 0), parts[2];
    uint32_t want[FILE_BYTES] = {0}, got[FILE_BYTES] = {0};
    unsigned count = extent_subtract(&old, from, to, parts);
    paint(want, &old);
    for (uint64_t i = from; i < to && i < FILE_BYTES; i++)
        want[i] = 0;
    assert_true(count <= 2);
    for (unsigned i = 0; i < count; i++) {
        assert_true(parts[i].length > 0);
        assert_true(sha256_equal(&parts[i].block, &old.block));
        assert_true(i == 0 || parts[i].file_offset > parts[i - 1].file_offset);
        assert_int_equal(extent_validate(&parts[i], NULL), ERR_OK);
        paint(got, &parts[i]);
    }
    assert_memory_equal(want, got, sizeof want);
}

static void subtract_is_exhaustively_right(void **state)
{
    (void)state;
    for (uint64_t begin = 0; begin < FILE_BYTES; begin++)
        for (uint64_t end = begin + 1; end <= FILE_BYTES; end++)
            for (uint64_t from = 0; from <= FILE_BYTES; from++)
                for (uint64_t to = from; to <= FILE_BYTES + 1; to++) {
                    subtract_once(begin, end, from, to, 5);
                    subtract_once(begin, end, from, to, 0);
                }
    for (uint64_t begin = 0; begin < FILE_BYTES; begin++)
        for (uint64_t from = 0; from <= FILE_BYTES; from++)
            subtract_once(begin, FILE_BYTES, from, UINT64_MAX, 5);
}

static void subtract_at_the_end_of_the_largest_file(void **state)
{
    (void)state;
    struct meta_extent old = extent_of(META_SIZE_MAX - 10, 10, 1, 0), parts[2];
    assert_int_equal(extent_subtract(&old, META_SIZE_MAX - 4, UINT64_MAX, parts), 1);
    assert_int_equal(parts[0].length, 6);
    assert_int_equal(extent_subtract(&old, META_SIZE_MAX, UINT64_MAX, parts), 1);
    assert_int_equal(parts[0].length, 10);
    assert_int_equal(extent_subtract(&old, 0, META_SIZE_MAX, parts), 0);
}

static void merge_undoes_subtract(void **state)
{
    (void)state;
    for (uint32_t block = 0; block < 2; block++)
        for (uint64_t length = 2; length < 8; length++)
            for (uint64_t at = 1; at < length; at++) {
                struct meta_extent whole = extent_of(3, length, block, block ? 40 : 0), head[2], tail[2], both;
                assert_int_equal(extent_subtract(&whole, 3 + at, UINT64_MAX, head), 1);
                assert_int_equal(extent_subtract(&whole, 0, 3 + at, tail), 1);
                assert_true(extent_merge(head, tail, &both));
                assert_int_equal(both.file_offset, 3);
                assert_int_equal(both.length, length);
                assert_int_equal(both.block_offset, whole.block_offset);
                assert_false(extent_merge(tail, head, &both));
            }
}

static void merge_refuses_what_does_not_continue(void **state)
{
    (void)state;
    struct meta_extent a = extent_of(0, 10, 1, 0), both;
    struct meta_extent others[] = {
        extent_of(11, 5, 1, 10), /* a gap in the file */
        extent_of(9, 5, 1, 10),  /* overlaps */
        extent_of(10, 5, 1, 11), /* a gap in the block */
        extent_of(10, 5, 2, 10), /* another block */
        extent_of(10, 5, 0, 0),  /* a hole */
    };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(extent_merge(&a, &others[i], &both));
    struct meta_extent hole = extent_of(0, 10, 0, 0), next = extent_of(10, META_SIZE_MAX - 10, 0, 0);
    assert_true(extent_merge(&hole, &next, &both));
    assert_int_equal(both.length, META_SIZE_MAX);
}

static void validate_bounds(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset, length;
        uint32_t block, at;
        enum err want;
    } cases[] = {
        {0, 1, 1, 0, ERR_OK},
        {0, 0, 1, 0, ERR_INVAL},
        {0, LIMIT_BLOCK_BYTES, 1, 0, ERR_OK},
        {0, LIMIT_BLOCK_BYTES + 1, 1, 0, ERR_INVAL},
        {0, LIMIT_BLOCK_BYTES, 1, 1, ERR_INVAL},
        {0, 1, 1, LIMIT_BLOCK_BYTES - 1, ERR_OK},
        {0, 1, 1, LIMIT_BLOCK_BYTES, ERR_INVAL},
        {0, 1, 1, UINT32_MAX, ERR_INVAL},
        {META_SIZE_MAX, 1, 1, 0, ERR_INVAL},
        {META_SIZE_MAX - 1, 1, 1, 0, ERR_OK},
        {UINT64_MAX, 1, 1, 0, ERR_INVAL},
        {UINT64_MAX, UINT64_MAX, 0, 0, ERR_INVAL},
        {1, UINT64_MAX, 0, 0, ERR_INVAL},
        {0, META_SIZE_MAX, 0, 0, ERR_OK},
        {1, META_SIZE_MAX, 0, 0, ERR_INVAL},
        {0, 1, 0, 1, ERR_INVAL}, /* a hole has no place in a block */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct meta_extent e = extent_of(cases[i].offset, cases[i].length, cases[i].block, cases[i].at);
        struct err_text why = {""};
        if (extent_validate(&e, &why) != cases[i].want)
            fail_msg("case %zu", i);
        assert_int_equal(strlen(why.text) > 0, cases[i].want != ERR_OK);
    }
}

static void validate_lists(void **state)
{
    (void)state;
    struct meta_extent good[] = {extent_of(0, 5, 1, 0), extent_of(5, 5, 2, 0), extent_of(20, 5, 0, 0)};
    struct meta_extent overlap[] = {extent_of(0, 5, 1, 0), extent_of(4, 5, 2, 0)};
    struct meta_extent order[] = {extent_of(5, 5, 1, 0), extent_of(0, 5, 2, 0)};
    struct meta_extent twice[] = {extent_of(5, 5, 1, 0), extent_of(5, 5, 1, 0)};
    struct meta_extent bad[] = {extent_of(0, 5, 1, 0), extent_of(5, 0, 2, 0)};
    assert_int_equal(extent_validate_list(NULL, 0, NULL), ERR_OK);
    assert_int_equal(extent_validate_list(good, 3, NULL), ERR_OK);
    assert_int_equal(extent_validate_list(overlap, 2, NULL), ERR_INVAL);
    assert_int_equal(extent_validate_list(order, 2, NULL), ERR_INVAL);
    assert_int_equal(extent_validate_list(twice, 2, NULL), ERR_INVAL);
    assert_int_equal(extent_validate_list(bad, 2, NULL), ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subtract_is_exhaustively_right),
        cmocka_unit_test(subtract_at_the_end_of_the_largest_file),
        cmocka_unit_test(merge_undoes_subtract),
        cmocka_unit_test(merge_refuses_what_does_not_continue),
        cmocka_unit_test(validate_bounds),
        cmocka_unit_test(validate_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
