/* raft.c: opening, one step from its event to its update, status. */
#include "raft/core.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return (unsigned)role < ARRAY_SIZE(names) ? names[role] : "unknown";
}

bool core_is_auto(const struct raft *r)
{
    return r->options.election == RAFT_ELECTION_AUTO;
}

static enum err check_options(const struct raft_options *o, struct err_text *why)
{
    if (o->id == 0)
        return err_explain(why, ERR_CONFIG, "member id 0");
    if (o->heartbeat_ns <= 0 || o->heartbeat_ns > o->election_timeout_ns / 3)
        return err_explain(why, ERR_CONFIG,
                           "heartbeat of %lld ns: must be at most a third of the election time-out, %lld ns",
                           (long long)o->heartbeat_ns, (long long)o->election_timeout_ns);
    if (o->lease_drift_ns < 0 || o->lease_drift_ns >= o->election_timeout_ns)
        return err_explain(why, ERR_CONFIG, "lease drift margin of %lld ns", (long long)o->lease_drift_ns);
    return ERR_OK;
}

enum err raft_open(const struct raft_options *options, const struct raft_restart *restart,
                   const struct raft_storage *storage, int64_t now_ns, struct raft **ret, struct err_text *why)
{
    TRY(check_options(options, why));
    struct raft *r = MEM_NEW(struct raft);
    enum err e = raft_log_open(&r->log, restart, storage, options->cache_bytes, why);
    if (e != ERR_OK) {
        free(r);
        return e;
    }
    r->options = *options;
    prng_seed(&r->prng, options->seed);
    r->now_ns = now_ns;
    r->hard = r->hard_given = r->hard_durable = restart->hard;
    r->committed = r->applying = restart->applied_index;
    r->leader_heard_ns = INT64_MIN;
    core_config_start(r, restart->config_index, &restart->config);
    e = core_config_scan(r);
    if (e != ERR_OK) {
        raft_close(r);
        return err_explain(why, e, "the log can't be read: %s", err_message(e));
    }
    /* A lease that rests on an acknowledgement from before the restart lasts for less than one minimum election
     * time-out after it; until then no vote may help to elect another leader. Who is the only voter has granted none,
     * unless the configuration that made it so may not be committed: a leader that removes itself leads until then. */
    bool alone = core_is_alone(r) && r->config_count == 1;
    r->no_vote_until_ns =
        restart->fresh || !core_is_auto(r) || alone ? INT64_MIN : now_ns + options->election_timeout_ns;
    core_reset_election(r);
    if (alone)
        r->election_deadline_ns = now_ns;
    r->told_role = r->role;
    r->told_term = r->hard.term;
    *ret = r;
    return ERR_OK;
}

void raft_close(struct raft *r)
{
    if (!r)
        return;
    raft_log_close(&r->log);
    arena_free(&r->arena);
    free(r->messages);
    free(r->results);
    free(r->reads);
    free(r->forwards);
    free(r->configs);
    free(r);
}

struct core_peer *core_find_peer(struct raft *r, uint32_t id)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].id == id)
            return &r->peers[i];
    return NULL;
}

struct raft_message *core_message(struct raft *r, enum raft_message_type type, uint32_t to)
{
    CHECK(r->message_count < CORE_MESSAGES_MAX);
    if (r->message_count == r->message_capacity) {
        r->message_capacity = MAX(2 * r->message_capacity, 16u);
        r->messages = mem_realloc(r->messages, r->message_capacity * sizeof *r->messages);
    }
    struct raft_message *m = &r->messages[r->message_count++];
    *m = (struct raft_message){.type = type, .from = r->options.id, .to = to, .term = r->hard.term};
    return m;
}

/* ---- events ---- */

static bool is_heard(const struct raft *r, const struct core_peer *p)
{
    return r->now_ns - p->heard_ns <= 2 * r->options.election_timeout_ns;
}

static void on_tick(struct raft *r)
{
    core_expire_forwards(r);
    if (r->role == RAFT_LEADER && r->transfer_to != 0 && r->now_ns >= r->transfer_deadline_ns)
        r->transfer_to = 0;
    if (!core_is_auto(r))
        return;
    if (r->role != RAFT_LEADER) {
        if (r->now_ns >= r->election_deadline_ns)
            core_start_election(r);
        return;
    }
    if (r->now_ns >= r->quorum_check_ns) {
        /* Check-quorum, thesis 6.2: who hears no majority any more must not hold clients. */
        if (!core_has_quorum(r, true, is_heard)) {
            core_become_follower(r, r->hard.term, 0);
            return;
        }
        r->quorum_check_ns = r->now_ns + r->options.election_timeout_ns;
    }
    if (r->now_ns >= r->next_heartbeat_ns)
        core_heartbeat(r);
}

