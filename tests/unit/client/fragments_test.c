/* Which parts of a file are rewritten: what pays, its ends, holes, more than fits, and that it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "client/file/fragments.h"

#define PAGE 4096u

static struct meta_extent extents[4096];
static unsigned count;
static struct fragments part;

static void add(uint64_t offset, uint64_t length, uint32_t block)
{
    extents[count] = (struct meta_extent){.file_offset = offset, .length = length};
    put_u32be(extents[count++].block.bytes, block);
}

static bool find(uint64_t from, uint64_t to, unsigned least)
{
    return fragments_find(extents, count, from, to, least, &part);
}

static int start(void **state)
{
    (void)state;
    count = 0;
    return 0;
}

static void few_blocks_are_left_alone(void **state)
{
    (void)state;
    assert_false(find(0, MIB, 2));
    for (uint32_t n = 0; n < 7; n++)
        add((uint64_t)n * PAGE, PAGE, n + 1);
    assert_false(find(0, MIB, 8));
    assert_true(find(0, MIB, 7));
    assert_int_equal(part.from, 0);
    assert_int_equal(part.to, 7 * PAGE);
    assert_int_equal(part.count, 7);
}

static void long_ones_at_the_ends_stay(void **state)
{
    (void)state;
    add(0, MIB / 2, 100);
    for (uint32_t n = 0; n < 10; n++)
        add(MIB / 2 + (uint64_t)n * PAGE, PAGE, n + 1);
    add(MIB / 2 + 10 * PAGE, MIB, 101); /* reaches over the end */
    assert_true(find(0, MIB, 8));
    assert_int_equal(part.from, MIB / 2);
    assert_int_equal(part.to, MIB / 2 + 10 * PAGE);
    assert_int_equal(part.count, 10);
}

static void pieces_are_cut_to_the_range(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 10; n++)
        add((uint64_t)n * PAGE, PAGE, n + 1);
    assert_true(find(100, 9 * PAGE + 50, 8));
    assert_int_equal(part.count, 10);
    assert_int_equal(part.pieces[0].file_offset, 100);
    assert_int_equal(part.pieces[0].block_offset, 100);
    assert_int_equal(part.pieces[0].length, PAGE - 100);
    assert_int_equal(part.pieces[9].length, 50);
    assert_int_equal(part.pieces[9].block_offset, 0);
}

/* Whatever comes of a rewrite is not worth another: nothing is rewritten for ever. */
static void what_was_rewritten_is_not_found_again(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 85; n++) /* with holes between them */
        add((uint64_t)n * 3 * PAGE, PAGE, n + 1);
    assert_true(find(0, MIB, 8));
    assert_int_equal(part.count, 85);
    for (unsigned n = 0; n < count; n++) {
        put_u32be(extents[n].block.bytes, 900);
        extents[n].block_offset = (uint32_t)(extents[n].file_offset - part.from);
    }
    assert_false(find(0, MIB, 8));
    assert_false(find(0, MIB, 2));
}

/* One block that is named again and again: reading it is cheap, but there are many rows. */
static void many_rows_of_one_block_pay_too(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 32; n++)
        add((uint64_t)n * PAGE, PAGE, 1);
    assert_false(find(0, MIB, 8));
    add(32 * PAGE, PAGE, 1);
    assert_true(find(0, MIB, 8));
}

static void more_than_fits_comes_in_parts(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < LIMIT_REWRITE_EXTENTS + 100; n++)
        add((uint64_t)n * 100, 100, n + 1);
    assert_true(find(0, MIB, 8));
    assert_int_equal(part.count, LIMIT_REWRITE_EXTENTS);
    assert_int_equal(part.to, LIMIT_REWRITE_EXTENTS * 100);
    assert_true(find(part.to, MIB, 8));
    assert_int_equal(part.count, 100);
    assert_false(find(part.to, MIB, 8));
    /* The first part is well as it is, the second is not. */
    count = 0;
    for (uint32_t n = 0; n < LIMIT_REWRITE_EXTENTS; n++)
        add((uint64_t)n * 200, 100, 1);
    for (uint32_t n = 0; n < 100; n++)
        add(LIMIT_REWRITE_EXTENTS * 200 + (uint64_t)n * 100, 100, n + 1);
    assert_true(find(0, MIB, 8));
    assert_int_equal(part.from, LIMIT_REWRITE_EXTENTS * 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, start)
    const struct CMUnitTest tests[] = {
        TEST(few_blocks_are_left_alone),      TEST(long_ones_at_the_ends_stay),
        TEST(pieces_are_cut_to_the_range),    TEST(what_was_rewritten_is_not_found_again),
        TEST(many_rows_of_one_block_pay_too), TEST(more_than_fits_comes_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
