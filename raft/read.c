/* read.c: linearizable reads without log entries: ReadIndex (thesis 6.4) and the leader's lease (6.4.1). */
#include "base/check.h"
#include "base/mem.h"
#include "raft/core.h"

/* An order-preserving image of the times, since core_quorum_value sorts unsigned numbers. */
static uint64_t round_time_of(const struct core_peer *p)
{
    return (uint64_t)p->acked_round_ns ^ (UINT64_C(1) << 63);
}

int64_t core_lease_until(const struct raft *r)
{
    if (r->role != RAFT_LEADER || !core_is_auto(r) || r->options.reads != RAFT_READS_LEASE || r->lease_lost)
        return INT64_MIN;
    uint64_t own = (uint64_t)r->now_ns ^ (UINT64_C(1) << 63);
    int64_t begun = (int64_t)(core_quorum_value(r, own, round_time_of) ^ (UINT64_C(1) << 63));
    if (begun == INT64_MIN)
        return INT64_MIN;
    if (PLANTED(RAFT_LEASE_IGNORES_DRIFT))
        return begun + r->options.election_timeout_ns + r->options.lease_drift_ns;
    return begun + r->options.election_timeout_ns - r->options.lease_drift_ns;
}

static void answer(struct raft *r, uint32_t from, uint64_t id, enum err status, uint64_t index)
{
    if (from != 0) {
        /* It answers when it has applied that far: it should not have to wait for the next append to hear that it may.
         */
        struct core_peer *p = core_find_peer(r, from);
        if (p && status == ERR_OK)
            core_tell_commit(r, p);
        struct raft_message *m = core_message(r, RAFT_MSG_READ_REPLY, from);
        m->round = id;
        m->index = index;
        m->reject = status != ERR_OK;
        return;
    }
    if (r->result_count == r->result_capacity) {
        r->result_capacity = MAX(2 * r->result_capacity, 64u);
        r->results = mem_realloc(r->results, r->result_capacity * sizeof *r->results);
    }
    r->results[r->result_count++] = (struct raft_read_result){.id = id, .status = status, .index = index};
}

static uint64_t acked_round_of(const struct core_peer *p)
{
    return p->acked_round;
}

static bool term_is_committed(const struct raft *r)
{
    return r->committed >= r->term_start;
}

/* Gives the reads that wait for a round to the one that begins now (P5: begun after they came). */
static void begin_round(struct raft *r)
{
    core_read_round(r);
    r->read_round = r->round;
    for (unsigned i = 0; i < r->read_count; i++)
        if (r->reads[i].round == 0) {
            r->reads[i].round = r->round;
            r->reads[i].index = r->committed;
        }
}

static bool is_leased(const struct raft *r)
{
    return core_is_alone(r) || r->now_ns < core_lease_until(r) || PLANTED(RAFT_READ_BY_DEPOSED);
}

/* As the leader: at once, or with a round that begins after it came. */
static void take_read(struct raft *r, uint32_t from, uint64_t id)
{
    if (term_is_committed(r) && is_leased(r)) {
        answer(r, from, id, ERR_OK, r->committed);
        return;
    }
    if (r->read_count == CORE_READS_MAX || (from != 0 && r->forwarded_count == CORE_FORWARDED_MAX)) {
        answer(r, from, id, ERR_BUSY_NOW, 0);
        return;
    }
    if (r->read_count == r->read_capacity) {
        r->read_capacity = MAX(2 * r->read_capacity, 64u);
        r->reads = mem_realloc(r->reads, r->read_capacity * sizeof *r->reads);
    }
    r->reads[r->read_count++] = (struct core_read){.from = from, .id = id};
    r->forwarded_count += from != 0;
    /* While a round is under way, more reads gather for the next. */
    if (term_is_committed(r) && r->read_round == 0)
        begin_round(r);
}

/* As a follower: the leader is asked for the index. */
static void forward_read(struct raft *r, uint64_t id)
{
    if (r->forward_count == CORE_FORWARDED_MAX) {
        answer(r, 0, id, ERR_BUSY_NOW, 0);
        return;
    }
    if (r->forward_count == r->forward_capacity) {
        r->forward_capacity = MAX(2 * r->forward_capacity, 64u);
        r->forwards = mem_realloc(r->forwards, r->forward_capacity * sizeof *r->forwards);
    }
    r->forwards[r->forward_count++] =
        (struct core_forward){.id = id, .deadline_ns = r->now_ns + r->options.election_timeout_ns};
    core_message(r, RAFT_MSG_READ, r->leader)->round = id;
}

void core_read(struct raft *r, uint64_t id, bool forward)
{
    if (r->role == RAFT_LEADER)
        take_read(r, 0, id);
    else if (r->leader == 0 || !forward)
        answer(r, 0, id, r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER, 0);
    else
        forward_read(r, id);
}

void core_on_read(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER)
        take_read(r, m->from, m->round);
    else
        answer(r, m->from, m->round, ERR_NO_LEADER, 0);
}

static void drop_forward(struct raft *r, unsigned at)
{
    r->forward_count--;
    for (unsigned i = at; i < r->forward_count; i++)
        r->forwards[i] = r->forwards[i + 1];
}

void core_on_read_reply(struct raft *r, const struct raft_message *m)
{
    for (unsigned i = 0; i < r->forward_count; i++)
        if (r->forwards[i].id == m->round) {
            drop_forward(r, i);
            answer(r, 0, m->round, m->reject ? ERR_NO_LEADER : ERR_OK, m->index);
            return;
        }
}

void core_expire_forwards(struct raft *r)
{
    while (r->forward_count > 0 && r->forwards[0].deadline_ns <= r->now_ns) {
        answer(r, 0, r->forwards[0].id, ERR_NO_LEADER, 0);
        drop_forward(r, 0);
    }
}

void core_release_reads(struct raft *r)
{
    if (r->role != RAFT_LEADER || r->read_count == 0 || !term_is_committed(r))
        return;
    uint64_t confirmed = core_quorum_value(r, r->round, acked_round_of);
    bool leased = is_leased(r);
    unsigned kept = 0;
    bool waiting = false;
    for (unsigned i = 0; i < r->read_count; i++) {
        struct core_read *read = &r->reads[i];
        if (read->round != 0 && read->round <= confirmed) {
            answer(r, read->from, read->id, ERR_OK, read->index);
            r->forwarded_count -= read->from != 0;
        } else if (leased) {
            answer(r, read->from, read->id, ERR_OK, r->committed);
            r->forwarded_count -= read->from != 0;
        } else {
            waiting = waiting || read->round == 0;
            r->reads[kept++] = *read;
        }
    }
    r->read_count = kept;
    if (r->read_round != 0 && (r->read_round <= confirmed || kept == 0))
        r->read_round = 0;
    if (waiting && r->read_round == 0)
        begin_round(r);
}

void core_fail_reads(struct raft *r)
{
    enum err status = r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    for (unsigned i = 0; i < r->read_count; i++)
        answer(r, r->reads[i].from, r->reads[i].id, status, 0);
    /* A forwarded read may be asked anew of the new leader, by whoever asked us. */
    for (unsigned i = 0; i < r->forward_count; i++)
        answer(r, 0, r->forwards[i].id, ERR_NO_LEADER, 0);
    r->read_count = r->forwarded_count = r->forward_count = 0;
    r->read_round = 0;
}
