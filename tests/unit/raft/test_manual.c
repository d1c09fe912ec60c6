/* Leaders by hand, as SurfStore's tests appoint them: S0.1, S0.7, S0.8, S0.13 and what goes with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/unit/raft/cluster.h"

static void open_three(struct cluster *c)
{
    cluster_open(c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(c);
}

static void lead(struct cluster *c, uint32_t id)
{
    assert_int_equal(cluster_campaign(c, id), ERR_OK);
    cluster_settle(c);
}

static void heartbeat(struct cluster *c, uint32_t id)
{
    assert_int_equal(cluster_heartbeat(c, id), ERR_OK);
    cluster_settle(c);
}

/* Crash and restore as these tests mean it: deaf and dumb, with its memory. */
static void crash(struct cluster *c, uint32_t id)
{
    cluster_step_down(c, id);
    cluster_node(c, id)->alone = true;
}

static void restore(struct cluster *c, uint32_t id)
{
    cluster_node(c, id)->alone = false;
}

static void assert_entry(struct cluster *c, uint32_t id, uint64_t index, uint64_t term, const char *text)
{
    struct cluster_node *n = cluster_node(c, id);
    assert_true(n->disk.last >= index);
    assert_int_equal(n->disk.entries[index].term, term);
    assert_int_equal(n->disk.entries[index].data.size, strlen(text));
    if (text[0])
        assert_memory_equal(n->disk.entries[index].data.data, text, strlen(text));
}

/* S0.1 */
static void test_appointed_leaders_follow_each_other(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    static const uint32_t leaders[] = {1, 3};
    for (unsigned i = 0; i < 2; i++) {
        lead(&c, leaders[i]);
        heartbeat(&c, leaders[i]);
        for (uint32_t id = 1; id <= 3; id++) {
            assert_int_equal(cluster_status(&c, id).term, i + 1);
            assert_int_equal(cluster_status(&c, id).role == RAFT_LEADER, id == leaders[i]);
            assert_int_equal(cluster_status(&c, id).leader, leaders[i]);
        }
    }
    assert_int_equal(cluster_campaign(&c, 3), ERR_OK); /* it leads already */
    assert_int_equal(cluster_status(&c, 3).term, 2);
    cluster_close(&c);
}

/* S0.7 */
static void test_uncommitted_entries_of_a_crashed_leader_are_gone(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    lead(&c, 1);
    heartbeat(&c, 1);
    crash(&c, 2);
    crash(&c, 3);
    assert_int_equal(cluster_propose(&c, 1, "f1"), ERR_OK);
    assert_int_equal(cluster_propose(&c, 1, "f2"), ERR_OK);
    assert_int_equal(cluster_node(&c, 1)->disk.last, 3);
    assert_int_equal(cluster_node(&c, 1)->applied, 1);
    crash(&c, 1);
    restore(&c, 2);
    restore(&c, 3);
    lead(&c, 2);
    assert_int_equal(cluster_propose(&c, 2, "f3"), ERR_OK);
    cluster_settle(&c);
    restore(&c, 1);
    heartbeat(&c, 2);
    heartbeat(&c, 2);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_node(&c, id)->disk.last, 3);
        assert_entry(&c, id, 1, 1, "");
        assert_entry(&c, id, 2, 2, "");
        assert_entry(&c, id, 3, 2, "f3");
        assert_int_equal(cluster_node(&c, id)->applied, 3);
    }
    cluster_close(&c);
}

/* S0.8 */
static void test_committed_entry_survives_its_leader(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    lead(&c, 1);
    heartbeat(&c, 1);
    crash(&c, 3);
    assert_int_equal(cluster_propose(&c, 1, "f1"), ERR_OK);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    assert_int_equal(cluster_status(&c, 2).committed, 1); /* no heartbeat has told it */
    crash(&c, 1);
    restore(&c, 3);
    lead(&c, 2);
    assert_int_equal(cluster_propose(&c, 2, "f2"), ERR_OK);
    cluster_settle(&c);
    restore(&c, 1);
    heartbeat(&c, 2);
    heartbeat(&c, 2);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_node(&c, id)->disk.last, 4);
        assert_entry(&c, id, 1, 1, "");
        assert_entry(&c, id, 2, 1, "f1");
        assert_entry(&c, id, 3, 2, "");
        assert_entry(&c, id, 4, 2, "f2");
        assert_int_equal(cluster_node(&c, id)->applied, 4);
    }
    cluster_close(&c);
}

/* S0.13 */
static void test_stale_leader_steps_down(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    lead(&c, 1);
    heartbeat(&c, 1);
    cluster_node(&c, 1)->alone = true;
    lead(&c, 2);
    cluster_node(&c, 1)->alone = false;
    assert_int_equal(cluster_heartbeat(&c, 1), ERR_OK); /* it believes that it leads */
    cluster_deliver(&c, 1, 2);
    const struct raft_message *reply = cluster_find(&c, RAFT_MSG_APPEND_REPLY, 2, 1);
    assert_non_null(reply);
    assert_true(reply->reject);
    assert_int_equal(reply->term, 2);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(&c, 1).term, 2);
    assert_int_equal(cluster_heartbeat(&c, 1), ERR_NO_LEADER);
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_NO_LEADER);
    cluster_close(&c);
}

static void test_nothing_happens_by_itself(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    for (uint32_t id = 1; id <= 3; id++)
        assert_true(cluster_node(&c, id)->deadline_ns == INT64_MAX);
    lead(&c, 1);
    cluster_advance(&c, 1000 * CLUSTER_ELECTION_NS);
    for (uint32_t id = 1; id <= 3; id++)
        cluster_tick(&c, id);
    assert_int_equal(c.flight_count, 0);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER); /* no check-quorum either */
    cluster_close(&c);
}

static void test_member_with_a_shorter_log_cant_be_appointed(void **state)
{
    (void)state;
    struct cluster c;
    open_three(&c);
    lead(&c, 1);
    heartbeat(&c, 1);
    crash(&c, 3);
    cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    restore(&c, 3);
    lead(&c, 3);
    assert_int_not_equal(cluster_status(&c, 3).role, RAFT_LEADER);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_FOLLOWER); /* though its term has deposed the leader */
    lead(&c, 1);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    heartbeat(&c, 1);
    assert_int_equal(cluster_node(&c, 3)->disk.last, 3);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appointed_leaders_follow_each_other),
        cmocka_unit_test(test_uncommitted_entries_of_a_crashed_leader_are_gone),
        cmocka_unit_test(test_committed_entry_survives_its_leader),
        cmocka_unit_test(test_stale_leader_steps_down),
        cmocka_unit_test(test_nothing_happens_by_itself),
        cmocka_unit_test(test_member_with_a_shorter_log_cant_be_appointed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
