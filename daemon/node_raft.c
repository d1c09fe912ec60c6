/* The driver: one event into raft, its update carried out in the order that raft.h asks for. */
#include <string.h>

#define LOG_MODULE "node"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "daemon/node.h"

static enum err storage_read(void *context, uint64_t from, unsigned max_count, size_t max_bytes,
                             struct raft_entry *ret_entries, unsigned *ret_count)
{
    struct node *n = context;
    return raftlog_read(n->raftlog, from, max_count, max_bytes, &n->read_buffer, ret_entries, ret_count);
}

static enum err storage_term(void *context, uint64_t index, uint64_t *ret_term)
{
    struct node *n = context;
    return raftlog_term(n->raftlog, index, ret_term);
}

static void note_role(struct node *n)
{
    struct raft_status status;
    raft_status(n->raft, &status);
    bool was_leader = n->role == RAFT_LEADER, same_term = n->term == status.term;
    if (status.role != n->role || status.leader != n->leader || !same_term)
        log_info("term %llu: %s, leader %u", (unsigned long long)status.term, raft_role_name(status.role),
                 status.leader);
    n->role = status.role, n->term = status.term, n->leader = status.leader;
    if (was_leader && (n->role != RAFT_LEADER || !same_term))
        n->leader_ready = false;
    node_role_changed(n);
}

static void carry_out(struct node *n, const struct raft_update *u)
{
    bool persist = u->truncate || u->hard_state_changed || u->entry_count > 0;
    /* The log thread takes a moment to wake: it gets its work first, then the messages go out meanwhile. */
    if (persist && !n->fault.text[0])
        n->persist_pushed = log_thread_push(n->log_thread, u);
    if (u->role_changed)
        note_role(n);
    for (unsigned i = 0; i < u->message_count; i++)
        node_send(n, &u->messages[i], u->messages[i].after_persist && n->persist_done < n->persist_pushed);
    node_reads_released(n, u->reads, u->read_count);
    n->deadline_ns = u->deadline_ns;
}

static void on_timer(uv_timer_t *timer);

/* Deadlines mostly move into the future (each heartbeat moves a follower's): the timer is left to fire early then, and
 * set anew from there, instead of at every event. */
static void arm_timer(struct node *n)
{
    if (n->crashed || n->fault.text[0] || (n->timer_ns > 0 && n->timer_ns <= n->deadline_ns))
        return;
    int64_t wait_ns = n->deadline_ns - clock_boot_ns();
    uint64_t wait_ms = wait_ns <= 0 ? 0 : MIN((uint64_t)(wait_ns / NS_PER_MS) + 1, 60 * 1000u);
    uv_update_time(n->loop);
    uv_timer_start(&n->timer, on_timer, wait_ms, 0);
    n->timer_ns = n->deadline_ns;
}

static void on_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    n->timer_ns = 0;
    if (n->crashed || n->fault.text[0])
        return;
    struct raft_event tick = {.type = RAFT_EVENT_TICK};
    (void)!node_step(n, &tick);
}

/* Applies what became committed until there is no more, or until others should have the loop for a while. */
static void apply_committed(struct node *n, struct raft_update *u)
{
    int64_t until_ns = clock_boot_ns() + NODE_APPLY_SLICE_NS;
    while (u->committed_count > 0 && !n->fault.text[0]) {
        unsigned done = node_apply(n, u->committed, u->committed_count, until_ns);
        if (n->fault.text[0])
            return;
        struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .now_ns = clock_boot_ns()};
        applied.applied.index = meta_applied_index(n->meta);
        if (done < u->committed_count) {
            node_backlog_keep(n, u->committed + done, u->committed_count - done);
            node_wake(n);
            return;
        }
        if (applied.now_ns > until_ns) {
            n->applied_to_report = applied.applied.index;
            node_wake(n);
            return;
        }
        raft_step(n->raft, &applied, u);
        carry_out(n, u);
    }
}

/* The next slice of what apply_committed had to leave. */
static void go_on_applying(struct node *n)
{
    if (n->backlog.at < n->backlog.count) {
        if (!node_backlog_apply(n, clock_boot_ns() + NODE_APPLY_SLICE_NS)) {
            node_wake(n);
            return;
        }
        n->applied_to_report = meta_applied_index(n->meta);
    }
    if (n->applied_to_report > 0 && !n->fault.text[0]) {
        struct raft_event applied = {.type = RAFT_EVENT_APPLIED};
        applied.applied.index = n->applied_to_report;
        n->applied_to_report = 0;
        (void)!node_step(n, &applied);
    }
}

enum err node_step(struct node *n, struct raft_event *event)
{
    CHECK(!n->stepping);
    n->stepping = true;
    struct raft_update u;
    event->now_ns = clock_boot_ns();
    raft_step(n->raft, event, &u);
    enum err status = u.status;
    if (event->type == RAFT_EVENT_PROPOSE)
        node_proposals_given(n, &u, event->propose.count);
    carry_out(n, &u);
    apply_committed(n, &u);
    n->stepping = false;
    arm_timer(n);
    if (n->role == RAFT_LEADER && !n->leader_ready && n->ready_term == n->term && !n->fault.text[0])
        node_leader_becomes_ready(n);
    if (n->leader_wait_count > 0)
        node_leader_waits_check(n);
    return status;
}

