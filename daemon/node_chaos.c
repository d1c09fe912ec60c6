/* Crash and restore as an operator asks for them, and faults as they happen. */
#include <stdarg.h>
#include <stdio.h>

#define LOG_MODULE "node"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"

#define DROP_DELAY_MS 1u   /* lets the answer to the one who asked for the crash out */
#define FAULT_EXIT_MS 500u /* the state can be asked for meanwhile */

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
