/* The leader's log becomes everybody's: what commits (P1), what is acknowledged and when (P8), what may be cut (P9),
 * late and doubled messages (P10), flow control, backtracking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/raft/cluster.h"

static struct raft_message append(uint64_t term, uint64_t index, uint64_t log_term, const struct raft_entry *entries,
                                  unsigned count)
{
    return (struct raft_message){.type = RAFT_MSG_APPEND,
                                 .from = 2,
                                 .to = 1,
                                 .term = term,
                                 .index = index,
                                 .log_term = log_term,
                                 .entries = entries,
                                 .entry_count = count};
}

static struct raft_entry entry(uint64_t index, uint64_t term)
{
    return (struct raft_entry){
        .index = index, .term = term, .type = RAFT_ENTRY_COMMAND, .data = SLICE((const uint8_t *)"data", 4)};
}

static void assert_log(struct cluster *c, uint32_t id, const uint64_t *terms, unsigned count)
{
    struct cluster_node *n = cluster_node(c, id);
    assert_int_equal(n->disk.last, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(n->disk.entries[i + 1].term, terms[i]);
}

/* Figure 3.7 of the thesis: see script/figure8.txt for the whole story. */
static void test_entry_of_old_term_is_not_committed_by_count(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 5, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_fill(&c, 1, (struct raft_hard_state){.term = 3}, (const uint64_t[]){1, 2}, 2);
    cluster_fill(&c, 2, (struct raft_hard_state){.term = 3}, (const uint64_t[]){1, 2}, 2);
    cluster_start_all(&c);
    cluster_campaign(&c, 1); /* term 4 */
    struct raft_message m = {.type = RAFT_MSG_VOTE_REPLY, .from = 2, .to = 1, .term = 4};
    cluster_receive(&c, m);
    m.from = 3;
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).role, RAFT_LEADER);
    m = (struct raft_message){.type = RAFT_MSG_APPEND_REPLY, .to = 1, .term = 4, .index = 2, .commit = 2, .round = 1};
    for (m.from = 2; m.from <= 5; m.from++) {
        cluster_receive(&c, m);
        assert_int_equal(cluster_status(&c, 1).committed, 0); /* even on all disks */
    }
    assert_false(cluster_status(&c, 1).term_committed);
    m.index = 3; /* the no-op of the leader's own term, and with it everything before */
    m.from = 2;
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).committed, 0);
    m.from = 5;
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).committed, 3);
    assert_true(cluster_status(&c, 1).term_committed);
    cluster_close(&c);
}

static void test_acknowledged_when_it_is_on_disk(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 1)->held = cluster_node(&c, 2)->held = true;
    cluster_node(&c, 3)->alone = true;
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    assert_int_equal(cluster_node(&c, 1)->proposed_index, 2);
    assert_int_equal(cluster_count(&c, RAFT_MSG_APPEND, 1, 2), 1); /* sent while it is being written */
    cluster_deliver(&c, 1, 2);
    assert_int_equal(cluster_count(&c, 0, 2, 1), 0);
    /* A heartbeat is answered at once, but only for what is safe. */
    cluster_heartbeat(&c, 1);
    cluster_deliver(&c, 1, 2);
    assert_int_equal(cluster_find(&c, RAFT_MSG_APPEND_REPLY, 2, 1)->index, 1);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(cluster_status(&c, 1).committed, 1);
    cluster_persist(&c, 2, 1);
    assert_int_equal(cluster_find(&c, RAFT_MSG_APPEND_REPLY, 2, 1)->index, 2);
    cluster_deliver(&c, 2, 1);
    assert_int_equal(cluster_status(&c, 1).committed, 1); /* the leader counts itself when its own disk has it */
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    cluster_close(&c);
}

static void test_leader_applies_only_what_its_disk_has(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 1)->held = true;
    cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).committed, 2); /* by the two others */
    assert_int_equal(cluster_node(&c, 1)->applied, 1);
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_node(&c, 1)->applied, 2);
    cluster_close(&c);
}

/* An entry that comes, goes and comes back is on disk when its second write has ended, not its first. */
static void test_write_before_a_cut_proves_nothing(void **state)
{
    (void)state;
    struct cluster c;
    struct raft_entry old = entry(1, 1), other = entry(1, 2);
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_node(&c, 1)->held = true;
    cluster_receive(&c, append(1, 0, 0, &old, 1));
    struct raft_message m = append(2, 0, 0, &other, 1);
    m.from = 3;
    cluster_receive(&c, m);
    m = append(3, 0, 0, &old, 1);
    m.commit = 1;
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).committed, 1);
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 1).persisted, 0);
    assert_int_equal(cluster_node(&c, 1)->applied, 0);
    cluster_persist(&c, 1, 1);
    assert_log(&c, 1, (const uint64_t[]){2}, 1);
    assert_int_equal(cluster_node(&c, 1)->applied, 0);
    cluster_persist(&c, 1, 1);
    assert_int_equal(cluster_status(&c, 1).persisted, 1);
    assert_int_equal(cluster_node(&c, 1)->applied, 1);
    cluster_close(&c);
}

