/* Who leads: pre-vote, stickiness, votes that are on disk before they are given (P8), check-quorum, single members. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/raft/cluster.h"

static void test_election_asks_before_it_disturbs(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_timeout(&c, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_PRE_CANDIDATE);
    assert_int_equal(cluster_status(&c, 1).term, 0);
    assert_int_equal(cluster_count(&c, RAFT_MSG_PREVOTE, 1, 0), 2);
    cluster_deliver(&c, 1, 2);
    assert_int_equal(cluster_status(&c, 2).term, 0); /* asking changes nothing in who is asked */
    assert_int_equal(cluster_status(&c, 2).vote, 0);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_CANDIDATE);
    assert_int_equal(cluster_status(&c, 1).term, 1);
    cluster_drop(&c, 1, 3); /* two of three are enough */
    cluster_deliver(&c, 1, 2);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 2).leader, 1);
    assert_int_equal(cluster_status(&c, 3).leader, 1);
    cluster_close(&c);
}

static void test_votes_are_on_disk_before_they_are_given(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_node(&c, 1)->held = cluster_node(&c, 2)->held = true;
    cluster_campaign(&c, 1);
    assert_null(cluster_find(&c, RAFT_MSG_VOTE, 1, 0)); /* nobody hears of a term that could be forgotten */
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_count(&c, RAFT_MSG_VOTE, 1, 0), 2);
    cluster_drop(&c, 1, 3);
    cluster_deliver(&c, 1, 2);
    assert_null(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 2, 1));
    /* It crashes with its vote under way. Then it has not voted, and may vote for another. */
    cluster_crash(&c, 2);
    cluster_start(&c, 2);
    assert_int_equal(cluster_status(&c, 2).term, 0);
    cluster_campaign(&c, 3);
    cluster_deliver(&c, 3, 2);
    cluster_persist(&c, 2, 1);
    assert_false(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 2, 3)->reject);
    cluster_crash(&c, 2);
    cluster_start(&c, 2);
    cluster_campaign(&c, 1); /* term 2: the vote of term 1 binds only there */
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 2).vote, 3);
    cluster_receive(&c, (struct raft_message){.type = RAFT_MSG_VOTE, .from = 1, .to = 2, .term = 1, .force = true});
    assert_true(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 2, 1)->reject);
    cluster_deliver(&c, 1, 2);
    assert_int_equal(cluster_status(&c, 2).vote, 1);
    cluster_close(&c);
}

static void test_own_vote_counts_when_it_is_on_disk(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_node(&c, 1)->held = true;
    cluster_campaign(&c, 1);
    /* No member could answer already, but a doubled message of an earlier life might. */
    cluster_receive(&c, (struct raft_message){.type = RAFT_MSG_VOTE_REPLY, .from = 2, .to = 1, .term = 1});
    assert_int_equal(cluster_status(&c, 1).role, RAFT_CANDIDATE);
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    cluster_close(&c);
}

static void test_one_answer_counts_once(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 5, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_campaign(&c, 1);
    struct raft_message yes = {.type = RAFT_MSG_VOTE_REPLY, .from = 2, .to = 1, .term = 1};
    cluster_receive(&c, yes);
    cluster_receive(&c, yes);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_CANDIDATE);
    yes.from = 3;
    cluster_receive(&c, yes);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    cluster_close(&c);
}

static void test_shorter_log_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_fill(&c, 1, (struct raft_hard_state){.term = 3}, (const uint64_t[]){1, 2, 2}, 3);
    cluster_start_all(&c);
    struct raft_message ask = {.type = RAFT_MSG_VOTE, .from = 2, .to = 1, .force = true};
    static const struct {
        uint64_t index, term;
        bool granted;
    } cases[] = {{2, 2, false}, {9, 1, false}, {3, 2, true}, {4, 2, true}, {1, 3, true}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask.term = 10 + i;
        ask.index = cases[i].index;
        ask.log_term = cases[i].term;
        cluster_receive(&c, ask);
        assert_int_equal(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 1, 2)->reject, !cases[i].granted);
        assert_int_equal(cluster_status(&c, 1).term, ask.term);
    }
    cluster_close(&c);
}

static void test_leader_that_lives_is_not_disturbed(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    uint64_t term = cluster_status(&c, 2).term;
    struct raft_message ask = {
        .type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = term + 5, .index = 99, .log_term = 99};
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).term, term); /* not even the term is taken over */
    assert_null(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 2, 3));
    cluster_advance(&c, CLUSTER_ELECTION_NS - 1);
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).term, term);
    ask.force = true; /* a transfer does it */
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).term, term + 5);
    ask.force = false;
    cluster_drop(&c, 0, 0);
    cluster_elect(&c, 1);
    term = cluster_status(&c, 2).term;
    cluster_advance(&c, CLUSTER_ELECTION_NS);
    ask.term = term + 5;
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).term, term + 5);
    assert_false(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 2, 3)->reject);
    cluster_close(&c);
}

static void test_no_vote_soon_after_restart(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_crash(&c, 2);
    cluster_start(&c, 2); /* it has acknowledged, and the leader's lease may rest on that */
    struct raft_message ask = {.type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .index = 99, .log_term = 9};
    cluster_advance(&c, CLUSTER_ELECTION_NS - 1);
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).vote, 1);
    cluster_advance(&c, 1);
    cluster_receive(&c, ask);
    assert_int_equal(cluster_status(&c, 2).vote, 3);
    cluster_close(&c);
}

