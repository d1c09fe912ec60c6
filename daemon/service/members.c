/* Changes of members that are asked for. An answer comes when the change is over, so that whoever asked can rely on it.
 */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "admin"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"

#define POLL_MS 10u
#define WAIT_NS (10 * NS_PER_S)
#define WAITERS_MAX 64u

/* A change that is proposed and not over. */
struct change_wait {
    struct list_node link;
    struct rpc_request *request;
    int64_t begun_ns;
};

static void end(struct node *n, struct change_wait *w, enum err status, const char *text)
{
    list_remove(&w->link);
    n->change_wait_count--;
    if (status == ERR_OK)
        rpc_reply(w->request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(n, w->request, status, text);
    free(w);
    if (n->change_wait_count == 0)
        uv_timer_stop(&n->change_timer);
}

static void on_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    struct replica_status status;
    int64_t now_ns = clock_boot_ns();
    replica_status(n->replica, &status);
    /* A leader that has removed itself has done so when it was committed. */
    bool over = !status.raft.config_pending;
    list_for_each_safe (node, &n->change_waits) {
        struct change_wait *w = container_of(node, struct change_wait, link);
        if (over && (n->role == RAFT_LEADER || !status.raft.voter))
            end(n, w, ERR_OK, NULL);
        else if (n->role != RAFT_LEADER || !node_in_service(n))
            end(n, w, ERR_NOT_POSSIBLE, "the leader has changed; `surfctl members' shows what came of it");
        else if (now_ns - w->begun_ns > WAIT_NS)
            end(n, w, ERR_NOT_POSSIBLE, "proposed, but not committed yet: no majority answers");
    }
}

static void wait_for_it(struct node *n, struct rpc_request *request)
{
    struct change_wait *w = MEM_NEW(struct change_wait);
    w->request = request;
    w->begun_ns = clock_boot_ns();
    list_push_back(&n->change_waits, &w->link);
    n->change_wait_count++;
    uv_timer_start(&n->change_timer, on_timer, 0, POLL_MS);
}

static bool was_voter(const struct node *n, uint32_t id)
{
    const struct raft_member *m = raft_config_find(replica_config(n->replica), id);
    return m && m->voter;
}

static void answer_rejoin(struct node *n, struct rpc_request *request, const struct replica_change *change)
{
    struct wire_admin_rejoined answer = {.was_voter = was_voter(n, change->id)};
    struct err_text why;
    enum err e = replica_change_members(n->replica, change, &why);
    if (e == ERR_OK || e == ERR_EXIST)
        rpc_reply(request, ERR_OK, wire_admin_rejoined_encode(&answer, &request->arena), NULL);
    else
        service_refuse(n, request, e, why.text);
}

void service_members(struct node *n, struct rpc_request *request)
{
    struct wire_admin_member_change asked = {0};
    struct err_text why;
    enum err e = wire_admin_member_change_decode(request->message, &request->arena, &asked, &why);
    if (e == ERR_OK && n->role != RAFT_LEADER) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    struct replica_change change = {.id = asked.id, .address = arena_str(&request->arena, asked.address)};
    static const enum replica_change_kind kinds[] = {
        [WIRE_MEMBER_ADD] = REPLICA_MEMBER_ADD,       [WIRE_MEMBER_PROMOTE] = REPLICA_MEMBER_PROMOTE,
        [WIRE_MEMBER_DEMOTE] = REPLICA_MEMBER_DEMOTE, [WIRE_MEMBER_REMOVE] = REPLICA_MEMBER_REMOVE,
        [WIRE_MEMBER_MOVE] = REPLICA_MEMBER_MOVE,     [WIRE_MEMBER_REJOIN] = REPLICA_MEMBER_REJOIN};
    if (e == ERR_OK && n->change_wait_count == WAITERS_MAX)
        e = err_explain(&why, ERR_BUSY_NOW, "%u changes are under way", WAITERS_MAX);
    if (e == ERR_OK) {
        change.kind = kinds[asked.kind];
        change.level_max = asked.level_max;
        memcpy(change.identity, asked.identity, sizeof change.identity);
        if (change.kind == REPLICA_MEMBER_REJOIN) {
            answer_rejoin(n, request, &change);
            return;
        }
        e = replica_change_members(n->replica, &change, &why);
    }
    if (e == ERR_OK)
        wait_for_it(n, request);
    else
        service_refuse(n, request, e, why.text);
}

void service_members_open(struct node *n)
{
    list_init(&n->change_waits);
    uv_timer_init(n->loop, &n->change_timer);
    n->change_timer.data = n;
}

void service_members_close(struct node *n)
{
    list_for_each_safe (node, &n->change_waits)
        end(n, container_of(node, struct change_wait, link), ERR_SHUTDOWN, NULL);
    uv_close((uv_handle_t *)&n->change_timer, NULL);
}
