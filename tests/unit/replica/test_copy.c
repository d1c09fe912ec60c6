/* A leader whose state is copied or looked at while commands go on: a voter and a learner that says that it is there,
 * and has nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/store.h"
#include "proto/wire_meta.h"
#include "replica/replica.h"

#define LOG_ENTRIES 100u
#define LOG_KEPT 5u
#define STEP_NS (50 * NS_PER_MS)
#define STEPS_MAX 1000u
#define LEARNER 2u

struct leader {
    char path[64];
    struct replica *replica;
    int64_t now_ns;
    uint8_t random;
    bool has_written;
    struct replica_log_result written;
    uint64_t compact;          /* asked for; 0: nothing is */
    struct raft_message heard; /* the last append for the learner */
    bool learner_speaks;
    struct replica_work *work; /* asked for and not done */
    uint64_t asked_index;      /* applied at that moment */
    unsigned commands, offers;
    bool may_fail, has_failed;
};

/* ---- what it asks for ---- */

static int64_t env_ns(void *context)
{
    return ((struct leader *)context)->now_ns;
}

static void env_random(void *context, void *to, size_t size)
{
    memset(to, ++((struct leader *)context)->random, size);
}

static void env_send(void *context, const struct replica_message *m)
{
    struct leader *l = context;
    if (m->type == REPLICA_RAFT && m->raft.type == RAFT_MSG_APPEND)
        l->heard = m->raft;
    l->offers += m->type == REPLICA_OFFER;
}

static bool env_persist(void *context, uint64_t number, const struct raft_update *u)
{
    struct leader *l = context;
    struct raftlog_batch batch = {.hard_state_changed = u->hard_state_changed,
                                  .hard = u->hard,
                                  .entries = u->entries,
                                  .entry_count = u->entry_count};
    assert_false(u->reset || u->truncate);
    assert_int_equal(raftlog_write(replica_log(l->replica), &batch), ERR_OK);
    l->has_written = true;
    l->written.number = number;
    if (u->hard_state_changed)
        l->written.hard = u->hard;
    if (u->entry_count > 0)
        l->written.index = u->entries[u->entry_count - 1].index, l->written.term = u->entries[u->entry_count - 1].term;
    return true;
}

static void env_compact(void *context, uint64_t index)
{
    ((struct leader *)context)->compact = index;
}

static void env_work(void *context, struct replica_work *w)
{
    struct leader *l = context;
    assert_null(l->work);
    l->work = w;
    l->asked_index = meta_applied_index(replica_meta(l->replica));
}

static void env_nothing(void *context)
{
    (void)context;
}

static void env_config_changed(void *context, const struct raft_config *config)
{
    (void)context, (void)config;
}

static void env_applied(void *context, const struct meta_command *command, const struct meta_reply *reply)
{
    (void)context, (void)command, (void)reply;
}

static void env_noticed(void *context, uint64_t session)
{
    (void)context, (void)session;
}

static enum err env_cluster_id(void *context, const uint8_t id[16], struct err_text *why)
{
    (void)context, (void)id, (void)why;
    return ERR_OK;
}

static void env_fault(void *context, const char *text)
{
    struct leader *l = context;
    l->has_failed = true;
    if (!l->may_fail)
        fail_msg("%s", text);
}

static const struct replica_env env_table = {.boot_ns = env_ns,
                                             .wall_ns = env_ns,
                                             .random = env_random,
                                             .send = env_send,
                                             .persist = env_persist,
                                             .compact = env_compact,
                                             .work = env_work,
                                             .wake = env_nothing,
                                             .role_changed = env_nothing,
                                             .leader_ready = env_nothing,
                                             .config_changed = env_config_changed,
                                             .applied = env_applied,
                                             .noticed = env_noticed,
                                             .cluster_id = env_cluster_id,
                                             .fault = env_fault};

/* ---- what happens to it ---- */

