/* What a mount keeps of an inode's extended attributes: answers of both kinds, few, and small ones. */
#include "client/meta/known_xattr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "client/meta/known.h"

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

static void forget_one(void *context, uint64_t ino, bool may_believe)
{
    (void)context, (void)ino, (void)may_believe;
}

static void forget_all(void *context)
{
    (void)context;
}

/* Others may have the new value before the one who sets it is answered. */
static void an_attribute_that_is_being_changed_is_asked_for(void **state)
{
    (void)state;
    struct known_options options = {
        .inodes_max = 100, .forget_attr = forget_one, .forget_names = forget_all, .detached = forget_all};
    struct known *k = known_new(&options);
    struct arena arena = {0};
    struct slice name = slice_str("user.k"), got;
    known_attach(k, 7, clock_boot_ns() + 60 * NS_PER_S);
    struct meta_query query = {.op = META_QUERY_GETXATTR, .ino = 5, .name = name};
    struct meta_query_reply answer = {.index = 10, .grant = {.attachment = 7}, .xattr = slice_str("old")};
    known_learn_query(k, &query, &answer);
    assert_int_equal(known_xattr(k, 5, name, &arena, &got), KNOWN_THERE);
    assert_true(slice_equal(got, slice_str("old")));
    struct meta_command command = {.op = META_SETXATTR, .xattr = {.ino = 5, .name = name, .value = slice_str("new")}};
    known_change_begin(k, &command);
    assert_int_equal(known_xattr(k, 5, name, &arena, &got), KNOWN_NOT);
    known_change_end(k, &command);
    assert_int_equal(known_xattr(k, 5, name, &arena, &got), KNOWN_THERE);
    known_free(k);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_answers_are_kept_and_replaced),
        cmocka_unit_test(there_are_bounds),
        cmocka_unit_test(an_attribute_that_is_being_changed_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
