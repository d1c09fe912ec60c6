#include "tests/sim/faults.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/client.h"
#include "tests/sim/disk.h"
#include "tests/sim/levels.h"
#include "tests/sim/network.h"

#define REPAIR_EVERY_NS (300 * NS_PER_MS)
#define DISK_CALLS_MAX 60u  /* a disk that is to fail does so within so many calls */
#define UNHEARD_TIMES 1000u /* the latency of a leader that is as good as not heard */

bool faults_durability;

/* ---- the plan ---- */

static bool chance(struct world *w, unsigned percent)
{
    return world_chance(w, percent);
}

void faults_plan(struct world *w)
{
    static const unsigned sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7};
    struct plan *p = &w->plan;
    p->members = sizes[prng_below(&w->prng, ARRAY_SIZE(sizes))];
    p->memberships = chance(w, 50);
    p->spares = p->memberships ? (unsigned)prng_below(&w->prng, MIN(WORLD_MEMBERS - p->members, 2u) + 1) : 0;
    p->clients = (unsigned)prng_between(&w->prng, 1, 4);
    if (chance(w, 10))
        p->clients = WORLD_CLIENTS;
    p->faults_ns = world_between_ns(w, 4 * NS_PER_S, 14 * NS_PER_S);
    p->heal_ns = 60 * NS_PER_S;
    p->election_timeout_ns = world_between_ns(w, 300 * NS_PER_MS, 1000 * NS_PER_MS);
    p->heartbeat_ns = p->election_timeout_ns / 5;
    p->session_timeout_ns = chance(w, 30) ? 2 * NS_PER_S : 10 * NS_PER_S;
    p->log_entries = chance(w, 70) ? (unsigned)prng_between(&w->prng, 8, 40) : 100000;
    p->read_index = chance(w, 40);
    p->follower_reads = chance(w, 50);
    p->loss_percent = chance(w, 40) ? (unsigned)prng_below(&w->prng, 15) : 0;
    p->duplicate_percent = chance(w, 40) ? (unsigned)prng_below(&w->prng, 10) : 0;
    p->reordering = chance(w, 50);
    p->latency_min_ns = 50 * NS_PER_US;
    p->latency_max_ns = chance(w, 50) ? NS_PER_MS : 30 * NS_PER_MS;
    p->disk_min_ns = 50 * NS_PER_US;
    p->disk_max_ns = chance(w, 50) ? NS_PER_MS : 50 * NS_PER_MS;
    p->stray_percent = chance(w, 50) ? (unsigned)prng_below(&w->prng, 40) : 0;
    p->disk_faults = chance(w, 40);
    p->clock_faults = chance(w, 50);
    p->fault_every_ns = world_between_ns(w, 100 * NS_PER_MS, 2 * NS_PER_S);
    p->durability = faults_durability || w->seed % 3 == 0;
    trace(w, WORLD_NOBODY, "%u members, %u spares, %u clients, %s, log of %u entries", p->members, p->spares,
          p->clients, p->read_index ? "read index" : "leases", p->log_entries);
}

/* ---- what is known of the cluster from above ---- */

struct member *faults_leader(struct world *w)
{
    struct member *best = NULL;
    for (unsigned i = 0; i < w->member_count; i++) {
        struct member *m = w->members[i];
        struct replica_status status;
        if (!member_up(m) || m->role != RAFT_LEADER || m->paused_until_ns > w->now_ns || (best && best->term > m->term))
            continue;
        replica_status(m->replica, &status);
        if (status.leader_ready && !status.suspended)
            best = m;
    }
    return best;
}

static bool same_config(const struct raft_config *a, const struct raft_config *b)
{
    if (a->count != b->count || a->joint || b->joint)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (a->members[i].id != b->members[i].id || a->members[i].voter != b->members[i].voter ||
            memcmp(a->members[i].identity, b->members[i].identity, 16) != 0)
            return false;
    return true;
}

static bool is_zero(const uint8_t identity[16])
{
    static const uint8_t none[16];
    return memcmp(identity, none, sizeof none) == 0;
}

