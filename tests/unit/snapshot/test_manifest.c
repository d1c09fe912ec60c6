/* Manifests: what an encoder wrote comes back, and nothing else is taken. */
#include "tests/unit/snapshot/fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "snapshot/source.h"

struct file {
    const char *name;
    uint64_t size;
};

/* By hand, so that what no encoder would write can be written. */
static void encode(const struct file *files, unsigned count, unsigned says, struct bytes *ret)
{
    bytes_clear(ret);
    bytes_u32(ret, 1);
    bytes_u64(ret, 77);
    bytes_u64(ret, 5);
    bytes_u32(ret, says);
    for (unsigned i = 0; i < count; i++) {
        bytes_u8(ret, (uint8_t)strlen(files[i].name));
        bytes_append(ret, slice_str(files[i].name));
        bytes_u64(ret, files[i].size);
        bytes_u64(ret, i * 1000003u);
    }
}

static enum err decode(const struct bytes *b)
{
    struct snapshot_manifest m;
    uint8_t *copy = mem_dup(b->data, b->size); /* of this size exactly, for the sanitizer */
    enum err e = snapshot_manifest_decode(SLICE(copy, b->size), &m);
    if (e == ERR_OK)
        snapshot_manifest_free(&m);
    free(copy);
    return e;
}

static enum err decode_files(const struct file *files, unsigned count)
{
    _cleanup_(bytes_free) struct bytes b = {0};
    encode(files, count, count, &b);
    return decode(&b);
}

static void what_was_encoded_comes_back(void **state)
{
    (void)state;
    static const struct file files[] = {
        {"000012.sst", 1u << 30}, {"CURRENT", 16}, {"MANIFEST-000004", 0}, {"a", UINT64_MAX / 4}, {"b", 1}};
    _cleanup_(bytes_free) struct bytes b = {0}, again = {0};
    struct snapshot_manifest m;
    encode(files, ARRAY_SIZE(files), ARRAY_SIZE(files), &b);
    assert_int_equal(snapshot_manifest_decode(bytes_slice(&b), &m), ERR_OK);
    assert_int_equal(m.index, 77);
    assert_int_equal(m.term, 5);
    assert_int_equal(m.count, ARRAY_SIZE(files));
    for (unsigned i = 0; i < m.count; i++) {
        assert_string_equal(m.files[i].name, files[i].name);
        assert_int_equal(m.files[i].size, files[i].size);
        assert_int_equal(m.files[i].checksum, i * 1000003u);
    }
    assert_int_equal(snapshot_manifest_bytes(&m), (1u << 30) + 16 + UINT64_MAX / 4 + 1);
    snapshot_manifest_encode(&m, &again);
    assert_true(slice_equal(bytes_slice(&again), bytes_slice(&b)));
    snapshot_manifest_free(&m);
    assert_int_equal(decode_files(NULL, 0), ERR_OK);
}

static void only_plain_names_are_taken(void **state)
{
    (void)state;
    char longest[SNAPSHOT_NAME_BYTES + 1], too_long[SNAPSHOT_NAME_BYTES + 2];
    memset(longest, 'x', sizeof longest), longest[SNAPSHOT_NAME_BYTES] = 0;
    memset(too_long, 'x', sizeof too_long), too_long[SNAPSHOT_NAME_BYTES + 1] = 0;
    const char *good[] = {"a", "MANIFEST-000001", "OPTIONS-000007", "x_1.sst", "-", longest};
    const char *bad[] = {"",     ".",   "..",  ".hidden", "/",        "a/b", "/etc/passwd", "../x",
                         "a\\b", "a b", "a\n", "\x7f",    "\xc3\xa4", "a:b", "a*",          too_long};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (decode_files(&(struct file){good[i], 1}, 1) != ERR_OK)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (decode_files(&(struct file){bad[i], 1}, 1) != ERR_CORRUPT)
            fail_msg("\"%s\" is taken", bad[i]);
    /* A zero byte within a name would hide the rest of it from those who take it for a string. */
    _cleanup_(bytes_free) struct bytes b = {0};
    encode(&(struct file){"abc", 1}, 1, 1, &b);
    b.data[b.size - 16 - 2] = 0;
    assert_int_equal(decode(&b), ERR_CORRUPT);
}

static void names_ascend_so_none_is_there_twice(void **state)
{
    (void)state;
    assert_int_equal(decode_files((struct file[]){{"a", 1}, {"a", 1}}, 2), ERR_CORRUPT);
    assert_int_equal(decode_files((struct file[]){{"b", 1}, {"a", 1}}, 2), ERR_CORRUPT);
    assert_int_equal(decode_files((struct file[]){{"a", 1}, {"b", 1}, {"a", 1}}, 3), ERR_CORRUPT);
    assert_int_equal(decode_files((struct file[]){{"a", 1}, {"aa", 1}, {"b", 1}}, 3), ERR_OK);
}

static void sizes_and_counts_have_limits(void **state)
{
    (void)state;
    assert_int_equal(decode_files((struct file[]){{"a", UINT64_MAX / 2}}, 1), ERR_OK);
    assert_int_equal(decode_files((struct file[]){{"a", UINT64_MAX / 2 + 1}}, 1), ERR_CORRUPT);
    assert_int_equal(decode_files((struct file[]){{"a", UINT64_MAX / 2}, {"b", 1}}, 2), ERR_CORRUPT);
    _cleanup_(bytes_free) struct bytes b = {0};
    static const unsigned counts[] = {0, 2, SNAPSHOT_FILES_MAX, SNAPSHOT_FILES_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) { /* what it says isn't what follows */
        encode(&(struct file){"a", 1}, 1, counts[i], &b);
        assert_int_equal(decode(&b), ERR_CORRUPT);
    }
    static char names[SNAPSHOT_FILES_MAX + 1][8];
    static struct file files[SNAPSHOT_FILES_MAX + 1];
    for (unsigned i = 0; i <= SNAPSHOT_FILES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%06u", i);
        files[i] = (struct file){names[i], i};
    }
    assert_int_equal(decode_files(files, SNAPSHOT_FILES_MAX), ERR_OK);
    assert_int_equal(decode_files(files, SNAPSHOT_FILES_MAX + 1), ERR_CORRUPT);
}

static void no_part_of_one_is_taken(void **state)
{
    (void)state;
    static const struct file files[] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    _cleanup_(bytes_free) struct bytes b = {0};
    encode(files, 3, 3, &b);
    size_t whole = b.size;
    for (b.size = 0; b.size < whole; b.size++)
        assert_int_equal(decode(&b), ERR_CORRUPT);
    bytes_u8(&b, 0);
    assert_int_equal(decode(&b), ERR_CORRUPT);
    encode(files, 3, 3, &b);
    b.data[3] = 2; /* another format */
    assert_int_equal(decode(&b), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_comes_back),
        cmocka_unit_test(only_plain_names_are_taken),
        cmocka_unit_test(names_ascend_so_none_is_there_twice),
        cmocka_unit_test(sizes_and_counts_have_limits),
        cmocka_unit_test(no_part_of_one_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
