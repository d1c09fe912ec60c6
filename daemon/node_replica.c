/* What the metastore member is given: time, disk, threads, and its messages. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_MODULE "node"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "daemon/node.h"

static int64_t boot_ns(void *context)
{
    (void)context;
    return clock_boot_ns();
}

static int64_t wall_ns(void *context)
{
    (void)context;
    return clock_wall_ns();
}

static void fill_random(void *context, void *to, size_t size)
{
    (void)context;
    random_bytes(to, size);
}

/* ---- disk ---- */

static bool persist(void *context, uint64_t number, const struct raft_update *u)
{
    struct node *n = context;
    bool here;
    CHECK(log_thread_push(n->log_thread, u, &here) == number);
    return here;
}

static void compact(void *context, uint64_t index)
{
    struct node *n = context;
    log_thread_compact(n->log_thread, index);
}

static void on_log(void *context, const struct log_thread_result *result)
{
    struct node *n = context;
    struct replica_log_result r = {.number = result->sequence,
                                   .index = result->index,
                                   .term = result->term,
                                   .hard = result->hard,
                                   .error = result->error};
    replica_persisted(n->replica, &r);
    if (result->compacted)
        replica_compacted(n->replica, result->compacted_index);
}

/* ---- worker threads ---- */

struct worker {
    uv_work_t request;
    struct node *node;
    struct replica_work *work;
};

static void on_work(uv_work_t *request)
{
    struct worker *w = request->data;
    w->work->run(w->work);
}

static void on_work_done(uv_work_t *request, int cancelled)
{
    struct worker *w = request->data;
    CHECK(cancelled == 0);
    w->node->work_count--;
    w->work->done(w->work);
    free(w);
}

static void work(void *context, struct replica_work *work)
{
    struct node *n = context;
    struct worker *w = MEM_NEW(struct worker);
    w->request.data = w;
    w->node = n;
    w->work = work;
    n->work_count++;
    CHECK(uv_queue_work(n->loop, &w->request, on_work, on_work_done) == 0);
}

bool node_has_state(const struct node *n)
{
    return n->replica && !replica_is_removed(n->replica);
}

/* ---- turns and time ---- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active is what keeps the loop from waiting */
}

static void wake(void *context)
{
    struct node *n = context;
    uv_idle_start(&n->idle, on_idle);
}

static void on_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    n->timer_ns = 0;
    replica_tick(n->replica);
    node_replica_arm(n);
}

/* Deadlines mostly move into the future (each heartbeat moves a follower's): the timer is left to fire early then, and
 * set anew from there, instead of at every event. */
void node_replica_arm(struct node *n)
{
    int64_t deadline_ns = n->replica ? replica_deadline_ns(n->replica) : INT64_MAX;
    if (deadline_ns == INT64_MAX || !n->log_thread || (n->timer_ns > 0 && n->timer_ns <= deadline_ns))
        return;
    int64_t wait_ns = deadline_ns - clock_boot_ns();
    uint64_t wait_ms = wait_ns <= 0 ? 0 : MIN((uint64_t)(wait_ns / NS_PER_MS) + 1, 60 * 1000u);
    uv_update_time(n->loop);
    uv_timer_start(&n->timer, on_timer, wait_ms, 0);
    n->timer_ns = deadline_ns;
}

/* Runs once per turn of the loop, before it waits. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct node *n = prepare->data;
    log_thread_turn(n->log_thread);
}

/* Runs once per turn of the loop, after all that there was to read has been read. What another member waits for goes
 * before what is to be applied and to be proposed. */
static void on_check(uv_check_t *check)
{
    struct node *n = check->data;
    log_thread_turn(n->log_thread);
    if (uv_is_active((uv_handle_t *)&n->idle)) {
        uv_idle_stop(&n->idle);
        replica_turn(n->replica);
    }
    service_notices_turn(n);
    service_changes_turn(n);
    node_replica_arm(n);
}

/* ---- what it tells ---- */

static void role_changed(void *context)
{
    struct node *n = context;
    struct replica_status status;
    replica_status(n->replica, &status);
    bool other_role = n->role != status.raft.role;
    n->role = status.raft.role, n->leader = status.raft.leader;
    if (other_role)
        node_trace_role(n, status.raft.term);
    if (!status.leader_ready) {
        n->leader_ready = false;
        block_registry_clear(&n->registry);
    }
    node_leader_waits_check(n);
    block_reporter_now(n);
}

static void leader_ready(void *context)
{
    struct node *n = context;
    n->leader_ready = true;
    node_registry_load(n);
    node_leader_waits_check(n);
    block_reporter_now(n);
}

static void config_changed(void *context, const struct raft_config *config)
{
    struct node *n = context;
    struct err_text why;
    node_members_set(n, config);
    if (!datadir_is_configured(n->dir) && datadir_configured(n->dir, &why) != ERR_OK)
        replica_fail(n->replica, "%s", why.text);
}

static void applied(void *context, const struct meta_command *c, const struct meta_reply *reply)
{
    struct node *n = context;
    if (n->leader_ready && c->op == META_BLOCK_SERVER && reply->status == ERR_OK)
        block_registry_changed(&n->registry, &c->block_server);
    lock_parks_applied(n);
    service_changes_due(n);
}

static void noticed(void *context, uint64_t session)
{
    service_noticed(context, session);
}

static enum err learn_cluster_id(void *context, const uint8_t id[16], struct err_text *why)
{
    struct node *n = context;
    if (datadir_cluster_id(n->dir) && memcmp(datadir_cluster_id(n->dir), id, 16) == 0)
        return ERR_OK;
    TRY(datadir_set_cluster_id(n->dir, id, why));
    log_info("cluster id %08x%08x%08x%08x", get_u32be(id), get_u32be(id + 4), get_u32be(id + 8), get_u32be(id + 12));
    node_update_hello(n);
    return ERR_OK;
}

