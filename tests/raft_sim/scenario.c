/* scenario.c: what happens in one seed: its cluster, its temper, its clients, its faults, and the healing. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

static void draw_cluster(struct sim *s)
{
    s->node_count = (unsigned)sim_between(s, 1, SIM_NODES_MAX);
    if (sim_chance(s, 500)) /* the sizes in which quorums overlap in one member are worth more */
        s->node_count = sim_chance(s, 600) ? 3 : 5;
    unsigned members = s->node_count;
    if (sim_chance(s, s->check_promises ? 600 : 350)) { /* some come later */
        s->temper.members_every_ns = sim_between(s, 20 * SIM_MS, sim_chance(s, 500) ? 200 * SIM_MS : 3000 * SIM_MS);
        s->node_count = (unsigned)sim_between(s, members, SIM_NODES_MAX);
    }
    unsigned learners = sim_chance(s, 200) ? (unsigned)sim_between(s, 0, MIN(2u, members - 1)) : 0;
    sim_draw_members(s, members - learners, learners);
    s->election = sim_chance(s, 250) ? RAFT_ELECTION_MANUAL : RAFT_ELECTION_AUTO;
    s->reads_by = sim_chance(s, 500) ? RAFT_READS_LEASE : RAFT_READS_READINDEX;
    s->cache_bytes = (size_t)sim_between(s, 0, 4000);
    for (uint32_t id = 1; id <= s->node_count; id++) {
        struct sim_node *n = &s->nodes[id];
        n->id = id;
        n->writes_end = &n->writes;
        n->clock_offset_ns = sim_between(s, 0, 1000000 * SIM_MS);
        n->clock_ppm = sim_between(s, -SIM_DRIFT_PPM_MAX, SIM_DRIFT_PPM_MAX);
    }
}

static void draw_temper(struct sim *s)
{
    struct sim_temper *t = &s->temper;
    t->loss = sim_chance(s, 300) ? 0 : (unsigned)sim_between(s, 0, 200);
    t->duplicate = (unsigned)sim_between(s, 0, 100);
    t->cut = sim_chance(s, 500) ? 0 : (unsigned)sim_between(s, 0, 950);
    t->reappoint = (unsigned)sim_between(s, 0, sim_chance(s, 500) ? 50 : 400);
    t->slow = (unsigned)sim_between(s, 0, sim_chance(s, 700) ? 50 : 400);
    t->delay_ns = sim_between(s, SIM_MS / 5, 15 * SIM_MS);
    t->slow_ns = sim_between(s, 10 * SIM_MS, sim_chance(s, 500) ? 100 * SIM_MS : 1500 * SIM_MS);
    t->write_ns = sim_between(s, SIM_MS / 5, sim_chance(s, 200) ? 200 * SIM_MS : 20 * SIM_MS);
    t->apply_ns = sim_between(s, SIM_MS / 10, 10 * SIM_MS);
    t->fault_every_ns = sim_between(s, 40 * SIM_MS, 1000 * SIM_MS);
    t->client_every_ns = sim_between(s, 2 * SIM_MS, 60 * SIM_MS);
    t->leader_crash = sim_chance(s, 400) ? (unsigned)sim_between(s, 0, 900) : 0;
    t->voter_crash = sim_chance(s, 400) ? (unsigned)sim_between(s, 0, 300) : 0;
    t->checkpoint = (unsigned)sim_between(s, 0, 100);
    t->compact = sim_chance(s, 500) ? 0 : (unsigned)sim_between(s, 0, 30);
    t->rude = sim_chance(s, 500) ? 0 : (unsigned)sim_between(s, 0, 1000);
    t->rash = sim_chance(s, 600) || t->members_every_ns == 0 ? 0 : (unsigned)sim_between(s, 0, 1000);
    t->follow = sim_chance(s, 300) ? 0 : (unsigned)sim_between(s, 0, 700);
    t->offer_ns = sim_between(s, 2 * SIM_MS, sim_chance(s, 700) ? 50 * SIM_MS : 500 * SIM_MS);
}

