/* Linearizable reads: ReadIndex rounds that begin after the read (P5), the lease and when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/raft/cluster.h"

static unsigned answers(struct cluster *c, uint32_t id)
{
    return cluster_node(c, id)->read_count;
}

static struct raft_read_result answer(struct cluster *c, uint32_t id, unsigned at)
{
    assert_true(at < answers(c, id));
    return cluster_node(c, id)->reads[at];
}

static void test_read_waits_for_a_round(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    cluster_read(&c, 1, 7);
    assert_int_equal(answers(&c, 1), 0);
    cluster_deliver(&c, 1, 2);
    cluster_deliver(&c, 2, 1); /* with the leader itself, a majority */
    assert_int_equal(answers(&c, 1), 1);
    assert_int_equal(answer(&c, 1, 0).id, 7);
    assert_int_equal(answer(&c, 1, 0).status, ERR_OK);
    assert_int_equal(answer(&c, 1, 0).index, 2);
    cluster_settle(&c);
    assert_int_equal(answers(&c, 1), 1); /* once */
    cluster_close(&c);
}

/* P5: an answer that was sent before the read came says nothing about who led when it came. */
static void test_round_begun_before_the_read_is_not_enough(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 3)->alone = true;
    cluster_timeout(&c, 1); /* a heartbeat, and its answer is under way when the reads come */
    cluster_deliver(&c, 1, 2);
    cluster_read(&c, 1, 1);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(answers(&c, 1), 0);
    cluster_read(&c, 1, 2); /* while the first read's round is under way: it waits for the next */
    cluster_deliver(&c, 1, 2);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(answers(&c, 1), 1);
    assert_int_equal(answer(&c, 1, 0).id, 1);
    cluster_deliver(&c, 1, 2);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(answers(&c, 1), 2);
    assert_int_equal(answer(&c, 1, 1).id, 2);
    cluster_close(&c);
}

/* P5: before an entry of its own term is committed a leader doesn't know what is committed. */
static void test_read_waits_for_an_entry_of_the_term(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_timeout(&c, 1);
    for (unsigned i = 0; i < 4; i++)
        cluster_deliver(&c, 0, 0);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    assert_false(cluster_status(&c, 1).term_committed);
    cluster_read(&c, 1, 1);
    assert_int_equal(answers(&c, 1), 0);
    cluster_settle(&c);
    assert_int_equal(answers(&c, 1), 1);
    assert_int_equal(answer(&c, 1, 0).index, 1);
    cluster_close(&c);
}

static void test_lease_answers_at_once_while_it_lasts(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    int64_t begun = c.now_ns;
    assert_true(cluster_status(&c, 1).lease_until_ns == begun + CLUSTER_ELECTION_NS - CLUSTER_DRIFT_NS);
    cluster_advance(&c, CLUSTER_ELECTION_NS - CLUSTER_DRIFT_NS - 1);
    cluster_read(&c, 1, 1);
    assert_int_equal(answers(&c, 1), 1);
    assert_int_equal(cluster_count(&c, 0, 1, 0), 0); /* without a message */
    cluster_advance(&c, 1);
    cluster_read(&c, 1, 2);
    assert_int_equal(answers(&c, 1), 1); /* it is over: ReadIndex */
    cluster_settle(&c);
    assert_int_equal(answers(&c, 1), 2);
    cluster_read(&c, 1, 3); /* and that round has renewed it */
    assert_int_equal(answers(&c, 1), 3);
    cluster_close(&c);
}

/* The lease counts from when the round began, not from when its answer came. */
static void test_late_answer_gives_a_short_lease(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_timeout(&c, 1);
    int64_t begun = c.now_ns;
    cluster_deliver(&c, 1, 0);
    cluster_advance(&c, CLUSTER_ELECTION_NS - 1);
    cluster_deliver(&c, 0, 1);
    assert_true(cluster_status(&c, 1).lease_until_ns == begun + CLUSTER_ELECTION_NS - CLUSTER_DRIFT_NS);
    cluster_read(&c, 1, 1);
    assert_int_equal(answers(&c, 1), 0);
    cluster_close(&c);
}

static void test_no_lease_after_a_transfer(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_read(&c, 1, 1);
    assert_int_equal(answers(&c, 1), 1);
    uint64_t term = cluster_status(&c, 1).term;
    cluster_node(&c, 2)->alone = true; /* it never hears of it: the transfer is given up, the lease is not given back */
    assert_int_equal(cluster_transfer(&c, 1, 2), ERR_OK);
    assert_int_equal(cluster_status(&c, 1).lease_until_ns, 0);
    cluster_read(&c, 1, 2);
    assert_int_equal(answers(&c, 1), 1); /* the target may lead by now */
    for (int64_t begun = c.now_ns; c.now_ns < begun + 2 * CLUSTER_ELECTION_NS;) {
        cluster_timeout(&c, 1);
        cluster_settle(&c);
    }
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    assert_int_equal(cluster_status(&c, 1).term, term);
    assert_int_equal(answers(&c, 1), 2);
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    assert_int_equal(cluster_status(&c, 1).lease_until_ns, 0);
    cluster_read(&c, 1, 3);
    assert_int_equal(answers(&c, 1), 2);
    cluster_settle(&c);
    assert_int_equal(answers(&c, 1), 3);
    cluster_close(&c);
}

static void test_reads_fail_with_leadership(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_read(&c, 2, 1);
    assert_int_equal(answer(&c, 2, 0).status, ERR_NOT_LEADER);
    cluster_read(&c, 1, 2);
    cluster_read(&c, 1, 3);
    cluster_drop(&c, 0, 0);
    cluster_step_down(&c, 1);
    assert_int_equal(answers(&c, 1), 2);
    assert_int_equal(answer(&c, 1, 0).status, ERR_NO_LEADER);
    assert_int_equal(answer(&c, 1, 1).status, ERR_NO_LEADER);
    cluster_read(&c, 1, 4);
    assert_int_equal(answer(&c, 1, 2).status, ERR_NO_LEADER);
    cluster_close(&c);
}

static void test_deposed_leader_answers_no_read(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 1)->alone = true;
    cluster_elect(&c, 2);
    cluster_propose(&c, 2, "new");
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER); /* as far as it knows; there is no lease in this mode */
    cluster_read(&c, 1, 1);
    assert_int_equal(answers(&c, 1), 0);
    cluster_node(&c, 1)->alone = false;
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(answers(&c, 1), 1);
    assert_int_not_equal(answer(&c, 1, 0).status, ERR_OK);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_waits_for_a_round),
        cmocka_unit_test(test_round_begun_before_the_read_is_not_enough),
        cmocka_unit_test(test_read_waits_for_an_entry_of_the_term),
        cmocka_unit_test(test_lease_answers_at_once_while_it_lasts),
        cmocka_unit_test(test_late_answer_gives_a_short_lease),
        cmocka_unit_test(test_no_lease_after_a_transfer),
        cmocka_unit_test(test_reads_fail_with_leadership),
        cmocka_unit_test(test_deposed_leader_answers_no_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
