/* One event into raft, its update carried out in the order that raft.h asks for. */
#include <string.h>

#define LOG_MODULE "replica"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

/* A message that waits for the disk. Such messages carry no entries. */
struct held_message {
    struct list_node link;
    uint64_t number; /* to be sent when this is durable */
    struct raft_message message;
};

static enum err storage_read(void *context, uint64_t from, unsigned max_count, size_t max_bytes,
                             struct raft_entry *ret_entries, unsigned *ret_count)
{
    struct replica *r = context;
    enum err e = raftlog_read(r->log, from, max_count, max_bytes, &r->read_buffer, ret_entries, ret_count);
    if (e == ERR_CORRUPT || e == ERR_IO)
        replica_fail(r, "entry %llu of the log can't be read (%s); if its disk is in order again: surfd --rebuild",
                     (unsigned long long)from, err_message(e));
    return e;
}

static enum err storage_term(void *context, uint64_t index, uint64_t *ret_term)
{
    struct replica *r = context;
    return raftlog_term(r->log, index, ret_term);
}

enum err driver_open(struct replica *r, const struct raft_restart *restart, struct err_text *why)
{
    const struct replica_options *o = &r->options;
    struct raft_options options = {.id = o->id,
                                   .election = o->election,
                                   .reads = o->reads,
                                   .election_timeout_ns = o->election_timeout_ns,
                                   .heartbeat_ns = o->heartbeat_ns,
                                   .lease_drift_ns = o->lease_drift_ns,
                                   .cache_bytes = o->raft_cache_bytes};
    memcpy(options.identity, o->identity, sizeof options.identity);
    r->env.random(r->env.context, &options.seed, sizeof options.seed);
    struct raft_storage storage = {.context = r, .read = storage_read, .term = storage_term};
    int64_t now_ns = replica_now_ns(r);
    TRY(raft_open(&options, restart, &storage, now_ns, &r->raft, why));
    log_info("log entries %llu to %llu, applied %llu, term %llu", (unsigned long long)restart->compacted_index + 1,
             (unsigned long long)restart->last_index, (unsigned long long)restart->applied_index,
             (unsigned long long)restart->hard.term);
    r->compacted_index = r->compact_asked = restart->compacted_index;
    r->term = restart->hard.term;
    r->role = RAFT_FOLLOWER;
    r->raft_deadline_ns = now_ns; /* the first tick tells the first deadline */
    return ERR_OK;
}

void driver_close(struct replica *r)
{
    driver_drop_held_messages(r);
    raft_close(r->raft);
    r->raft = NULL;
    bytes_free(&r->read_buffer);
    arena_free(&r->apply_arena);
    arena_free(&r->backlog.arena);
}

/* ---- messages ---- */

void driver_send(struct replica *r, struct replica_message *m)
{
    if (!replica_in_service(r))
        return;
    m->from = r->options.id;
    m->level_max = r->options.level_max;
    r->env.send(r->env.context, m);
}

static void send_raft(struct replica *r, const struct raft_message *raft)
{
    struct replica_message m = {.type = REPLICA_RAFT, .to = raft->to, .raft = *raft};
    divergence_tell(r, &m);
    m.durable = r->durable.log != NULL;
    driver_send(r, &m);
}

static void send_or_hold(struct replica *r, const struct raft_message *raft)
{
    if (!raft->after_persist || r->persist_done >= r->persist_given) {
        send_raft(r, raft);
        return;
    }
    CHECK(raft->entry_count == 0);
    struct held_message *held = MEM_NEW(struct held_message);
    held->number = r->persist_given;
    held->message = *raft;
    list_push_back(&r->held_messages, &held->link);
}

static void send_persisted(struct replica *r)
{
    while (!list_empty(&r->held_messages)) {
        struct held_message *held = container_of(list_first(&r->held_messages), struct held_message, link);
        if (held->number > r->persist_done)
            return;
        list_remove(&held->link);
        send_raft(r, &held->message);
        free(held);
    }
}

void driver_drop_held_messages(struct replica *r)
{
    for (struct list_node *node; (node = list_pop_front(&r->held_messages));)
        free(container_of(node, struct held_message, link));
}

/* ---- the update ---- */

static void note_role(struct replica *r)
{
    struct raft_status status;
    raft_status(r->raft, &status);
    bool was_leader = r->role == RAFT_LEADER, same_term = r->term == status.term;
    if (status.role != r->role || status.leader != r->leader || !same_term)
        log_info("term %llu: %s, leader %u", (unsigned long long)status.term, raft_role_name(status.role),
                 status.leader);
    r->role = status.role, r->term = status.term, r->leader = status.leader;
    if (was_leader && (r->role != RAFT_LEADER || !same_term))
        r->leader_ready = false;
    duties_role_changed(r);
    gather_role_changed(r);
    r->env.role_changed(r->env.context);
}

/* True: there is something to persist that this thread turns to when it has nothing more to do here. */
static bool carry_out(struct replica *r, const struct raft_update *u)
{
    bool persist = u->reset || u->truncate || u->hard_state_changed || u->entry_count > 0, waits = false;
    /* The disk's thread takes a moment to wake: it gets its work first, then the messages go out meanwhile. */
    if (persist && !r->fault.text[0])
        waits = r->env.persist(r->env.context, ++r->persist_given, u);
    if (u->config_changed && raft_config_find(raft_config(r->raft), r->options.id))
        r->removed_at = 0;
    if (u->config_changed)
        r->env.config_changed(r->env.context, raft_config(r->raft));
    if (u->role_changed)
        note_role(r);
    for (unsigned i = 0; i < u->message_count; i++)
        send_or_hold(r, &u->messages[i]);
    reads_released(r, u->reads, u->read_count);
    r->raft_deadline_ns = u->deadline_ns;
    return waits;
}

