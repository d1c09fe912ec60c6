/* What the leader does by itself: the first entry of a cluster, ending silent sessions, reaping dead contents. */
#define LOG_MODULE "leader"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "daemon/node.h"

#define REAP_DELAY_MS 500u    /* from the first sign of dead contents: more of them come together */
#define REAP_PAUSE_MAX_MS 100 /* between two steps; as long as the last one took, so that clients keep their share */
#define POLL_SECONDS 2u
#define COMPACT_SECONDS 5u

static void load_sessions(struct node *n)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_SESSIONS};
    struct meta_query_reply reply = {.end = false};
    int64_t now_ns = clock_boot_ns();
    sessions_clear(&n->sessions);
    while (meta_initialised(n->meta) && !reply.end) {
        enum err e = meta_query(n->meta, &query, &arena, &reply);
        if (e != ERR_OK || reply.status != ERR_OK) {
            node_fail(n, "the sessions can't be read: %s", err_message(e != ERR_OK ? e : reply.status));
            break;
        }
        for (unsigned i = 0; i < reply.session_count; i++) {
            sessions_add(&n->sessions, reply.sessions[i].id, now_ns);
            query.session = reply.sessions[i].id; /* the next page begins behind it */
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void init_done(struct node *n, void *context, enum err status, const struct meta_reply *reply)
{
    (void)context, (void)reply;
    n->init_proposed = false;
    if (status != ERR_OK)
        log_warn("the cluster is not initialised yet: %s", err_message(status));
}

static void propose_init(struct node *n)
{
    if (meta_initialised(n->meta) || n->init_proposed)
        return;
    struct meta_command c = {.op = META_INIT};
    random_bytes(c.init.cluster_id, sizeof c.init.cluster_id);
    random_bytes(c.init.cookie_key, sizeof c.init.cookie_key);
    n->init_proposed = true;
    node_propose_own(n, &c, init_done, NULL);
}

static void on_reap_timer(uv_timer_t *timer);

static void schedule_reap(struct node *n, uint64_t delay_ms)
{
    if (n->leader_ready && !n->reap_proposed && !uv_is_active((uv_handle_t *)&n->reap_timer))
        uv_timer_start(&n->reap_timer, on_reap_timer, delay_ms, 0);
}

static void reap_done(struct node *n, void *context, enum err status, const struct meta_reply *reply)
{
    (void)context, (void)reply;
    n->reap_proposed = false;
    if (status != ERR_OK)
        return; /* the next leader goes on */
    int64_t took_ms = (clock_boot_ns() - n->reap_begun_ns) / NS_PER_MS;
    schedule_reap(n, (uint64_t)MIN(took_ms + 1, REAP_PAUSE_MAX_MS));
}

static void on_reap_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    uint64_t content_id;
    if (!n->leader_ready || n->crashed || n->fault.text[0] || n->reap_proposed ||
        !meta_reap_pending(n->meta, &content_id))
        return;
    struct meta_command c = {.op = META_REAP, .reap.content_id = content_id};
    n->reap_proposed = true;
    n->reap_begun_ns = clock_boot_ns();
    node_propose_own(n, &c, reap_done, NULL);
}

/* Dead contents come from these. */
static bool may_leave_dead_contents(enum meta_op op)
{
    return op == META_UNLINK || op == META_RENAME || op == META_SETATTR || op == META_COMMIT || op == META_RELEASE ||
           op == META_SESSION_END;
}

void node_leader_applied(struct node *n, const struct raft_entry *e, const struct meta_command *c,
                         const struct meta_reply *reply)
{
    (void)e;
    if (!n->leader_ready)
        return;
    if (c->op == META_SESSION_OPEN && reply->status == ERR_OK)
        sessions_add(&n->sessions, reply->session, clock_boot_ns());
    /* With many orphans a session ends in several steps: until the last it is still there to be ended. */
    if (c->op == META_SESSION_END && reply->status == ERR_OK && !reply->more)
        sessions_remove(&n->sessions, c->session_end.session);
    if (c->op == META_BLOCK_SERVER && reply->status == ERR_OK)
        block_registry_registered(&n->registry, &c->block_server);
    if (may_leave_dead_contents(c->op))
        schedule_reap(n, REAP_DELAY_MS);
}

void node_leader_becomes_ready(struct node *n)
{
    n->leader_ready = true;
    load_sessions(n);
    node_registry_load(n);
    propose_init(n);
    schedule_reap(n, REAP_DELAY_MS);
    block_reporter_now(n);
    log_info("leader of term %llu, %zu sessions", (unsigned long long)n->term, n->sessions.map.count);
}

/* Called in the middle of a step. */
void node_role_changed(struct node *n)
{
    if (n->role != RAFT_LEADER || !n->leader_ready) {
        /* What is proposed may still be committed by the next leader: clients repeat it under the same number. */
        if (n->role != RAFT_LEADER) {
            n->proposals_held = false;
            node_fail_proposals(n, service_not_leader(n));
        }
        sessions_clear(&n->sessions);
        block_registry_clear(&n->registry);
    }
    block_reporter_now(n);
}

static void session_end_done(struct node *n, void *context, enum err status, const struct meta_reply *reply)
{
    if (status != ERR_OK || reply->more)
        sessions_retry(&n->sessions, (uint64_t)(uintptr_t)context);
}

static void expire_sessions(struct node *n)
{
    int64_t timeout_ns = (int64_t)n->config.session_timeout_s * NS_PER_S, now_ns = clock_boot_ns();
    for (uint64_t id; (id = sessions_next_expired(&n->sessions, now_ns, timeout_ns)) != 0;) {
        log_info("session %llu has been silent for %u s and ends", (unsigned long long)id, n->config.session_timeout_s);
        struct meta_command c = {.op = META_SESSION_END, .session_end.session = id};
        node_propose_own(n, &c, session_end_done, (void *)(uintptr_t)id);
    }
}

static void on_second(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (n->crashed || n->stopping || n->fault.text[0])
        return;
    n->seconds++;
    node_members_connect(n);
    if (!n->raft)
        return;
    if (n->seconds % COMPACT_SECONDS == 0)
        node_compact(n);
    if (!n->leader_ready)
        return;
    expire_sessions(n);
    propose_init(n);
    schedule_reap(n, REAP_DELAY_MS);
    if (n->seconds % POLL_SECONDS == 0)
        node_registry_poll(n);
}

void node_leader_open(struct node *n)
{
    uv_timer_init(n->loop, &n->second_timer);
    uv_timer_init(n->loop, &n->reap_timer);
    n->second_timer.data = n->reap_timer.data = n;
    uv_timer_start(&n->second_timer, on_second, 0, 1000);
}

void node_leader_close(struct node *n)
{
    uv_close((uv_handle_t *)&n->second_timer, NULL);
    uv_close((uv_handle_t *)&n->reap_timer, NULL);
    sessions_clear(&n->sessions);
}
