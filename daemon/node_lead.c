/* Leadership on demand: this node shall become leader, and whoever asked for it waits.
 *
 *   CONNECT --------> ASKING --------> WAITING -----> CAMPAIGNED
 *      |  a leader       | no answer      ^  caught up, or      | with timers: failed after a while
 *      |  is known       +----------------+  waited enough      +-> CONNECT
 *      +----------------------------------+
 *
 * CONNECT: until all members are connected both ways, since a vote that is asked for meanwhile is lost.
 * ASKING: a leader that works is asked first. With timers it hands over: it holds new commands until this node has all
 * of its log, and tells it to campaign. Without timers a transfer that fails would never end, so this node just asks
 * where the leader's log ends, and waits until its own does: with less it would not get the votes.
 */
#define LOG_MODULE "node"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"

#define LEAD_POLL_MS 20u
#define LEAD_CONNECT_NS (1500 * NS_PER_MS)
#define LEAD_ASK_NS (1 * NS_PER_S)
#define LEAD_WAIT_NS (700 * NS_PER_MS)

struct leader_wait {
    struct list_node link;
    struct rpc_request *request;
    int64_t begun_ns;
};

static bool is_manual(const struct node *n)
{
    return n->config.election == RAFT_ELECTION_MANUAL;
}

static bool leads(const struct node *n)
{
    return n->role == RAFT_LEADER && (n->leader_ready || is_manual(n));
}

static void wait_end(struct node *n, struct leader_wait *w, enum err status, const char *text)
{
    list_remove(&w->link);
    n->leader_wait_count--;
    if (status == ERR_OK)
        rpc_reply(w->request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(n, w->request, status, text);
    free(w);
    if (n->leader_wait_count == 0)
        uv_timer_stop(&n->leader_timer);
}

void node_leader_waits_fail(struct node *n, enum err status)
{
    list_for_each_safe (node, &n->leader_waits)
        wait_end(n, container_of(node, struct leader_wait, link), status, NULL);
}

void node_leader_waits_check(struct node *n)
{
    if (leads(n))
        node_leader_waits_fail(n, ERR_OK);
}

static void enter(struct node *n, enum lead_stage stage, int64_t duration_ns)
{
    n->lead_stage = stage;
    n->lead_until_ns = clock_boot_ns() + duration_ns;
}

static bool is_voter(const struct node *n)
{
    const struct raft_member *m = raft_config_find(replica_config(n->replica), n->config.id);
    return m && (m->voter || m->old_voter);
}

/* With timers a voter that has just heard of a leader, which may be gone or unknown to it now, does not stand for
 * election before an election time-out is over: it tries again. */
static void campaign(struct node *n)
{
    enter(n, LEAD_CAMPAIGNED, 2 * NODE_ELECTION_TIMEOUT_NS);
    enum err status = replica_campaign(n->replica);
    if (status == ERR_NOT_POSSIBLE && !is_manual(n) && is_voter(n))
        enter(n, LEAD_CAMPAIGNED, LEAD_POLL_MS * NS_PER_MS);
    else if (status != ERR_OK)
        node_leader_waits_fail(n, status);
}

static void on_heartbeat_answer(void *context, const struct rpc_response *response)
{
    (void)context, (void)response;
}

static void take_leader_state(struct node *n, struct member *leader, struct slice message)
{
    struct arena arena = {0};
    struct wire_admin_state s;
    struct err_text why;
    if (wire_admin_state_decode(message, &arena, &s, &why) == ERR_OK && !s.crashed && s.role == RAFT_LEADER) {
        n->lead_index = s.last;
        enter(n, LEAD_WAITING, LEAD_WAIT_NS);
        rpc_peer_call(leader->peer, METHOD_ADMIN_HEARTBEAT, SLICE(NULL, 0), SLICE(NULL, 0),
                      clock_boot_ns() + LEAD_ASK_NS, on_heartbeat_answer, n);
    }
    arena_free(&arena);
}

static void on_leader_state(void *context, const struct rpc_response *response)
{
    struct member *leader = context;
    struct node *n = leader->node;
    if (n->stopping || n->crashed || n->lead_stage != LEAD_ASKING)
        return;
    enter(n, LEAD_WAITING, 0);
    if (response->status == ERR_OK)
        take_leader_state(n, leader, response->message);
}

static void on_leader_answer(void *context, const struct rpc_response *response)
{
    struct member *leader = context;
    struct node *n = leader->node;
    if (n->stopping || n->crashed || n->lead_stage != LEAD_ASKING)
        return;
    struct arena arena = {0};
    struct wire_admin_state_query query = {0};
    if (response->status != ERR_OK)
        enter(n, LEAD_WAITING, 0);
    else if (is_manual(n))
        rpc_peer_call(leader->peer, METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, &arena), SLICE(NULL, 0),
                      n->lead_until_ns, on_leader_state, leader);
    else
        enter(n, LEAD_WAITING, LEAD_WAIT_NS);
    arena_free(&arena);
}

