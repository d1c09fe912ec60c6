/* What a command has written so far, against an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/written.h"

#define KEYS 3000u
#define COMMANDS 40u

static uint8_t keys[KEYS][4], values[256];

static struct slice key_of(unsigned i)
{
    put_u32be(keys[i], i);
    return SLICE(keys[i], sizeof keys[i]);
}

static void test_it_gives_what_was_written_last(void **state)
{
    (void)state;
    struct written w = {0};
    struct prng prng;
    prng_seed(&prng, 7);
    assert_null(written_get(&w, key_of(0)));
    for (unsigned n = 0; n < COMMANDS; n++) {
        int last[KEYS]; /* the value's size; -1: deleted, -2: not written */
        for (unsigned i = 0; i < KEYS; i++)
            last[i] = -2;
        /* Large ones and small ones, one after the other. */
        unsigned rows = n % 4 == 0 ? 2 * KEYS : (unsigned)prng_between(&prng, 0, 40);
        for (unsigned r = 0; r < rows; r++) {
            unsigned i = (unsigned)prng_below(&prng, KEYS);
            bool deleted = prng_below(&prng, 4) == 0;
            size_t size = (size_t)prng_below(&prng, sizeof values);
            written_put(&w, key_of(i), deleted ? SLICE(NULL, 0) : SLICE(values, size), deleted);
            last[i] = deleted ? -1 : (int)size;
        }
        for (unsigned i = 0; i < KEYS; i++) {
            const struct written_row *row = written_get(&w, key_of(i));
            int found = !row ? -2 : row->deleted ? -1 : (int)row->value.size;
            assert_int_equal(found, last[i]);
        }
        written_clear(&w);
        assert_null(written_get(&w, key_of((unsigned)prng_below(&prng, KEYS))));
    }
    written_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_gives_what_was_written_last)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