/* Seed 137: who has answered a leader keeps its lease, even when it is told to campaign, or learns of a later term. */
static void test_own_vote_keeps_the_lease_too(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    uint64_t term = cluster_status(&c, 2).term;
    assert_int_equal(cluster_campaign(&c, 2), ERR_NOT_POSSIBLE);
    assert_int_equal(cluster_status(&c, 2).term, term);
    cluster_receive(&c, (struct raft_message){
                            .type = RAFT_MSG_PREVOTE_REPLY, .from = 3, .to = 2, .term = term + 1, .reject = true});
    assert_int_equal(cluster_status(&c, 2).term, term + 1);
    cluster_receive(&c, (struct raft_message){
                            .type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = term + 1, .index = 9, .log_term = 9});
    assert_int_equal(cluster_status(&c, 2).vote, 0);
    cluster_step_down(&c, 2);
    assert_int_equal(cluster_campaign(&c, 2), ERR_NOT_POSSIBLE);
    cluster_advance(&c, CLUSTER_ELECTION_NS);
    assert_int_equal(cluster_campaign(&c, 2), ERR_OK);
    assert_int_equal(cluster_status(&c, 2).role, RAFT_CANDIDATE);
    cluster_close(&c);
}

static void test_leader_without_majority_steps_down(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 1)->alone = true;
    cluster_read(&c, 1, 7);
    int64_t begun = c.now_ns;
    while (cluster_status(&c, 1).role == RAFT_LEADER && c.now_ns < begun + 10 * CLUSTER_ELECTION_NS)
        cluster_timeout(&c, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 1).leader, 0);
    assert_true(c.now_ns - begun <= 4 * CLUSTER_ELECTION_NS);
    cluster_close(&c);
}

static void test_learner_is_not_asked(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 2, 1, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    assert_true(cluster_node(&c, 3)->deadline_ns == INT64_MAX);
    cluster_timeout(&c, 1);
    assert_int_equal(cluster_count(&c, 0, 1, 3), 0);
    cluster_drop(&c, 0, 0);
    struct raft_message ask = {
        .type = RAFT_MSG_VOTE, .from = 1, .to = 3, .term = 9, .index = 9, .log_term = 9, .force = true};
    cluster_receive(&c, ask);
    /* Whether it is a voter may be something that it has not heard yet, so it answers; nobody counts it who knows
     * better. */
    assert_false(cluster_find(&c, RAFT_MSG_VOTE_REPLY, 3, 1)->reject);
    assert_int_equal(cluster_campaign(&c, 3), ERR_NOT_POSSIBLE);
    cluster_close(&c);
}

static void test_single_member_leads_at_once(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 1, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_node(&c, 1)->ever_started = true; /* not even after a restart is there anybody to wait for */
    cluster_start_all(&c);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    assert_int_equal(cluster_node(&c, 1)->applied, 1);
    cluster_node(&c, 1)->held = true;
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    assert_int_equal(cluster_status(&c, 1).committed, 1); /* alone, but still not before it is on disk */
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    assert_int_equal(cluster_node(&c, 1)->applied, 2);
    cluster_read(&c, 1, 5);
    assert_int_equal(cluster_node(&c, 1)->read_count, 1);
    assert_int_equal(cluster_node(&c, 1)->reads[0].index, 2);
    cluster_close(&c);
}

static void test_single_voter_feeds_its_learner(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 1, 1, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_settle(&c);
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    cluster_settle(&c);
    cluster_timeout(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_node(&c, 2)->applied, 2);
    cluster_close(&c);
}

static void test_impossible_options_are_refused(void **state)
{
    (void)state;
    struct raft_options good = {.id = 1,
                                .election_timeout_ns = CLUSTER_ELECTION_NS,
                                .heartbeat_ns = CLUSTER_HEARTBEAT_NS},
                        bad;
    struct raft_restart restart = {
        .fresh = true,
        .config = {.count = 3,
                   .members = {{.id = 1, .voter = true}, {.id = 2, .voter = true}, {.id = 3, .voter = true}}}};
    struct raft_storage storage = {0};
    struct raft *r;
    struct err_text why;
    assert_int_equal(raft_open(&good, &restart, &storage, 0, &r, &why), ERR_OK);
    raft_close(r);
    bad = good, bad.id = 0;
    assert_int_equal(raft_open(&bad, &restart, &storage, 0, &r, &why), ERR_CONFIG);
    bad = good, bad.heartbeat_ns = CLUSTER_ELECTION_NS / 2;
    assert_int_equal(raft_open(&bad, &restart, &storage, 0, &r, &why), ERR_CONFIG);
    bad = good, bad.lease_drift_ns = CLUSTER_ELECTION_NS;
    assert_int_equal(raft_open(&bad, &restart, &storage, 0, &r, &why), ERR_CONFIG);
    restart.applied_index = 1; /* more than the log has */
    assert_int_equal(raft_open(&good, &restart, &storage, 0, &r, &why), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election_asks_before_it_disturbs),
        cmocka_unit_test(test_votes_are_on_disk_before_they_are_given),
        cmocka_unit_test(test_own_vote_counts_when_it_is_on_disk),
        cmocka_unit_test(test_one_answer_counts_once),
        cmocka_unit_test(test_shorter_log_is_refused),
        cmocka_unit_test(test_leader_that_lives_is_not_disturbed),
        cmocka_unit_test(test_no_vote_soon_after_restart),
        cmocka_unit_test(test_own_vote_keeps_the_lease_too),
        cmocka_unit_test(test_leader_without_majority_steps_down),
        cmocka_unit_test(test_learner_is_not_asked),
        cmocka_unit_test(test_single_member_leads_at_once),
        cmocka_unit_test(test_single_voter_feeds_its_learner),
        cmocka_unit_test(test_impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