/* What elections fear most: leaders and voters that die young, appends of which only a part arrives, slow letters. */
static void draw_unrest(struct sim *s)
{
    struct sim_temper *t = &s->temper;
    s->election = sim_chance(s, 750) ? RAFT_ELECTION_MANUAL : RAFT_ELECTION_AUTO;
    t->loss = (unsigned)sim_between(s, 0, 300);
    t->cut = (unsigned)sim_between(s, 300, 950);
    t->slow = (unsigned)sim_between(s, 100, 500);
    t->slow_ns = sim_between(s, 20 * SIM_MS, 300 * SIM_MS);
    t->fault_every_ns = sim_between(s, 40 * SIM_MS, 300 * SIM_MS);
    t->leader_crash = (unsigned)sim_between(s, 200, 900);
    t->voter_crash = (unsigned)sim_between(s, 0, 400);
    t->reappoint = (unsigned)sim_between(s, 50, 400);
    t->client_every_ns = sim_between(s, 10 * SIM_MS, 100 * SIM_MS);
    if (sim_chance(s, 300)) { /* disks so slow that leaders come and go while one write is under way */
        t->write_ns = sim_between(s, 100 * SIM_MS, 1000 * SIM_MS);
        t->leader_crash = t->voter_crash = 0;
    }
}

/* What leases fear most: a leader that doesn't hear how quickly it is replaced, clocks at the edge of what is allowed,
 * and clients that keep asking it. */
static void draw_coups(struct sim *s)
{
    struct sim_temper *t = &s->temper;
    s->election = RAFT_ELECTION_AUTO;
    s->reads_by = sim_chance(s, 700) ? RAFT_READS_LEASE : RAFT_READS_READINDEX;
    t->coup = 700;
    t->loss = t->leader_crash = t->voter_crash = 0;
    t->delay_ns = sim_between(s, SIM_MS / 5, 2 * SIM_MS);
    t->slow = sim_chance(s, 500) ? 0 : (unsigned)sim_between(s, 0, 400);
    t->slow_ns = sim_between(s, 5 * SIM_MS, 400 * SIM_MS);
    t->write_ns = t->apply_ns = sim_between(s, SIM_MS / 5, 2 * SIM_MS);
    t->fault_every_ns = sim_between(s, 150 * SIM_MS, 400 * SIM_MS);
    t->client_every_ns = sim_between(s, SIM_MS / 2, 3 * SIM_MS);
    for (uint32_t id = 1; id <= s->node_count; id++)
        if (sim_chance(s, 700))
            s->nodes[id].clock_ppm = sim_chance(s, 500) ? SIM_DRIFT_PPM_MAX : -SIM_DRIFT_PPM_MAX;
}

static struct sim_node *any_node(struct sim *s)
{
    return &s->nodes[sim_between(s, 1, s->node_count)];
}

static bool is_alive(const struct sim *s, const struct sim_node *n)
{
    return n->raft && !n->suspended && n->paused_until_ns <= s->now_ns;
}

static struct sim_node *some_leader(struct sim *s)
{
    uint32_t start = (uint32_t)sim_between(s, 1, s->node_count);
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct sim_node *n = &s->nodes[(start + i - 1) % s->node_count + 1];
        if (is_alive(s, n) && n->role == RAFT_LEADER)
            return n;
    }
    return any_node(s);
}

/* ---- clients ---- */

static void propose(struct sim *s, struct sim_node *n)
{
    struct raft_entry entries[4];
    uint8_t data[4][SIM_DATA_BYTES] = {{0}};
    unsigned count = (unsigned)sim_between(s, 1, 4);
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = ++s->next_value;
        memcpy(data[i], &value, sizeof value);
        entries[i] = (struct raft_entry){.type = RAFT_ENTRY_COMMAND,
                                         .data = SLICE(data[i], (size_t)sim_between(s, sizeof value, SIM_DATA_BYTES))};
    }
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE, .propose = {.entries = entries, .count = count}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
}

