/* What an outside failure detector believes, and whom it would choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/coord_view.h"
#include "base/mem.h"

#define LOST 3u
#define QUICK_NS (2 * NS_PER_MS)

static void begin(struct coord_view *v, unsigned count)
{
    uint32_t ids[LIMIT_NODES];
    for (unsigned i = 0; i < count; i++)
        ids[i] = count - i;
    coord_view_init(v, ids, count, LOST);
}

static void hear(struct coord_view *v, uint32_t id, uint64_t last_term, uint64_t last)
{
    struct coord_answer answer = {.term = last_term, .last_term = last_term, .last = last, .in_service = true};
    coord_view_heard(v, id, QUICK_NS, &answer);
}

static void lead(struct coord_view *v, uint32_t id, uint64_t term, bool hears_majority)
{
    struct coord_answer answer = {.term = term,
                                  .last_term = term,
                                  .last = 9,
                                  .leads = true,
                                  .in_service = true,
                                  .hears_majority = hears_majority};
    coord_view_heard(v, id, QUICK_NS, &answer);
}

static void lose(struct coord_view *v, uint32_t id)
{
    for (unsigned i = 0; i < LOST; i++)
        coord_view_lost(v, id);
}

static void test_the_longest_log_of_the_latest_term_is_chosen(void **state)
{
    (void)state;
    struct coord_view v;
    const struct coord_member *list[LIMIT_NODES];
    begin(&v, 5);
    hear(&v, 1, 2, 9), hear(&v, 2, 2, 12), hear(&v, 3, 5, 12); /* S1.6 */
    assert_false(coord_view_wants_leader(&v));                 /* two are not known yet */
    lose(&v, 4), lose(&v, 5);
    assert_true(coord_view_wants_leader(&v));
    assert_int_equal(coord_view_candidates(&v, list), 3);
    assert_int_equal(list[0]->id, 3);
    assert_int_equal(list[1]->id, 2);
    assert_int_equal(list[2]->id, 1);
}

static void test_equal_logs_choose_the_lowest_id(void **state)
{
    (void)state;
    struct coord_view v;
    const struct coord_member *list[LIMIT_NODES];
    begin(&v, 3);
    for (uint32_t id = 3; id > 0; id--)
        hear(&v, id, 0, 0);
    assert_true(coord_view_wants_leader(&v));
    assert_int_equal(coord_view_candidates(&v, list), 3);
    assert_int_equal(list[0]->id, 1);
}

static void test_without_a_majority_nobody_is_chosen(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= LIMIT_NODES; count++) {
        struct coord_view v;
        begin(&v, count);
        for (uint32_t id = 1; id <= count; id++)
            hear(&v, id, 1, 1);
        unsigned tolerated = (count - 1) / 2;
        for (uint32_t id = 1; id <= tolerated; id++)
            lose(&v, id);
        assert_true(coord_view_wants_leader(&v));
        lose(&v, tolerated + 1);
        assert_false(coord_view_has_majority(&v));
        assert_false(coord_view_wants_leader(&v));
        hear(&v, tolerated + 1, 1, 1); /* it is back */
        assert_true(coord_view_wants_leader(&v));
    }
}

static void test_a_member_fails_after_so_many_losses_and_a_crashed_one_at_once(void **state)
{
    (void)state;
    struct coord_view v;
    begin(&v, 3);
    for (uint32_t id = 1; id <= 3; id++)
        hear(&v, id, 1, 1);
    unsigned version = v.version;
    coord_view_lost(&v, 1), coord_view_lost(&v, 1);
    assert_int_equal(coord_view_alive(&v), 3);
    assert_int_equal(v.version, version);
    hear(&v, 1, 1, 1); /* the count begins anew */
    coord_view_lost(&v, 1), coord_view_lost(&v, 1);
    assert_int_equal(coord_view_alive(&v), 3);
    coord_view_lost(&v, 1);
    assert_int_equal(coord_view_alive(&v), 2);
    assert_int_equal(v.version, version + 1);
    struct coord_answer crashed = {.term = 1};
    coord_view_heard(&v, 2, QUICK_NS, &crashed);
    assert_int_equal(coord_view_alive(&v), 1);
    coord_view_lost(&v, 77); /* of an earlier configuration */
    coord_view_heard(&v, 77, QUICK_NS, &crashed);
    assert_int_equal(coord_view_alive(&v), 1);
}

static void test_time_outs_follow_the_round_trips(void **state)
{
    (void)state;
    struct coord_view v;
    struct coord_answer answer = {.in_service = true};
    begin(&v, 1);
    struct coord_member *m = coord_view_find(&v, 1);
    assert_int_equal(m->timeout_ns, COORD_TIMEOUT_FIRST_NS);
    for (unsigned i = 0; i < 50; i++)
        coord_view_heard(&v, 1, QUICK_NS, &answer);
    assert_int_equal(m->timeout_ns, COORD_TIMEOUT_MIN_NS);
    for (unsigned i = 0; i < 50; i++)
        coord_view_heard(&v, 1, 400 * NS_PER_MS, &answer);
    assert_true(m->timeout_ns > 400 * NS_PER_MS && m->timeout_ns < 600 * NS_PER_MS);
    int64_t before = m->timeout_ns;
    coord_view_lost(&v, 1);
    assert_int_equal(m->timeout_ns, 2 * before);
    lose(&v, 1);
    assert_int_equal(m->timeout_ns, COORD_TIMEOUT_FIRST_NS);
}

static void test_of_two_leaders_the_newer_counts(void **state)
{
    (void)state;
    struct coord_view v;
    begin(&v, 3);
    lead(&v, 1, 4, true), lead(&v, 2, 5, true), hear(&v, 3, 5, 9);
    assert_int_equal(coord_view_leader(&v)->id, 2);
    lose(&v, 2);
    assert_int_equal(coord_view_leader(&v)->id, 1);
}

static void test_a_leader_that_hears_no_majority_is_replaced(void **state)
{
    (void)state;
    struct coord_view v;
    const struct coord_member *list[LIMIT_NODES];
    begin(&v, 3);
    hear(&v, 2, 4, 9), hear(&v, 3, 4, 8);
    for (unsigned i = 0; i + 1 < COORD_CUT_OFF; i++)
        lead(&v, 1, 4, false);
    assert_int_equal(coord_view_leader(&v)->id, 1);
    lead(&v, 1, 4, true); /* one that came late */
    for (unsigned i = 0; i < COORD_CUT_OFF; i++)
        lead(&v, 1, 4, false);
    assert_null(coord_view_leader(&v));
    assert_true(coord_view_wants_leader(&v));
    assert_int_equal(coord_view_candidates(&v, list), 3);
    assert_int_equal(list[0]->id, 2);
    assert_int_equal(list[2]->id, 1);
    lead(&v, 1, 4, true);
    assert_int_equal(coord_view_leader(&v)->id, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_log_of_the_latest_term_is_chosen),
        cmocka_unit_test(test_equal_logs_choose_the_lowest_id),
        cmocka_unit_test(test_without_a_majority_nobody_is_chosen),
        cmocka_unit_test(test_a_member_fails_after_so_many_losses_and_a_crashed_one_at_once),
        cmocka_unit_test(test_time_outs_follow_the_round_trips),
        cmocka_unit_test(test_of_two_leaders_the_newer_counts),
        cmocka_unit_test(test_a_leader_that_hears_no_majority_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
