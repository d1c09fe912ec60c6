/* Options of an export: set, told, and told to whoever opens a session. */
#include "tests/unit/meta/commands.h"

#include "meta/store.h"

static struct meta_reply export_set(struct fixture *f, const char *name, uint32_t mask, uint32_t options)
{
    struct meta_command c = {.op = META_EXPORT, .export = {.name = slice_str(name), .mask = mask, .options = options}};
    return fixture_apply(f, c);
}

static uint32_t options_at_open(struct fixture *f, uint8_t nonce)
{
    struct meta_command open = {.op = META_SESSION_OPEN};
    open.session_open.export = slice_str(META_EXPORT_DEFAULT);
    open.session_open.nonce[0] = nonce;
    struct meta_reply r = fixture_apply(f, open);
    assert_status(r, ERR_OK);
    assert_true(r.session != 0 && r.attr.ino == META_ROOT_INO);
    return r.export_options;
}

static void a_session_is_told_the_options(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(options_at_open(f, 1), 0);
    assert_int_equal(export_set(f, META_EXPORT_DEFAULT, 0, 0).export_options, 0);
    struct meta_reply r = export_set(f, META_EXPORT_DEFAULT, META_EXPORT_ROOT_SQUASH, META_EXPORT_ROOT_SQUASH);
    assert_status(r, ERR_OK);
    assert_int_equal(r.export_options, META_EXPORT_ROOT_SQUASH);
    assert_int_equal(options_at_open(f, 2), META_EXPORT_ROOT_SQUASH);
    assert_int_equal(export_set(f, META_EXPORT_DEFAULT, 0, 0).export_options, META_EXPORT_ROOT_SQUASH);
    assert_int_equal(export_set(f, META_EXPORT_DEFAULT, META_EXPORT_ROOT_SQUASH, 0).export_options, 0);
    assert_int_equal(options_at_open(f, 3), 0);
}

static void an_open_that_is_repeated_is_told_what_holds_now(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(options_at_open(f, 1), 0);
    assert_status(export_set(f, META_EXPORT_DEFAULT, META_EXPORT_ROOT_SQUASH, META_EXPORT_ROOT_SQUASH), ERR_OK);
    assert_int_equal(options_at_open(f, 1), META_EXPORT_ROOT_SQUASH);
}

static void another_export_is_unknown(void **state)
{
    struct fixture *f = *state;
    assert_status(export_set(f, "other", 0, 0), ERR_NO_EXPORT);
    assert_status(export_set(f, "other", META_EXPORT_ROOT_SQUASH, META_EXPORT_ROOT_SQUASH), ERR_NO_EXPORT);
}

static void the_row_is_as_before_while_it_has_no_options(void **state)
{
    (void)state;
    struct bytes b = {0};
    struct row_export got, r = {.root_ino = 5};
    row_export_encode(&r, &b);
    assert_int_equal(b.size, 9);
    assert_int_equal(row_export_decode(bytes_slice(&b), &got), ERR_OK);
    assert_true(got.root_ino == 5 && got.options == 0);
    bytes_clear(&b);
    r.options = META_EXPORT_ROOT_SQUASH;
    row_export_encode(&r, &b);
    assert_int_equal(row_export_decode(bytes_slice(&b), &got), ERR_OK);
    assert_true(got.root_ino == 5 && got.options == META_EXPORT_ROOT_SQUASH);
    bytes_clear(&b);
    r.options = META_EXPORT_OPTIONS_ALL + 1;
    row_export_encode(&r, &b);
    assert_int_equal(row_export_decode(bytes_slice(&b), &got), ERR_CORRUPT);
    bytes_free(&b);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_told_the_options),
        TEST(an_open_that_is_repeated_is_told_what_holds_now),
        TEST(another_export_is_unknown),
        cmocka_unit_test(the_row_is_as_before_while_it_has_no_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