static void leader_open(struct leader *l)
{
    struct replica_env env = env_table;
    struct err_text why = {""};
    *l = (struct leader){.path = "/tmp/surf-copy-XXXXXX", .now_ns = NS_PER_S};
    assert_non_null(mkdtemp(l->path));
    env.context = l;
    struct replica_options options = {.id = 1,
                                      .identity = {1},
                                      .data = l->path,
                                      .files = file_table_system(),
                                      .bootstrap = {.count = 2, .members = {{.id = 1, .voter = true}, {.id = LEARNER}}},
                                      .election_timeout_ns = NS_PER_S,
                                      .heartbeat_ns = NS_PER_S / 5,
                                      .lease_drift_ns = NS_PER_S / 10,
                                      .session_timeout_ns = 30 * NS_PER_S,
                                      .log_bytes = 1024 * MIB,
                                      .log_entries = LOG_ENTRIES,
                                      .log_keep_entries = LOG_KEPT,
                                      .segment_bytes = 4 * KIB,
                                      .raft_cache_bytes = 4 * KIB,
                                      .lose_unflushed = true, /* a flush is done when it was asked for */
                                      .apply_slice_ns = NS_PER_S};
    if (replica_open(&options, &env, &l->replica, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void leader_close(struct leader *l)
{
    char command[96];
    replica_close(l->replica, false);
    snprintf(command, sizeof command, "rm -rf '%s'", l->path);
    assert_int_equal(system(command), 0);
}

static uint64_t cut_at(struct leader *l)
{
    struct raftlog_bounds bounds;
    raftlog_bounds(replica_log(l->replica), &bounds);
    return bounds.compacted_index;
}

/* The learner answers the last append: it has no entry. */
static void learner_answers(struct leader *l)
{
    static const uint8_t identity[16] = {LEARNER};
    struct replica_message m = {.type = REPLICA_RAFT, .from = LEARNER, .to = 1};
    m.raft = (struct raft_message){.type = RAFT_MSG_APPEND_REPLY,
                                   .from = LEARNER,
                                   .to = 1,
                                   .term = l->heard.term,
                                   .round = l->heard.round,
                                   .reject = true};
    if (l->learner_speaks && l->heard.term > 0)
        replica_receive(l->replica, &m, identity);
}

static void step(struct leader *l)
{
    uint64_t compacted;
    l->now_ns += STEP_NS;
    replica_tick(l->replica);
    learner_answers(l);
    for (replica_turn(l->replica); l->has_written; replica_turn(l->replica)) {
        l->has_written = false;
        replica_persisted(l->replica, &l->written);
    }
    if (l->compact > 0) {
        assert_int_equal(raftlog_compact(replica_log(l->replica), l->compact, &compacted), ERR_OK);
        l->compact = 0;
        replica_compacted(l->replica, compacted);
    }
}

static void on_done(struct replica_proposal *p, enum err status, const struct meta_reply *reply)
{
    struct leader *l = p->context;
    (void)reply;
    assert_int_equal(status, ERR_OK);
    l->commands++;
}

static void command(struct leader *l, struct arena *a)
{
    struct meta_command c = {.op = META_BLOCK_SERVER,
                             .block_server = {.change = META_SERVER_REGISTER, .id = 1, .address = "a:1", .weight = 1}};
    struct replica_proposal *p = arena_zalloc(a, sizeof *p);
    *p = (struct replica_proposal){.data = wire_meta_command_encode(&c, a), .done = on_done, .context = l};
    unsigned before = l->commands;
    replica_propose(l->replica, p);
    for (unsigned n = 0; l->commands == before && n < STEPS_MAX; n++)
        step(l);
    assert_int_equal(l->commands, before + 1);
}

static void serve(struct leader *l)
{
    struct replica_status status = {0};
    for (unsigned n = 0; !status.leader_ready && n < STEPS_MAX; n++) {
        step(l);
        replica_status(l->replica, &status);
    }
    assert_true(status.leader_ready);
}

static void the_log_is_kept_for_a_copy_in_the_making(void **state)
{
    struct leader l;
    struct arena a = {0};
    (void)state;
    leader_open(&l);
    serve(&l);
    for (unsigned n = 0; cut_at(&l) == 0 && n < STEPS_MAX; n++)
        command(&l, &a);
    assert_true(cut_at(&l) > 0);
    l.learner_speaks = true;
    for (unsigned n = 0; !l.work && n < STEPS_MAX; n++)
        command(&l, &a);
    assert_non_null(l.work);
    /* As long as the log may be without being cut all the same: four times its limit. */
    uint64_t begun = l.asked_index, cut = cut_at(&l);
    while (meta_applied_index(replica_meta(l.replica)) < cut + 3 * LOG_ENTRIES)
        command(&l, &a);
    assert_in_range(cut_at(&l), cut, begun);
    l.work->run(l.work);
    l.work->done(l.work);
    l.work = NULL;
    for (unsigned n = 0; l.offers == 0 && n < STEPS_MAX; n++)
        step(&l);
    assert_null(l.work); /* no other copy was needed */
    assert_in_range(cut_at(&l), cut, begun);
    leader_close(&l);
    arena_free(&a);
}

static void never(struct replica_look *look, struct meta *view)
{
    (void)look, (void)view;
    fail();
}

/* A look needs the newest rows in RocksDB, and a write that fails is the end of the service. */
static void a_look_that_cannot_be_written_for_is_a_fault(void **state)
{
    struct leader l;
    struct arena a = {0};
    char state_path[96], *message = NULL;
    struct replica_look look = {.run = never};
    (void)state;
    leader_open(&l);
    serve(&l);
    struct meta *m = replica_meta(l.replica);
    assert_int_equal(meta_flush(m, true), ERR_OK);
    rocksdb_t *db = m->db;
    snprintf(state_path, sizeof state_path, "%s/meta-1", l.path);
    m->db = rocksdb_open_for_read_only(m->options, state_path, 0, &message); /* refuses all writes */
    assert_null(message);
    command(&l, &a);
    l.may_fail = true;
    assert_int_equal(replica_look(l.replica, &look), ERR_IO);
    assert_true(l.has_failed);
    assert_int_equal(replica_look(l.replica, &look), ERR_SHUTDOWN);
    rocksdb_close(m->db);
    m->db = db;
    leader_close(&l);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_kept_for_a_copy_in_the_making),
        cmocka_unit_test(a_look_that_cannot_be_written_for_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
