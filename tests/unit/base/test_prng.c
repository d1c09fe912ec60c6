/* The seeded stream is the same everywhere; bounds hold; clocks go forward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "base/prng.h"

static void test_known_stream(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 0);
    assert_true(prng_next(&p) == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(prng_next(&p) == UINT64_C(0x6e789e6aa1b965f4));
    assert_true(prng_next(&p) == UINT64_C(0x06c45d188009454f));
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct prng p;
    unsigned seen[7] = {0};
    prng_seed(&p, 5);
    for (int i = 0; i < 70000; i++) {
        uint64_t v = prng_below(&p, 7);
        assert_true(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9500, 10500);
    for (int i = 0; i < 100; i++)
        assert_int_equal(prng_below(&p, 1), 0);
    uint64_t bound = (UINT64_C(1) << 63) + 1;
    for (int i = 0; i < 1000; i++)
        assert_true(prng_below(&p, bound) < bound);
}

static void test_between(void **state)
{
    (void)state;
    struct prng p;
    int low = 0, high = 0;
    prng_seed(&p, 6);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = prng_between(&p, 10, 12);
        assert_in_range(v, 10, 12);
        low += v == 10;
        high += v == 12;
    }
    assert_true(low > 0 && high > 0);
    assert_int_equal(prng_between(&p, 9, 9), 9);
    uint64_t any = 0;
    for (int i = 0; i < 64; i++)
        any |= prng_between(&p, 0, UINT64_MAX);
    assert_true(any == UINT64_MAX);
}

static void test_random_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 984, b + 984, 16);
}

static void test_clocks(void **state)
{
    (void)state;
    int64_t before = clock_boot_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_boot_ns();
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_wall_ns() > INT64_C(1700000000) * NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_stream), cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_between),      cmocka_unit_test(test_random_bytes_differ),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
