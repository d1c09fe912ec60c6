#include "tests/sim/checks.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/map.h"
#include "proto/wire_meta.h"
#include "tests/sim/client.h"
#include "tests/sim/faults.h"
#include "tests/sim/levels.h"
#include "tests/sim/workload.h"

#define SERVED_IN_THE_END 3u /* operations of each client since the healing */

struct chain { /* of the state as of an entry */
    uint64_t hash;
    uint32_t member; /* who had it first */
    bool known;
};

struct known_reply { /* of a numbered command */
    uint64_t hash, index;
};

struct checks {
    struct map_u64 leaders; /* term -> id, as a pointer-sized number */
    struct chain *chains;   /* by index */
    size_t chain_room;
    uint64_t applied;                  /* the highest by any member */
    struct map_u64 replies;            /* session and seq mixed -> struct known_reply */
    struct map_u64 durable;            /* the same key -> something, of what clients were told ahead of its order */
    struct map_u64 ended;              /* session -> something */
    struct map_u64 copies;             /* index -> hash of all rows, never 0, as a pointer-sized number */
    uint64_t installed[WORLD_MEMBERS]; /* in this life */
    uint64_t acknowledged;             /* the highest index of a command whose outcome a client was told */
    bool has_cluster_id;
    uint8_t cluster_id[16];
    struct { /* of this life */
        uint64_t applied, term;
    } seen[WORLD_MEMBERS];
};

static unsigned long long ull(uint64_t v)
{
    return v;
}

void checks_init(struct world *w)
{
    w->checks = MEM_NEW(struct checks);
}

void checks_free(struct world *w)
{
    struct checks *c = w->checks;
    size_t at = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(&c->replies, &at, &key, &value))
        free(value);
    map_u64_free(&c->leaders);
    map_u64_free(&c->replies);
    map_u64_free(&c->durable);
    map_u64_free(&c->ended);
    map_u64_free(&c->copies);
    free(c->chains);
    free(c);
    w->checks = NULL;
}

void checks_role(struct world *w, const struct member *m)
{
    if (m->role != RAFT_LEADER)
        return;
    struct checks *c = w->checks;
    uintptr_t known = (uintptr_t)map_u64_get(&c->leaders, m->term);
    if (known == 0) {
        map_u64_put(&c->leaders, m->term, (void *)(uintptr_t)(m->index + 1));
        w->counts.elections++;
    } else if (known != m->index + 1) {
        world_fail(w, "members %u and %u both lead in term %llu", (unsigned)known, m->index + 1, ull(m->term));
    }
}

/* ---- states ---- */

static void compare_chain(struct world *w, const struct member *m, uint64_t index, uint64_t hash)
{
    struct checks *c = w->checks;
    if (index >= c->chain_room) {
        size_t room = MAX(2 * c->chain_room, (size_t)index + 256);
        c->chains = mem_realloc(c->chains, room * sizeof *c->chains);
        memset(c->chains + c->chain_room, 0, (room - c->chain_room) * sizeof *c->chains);
        c->chain_room = room;
    }
    struct chain *known = &c->chains[index];
    if (!known->known)
        *known = (struct chain){.hash = hash, .member = m->index, .known = true};
    else if (known->hash != hash)
        world_fail(w, "the states of members %u and %u differ as of entry %llu", known->member + 1, m->index + 1,
                   ull(index));
}

static void compare_state(struct world *w, const struct member *m)
{
    struct meta *meta = replica_meta(m->replica);
    uint64_t index = meta_applied_index(meta), hash;
    if (index > 0 && meta_chain_at(meta, index, &hash))
        compare_chain(w, m, index, hash);
}

void checks_sends(struct world *w, const struct member *m, const struct replica_message *message)
{
    if (message->type == REPLICA_RAFT && message->applied > 0)
        compare_chain(w, m, message->applied, message->chain);
}

/* ---- snapshots ---- */

static uintptr_t rows_hash(struct world *w, struct member *m)
{
    struct sha256 hash;
    if (meta_state_hash(replica_meta(m->replica), &hash) != ERR_OK)
        world_fail(w, "member %u: its rows can't be read", m->index + 1);
    return (uintptr_t)(get_u64be(hash.bytes) | 1);
}

void checks_copied(struct world *w, struct member *m)
{
    struct checks *c = w->checks;
    uint64_t index = meta_applied_index(replica_meta(m->replica));
    if (index > 0 && !map_u64_get(&c->copies, index))
        map_u64_put(&c->copies, index, (void *)rows_hash(w, m));
}

void checks_installed(struct world *w, struct member *m)
{
    struct checks *c = w->checks;
    struct replica_status status;
    if (!m->replica || m->faulted)
        return;
    replica_status(m->replica, &status);
    if (status.snapshots_installed <= c->installed[m->index]) {
        c->installed[m->index] = status.snapshots_installed; /* another life */
        return;
    }
    c->installed[m->index] = status.snapshots_installed;
    uint64_t index = meta_applied_index(replica_meta(m->replica));
    uintptr_t known = (uintptr_t)map_u64_get(&c->copies, index);
    if (known && known != rows_hash(w, m))
        world_fail(w, "member %u: the snapshot of entry %llu that it has installed has other rows than its maker had",
                   m->index + 1, ull(index));
}

