/* The judge of `surfctl chaos`: it must let pass what is right and find what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "admin/chaos_check.h"
#include "base/mem.h"

#define REGISTER 0u
#define LIST 1u

static struct chaos_check *check;

static int begin(void **state)
{
    (void)state;
    check = chaos_check_new(1, 1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    chaos_check_free(check);
    return 0;
}

static void expect(unsigned violations, const char *words)
{
    assert_int_equal(chaos_check_violations(check), violations);
    if (violations > 0)
        assert_non_null(strstr(chaos_check_first(check), words));
}

static void test_what_is_right(void **state)
{
    (void)state;
    chaos_check_read(check, REGISTER, 0, 0, 0);
    uint64_t before = chaos_check_floor(check, REGISTER);
    chaos_check_wrote(check, REGISTER, before, 0, 1, 101);
    chaos_check_read(check, REGISTER, before, 0, 0); /* it began before the change had ended */
    chaos_check_read(check, REGISTER, 1, 1, 101);
    chaos_check_read(check, REGISTER, 1, 2, 102); /* of a change whose outcome its client never heard */
    chaos_check_wrote(check, REGISTER, 2, 2, 3, 103);
    chaos_check_refused(check, 104);
    uint64_t tokens[] = {11, 12, 13};
    chaos_check_appended(check, LIST, 0, 7, 12);
    chaos_check_read_list(check, LIST, 7, 7, tokens, 2);
    chaos_check_read_list(check, LIST, 7, 8, tokens, 3);
    chaos_check_appended(check, LIST, 0, 6, 11);
    assert_int_equal(chaos_check_end(check), 0);
}

static void test_a_stale_read(void **state)
{
    (void)state;
    chaos_check_wrote(check, REGISTER, 0, 0, 4, 101);
    chaos_check_read(check, REGISTER, chaos_check_floor(check, REGISTER), 3, 100);
    expect(1, "stale read");
}

static void test_a_lost_change(void **state)
{
    (void)state;
    chaos_check_wrote(check, REGISTER, 0, 0, 1, 101);
    chaos_check_read(check, REGISTER, 1, 0, 0);
    expect(1, "stale read");
}

static void test_two_values_of_one_version(void **state)
{
    (void)state;
    chaos_check_read(check, REGISTER, 0, 4, 101);
    chaos_check_wrote(check, REGISTER, 0, 0, 4, 102);
    expect(1, "two values");
}

static void test_a_change_in_the_past(void **state)
{
    (void)state;
    chaos_check_wrote(check, REGISTER, 0, 0, 5, 101);
    chaos_check_wrote(check, REGISTER, 5, 0, 5, 101); /* done twice, told once */
    expect(1, "came before");
}

static void test_a_condition_that_did_not_hold(void **state)
{
    (void)state;
    chaos_check_wrote(check, REGISTER, 0, 3, 5, 101);
    expect(1, "condition");
}

static void test_a_refused_change_is_seen(void **state)
{
    (void)state;
    chaos_check_refused(check, 101);
    chaos_check_read(check, REGISTER, 0, 1, 101);
    expect(1, "refused change");
}

static void test_lists_that_are_wrong(void **state)
{
    (void)state;
    uint64_t tokens[] = {11, 12, 13}, others[] = {11, 14, 13}, doubled[] = {11, 12, 13, 11};
    chaos_check_read_list(check, LIST, 0, 3, tokens, 3);
    chaos_check_read_list(check, LIST, 3, 2, tokens, 2);
    expect(1, "stale list");
    chaos_check_read_list(check, LIST, 0, 3, others, 3);
    expect(2, "stale list");
    chaos_check_read_list(check, LIST, 0, 5, tokens, 3);
    expect(3, "stale list");
    chaos_check_read_list(check, LIST, 0, 4, doubled, 4);
    expect(4, "stale list");
    chaos_check_appended(check, LIST, 4, 5, 99);
    assert_int_equal(chaos_check_end(check), 5);
}

/* What is read is no token of a client's. */
static void test_what_is_spoilt(void **state)
{
    (void)state;
    uint64_t tokens[] = {11, 0};
    chaos_check_read(check, REGISTER, 0, 1, 0);
    expect(1, "nobody has written");
    chaos_check_read_list(check, LIST, 0, 2, tokens, 2);
    assert_int_equal(chaos_check_violations(check), 2);
    assert_int_equal(chaos_check_end(check), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_right, begin, end),
        cmocka_unit_test_setup_teardown(test_a_stale_read, begin, end),
        cmocka_unit_test_setup_teardown(test_a_lost_change, begin, end),
        cmocka_unit_test_setup_teardown(test_two_values_of_one_version, begin, end),
        cmocka_unit_test_setup_teardown(test_a_change_in_the_past, begin, end),
        cmocka_unit_test_setup_teardown(test_a_condition_that_did_not_hold, begin, end),
        cmocka_unit_test_setup_teardown(test_a_refused_change_is_seen, begin, end),
        cmocka_unit_test_setup_teardown(test_lists_that_are_wrong, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_spoilt, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