static void ask(struct sim *s, struct sim_node *n)
{
    if (s->read_count == s->read_capacity) {
        s->read_capacity = MAX(2 * s->read_capacity, 64u);
        s->reads = mem_realloc(s->reads, s->read_capacity * sizeof *s->reads);
    }
    s->reads[s->read_count++] =
        (struct sim_read){.id = ++s->next_read, .required = s->committed.last, .node = n->id, .asked_ns = s->now_ns};
    struct raft_event event = {.type = RAFT_EVENT_READ, .read = {.id = s->next_read, .forward = sim_chance(s, 800)}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
}

static void client(struct sim *s)
{
    struct sim_node *n = sim_chance(s, 50) ? any_node(s) : some_leader(s);
    bool reads = !s->healing && sim_chance(s, 500);
    if (reads && sim_chance(s, s->temper.follow))
        n = any_node(s);
    if (is_alive(s, n)) {
        if (reads)
            ask(s, n);
        else
            propose(s, n);
    }
    sim_post(s, s->now_ns + sim_between(s, 1, 2 * s->temper.client_every_ns), SIM_CLIENT, 0, NULL);
}

/* ---- faults ---- */

static void order(struct sim *s, struct sim_node *n, struct raft_event event, const char *what)
{
    struct raft_update update;
    sim_trace(s, n->id, "%s", what);
    sim_step(s, n, &event, &update);
}

static void part(struct sim *s)
{
    unsigned kind = (unsigned)sim_between(s, 0, 3);
    sim_trace(s, 0, "partition of kind %u", kind);
    bool side[SIM_NODES_MAX + 1];
    for (uint32_t id = 1; id <= s->node_count; id++)
        side[id] = sim_chance(s, 500);
    uint32_t alone = any_node(s)->id;
    for (uint32_t a = 1; a <= s->node_count; a++)
        for (uint32_t b = 1; b <= s->node_count; b++)
            if (kind == 0)
                s->cut[a][b] = side[a] != side[b];
            else if (kind == 1)
                s->cut[a][b] = side[a] && !side[b];
            else if (kind == 2)
                s->cut[a][b] = a == alone || b == alone;
            else
                s->cut[a][b] = sim_chance(s, 300);
}

static void restart_later(struct sim *s, const struct sim_node *n)
{
    int64_t longest = sim_chance(s, 300) ? 10 * SIM_MS : 800 * SIM_MS;
    sim_post(s, s->now_ns + sim_between(s, SIM_MS, longest), SIM_RESTART, n->id, NULL);
}

static void suspend(struct sim *s, struct sim_node *n)
{
    order(s, n, (struct raft_event){.type = RAFT_EVENT_STEP_DOWN}, "steps down and falls silent");
    n->suspended = true;
    sim_post(s, s->now_ns + sim_between(s, SIM_MS, 800 * SIM_MS), SIM_RESUME, n->id, NULL);
}

static void coup(struct sim *s)
{
    struct sim_node *n = some_leader(s), *other = any_node(s);
    memset(s->cut, 0, sizeof s->cut);
    if (!is_alive(s, n) || n->role != RAFT_LEADER || n == other)
        return;
    if (sim_chance(s, 300))
        order(s, n, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .transfer = {.target = other->id}},
              "is to hand over");
    if (sim_chance(s, 300))
        for (uint32_t id = 1; id <= s->node_count; id++)
            if (id != n->id && s->nodes[id].raft) {
                sim_crash(s, &s->nodes[id]);
                sim_post(s, s->now_ns + sim_between(s, SIM_MS / 10, 5 * SIM_MS), SIM_RESTART, id, NULL);
            }
    if (sim_chance(s, 500))
        sim_post(s, s->now_ns + sim_between(s, 0, SIM_ELECTION_NS), SIM_CAMPAIGN, other->id, NULL);
    sim_post(s, s->now_ns + sim_between(s, 0, 5 * SIM_MS), SIM_ISOLATE, n->id, NULL);
}

static void isolate(struct sim *s, const struct sim_node *n)
{
    sim_trace(s, n->id, "is cut off");
    bool deaf_only = sim_chance(s, 200);
    for (uint32_t id = 1; id <= s->node_count; id++) {
        s->cut[id][n->id] = true;
        s->cut[n->id][id] = !deaf_only;
    }
}