/* ---- commands ---- */

static uint64_t command_key(uint64_t session, uint64_t seq)
{
    return session * UINT64_C(1000003) + seq;
}

static uint64_t reply_hash(const struct meta_reply *reply)
{
    struct arena arena = {0};
    struct meta_reply kept = *reply;
    kept.index = 0; /* these are of the moment when it is told */
    kept.repeated = false;
    kept.grant = (struct meta_grant){0};
    uint64_t hash = checksum64(wire_meta_reply_encode(&kept, &arena), 0);
    arena_free(&arena);
    return hash;
}

static void once(struct world *w, const struct meta_command *command, const struct meta_reply *reply, uint64_t index)
{
    struct checks *c = w->checks;
    uint64_t key = command_key(command->session, command->seq), hash = reply_hash(reply);
    if (map_u64_get(&c->ended, command->session) && reply->status != ERR_SESSION_EXPIRED)
        world_fail(w, "entry %llu: a command of session %llu takes effect after the session's end: %s", ull(index),
                   ull(command->session), err_name(reply->status));
    /* These leave no trace. */
    enum err_class class = err_class(reply->status);
    if (class == ERR_CLASS_GIVE_UP || class == ERR_CLASS_RETRY || class == ERR_CLASS_WAIT)
        return;
    struct known_reply *known = map_u64_get(&c->replies, key);
    if (!known) {
        known = MEM_NEW(struct known_reply);
        *known = (struct known_reply){.hash = hash, .index = index};
        map_u64_put(&c->replies, key, known);
    } else if (known->hash != hash) {
        world_fail(w, "entry %llu: command %llu of session %llu again, with another reply than at entry %llu",
                   ull(index), ull(command->seq), ull(command->session), ull(known->index));
    }
}

void checks_applied(struct world *w, struct member *m, const struct meta_command *command,
                    const struct meta_reply *reply)
{
    struct checks *c = w->checks;
    uint64_t index = meta_applied_index(replica_meta(m->replica));
    compare_state(w, m);
    if (index <= c->applied)
        return;
    char text[160];
    meta_command_describe(command, text, sizeof text);
    trace(w, m->index, "first to apply %llu: %s: %s", ull(index), text, err_name(reply->status));
    c->applied = index;
    levels_applied(w, m, command, reply);
    if (command->op == META_SESSION_END && reply->status == ERR_OK)
        map_u64_put(&c->ended, command->session_end.session, c);
    if (command->session != 0)
        once(w, command, reply, index);
}

void checks_acknowledged(struct world *w, uint64_t session, uint64_t seq, const struct meta_reply *reply)
{
    struct checks *c = w->checks;
    const struct known_reply *known = map_u64_get(&c->replies, command_key(session, seq));
    if (!known)
        world_fail(w, "a client was told of command %llu of session %llu, which nobody applied", ull(seq),
                   ull(session));
    if (known->hash != reply_hash(reply))
        world_fail(w, "a client was told something else of command %llu of session %llu than its first reply", ull(seq),
                   ull(session));
    c->acknowledged = MAX(c->acknowledged, known->index);
}

void checks_durable(struct world *w, uint64_t session, uint64_t seq)
{
    map_u64_put(&w->checks->durable, command_key(session, seq), w);
}

/* One that was told, and that nobody has applied; 0: none. */
static uint64_t missing_durable(struct world *w)
{
    size_t at = 0;
    uint64_t key;
    void *value;
    while (map_u64_next(&w->checks->durable, &at, &key, &value))
        if (!map_u64_get(&w->checks->replies, key))
            return key;
    return 0;
}

void checks_cluster_id(struct world *w, const struct member *m, const uint8_t id[16])
{
    struct checks *c = w->checks;
    if (!c->has_cluster_id)
        memcpy(c->cluster_id, id, sizeof c->cluster_id);
    else if (memcmp(c->cluster_id, id, sizeof c->cluster_id) != 0)
        world_fail(w, "member %u has another cluster's id", m->index + 1);
    c->has_cluster_id = true;
}

/* ---- members ---- */

void checks_fault(struct world *w, const struct member *m, const char *text)
{
    if (!faults_disk_failed(w, m) && !levels_too_old(w, m))
        world_fail(w, "member %u goes out of service: %s", m->index + 1, text);
}

void checks_refused(struct world *w, const struct member *m, const char *text)
{
    if (!faults_disk_failed(w, m) && !levels_too_old(w, m))
        world_fail(w, "member %u is refused at its start: %s", m->index + 1, text);
}

void checks_started(struct world *w, const struct member *m)
{
    w->checks->seen[m->index].applied = 0;
    w->checks->seen[m->index].term = 0;
    compare_state(w, m);
}

