/* What the leader does by itself: the first entry of a cluster, ending silent sessions, reaping dead contents; and what
 * every member does from time to time. */
#define LOG_MODULE "leader"
#include "base/log.h"
#include "replica/internal.h"

#define REAP_DELAY_NS (500 * NS_PER_MS) /* from the first sign of dead contents: more of them come together */
#define REAP_PAUSE_MAX_NS                                                                                              \
    (100 * NS_PER_MS) /* between two steps; as long as the last one took, so that clients keep                         \
                         their share */
#define SOON_NS (100 * NS_PER_MS)
#define ORPHANS_PAGE 1024u
#define ORPHANS_AT_ONCE 65536u

static void load_sessions(struct replica *r)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_SESSIONS};
    struct meta_query_reply reply = {.end = false};
    int64_t now_ns = replica_now_ns(r);
    sessions_clear(&r->sessions);
    orphans_clear(r->orphans);
    while (meta_initialised(r->meta) && !reply.end) {
        enum err e = meta_query(r->meta, &query, &arena, &reply);
        if (e != ERR_OK || reply.status != ERR_OK) {
            replica_fail(r, "the sessions can't be read: %s", err_message(e != ERR_OK ? e : reply.status));
            break;
        }
        for (unsigned i = 0; i < reply.session_count; i++) {
            sessions_add(&r->sessions, reply.sessions[i].id, now_ns);
            if (reply.sessions[i].attaches) {
                leases_expect(r->leases, reply.sessions[i].id);
                orphans_session(r->orphans, reply.sessions[i].id);
            }
            query.session = reply.sessions[i].id; /* the next page begins behind it */
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void init_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    (void)reply;
    r->init_proposed = false;
    if (status != ERR_OK)
        log_warn("the cluster is not initialised yet: %s", err_message(status));
}

static void propose_init(struct replica *r)
{
    if (meta_initialised(r->meta) || r->init_proposed)
        return;
    struct meta_command c = {.op = META_INIT};
    r->env.random(r->env.context, c.init.cluster_id, sizeof c.init.cluster_id);
    r->env.random(r->env.context, c.init.cookie_key, sizeof c.init.cookie_key);
    r->init_proposed = true;
    replica_propose_own(r, &c, init_done, r);
}

static void schedule_reap(struct replica *r, int64_t delay_ns)
{
    if (r->leader_ready && !r->reap_proposed && r->reap_at_ns == INT64_MAX)
        r->reap_at_ns = replica_now_ns(r) + delay_ns;
}

static void reap_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    (void)reply;
    r->reap_proposed = false;
    if (status != ERR_OK)
        return; /* the next leader goes on */
    int64_t took_ns = replica_now_ns(r) - r->reap_begun_ns;
    schedule_reap(r, MIN(took_ns + NS_PER_MS, REAP_PAUSE_MAX_NS));
}

static void reap(struct replica *r)
{
    uint64_t content_id;
    r->reap_at_ns = INT64_MAX;
    if (!r->leader_ready || r->reap_proposed || !meta_reap_pending(r->meta, &content_id))
        return;
    struct meta_command c = {.op = META_REAP, .reap.content_id = content_id};
    r->reap_proposed = true;
    r->reap_begun_ns = replica_now_ns(r);
    replica_propose_own(r, &c, reap_done, r);
}

/* ---- unlinked inodes ---- */

static void release_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    r->release_proposed = false;
    if (status != ERR_OK || reply->more)
        r->orphans_from = 0; /* they are still in the state */
    if (status == ERR_OK)
        duties_release(r);
}

void duties_release(struct replica *r)
{
    uint64_t inos[LIMIT_RELEASE];
    if (!r->leader_ready || r->release_proposed)
        return;
    struct meta_command c = {.op = META_RELEASE, .release.inos = inos};
    c.release.count = orphans_take(r->orphans, inos, LIMIT_RELEASE);
    if (c.release.count == 0)
        return;
    r->release_proposed = true;
    replica_propose_own(r, &c, release_done, r);
}

/* Orphans that were there before this leader, some at a time. */
static void load_orphans(struct replica *r)
{
    uint64_t inos[ORPHANS_PAGE];
    unsigned count;
    if (r->orphans_from == UINT64_MAX || orphans_count(r->orphans) >= ORPHANS_AT_ONCE)
        return;
    enum err e = meta_orphans(r->meta, r->orphans_from, inos, ORPHANS_PAGE, &count);
    if (e != ERR_OK) {
        replica_fail(r, "the unlinked inodes can't be read: %s", err_message(e));
        return;
    }
    for (unsigned i = 0; i < count; i++)
        orphans_add(r->orphans, inos[i]);
    r->orphans_from = count == ORPHANS_PAGE ? inos[count - 1] + 1 : UINT64_MAX;
    duties_release(r);
}

/* Dead contents come from these. */
static bool may_leave_dead_contents(enum meta_op op)
{
    return op == META_UNLINK || op == META_RENAME || op == META_SETATTR || op == META_COMMIT || op == META_RELEASE;
}

static void session_begins(struct replica *r, uint64_t session, bool attaches)
{
    sessions_add(&r->sessions, session, replica_now_ns(r));
    if (attaches)
        orphans_session(r->orphans, session);
}

static void session_ends(struct replica *r, uint64_t session)
{
    sessions_remove(&r->sessions, session);
    leases_detach(r->leases, session);
    orphans_session_ended(r->orphans, session);
    duties_release(r);
}