static void on_message(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
        core_on_prevote(r, m);
        return;
    case RAFT_MSG_VOTE:
        core_on_vote(r, m);
        return;
    case RAFT_MSG_APPEND:
        core_on_append(r, m);
        return;
    default:
        break;
    }
    /* Requests are answered whoever sends them, since our configuration may be an old one (thesis 4.2.2); what is said
     * in answer to ours counts from members only. */
    bool answer =
        m->type == RAFT_MSG_PREVOTE_REPLY || m->type == RAFT_MSG_VOTE_REPLY || m->type == RAFT_MSG_APPEND_REPLY;
    if (answer && !core_find_peer(r, m->from))
        return;
    /* A granted pre-vote's reply names the term that was asked for, which nobody is in yet. */
    bool hypothetical = m->type == RAFT_MSG_PREVOTE_REPLY && !m->reject;
    if (m->term > r->hard.term && !hypothetical) {
        core_become_follower(r, m->term, 0);
        return;
    }
    if (m->term < r->hard.term)
        return;
    if (m->type == RAFT_MSG_PREVOTE_REPLY)
        core_on_prevote_reply(r, m);
    else if (m->type == RAFT_MSG_VOTE_REPLY)
        core_on_vote_reply(r, m);
    else if (m->type == RAFT_MSG_APPEND_REPLY)
        core_on_append_reply(r, m);
    else if (m->type == RAFT_MSG_TIMEOUT_NOW && core_may_campaign(r) && r->role != RAFT_LEADER)
        core_campaign(r, true);
    else if (m->type == RAFT_MSG_READ)
        core_on_read(r, m);
    else if (m->type == RAFT_MSG_READ_REPLY)
        core_on_read_reply(r, m);
}

static enum err on_propose(struct raft *r, const struct raft_entry *entries, unsigned count, uint64_t *ret_index)
{
    if (r->role != RAFT_LEADER)
        return r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    if (r->transfer_to != 0 || r->log.open_bytes > LIMIT_RAFT_UNCOMMITTED_BYTES)
        return ERR_BUSY_NOW;
    for (unsigned i = 0; i < count; i++)
        if (entries[i].data.size > LIMIT_COMMAND_BYTES)
            return ERR_TOO_BIG;
    for (unsigned i = 0; i < count; i++)
        if (entries[i].type == RAFT_ENTRY_CONFIG)
            return ERR_INVAL; /* RAFT_EVENT_CHANGE is for these */
    *ret_index = r->log.last + 1;
    for (unsigned i = 0; i < count; i++)
        raft_log_append(&r->log, r->hard.term, entries[i].type, entries[i].data);
    core_feed_all(r);
    return ERR_OK;
}

static void on_persisted(struct raft *r, uint64_t index, uint64_t term, struct raft_hard_state hard)
{
    r->hard_durable = hard;
    uint64_t have;
    /* An entry may be cut off and come back while its first write is under way, which then tells nothing about the
     * second. A term's leader cuts a log once at most, so the term tells them apart. */
    if (hard.term < r->truncate_term)
        index = 0;
    if (index > r->log.persisted && index <= r->log.last && raft_log_term(&r->log, index, &have) == ERR_OK &&
        have == term)
        r->log.persisted = index;
    if (r->role == RAFT_CANDIDATE)
        core_count_votes(r);
    else if (r->role == RAFT_LEADER)
        core_advance_commit(r);
}

static enum err on_transfer(struct raft *r, uint32_t target)
{
    if (r->role != RAFT_LEADER)
        return r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    if (target == r->options.id)
        return ERR_OK;
    struct core_peer *p = core_find_peer(r, target);
    if (!p)
        return ERR_NO_NODE;
    if (!p->voter || (r->transfer_to != 0 && r->transfer_to != target))
        return ERR_NOT_POSSIBLE;
    r->transfer_to = target;
    r->lease_lost = true;
    r->transfer_deadline_ns = r->now_ns + r->options.election_timeout_ns;
    core_feed_peer(r, p);
    core_transfer(r);
    return ERR_OK;
}