static void keep_committed(struct replica *r, const struct raft_entry *entries, unsigned count)
{
    apply_keep(r, entries, count);
    r->env.wake(r->env.context);
}

/* Applies what became committed until there is no more, or until others should have the loop for a while. */
static void apply_committed(struct replica *r, struct raft_update *u)
{
    int64_t until_ns = replica_now_ns(r) + r->options.apply_slice_ns;
    while (u->committed_count > 0 && !r->fault.text[0]) {
        unsigned done = apply_entries(r, u->committed, u->committed_count, until_ns);
        if (r->fault.text[0])
            return;
        struct raft_event applied = {.type = RAFT_EVENT_APPLIED, .now_ns = replica_now_ns(r)};
        applied.applied.index = meta_applied_index(r->meta);
        if (done < u->committed_count) {
            keep_committed(r, u->committed + done, u->committed_count - done);
            return;
        }
        if (applied.now_ns > until_ns) {
            r->applied_to_report = applied.applied.index;
            r->env.wake(r->env.context);
            return;
        }
        raft_step(r->raft, &applied, u);
        (void)carry_out(r, u);
    }
}

/* The next slice of what apply_committed had to leave. */
static void go_on_applying(struct replica *r)
{
    if (r->backlog.at < r->backlog.count) {
        if (!apply_kept(r, replica_now_ns(r) + r->options.apply_slice_ns)) {
            r->env.wake(r->env.context);
            return;
        }
        r->applied_to_report = meta_applied_index(r->meta);
    }
    if (r->applied_to_report > 0 && !r->fault.text[0]) {
        struct raft_event applied = {.type = RAFT_EVENT_APPLIED};
        applied.applied.index = r->applied_to_report;
        r->applied_to_report = 0;
        (void)!driver_step(r, &applied);
    }
}

void driver_turn(struct replica *r)
{
    if (!r->fault.text[0])
        go_on_applying(r);
    if (replica_in_service(r))
        propose_flush(r);
}

enum err driver_step(struct replica *r, struct raft_event *event)
{
    CHECK(!r->stepping);
    r->stepping = true;
    struct raft_update u;
    event->now_ns = replica_now_ns(r);
    raft_step(r->raft, event, &u);
    enum err status = u.status;
    if (event->type == RAFT_EVENT_PROPOSE)
        propose_given(r, &u, event->propose.count);
    if (carry_out(r, &u) && u.committed_count > 0)
        keep_committed(r, u.committed, u.committed_count);
    else
        apply_committed(r, &u);
    r->stepping = false;
    if (r->role == RAFT_LEADER && !r->leader_ready && r->ready_term == r->term && !r->fault.text[0])
        duties_leader_ready(r);
    return status;
}

void replica_persisted(struct replica *r, const struct replica_log_result *result)
{
    if (r->fault.text[0])
        return;
    if (result->error != ERR_OK) {
        replica_fail(r, "the log can't be written: %s", err_message(result->error));
        return;
    }
    if (result->number <= r->persist_done)
        return;
    r->persist_done = result->number;
    send_persisted(r);
    struct raft_event persisted = {.type = RAFT_EVENT_PERSISTED};
    persisted.persisted.index = result->index, persisted.persisted.term = result->term;
    persisted.persisted.hard = result->hard;
    (void)!driver_step(r, &persisted);
    gather_persisted(r);
    snapshot_persisted(r);
}

void replica_compacted(struct replica *r, uint64_t index)
{
    if (index <= r->compacted_index || r->fault.text[0])
        return;
    log_info("log compacted up to %llu", (unsigned long long)index);
    r->compacted_index = index;
    struct raft_event compacted = {.type = RAFT_EVENT_COMPACTED};
    compacted.compacted.index = index;
    (void)!driver_step(r, &compacted);
}

static void receive_raft(struct replica *r, const struct replica_message *m)
{
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &m->raft};
    divergence_told(r, m);
    level_told(r, m);
    struct peer_state *peer = replica_peer(r, m->from);
    if (peer && m->durable)
        peer->durable = true;
    if (replica_in_service(r) && !pending_holds_ask(r, &m->raft))
        (void)!driver_step(r, &event);
}

void replica_receive(struct replica *r, const struct replica_message *m, const uint8_t identity[16])
{
    if (!replica_in_service(r) || m->to != r->options.id || m->from == r->options.id || !members_admit(r, m, identity))
        return;
    switch (m->type) {
    case REPLICA_RAFT:
        receive_raft(r, m);
        break;
    case REPLICA_OFFER:
    case REPLICA_FETCH:
    case REPLICA_CHUNK:
        snapshot_receive(r, m);
        break;
    case REPLICA_DIVERGED:
        divergence_accused(r, m);
        break;
    case REPLICA_REMOVED:
        members_removed(r, m);
        break;
    case REPLICA_GATHER:
    case REPLICA_GATHERED:
    case REPLICA_SETTLED:
        gather_receive(r, m);
        break;
    }
}