/* Every member of the configuration is up, has the same one, and is known by its identity. */
static bool all_agree(struct world *w, struct member *leader)
{
    const struct raft_config *config = replica_config(leader->replica);
    struct replica_status status;
    replica_status(leader->replica, &status);
    if (status.raft.config_pending)
        return false;
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_member *member = &config->members[i];
        struct member *m = w->members[member->id - 1];
        if (!member_up(m) || !same_config(config, replica_config(m->replica)) || is_zero(member->identity) ||
            memcmp(member->identity, m->identity, 16) != 0 || m->disk.fail_at != 0 || m->durability_disk.fail_at != 0)
            return false;
        replica_status(m->replica, &status);
        if (member->voter && status.raft.last < status.raft.committed)
            return false;
    }
    return true;
}

static unsigned count_voters(const struct raft_config *config)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < config->count; i++)
        voters += config->members[i].voter;
    return voters;
}

bool faults_disk_failed(struct world *w, const struct member *m)
{
    (void)w;
    return m->disk_fails;
}

static bool somebody_lost(const struct world *w)
{
    for (unsigned i = 0; i < w->member_count; i++)
        if (w->members[i]->disk_fails)
            return true;
    return false;
}

bool faults_settled(struct world *w)
{
    struct member *leader = faults_leader(w);
    struct replica_status status;
    if (!leader || somebody_lost(w))
        return false;
    replica_status(leader->replica, &status);
    return !status.raft.config_pending;
}

/* ---- repair: what an administrator would do ---- */

struct fault_event {
    struct event event;
    uint32_t target;
    uint64_t life;
};

static void later(struct world *w, int64_t delay_ns, uint32_t target, void (*run)(struct world *w, struct event *e))
{
    struct fault_event *e = MEM_NEW(struct fault_event);
    e->event = (struct event){.member = WORLD_NOBODY, .run = run};
    e->target = target;
    e->life = target == WORLD_NOBODY ? 0 : w->members[target]->life;
    world_after(w, delay_ns, &e->event);
}

static enum err change(struct world *w, struct member *leader, enum replica_change_kind kind, const struct member *m)
{
    static const char *const names[] = {
        [REPLICA_MEMBER_ADD] = "add",       [REPLICA_MEMBER_PROMOTE] = "promote", [REPLICA_MEMBER_DEMOTE] = "demote",
        [REPLICA_MEMBER_REMOVE] = "remove", [REPLICA_MEMBER_MOVE] = "move",       [REPLICA_MEMBER_REJOIN] = "rejoin"};
    char address[32];
    struct err_text why = {""};
    struct replica_change c = {.kind = kind, .id = m->index + 1, .address = address, .level_max = m->level_max};
    snprintf(address, sizeof address, "m%u:1", m->index + 1);
    memcpy(c.identity, m->identity, sizeof c.identity);
    trace_whose(leader->index);
    enum err e = replica_change_members(leader->replica, &c, &why);
    trace(w, leader->index, "%s member %u: %s", names[kind], m->index + 1, err_name(e));
    w->counts.changes += e == ERR_OK;
    member_settle(w, leader);
    if (e == ERR_LEVEL)
        levels_renew(w, w->members[m->index]);
    return e;
}

/* A disk that failed is replaced; the new one waits to be taken back. */
static void replace_disks(struct world *w)
{
    for (unsigned i = 0; i < w->member_count; i++) {
        struct member *m = w->members[i];
        if (m->faulted && m->disk_fails) {
            member_wipe(w, m);
            member_start(w, m);
        }
    }
}

