/* What a walk makes of the answers, batch by batch, and what must hold before a copy goes. tests/repair_sim has the
 * races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/mem.h"
#include "blockstore/repair.h"
#include "blockstore/touch.h"

#define BLOCKS 40u

static const uint8_t all_yes[BLOCKS] = {[0 ... BLOCKS - 1] = 1}, all_no[BLOCKS];

static struct upkeep_map map_of(unsigned count, unsigned replicas, unsigned self)
{
    struct upkeep_map m = {.version = 7, .count = count, .replicas = replicas, .self = self};
    for (unsigned i = 0; i < count; i++)
        m.servers[i] = (struct placement_server){.id = i + 1, .weight = 100};
    return m;
}

static void fill(struct repair_batch *b, const struct upkeep_map *m, uint64_t touched)
{
    repair_batch_init(b, m, BLOCKS);
    for (uint64_t n = 0; n < BLOCKS; n++) {
        sha256_of(SLICE(&n, sizeof n), &b->ids[n]);
        b->touched[n] = touched;
    }
    b->count = BLOCKS;
    repair_batch_begin(b);
}

static void answer(struct repair_batch *b, unsigned server, const uint8_t *present)
{
    struct sha256 ids[BLOCKS];
    assert_true(repair_batch_answer(b, server, present, repair_batch_question(b, server, ids)));
}

/* Two servers, both own everything; the other has none. Only what files name, or may yet, is copied. */
static void test_copies(void **state)
{
    (void)state;
    struct upkeep_map m = map_of(2, 2, 0);
    struct repair_batch b;
    struct sha256 ids[REPAIR_VET_MAX];
    uint8_t referenced[BLOCKS] = {0};
    fill(&b, &m, 5);
    assert_false(repair_batch_answer(&b, 1, all_no, BLOCKS - 1));
    answer(&b, 1, all_no);
    b.touched[3] = 9;
    b.touched[4] = TOUCH_UNKNOWN;
    repair_batch_decide(&b, false);
    assert_int_equal(repair_batch_vet(&b, ids), BLOCKS);
    referenced[1] = referenced[2] = 1;
    repair_batch_vetted(&b, referenced, 10);
    assert_int_equal(repair_batch_vet(&b, ids), 0);
    const unsigned frames[][3] = {{2, 1, 2}, {1, 3}, {1, 4}}; /* what was touched at the same time goes together */
    for (unsigned f = 0; f < 3; f++) {
        assert_true(repair_batch_frame(&b));
        assert_int_equal(b.frame_count, frames[f][0]);
        assert_true(b.frame_to == UPKEEP_BIT(1));
        for (unsigned i = 0; i < b.frame_count; i++) {
            assert_int_equal(b.frame[i], frames[f][1 + i]);
            repair_batch_copied(&b, b.frame[i]);
        }
    }
    assert_false(repair_batch_frame(&b));
    repair_batch_free(&b);
}

static void test_without_an_answer_nothing_is_copied(void **state)
{
    (void)state;
    struct upkeep_map m = map_of(2, 2, 0);
    struct repair_batch b;
    struct sha256 ids[REPAIR_VET_MAX];
    fill(&b, &m, 5);
    answer(&b, 1, all_no);
    repair_batch_decide(&b, false);
    assert_int_equal(repair_batch_vet(&b, ids), BLOCKS);
    repair_batch_vetted(&b, NULL, 0);
    assert_int_equal(b.unsure, BLOCKS);
    assert_false(repair_batch_frame(&b));
    repair_batch_free(&b);
}