static void test_conflict_is_cut_above_what_is_committed(void **state)
{
    (void)state;
    struct cluster c;
    struct raft_entry first[] = {entry(1, 1), entry(2, 1), entry(3, 1)}, second[] = {entry(2, 1), entry(3, 2)};
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    struct raft_message m = append(1, 0, 0, first, 3);
    m.commit = 2;
    cluster_receive(&c, m);
    assert_log(&c, 1, (const uint64_t[]){1, 1, 1}, 3);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    cluster_receive(&c, append(2, 1, 1, second, 2)); /* what agrees is kept, what doesn't is replaced */
    assert_log(&c, 1, (const uint64_t[]){1, 1, 2}, 3);
    assert_int_equal(cluster_status(&c, 1).committed, 2);
    cluster_close(&c);
}

static void test_late_and_doubled_appends_harm_nothing(void **state)
{
    (void)state;
    struct cluster c;
    struct raft_entry e[] = {entry(1, 1), entry(2, 1), entry(3, 1)};
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    struct raft_message m = append(1, 0, 0, e, 3);
    m.commit = 3;
    cluster_receive(&c, m);
    assert_int_equal(cluster_node(&c, 1)->applied, 3);
    m.commit = 0;
    for (unsigned count = 0; count <= 3; count++) { /* an older one says less: nothing is cut, nothing goes back */
        m.entry_count = count;
        cluster_receive(&c, m);
        assert_log(&c, 1, (const uint64_t[]){1, 1, 1}, 3);
        assert_int_equal(cluster_status(&c, 1).committed, 3);
        assert_false(cluster_find(&c, RAFT_MSG_APPEND_REPLY, 1, 2)->reject);
        assert_true(cluster_find(&c, RAFT_MSG_APPEND_REPLY, 1, 2)->index >= count);
    }
    assert_int_equal(cluster_node(&c, 1)->write_number, 1); /* nor written twice */
    cluster_close(&c);
}

static void test_append_of_old_term_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    struct raft_entry e = entry(1, 1);
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_fill(&c, 1, (struct raft_hard_state){.term = 5, .vote = 3}, NULL, 0);
    cluster_start_all(&c);
    cluster_receive(&c, append(4, 0, 0, &e, 1));
    const struct raft_message *reply = cluster_find(&c, RAFT_MSG_APPEND_REPLY, 1, 2);
    assert_true(reply->reject);
    assert_int_equal(reply->term, 5);
    assert_log(&c, 1, NULL, 0);
    assert_int_equal(cluster_status(&c, 1).leader, 0);
    cluster_close(&c);
}

static void test_late_acknowledgements_harm_nothing(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    for (unsigned i = 0; i < 5; i++)
        cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    struct raft_message m = {.type = RAFT_MSG_APPEND_REPLY, .from = 2, .to = 1, .term = 1, .index = 2, .commit = 2};
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).progress[0].match, 6);
    m.index = 1000; /* nothing that was ever sent */
    cluster_receive(&c, m);
    assert_int_equal(cluster_status(&c, 1).progress[0].match, 6);
    m.reject = true;
    m.index = 1;
    cluster_receive(&c, m); /* an old rejection: at worst something is sent twice */
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).progress[0].match, 6);
    cluster_propose(&c, 1, "y");
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).committed, 7);
    assert_int_equal(cluster_status(&c, 1).progress[0].match, 7);
    cluster_close(&c);
}

static void test_bounded_batches_are_under_way(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 2, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    for (unsigned i = 0; i < LIMIT_RAFT_INFLIGHT_BATCHES + 20; i++)
        assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    assert_int_equal(cluster_count(&c, RAFT_MSG_APPEND, 1, 2), LIMIT_RAFT_INFLIGHT_BATCHES);
    cluster_deliver(&c, 1, 2);
    cluster_deliver(&c, 2, 1); /* the first acknowledgement makes room for all the rest in one batch */
    assert_true(cluster_count(&c, RAFT_MSG_APPEND, 1, 2) >= 1);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).committed, 1 + LIMIT_RAFT_INFLIGHT_BATCHES + 20);
    cluster_close(&c);
}

