/* config.c: who takes part. Thesis chapter 4: joint consensus 4.3, catching up 4.2.1, removing the leader 4.2.2. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "raft/core.h"

/* u8 format, u8 joint, u8 count, (u32 id, identity[16], u8 flags, u8 address length, address)* */
#define CONFIG_FORMAT 1u
#define FLAG_VOTER 1u
#define FLAG_OLD_VOTER 2u
#define FLAG_LEAVING 4u

void raft_config_encode(const struct raft_config *c, struct bytes *to)
{
    CHECK(c->count <= LIMIT_NODES);
    bytes_u8(to, CONFIG_FORMAT);
    bytes_u8(to, c->joint);
    bytes_u8(to, (uint8_t)c->count);
    for (unsigned i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];
        size_t length = strlen(m->address);
        bytes_u32(to, m->id);
        bytes_append(to, SLICE(m->identity, sizeof m->identity));
        bytes_u8(to, (uint8_t)((m->voter ? FLAG_VOTER : 0) | (m->old_voter ? FLAG_OLD_VOTER : 0) |
                               (m->leaving ? FLAG_LEAVING : 0)));
        bytes_u8(to, (uint8_t)length);
        bytes_append(to, SLICE((const uint8_t *)m->address, length));
    }
}

static bool has_voters(const struct raft_config *c)
{
    bool voters = false, old_voters = !c->joint;
    for (unsigned i = 0; i < c->count; i++) {
        voters = voters || c->members[i].voter;
        old_voters = old_voters || c->members[i].old_voter;
    }
    return voters && old_voters;
}

/* The joint flags belong to a joint configuration, and a voter does not leave. */
static bool flags_agree(const struct raft_config *c, const struct raft_member *m)
{
    return c->joint ? !(m->leaving && (m->voter || !m->old_voter)) : !m->old_voter && !m->leaving;
}

enum err raft_config_decode(struct slice s, struct raft_config *ret)
{
    struct cursor c = cursor_of(s);
    struct raft_config config = {.count = 0};
    unsigned format = cursor_u8(&c), joint = cursor_u8(&c);
    config.joint = joint == 1;
    config.count = cursor_u8(&c);
    if (!cursor_ok(&c) || format != CONFIG_FORMAT || joint > 1 || config.count > LIMIT_NODES)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < config.count; i++) {
        struct raft_member *m = &config.members[i];
        m->id = cursor_u32(&c);
        struct slice identity = cursor_take(&c, sizeof m->identity);
        unsigned flags = cursor_u8(&c), length = cursor_u8(&c);
        struct slice address = cursor_take(&c, length);
        if (!cursor_ok(&c) || flags > (FLAG_VOTER | FLAG_OLD_VOTER | FLAG_LEAVING) ||
            m->id <= (i > 0 ? config.members[i - 1].id : 0) || memchr(address.data, 0, length))
            return ERR_CORRUPT;
        memcpy(m->identity, identity.data, sizeof m->identity);
        memcpy(m->address, address.data, length);
        m->voter = flags & FLAG_VOTER;
        m->old_voter = flags & FLAG_OLD_VOTER;
        m->leaving = flags & FLAG_LEAVING;
        if (!flags_agree(&config, m))
            return ERR_CORRUPT;
    }
    if (!cursor_done(&c) || (config.count > 0 ? !has_voters(&config) : config.joint))
        return ERR_CORRUPT;
    *ret = config;
    return ERR_OK;
}

const struct raft_member *raft_config_find(const struct raft_config *c, uint32_t id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return &c->members[i];
    return NULL;
}

static bool is_known(const uint8_t identity[16])
{
    static const uint8_t none[16];
    return memcmp(identity, none, sizeof none) != 0;
}