static enum err on_campaign(struct raft *r)
{
    if (!core_may_campaign(r))
        return ERR_NOT_POSSIBLE;
    if (r->role == RAFT_LEADER)
        return ERR_OK;
    if (core_is_bound(r))
        return ERR_NOT_POSSIBLE;
    core_campaign(r, !core_is_auto(r));
    return ERR_OK;
}

static enum err on_heartbeat(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    core_heartbeat(r);
    return ERR_OK;
}

static void on_compacted(struct raft *r, uint64_t index)
{
    uint64_t term;
    if (index > r->log.compacted && index <= r->log.applied && raft_log_term(&r->log, index, &term) == ERR_OK)
        raft_log_compact(&r->log, index, term);
}

bool raft_wants_snapshot(const struct raft *r, uint64_t index, uint64_t term)
{
    uint64_t have;
    if (PLANTED(RAFT_INSTALL_OLDER_SNAPSHOT) && index > r->log.applied)
        return true;
    if (index <= r->committed)
        return false;
    return index > r->log.last || raft_log_term(&r->log, index, &have) != ERR_OK || have != term;
}

static void on_installed(struct raft *r, const struct raft_event *event)
{
    uint64_t index = event->installed.index, term = event->installed.term;
    CHECK(raft_wants_snapshot(r, index, term));
    bool new_leader = term > r->hard.term || r->role == RAFT_LEADER;
    core_become_follower(r, MAX(term, r->hard.term), new_leader ? 0 : r->leader);
    raft_log_reset(&r->log, index, term);
    r->committed = r->applying = index;
    r->everywhere = MIN(r->everywhere, index);
    r->reset = true;
    r->truncated = false;
    r->truncate_term = r->hard.term;
    core_config_start(r, event->installed.config_index, event->installed.config);
}

/* ---- the update ---- */

static void begin_update(struct raft *r, int64_t now_ns)
{
    CHECK(now_ns >= r->now_ns);
    r->now_ns = now_ns;
    arena_reset(&r->arena);
    r->message_count = 0;
    r->result_count = 0;
    r->truncated = r->reset = r->config_changed = false;
    raft_log_evict(&r->log);
}

static void add_committed(struct raft *r, struct raft_update *u)
{
    uint64_t to = MIN(r->committed, r->log.persisted);
    if (r->applying > r->log.applied || to <= r->applying)
        return; /* the driver is busy with some, or there is nothing */
    uint64_t from = r->applying + 1;
    const struct raft_entry *entries;
    unsigned count;
    if (from >= r->log.first) {
        count = raft_log_run(&r->log, from, to);
        entries = raft_log_at(&r->log, from);
    } else if (raft_log_read(&r->log, from, MIN(to, r->log.first - 1), &r->arena, &entries, &count) != ERR_OK) {
        return; /* the driver's storage has failed, and it knows */
    }
    u->committed = entries;
    u->committed_count = count;
    r->applying += count;
}

static int64_t next_deadline(const struct raft *r)
{
    int64_t next = r->forward_count > 0 ? r->forwards[0].deadline_ns : INT64_MAX;
    if (r->role == RAFT_LEADER && r->transfer_to != 0)
        next = MIN(next, r->transfer_deadline_ns);
    if (!core_is_auto(r)) /* no timers but those that end a transfer or a read */
        return next;
    if (r->role == RAFT_LEADER)
        return MIN(next, MIN(r->next_heartbeat_ns, r->quorum_check_ns));
    return core_may_campaign(r) ? MIN(next, r->election_deadline_ns) : next;
}

static void finish_update(struct raft *r, struct raft_update *u)
{
    if (r->reset) {
        u->reset = true;
        u->reset_index = r->log.compacted;
        u->reset_term = r->log.compacted_term;
    }
    u->config_changed = r->config_changed;
    if (r->truncated) {
        u->truncate = true;
        u->truncate_after = r->truncate_after;
    }
    if (r->hard.term != r->hard_given.term || r->hard.vote != r->hard_given.vote) {
        u->hard_state_changed = true;
        r->hard_given = r->hard;
    }
    u->hard = r->hard;
    /* Committed entries may come from the storage, whose buffer the next read replaces: last of all that reads. */
    add_committed(r, u);
    if (r->log.given < r->log.last) {
        u->entries = raft_log_at(&r->log, r->log.given + 1);
        u->entry_count = (unsigned)(r->log.last - r->log.given);
        r->log.given = r->log.last;
    }
    u->messages = r->messages;
    u->message_count = r->message_count;
    u->reads = r->results;
    u->read_count = r->result_count;
    u->role_changed = r->role != r->told_role || r->leader != r->told_leader || r->hard.term != r->told_term;
    r->told_role = r->role;
    r->told_leader = r->leader;
    r->told_term = r->hard.term;
    u->deadline_ns = next_deadline(r);
    CHECK(r->log.compacted <= r->log.applied && r->log.applied <= r->applying && r->applying <= r->committed &&
          r->committed <= r->log.last && r->log.persisted <= r->log.last);
}