void checks_wiped(struct world *w, const struct member *m)
{
    (void)w;
    (void)m;
}

void checks_member(struct world *w, struct member *m)
{
    if (!member_up(m))
        return;
    struct checks *c = w->checks;
    struct raftlog_bounds bounds;
    uint64_t applied = meta_applied_index(replica_meta(m->replica));
    raftlog_bounds(replica_log(m->replica), &bounds);
    /* An installed snapshot is ahead of the log until the reset has been written. */
    bool resets = bounds.last_index < applied && !list_empty(&m->jobs);
    if (applied > bounds.last_index && !resets)
        world_fail(w, "member %u has applied %llu, but its log ends at %llu", m->index + 1, ull(applied),
                   ull(bounds.last_index));
    if (applied < c->seen[m->index].applied || bounds.hard.term < c->seen[m->index].term)
        world_fail(w, "member %u goes back: applied %llu after %llu, term %llu after %llu", m->index + 1, ull(applied),
                   ull(c->seen[m->index].applied), ull(bounds.hard.term), ull(c->seen[m->index].term));
    if (applied != c->seen[m->index].applied)
        compare_state(w, m);
    c->seen[m->index].applied = applied;
    c->seen[m->index].term = bounds.hard.term;
    if (bounds.compacted_index != m->compacted) {
        m->compacted = bounds.compacted_index;
        trace(w, m->index, "log begins behind %llu", ull(m->compacted));
    }
}

/* ---- the end ---- */

static bool all_served(struct world *w)
{
    for (unsigned i = 0; i < w->client_count; i++)
        if (w->clients[i]->finished < SERVED_IN_THE_END)
            return false;
    workload_stop(w);
    for (unsigned i = 0; i < w->client_count; i++)
        if (w->clients[i]->busy > 0 || w->clients[i]->behind > 0)
            return false;
    return true;
}

bool checks_recovered(struct world *w)
{
    const struct member *leader = faults_leader(w);
    if (!all_served(w) || !leader || !faults_settled(w) || missing_durable(w) != 0 || !levels_settled(w, leader))
        return false;
    uint64_t applied = meta_applied_index(replica_meta(leader->replica));
    if (applied < w->checks->applied)
        return false;
    for (unsigned i = 0; i < w->member_count; i++) {
        const struct member *m = w->members[i];
        bool counts = member_up(m) && raft_config_find(replica_config(leader->replica), m->index + 1);
        if (counts && meta_applied_index(replica_meta(m->replica)) != applied)
            return false;
    }
    return true;
}

void checks_explain_stuck(struct world *w)
{
    char text[1500] = "";
    size_t used = 0;
    for (unsigned i = 0; i < w->member_count && used < sizeof text - 100; i++) {
        const struct member *m = w->members[i];
        used += (size_t)snprintf(
            text + used, sizeof text - used, "; member %u %s term %llu leader %u applied %llu", i + 1,
            !m->replica  ? "down"
            : m->faulted ? "faulted"
                         : raft_role_name(m->role),
            ull(m->term), m->leader, ull(m->replica ? meta_applied_index(replica_meta(m->replica)) : 0));
    }
    for (unsigned i = 0; i < w->client_count && used < sizeof text - 100; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "; client %u served %u, %u under way", i + 1,
                                 w->clients[i]->finished, w->clients[i]->busy);
    uint64_t missing = missing_durable(w);
    if (missing != 0)
        world_fail(w, "command %llu of session %llu was told to be durable, and is not in the log",
                   ull(missing % UINT64_C(1000003)), ull(missing / UINT64_C(1000003)));
    world_fail(w, "no recovery within %lld s%s", (long long)(w->plan.heal_ns / NS_PER_S), text);
}

void checks_end(struct world *w)
{
    const struct member *leader = faults_leader(w);
    struct sha256 hash, other;
    struct err_text why = {""};
    struct meta *meta = replica_meta(leader->replica);
    if (meta_applied_index(meta) < w->checks->acknowledged)
        world_fail(w, "entry %llu was acknowledged, but the leader has applied only %llu", ull(w->checks->acknowledged),
                   ull(meta_applied_index(meta)));
    if (meta_verify(meta, &why) != ERR_OK)
        world_fail(w, "the state of member %u contradicts itself: %s", leader->index + 1, why.text);
    CHECK(meta_state_hash(meta, &hash) == ERR_OK);
    for (unsigned i = 0; i < w->member_count; i++) {
        const struct member *m = w->members[i];
        if (!member_up(m) || m == leader || meta_applied_index(replica_meta(m->replica)) != meta_applied_index(meta))
            continue;
        CHECK(meta_state_hash(replica_meta(m->replica), &other) == ERR_OK);
        if (!sha256_equal(&hash, &other))
            world_fail(w, "the rows of members %u and %u differ at entry %llu, though their hashes agree",
                       leader->index + 1, m->index + 1, ull(meta_applied_index(meta)));
    }
    workload_check(w);
}