/* Another data directory under the same id is another member. That one becomes known is no change. */
static bool is_same_member(const struct core_peer *p, const struct raft_member *m)
{
    return PLANTED(RAFT_IDENTITY_KEEPS_MATCH) || !is_known(p->identity) || !is_known(m->identity) ||
           memcmp(p->identity, m->identity, sizeof p->identity) == 0;
}

/* Not one that had another disk: a log that is caught up with, or a snapshot, tells of that one too, and who took
 * itself for it would vote and even lead with nothing (P4). */
static bool is_us(const struct raft *r, const struct raft_member *m)
{
    return m->id == r->options.id &&
           (PLANTED(RAFT_IDENTITY_NOT_OWN) || !is_known(m->identity) || !is_known(r->options.identity) ||
            memcmp(m->identity, r->options.identity, sizeof m->identity) == 0);
}

/* ---- the configurations of the log ---- */

const struct core_config *core_newest_config(const struct raft *r)
{
    return &r->configs[r->config_count - 1];
}

const struct raft_config *raft_config(const struct raft *r)
{
    return &core_newest_config(r)->config;
}

static void init_peer(struct raft *r, struct core_peer *p)
{
    p->feed = CORE_PROBE;
    p->next = r->log.last + 1;
    p->commit_told = 0;
    p->acked_round_ns = INT64_MIN;
    p->heard_ns = r->now_ns - 3 * r->options.election_timeout_ns; /* not heard of yet */
}

/* The peers are those of the newest configuration; who was one already keeps what is known of it. */
static void configure(struct raft *r)
{
    const struct raft_config *c = raft_config(r);
    struct core_peer peers[LIMIT_NODES];
    unsigned count = 0;
    r->is_voter = r->is_old_voter = false;
    for (unsigned i = 0; i < c->count; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->id == r->options.id) {
            r->is_voter = m->voter && is_us(r, m);
            r->is_old_voter = m->old_voter && is_us(r, m);
            continue;
        }
        struct core_peer *p = &peers[count++];
        const struct core_peer *before = core_find_peer(r, m->id);
        if (before && is_same_member(before, m)) {
            *p = *before;
        } else {
            *p = (struct core_peer){.id = m->id};
            init_peer(r, p);
        }
        memcpy(p->identity, m->identity, sizeof p->identity);
        p->voter = m->voter;
        p->old_voter = m->old_voter;
    }
    memcpy(r->peers, peers, count * sizeof *peers);
    r->peer_count = count;
    r->config_changed = true;
}

static void push(struct raft *r, uint64_t index, const struct raft_config *config)
{
    if (r->config_count == r->config_capacity) {
        r->config_capacity = MAX(2 * r->config_capacity, 4u);
        r->configs = mem_realloc(r->configs, r->config_capacity * sizeof *r->configs);
    }
    r->configs[r->config_count++] = (struct core_config){.index = index, .config = *config};
}

void core_config_start(struct raft *r, uint64_t index, const struct raft_config *config)
{
    r->config_count = 0;
    push(r, index, config);
    configure(r);
}

void core_config_appended(struct raft *r, uint64_t index, struct slice data)
{
    struct raft_config config;
    /* An entry that a leader of ours made: unreadable means that it is of a later version than this one. Committed, it
     * is refused by the driver, who decodes it too; here it changes nothing. */
    if (raft_config_decode(data, &config) != ERR_OK)
        return;
    push(r, index, &config);
    configure(r);
}

void core_config_truncated(struct raft *r, uint64_t after)
{
    bool changed = false;
    for (; r->config_count > 1 && core_newest_config(r)->index > after && !PLANTED(RAFT_CONFIG_NO_ROLLBACK);
         changed = true)
        r->config_count--;
    if (changed)
        configure(r);
}

void core_config_applied(struct raft *r, uint64_t index)
{
    unsigned drop = 0;
    while (drop + 1 < r->config_count && r->configs[drop + 1].index <= index)
        drop++;
    if (drop == 0)
        return;
    r->config_count -= drop;
    memmove(r->configs, r->configs + drop, r->config_count * sizeof *r->configs);
}