static void test_uncommitted_bytes_are_bounded(void **state)
{
    (void)state;
    struct cluster c;
    enum { BYTES = LIMIT_COMMAND_BYTES };
    cluster_open(&c, 2, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 2)->alone = true;
    char *big = mem_alloc(BYTES + 2);
    memset(big, 'x', BYTES + 1);
    big[BYTES + 1] = 0;
    assert_int_equal(cluster_propose(&c, 1, big), ERR_TOO_BIG);
    big[BYTES] = 0;
    unsigned taken = 0;
    while (cluster_propose(&c, 1, big) == ERR_OK) {
        taken++;
        assert_true(taken <= LIMIT_RAFT_UNCOMMITTED_BYTES / BYTES + 1);
    }
    assert_int_equal(cluster_node(&c, 1)->status, ERR_BUSY_NOW);
    assert_true(taken >= LIMIT_RAFT_UNCOMMITTED_BYTES / BYTES - 1);
    free(big);
    cluster_node(&c, 2)->alone = false;
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).committed, 1 + taken);
    assert_int_equal(cluster_propose(&c, 1, "x"), ERR_OK);
    cluster_close(&c);
}

/* Logs that differ over many terms agree again after a few messages, not one per entry. */
static void test_backtracking_is_fast(void **state)
{
    (void)state;
    struct cluster c;
    enum { COUNT = 1000 };
    uint64_t leads[COUNT], follows[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        leads[i] = i < 100 ? 1 : 5;
        follows[i] = i < 100 ? 1 : 2 + (i - 100) / 500;
    }
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_fill(&c, 1, (struct raft_hard_state){.term = 5}, leads, COUNT);
    cluster_fill(&c, 2, (struct raft_hard_state){.term = 5}, follows, COUNT);
    cluster_start_all(&c);
    cluster_node(&c, 3)->alone = true;
    cluster_campaign(&c, 1);
    cluster_deliver(&c, 0, 0);
    cluster_deliver(&c, 0, 0);
    unsigned rejections = 0;
    for (unsigned i = 0; i < 20; i++) {
        cluster_deliver(&c, 1, 2);
        const struct raft_message *m = cluster_find(&c, RAFT_MSG_APPEND_REPLY, 2, 1);
        rejections += m && m->reject;
        cluster_deliver(&c, 2, 1);
    }
    assert_int_equal(cluster_status(&c, 1).progress[0].match, COUNT + 1);
    assert_int_equal(cluster_node(&c, 2)->disk.entries[COUNT].term, 5);
    assert_int_equal(cluster_node(&c, 2)->disk.entries[100].term, 1);
    assert_true(rejections >= 1 && rejections <= 3);
    cluster_close(&c);
}

static void test_slow_follower_is_fed_from_the_disk(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    c.cache_bytes = 0;
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_node(&c, 3)->alone = true;
    for (unsigned i = 0; i < 100; i++) {
        cluster_propose(&c, 1, "entry");
        cluster_settle(&c);
    }
    uint64_t before = cluster_node(&c, 1)->storage_reads;
    cluster_node(&c, 3)->alone = false;
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_node(&c, 3)->applied, 101);
    assert_true(cluster_node(&c, 1)->storage_reads > before);
    cluster_close(&c);
}

static void test_compactable_is_what_every_member_has(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c, 3, 0, RAFT_ELECTION_MANUAL, RAFT_READS_READINDEX);
    cluster_start_all(&c);
    cluster_elect(&c, 1);
    cluster_propose(&c, 1, "x");
    cluster_settle(&c);
    cluster_node(&c, 3)->alone = true;
    cluster_propose(&c, 1, "y");
    cluster_settle(&c);
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_status(&c, 1).applied, 3);
    assert_int_equal(raft_compactable(cluster_node(&c, 1)->raft), 2);
    assert_int_equal(raft_compactable(cluster_node(&c, 2)->raft), 2);
    cluster_compact(&c, 1, 2);
    assert_int_equal(cluster_status(&c, 1).compacted, 2);
    cluster_node(&c, 3)->alone = false;
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    cluster_heartbeat(&c, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_node(&c, 3)->applied, 3);
    cluster_crash(&c, 1);
    cluster_start(&c, 1); /* from a log that begins later */
    assert_int_equal(cluster_status(&c, 1).compacted, 2);
    assert_int_equal(cluster_status(&c, 1).last, 3);
    cluster_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_of_old_term_is_not_committed_by_count),
        cmocka_unit_test(test_acknowledged_when_it_is_on_disk),
        cmocka_unit_test(test_leader_applies_only_what_its_disk_has),
        cmocka_unit_test(test_write_before_a_cut_proves_nothing),
        cmocka_unit_test(test_conflict_is_cut_above_what_is_committed),
        cmocka_unit_test(test_late_and_doubled_appends_harm_nothing),
        cmocka_unit_test(test_append_of_old_term_is_refused),
        cmocka_unit_test(test_late_acknowledgements_harm_nothing),
        cmocka_unit_test(test_bounded_batches_are_under_way),
        cmocka_unit_test(test_uncommitted_bytes_are_bounded),
        cmocka_unit_test(test_backtracking_is_fast),
        cmocka_unit_test(test_slow_follower_is_fed_from_the_disk),
        cmocka_unit_test(test_compactable_is_what_every_member_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