/* A trap for leases, in two faults: the leader reaches a bare majority only; then it is cut off from all, the rest can
 * talk, and one of those that granted its lease is shaken: it falls silent for a moment, or is told to campaign. */
static bool trap(struct sim *s)
{
    struct sim_node *leader = &s->nodes[s->trapped];
    if (s->trapped == 0) {
        leader = some_leader(s);
        if (leader->role != RAFT_LEADER || !sim_chance(s, 200))
            return false;
        s->trapped = leader->id;
        memset(s->cut, 0, sizeof s->cut);
        unsigned quorum = sim_voters(s) / 2 + 1, kept = 1;
        for (uint32_t id = 1; id <= s->node_count; id++)
            if (id != leader->id && kept++ >= quorum)
                s->cut[id][leader->id] = s->cut[leader->id][id] = true;
        return true;
    }
    unsigned shaken = 0;
    for (uint32_t id = 1; id <= s->node_count; id++) {
        struct sim_node *n = &s->nodes[id];
        bool granted = id != leader->id && !s->cut[id][leader->id];
        if (granted && is_alive(s, n) && shaken++ == 0) {
            if (sim_chance(s, 500)) {
                order(s, n, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}, "is told to campaign");
            } else {
                order(s, n, (struct raft_event){.type = RAFT_EVENT_STEP_DOWN}, "steps down and falls silent");
                n->suspended = true;
                sim_post(s, s->now_ns + sim_between(s, SIM_MS / 10, 5 * SIM_MS), SIM_RESUME, n->id, NULL);
            }
        }
    }
    memset(s->cut, 0, sizeof s->cut);
    for (uint32_t id = 1; id <= s->node_count; id++)
        s->cut[id][leader->id] = s->cut[leader->id][id] = id != leader->id;
    s->trapped = 0;
    return true;
}

static void fault(struct sim *s)
{
    if (trap(s)) {
        sim_post(s, s->now_ns + sim_between(s, 1, 2 * s->temper.fault_every_ns), SIM_FAULT, 0, NULL);
        return;
    }
    struct sim_node *n = sim_chance(s, 500) ? some_leader(s) : any_node(s);
    unsigned kind = (unsigned)sim_between(s, 0, 18);
    if (sim_chance(s, s->temper.coup)) {
        coup(s);
    } else if (kind <= 2) {
        part(s);
    } else if (kind <= 5) {
        sim_trace(s, 0, "network heals");
        memset(s->cut, 0, sizeof s->cut);
    } else if (kind <= 8 && n->raft) {
        sim_crash(s, n);
        restart_later(s, n);
    } else if (kind == 9 && s->crashes > 0) {
        for (uint32_t id = 1; id <= s->node_count; id++) /* the power fails */
            if (s->nodes[id].raft) {
                sim_crash(s, &s->nodes[id]);
                restart_later(s, &s->nodes[id]);
            }
    } else if (kind == 16) {
        sim_offer_needlessly(s, n, any_node(s));
    } else if (kind == 17 && s->temper.members_every_ns != 0) {
        sim_lose_some_disk(s);
    } else if (is_alive(s, n)) {
        if (kind <= 11) {
            sim_trace(s, n->id, "is paused");
            n->paused_until_ns = s->now_ns + sim_between(s, SIM_MS, 600 * SIM_MS);
        } else if (kind == 12) {
            suspend(s, n);
        } else if (kind == 13) {
            order(s, n, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .transfer = {.target = any_node(s)->id}},
                  "is to hand over");
        } else if (kind == 14) {
            order(s, n, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}, "is told to campaign");
        } else {
            sim_compact(s, n);
        }
    }
    sim_post(s, s->now_ns + sim_between(s, 1, 2 * s->temper.fault_every_ns), SIM_FAULT, 0, NULL);
}