/* One step towards all members being voters again. */
static void take_back(struct world *w, struct member *leader)
{
    const struct raft_config *config = replica_config(leader->replica);
    for (unsigned i = 0; i < w->member_count; i++) {
        struct member *m = w->members[i];
        const struct raft_member *member = raft_config_find(config, m->index + 1);
        if (!member_up(m) || (member && !member->voter && !is_zero(member->identity) && m == leader))
            continue;
        bool foreign = member && !is_zero(member->identity) && memcmp(member->identity, m->identity, 16) != 0;
        /* Asked twice: its old self goes, then the new one comes. */
        if ((foreign || (!member && m->disk_fails)) && change(w, leader, REPLICA_MEMBER_REJOIN, m) == ERR_OK)
            return;
        if (member && !foreign && m->disk_fails && !m->rotten && member->voter && all_agree(w, leader))
            m->disk_fails = false; /* it is one of them again */
        bool promote = member && !foreign && !member->voter && (w->healing || m->disk_fails || chance(w, 40));
        if (promote && change(w, leader, REPLICA_MEMBER_PROMOTE, m) == ERR_OK)
            return;
    }
}

static void repair(struct world *w, struct event *e)
{
    (void)e;
    replace_disks(w);
    struct member *leader = faults_leader(w);
    if (leader)
        take_back(w, leader);
    later(w, REPAIR_EVERY_NS, WORLD_NOBODY, repair);
}

/* ---- what goes wrong ---- */

static struct member *any_member(struct world *w)
{
    return w->members[prng_below(&w->prng, w->member_count)];
}

static struct member *any_target(struct world *w)
{
    struct member *leader = faults_leader(w);
    return leader && chance(w, 40) ? leader : any_member(w);
}

static void restart(struct world *w, struct event *event)
{
    const struct fault_event *e = container_of(event, struct fault_event, event);
    struct member *m = w->members[e->target];
    if (!m->replica && m->life == e->life && !m->stays_down)
        member_start(w, m);
}

static void down_for_a_while(struct world *w, struct member *m)
{
    if (!m->replica)
        later(w, world_between_ns(w, NS_PER_MS, (chance(w, 20) ? 8 : 2) * NS_PER_S), m->index, restart);
}

static void crash(struct world *w, struct member *m)
{
    member_crash(w, m, chance(w, 50) ? MEMBER_CRASH_POWER : MEMBER_CRASH_PROCESS);
    down_for_a_while(w, m);
}

static void fault_crash(struct world *w)
{
    crash(w, any_target(w));
}

static void fault_crash_all(struct world *w)
{
    for (unsigned i = 0; i < w->member_count; i++)
        crash(w, w->members[i]);
}

/* The member that writes next will be without power in the middle of it; then it is down until somebody looks. */
static void watch_cut_write(struct world *w, struct event *event)
{
    const struct fault_event *e = container_of(event, struct fault_event, event);
    struct member *m = w->members[e->target];
    m->cut_write_after = 0;
    if (!m->replica && m->life == e->life + 1)
        member_start(w, m);
}

static void fault_cut_write(struct world *w)
{
    struct member *m = any_target(w);
    if (!member_up(m))
        return;
    m->cut_write_after = 1 + (unsigned)prng_below(&w->prng, 8);
    later(w, world_between_ns(w, 500 * NS_PER_MS, 3 * NS_PER_S), m->index, watch_cut_write);
}

/* Mostly of a leader, and long enough for another to take its place. */
static void fault_pause(struct world *w)
{
    struct member *leader = faults_leader(w), *m = leader && chance(w, 70) ? leader : any_member(w);
    int64_t longest_ns = chance(w, 20) ? w->plan.session_timeout_ns * 3 / 2 : 4 * w->plan.election_timeout_ns;
    m->paused_until_ns =
        w->now_ns + world_between_ns(w, chance(w, 30) ? NS_PER_MS : w->plan.election_timeout_ns, longest_ns);
    trace(w, m->index, "is stopped for %lld ms", (long long)((m->paused_until_ns - w->now_ns) / NS_PER_MS));
}

static void heal_links(struct world *w, struct event *e)
{
    (void)e;
    trace(w, WORLD_NOBODY, "all links are whole");
    network_heal(w);
}

static void cut_between(struct world *w, const bool side[WORLD_ENDPOINTS], bool one_way)
{
    for (unsigned i = 0; i < WORLD_ENDPOINTS; i++)
        for (unsigned j = 0; j < WORLD_ENDPOINTS; j++)
            if ((side[i] && !side[j]) || (!one_way && !side[i] && side[j]))
                network_cut(w, i, j);
}

