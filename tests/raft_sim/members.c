/* members.c: who takes part: changes that are asked for, disks that are lost, and snapshots for those who are behind.
 *
 * A member that lost its disk is another one under the same id. At most one at a time is missed by a configuration, and
 * none while a change is under way, so that there always is a way on: a cluster that can't go on is then a finding. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

#define QUIET_NS (5000 * SIM_MS) /* no message is older, and no change from before is still in doubt */

static void set_identity(struct raft_member *m, uint32_t identity)
{
    memset(m->identity, 0, sizeof m->identity);
    put_u32be(m->identity, identity);
}

uint32_t sim_identity(const struct raft_member *m)
{
    return get_u32be(m->identity);
}

bool sim_is_lost(const struct sim *s, const struct raft_member *m)
{
    return sim_identity(m) != 0 && sim_identity(m) != s->nodes[m->id].identity;
}

/* What a member answers counts only from the disk that it is about (P4). What was on the way to a lost one went into a
 * connection that broke. */
bool sim_admits(const struct sim_node *n, const struct sim_message *message)
{
    enum raft_message_type type = message->m.type;
    if (message->to_identity != n->identity)
        return false;
    const struct raft_member *m = raft_config_find(&n->config, message->m.from);
    bool answer = type == RAFT_MSG_VOTE_REPLY || type == RAFT_MSG_PREVOTE_REPLY || type == RAFT_MSG_APPEND_REPLY;
    return !answer || !m || sim_identity(m) == 0 || sim_identity(m) == message->from_identity;
}

uint64_t sim_number_of(const struct raft_config *c)
{
    struct bytes encoded = {0};
    raft_config_encode(c, &encoded);
    uint64_t number = sim_config_number(bytes_slice(&encoded));
    bytes_free(&encoded);
    return number;
}

void sim_draw_members(struct sim *s, unsigned voters, unsigned learners)
{
    struct raft_config config = {0};
    bool known = sim_chance(s, 800);
    s->next_identity = s->node_count;
    s->empty_config = sim_number_of(&config);
    for (uint32_t id = 1; id <= voters + learners; id++) {
        struct raft_member *m = &config.members[config.count++];
        *m = (struct raft_member){.id = id, .voter = id <= voters};
        set_identity(m, known ? id : 0);
    }
    s->config = s->committed_config = sim_number_of(&config);
    for (uint32_t id = 1; id <= s->node_count; id++) {
        s->nodes[id].identity = id;
        s->nodes[id].first_config = id <= config.count ? s->config : s->empty_config;
        s->nodes[id].checkpoint.config = s->nodes[id].first_config;
    }
}

/* ---- changes ---- */

static void add(struct sim *s, struct raft_config *c)
{
    uint32_t id = (uint32_t)sim_between(s, 1, s->node_count);
    if (raft_config_find(c, id))
        return;
    unsigned at = c->count++;
    for (; at > 0 && c->members[at - 1].id > id; at--)
        c->members[at] = c->members[at - 1];
    c->members[at] = (struct raft_member){.id = id, .voter = sim_chance(s, 100)};
    set_identity(&c->members[at], s->nodes[id].identity);
}

static void remove_at(struct raft_config *c, unsigned at)
{
    memmove(&c->members[at], &c->members[at + 1], (--c->count - at) * sizeof c->members[0]);
}

static void edit(struct sim *s, struct raft_config *c)
{
    unsigned kind = (unsigned)sim_between(s, 0, 9);
    struct raft_member *m = c->count > 0 ? &c->members[sim_between(s, 0, c->count - 1)] : NULL;
    if (kind <= 3 || !m)
        add(s, c);
    else if (kind <= 6)
        m->voter = true;
    else if (kind == 7)
        m->voter = false;
    else if (kind == 8)
        remove_at(c, (unsigned)(m - c->members));
    else
        for (unsigned i = 0; i < c->count; i++)
            if (sim_identity(&c->members[i]) == 0)
                set_identity(&c->members[i], s->nodes[c->members[i].id].identity);
}

/* Without timers the core takes everybody for alive. */
static bool can_go_on(const struct sim *s, const struct raft_config *c)
{
    unsigned voters = 0, fit = 0;
    for (unsigned i = 0; i < c->count; i++) {
        voters += c->members[i].voter;
        fit += c->members[i].voter && !sim_is_lost(s, &c->members[i]);
    }
    return fit >= voters / 2 + 1;
}

static unsigned count_lost(const struct sim *s, const struct raft_config *c)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < c->count; i++)
        lost += sim_is_lost(s, &c->members[i]);
    return lost;
}

static void trace_config(const struct sim *s, const struct sim_node *n)
{
    char text[256] = "";
    size_t at = 0;
    for (unsigned i = 0; i < n->config.count; i++) {
        const struct raft_member *m = &n->config.members[i];
        at +=
            (size_t)snprintf(text + at, sizeof text - at, " %u/%u%s%s%s", m->id, sim_identity(m),
                             m->old_voter ? " was voter," : "", m->voter ? " voter" : "", m->leaving ? " leaving" : "");
    }
    sim_trace(s, n->id, "has members%s", text);
}