/* The manual mode has no timers: somebody sends its heartbeats and appoints its leaders. */
static void conduct(struct sim *s)
{
    bool led = false;
    uint64_t term = 0;
    for (uint32_t id = 1; id <= s->node_count; id++) {
        struct sim_node *n = &s->nodes[id];
        if (!is_alive(s, n))
            continue;
        if (n->role == RAFT_LEADER)
            order(s, n, (struct raft_event){.type = RAFT_EVENT_HEARTBEAT}, "sends heartbeats");
        led = n->term > term ? n->role == RAFT_LEADER : led || (n->term == term && n->role == RAFT_LEADER);
        term = MAX(term, n->term);
    }
    unsigned appointed = s->healing ? 1 : (unsigned)sim_between(s, 1, 2); /* two at once, and the votes split */
    if (led ? !s->healing && sim_chance(s, s->temper.reappoint) : sim_chance(s, 200))
        for (unsigned i = 0; i < appointed; i++) {
            struct sim_node *n = any_node(s);
            if (is_alive(s, n))
                order(s, n, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}, "is appointed");
        }
    sim_post(s, s->now_ns + SIM_ELECTION_NS / 5, SIM_CONDUCT, 0, NULL);
}

/* ---- the run ---- */

static void heal(struct sim *s)
{
    sim_trace(s, 0, "everything is healed");
    s->healing = true;
    s->heal_value = s->next_value + 1;
    s->end_ns = s->now_ns + SIM_HEAL_NS;
    memset(s->cut, 0, sizeof s->cut);
    s->temper.slow = 0;
    s->temper.delay_ns = MIN(s->temper.delay_ns, 5 * SIM_MS);
    s->temper.write_ns = MIN(s->temper.write_ns, 5 * SIM_MS);
    s->temper.client_every_ns = 20 * SIM_MS;
    for (uint32_t id = 1; id <= s->node_count; id++) {
        s->nodes[id].paused_until_ns = 0;
        s->nodes[id].suspended = false;
        if (!s->nodes[id].raft)
            sim_start(s, &s->nodes[id]);
        else
            sim_tick(s, &s->nodes[id]);
    }
}

/* What the healed cluster has not done yet; NULL when it is whole. */
static const char *missing(const struct sim *s)
{
    const struct raft_config *c = sim_config(s->committed_config);
    for (unsigned i = 0; i < c->count; i++)
        if (sim_is_lost(s, &c->members[i]))
            return "a member that lost its disk is still one";
        else if (s->nodes[c->members[i].id].machine.value < s->heal_value)
            return "a member has not applied what was proposed since";
    /* Who has been removed doesn't get what it would have to apply first. */
    for (unsigned i = 0; i < s->read_count; i++)
        if (s->reads[i].index == 0 || raft_config_find(c, s->reads[i].node))
            return "a read has no answer";
    return c->joint ? "a change of members has not ended" : NULL;
}

static void deliver(struct sim *s, struct sim_node *n, struct sim_message *message)
{
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &message->m};
    struct raft_update update;
    if (!sim_admits(n, message))
        return;
    sim_step(s, n, &event, &update);
}

static void node_event(struct sim *s, struct sim_node *n, struct sim_event *e)
{
    if (e->type == SIM_RESTART) {
        if (!n->raft)
            sim_start(s, n);
        return;
    }
    bool from_outside =
        e->type == SIM_MESSAGE || e->type == SIM_OFFER || e->type == SIM_CAMPAIGN || e->type == SIM_MEMBERS;
    if (!n->raft || (!from_outside && e->incarnation != n->incarnation))
        return;
    if (n->paused_until_ns > s->now_ns && e->type != SIM_CRASH) {
        e->at_ns = n->paused_until_ns;
        sim_post_event(s, *e);
        if (e->type == SIM_TICK)
            n->tick_at_ns = n->paused_until_ns;
        e->message = NULL;
        e->snapshot = NULL;
        return;
    }
    switch (e->type) {
    case SIM_MESSAGE:
        if (!n->suspended)
            deliver(s, n, e->message);
        break;
    case SIM_TICK:
        if (!n->suspended)
            sim_tick(s, n);
        else
            n->tick_at_ns = 0;
        break;
    case SIM_WRITTEN:
        sim_written(s, n);
        break;
    case SIM_APPLY:
        sim_apply(s, n);
        break;
    case SIM_RESUME:
        if (n->suspended) {
            n->suspended = false;
            sim_trace(s, n->id, "is restored");
            sim_tick(s, n);
        }
        break;
    case SIM_CRASH:
        if (!s->healing) {
            sim_crash(s, n);
            restart_later(s, n);
        }
        break;
    case SIM_ISOLATE:
        if (!s->healing)
            isolate(s, n);
        break;
    case SIM_CAMPAIGN:
        if (!s->healing && !n->suspended)
            order(s, n, (struct raft_event){.type = RAFT_EVENT_CAMPAIGN}, "is told to campaign");
        break;
    case SIM_OFFER:
        if (!n->suspended)
            sim_install(s, n, e->snapshot);
        break;
    case SIM_MEMBERS:
        if (!s->healing && !n->suspended && n->role == RAFT_LEADER)
            sim_change_members(s, n);
        break;
    default:
        CHECK(false);
    }
}