static void on_persisted(void *context, const struct log_thread_result *r)
{
    struct node *n = context;
    if (n->fault.text[0])
        return;
    if (r->error != ERR_OK) {
        node_fail(n, "the log can't be written: %s", err_message(r->error));
        return;
    }
    if (r->sequence > n->persist_done) {
        n->persist_done = r->sequence;
        node_messages_persisted(n);
        struct raft_event persisted = {.type = RAFT_EVENT_PERSISTED};
        persisted.persisted.index = r->index, persisted.persisted.term = r->term;
        persisted.persisted.hard = r->hard;
        (void)!node_step(n, &persisted);
    }
    if (r->compacted && r->compacted_index > n->compacted_index && !n->fault.text[0]) {
        log_info("log compacted up to %llu", (unsigned long long)r->compacted_index);
        n->compacted_index = r->compacted_index;
        struct raft_event compacted = {.type = RAFT_EVENT_COMPACTED};
        compacted.compacted.index = r->compacted_index;
        (void)!node_step(n, &compacted);
    }
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active is what keeps the loop from waiting */
}

/* Runs once per turn of the loop, after all that there was to read has been read. */
static void on_check(uv_check_t *check)
{
    struct node *n = check->data;
    if (!uv_is_active((uv_handle_t *)&n->idle))
        return;
    uv_idle_stop(&n->idle);
    if (!n->fault.text[0])
        go_on_applying(n);
    node_flush_proposals(n);
}

void node_wake(struct node *n)
{
    uv_idle_start(&n->idle, on_idle);
}

/* What the log and the state say of each other. */
static enum err check_restart(const struct node *n, const struct raft_restart *restart, struct err_text *why)
{
    uint64_t applied = restart->applied_index;
    /* A node that knows its cluster has applied at least the first entry. */
    if (restart->last_index == 0 && datadir_cluster_id(n->dir))
        return err_explain(why, ERR_CORRUPT,
                           "%.150s/log is empty, but this node had one: its entries and votes are lost",
                           n->config.data);
    if (applied < restart->compacted_index)
        return err_explain(
            why, ERR_CORRUPT,
            "%.120s/meta has applied up to entry %llu, but %.60s/log begins behind %llu: entries in between are lost",
            n->config.data, (unsigned long long)applied, n->config.data, (unsigned long long)restart->compacted_index);
    if (restart->last_index < applied)
        return err_explain(
            why, ERR_CORRUPT,
            "%.120s/log ends at entry %llu, but %.60s/meta has applied up to %llu: the log has lost entries",
            n->config.data, (unsigned long long)restart->last_index, n->config.data, (unsigned long long)applied);
    return ERR_OK;
}

static enum err open_storage(struct node *n, struct raft_restart *restart, struct err_text *why)
{
    char path[PATH_MAX];
    datadir_path(n->dir, "meta", path);
    struct meta_options meta_options = {.path = path};
    TRY(meta_open(&meta_options, &n->meta, why));
    char log_path[PATH_MAX];
    datadir_path(n->dir, "log", log_path);
    struct raftlog_options log_options = {.files = file_table_system(), .path = log_path};
    memcpy(log_options.identity, datadir_uuid(n->dir), sizeof log_options.identity);
    TRY(raftlog_open(&log_options, &n->raftlog, restart, why));
    restart->applied_index = meta_applied_index(n->meta);
    return check_restart(n, restart, why);
}

static void raft_options_of(const struct node *n, struct raft_options *ret)
{
    *ret = (struct raft_options){.id = n->config.id,
                                 .election = n->config.election,
                                 .reads = n->config.reads,
                                 .election_timeout_ns = NODE_ELECTION_TIMEOUT_NS,
                                 .heartbeat_ns = NODE_HEARTBEAT_NS,
                                 .lease_drift_ns = NODE_LEASE_DRIFT_NS,
                                 .cache_bytes = NODE_RAFT_CACHE_BYTES};
    random_bytes(&ret->seed, sizeof ret->seed);
    for (unsigned i = 0; i < n->config.peer_count; i++)
        ret->config.voters[ret->config.voter_count++] = n->config.peers[i].id;
}

enum err node_raft_open(struct node *n, struct err_text *why)
{
    struct raft_restart restart;
    TRY(open_storage(n, &restart, why));
    struct raft_options options;
    raft_options_of(n, &options);
    struct raft_storage storage = {.context = n, .read = storage_read, .term = storage_term};
    int64_t now_ns = clock_boot_ns();
    TRY(raft_open(&options, &restart, &storage, now_ns, &n->raft, why));
    log_info("log entries %llu to %llu, applied %llu, term %llu", (unsigned long long)restart.compacted_index + 1,
             (unsigned long long)restart.last_index, (unsigned long long)restart.applied_index,
             (unsigned long long)restart.hard.term);
    n->compacted_index = restart.compacted_index;
    n->term = restart.hard.term;
    n->role = RAFT_FOLLOWER;
    n->log_thread = log_thread_new(n->loop, n->raftlog, restart.hard, on_persisted, n);
    uv_timer_init(n->loop, &n->timer);
    uv_idle_init(n->loop, &n->idle);
    uv_check_init(n->loop, &n->check);
    n->timer.data = n->idle.data = n->check.data = n;
    uv_check_start(&n->check, on_check);
    /* The first tick, when the loop runs, tells the first deadline. */
    n->deadline_ns = now_ns;
    arm_timer(n);
    return ERR_OK;
}

/* Everything queued for the log is written before it returns. */
void node_raft_close(struct node *n)
{
    if (n->log_thread) {
        log_thread_free(n->log_thread);
        uv_close((uv_handle_t *)&n->timer, NULL);
        uv_close((uv_handle_t *)&n->idle, NULL);
        uv_close((uv_handle_t *)&n->check, NULL);
        n->log_thread = NULL;
    }
    node_drop_held_messages(n);
    raft_close(n->raft);
    n->raft = NULL;
    raftlog_close(n->raftlog);
    n->raftlog = NULL;
    meta_close(n->meta);
    n->meta = NULL;
    bytes_free(&n->read_buffer);
    arena_free(&n->send_arena);
    arena_free(&n->apply_arena);
    arena_free(&n->backlog.arena);
}
