/* election.c: who leads. Thesis chapter 3.4, pre-vote 9.6, stickiness 4.2.3, disruptive servers and leases 6.4.1. */
#include "base/check.h"
#include "raft/core.h"

void core_reset_election(struct raft *r)
{
    if (core_is_auto(r))
        r->election_deadline_ns = r->now_ns + r->options.election_timeout_ns +
                                  (int64_t)prng_below(&r->prng, (uint64_t)r->options.election_timeout_ns);
    else
        r->election_deadline_ns = INT64_MAX;
}

void core_become_follower(struct raft *r, uint64_t term, uint32_t leader)
{
    CHECK(term >= r->hard.term);
    if (term > r->hard.term)
        r->hard = (struct raft_hard_state){.term = term, .vote = 0};
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->transfer_to = 0;
    /* leader_heard_ns stays: a lease may rest on our answer, whatever term we are in since. */
    core_fail_reads(r);
    core_reset_election(r);
}

static void forget_votes(struct raft *r)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        r->peers[i].answered = r->peers[i].granted = false;
}

/* Asks all voters; `term` is the one that we want to lead. */
static void ask_votes(struct raft *r, enum raft_message_type type, uint64_t term)
{
    for (unsigned i = 0; i < r->peer_count; i++) {
        if (!r->peers[i].voter && !r->peers[i].old_voter)
            continue;
        struct raft_message *m = core_message(r, type, r->peers[i].id);
        m->term = term;
        m->index = r->log.last;
        m->log_term = r->log.last_term;
        m->force = r->campaign_forced;
        /* A vote is asked for only when our own is safe: nobody may hear of a term that we could forget. */
        m->after_persist = type == RAFT_MSG_VOTE;
    }
}

void core_start_election(struct raft *r)
{
    core_reset_election(r);
    if (!core_may_campaign(r))
        return;
    if (core_is_alone(r)) {
        core_campaign(r, false);
        return;
    }
    r->role = RAFT_PRE_CANDIDATE;
    r->leader = 0;
    r->campaign_forced = false;
    forget_votes(r);
    ask_votes(r, RAFT_MSG_PREVOTE, r->hard.term + 1);
}

void core_campaign(struct raft *r, bool force)
{
    CHECK(core_may_campaign(r) && r->role != RAFT_LEADER);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    core_fail_reads(r);
    r->hard = (struct raft_hard_state){.term = r->hard.term + 1, .vote = r->options.id};
    r->campaign_forced = force;
    forget_votes(r);
    core_reset_election(r);
    ask_votes(r, RAFT_MSG_VOTE, r->hard.term);
}

static bool has_granted(const struct raft *r, const struct core_peer *p)
{
    (void)r;
    return p->granted;
}

void core_count_votes(struct raft *r)
{
    /* Our own vote counts when it is on disk (P8). */
    bool own = r->hard_durable.term == r->hard.term && r->hard_durable.vote == r->options.id;
    own = own || PLANTED(RAFT_VOTE_BEFORE_SYNC);
    if (r->role == RAFT_CANDIDATE && core_has_quorum(r, own, has_granted))
        core_lead(r);
}

static bool is_up_to_date(const struct raft *r, const struct raft_message *m)
{
    return m->log_term > r->log.last_term || (m->log_term == r->log.last_term && m->index >= r->log.last);
}

bool core_is_bound(const struct raft *r)
{
    if (!core_is_auto(r))
        return false;
    if (PLANTED(RAFT_LEASE_FORGOTTEN))
        return r->leader != 0 && r->now_ns - r->leader_heard_ns < r->options.election_timeout_ns;
    if (r->role == RAFT_LEADER || r->now_ns < r->no_vote_until_ns)
        return true;
    return r->leader_heard_ns != INT64_MIN && r->now_ns - r->leader_heard_ns < r->options.election_timeout_ns;
}

static bool must_refuse(const struct raft *r, const struct raft_message *m)
{
    return !m->force && core_is_bound(r);
}

void core_on_prevote(struct raft *r, const struct raft_message *m)
{
    bool grant = m->term > r->hard.term && core_may_vote(r) && is_up_to_date(r, m) && !must_refuse(r, m);
    struct raft_message *reply = core_message(r, RAFT_MSG_PREVOTE_REPLY, m->from);
    reply->reject = !grant;
    if (grant)
        reply->term = m->term;
}

void core_on_vote(struct raft *r, const struct raft_message *m)
{
    if (m->term > r->hard.term) {
        if (must_refuse(r, m))
            return; /* not even its term is taken over */
        core_become_follower(r, m->term, 0);
    }
    bool grant = m->term == r->hard.term && core_may_vote(r) && (r->hard.vote == 0 || r->hard.vote == m->from) &&
                 r->role == RAFT_FOLLOWER && is_up_to_date(r, m) && !must_refuse(r, m);
    if (grant) {
        r->hard.vote = m->from;
        core_reset_election(r);
    }
    struct raft_message *reply = core_message(r, RAFT_MSG_VOTE_REPLY, m->from);
    reply->reject = !grant;
    reply->after_persist = !PLANTED(RAFT_VOTE_BEFORE_SYNC);
}

static void note_vote(struct raft *r, const struct raft_message *m)
{
    struct core_peer *p = core_find_peer(r, m->from);
    p->answered = true;
    p->granted = !m->reject;
}

void core_on_vote_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_CANDIDATE)
        return;
    note_vote(r, m);
    core_count_votes(r);
}

void core_on_prevote_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_PRE_CANDIDATE || (!m->reject && m->term != r->hard.term + 1))
        return;
    note_vote(r, m);
    if (core_has_quorum(r, true, has_granted))
        core_campaign(r, false);
}
