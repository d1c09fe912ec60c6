/* The numbers of a session's commands: never reused, never further ahead of what is acknowledged than replies are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/meta/session_window.h"

static void test_counts_from_one(void **state)
{
    (void)state;
    static struct session_window w;
    session_window_init(&w);
    assert_int_equal(session_window_acked(&w), 0);
    assert_int_equal(session_window_take(&w), 1);
    assert_int_equal(session_window_take(&w), 2);
    assert_int_equal(session_window_acked(&w), 0);
    session_window_finish(&w, 2);
    assert_int_equal(session_window_acked(&w), 0);
    session_window_finish(&w, 1);
    assert_int_equal(session_window_acked(&w), 2);
}

static void test_one_that_stands_stops_the_window(void **state)
{
    (void)state;
    static struct session_window w;
    session_window_init(&w);
    uint64_t stuck = session_window_take(&w);
    while (session_window_has_room(&w))
        session_window_finish(&w, session_window_take(&w));
    assert_int_equal(w.next, stuck + LIMIT_REPLY_WINDOW);
    assert_int_equal(session_window_acked(&w), stuck - 1);
    session_window_finish(&w, stuck);
    assert_true(session_window_has_room(&w));
    assert_int_equal(session_window_acked(&w), w.next - 1);
}

static void test_random(void **state)
{
    (void)state;
    static struct session_window w;
    static uint64_t out[SESSION_WINDOW_UNDER_WAY];
    size_t count = 0;
    struct prng prng;
    prng_seed(&prng, 4711);
    session_window_init(&w);
    for (int step = 0; step < 200000; step++) {
        if (session_window_has_room(&w) && prng_below(&prng, 100) < 55) {
            out[count] = session_window_take(&w);
            assert_true(out[count] > session_window_acked(&w));
            assert_true(out[count] <= session_window_acked(&w) + LIMIT_REPLY_WINDOW);
            count++;
        } else if (count > 0) {
            size_t at = (size_t)prng_below(&prng, count);
            session_window_finish(&w, out[at]);
            out[at] = out[--count];
        }
        assert_int_equal(w.under_way, count);
        for (size_t i = 0; i < count; i++)
            assert_true(out[i] > session_window_acked(&w));
        if (count == 0)
            assert_int_equal(session_window_acked(&w), w.next - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_from_one),
        cmocka_unit_test(test_one_that_stands_stops_the_window),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
