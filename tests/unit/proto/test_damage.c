/* Every truncation and random damage of valid messages: refused with a reason, or accepted as what encodes again to the
 * same. The targets abort otherwise, and a sanitizer sees what reads too far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/fuzz/wire/targets.h"

#define SAMPLES 25
#define MUTATIONS 60
#define TRUNCATED_WHOLLY 1500u

static uint64_t seed = 1;

static struct slice mutate(struct prng *p, struct slice s, uint8_t *room, size_t room_size)
{
    size_t size = s.size;
    memcpy(room, s.data, size);
    for (uint64_t n = prng_between(p, 1, 4); n > 0 && size > 0; n--) {
        size_t at = prng_below(p, size), run = prng_between(p, 1, MIN(size - at, (size_t)8));
        switch (prng_below(p, 5)) {
        case 0:
            room[at] ^= (uint8_t)(1u << prng_below(p, 8));
            break;
        case 1:
            room[at] = (uint8_t)prng_next(p);
            break;
        case 2: /* cut out */
            memmove(room + at, room + at + run, size - at - run);
            size -= run;
            break;
        case 3: /* repeat */
            if (size + run <= room_size) {
                memmove(room + at + run, room + at, size - at);
                size += run;
            }
            break;
        default: /* a run of a byte that is special in a varint */
            memset(room + at, prng_below(p, 2) ? 0xff : 0x80, run);
        }
    }
    return SLICE(room, size);
}

static void one_target(const struct wire_target *target)
{
    struct prng p;
    struct arena a = {0};
    prng_seed(&p, seed);
    unsigned refused = 0;
    for (int i = 0; i < SAMPLES; i++) {
        struct slice s = target->make(&p, &a);
        assert_true(target->run(s));
        size_t step = MAX(s.size / TRUNCATED_WHOLLY, 1u);
        for (size_t size = 0; size < s.size; size += step)
            refused += !target->run(SLICE(s.data, size));
        size_t room_size = s.size + 64;
        uint8_t *room = arena_alloc(&a, room_size);
        for (int j = 0; j < MUTATIONS; j++)
            refused += !target->run(mutate(&p, s, room, room_size));
        arena_reset(&a);
    }
    arena_free(&a);
    /* The detail of an error never fails to decode, so nothing of it is refused. */
    assert_true((refused > 0) == (strcmp(target->name, "error") != 0));
}

static void test_damage(void **state)
{
    (void)state;
    print_message("seed %llu (SURF_SEED)\n", (unsigned long long)seed);
    for (unsigned i = 0; i < wire_target_count; i++) {
        print_message("%s\n", wire_targets[i].name);
        one_target(&wire_targets[i]);
    }
}

static void test_noise(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, seed);
    uint8_t noise[512];
    for (int i = 0; i < 5000; i++) {
        size_t size = prng_below(&p, sizeof noise + 1);
        for (size_t j = 0; j < size; j++)
            noise[j] = (uint8_t)prng_next(&p);
        wire_targets[i % wire_target_count].run(SLICE(noise, size));
    }
}

/* Dense input: as many tiny fields as fit. Memory stays in proportion and the count is refused. */
static void test_dense(void **state)
{
    (void)state;
    size_t size = 512 * 1024;
    uint8_t *dense = mem_alloc(size);
    for (unsigned field = 1; field < 16; field++) {
        for (size_t i = 0; i < size; i += 2)
            dense[i] = (uint8_t)(field << 3 | 2), dense[i + 1] = 0; /* an empty, length-delimited field */
        for (unsigned i = 0; i < wire_target_count; i++)
            wire_targets[i].run(SLICE(dense, size));
    }
    free(dense);
}

int main(void)
{
    if (getenv("SURF_SEED"))
        seed = strtoull(getenv("SURF_SEED"), NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damage), cmocka_unit_test(test_noise),
                                       cmocka_unit_test(test_dense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