/* ---- open and close ---- */

static void first_members(const struct node *n, struct raft_config *ret)
{
    *ret = (struct raft_config){.count = 0};
    if (n->config.join || datadir_rejoin(n->dir) != DATADIR_REJOIN_NONE)
        return;
    for (unsigned i = 0; i < n->config.peer_count; i++) {
        struct raft_member *m = &ret->members[ret->count++];
        m->id = n->config.peers[i].id;
        m->voter = true;
        memcpy(m->address, n->config.peers[i].address.text, sizeof m->address);
    }
}

/* What a durability log holds is told to new leaders also when no more is taken. */
static enum replica_durability durability_of(const struct node *n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/" REPLICA_DURABILITY_NAME, PATH_MAX - 16, n->config.data);
    if (n->config.durability_log)
        return REPLICA_DURABILITY_ON;
    return access(path, F_OK) == 0 ? REPLICA_DURABILITY_HELD : REPLICA_DURABILITY_NONE;
}

static void replica_options_of(const struct node *n, struct replica_options *ret)
{
    *ret = (struct replica_options){
        .id = n->config.id,
        .data = n->config.data,
        .files = file_table_system(),
        .durability = durability_of(n),
        .known_cluster =
            datadir_cluster_id(n->dir) && datadir_is_complete(n->dir) && datadir_rejoin(n->dir) == DATADIR_REJOIN_NONE,
        .election = n->config.election,
        .reads = n->config.reads,
        .election_timeout_ns = NODE_ELECTION_TIMEOUT_NS,
        .heartbeat_ns = NODE_HEARTBEAT_NS,
        .lease_drift_ns = NODE_LEASE_DRIFT_NS,
        .session_timeout_ns = (int64_t)n->config.session_timeout_s * NS_PER_S,
        .collect_interval_ns = (int64_t)n->config.collect_interval_s * NS_PER_S,
        .log_bytes = (uint64_t)n->config.log_size_mib * MIB,
        .log_entries = n->config.log_entries,
        .log_keep_entries = MIN(NODE_LOG_KEEP_ENTRIES, n->config.log_entries / 2),
        .segment_bytes = MIN(MAX((uint64_t)n->config.log_size_mib * MIB / NODE_LOG_SEGMENTS, NODE_SEGMENT_MIN_BYTES),
                             NODE_SEGMENT_MAX_BYTES),
        .raft_cache_bytes = NODE_RAFT_CACHE_BYTES,
        .level_max = NODE_LEVEL_MAX,
        .apply_slice_ns = NODE_APPLY_SLICE_NS,
    };
    memcpy(ret->identity, datadir_uuid(n->dir), sizeof ret->identity);
    first_members(n, &ret->bootstrap);
}

/* Whoever adds a node to --peers alone may expect it to be a member. */
static void compare_peers(const struct node *n)
{
    const struct raft_config *members = replica_config(n->replica);
    if (n->config.join || !datadir_cluster_id(n->dir) || members->count == 0)
        return;
    for (unsigned i = 0; i < n->config.peer_count; i++) {
        bool found = false;
        for (unsigned k = 0; k < members->count && !found; k++)
            found = members->members[k].id == n->config.peers[i].id;
        if (!found)
            log_warn("peers names node %u, which is no member of the metastore: its members have been in its log since "
                     "the first start, and surfctl members changes them",
                     n->config.peers[i].id);
    }
}

enum err node_replica_open(struct node *n, struct err_text *why)
{
    struct replica_options options;
    struct replica_env env = {.context = n,
                              .boot_ns = boot_ns,
                              .wall_ns = wall_ns,
                              .random = fill_random,
                              .send = node_send,
                              .persist = persist,
                              .compact = compact,
                              .work = work,
                              .wake = wake,
                              .role_changed = role_changed,
                              .leader_ready = leader_ready,
                              .config_changed = config_changed,
                              .applied = applied,
                              .noticed = noticed,
                              .cluster_id = learn_cluster_id,
                              .fault = node_fault};
    replica_options_of(n, &options);
    TRY(replica_open(&options, &env, &n->replica, why));
    if (options.durability != REPLICA_DURABILITY_NONE)
        TRY(datadir_has_durability(n->dir, why));
    compare_peers(n);
    struct raftlog_bounds bounds;
    raftlog_bounds(replica_log(n->replica), &bounds);
    n->role = RAFT_FOLLOWER;
    n->log_thread = log_thread_new(n->loop, replica_log(n->replica), bounds.hard, on_log, n);
    uv_timer_init(n->loop, &n->timer);
    uv_idle_init(n->loop, &n->idle);
    uv_check_init(n->loop, &n->check);
    uv_prepare_init(n->loop, &n->prepare);
    n->timer.data = n->idle.data = n->check.data = n->prepare.data = n;
    uv_check_start(&n->check, on_check);
    uv_prepare_start(&n->prepare, on_prepare);
    node_replica_arm(n);
    return ERR_OK;
}

/* Everything queued for the log is written before it returns. */
void node_replica_stop(struct node *n)
{
    if (!n->replica)
        return;
    replica_stop(n->replica);
    log_thread_free(n->log_thread);
    n->log_thread = NULL;
    uv_close((uv_handle_t *)&n->timer, NULL);
    uv_close((uv_handle_t *)&n->idle, NULL);
    uv_close((uv_handle_t *)&n->check, NULL);
    uv_close((uv_handle_t *)&n->prepare, NULL);
}

void node_replica_close(struct node *n)
{
    CHECK(n->work_count == 0);
    replica_close(n->replica, true);
    n->replica = NULL;
    arena_free(&n->send_arena);
}