static void ask(struct sim *s, struct sim_node *leader, const struct raft_config *wanted)
{
    bool changes_identity = false;
    for (unsigned i = 0; i < wanted->count; i++) {
        const struct raft_member *m = raft_config_find(&leader->config, wanted->members[i].id);
        changes_identity =
            changes_identity || (m && sim_identity(m) != 0 && sim_identity(m) != sim_identity(&wanted->members[i]));
    }
    struct raft_event event = {.type = RAFT_EVENT_CHANGE, .change = {.config = wanted}};
    struct raft_update update;
    sim_step(s, leader, &event, &update);
    sim_trace(s, leader->id, "is asked for other members: %s", err_message(update.status));
    if (update.status != ERR_OK)
        return;
    trace_config(s, leader);
    if (changes_identity)
        sim_fail(s, "node %u lets a member have another disk", leader->id);
    s->changes++;
    s->config_ns = s->now_ns;
}

/* It is to leave; or, which must be refused, is taken for the old one. */
void sim_end_losses(struct sim *s, struct sim_node *leader)
{
    struct raft_config wanted = leader->config;
    for (unsigned i = 0; i < wanted.count; i++) {
        struct raft_member *m = &wanted.members[i];
        if (!sim_is_lost(s, m))
            continue;
        if (!s->healing && sim_chance(s, 300))
            set_identity(m, s->nodes[m->id].identity);
        else
            remove_at(&wanted, i);
        ask(s, leader, &wanted);
        return;
    }
}

void sim_change_members(struct sim *s, struct sim_node *leader)
{
    struct raft_config wanted = leader->config;
    if (count_lost(s, &wanted) > 0 || count_lost(s, sim_config(s->committed_config)) > 0) {
        sim_end_losses(s, leader);
        return;
    }
    for (unsigned ops = sim_chance(s, 700) ? 1 : (unsigned)sim_between(s, 2, 4); ops > 0; ops--)
        edit(s, &wanted);
    if (s->election == RAFT_ELECTION_AUTO || can_go_on(s, &wanted))
        ask(s, leader, &wanted);
}

/* ---- lost disks ---- */

static bool is_settled(const struct sim *s)
{
    if (s->config_ns != 0 && s->now_ns - s->config_ns < QUIET_NS)
        return false;
    for (uint32_t id = 1; id <= s->node_count; id++) {
        const struct sim_node *n = &s->nodes[id];
        for (uint64_t i = s->committed.last + 1; i <= MAX(n->shadow.last, n->durable.last); i++)
            if ((i <= n->shadow.last && sim_log_at(&n->shadow, i)->type == RAFT_ENTRY_CONFIG) ||
                (i <= n->durable.last && sim_log_at(&n->durable, i)->type == RAFT_ENTRY_CONFIG))
                return false;
    }
    const struct raft_config *c = sim_config(s->committed_config);
    for (unsigned i = 0; i < c->count; i++)
        if (sim_identity(&c->members[i]) == 0)
            return false; /* not known: nobody would notice */
    return !c->joint && count_lost(s, c) == 0;
}

void sim_lose_some_disk(struct sim *s)
{
    struct sim_node *n = &s->nodes[sim_between(s, 1, s->node_count)];
    const struct raft_config *c = sim_config(s->committed_config);
    const struct raft_member *m = raft_config_find(c, n->id);
    if (!is_settled(s) || (m && m->voter && sim_voters(s) < 3))
        return;
    if (n->raft)
        sim_crash(s, n);
    sim_lose_disk(s, n);
    sim_post(s, s->now_ns + sim_between(s, SIM_MS, 300 * SIM_MS), SIM_RESTART, n->id, NULL);
}

/* ---- snapshots ---- */

static void offer(struct sim *s, struct sim_node *from, const struct sim_node *to)
{
    if (s->cut[from->id][to->id] || (!s->healing && sim_chance(s, s->temper.loss)))
        return;
    unsigned copies = !s->healing && sim_chance(s, 200) ? 2 : 1;
    for (; copies > 0; copies--) {
        struct sim_snapshot *snapshot = MEM_NEW(struct sim_snapshot);
        *snapshot = (struct sim_snapshot){.from = from->id, .to_identity = to->identity, .machine = from->checkpoint};
        int64_t longest = !s->healing && sim_chance(s, 200) ? 20 * s->temper.offer_ns : s->temper.offer_ns;
        sim_post_event(s, (struct sim_event){.at_ns = s->now_ns + sim_between(s, SIM_MS, longest),
                                             .type = SIM_OFFER,
                                             .node = to->id,
                                             .snapshot = snapshot});
    }
}

void sim_offer_snapshots(struct sim *s, struct sim_node *leader)
{
    struct raft_status status;
    raft_status(leader->raft, &status);
    for (unsigned i = 0; i < status.progress_count; i++) {
        const struct raft_progress *p = &status.progress[i];
        if (!p->needs_snapshot || s->now_ns < leader->offer_after_ns[p->id])
            continue;
        leader->offer_after_ns[p->id] = s->now_ns + 2 * s->temper.offer_ns;
        leader->checkpoint = leader->machine;
        offer(s, leader, &s->nodes[p->id]);
    }
}

void sim_offer_needlessly(struct sim *s, struct sim_node *from, struct sim_node *to)
{
    if (from != to && from->checkpoint.applied > 0)
        offer(s, from, to);
}
