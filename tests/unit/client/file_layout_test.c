/* Known parts of layouts against an array that names the block of each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "client/file/layout.h"

#define SPACE 400u

/* Which byte of which block a byte of the file is; block 0: a hole. */
struct origin {
    uint16_t block, offset;
};

struct model {
    struct origin bytes[SPACE];
    uint16_t next_block;
};

static struct meta_extent extent_of(uint16_t block, uint64_t offset, uint64_t length)
{
    struct meta_extent e = {.file_offset = offset, .length = length};
    e.block.bytes[0] = (uint8_t)(block >> 8);
    e.block.bytes[1] = (uint8_t)block;
    return e;
}

/* What a metastore would answer for [from, to): extents that overlap it, at most `max`. */
static unsigned answer(const struct model *m, uint64_t from, unsigned max, struct meta_extent *ret, uint64_t *ret_known)
{
    unsigned count = 0;
    uint64_t at = from;
    while (at > 0 && m->bytes[at].block != 0 && m->bytes[at - 1].block == m->bytes[at].block &&
           m->bytes[at - 1].offset + 1 == m->bytes[at].offset)
        at--;
    *ret_known = SPACE;
    while (at < SPACE) {
        if (m->bytes[at].block == 0) {
            at++;
            continue;
        }
        uint64_t end = at + 1;
        while (end < SPACE && m->bytes[end].block == m->bytes[at].block &&
               m->bytes[end].offset == m->bytes[end - 1].offset + 1)
            end++;
        if (count == max) {
            *ret_known = ret[count - 1].file_offset + ret[count - 1].length;
            break;
        }
        ret[count] = extent_of(m->bytes[at].block, at, end - at);
        ret[count++].block_offset = m->bytes[at].offset;
        at = end;
    }
    return count;
}

static void expect_equal(const struct layout *l, const struct model *m, uint64_t seed, int step)
{
    static const struct sha256 zero;
    for (uint64_t k = 0; k < SPACE; k++) {
        if (!layout_knows(l, k, k + 1))
            continue;
        unsigned n = layout_find(l, k);
        struct origin got = {0, 0};
        if (n < l->count && l->extents[n].file_offset <= k && !sha256_equal(&l->extents[n].block, &zero)) {
            got.block = (uint16_t)(l->extents[n].block.bytes[0] << 8 | l->extents[n].block.bytes[1]);
            got.offset = (uint16_t)(l->extents[n].block_offset + (k - l->extents[n].file_offset));
        }
        struct origin expected = m->bytes[k];
        if (got.block != expected.block || (got.block != 0 && got.offset != expected.offset))
            fail_msg("seed %llu, step %d: byte %llu is %u+%u instead of %u+%u", (unsigned long long)seed, step,
                     (unsigned long long)k, got.block, got.offset, expected.block, expected.offset);
    }
    for (unsigned n = 1; n < l->count; n++)
        if (l->extents[n].file_offset < l->extents[n - 1].file_offset + l->extents[n - 1].length)
            fail_msg("seed %llu, step %d: extents overlap", (unsigned long long)seed, step);
    for (unsigned n = 0; n < l->count; n++)
        if (!layout_knows(l, l->extents[n].file_offset, l->extents[n].file_offset + l->extents[n].length))
            fail_msg("seed %llu, step %d: an extent where nothing is known", (unsigned long long)seed, step);
}

/* Some extents at once, as a commit has them: blocks and holes. */
static void commit(struct model *m, struct layout *l, struct prng *prng)
{
    struct meta_extent extents[20];
    unsigned count = 0, most = 1 + (unsigned)prng_below(prng, ARRAY_SIZE(extents));
    uint64_t offset = prng_below(prng, SPACE);
    while (count < most && offset < SPACE) {
        uint64_t length = 1 + prng_below(prng, MIN(SPACE - offset, most > 3 ? 8u : 60u));
        bool hole = prng_below(prng, 6) == 0;
        uint16_t block = hole ? 0 : ++m->next_block;
        extents[count++] = extent_of(block, offset, length);
        for (uint64_t k = 0; k < length; k++)
            m->bytes[offset + k] = (struct origin){block, hole ? 0 : (uint16_t)k};
        offset += length + prng_below(prng, 10);
    }
    uint64_t known_before = ranges_bytes(&l->known);
    layout_replace(l, extents, count);
    for (unsigned n = 0; n < count && known_before >= SPACE; n++)
        assert_true(layout_knows(l, extents[n].file_offset, extents[n].file_offset + extents[n].length));
}

static void commits_and_answers_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct prng prng;
        struct layout l = {0};
        struct model m = {0};
        prng_seed(&prng, seed);
        for (int step = 0; step < 100; step++) {
            uint64_t offset = prng_below(&prng, SPACE);
            if (prng_below(&prng, 3) == 0) {
                struct meta_extent extents[SPACE];
                uint64_t known, from = prng_below(&prng, 2) ? layout_known_to(&l, offset) : offset;
                if (from >= SPACE)
                    from = 0;
                unsigned count = answer(&m, from, 1 + (unsigned)prng_below(&prng, 10), extents, &known);
                if (known > from)
                    layout_learn(&l, from, known, extents, count);
                assert_true(known <= from || layout_knows(&l, from, known));
            } else {
                commit(&m, &l, &prng);
            }
            expect_equal(&l, &m, seed, step);
        }
        layout_free(&l);
    }
}

static void nothing_is_known_after_forgetting(void **state)
{
    (void)state;
    struct layout l = {0};
    assert_false(layout_knows(&l, 0, 1));
    layout_learn(&l, 0, UINT64_MAX, NULL, 0);
    assert_true(layout_knows(&l, 0, UINT64_MAX));
    layout_forget(&l);
    assert_false(layout_knows(&l, 0, 1));
    layout_free(&l);
}

/* Many pages of tiny extents: the window is bounded, and yet keeps what one read may need. */
static void a_long_window_loses_its_beginning(void **state)
{
    (void)state;
    struct layout l = {0};
    struct meta_extent *page = mem_alloc(1000 * sizeof *page);
    uint64_t at = 0;
    for (int k = 0; k < 100; k++) {
        for (unsigned n = 0; n < 1000; n++)
            page[n] = extent_of(1, at + n * 100, 100);
        layout_learn(&l, at, at + 100000, page, 1000);
        at += 100000;
        assert_true(layout_knows(&l, at - MIN(at, (uint64_t)LIMIT_BLOCK_BYTES), at));
    }
    assert_true(l.count < 70000);
    free(page);
    layout_free(&l);
}

/* Reads at random of a file of many pieces: what is learnt of one place is not forgotten for another. */
static void places_far_apart_are_known_together(void **state)
{
    (void)state;
    struct layout l = {0};
    struct meta_extent page[10];
    struct prng prng;
    prng_seed(&prng, 5);
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t at = prng_below(&prng, 4000) * 1000;
        for (unsigned n = 0; n < 10; n++)
            page[n] = extent_of((uint16_t)(1 + at / 1000 % 60000), at + n * 100, 100);
        for (unsigned n = 0; n < 10; n++)
            page[n].block_offset = 1000 - 100 * n; /* so that they don't become one */
        if (!layout_knows(&l, at, at + 1000))
            layout_learn(&l, at, at + 1000, page, 10);
    }
    assert_in_range(l.count, 39000, 40000);
    assert_in_range(ranges_bytes(&l.known), 3900000, 4000000);
    layout_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_and_answers_agree_with_the_model),
        cmocka_unit_test(nothing_is_known_after_forgetting),
        cmocka_unit_test(a_long_window_loses_its_beginning),
        cmocka_unit_test(places_far_apart_are_known_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
