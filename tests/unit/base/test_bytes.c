/* Slices, growing bytes, and cursors that never read past their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"

static void test_slices(void **state)
{
    (void)state;
    struct slice abc = slice_str("abc"), empty = SLICE(NULL, 0);
    assert_int_equal(abc.size, 3);
    assert_true(slice_equal(abc, slice_str("abc")));
    assert_false(slice_equal(abc, slice_str("abd")));
    assert_false(slice_equal(abc, slice_str("ab")));
    assert_true(slice_equal(empty, slice_str("")));
    assert_true(slice_compare(slice_str("ab"), abc) < 0);
    assert_true(slice_compare(abc, slice_str("ab")) > 0);
    assert_true(slice_compare(abc, slice_str("abd")) < 0);
    assert_true(slice_compare(slice_str("\xff"), slice_str("a")) > 0);
    assert_int_equal(slice_compare(empty, empty), 0);
    assert_true(slice_equal(slice_sub(abc, 1, 2), slice_str("bc")));
    assert_int_equal(slice_sub(abc, 3, 0).size, 0);
    assert_int_equal(slice_sub(empty, 0, 0).size, 0);
}

static void test_bytes_grow(void **state)
{
    (void)state;
    struct bytes b = {0};
    assert_int_equal(bytes_slice(&b).size, 0);
    bytes_append(&b, SLICE(NULL, 0));
    (void)bytes_extend(&b, 0);
    for (int i = 0; i < 100000; i++)
        bytes_u8(&b, (uint8_t)(i * 7));
    assert_int_equal(b.size, 100000);
    assert_true(b.capacity >= b.size);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * 7));
    size_t capacity = b.capacity;
    bytes_clear(&b);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.capacity, capacity);
    bytes_reserve(&b, capacity);
    assert_int_equal(b.capacity, capacity);
    bytes_free(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
}

static void test_round_trip_is_big_endian(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_u8(&b, 0x01);
    bytes_u16(&b, 0x0203);
    bytes_u32(&b, 0x04050607);
    bytes_u64(&b, UINT64_C(0x08090a0b0c0d0e0f));
    bytes_blob(&b, slice_str("xyz"));
    for (uint8_t i = 0; i < 15; i++)
        assert_int_equal(b.data[i], i + 1);
    struct cursor c = cursor_of(bytes_slice(&b));
    assert_int_equal(cursor_u8(&c), 0x01);
    assert_int_equal(cursor_u16(&c), 0x0203);
    assert_int_equal(cursor_u32(&c), 0x04050607);
    assert_true(cursor_u64(&c) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_true(cursor_ok(&c) && !cursor_done(&c));
    assert_true(slice_equal(cursor_blob(&c, 3), slice_str("xyz")));
    assert_true(cursor_done(&c));
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_ok(&c));
    bytes_free(&b);
}

static void test_short_reads_fail_for_good(void **state)
{
    (void)state;
    uint8_t seven[7] = {1, 2, 3, 4, 5, 6, 7};
    struct cursor c = cursor_of(SLICE(seven, 7));
    assert_true(cursor_u64(&c) == 0);
    assert_false(cursor_ok(&c));
    assert_int_equal(cursor_u8(&c), 0); /* although there are bytes */
    assert_int_equal(cursor_take(&c, 1).size, 0);
    assert_false(cursor_done(&c));

    c = cursor_of(SLICE(seven, 7));
    assert_int_equal(cursor_take(&c, SIZE_MAX).size, 0);
    assert_false(cursor_ok(&c));

    c = cursor_of(SLICE(NULL, 0));
    assert_true(cursor_done(&c));
    assert_int_equal(cursor_take(&c, 0).size, 0);
    assert_true(cursor_done(&c));
    assert_int_equal(cursor_u32(&c), 0);
    assert_false(cursor_ok(&c));
}

static void test_blobs_are_bounded(void **state)
{
    (void)state;
    struct bytes b = {0};
    bytes_blob(&b, slice_str("four"));
    struct cursor c = cursor_of(bytes_slice(&b));
    assert_int_equal(cursor_blob(&c, 3).size, 0);
    assert_false(cursor_ok(&c));
    put_u32be(b.data, UINT32_MAX);
    c = cursor_of(bytes_slice(&b));
    assert_int_equal(cursor_blob(&c, SIZE_MAX).size, 0);
    assert_false(cursor_ok(&c));
    for (size_t cut = 0; cut < b.size; cut++) {
        put_u32be(b.data, 4);
        c = cursor_of(SLICE(b.data, cut));
        (void)cursor_blob(&c, 4);
        assert_false(cursor_ok(&c));
    }
    bytes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_bytes_grow),
        cmocka_unit_test(test_round_trip_is_big_endian),
        cmocka_unit_test(test_short_reads_fail_for_good),
        cmocka_unit_test(test_blobs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
