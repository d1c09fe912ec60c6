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

static void load_sessions(struct replica *r)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_SESSIONS};
    struct meta_query_reply reply = {.end = false};
    int64_t now_ns = replica_now_ns(r);
    sessions_clear(&r->sessions);
    while (meta_initialised(r->meta) && !reply.end) {
        enum err e = meta_query(r->meta, &query, &arena, &reply);
        if (e != ERR_OK || reply.status != ERR_OK) {
            replica_fail(r, "the sessions can't be read: %s", err_message(e != ERR_OK ? e : reply.status));
            break;
        }
        for (unsigned i = 0; i < reply.session_count; i++) {
            sessions_add(&r->sessions, reply.sessions[i].id, now_ns);
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

/* Dead contents come from these. */
static bool may_leave_dead_contents(enum meta_op op)
{
    return op == META_UNLINK || op == META_RENAME || op == META_SETATTR || op == META_COMMIT || op == META_RELEASE ||
           op == META_SESSION_END;
}

void duties_applied(struct replica *r, const struct meta_command *c, const struct meta_reply *reply)
{
    if (!r->leader_ready)
        return;
    if (c->op == META_SESSION_OPEN && reply->status == ERR_OK)
        sessions_add(&r->sessions, reply->session, replica_now_ns(r));
    /* With many orphans a session ends in several steps: until the last it is still there to be ended. */
    if (c->op == META_SESSION_END && reply->status == ERR_OK && !reply->more)
        sessions_remove(&r->sessions, c->session_end.session);
    if (may_leave_dead_contents(c->op))
        schedule_reap(r, REAP_DELAY_NS);
}

void duties_leader_ready(struct replica *r)
{
    r->leader_ready = true;
    load_sessions(r);
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
    /* What is proposed may still be committed by the next leader: clients repeat it under the same number. */
    if (r->role != RAFT_LEADER) {
        r->proposals_held = false;
        propose_fail(r, r->leader != 0 && r->leader != r->options.id ? ERR_NOT_LEADER : ERR_NO_LEADER);
    }
    sessions_clear(&r->sessions);
}

static void session_end_done(void *context, enum err status, const struct meta_reply *reply);

struct session_end {
    struct replica *replica;
    uint64_t id;
};

static void session_end_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct session_end *end = context;
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
    members_second(r);
    if (!r->leader_ready)
        return;
    expire_sessions(r);
    propose_init(r);
    schedule_reap(r, REAP_DELAY_NS);
}

void duties_tick(struct replica *r)
{
    int64_t now_ns = replica_now_ns(r);
    if (now_ns >= r->reap_at_ns)
        reap(r);
    if (now_ns >= r->soon_at_ns) {
        r->soon_at_ns = now_ns + SOON_NS;
        snapshot_soon(r);
        divergence_soon(r);
    }
    if (now_ns >= r->second_at_ns && replica_in_service(r)) {
        r->second_at_ns = now_ns + NS_PER_S;
        second(r);
    }
}

int64_t duties_deadline_ns(const struct replica *r)
{
    return MIN(r->reap_at_ns, MIN(r->second_at_ns, r->soon_at_ns));
}

void duties_open(struct replica *r)
{
    r->reap_at_ns = INT64_MAX;
    r->second_at_ns = r->soon_at_ns = replica_now_ns(r);
}

void duties_close(struct replica *r)
{
    sessions_clear(&r->sessions);
}
