/* Dirty sets against an array of bytes, and ranges against an array of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "client/file/dirty.h"

#define SPACE (3 * (size_t)CHUNK_BYTES)

static void ranges_like_flags(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        bool flags[64] = {false};
        struct ranges r = {0};
        for (int step = 0; step < 60; step++) {
            uint64_t from = prng_below(&prng, 64), to = prng_below(&prng, 65);
            bool adds = prng_below(&prng, 3) != 0;
            if (adds)
                ranges_add(&r, from, to);
            else
                ranges_remove(&r, from, to);
            for (uint64_t k = from; k < to; k++)
                flags[k] = adds;
            uint64_t bytes = 0;
            bool found[64] = {false};
            for (unsigned n = 0; n < r.count; n++) {
                if (r.list[n].from >= r.list[n].to || (n > 0 && r.list[n].from <= r.list[n - 1].to))
                    fail_msg("seed %llu: ranges touch or are empty", (unsigned long long)seed);
                for (uint64_t k = r.list[n].from; k < r.list[n].to; k++)
                    found[k] = true;
            }
            for (int k = 0; k < 64; k++)
                bytes += flags[k];
            if (memcmp(flags, found, sizeof flags) != 0 || ranges_bytes(&r) != bytes)
                fail_msg("seed %llu, step %d: ranges differ from the model", (unsigned long long)seed, step);
        }
        ranges_free(&r);
    }
}

struct model {
    uint8_t *bytes;
    bool *written;
};

static void model_write(struct model *m, uint64_t offset, const uint8_t *data, size_t size)
{
    memcpy(m->bytes + offset, data, size);
    memset(m->written + offset, 1, size);
}

static void expect_equal(const struct dirty_set *d, const struct model *m, uint64_t seed)
{
    uint8_t *got = mem_alloc(SPACE);
    struct ranges missing = {0};
    ranges_add(&missing, 0, SPACE);
    dirty_read(d, 0, got, &missing);
    uint64_t bytes = 0, end = 0;
    unsigned at = 0;
    for (uint64_t k = 0; k < SPACE; k++) {
        while (at < missing.count && missing.list[at].to <= k)
            at++;
        bool lacks = at < missing.count && missing.list[at].from <= k;
        if (lacks == m->written[k] || (!lacks && got[k] != m->bytes[k]))
            fail_msg("seed %llu: byte %llu differs", (unsigned long long)seed, (unsigned long long)k);
        bytes += m->written[k];
        end = m->written[k] ? k + 1 : end;
    }
    assert_int_equal(d->bytes, bytes);
    assert_int_equal(dirty_end(d), end);
    ranges_free(&missing);
    free(got);
}

static void write_random(struct prng *prng, struct dirty_set *d, struct model *m)
{
    static uint8_t data[CHUNK_BYTES];
    size_t max = prng_below(prng, 10) == 0 ? CHUNK_BYTES : 5000;
    uint64_t offset = prng_below(prng, SPACE - 1);
    size_t size = 1 + prng_below(prng, max);
    size = MIN(size, (size_t)(CHUNK_BYTES - offset % CHUNK_BYTES));
    memset(data, (int)prng_next(prng), size);
    struct dirty_chunk *c = dirty_write(d, offset, data, size);
    assert_int_equal(c->index, offset / CHUNK_BYTES);
    model_write(m, offset, data, size);
}

static struct model model_new(void)
{
    return (struct model){.bytes = mem_zalloc(SPACE), .written = mem_zalloc(SPACE * sizeof(bool))};
}

static void model_free(struct model *m)
{
    free(m->bytes);
    free(m->written);
}

static void writes_read_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct dirty_set d;
        struct model m = model_new();
        dirty_init(&d);
        assert_true(dirty_empty(&d));
        for (int step = 0; step < 100; step++)
            write_random(&prng, &d, &m);
        expect_equal(&d, &m, seed);
        dirty_clear(&d);
        assert_true(dirty_empty(&d));
        model_free(&m);
    }
}

static void newer_bytes_win_over_older(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct dirty_set newer, older;
        struct model m = model_new();
        dirty_init(&newer);
        dirty_init(&older);
        for (int step = 0; step < 60; step++)
            write_random(&prng, &older, &m);
        for (int step = 0; step < 40; step++)
            write_random(&prng, &newer, &m);
        dirty_underlay(&newer, &older);
        assert_true(dirty_empty(&older));
        expect_equal(&newer, &m, seed);
        dirty_clear(&newer);
        model_free(&m);
    }
}

static void a_chunk_is_full_when_all_of_it_is_written(void **state)
{
    (void)state;
    struct dirty_set d;
    static uint8_t data[CHUNK_BYTES];
    dirty_init(&d);
    assert_false(dirty_chunk_is_full(dirty_write(&d, CHUNK_BYTES, data, CHUNK_BYTES - 1)));
    assert_true(dirty_chunk_is_full(dirty_write(&d, 2 * CHUNK_BYTES - 1, data, 1)));
    struct dirty_chunk *c = dirty_write(&d, 0, data, CHUNK_BYTES);
    assert_true(dirty_chunk_is_full(c));
    dirty_take(&d, c);
    dirty_chunk_free(c);
    assert_int_equal(d.bytes, CHUNK_BYTES);
    dirty_clear(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_like_flags),
        cmocka_unit_test(writes_read_back),
        cmocka_unit_test(newer_bytes_win_over_older),
        cmocka_unit_test(a_chunk_is_full_when_all_of_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