enum err core_config_scan(struct raft *r)
{
    for (uint64_t from = r->log.applied + 1; from <= r->log.last;) {
        const struct raft_entry *entries;
        unsigned count;
        arena_reset(&r->arena);
        TRY(raft_log_read(&r->log, from, r->log.last, &r->arena, &entries, &count));
        for (unsigned i = 0; i < count; i++)
            if (entries[i].type == RAFT_ENTRY_CONFIG)
                core_config_appended(r, entries[i].index, entries[i].data);
        from += count;
    }
    return ERR_OK;
}

/* ---- quorums ---- */

static bool has_majority(const struct raft *r, bool old, bool own,
                         bool (*yes)(const struct raft *, const struct core_peer *))
{
    unsigned voters = 0, count = 0;
    if (old ? r->is_old_voter : r->is_voter)
        voters++, count += own;
    else
        count += own && PLANTED(RAFT_REMOVED_COUNTS_ITSELF);
    for (unsigned i = 0; i < r->peer_count; i++)
        if (old ? r->peers[i].old_voter : r->peers[i].voter)
            voters++, count += yes(r, &r->peers[i]);
    return voters > 0 && count >= voters / 2 + 1;
}

bool core_has_quorum(const struct raft *r, bool own, bool (*yes)(const struct raft *, const struct core_peer *))
{
    return has_majority(r, false, own, yes) &&
           (!raft_config(r)->joint || PLANTED(RAFT_JOINT_ONE_MAJORITY) || has_majority(r, true, own, yes));
}

static uint64_t majority_value(const struct raft *r, bool old, uint64_t own, uint64_t (*of)(const struct core_peer *p))
{
    uint64_t values[LIMIT_NODES + 1];
    unsigned count = 0, extra = 0;
    if (old ? r->is_old_voter : r->is_voter)
        values[count++] = own;
    else if (PLANTED(RAFT_REMOVED_COUNTS_ITSELF))
        values[count++] = own, extra++;
    for (unsigned i = 0; i < r->peer_count; i++)
        if (old ? r->peers[i].old_voter : r->peers[i].voter)
            values[count++] = of(&r->peers[i]);
    for (unsigned i = 1; i < count; i++) /* insertion sort, largest first */
        for (unsigned k = i; k > 0 && values[k] > values[k - 1]; k--) {
            uint64_t swap = values[k];
            values[k] = values[k - 1];
            values[k - 1] = swap;
        }
    return count > extra ? values[(count - extra) / 2] : 0;
}

uint64_t core_quorum_value(const struct raft *r, uint64_t own, uint64_t (*of)(const struct core_peer *p))
{
    uint64_t value = majority_value(r, false, own, of);
    if (raft_config(r)->joint && !PLANTED(RAFT_JOINT_ONE_MAJORITY))
        value = MIN(value, majority_value(r, true, own, of));
    return value;
}

bool core_votes(const struct raft *r)
{
    return r->is_voter || r->is_old_voter;
}

bool core_may_campaign(const struct raft *r)
{
    /* Who is removed stands for election until that is committed: nobody else may have the entry, and then nobody else
     * can win against its longer log (thesis 4.2.2). It doesn't count itself. */
    for (unsigned i = r->config_count; i-- > 0;) {
        const struct raft_member *m = raft_config_find(&r->configs[i].config, r->options.id);
        if (m && is_us(r, m) && (m->voter || m->old_voter))
            return true;
        if (r->configs[i].index <= r->committed)
            return false;
    }
    return false;
}

bool core_may_vote(const struct raft *r)
{
    /* Whether this member is a voter may be in an entry that it has not got yet, so it votes whatever its configuration
     * says of it. But while it has none, or one of before its disk was lost, its former self may have promised
     * anything, and the candidate may not know of that loss (P4). Nobody needs its vote: who is promoted has its own
     * entry. */
    const struct raft_member *m = raft_config_find(raft_config(r), r->options.id);
    return raft_config(r)->count > 0 && (!m || is_us(r, m));
}

