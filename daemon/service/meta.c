/* The metastore's methods. The leader answers; who is not sends the client on. */
#define LOG_MODULE "service"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"
#include "trace/command.h"

/* A request that waits; lives in the request's arena. */
struct call {
    struct replica_proposal proposal;
    struct trace_operation traced;
    struct rpc_request *request;
    bool taken_early; /* it is in the durability log: it may happen, whatever becomes of the proposal */
};
struct query {
    struct replica_query query;
    struct trace_operation traced;
    bool again; /* it has been put off before */
    struct rpc_request *request;
};
struct keepalive {
    struct replica_read read;
    struct rpc_request *request;
    struct wire_keepalive asked;
};

/* Before its first entry a cluster has no root to serve. */
static bool ready_to_serve(struct node *n, struct rpc_request *request, bool any_member)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return false;
    if (n->role != RAFT_LEADER && !any_member) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return false;
    }
    if (!meta_initialised(replica_meta(n->replica))) {
        service_refuse(n, request, ERR_NO_LEADER, "the cluster is just being initialised");
        return false;
    }
    return true;
}

static void call_done(struct replica_proposal *p, enum err status, const struct meta_reply *reply)
{
    struct call *call = container_of(p, struct call, proposal);
    struct rpc_request *request = call->request;
    struct node *n = p->context;
    if (status == ERR_OK)
        trace_operation(&call->traced, "Committed", NULL);
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_meta_reply_encode(reply, &request->arena), NULL);
    else if (p->index == 0 && !call->taken_early)
        service_refuse(n, request, status, NULL);
    else
        service_fail(n, request, status);
}

/* The leader's own commands are not for clients, and clients' changes belong to a session. */
static enum err check_command(const struct meta_command *c, struct err_text *why)
{
    if (c->op == META_INIT || c->op == META_REAP || c->op == META_RELEASE || c->op == META_BLOCK_SERVER ||
        c->op == META_EXPORT || c->op == META_EPOCH || c->op == META_KV_EXPIRE || c->op == META_SET_LEVEL ||
        c->op == META_REPLICAS)
        return err_explain(why, ERR_PERM, "%s is not for clients", meta_op_name(c->op));
    if (c->session == 0 && c->op != META_SESSION_OPEN && c->op != META_SESSION_END)
        return err_explain(why, ERR_INVAL, "%s without a session", meta_op_name(c->op));
    return ERR_OK;
}

void service_meta_call(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request, false))
        return;
    struct meta_command command;
    struct err_text why;
    enum err e = wire_meta_command_decode(request->message, &request->arena, &command, &why);
    if (e == ERR_OK)
        e = check_command(&command, &why);
    if (e == ERR_OK)
        e = replica_may_propose(n->replica, &command, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (command.session != 0)
        (void)replica_session_touch(n->replica, command.session);
    struct call *call = arena_zalloc(&request->arena, sizeof *call);
    call->request = request;
    if (trace_on)
        call->traced = trace_of_command(&command);
    trace_operation(&call->traced, "Recvd", meta_op_name(command.op));
    call->proposal.done = call_done;
    call->proposal.context = n;
    call->taken_early = true;
    if (command.session != 0 && replica_durable_join(n->replica, command.session, command.seq, &call->proposal))
        return;
    call->taken_early = false;
    command.time_ns = replica_command_time_ns(n->replica);
    call->proposal.data = wire_meta_command_encode(&command, &request->arena);
    if (call->proposal.data.size > LIMIT_COMMAND_BYTES)
        service_refuse(n, request, ERR_TOO_BIG, NULL);
    else
        replica_propose(n->replica, &call->proposal);
}

static void query_done(struct replica_query *query, enum err status)
{
    struct query *q = container_of(query, struct query, query);
    struct rpc_request *request = q->request;
    if (status == ERR_OK && query->reply.waiting && !q->again)
        lock_parks_add(query->context, request, query->query.ticket);
    else if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_meta_query_reply_encode(&query->reply, &request->arena), NULL);
    else
        service_refuse(query->context, request, status, NULL);
}

static void ask(struct node *n, struct rpc_request *request, bool again)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct query *q = arena_zalloc(&request->arena, sizeof *q);
    struct meta_query *asked = &q->query.query;
    struct err_text why;
    enum err e = wire_meta_query_decode(request->message, &request->arena, asked, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (!ready_to_serve(n, request, asked->any_member))
        return;
    if (asked->session != 0)
        (void)replica_session_touch(n->replica, asked->session);
    q->request = request;
    q->again = again;
    if (trace_on)
        q->traced = trace_of_query(asked, 0);
    trace_operation(&q->traced, "Recvd", NULL);
    q->query.arena = &request->arena;
    q->query.done = query_done;
    q->query.context = n;
    replica_query(n->replica, &q->query);
}

void service_meta_query(struct node *n, struct rpc_request *request)
{
    ask(n, request, false);
}

void service_meta_query_again(struct node *n, struct rpc_request *request)
{
    ask(n, request, true);
}

/* As a read: only the leader that is confirmed to be it may tell a session that it is alive, or that it isn't. */
static void keepalive_done(struct replica_read *r, enum err status)
{
    struct keepalive *k = container_of(r, struct keepalive, read);
    struct rpc_request *request = k->request;
    struct node *n = r->context;
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply cluster = {0};
    if (status == ERR_OK && !n->leader_ready)
        status = ERR_NO_LEADER;
    if (status == ERR_OK && !replica_session_touch(n->replica, k->asked.session))
        status = ERR_SESSION_EXPIRED;
    if (status == ERR_OK)
        status = meta_query(replica_meta(n->replica), &query, &request->arena, &cluster);
    if (status == ERR_OK)
        status = cluster.status;
    if (status != ERR_OK) {
        service_refuse(n, request, status, NULL);
        return;
    }
    const struct wire_keepalive *asked = &k->asked;
    struct wire_keepalive_reply reply = {.map_version = cluster.cluster.map_version,
                                         .attachment = replica_lease(n->replica, asked),
                                         .session_timeout_ms = n->config.session_timeout_s * 1000};
    node_members_describe(n, &reply.members);
    reply.members.epoch = cluster.epoch;
    rpc_reply(request, ERR_OK, wire_keepalive_reply_encode(&reply, &request->arena), NULL);
}

void service_meta_keepalive(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request, false))
        return;
    struct keepalive *k = arena_zalloc(&request->arena, sizeof *k);
    struct err_text why;
    enum err e = wire_keepalive_decode(request->message, &request->arena, &k->asked, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    k->request = request;
    k->read.done = keepalive_done;
    k->read.context = n;
    replica_read(n->replica, &k->read, false);
}