/* False: there is no leader to ask. */
static bool ask_leader(struct node *n)
{
    struct member *leader = n->leader ? node_member(n, n->leader) : NULL;
    if (!leader || !leader->peer || !rpc_peer_connected(leader->peer) || node_is_unreachable(n, leader->id))
        return false;
    enter(n, LEAD_ASKING, LEAD_ASK_NS);
    n->lead_index = UINT64_MAX;
    rpc_peer_call(leader->peer, METHOD_ADMIN_LEADER, SLICE(NULL, 0), SLICE(NULL, 0), n->lead_until_ns, on_leader_answer,
                  leader);
    return true;
}

static bool has_entry(const struct node *n, uint64_t index)
{
    struct replica_status status;
    replica_status(n->replica, &status);
    return status.raft.last >= index;
}

static void go_on(struct node *n)
{
    int64_t now_ns = clock_boot_ns();
    list_for_each_safe (node, &n->leader_waits) {
        struct leader_wait *w = container_of(node, struct leader_wait, link);
        if (now_ns - w->begun_ns > NODE_LEADER_WAIT_NS)
            wait_end(n, w, ERR_NOT_POSSIBLE, "it did not get the votes of a majority");
    }
    if (n->leader_wait_count == 0 || n->role == RAFT_LEADER)
        return;
    bool over = now_ns >= n->lead_until_ns;
    switch (n->lead_stage) {
    case LEAD_CONNECT:
        if ((over || node_members_connected(n)) && !ask_leader(n))
            campaign(n);
        break;
    case LEAD_ASKING:
        break; /* it ends with an answer or with its deadline */
    case LEAD_WAITING:
        if (over || has_entry(n, n->lead_index))
            campaign(n);
        break;
    case LEAD_CAMPAIGNED:
        if (over && !is_manual(n))
            enter(n, LEAD_CONNECT, 0);
        break;
    }
}

static void on_leader_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    go_on(n);
    node_replica_arm(n);
}

void node_lead(struct node *n, struct rpc_request *request)
{
    if (leads(n)) {
        rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
        return;
    }
    if (n->leader_wait_count == NODE_LEADER_WAITERS) {
        service_refuse(n, request, ERR_BUSY_NOW, NULL);
        return;
    }
    struct leader_wait *w = MEM_NEW(struct leader_wait);
    w->request = request;
    w->begun_ns = clock_boot_ns();
    list_push_back(&n->leader_waits, &w->link);
    if (n->leader_wait_count++ > 0)
        return;
    enter(n, LEAD_CONNECT, LEAD_CONNECT_NS);
    node_members_connect(n);
    uv_timer_start(&n->leader_timer, on_leader_timer, 0, LEAD_POLL_MS);
}

static void on_hold_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    replica_hold_proposals(n->replica, false);
}

static enum err hand_over(struct node *n, uint32_t to)
{
    if (n->role != RAFT_LEADER)
        return service_not_leader(n);
    if (node_is_unreachable(n, to) || !node_member(n, to))
        return ERR_NOT_POSSIBLE;
    if (!is_manual(n))
        return replica_transfer(n->replica, to);
    replica_hold_proposals(n->replica, true);
    uv_timer_start(&n->hold_timer, on_hold_timer, LEAD_WAIT_NS / NS_PER_MS, 0);
    return ERR_OK;
}

void node_hand_over(struct node *n, struct rpc_request *request, uint32_t to)
{
    replica_flush_proposals(n->replica);
    enum err status = hand_over(n, to);
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(n, request, status, NULL);
}

void node_lead_open(struct node *n)
{
    list_init(&n->leader_waits);
    uv_timer_init(n->loop, &n->leader_timer);
    uv_timer_init(n->loop, &n->hold_timer);
    n->leader_timer.data = n->hold_timer.data = n;
}

void node_lead_close(struct node *n)
{
    node_leader_waits_fail(n, ERR_SHUTDOWN);
    uv_close((uv_handle_t *)&n->leader_timer, NULL);
    uv_close((uv_handle_t *)&n->hold_timer, NULL);
}