bool core_is_alone(const struct raft *r)
{
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].voter || r->peers[i].old_voter)
            return false;
    return core_votes(r);
}

/* ---- changes ---- */

static bool is_wanted_config(const struct raft_config *c)
{
    bool voters = false;
    for (unsigned i = 0; i < c->count && c->count <= LIMIT_NODES; i++) {
        if (c->members[i].id == 0 || (i > 0 && c->members[i].id <= c->members[i - 1].id))
            return false;
        voters = voters || c->members[i].voter;
    }
    return c->count <= LIMIT_NODES && voters;
}

static bool is_active(const struct raft *r, const struct core_peer *p)
{
    return !core_is_auto(r) || r->now_ns - p->heard_ns <= r->options.election_timeout_ns;
}

/* Of the voters that are to be a majority lives, of those that are now too (nothing is committed without them), and who
 * becomes one has all of the log but what is on its way, and in any case the configuration that it is in now, without
 * which it does not vote. */
static bool can_carry_on(struct raft *r, const struct raft_config *wanted)
{
    if (!core_has_quorum(r, true, is_active))
        return false;
    unsigned voters = 0, live = 0;
    for (unsigned i = 0; i < wanted->count; i++) {
        const struct raft_member *m = &wanted->members[i];
        if (!m->voter)
            continue;
        voters++;
        const struct core_peer *p = core_find_peer(r, m->id);
        bool self = m->id == r->options.id;
        bool active = self || (p && is_same_member(p, m) && is_active(r, p));
        live += active;
        bool becomes = self ? !r->is_voter : !p || !p->voter;
        bool caught_up = self || (p && p->match + LIMIT_RAFT_BATCH_ENTRIES > r->log.last && p->match > 0 &&
                                  p->match >= core_newest_config(r)->index);
        if (becomes && !(active && caught_up))
            return false;
    }
    return live >= voters / 2 + 1;
}

static bool same_config(const struct raft_config *a, const struct raft_config *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = a->members[i].id == b->members[i].id && a->members[i].voter == b->members[i].voter &&
               memcmp(a->members[i].identity, b->members[i].identity, 16) == 0 &&
               strcmp(a->members[i].address, b->members[i].address) == 0;
    return same;
}

/* One that lost its disk must leave first: in the joint configuration its old self counts as a voter that is dead. */
static bool changes_identity(const struct raft_config *from, const struct raft_config *to)
{
    if (PLANTED(RAFT_IDENTITY_KEEPS_MATCH))
        return false;
    for (unsigned i = 0; i < from->count; i++) {
        const struct raft_member *a = &from->members[i], *b = raft_config_find(to, a->id);
        if (b && is_known(a->identity) && memcmp(a->identity, b->identity, sizeof a->identity) != 0)
            return true;
    }
    return false;
}

static bool differs_in_voters(const struct raft_config *a, const struct raft_config *b)
{
    for (unsigned k = 0; k < 2; k++) {
        const struct raft_config *from = k == 0 ? a : b, *to = k == 0 ? b : a;
        for (unsigned i = 0; i < from->count; i++) {
            const struct raft_member *other = raft_config_find(to, from->members[i].id);
            if (from->members[i].voter && !(other && other->voter))
                return true;
        }
    }
    return false;
}

/* Both configurations in one: thesis 4.3. */
static void join(const struct raft_config *from, const struct raft_config *to, struct raft_config *ret)
{
    *ret = (struct raft_config){.joint = true};
    unsigned f = 0, t = 0;
    while (f < from->count || t < to->count) {
        CHECK(ret->count < LIMIT_NODES);
        struct raft_member *m = &ret->members[ret->count++];
        const struct raft_member *old = f < from->count ? &from->members[f] : NULL;
        const struct raft_member *new = t < to->count ? &to->members[t] : NULL;
        if (new && (!old || new->id <= old->id)) {
            *m = *new;
            m->leaving = false;
            m->old_voter = old && old->id == new->id && old->voter;
            f += old && old->id == new->id;
            t++;
        } else {
            *m = *old;
            m->old_voter = old->voter;
            m->voter = false;
            m->leaving = true;
            f++;
        }
    }
}