/* This server is drained: all that the two others have may go, once it is old enough and all are sure. */
static void test_strays(void **state)
{
    (void)state;
    struct upkeep_map m = map_of(3, 2, 2);
    struct repair_batch b;
    struct strays strays = {0};
    struct sha256 ids[REPAIR_SURE_MAX];
    m.servers[2].last = true;
    for (unsigned walk = 0; walk < 2; walk++) {
        fill(&b, &m, 5);
        b.touched[20] = TOUCH_UNKNOWN; /* nobody could say whether it is touched meanwhile */
        answer(&b, 0, all_yes);
        answer(&b, 1, all_yes);
        repair_batch_decide(&b, false);
        assert_int_equal(b.stray_count, BLOCKS);
        strays_walk_begin(&strays);
        repair_batch_strays(&b, &strays, 100 + walk * 10, 10);
        if (walk == 0) {
            assert_int_equal(repair_batch_sure(&b, ids), 0);
            assert_int_equal(strays_walk_end(&strays), 100);
            repair_batch_free(&b);
        }
    }
    assert_int_equal(b.stray_count, BLOCKS - 1);
    assert_int_equal(repair_batch_sure(&b, ids), REPAIR_SURE_MAX);
    repair_batch_sure_answer(&b, 0, 7, all_yes, REPAIR_SURE_MAX);
    repair_batch_sure_answer(&b, 0, 7, all_yes, REPAIR_SURE_MAX); /* who says it twice is one */
    repair_batch_sure_answer(&b, 2, 7, all_yes, REPAIR_SURE_MAX); /* nobody has asked that one */
    assert_int_equal(repair_batch_sure_end(&b, ids), 0);
    assert_int_equal(repair_batch_sure(&b, ids), REPAIR_SURE_MAX);
    repair_batch_sure_answer(&b, 0, 7, all_yes, REPAIR_SURE_MAX);
    repair_batch_sure_answer(&b, 1, 6, all_yes, REPAIR_SURE_MAX); /* by another map */
    assert_int_equal(repair_batch_sure_end(&b, ids), 0);
    unsigned count = repair_batch_sure(&b, ids);
    assert_int_equal(count, BLOCKS - 1 - 2 * REPAIR_SURE_MAX);
    uint8_t most[REPAIR_SURE_MAX];
    memcpy(most, all_yes, sizeof most);
    most[1] = 0;
    struct sha256 second = ids[1];
    repair_batch_sure_answer(&b, 0, 7, all_yes, count);
    repair_batch_sure_answer(&b, 1, 7, most, count);
    assert_int_equal(repair_batch_sure_end(&b, ids), count - 1);
    for (unsigned i = 0; i + 1 < count; i++) {
        assert_false(sha256_equal(&ids[i], &second));
        strays_forget(&strays, &ids[i]);
    }
    assert_int_equal(repair_batch_sure(&b, ids), 0);
    repair_batch_free(&b);
    strays_close(&strays);
}

/* A copy that began to leave after the question came may have been seen before. */
static void test_what_a_sure_answer_rests_on(void **state)
{
    (void)state;
    struct repair_removals r = {.begun = 3};
    struct repair_mark mark = repair_mark_of(&r, 7);
    assert_int_equal(repair_mark_version(&r, 7, mark), 7);
    assert_int_equal(repair_mark_version(&r, 8, mark), 0);
    r = (struct repair_removals){.begun = 4, .under_way = true};
    assert_int_equal(repair_mark_version(&r, 7, mark), 0);
    struct repair_mark within = repair_mark_of(&r, 7);
    r.under_way = false;
    assert_int_equal(repair_mark_version(&r, 7, mark), 0);
    assert_int_equal(repair_mark_version(&r, 7, within), 0);
    assert_int_equal(repair_mark_version(&r, 7, repair_mark_of(&r, 7)), 7);
}

/* What does not fit is new each time, and so never old enough; what a walk has not met makes room. */
static void test_strays_that_are_too_many(void **state)
{
    (void)state;
    struct strays s = {0};
    strays_walk_begin(&s);
    for (uint64_t n = 0; n < STRAYS_MAX + 10; n++) {
        struct sha256 id;
        sha256_of(SLICE(&n, sizeof n), &id);
        assert_int_equal(strays_meet(&s, &id, (int64_t)n), n);
        assert_int_equal(strays_meet(&s, &id, 100000), n < STRAYS_MAX ? n : 100000);
    }
    assert_int_equal(strays_walk_end(&s), 0);
    strays_walk_begin(&s);
    assert_int_equal(strays_walk_end(&s), INT64_MAX);
    uint64_t last = STRAYS_MAX + 1;
    struct sha256 id;
    sha256_of(SLICE(&last, sizeof last), &id);
    assert_int_equal(strays_meet(&s, &id, 5), 5);
    assert_int_equal(strays_meet(&s, &id, 6), 5);
    strays_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_without_an_answer_nothing_is_copied),
        cmocka_unit_test(test_strays),
        cmocka_unit_test(test_what_a_sure_answer_rests_on),
        cmocka_unit_test(test_strays_that_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
