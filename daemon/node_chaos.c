/* Crash and restore as an operator asks for them, faults as they happen, and leadership on demand. */
#include <stdarg.h>
#include <stdio.h>

#define LOG_MODULE "node"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"

#define DROP_DELAY_MS 1u   /* lets the answer to the one who asked for the crash out */
#define FAULT_EXIT_MS 500u /* the state can be asked for meanwhile */
#define LEADER_WAIT_POLL_MS 20u
#define LEADER_CONNECT_NS (1500 * NS_PER_MS) /* a first campaign waits this long for all members to be connected */

static void step_down(struct node *n)
{
    struct raft_event e = {.type = RAFT_EVENT_STEP_DOWN};
    if (n->raft && !n->fault.text[0])
        (void)!node_step(n, &e);
}

static void on_drop_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (!n->crashed)
        return;
    rpc_server_drop_connections(n->server);
    for (unsigned i = 0; i < n->member_count; i++)
        if (n->members[i].peer)
            rpc_peer_disconnect(n->members[i].peer);
}

void node_crash(struct node *n)
{
    if (n->crashed)
        return;
    log_warn("crashed on request: no service until it is restored");
    step_down(n);
    n->crashed = true;
    node_fail_proposals(n, ERR_CRASHED);
    node_fail_reads(n, ERR_CRASHED);
    node_leader_waits_fail(n, ERR_CRASHED);
    node_drop_held_messages(n);
    uv_timer_start(&n->drop_timer, on_drop_timer, DROP_DELAY_MS, 0);
}

void node_restore(struct node *n)
{
    n->unreachable_count = 0;
    if (!n->crashed)
        return;
    log_warn("restored");
    n->crashed = false;
    n->timer_ns = 0;
    node_members_connect(n);
    step_down(n); /* also sets the timer */
    block_reporter_now(n);
}

static void on_fault_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    node_stop(n);
}

/* May be called in the middle of a step: raft is just not used any more, which to the others looks like a dead node. */
void node_fail(struct node *n, const char *format, ...)
{
    if (n->fault.text[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(n->fault.text, sizeof n->fault.text, format, args);
    va_end(args);
    log_error("out of service: %s", n->fault.text);
    n->exit_code = 1;
    uv_timer_start(&n->stop_timer, on_fault_timer, FAULT_EXIT_MS, 0);
}

struct leader_wait {
    struct list_node link;
    struct rpc_request *request;
    int64_t begun_ns;
};

static bool leads(const struct node *n)
{
    return n->role == RAFT_LEADER && (n->leader_ready || n->config.election == RAFT_ELECTION_MANUAL);
}

static void leader_wait_end(struct node *n, struct leader_wait *w, enum err status, const char *text)
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
        leader_wait_end(n, container_of(node, struct leader_wait, link), status, NULL);
}

void node_leader_waits_check(struct node *n)
{
    if (leads(n))
        node_leader_waits_fail(n, ERR_OK);
}

static void campaign(struct node *n, int64_t now_ns)
{
    n->campaign_ns = now_ns;
    struct raft_event e = {.type = RAFT_EVENT_CAMPAIGN};
    enum err status = node_step(n, &e);
    if (status != ERR_OK)
        node_leader_waits_fail(n, status);
}

static void on_leader_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    int64_t now_ns = clock_boot_ns(), begun_ns = now_ns;
    list_for_each_safe (node, &n->leader_waits) {
        struct leader_wait *w = container_of(node, struct leader_wait, link);
        begun_ns = MIN(begun_ns, w->begun_ns);
        if (now_ns - w->begun_ns > NODE_LEADER_WAIT_NS)
            leader_wait_end(n, w, ERR_NOT_POSSIBLE, "it did not get the votes of a majority");
    }
    if (n->leader_wait_count == 0 || n->role == RAFT_LEADER)
        return;
    /* A vote that is asked for while a connection is still coming up is lost. Without timers there is one campaign;
     * with them, one that fails is repeated. */
    if (n->campaign_ns == 0 && (node_members_connected(n) || now_ns - begun_ns > LEADER_CONNECT_NS))
        campaign(n, now_ns);
    else if (n->campaign_ns > 0 && n->config.election == RAFT_ELECTION_AUTO &&
             now_ns - n->campaign_ns > 2 * NODE_ELECTION_TIMEOUT_NS)
        campaign(n, now_ns);
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
    n->campaign_ns = 0;
    node_members_connect(n);
    uv_timer_start(&n->leader_timer, on_leader_timer, 0, LEADER_WAIT_POLL_MS);
}

void node_chaos_open(struct node *n)
{
    list_init(&n->leader_waits);
    uv_timer_init(n->loop, &n->leader_timer);
    uv_timer_init(n->loop, &n->drop_timer);
    uv_timer_init(n->loop, &n->stop_timer);
    n->leader_timer.data = n->drop_timer.data = n->stop_timer.data = n;
}

void node_chaos_close(struct node *n)
{
    node_leader_waits_fail(n, ERR_SHUTDOWN);
    uv_close((uv_handle_t *)&n->leader_timer, NULL);
    uv_close((uv_handle_t *)&n->drop_timer, NULL);
    uv_close((uv_handle_t *)&n->stop_timer, NULL);
}