void raft_step(struct raft *r, const struct raft_event *event, struct raft_update *update)
{
    *update = (struct raft_update){.status = ERR_OK};
    begin_update(r, event->now_ns);
    switch (event->type) {
    case RAFT_EVENT_TICK:
        on_tick(r);
        break;
    case RAFT_EVENT_MESSAGE:
        on_message(r, event->message);
        break;
    case RAFT_EVENT_PROPOSE:
        update->status = on_propose(r, event->propose.entries, event->propose.count, &update->proposed_index);
        update->proposed_term = r->hard.term;
        break;
    case RAFT_EVENT_READ:
        core_read(r, event->read.id, event->read.forward);
        break;
    case RAFT_EVENT_PERSISTED:
        on_persisted(r, event->persisted.index, event->persisted.term, event->persisted.hard);
        break;
    case RAFT_EVENT_APPLIED:
        CHECK(event->applied.index <= r->applying);
        raft_log_applied(&r->log, event->applied.index);
        core_config_applied(r, event->applied.index);
        break;
    case RAFT_EVENT_CAMPAIGN:
        update->status = on_campaign(r);
        break;
    case RAFT_EVENT_TRANSFER:
        update->status = on_transfer(r, event->transfer.target);
        break;
    case RAFT_EVENT_HEARTBEAT:
        update->status = on_heartbeat(r);
        break;
    case RAFT_EVENT_STEP_DOWN:
        core_become_follower(r, r->hard.term, 0);
        break;
    case RAFT_EVENT_CHANGE:
        update->status = core_change(r, event->change.config, &update->proposed_index);
        update->proposed_term = r->hard.term;
        break;
    case RAFT_EVENT_INSTALLED:
        on_installed(r, event);
        break;
    case RAFT_EVENT_COMPACTED:
        on_compacted(r, event->compacted.index);
        break;
    }
    finish_update(r, update);
}

void raft_status(const struct raft *r, struct raft_status *ret)
{
    int64_t lease = core_lease_until(r);
    *ret = (struct raft_status){.id = r->options.id,
                                .leader = r->leader,
                                .role = r->role,
                                .term = r->hard.term,
                                .vote = r->hard.vote,
                                .compacted = r->log.compacted,
                                .applied = r->log.applied,
                                .committed = r->committed,
                                .persisted = r->log.persisted,
                                .last = r->log.last,
                                .last_term = r->log.last_term,
                                .lease_until_ns = lease == INT64_MIN ? 0 : lease,
                                .term_committed = r->role == RAFT_LEADER && r->committed >= r->term_start,
                                .voter = core_votes(r),
                                .config_pending =
                                    core_newest_config(r)->config.joint || core_newest_config(r)->index > r->committed,
                                .config_index = core_newest_config(r)->index,
                                .progress_count = r->peer_count};
    for (unsigned i = 0; i < r->peer_count; i++) {
        const struct core_peer *p = &r->peers[i];
        ret->progress[i] = (struct raft_progress){
            .id = p->id,
            .match = p->match,
            .next = p->next,
            .active = r->role == RAFT_LEADER && r->now_ns - p->heard_ns <= r->options.election_timeout_ns,
            .learner = !p->voter && !p->old_voter,
            .needs_snapshot = r->role == RAFT_LEADER && p->next <= r->log.compacted,
            .last_heard_ns = p->heard_ns};
    }
}

uint64_t raft_compactable(const struct raft *r)
{
    uint64_t index = r->log.applied;
    if (r->role != RAFT_LEADER)
        return MIN(index, r->everywhere);
    index = MIN(index, r->log.persisted);
    for (unsigned i = 0; i < r->peer_count; i++)
        index = MIN(index, r->peers[i].match);
    return index;
}
