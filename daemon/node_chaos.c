/* Crash and restore as an operator asks for them, and faults as they happen. */
#include <stdio.h>

#define LOG_MODULE "node"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"

#define DROP_DELAY_MS 1u   /* lets the answer to the one who asked for the crash out */
#define FAULT_EXIT_MS 500u /* the state can be asked for meanwhile */

static void on_drop_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (!n->crashed)
        return;
    rpc_server_drop_connections(n->server, n->crashed_ns);
    for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++)
        if (n->members[i].peer)
            rpc_peer_disconnect(n->members[i].peer);
}

void node_service_changed(struct node *n)
{
    if (!n->replica)
        return;
    if (n->crashed || n->no_space.text[0]) {
        replica_suspend(n->replica);
    } else {
        node_members_connect(n);
        replica_resume(n->replica);
        block_reporter_now(n);
    }
    node_replica_arm(n);
}

void node_crash(struct node *n)
{
    if (n->crashed)
        return;
    log_warn("crashed on request: no service until it is restored");
    n->crashed = true;
    n->crashed_ns = clock_boot_ns();
    node_service_changed(n);
    node_leader_waits_fail(n, ERR_CRASHED);
    uv_timer_start(&n->drop_timer, on_drop_timer, DROP_DELAY_MS, 0);
}

void node_restore(struct node *n)
{
    n->unreachable_count = 0;
    if (!n->crashed)
        return;
    log_warn("restored");
    n->crashed = false;
    node_service_changed(n);
    block_reporter_now(n);
}

static void on_fault_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    node_stop(n);
}

/* Called in the middle of a step: the replica is just not used any more, which to the others looks like a dead node. */
void node_fault(void *context, const char *text)
{
    struct node *n = context;
    snprintf(n->fault.text, sizeof n->fault.text, "%s", text);
    log_error("out of service: %s", n->fault.text);
    n->exit_code = 1;
    n->leader_ready = false;
    if (!n->stopping) /* else that timer is at work already, and looks at the fault */
        uv_timer_start(&n->stop_timer, on_fault_timer, FAULT_EXIT_MS, 0);
}

void node_chaos_open(struct node *n)
{
    uv_timer_init(n->loop, &n->drop_timer);
    uv_timer_init(n->loop, &n->stop_timer);
    n->drop_timer.data = n->stop_timer.data = n;
}

void node_chaos_close(struct node *n)
{
    uv_close((uv_handle_t *)&n->drop_timer, NULL);
    uv_close((uv_handle_t *)&n->stop_timer, NULL);
}
