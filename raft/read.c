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
    return begun + r->options.election_timeout_ns - r->options.lease_drift_ns;
}

static void answer(struct raft *r, uint64_t id, enum err status, uint64_t index)
{
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

void core_read(struct raft *r, uint64_t id)
{
    if (r->role != RAFT_LEADER) {
        answer(r, id, r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER, 0);
        return;
    }
    if (term_is_committed(r) && (r->quorum == 1 || r->now_ns < core_lease_until(r))) {
        answer(r, id, ERR_OK, r->committed);
        return;
    }
    if (r->read_count == CORE_READS_MAX) {
        answer(r, id, ERR_BUSY_NOW, 0);
        return;
    }
    if (r->read_count == r->read_capacity) {
        r->read_capacity = MAX(2 * r->read_capacity, 64u);
        r->reads = mem_realloc(r->reads, r->read_capacity * sizeof *r->reads);
    }
    r->reads[r->read_count++] = (struct core_read){.id = id};
    /* While a round is under way, more reads gather for the next. */
    if (term_is_committed(r) && r->read_round == 0)
        begin_round(r);
}

void core_release_reads(struct raft *r)
{
    if (r->role != RAFT_LEADER || r->read_count == 0 || !term_is_committed(r))
        return;
    uint64_t confirmed = core_quorum_value(r, r->round, acked_round_of);
    bool leased = r->quorum == 1 || r->now_ns < core_lease_until(r);
    unsigned kept = 0;
    bool waiting = false;
    for (unsigned i = 0; i < r->read_count; i++) {
        struct core_read *read = &r->reads[i];
        if (read->round != 0 && read->round <= confirmed) {
            answer(r, read->id, ERR_OK, read->index);
        } else if (leased) {
            answer(r, read->id, ERR_OK, r->committed);
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
    for (unsigned i = 0; i < r->read_count; i++)
        answer(r, r->reads[i].id, r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER, 0);
    r->read_count = 0;
    r->read_round = 0;
}
