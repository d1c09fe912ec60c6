/* checks.c: what must hold after every step, whatever the world does. Thesis, figure 3.2 and chapter 6. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

/* An entry that some member was given: everything about it follows from its index and term (log matching). */
struct sim_seen {
    uint64_t index, term, before_term; /* index 0: an empty slot */
    struct sim_entry entry;
};

static struct sim_seen *seen_slot(struct sim_seen *slots, size_t capacity, uint64_t index, uint64_t term)
{
    size_t at = (size_t)(index * UINT64_C(0x9e3779b97f4a7c15) + term * UINT64_C(0xc2b2ae3d27d4eb4f)) & (capacity - 1);
    while (slots[at].index != 0 && (slots[at].index != index || slots[at].term != term))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static void grow_seen(struct sim *s)
{
    size_t capacity = MAX(2 * s->seen_capacity, (size_t)1024);
    struct sim_seen *slots = mem_zalloc(capacity * sizeof *slots);
    for (size_t i = 0; i < s->seen_capacity; i++)
        if (s->seen[i].index != 0)
            *seen_slot(slots, capacity, s->seen[i].index, s->seen[i].term) = s->seen[i];
    free(s->seen);
    s->seen = slots;
    s->seen_capacity = capacity;
}

static bool same_entry(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->term == b->term && a->type == b->type && a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

void check_given(struct sim *s, const struct sim_node *n, const struct raft_entry *e)
{
    if (2 * s->seen_count >= s->seen_capacity)
        grow_seen(s);
    struct sim_seen *slot = seen_slot(s->seen, s->seen_capacity, e->index, e->term);
    const struct sim_entry *have = sim_log_at(&n->shadow, e->index);
    uint64_t before_term = e->index > 1 ? sim_log_at(&n->shadow, e->index - 1)->term : 0;
    if (slot->index == 0) {
        *slot = (struct sim_seen){.index = e->index, .term = e->term, .before_term = before_term, .entry = *have};
        s->seen_count++;
    } else if (slot->before_term != before_term || !same_entry(&slot->entry, have)) {
        sim_fail(s, "log matching: node %u has an entry %llu of term %llu after term %llu, another has it after %llu",
                 n->id, (unsigned long long)e->index, (unsigned long long)e->term, (unsigned long long)before_term,
                 (unsigned long long)slot->before_term);
    }
}

static void check_leader(struct sim *s, const struct sim_node *n, uint64_t term)
{
    if (term >= s->leader_capacity) {
        uint64_t capacity = MAX(2 * s->leader_capacity, term + 64);
        s->leader_of = mem_realloc(s->leader_of, capacity * sizeof *s->leader_of);
        memset(s->leader_of + s->leader_capacity, 0, (capacity - s->leader_capacity) * sizeof *s->leader_of);
        s->leader_capacity = capacity;
    }
    if (s->leader_of[term] != 0 && s->leader_of[term] != n->identity)
        sim_fail(s, "two leaders in term %llu: one with disk %u and node %u with disk %u", (unsigned long long)term,
                 s->leader_of[term], n->id, n->identity);
    if (s->leader_of[term] == 0)
        s->elections++;
    s->leader_of[term] = n->identity;
    /* A leader may learn late that it was elected; what later terms have committed by then, it needn't have. */
    for (uint64_t i = 1; i <= s->committed.last && s->committed_in[i] < term; i++)
        if (i > n->shadow.last || sim_log_at(&n->shadow, i)->term != sim_log_at(&s->committed, i)->term)
            sim_fail(s, "leader completeness: node %u leads term %llu without the committed entry %llu", n->id,
                     (unsigned long long)term, (unsigned long long)i);
}

/* What a member promised counts also when its disk is lost afterwards. */
static const struct sim_log *disk_of(const struct sim *s, const struct raft_member *m)
{
    const struct sim_node *n = &s->nodes[m->id];
    if (!sim_is_lost(s, m))
        return &n->durable;
    return n->lost_identity == sim_identity(m) ? &n->lost : NULL;
}

static bool has_majority(const struct sim *s, const struct raft_config *c, uint64_t index, uint64_t term, bool old)
{
    unsigned have = 0, voters = 0;
    for (unsigned i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];
        if (old ? !m->old_voter : !m->voter)
            continue;
        const struct sim_log *l = disk_of(s, m);
        have += l && l->last >= index && sim_log_at(l, index)->term == term;
        voters++;
    }
    return have >= voters / 2 + 1;
}

/* A new committed entry is on the disks of a majority, at the latest when the first member says that it is committed.
 * The first is the leader, and its configuration the one that counts; a joint one that was committed in this step has
 * given way to the next, which counts for what is behind it. */
static void check_quorum(const struct sim *s, const struct sim_node *n, uint64_t index)
{
    const struct raft_config *configs[] = {&n->config, raft_config(n->raft)};
    uint64_t term = sim_log_at(&n->shadow, index)->term;
    for (unsigned i = 0; i < 2; i++)
        if (has_majority(s, configs[i], index, term, false) &&
            (!configs[i]->joint || has_majority(s, configs[i], index, term, true)))
            return;
    sim_fail(s, "node %u takes entry %llu for committed, but no majority has it on disk", n->id,
             (unsigned long long)index);
}

static void check_committed(struct sim *s, const struct sim_node *n, uint64_t term, uint64_t from, uint64_t to)
{
    if (to > n->shadow.last)
        sim_fail(s, "node %u has committed %llu of %llu entries", n->id, (unsigned long long)to,
                 (unsigned long long)n->shadow.last);
    for (uint64_t i = from + 1; i <= to; i++) {
        const struct sim_entry *e = sim_log_at(&n->shadow, i);
        if (i <= s->committed.last) {
            if (!same_entry(sim_log_at(&s->committed, i), e))
                sim_fail(s, "node %u has entry %llu of term %llu committed, another has it of term %llu", n->id,
                         (unsigned long long)i, (unsigned long long)e->term,
                         (unsigned long long)sim_log_at(&s->committed, i)->term);
            continue;
        }
        check_quorum(s, n, i);
        if (i >= s->committed_in_capacity) {
            s->committed_in_capacity = MAX(2 * s->committed_in_capacity, i + 256);
            s->committed_in = mem_realloc(s->committed_in, s->committed_in_capacity * sizeof *s->committed_in);
        }
        s->committed_in[i] = MAX(term, i > 1 ? s->committed_in[i - 1] : 0);
        sim_log_set(&s->committed,
                    &(struct raft_entry){.index = i, .term = e->term, .type = e->type, .data = sim_entry_data(e)});
        s->commands += e->type == RAFT_ENTRY_COMMAND;
        if (e->type == RAFT_ENTRY_CONFIG)
            memcpy(&s->committed_config, e->data, sizeof s->committed_config);
    }
}

void check_step(struct sim *s, struct sim_node *n)
{
    struct raft_status status;
    raft_status(n->raft, &status);
    if (n->reset_due && status.persisted != status.compacted)
        sim_fail(s, "node %u: entry %llu is persisted, and the log not yet emptied up to %llu", n->id,
                 (unsigned long long)status.persisted, (unsigned long long)status.compacted);
    if (status.applied > status.persisted || (!n->reset_due && status.persisted > n->durable.last) ||
        status.last != n->shadow.last)
        sim_fail(s, "node %u: applied %llu, persisted %llu (on disk %llu), last %llu (given %llu)", n->id,
                 (unsigned long long)status.applied, (unsigned long long)status.persisted,
                 (unsigned long long)n->durable.last, (unsigned long long)status.last,
                 (unsigned long long)n->shadow.last);
    uint64_t safe = status.persisted;
    if (safe > 0 && !n->reset_due && sim_log_at(&n->durable, safe)->term != sim_log_at(&n->shadow, safe)->term)
        sim_fail(s, "node %u takes entry %llu of term %llu for persisted, its disk has one of term %llu", n->id,
                 (unsigned long long)safe, (unsigned long long)sim_log_at(&n->shadow, safe)->term,
                 (unsigned long long)sim_log_at(&n->durable, safe)->term);
    if (status.term < n->term || status.committed < n->committed)
        sim_fail(s, "node %u went back: term %llu to %llu, committed %llu to %llu", n->id, (unsigned long long)n->term,
                 (unsigned long long)status.term, (unsigned long long)n->committed,
                 (unsigned long long)status.committed);
    if (status.role != n->role || status.term != n->term) {
        sim_trace(s, n->id, "is %s in term %llu, last %llu", raft_role_name(status.role),
                  (unsigned long long)status.term, (unsigned long long)status.last);
        if (status.role == RAFT_LEADER) {
            check_leader(s, n, status.term);
            if (!s->healing && sim_chance(s, s->temper.leader_crash))
                sim_post(s, s->now_ns + sim_between(s, 0, 4 * s->temper.write_ns), SIM_CRASH, n->id, NULL);
            if (!s->healing && sim_chance(s, s->temper.rash))
                sim_post(s, s->now_ns + sim_between(s, 0, 4 * s->temper.delay_ns), SIM_MEMBERS, n->id, NULL);
        }
    }
    if (status.committed > n->committed) {
        sim_trace(s, n->id, "has committed %llu", (unsigned long long)status.committed);
        check_committed(s, n, status.term, n->committed, status.committed);
    }
    n->role = status.role;
    n->term = status.term;
    n->committed = status.committed;
}

/* The configuration in effect is the newest in the log, committed or not. */
void check_config(struct sim *s, const struct sim_node *n)
{
    uint64_t number = n->first_config;
    for (uint64_t i = n->shadow.last; i > 0; i--)
        if (sim_log_at(&n->shadow, i)->type == RAFT_ENTRY_CONFIG) {
            memcpy(&number, sim_log_at(&n->shadow, i)->data, sizeof number);
            break;
        }
    if (sim_number_of(raft_config(n->raft)) != number)
        sim_fail(s, "node %u has another configuration than its log", n->id);
}

void check_applied(struct sim *s, const struct sim_node *n)
{
    uint64_t index = n->machine.applied;
    if (index > s->committed.last)
        sim_fail(s, "node %u has applied entry %llu, which is not committed", n->id, (unsigned long long)index);
    if (index >= s->hash_capacity) {
        uint64_t capacity = MAX(2 * s->hash_capacity, index + 256);
        s->hash_at = mem_realloc(s->hash_at, capacity * sizeof *s->hash_at);
        memset(s->hash_at + s->hash_capacity, 0, (capacity - s->hash_capacity) * sizeof *s->hash_at);
        s->hash_capacity = capacity;
    }
    if (s->hash_at[index] == 0)
        s->hash_at[index] = n->machine.hash;
    else if (s->hash_at[index] != n->machine.hash)
        sim_fail(s, "node %u has another state than others with entry %llu applied", n->id, (unsigned long long)index);
}

/* P8: what a message promises is on the sender's disk. */
void check_promise(const struct sim *s, const struct raft_message *m)
{
    const struct sim_node *n = &s->nodes[m->from];
    const struct raft_hard_state *hard = &n->durable_hard;
    if (!s->check_promises || hard->term > m->term)
        return; /* the promise was kept when it was made, and is void by now */
    if ((m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_APPEND_REPLY) && hard->term < m->term && !m->reject)
        sim_fail(s, "node %u sends a message of type %d in term %llu, its disk says %llu", n->id, (int)m->type,
                 (unsigned long long)m->term, (unsigned long long)hard->term);
    if (m->type == RAFT_MSG_VOTE_REPLY && !m->reject && (hard->term != m->term || hard->vote != m->to))
        sim_fail(s, "node %u votes for %u in term %llu, its disk says %u in %llu", n->id, m->to,
                 (unsigned long long)m->term, hard->vote, (unsigned long long)hard->term);
    if (m->type == RAFT_MSG_APPEND_REPLY && !m->reject && n->durable.last < m->index &&
        n->checkpoint.applied < m->index)
        sim_fail(s, "node %u acknowledges entry %llu, its disk has %llu", n->id, (unsigned long long)m->index,
                 (unsigned long long)n->durable.last);
}

/* Linearizable: whatever anybody knew to be committed before the read was asked is in its answer. */
void check_read(struct sim *s, const struct sim_read *r, const struct sim_node *n)
{
    if (r->index < r->required)
        sim_fail(s, "stale read: node %u answers read %llu as of entry %llu, %llu was committed before it was asked",
                 n->id, (unsigned long long)r->id, (unsigned long long)r->index, (unsigned long long)r->required);
    if (r->index > s->committed.last)
        sim_fail(s, "node %u answers a read as of entry %llu, which is not committed", n->id,
                 (unsigned long long)r->index);
}

void check_close(struct sim *s)
{
    free(s->seen);
    free(s->leader_of);
    free(s->hash_at);
    free(s->committed_in);
    free(s->committed.entries);
}
