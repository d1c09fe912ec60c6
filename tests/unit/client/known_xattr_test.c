/* What a mount keeps of an inode's extended attributes: answers of both kinds, few, and small ones. */
#include "client/meta/known_xattr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void expect(const struct known_xattrs *x, const char *name, const char *value)
{
    struct arena arena = {0};
    struct slice got;
    bool there;
    assert_true(known_xattrs_get(x, slice_str(name), &arena, &got, &there));
    assert_int_equal(there, value != NULL);
    if (value)
        assert_true(slice_equal(got, slice_str(value)));
    arena_free(&arena);
}

static bool is_known(const struct known_xattrs *x, const char *name)
{
    struct arena arena = {0};
    struct slice got;
    bool there, known = known_xattrs_get(x, slice_str(name), &arena, &got, &there);
    arena_free(&arena);
    return known;
}

static void both_answers_are_kept_and_replaced(void **state)
{
    (void)state;
    struct known_xattrs x;
    struct slice one = slice_str("one"), empty = SLICE(NULL, 0);
    known_xattrs_init(&x);
    assert_false(is_known(&x, "user.k"));
    assert_true(known_xattrs_put(&x, slice_str("user.k"), &one));
    assert_true(known_xattrs_put(&x, slice_str("user.none"), NULL));
    assert_true(known_xattrs_put(&x, slice_str("user.empty"), &empty));
    expect(&x, "user.k", "one");
    expect(&x, "user.none", NULL);
    expect(&x, "user.empty", "");
    assert_false(is_known(&x, "user."));
    assert_true(known_xattrs_put(&x, slice_str("user.k"), NULL));
    expect(&x, "user.k", NULL);
    assert_int_equal(x.count, 3);
    known_xattrs_clear(&x);
    assert_int_equal(x.count, 0);
    assert_false(is_known(&x, "user.none"));
}

static void there_are_bounds(void **state)
{
    (void)state;
    static uint8_t bytes[KNOWN_XATTR_VALUE_BYTES + 1];
    struct known_xattrs x;
    struct slice most = SLICE(bytes, KNOWN_XATTR_VALUE_BYTES), more = SLICE(bytes, sizeof bytes);
    known_xattrs_init(&x);
    assert_true(known_xattrs_put(&x, slice_str("user.k"), &most));
    assert_false(known_xattrs_put(&x, slice_str("user.k"), &more)); /* the old answer is not right any more */
    assert_false(is_known(&x, "user.k"));
    char name[16];
    for (unsigned i = 0; i < KNOWN_XATTRS_MAX + 3; i++) {
        snprintf(name, sizeof name, "user.%u", i);
        assert_int_equal(known_xattrs_put(&x, slice_str(name), NULL), i < KNOWN_XATTRS_MAX);
    }
    assert_int_equal(x.count, KNOWN_XATTRS_MAX);
    assert_true(known_xattrs_put(&x, slice_str("user.0"), &most));
    known_xattrs_clear(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_answers_are_kept_and_replaced),
        cmocka_unit_test(there_are_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