static void fault_partition(struct world *w)
{
    bool side[WORLD_ENDPOINTS] = {false}, one_way = chance(w, 30);
    if (chance(w, 50)) {
        side[any_target(w)->index] = true;
    } else {
        for (unsigned i = 0; i < w->member_count; i++)
            side[i] = chance(w, 50);
    }
    for (unsigned i = WORLD_MEMBERS; i < WORLD_ENDPOINTS; i++)
        side[i] = chance(w, 50);
    trace(w, WORLD_NOBODY, "links are cut%s", one_way ? " one way" : "");
    cut_between(w, side, one_way);
    later(w, world_between_ns(w, 100 * NS_PER_MS, 5 * NS_PER_S), WORLD_NOBODY, heal_links);
}

/* Members don't hear the leader, clients do: what it takes ahead of its order is in no other raft log. */
void faults_put(struct world *w)
{
    const struct member *leader = faults_leader(w);
    if (!leader || w->healing || !chance(w, 8))
        return;
    trace(w, leader->index, "is not heard by the other members");
    for (unsigned i = 0; i < w->member_count; i++)
        if (i != leader->index)
            network_cut(w, leader->index, i);
    later(w, world_between_ns(w, 100 * NS_PER_MS, 4 * w->plan.election_timeout_ns), WORLD_NOBODY, heal_links);
}

/* For all of them; the leader, which may have what the others lack, comes back last. */
static void power_cut(struct world *w, struct member *leader)
{
    for (unsigned i = 0; i < w->member_count; i++) {
        struct member *m = w->members[i];
        member_crash(w, m, MEMBER_CRASH_POWER);
        int64_t longest_ns = m == leader ? 5 * NS_PER_S : 50 * NS_PER_MS;
        if (!m->replica)
            later(w, world_between_ns(w, longest_ns / 2, longest_ns), m->index, restart);
    }
}

void faults_durable(struct world *w)
{
    struct member *leader = faults_leader(w);
    if (!leader || w->healing)
        return;
    const struct link *next = &w->links[leader->index][(leader->index + 1) % w->member_count];
    bool unheard = next->cut || next->slow == UNHEARD_TIMES;
    if (!chance(w, unheard ? 40 : 5))
        return;
    if (chance(w, 30))
        power_cut(w, leader);
    else if (chance(w, 30))
        fault_crash_all(w);
    else
        crash(w, leader);
}

/* One pair that doesn't hear each other, while all others hear both. */
static void fault_cut_pair(struct world *w)
{
    const struct member *a = any_target(w), *b = any_member(w);
    if (a == b)
        return;
    trace(w, a->index, "is not heard by member %u", b->index + 1);
    network_cut(w, a->index, b->index);
    if (chance(w, 50))
        network_cut(w, b->index, a->index);
    later(w, world_between_ns(w, 100 * NS_PER_MS, 5 * NS_PER_S), WORLD_NOBODY, heal_links);
}

static void fault_slow_links(struct world *w)
{
    const struct member *m = any_target(w);
    unsigned times = (unsigned)prng_between(&w->prng, 5, 100);
    trace(w, m->index, "has links that are %u times as slow", times);
    for (unsigned i = 0; i < WORLD_ENDPOINTS; i++)
        w->links[m->index][i].slow = w->links[i][m->index].slow = times;
    later(w, world_between_ns(w, 500 * NS_PER_MS, 4 * NS_PER_S), WORLD_NOBODY, heal_links);
}

static void resume(struct world *w, struct event *event)
{
    const struct fault_event *e = container_of(event, struct fault_event, event);
    struct member *m = w->members[e->target];
    if (!m->replica)
        return;
    trace_whose(m->index);
    replica_resume(m->replica);
    member_settle(w, m);
}

