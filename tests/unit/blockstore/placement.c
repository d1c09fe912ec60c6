#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/prng.h"
#include "blockstore/placement.h"

/* clang-format off */
#define SERVER(id_, weight_) {.id = id_, .weight = weight_}
#define ZONED(id_, weight_, zone_) {.id = id_, .weight = weight_, .zone = zone_}
/* clang-format on */

#define BLOCKS 20000u

static void block_of(uint64_t n, struct sha256 *ret)
{
    uint8_t text[8];
    put_u64be(text, n);
    sha256_of(SLICE(text, sizeof text), ret);
}

static void test_every_server_once(void **state)
{
    (void)state;
    struct placement_server servers[LIMIT_BLOCK_SERVERS];
    for (unsigned i = 0; i < LIMIT_BLOCK_SERVERS; i++)
        servers[i] = (struct placement_server){.id = i + 1, .weight = 100 + i % 3};
    for (unsigned count = 0; count <= LIMIT_BLOCK_SERVERS; count++) {
        struct sha256 block;
        block_of(count, &block);
        unsigned order[LIMIT_BLOCK_SERVERS];
        bool seen[LIMIT_BLOCK_SERVERS] = {false};
        placement_order(servers, count, &block, order);
        for (unsigned i = 0; i < count; i++) {
            assert_true(order[i] < count && !seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

/* The order of ids is the same whatever the order of the list, and without one server it is the same but for that one.
 */
static void test_removal_moves_only_its_own(void **state)
{
    (void)state;
    const struct placement_server all[] = {SERVER(7, 100), SERVER(1, 300), SERVER(4, 50), SERVER(9, 100),
                                           SERVER(2, 100)};
    for (unsigned gone = 0; gone < 5; gone++) {
        struct placement_server rest[4];
        unsigned count = 0;
        for (unsigned i = 5; i-- > 0;) /* and turned around */
            if (i != gone)
                rest[count++] = all[i];
        for (unsigned n = 0; n < 2000; n++) {
            struct sha256 block;
            block_of(n, &block);
            unsigned before[5], after[4];
            placement_order(all, 5, &block, before);
            placement_order(rest, 4, &block, after);
            unsigned at = 0;
            for (unsigned i = 0; i < 5; i++)
                if (before[i] != gone)
                    assert_int_equal(rest[after[at++]].id, all[before[i]].id);
        }
    }
}

/* More weight for one server only ever moves blocks to it. */
static void test_growth_only_attracts(void **state)
{
    (void)state;
    struct placement_server small[] = {SERVER(1, 100), SERVER(2, 100), SERVER(3, 100)},
                            grown[] = {SERVER(1, 100), SERVER(2, 200), SERVER(3, 100)};
    unsigned moved = 0;
    for (unsigned n = 0; n < 5000; n++) {
        struct sha256 block;
        block_of(n, &block);
        unsigned before[3], after[3];
        placement_order(small, 3, &block, before);
        placement_order(grown, 3, &block, after);
        if (before[0] != after[0]) {
            assert_int_equal(after[0], 1);
            moved++;
        }
    }
    assert_in_range(moved, 500, 1200); /* from 1/3 to 1/2: 1/6 of 5000 is 833 */
}

static void shares(const struct placement_server *servers, unsigned count)
{
    unsigned first[LIMIT_BLOCK_SERVERS] = {0};
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += servers[i].weight;
    for (unsigned n = 0; n < BLOCKS; n++) {
        struct sha256 block;
        block_of(n, &block);
        unsigned order[LIMIT_BLOCK_SERVERS];
        placement_order(servers, count, &block, order);
        first[order[0]]++;
    }
    for (unsigned i = 0; i < count; i++) {
        double share = (double)servers[i].weight / (double)total, got = first[i] / (double)BLOCKS;
        /* five standard deviations of a binomial are below 0.018 for 20000 draws */
        if (got < share - 0.018 || got > share + 0.018)
            fail_msg("server %u: share %.4f instead of %.4f", servers[i].id, got, share);
    }
}

static void test_weights(void **state)
{
    (void)state;
    shares((const struct placement_server[]){SERVER(1, 1), SERVER(2, 1), SERVER(3, 1)}, 3);
    shares((const struct placement_server[]){SERVER(1, 1), SERVER(2, 2), SERVER(3, 4), SERVER(4, 1)}, 4);
    shares((const struct placement_server[]){SERVER(10, UINT64_C(4) << 40), SERVER(20, UINT64_C(1) << 40)}, 2);
    shares((const struct placement_server[]){SERVER(1, 1000), SERVER(2, 1)}, 2);
    shares((const struct placement_server[]){SERVER(1, (UINT64_C(1) << 56) - 1), SERVER(2, (UINT64_C(1) << 56) - 1)},
           2);
}

static void test_no_weight_counts_as_one(void **state)
{
    (void)state;
    const struct placement_server zero[] = {SERVER(1, 0), SERVER(2, 0), SERVER(3, 5)},
                                  one[] = {SERVER(1, 1), SERVER(2, 1), SERVER(3, 5)};
    for (unsigned n = 0; n < 500; n++) {
        struct sha256 block;
        block_of(n, &block);
        unsigned a[3], b[3];
        placement_order(zero, 3, &block, a);
        placement_order(one, 3, &block, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

/* Every client and server must agree, today and after an upgrade: if this changes, stored blocks are in wrong places.
 */
static void test_golden(void **state)
{
    (void)state;
    const struct placement_server servers[] = {SERVER(1, 100), SERVER(2, 100), SERVER(3, 100), SERVER(4, 250),
                                               SERVER(5, 10)};
    char text[8 * 6 + 1] = "";
    for (unsigned n = 0; n < 8; n++) {
        struct sha256 block;
        block_of(n, &block);
        unsigned order[5];
        placement_order(servers, 5, &block, order);
        for (unsigned i = 0; i < 5; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%u", servers[order[i]].id);
        snprintf(text + strlen(text), sizeof text - strlen(text), " ");
    }
    assert_string_equal(text, "41325 23415 43215 34215 14325 43125 42135 43215 ");
}

static void owners_of(const struct placement_server *servers, unsigned count, unsigned number, unsigned *order)
{
    struct sha256 block;
    block_of(number, &block);
    placement_order(servers, count, &block, order);
}

/* Copies lie in as many zones as there are, whatever the weights, and who has no zone is one of its own. */
static void test_zones_come_first(void **state)
{
    (void)state;
    const struct placement_server servers[] = {
        ZONED(1, 1, 7),   ZONED(2, 900, 7), ZONED(3, 800, 7),
        ZONED(4, 100, 8), ZONED(5, 1, 8),   ZONED(6, 700, 9),
        SERVER(7, 50),    SERVER(8, 60),    {.id = 9, .weight = 900, .zone = 9, .last = true}};
    for (unsigned n = 0; n < 500; n++) {
        unsigned order[9];
        owners_of(servers, 9, n, order);
        unsigned zones[10] = {0};
        for (unsigned i = 0; i < 5; i++)
            if (servers[order[i]].zone != 0)
                assert_int_equal(zones[servers[order[i]].zone]++, 0);
        assert_int_equal(zones[7] + zones[8] + zones[9], 3);
        assert_int_equal(servers[order[8]].id, 9);
    }
}

/* Within a rank the score decides, as it does without zones. */
static void test_zones_move_little(void **state)
{
    (void)state;
    struct placement_server all[12], rest[11];
    for (unsigned i = 0; i < 12; i++)
        all[i] = (struct placement_server){.id = i + 1, .weight = 100, .zone = 1 + i % 4};
    for (unsigned n = 0; n < 500; n++) {
        unsigned before[12], after[11], gone = n % 12, left = 0, moved = 0;
        owners_of(all, 12, n, before);
        for (unsigned i = 0; i < 12; i++)
            if (i != gone)
                rest[left++] = all[i];
        owners_of(rest, 11, n, after);
        bool owned = false;
        for (unsigned i = 0; i < 3; i++) {
            owned |= before[i] == gone;
            bool kept = false;
            for (unsigned j = 0; j < 3; j++)
                kept |= rest[after[i]].id == all[before[j]].id;
            moved += !kept;
        }
        assert_int_equal(moved, owned ? 1 : 0);
    }
}

static void test_zone_names(void **state)
{
    (void)state;
    assert_int_equal(placement_zone(""), 0);
    assert_true(placement_zone("rack-1") != 0 && placement_zone("rack-1") != placement_zone("rack-2"));
    assert_true(placement_zone("rack-1") == UINT64_C(0x5d12c382a6f8f927)); /* for ever: blocks lie by it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_server_once),
        cmocka_unit_test(test_removal_moves_only_its_own),
        cmocka_unit_test(test_growth_only_attracts),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_no_weight_counts_as_one),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_zones_come_first),
        cmocka_unit_test(test_zones_move_little),
        cmocka_unit_test(test_zone_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
