/* replicate.c: the leader's log becomes everybody's. Thesis chapter 3.5, commitment 3.6.2, pipelining 10.2.1. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/core.h"

void core_lead(struct raft *r)
{
    r->role = RAFT_LEADER;
    r->leader = r->options.id;
    r->lease_lost = false;
    r->transfer_to = 0;
    r->read_round = 0;
    for (unsigned i = 0; i < r->peer_count; i++) {
        struct core_peer *p = &r->peers[i];
        p->feed = CORE_PROBE;
        p->probe_sent = false;
        p->match = 0;
        p->commit_told = 0;
        p->next = r->log.last + 1;
        p->inflight_count = 0;
        p->acked_round = 0;
        p->acked_round_ns = INT64_MIN;
        p->heard_ns = r->now_ns;
    }
    r->quorum_check_ns = r->now_ns + r->options.election_timeout_ns;
    /* Entries of earlier terms are committed only together with one of this term (P1). */
    r->term_start = r->log.last + 1;
    raft_log_append(&r->log, r->hard.term, RAFT_ENTRY_NOOP, SLICE(NULL, 0));
    core_heartbeat(r);
}

static uint64_t compactable(const struct raft *r)
{
    return raft_compactable(r);
}

/* The entries' structs are copied: the log's array may move within this step. */
static bool take_entries(struct raft *r, uint64_t from, const struct raft_entry **ret, unsigned *ret_count)
{
    const struct raft_entry *found;
    unsigned count;
    bool in_memory = from >= r->log.first;
    if (in_memory) {
        count = raft_log_run(&r->log, from, r->log.last);
        found = raft_log_at(&r->log, from);
    } else if (from <= r->log.compacted ||
               raft_log_read(&r->log, from, r->log.first - 1, &r->arena, &found, &count) != ERR_OK) {
        return false;
    }
    struct raft_entry *copy = arena_alloc(&r->arena, count * sizeof *copy);
    for (unsigned i = 0; i < count; i++) {
        copy[i] = found[i];
        if (!in_memory) /* the storage's buffer is gone with its next read */
            copy[i].data = arena_slice(&r->arena, found[i].data);
    }
    *ret = copy;
    *ret_count = count;
    return true;
}

/* What it needs next is compacted: only a snapshot helps. */
static bool needs_snapshot(const struct raft *r, const struct core_peer *p)
{
    return p->next <= r->log.compacted;
}

/* One append with entries from p->next on (or none); false when the log can't be read there. */
static bool send_append(struct raft *r, struct core_peer *p, bool with_entries, unsigned *ret_count)
{
    const struct raft_entry *entries = NULL;
    unsigned count = 0;
    uint64_t before = MAX(p->next - 1, r->log.compacted), term;
    if (raft_log_term(&r->log, before, &term) != ERR_OK)
        return false;
    if (with_entries && !needs_snapshot(r, p) && p->next <= r->log.last && !take_entries(r, p->next, &entries, &count))
        return false;
    struct raft_message *m = core_message(r, RAFT_MSG_APPEND, p->id);
    m->index = before;
    m->log_term = term;
    m->commit = p->commit_told = r->committed;
    m->round = r->round;
    m->compactable = compactable(r);
    m->entries = entries;
    m->entry_count = count;
    *ret_count = count;
    return true;
}

static void inflight_push(struct core_peer *p, uint64_t last)
{
    p->inflight[(p->inflight_at + p->inflight_count++) % LIMIT_RAFT_INFLIGHT_BATCHES] = last;
}

static void inflight_drop(struct core_peer *p, uint64_t match)
{
    while (p->inflight_count > 0 && p->inflight[p->inflight_at] <= match) {
        p->inflight_at = (p->inflight_at + 1) % LIMIT_RAFT_INFLIGHT_BATCHES;
        p->inflight_count--;
    }
}

void core_feed_peer(struct raft *r, struct core_peer *p)
{
    unsigned count, from_storage = 0;
    if (needs_snapshot(r, p))
        return; /* heartbeats alone ask whether it has one by now */
    if (p->feed == CORE_PROBE) {
        if (!p->probe_sent)
            p->probe_sent = send_append(r, p, true, &count);
        return;
    }
    while (p->next <= r->log.last && p->inflight_count < LIMIT_RAFT_INFLIGHT_BATCHES) {
        /* Reading takes time; its answers bring us back here. */
        if (p->next < r->log.first && from_storage++ == CORE_STORAGE_BATCHES)
            return;
        if (!send_append(r, p, true, &count))
            return;
        p->next += count;
        inflight_push(p, p->next - 1);
    }
}