/* A leaving learner has no place in the joint one: it just goes. */
static unsigned count_joined(const struct raft_config *from, const struct raft_config *to)
{
    unsigned count = to->count;
    for (unsigned i = 0; i < from->count; i++)
        count += !raft_config_find(to, from->members[i].id);
    return count;
}

static void drop_leaving_learners(struct raft_config *c)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->count; i++)
        if (!(c->members[i].leaving && !c->members[i].old_voter))
            c->members[kept++] = c->members[i];
    c->count = kept;
}

static void append_config(struct raft *r, const struct raft_config *config)
{
    struct bytes data = {0};
    raft_config_encode(config, &data);
    raft_log_append(&r->log, r->hard.term, RAFT_ENTRY_CONFIG, bytes_slice(&data));
    push(r, r->log.last, config);
    configure(r);
    bytes_free(&data);
    core_feed_all(r);
}

enum err core_change(struct raft *r, const struct raft_config *wanted, uint64_t *ret_index)
{
    const struct core_config *now = core_newest_config(r);
    if (r->role != RAFT_LEADER)
        return r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    bool race = PLANTED(RAFT_SINGLE_SERVER_RACE);
    /* P2: an entry of the own term first, and one change at a time. */
    if ((!race && (r->committed < r->term_start || now->index > r->committed)) || now->config.joint ||
        r->transfer_to != 0)
        return ERR_BUSY_NOW;
    if (!is_wanted_config(wanted) || changes_identity(&now->config, wanted) ||
        count_joined(&now->config, wanted) > LIMIT_NODES)
        return ERR_INVAL;
    struct raft_config plain = *wanted;
    plain.joint = false;
    for (unsigned i = 0; i < plain.count; i++)
        plain.members[i].old_voter = plain.members[i].leaving = false;
    if (same_config(&now->config, &plain))
        return ERR_EXIST;
    bool joint = differs_in_voters(&now->config, &plain) && !race;
    if (differs_in_voters(&now->config, &plain) && !can_carry_on(r, &plain))
        return ERR_NOT_POSSIBLE;
    struct raft_config both;
    if (joint) {
        join(&now->config, &plain, &both);
        drop_leaving_learners(&both);
    }
    append_config(r, joint ? &both : &plain);
    *ret_index = r->log.last;
    return ERR_OK;
}

/* ---- what follows from commitment ---- */

static void end_joint(struct raft *r)
{
    struct raft_config final = {.count = 0};
    const struct raft_config *joint = raft_config(r);
    for (unsigned i = 0; i < joint->count; i++) {
        if (joint->members[i].leaving)
            continue;
        final.members[final.count] = joint->members[i];
        final.members[final.count++].old_voter = false;
    }
    append_config(r, &final);
}

static void step_aside(struct raft *r)
{
    const struct core_peer *best = NULL;
    for (unsigned i = 0; i < r->peer_count; i++)
        if (r->peers[i].voter && (!best || r->peers[i].match > best->match))
            best = &r->peers[i];
    if (best)
        core_message(r, RAFT_MSG_TIMEOUT_NOW, best->id);
    core_become_follower(r, r->hard.term, 0);
}

void core_config_committed(struct raft *r)
{
    const struct core_config *c = core_newest_config(r);
    if (r->role != RAFT_LEADER || c->index > r->committed || r->committed < r->term_start)
        return;
    if (c->config.joint)
        end_joint(r);
    else if (!r->is_voter)
        step_aside(r);
}
