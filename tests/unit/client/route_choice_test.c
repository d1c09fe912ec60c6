/* Who is asked next, and how soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/route_choice.h"

static enum route_verdict fails(struct route_choice *c, enum err e, size_t leader, int64_t now_ns)
{
    struct route_failure f = {.asked = c->current,
                              .error = e,
                              .answered = e != ERR_TIMEOUT && e != ERR_UNREACHABLE,
                              .detailed = leader != ROUTE_NOBODY,
                              .leader = leader};
    return route_choice_failed(c, &f, now_ns);
}

static void test_a_named_leader_is_asked_at_once(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    assert_int_equal(fails(&c, ERR_NOT_LEADER, 2, 0), ROUTE_AT_ONCE);
    assert_int_equal(c.current, 2);
}

static void test_a_silent_member_is_avoided_even_when_it_is_named(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    assert_int_equal(fails(&c, ERR_TIMEOUT, ROUTE_NOBODY, 0), ROUTE_LATER);
    assert_int_equal(c.current, 1);
    assert_int_equal(fails(&c, ERR_NOT_LEADER, 0, NS_PER_S), ROUTE_LATER);
    assert_int_equal(c.current, 2);
    assert_int_equal(fails(&c, ERR_NOT_LEADER, 0, 2 * NS_PER_S), ROUTE_AT_ONCE);
    assert_int_equal(c.current, 0);
}

/* Its answer to this request waits for something, but it is there. */
static void test_a_member_that_serves_others_is_not_silent(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    struct route_failure f = {.asked = 0, .begun_ns = 100, .error = ERR_TIMEOUT, .leader = ROUTE_NOBODY};
    route_choice_served(&c, 0, 101);
    assert_int_equal(route_choice_failed(&c, &f, 200), ROUTE_LATER);
    assert_int_equal(c.current, 0);
    assert_int_equal(c.avoid_until_ns[0], 0);
    f.begun_ns = 101;
    assert_int_equal(route_choice_failed(&c, &f, 200), ROUTE_LATER);
    assert_int_equal(c.current, 1);
}

static void test_with_nobody_else_left_even_the_avoided_are_asked(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 2);
    assert_int_equal(fails(&c, ERR_TIMEOUT, ROUTE_NOBODY, 0), ROUTE_LATER);
    assert_int_equal(fails(&c, ERR_TIMEOUT, ROUTE_NOBODY, 1), ROUTE_LATER);
    assert_int_equal(c.current, 0);
}

static void test_an_overloaded_member_is_still_the_right_one(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    assert_int_equal(fails(&c, ERR_BUSY_NOW, ROUTE_NOBODY, 0), ROUTE_LATER);
    assert_int_equal(c.current, 0);
    assert_int_equal(fails(&c, ERR_NO_LEADER, ROUTE_NOBODY, 0), ROUTE_LATER);
    assert_int_equal(c.current, 1);
}

static void test_outcomes_end_it(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    assert_int_equal(fails(&c, ERR_SESSION_EXPIRED, ROUTE_NOBODY, 0), ROUTE_END);
    assert_int_equal(fails(&c, ERR_INVAL, ROUTE_NOBODY, 0), ROUTE_END);
    assert_int_equal(c.current, 0);
}

static void test_another_callers_choice_stands(void **state)
{
    (void)state;
    struct route_choice c;
    route_choice_init(&c, 3);
    struct route_failure late = {.asked = 0, .error = ERR_CLOSED, .answered = false, .leader = ROUTE_NOBODY};
    c.current = 2;
    assert_int_equal(route_choice_failed(&c, &late, 0), ROUTE_LATER);
    assert_int_equal(c.current, 2);
    assert_int_equal(c.trouble[0], ERR_CLOSED);
}

static void test_pauses_grow_and_stay_bounded(void **state)
{
    (void)state;
    struct route_patience p;
    struct prng prng;
    prng_seed(&prng, 1);
    route_patience_init(&p);
    assert_int_equal(route_patience_pause_ns(&p, ERR_UNREACHABLE, ROUTE_LATER, &prng), 0);
    assert_int_equal(route_patience_pause_ns(&p, ERR_NOT_LEADER, ROUTE_AT_ONCE, &prng), 0);
    int64_t limit_ns = ROUTE_BACKOFF_MIN_NS;
    for (unsigned i = 0; i < 20; i++) {
        int64_t pause_ns = route_patience_pause_ns(&p, ERR_UNREACHABLE, ROUTE_LATER, &prng);
        assert_in_range(pause_ns, limit_ns / 2, limit_ns);
        limit_ns = MIN(2 * limit_ns, ROUTE_BACKOFF_MAX_NS);
    }
    for (unsigned i = 0; i < 20; i++)
        (void)route_patience_pause_ns(&p, ERR_TIMEOUT, ROUTE_LATER, &prng);
    assert_int_equal(p.try_ns, ROUTE_TRY_MAX_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_named_leader_is_asked_at_once),
        cmocka_unit_test(test_a_silent_member_is_avoided_even_when_it_is_named),
        cmocka_unit_test(test_a_member_that_serves_others_is_not_silent),
        cmocka_unit_test(test_with_nobody_else_left_even_the_avoided_are_asked),
        cmocka_unit_test(test_an_overloaded_member_is_still_the_right_one),
        cmocka_unit_test(test_outcomes_end_it),
        cmocka_unit_test(test_another_callers_choice_stands),
        cmocka_unit_test(test_pauses_grow_and_stay_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