void core_feed_all(struct raft *r)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        core_feed_peer(r, &r->peers[i]);
    if (r->peer_count == 0)
        core_advance_commit(r);
}

void core_tell_commit(struct raft *r, struct core_peer *p)
{
    unsigned count;
    if (p->feed == CORE_PIPELINE && p->commit_told < r->committed)
        (void)send_append(r, p, false, &count);
}

static bool is_silent(const struct raft *r, const struct core_peer *p)
{
    return core_is_auto(r) && r->now_ns - p->heard_ns > r->options.election_timeout_ns;
}

/* A round for reads doesn't repeat a probe that may well be under way: it can carry a whole batch. */
static void begin_round(struct raft *r, bool repeat_probes)
{
    unsigned count;
    r->round++;
    r->round_ns[r->round % CORE_ROUNDS_KEPT] = r->now_ns;
    r->next_heartbeat_ns = core_is_auto(r) ? r->now_ns + r->options.heartbeat_ns : INT64_MAX;
    for (unsigned i = 0; i < r->peer_count; i++) {
        struct core_peer *p = &r->peers[i];
        /* A probe that was lost is repeated. In pipeline an empty append behind everything that was sent shows the
         * follower a gap, if something was lost, and it says so. */
        if (p->feed == CORE_PIPELINE && is_silent(r, p)) {
            p->feed = CORE_PROBE;
            p->next = p->match + 1;
            p->inflight_count = 0;
        }
        /* One that does not answer gets no entries until it does. */
        if (p->feed == CORE_PROBE)
            p->probe_sent = send_append(r, p, !is_silent(r, p) && (repeat_probes || !p->probe_sent), &count);
        else
            send_append(r, p, false, &count);
    }
    if (r->peer_count == 0)
        core_release_reads(r);
}

void core_heartbeat(struct raft *r)
{
    begin_round(r, true);
}

void core_read_round(struct raft *r)
{
    begin_round(r, false);
}

static uint64_t match_of(const struct core_peer *p)
{
    return p->match;
}

void core_advance_commit(struct raft *r)
{
    uint64_t index = core_quorum_value(r, r->log.persisted, match_of), term;
    if (index <= r->committed || raft_log_term(&r->log, index, &term) != ERR_OK)
        return;
    if (term != r->hard.term && !PLANTED(RAFT_COMMIT_OLD_TERM))
        return;
    bool first_of_term = r->committed < r->term_start;
    r->committed = index;
    if (first_of_term)
        core_release_reads(r);
    core_config_committed(r);
}

/* ---- follower ---- */

static void reply_append(struct raft *r, const struct raft_message *m, uint64_t match)
{
    struct raft_message *reply = core_message(r, RAFT_MSG_APPEND_REPLY, m->from);
    bool hard_is_safe = r->hard.term == r->hard_durable.term && r->hard.vote == r->hard_durable.vote;
    reply->round = m->round;
    reply->commit = r->log.last;
    /* A heartbeat is answered at once, for what is safe already; entries when they are safe. */
    if (m->entry_count == 0 && match > r->log.persisted)
        match = r->log.persisted;
    reply->index = match;
    reply->after_persist = (match > r->log.persisted || !hard_is_safe) && !PLANTED(RAFT_ACK_BEFORE_SYNC);
}

static void reject_append(struct raft *r, const struct raft_message *m)
{
    struct raft_message *reply = core_message(r, RAFT_MSG_APPEND_REPLY, m->from);
    uint64_t hint = m->index < r->log.last ? m->index : r->log.last;
    /* The last of our entries that could agree: none of a later term than the leader's there can. */
    if (raft_log_last_to_term(&r->log, m->log_term, r->log.compacted, hint, &hint) != ERR_OK || hint < r->committed)
        hint = r->committed;
    reply->reject = true;
    reply->round = m->round;
    reply->index = hint;
    if (raft_log_term(&r->log, hint, &reply->log_term) != ERR_OK)
        reply->log_term = 0;
    reply->commit = r->log.last;
}

