/* Membership where it touches votes, leases, reads and snapshots: what the simulator found, or could have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/raft/cluster.h"

static bool grants(struct cluster *c, uint32_t id, uint32_t candidate, uint64_t term)
{
    struct raft_message ask = {
        .type = RAFT_MSG_VOTE, .from = candidate, .to = id, .term = term, .index = 99, .log_term = 99};
    cluster_receive(c, ask);
    const struct raft_message *reply = cluster_find(c, RAFT_MSG_VOTE_REPLY, id, candidate);
    bool granted = reply && !reply->reject;
    cluster_drop(c, 0, 0);
    return granted;
}

/* It has been somebody else perhaps, with another disk, who voted in this term (P4). */
static void p4_member_without_a_configuration_gives_no_vote(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    assert_true(grants(&c, 2, 1, 5));
    cluster_crash(&c, 3);
    cluster_wipe(&c, 3);
    cluster_start(&c, 3);
    assert_false(grants(&c, 3, 1, 5));
    assert_int_equal(cluster_status(&c, 3).vote, 0);
    cluster_close(&c);
}

static void p4_configuration_with_another_disk_is_about_somebody_else(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 1, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    struct cluster_node *n = cluster_node(&c, 1);
    n->identity[0] = 2;
    n->applied_config.members[0].identity[0] = 1; /* as from a snapshot of before the disk was lost */
    cluster_start(&c, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_FOLLOWER);
    assert_false(cluster_status(&c, 1).voter);
    assert_int_equal(n->deadline_ns, INT64_MAX); /* it never stands for election, */
    assert_int_equal(cluster_campaign(&c, 1), ERR_NOT_POSSIBLE);
    struct raft_message now = {.type = RAFT_MSG_TIMEOUT_NOW, .from = 2, .to = 1};
    cluster_receive(&c, now);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_FOLLOWER);
    cluster_advance(&c, 2 * CLUSTER_ELECTION_NS);
    cluster_crash(&c, 1);
    cluster_start(&c, 1);
    cluster_advance(&c, 2 * CLUSTER_ELECTION_NS);
    assert_false(cluster_status(&c, 1).role == RAFT_LEADER);
    cluster_close(&c);
}

/* The leader that removes itself leads on the lease that the other grants, until its removal is committed. */
static void p6_only_voter_of_an_uncommitted_configuration_keeps_the_lease(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 2, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    struct raft_config wanted = {.count = 1, .members = {{.id = 2, .voter = true}}};
    assert_int_equal(cluster_change(&c, 1, &wanted), ERR_OK);
    cluster_deliver(&c, 1, 2); /* C_old,new, */
    cluster_deliver(&c, 2, 1);
    cluster_deliver(&c, 1, 2); /* C_new, whose acknowledgement is lost */
    cluster_drop(&c, 0, 0);
    assert_false(raft_config(cluster_node(&c, 2)->raft)->joint);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    assert_true(cluster_status(&c, 1).lease_until_ns > c.now_ns);
    cluster_crash(&c, 2);
    cluster_start(&c, 2);
    assert_int_equal(cluster_status(&c, 2).role, RAFT_FOLLOWER);
    assert_true(cluster_node(&c, 2)->deadline_ns >= cluster_status(&c, 1).lease_until_ns);
    cluster_timeout(&c, 2);
    assert_int_equal(cluster_status(&c, 2).role, RAFT_LEADER);
    cluster_close(&c);
}

/* A member that would not vote yet must not be needed for a majority. */
static void p4_promoted_member_has_the_configuration_that_it_is_in(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 1, 0, RAFT_ELECTION_AUTO, RAFT_READS_LEASE);
    cluster_start_all(&c);
    for (unsigned i = 0; i < 5; i++)
        cluster_propose(&c, 1, "x");
    cluster_start(&c, cluster_add(&c));
    struct raft_config wanted = {.count = 2, .members = {{.id = 1, .voter = true}, {.id = 2}}};
    assert_int_equal(cluster_change(&c, 1, &wanted), ERR_OK);
    uint64_t added = cluster_status(&c, 1).config_index;
    cluster_settle(&c);
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).progress[0].match, cluster_status(&c, 1).last);
    assert_true(raft_config_find(raft_config(cluster_node(&c, 2)->raft), 2));
    wanted.members[1].voter = true;
    /* A new configuration that it has not got yet: its address changes. */
    struct raft_config moved = *raft_config(cluster_node(&c, 1)->raft);
    strcpy(moved.members[1].address, "elsewhere:1");
    assert_int_equal(cluster_change(&c, 1, &moved), ERR_OK);
    assert_true(cluster_status(&c, 1).config_index > added);
    cluster_drop(&c, 0, 0);
    assert_int_equal(cluster_change(&c, 1, &wanted), ERR_NOT_POSSIBLE);
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_change(&c, 1, &wanted), ERR_OK);
    cluster_close(&c);
}

static void test_forwarded_read_ends_with_the_term(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_read_forward(&c, 2, 7);
    assert_int_equal(cluster_node(&c, 2)->read_count, 0);
    cluster_campaign(&c, 2);
    assert_int_equal(cluster_node(&c, 2)->read_count, 1);
    assert_int_equal(cluster_node(&c, 2)->reads[0].status, ERR_NO_LEADER);
    cluster_settle(&c); /* the old leader's answer, too */
    assert_int_equal(cluster_node(&c, 2)->read_count, 1);
    cluster_close(&c);
}

/* A leader that is told by a snapshot that others have gone on without it knows no leader, least of all itself. */
static void test_leader_that_installs_a_snapshot_leads_no_more(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 3)->alone = true;
    cluster_campaign(&c, 3); /* in a term that nobody else has heard of, so that there it is ahead of the snapshot */
    cluster_campaign(&c, 3);
    for (unsigned i = 0; i < 3; i++)
        cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    struct cluster_snapshot s;
    cluster_take_snapshot(&c, 1, &s);
    cluster_node(&c, 3)->alone = false;
    struct raft_message vote = {.type = RAFT_MSG_VOTE_REPLY, .from = 2, .to = 3, .term = cluster_status(&c, 3).term};
    cluster_receive(&c, vote); /* as from a member that forgot */
    assert_int_equal(cluster_status(&c, 3).role, RAFT_LEADER);
    cluster_drop(&c, 0, 0);
    assert_true(cluster_install(&c, 3, &s));
    assert_int_equal(cluster_status(&c, 3).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 3).leader, 0);
    assert_int_equal(cluster_status(&c, 3).last, s.index);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p4_member_without_a_configuration_gives_no_vote),
        cmocka_unit_test(p4_configuration_with_another_disk_is_about_somebody_else),
        cmocka_unit_test(p6_only_voter_of_an_uncommitted_configuration_keeps_the_lease),
        cmocka_unit_test(p4_promoted_member_has_the_configuration_that_it_is_in),
        cmocka_unit_test(test_forwarded_read_ends_with_the_term),
        cmocka_unit_test(test_leader_that_installs_a_snapshot_leads_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
