/* Maps against an array that holds the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/prng.h"

enum { KEYS = 500, STEPS = 200000 };
static char values[KEYS][2]; /* two distinct values for each key */

static void check_u64(const struct map_u64 *m, char *const *model, uint64_t spread)
{
    size_t at = 0, seen = 0, expected = 0;
    uint64_t key;
    void *value;
    for (size_t i = 0; i < KEYS; i++)
        expected += model[i] != NULL;
    while (map_u64_next(m, &at, &key, &value)) {
        assert_int_equal(key % spread, 0);
        assert_ptr_equal(value, model[key / spread]);
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(m->count, expected);
}

static void test_u64_as_model(void **state)
{
    (void)state;
    static const uint64_t spreads[] = {1, 16, UINT64_C(1) << 32};
    for (size_t s = 0; s < 3; s++) {
        struct map_u64 m = {0};
        char *model[KEYS] = {0};
        struct prng p;
        prng_seed(&p, 11 + s);
        for (int step = 0; step < STEPS; step++) {
            size_t k = prng_below(&p, KEYS);
            char *value = &values[k][prng_below(&p, 2)];
            switch (prng_below(&p, 3)) {
            case 0:
                assert_ptr_equal(map_u64_put(&m, k * spreads[s], value), model[k]);
                model[k] = value;
                break;
            case 1:
                assert_ptr_equal(map_u64_remove(&m, k * spreads[s]), model[k]);
                model[k] = NULL;
                break;
            default:
                assert_ptr_equal(map_u64_get(&m, k * spreads[s]), model[k]);
            }
            if (step % 20000 == 0)
                check_u64(&m, model, spreads[s]);
        }
        check_u64(&m, model, spreads[s]);
        assert_true(m.capacity <= 4096); /* tombstones do not make it grow */
        map_u64_free(&m);
        assert_null(map_u64_get(&m, 1));
    }
}

static void test_removal_while_iterating(void **state)
{
    (void)state;
    struct map_u64 m = {0};
    for (uint64_t i = 0; i < KEYS; i++)
        assert_null(map_u64_put(&m, i, values[i]));
    size_t at = 0, seen = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(&m, &at, &key, &value)) {
        assert_ptr_equal(map_u64_remove(&m, key), value);
        seen++;
    }
    assert_int_equal(seen, KEYS);
    assert_int_equal(m.count, 0);
    map_u64_free(&m);
}

static void test_bytes_as_model(void **state)
{
    (void)state;
    static char keys[KEYS][12];
    struct map_bytes m = {0};
    char *model[KEYS] = {0};
    struct prng p;
    prng_seed(&p, 21);
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "%zu", i);
    for (int step = 0; step < STEPS; step++) {
        size_t k = prng_below(&p, KEYS);
        char *value = &values[k][prng_below(&p, 2)];
        char copy[12];
        memcpy(copy, keys[k], sizeof copy); /* look-ups go by contents */
        switch (prng_below(&p, 3)) {
        case 0:
            assert_ptr_equal(map_bytes_put(&m, slice_str(keys[k]), value), model[k]);
            model[k] = value;
            break;
        case 1:
            assert_ptr_equal(map_bytes_remove(&m, slice_str(copy)), model[k]);
            model[k] = NULL;
            break;
        default:
            assert_ptr_equal(map_bytes_get(&m, slice_str(copy)), model[k]);
        }
    }
    size_t at = 0, seen = 0;
    struct slice key;
    void *value;
    while (map_bytes_next(&m, &at, &key, &value)) {
        size_t k = 0;
        while (!slice_equal(key, slice_str(keys[k])))
            k++;
        assert_ptr_equal(value, model[k]);
        seen++;
    }
    assert_int_equal(seen, m.count);
    assert_true(seen > 0);
    assert_null(map_bytes_get(&m, SLICE(NULL, 0)));
    map_bytes_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64_as_model),
        cmocka_unit_test(test_removal_while_iterating),
        cmocka_unit_test(test_bytes_as_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