void duties_applied(struct replica *r, const struct meta_command *c, const struct meta_reply *reply)
{
    if (!r->leader_ready)
        return;
    if (c->op == META_SESSION_OPEN && reply->status == ERR_OK)
        session_begins(r, reply->session, c->session_open.attaches);
    if (c->op == META_SESSION_END && reply->status == ERR_OK && !reply->more)
        session_ends(r, c->session_end.session);
    if (reply->status == ERR_OK && reply->orphaned) {
        orphans_add(r->orphans, c->op == META_RENAME ? reply->replaced.ino : reply->attr.ino);
        duties_release(r);
    }
    expiry_applied(r, c);
    if (may_leave_dead_contents(c->op))
        schedule_reap(r, REAP_DELAY_NS);
}

void duties_leader_ready(struct replica *r)
{
    r->leader_ready = true;
    leases_begin(r->leases, r->term, r->elected_ns, replica_now_ns(r));
    load_sessions(r);
    r->orphans_from = 0;
    epochs_leader_ready(r);
    propose_leader_ready(r);
    expiry_leader_ready(r);
    level_leader_ready(r);
    r->env.leader_ready(r->env.context);
    propose_init(r);
    schedule_reap(r, REAP_DELAY_NS);
    r->second_at_ns = replica_now_ns(r);
    log_info("leader of term %llu, %zu sessions", (unsigned long long)r->term, r->sessions.map.count);
}

/* Called in the middle of a step. */
void duties_role_changed(struct replica *r)
{
    if (r->role == RAFT_LEADER && r->leader_ready)
        return;
    r->elected_ns = replica_now_ns(r);
    leases_end(r->leases);
    /* What is proposed may still be committed by the next leader: clients repeat it under the same number. */
    if (r->role != RAFT_LEADER) {
        r->proposals_held = false;
        propose_fail(r, r->leader != 0 && r->leader != r->options.id ? ERR_NOT_LEADER : ERR_NO_LEADER);
    }
    sessions_clear(&r->sessions);
    orphans_clear(r->orphans);
}

static void session_end_done(void *context, enum err status, const struct meta_reply *reply);

struct session_end {
    struct replica *replica;
    uint64_t id;
};

static void session_end_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct session_end *end = context;
    /* One that has very many locks ends in steps. */
    if (status != ERR_OK || reply->more)
        sessions_retry(&end->replica->sessions, end->id);
    free(end);
}

static void expire_sessions(struct replica *r)
{
    int64_t timeout_ns = r->options.session_timeout_ns, now_ns = replica_now_ns(r);
    for (uint64_t id; (id = sessions_next_expired(&r->sessions, now_ns, timeout_ns)) != 0;) {
        log_info("session %llu has been silent for %lld s and ends", (unsigned long long)id,
                 (long long)(timeout_ns / NS_PER_S));
        struct meta_command c = {.op = META_SESSION_END, .session_end.session = id};
        struct session_end *end = MEM_NEW(struct session_end);
        *end = (struct session_end){.replica = r, .id = id};
        replica_propose_own(r, &c, session_end_done, end);
    }
}

bool replica_session_touch(struct replica *r, uint64_t session)
{
    return sessions_touch(&r->sessions, session, replica_now_ns(r));
}

int64_t replica_session_silent_ns(const struct replica *r, uint64_t session)
{
    return sessions_silent_ns(&r->sessions, session, replica_now_ns(r));
}

/* ---- time ---- */

static void second(struct replica *r)
{
    compact_second(r);
    durable_second(r);
    members_second(r);
    if (!r->leader_ready)
        return;
    expire_sessions(r);
    propose_init(r);
    load_orphans(r);
    schedule_reap(r, REAP_DELAY_NS);
    epochs_second(r);
    level_second(r);
}

void duties_tick(struct replica *r)
{
    int64_t now_ns = replica_now_ns(r);
    leases_tick(r->leases, now_ns);
    if (now_ns >= r->reap_at_ns)
        reap(r);
    expiry_tick(r);
    if (now_ns >= r->soon_at_ns) {
        r->soon_at_ns = now_ns + SOON_NS;
        snapshot_soon(r);
        divergence_soon(r);
        gather_soon(r);
    }
    if (now_ns >= r->second_at_ns && replica_in_service(r)) {
        r->second_at_ns = now_ns + NS_PER_S;
        second(r);
    }
}

int64_t duties_deadline_ns(const struct replica *r)
{
    int64_t expiry_at_ns = r->leader_ready && !r->expiry_proposed ? r->expiry_at_ns : INT64_MAX;
    return MIN(MIN(leases_deadline_ns(r->leases), expiry_at_ns),
               MIN(r->reap_at_ns, MIN(r->second_at_ns, r->soon_at_ns)));
}

static bool ask_of_orphan(void *context, uint64_t session, uint64_t ino)
{
    struct replica *r = context;
    return leases_orphaned(r->leases, session, ino);
}

void duties_open(struct replica *r)
{
    r->orphans = orphans_new(ask_of_orphan, r);
    r->reap_at_ns = INT64_MAX;
    r->second_at_ns = r->soon_at_ns = replica_now_ns(r);
}

void duties_close(struct replica *r)
{
    sessions_clear(&r->sessions);
    orphans_free(r->orphans);
}