/* Takes over entries behind `match`, which agree with ours up to there. The last index that agrees then. */
static uint64_t take_over(struct raft *r, const struct raft_entry *entries, unsigned count, uint64_t match)
{
    for (unsigned i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        uint64_t term;
        if (e->index <= match)
            continue;
        CHECK(e->index == match + 1);
        if (e->index <= r->log.last) {
            if (raft_log_term(&r->log, e->index, &term) == ERR_OK && term == e->term) {
                match++;
                continue;
            }
            CHECK(e->index > r->committed); /* P9 */
            uint64_t before;
            if (raft_log_term(&r->log, e->index - 1, &before) != ERR_OK)
                return match;
            if (PLANTED(RAFT_FORGOTTEN_TRUNCATION)) {
                match++;
                continue;
            }
            bool was_given = e->index <= r->log.given;
            raft_log_truncate(&r->log, e->index - 1, before);
            core_config_truncated(r, e->index - 1);
            if (was_given) {
                r->truncate_after = r->truncated ? MIN(r->truncate_after, e->index - 1) : e->index - 1;
                r->truncated = true;
                r->truncate_term = r->hard.term;
            }
        }
        raft_log_append(&r->log, e->term, e->type, e->data);
        if (e->type == RAFT_ENTRY_CONFIG)
            core_config_appended(r, e->index, e->data);
        match++;
    }
    return match;
}

void core_on_append(struct raft *r, const struct raft_message *m)
{
    if (m->term < r->hard.term) {
        /* A deposed leader learns of the new term. */
        struct raft_message *reply = core_message(r, RAFT_MSG_APPEND_REPLY, m->from);
        reply->reject = true;
        reply->index = r->committed;
        return;
    }
    CHECK(!(m->term == r->hard.term && r->role == RAFT_LEADER)); /* two leaders in one term */
    if (m->term > r->hard.term || r->role != RAFT_FOLLOWER || r->leader != m->from)
        core_become_follower(r, m->term, m->from);
    r->leader_heard_ns = r->now_ns;
    core_reset_election(r);
    uint64_t term, match = m->index;
    if (m->index < r->committed) {
        /* What is committed agrees; entries up to there are skipped. */
        uint64_t last = m->index + m->entry_count;
        match = last < r->committed ? last : r->committed;
    } else if (m->index > r->log.last || raft_log_term(&r->log, m->index, &term) != ERR_OK || term != m->log_term) {
        reject_append(r, m);
        return;
    }
    match = take_over(r, m->entries, m->entry_count, match);
    uint64_t known = PLANTED(RAFT_COMMIT_BEYOND_MATCH) ? MAX(match, MIN(m->commit, r->log.last)) : match;
    r->committed = MAX(r->committed, MIN(m->commit, known));
    r->everywhere = MAX(r->everywhere, m->compactable);
    reply_append(r, m, match);
}

/* ---- leader ---- */

static void note_round(struct raft *r, struct core_peer *p, uint64_t round)
{
    p->heard_ns = r->now_ns;
    if (round <= p->acked_round || round > r->round)
        return;
    p->acked_round = round;
    if (r->round - round < CORE_ROUNDS_KEPT)
        p->acked_round_ns = r->round_ns[round % CORE_ROUNDS_KEPT];
    core_release_reads(r);
}

static void on_reject(struct raft *r, struct core_peer *p, const struct raft_message *m)
{
    uint64_t at = m->index < r->log.last ? m->index : r->log.last;
    if (m->log_term != 0 && raft_log_last_to_term(&r->log, m->log_term, r->log.compacted, at, &at) != ERR_OK)
        return;
    if (p->feed == CORE_PROBE && p->probe_sent && MAX(p->match, at) + 1 >= p->next)
        return; /* of what was in the pipeline behind the one that was lost; the probe is already under way */
    p->next = MAX(p->match, at) + 1;
    p->feed = CORE_PROBE;
    p->probe_sent = false;
    p->inflight_count = 0;
    core_feed_peer(r, p);
}

void core_on_append_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER)
        return;
    struct core_peer *p = core_find_peer(r, m->from);
    note_round(r, p, m->round);
    if (m->reject) {
        on_reject(r, p, m);
        return;
    }
    if (m->index > r->log.last)
        return; /* nonsense; nothing that we have sent */
    if (m->index > p->match)
        p->match = m->index;
    if (p->feed == CORE_PROBE) {
        p->feed = CORE_PIPELINE;
        p->next = p->match + 1;
        p->inflight_count = 0;
    }
    p->next = MAX(p->next, p->match + 1);
    inflight_drop(p, p->match);
    core_advance_commit(r);
    if (r->role != RAFT_LEADER)
        return; /* that committed its own removal */
    p = core_find_peer(r, m->from);
    if (p)
        core_feed_peer(r, p);
    core_transfer(r);
}

void core_transfer(struct raft *r)
{
    if (r->transfer_to == 0)
        return;
    struct core_peer *p = core_find_peer(r, r->transfer_to);
    if (p && p->match == r->log.last)
        core_message(r, RAFT_MSG_TIMEOUT_NOW, p->id);
}
