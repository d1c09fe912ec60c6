/* index.txt: what was written comes back, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sync/index.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static enum err parse(struct arena *a, struct slice text, struct sync_index *ret, struct err_text *why)
{
    _cleanup_free_ uint8_t *copy = mem_dup(text.data, text.size); /* of this size exactly, for the sanitizer */
    return sync_index_parse(SLICE(copy, text.size), a, ret, why);
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    const char *text = "a,1,-1 \n"
                       "b/c d,9223372036854775807," A64 " " B64 " \n"
                       "gone,2,0 \n";
    struct arena a = {0};
    struct sync_index index;
    struct bytes again = {0};
    assert_int_equal(parse(&a, slice_str(text), &index, NULL), ERR_OK);
    assert_int_equal(index.count, 3);
    assert_int_equal(index.rows[0].hash_count, 0);
    assert_false(index.rows[0].deleted);
    assert_int_equal(index.rows[1].version, INT64_MAX);
    assert_int_equal(index.rows[1].hash_count, 2);
    assert_int_equal(index.rows[1].hashes[1].bytes[1], 0x11);
    assert_true(index.rows[2].deleted);
    sync_index_format(index.rows, index.count, &again);
    assert_true(slice_equal(bytes_slice(&again), slice_str(text)));
    assert_ptr_equal(sync_index_find(&index, slice_str("gone")), &index.rows[2]);
    assert_null(sync_index_find(&index, slice_str("b")));
    bytes_free(&again);
    arena_free(&a);
}

static void rows_may_come_in_any_order(void **state)
{
    (void)state;
    struct arena a = {0};
    struct sync_index index;
    assert_int_equal(parse(&a, slice_str("b,1,-1 \na,2,0 \n"), &index, NULL), ERR_OK);
    assert_true(slice_equal(index.rows[0].path, slice_str("a")));
    assert_int_equal(parse(&a, slice_str(""), &index, NULL), ERR_OK);
    assert_int_equal(index.count, 0);
    assert_null(sync_index_find(&index, slice_str("a")));
    arena_free(&a);
}

static void directories_are_apart(void **state)
{
    (void)state;
    struct arena a = {0};
    struct sync_index index;
    assert_int_equal(parse(&a, slice_str("d/e/,1,-1 \nd,2,0 \nd/,1,-1 \n"), &index, NULL), ERR_OK);
    assert_int_equal(index.count, 1);
    assert_true(slice_equal(index.rows[0].path, slice_str("d")));
    assert_int_equal(index.directory_count, 2);
    assert_true(slice_equal(index.directories[0], slice_str("d")));
    assert_true(slice_equal(index.directories[1], slice_str("d/e")));
    assert_null(sync_index_find(&index, slice_str("d/")));
    arena_free(&a);
}

static void refused(const char *text, const char *where)
{
    struct arena a = {0};
    struct sync_index index;
    struct err_text why = {""};
    enum err e = parse(&a, slice_str(text), &index, &why);
    if (e != ERR_CORRUPT || !strstr(why.text, where))
        fail_msg("%s: %s \"%s\"", text, err_name(e), why.text);
    arena_free(&a);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    refused("a,1,-1", "index.txt:1: the line does not end");
    refused("a,1,-1 \nb,1", "index.txt:2:");
    refused("a,1,-1\n", "index.txt:1:");
    refused("a,1,\n", "index.txt:1:");
    refused("a,1, \n", "index.txt:1:");
    refused("a,1\n", "index.txt:1:");
    refused("\n", "index.txt:1:");
    refused(",1,-1 \n", "index.txt:1:");
    refused("a,0,-1 \n", "version");
    refused("a,01,-1 \n", "version");
    refused("a,-1,-1 \n", "version");
    refused("a, 1,-1 \n", "version");
    refused("a,9223372036854775808,-1 \n", "version");
    refused("a,18446744073709551617,-1 \n", "version");
    refused("a,1," A64 "\n", "index.txt:1:");
    refused("a,1," A64 "," A64 " \n", "index.txt:1:");
    refused("a,1,A" A64 " \n", "index.txt:1:");
    refused("a,1,G112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0 \n", "hash 1");
    refused("a,1,-1 -1 \n", "index.txt:1:");
    refused("a,1,-1 \r\n", "index.txt:1:");
    refused("a,1,0 \na,1,0 \n", "two lines are of a");
    refused("../a,1,0 \n", "..");
    refused("a/..,1,0 \n", "..");
    refused("/a,1,0 \n", "empty");
    refused("a/,1,0 \n", "a directory has");
    refused("a/,2,-1 \n", "a directory has");
    refused("a/,1," A64 " \n", "a directory has");
    refused("a//,1,-1 \n", "empty");
    refused("/,1,-1 \n", "empty");
    refused("a/,1,-1 \na/,1,-1 \n", "two lines are of a/");
    refused("a//b,1,0 \n", "empty");
    refused("index.txt,1,0 \n", "index");
}

static void paths(void **state)
{
    (void)state;
    char text[SYNC_PATH_BYTES + 2];
    memset(text, 'a', sizeof text);
    assert_int_equal(sync_path_check(SLICE(text, LIMIT_NAME_BYTES), NULL), ERR_OK);
    assert_int_equal(sync_path_check(SLICE(text, LIMIT_NAME_BYTES + 1), NULL), ERR_INVAL);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = '/';
    assert_int_equal(sync_path_check(SLICE(text, SYNC_PATH_BYTES), NULL), ERR_OK);
    text[SYNC_PATH_BYTES] = 'a';
    assert_int_equal(sync_path_check(SLICE(text, SYNC_PATH_BYTES + 1), NULL), ERR_INVAL);
    assert_int_equal(sync_path_check(SLICE("a\0b", 3), NULL), ERR_INVAL);
    assert_int_equal(sync_path_check(slice_str("a,b"), NULL), ERR_INVAL);
    assert_int_equal(sync_path_check(slice_str("a\nb"), NULL), ERR_INVAL);
    assert_int_equal(sync_path_check(slice_str(""), NULL), ERR_INVAL);
    assert_int_equal(sync_path_check(slice_str("sub/index.txt"), NULL), ERR_OK);
    assert_int_equal(sync_path_check(slice_str("..."), NULL), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(rows_may_come_in_any_order),
        cmocka_unit_test(directories_are_apart),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