static void want_members(struct sim *s)
{
    struct sim_node *n = some_leader(s);
    if (is_alive(s, n) && n->role == RAFT_LEADER) {
        if (s->healing)
            sim_end_losses(s, n);
        else
            sim_change_members(s, n);
    }
    int64_t longest = s->healing ? 200 * SIM_MS : 2 * s->temper.members_every_ns;
    sim_post(s, s->now_ns + sim_between(s, 1, longest), SIM_MEMBERS, 0, NULL);
}

static void world_event(struct sim *s, const struct sim_event *e)
{
    if (e->type == SIM_CLIENT)
        client(s);
    else if (e->type == SIM_CONDUCT)
        conduct(s);
    else if (e->type == SIM_MEMBERS)
        want_members(s);
    else if (!s->healing)
        fault(s);
}

static void sim_close(struct sim *s)
{
    struct sim_event e;
    while (sim_take(s, &e))
        free(e.message), free(e.snapshot);
    for (uint32_t id = 1; id <= s->node_count; id++)
        sim_node_close(&s->nodes[id]);
    check_close(s);
    sim_configs_close();
    free(s->events);
    free(s->reads);
    s->events = NULL;
    s->reads = NULL;
}

void sim_run(struct sim *s, uint64_t seed, bool trace, bool check_promises)
{
    *s = (struct sim){.seed = seed, .trace = trace, .check_promises = check_promises};
    prng_seed(&s->prng, seed);
    draw_cluster(s);
    draw_temper(s);
    if (!check_promises ? seed % 2 == 0 : sim_chance(s, 350))
        draw_unrest(s);
    else if (!check_promises || sim_chance(s, 333))
        draw_coups(s);
    s->end_ns = sim_between(s, 2000 * SIM_MS, 40000 * SIM_MS);
    sim_trace(s, 0, "%u voters, %u learners, %s elections, reads by %s", sim_voters(s),
              sim_config(s->config)->count - sim_voters(s), s->election == RAFT_ELECTION_AUTO ? "automatic" : "manual",
              s->reads_by == RAFT_READS_LEASE ? "lease" : "ReadIndex");
    for (uint32_t id = 1; id <= s->node_count; id++)
        sim_start(s, &s->nodes[id]);
    sim_post(s, s->temper.fault_every_ns, SIM_FAULT, 0, NULL);
    sim_post(s, s->temper.client_every_ns, SIM_CLIENT, 0, NULL);
    if (s->temper.members_every_ns != 0)
        sim_post(s, s->temper.members_every_ns, SIM_MEMBERS, 0, NULL);
    if (s->election == RAFT_ELECTION_MANUAL)
        sim_post(s, SIM_MS, SIM_CONDUCT, 0, NULL);
    struct sim_event e;
    while (sim_take(s, &e)) {
        s->now_ns = e.at_ns;
        if (e.node != 0)
            node_event(s, &s->nodes[e.node], &e);
        else
            world_event(s, &e);
        free(e.message), free(e.snapshot);
        if (s->healing && !missing(s))
            break;
        if (s->now_ns < s->end_ns)
            continue;
        if (s->healing)
            sim_fail(s, "no progress: the cluster was healed %lld ms ago, and %s", (long long)(SIM_HEAL_NS / SIM_MS),
                     missing(s));
        heal(s);
    }
    sim_close(s);
}