static void fault_suspend(struct world *w)
{
    struct member *m = any_target(w);
    if (!member_up(m))
        return;
    trace(w, m->index, "is suspended");
    trace_whose(m->index);
    replica_suspend(m->replica);
    later(w, world_between_ns(w, 100 * NS_PER_MS, 3 * NS_PER_S), m->index, resume);
}

static void fault_transfer(struct world *w)
{
    struct member *leader = faults_leader(w);
    uint32_t to = any_member(w)->index + 1;
    if (!leader)
        return;
    trace_whose(leader->index);
    replica_flush_proposals(leader->replica);
    enum err e = replica_transfer(leader->replica, to);
    trace(w, leader->index, "hands over to %u: %s", to, err_name(e));
    member_settle(w, leader);
}

static void fault_campaign(struct world *w)
{
    struct member *m = any_member(w);
    if (!member_up(m))
        return;
    trace_whose(m->index);
    enum err e = replica_campaign(m->replica);
    trace(w, m->index, "campaigns: %s", err_name(e));
    member_settle(w, m);
}

static void fault_clock(struct world *w)
{
    struct member *m = any_member(w);
    if (!w->plan.clock_faults)
        return;
    if (chance(w, 50))
        member_drift(m, (int64_t)prng_below(&w->prng, 50001));
    else
        m->wall_offset_ns = world_between_ns(w, 0, 120 * NS_PER_S) - 60 * NS_PER_S;
    trace(w, m->index, "has another clock: drift %lld ppm, wall %lld s", (long long)m->drift_ppm,
          (long long)(m->wall_offset_ns / NS_PER_S));
    member_settle(w, m);
}

/* A member of three or more loses its disk: wiped at once, or by an error of one of the next calls. */
static void fault_disk(struct world *w)
{
    struct member *leader = faults_leader(w), *m = any_target(w);
    if (!w->plan.disk_faults || !leader || somebody_lost(w) || !all_agree(w, leader))
        return;
    const struct raft_config *config = replica_config(leader->replica);
    if (count_voters(config) < 3 || !raft_config_find(config, m->index + 1))
        return;
    m->disk_fails = true;
    if (chance(w, 50)) {
        member_wipe(w, m);
        member_start(w, m);
        return;
    }
    trace(w, m->index, "has a disk that will fail");
    struct sim_disk *disk = w->plan.durability && chance(w, 40) ? &m->durability_disk : &m->disk;
    disk->fail_with = ERR_IO;
    disk->fail_at = disk->calls + 1 + prng_below(&w->prng, DISK_CALLS_MAX);
}

/* Its disk is replaced in the end, whatever has been noticed. */
static void replace_rotten(struct world *w, struct event *event)
{
    const struct fault_event *e = container_of(event, struct fault_event, event);
    struct member *m = w->members[e->target];
    if (!m->rotten)
        return;
    member_wipe(w, m);
    member_start(w, m);
}

/* Bits of a member's disk are turned while it is down: it may refuse to start, go out of service, or never read them;
 * it must not say anything wrong. */
static void fault_rot(struct world *w)
{
    struct member *leader = faults_leader(w), *m = any_target(w);
    if (!w->plan.disk_faults || !leader || somebody_lost(w) || !all_agree(w, leader))
        return;
    const struct raft_config *config = replica_config(leader->replica);
    if (count_voters(config) < 3 || !raft_config_find(config, m->index + 1))
        return;
    m->disk_fails = m->rotten = true;
    member_crash(w, m, MEMBER_CRASH_PROCESS);
    unsigned bits = disk_rot(m);
    trace(w, m->index, "has %u bits turned", bits);
    w->counts.rotten_bits += bits;
    member_start(w, m);
    later(w, world_between_ns(w, 500 * NS_PER_MS, 4 * NS_PER_S), m->index, replace_rotten);
}

static void fault_members(struct world *w)
{
    static const enum replica_change_kind kinds[] = {REPLICA_MEMBER_ADD, REPLICA_MEMBER_PROMOTE, REPLICA_MEMBER_DEMOTE,
                                                     REPLICA_MEMBER_REMOVE};
    struct member *leader = faults_leader(w), *m = any_target(w);
    if (!w->plan.memberships || !leader || somebody_lost(w))
        return;
    const struct raft_member *member = raft_config_find(replica_config(leader->replica), m->index + 1);
    enum replica_change_kind kind = kinds[prng_below(&w->prng, ARRAY_SIZE(kinds))];
    bool fewer = kind == REPLICA_MEMBER_DEMOTE || kind == REPLICA_MEMBER_REMOVE;
    if (!member)
        kind = REPLICA_MEMBER_ADD;
    else if (fewer && count_voters(replica_config(leader->replica)) < 2)
        return;
    (void)!change(w, leader, kind, m);
}

/* What the leader sends from now on, as the put, is late: the change is ahead of it by more than its place. */
void faults_taken(struct world *w, struct member *m)
{
    if (w->healing || !w->plan.memberships || m != faults_leader(w) || !chance(w, 5))
        return;
    fault_members(w);
    if (!replica_config(m->replica)->joint)
        return;
    for (unsigned i = 0; i < w->member_count; i++)
        w->links[m->index][i].slow = UNHEARD_TIMES;
    later(w, world_between_ns(w, 100 * NS_PER_MS, 4 * w->plan.election_timeout_ns), WORLD_NOBODY, heal_links);
}

static const struct {
    void (*run)(struct world *w);
    unsigned weight;
} faults[] = {{fault_crash, 6},     {fault_crash_all, 1}, {fault_cut_write, 4},  {fault_pause, 4},
              {fault_partition, 5}, {fault_cut_pair, 3},  {fault_slow_links, 2}, {fault_suspend, 2},
              {fault_transfer, 3},  {fault_campaign, 2},  {fault_clock, 1},      {fault_disk, 3},
              {fault_rot, 3},       {fault_members, 10}};

static void next_fault(struct world *w, struct event *e)
{
    (void)e;
    unsigned total = 0, at = 0;
    if (w->healing)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
        total += faults[i].weight;
    unsigned pick = (unsigned)prng_below(&w->prng, total);
    for (; pick >= faults[at].weight; at++)
        pick -= faults[at].weight;
    faults[at].run(w);
    w->counts.faults++;
    later(w, world_between_ns(w, w->plan.fault_every_ns / 4, w->plan.fault_every_ns), WORLD_NOBODY, next_fault);
}

void faults_begin(struct world *w)
{
    later(w, world_between_ns(w, 0, 2 * NS_PER_S), WORLD_NOBODY, next_fault);
    later(w, REPAIR_EVERY_NS, WORLD_NOBODY, repair);
}

/* Now and then one member stays away: the others must do without it. */
static void leave_one_down(struct world *w)
{
    struct member *leader = faults_leader(w), *m = any_member(w);
    if (!leader || !chance(w, 30) || somebody_lost(w) || !all_agree(w, leader) ||
        count_voters(replica_config(leader->replica)) < 3)
        return;
    m->stays_down = true;
    member_crash(w, m, MEMBER_CRASH_POWER);
}

void faults_heal(struct world *w)
{
    w->healing = true;
    trace(w, WORLD_NOBODY, "nothing goes wrong any more");
    network_heal(w);
    leave_one_down(w);
    levels_heal(w);
    for (unsigned i = 0; i < w->member_count; i++) {
        struct member *m = w->members[i];
        m->cut_write_after = 0;
        if (m->stays_down)
            continue;
        m->paused_until_ns = 0;
        if (!m->replica && !m->faulted)
            member_start(w, m);
        if (m->replica) {
            trace_whose(m->index);
            replica_resume(m->replica);
            member_settle(w, m);
        }
        if (m->disk_fails && !m->faulted && (m->disk.fail_at != 0 || m->durability_disk.fail_at != 0)) {
            m->disk.fail_at = m->durability_disk.fail_at = 0; /* it never came to it */
            m->disk_fails = false;
        }
    }
    for (unsigned i = 0; i < w->client_count; i++)
        w->clients[i]->finished = 0;
}
