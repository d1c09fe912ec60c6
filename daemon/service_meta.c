/* The metastore's methods. The leader answers; who is not sends the client on. */
#define LOG_MODULE "service"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"

/* A request that waits; lives in the request's arena. */
struct call {
    struct proposal proposal;
    struct rpc_request *request;
};
struct query {
    struct read read;
    struct rpc_request *request;
    struct meta_query query;
    uint64_t session; /* of a keepalive */
};

/* Before its first entry a cluster has no root to serve. */
static bool ready_to_serve(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return false;
    if (n->role != RAFT_LEADER) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return false;
    }
    if (!meta_initialised(n->meta)) {
        service_refuse(n, request, ERR_NO_LEADER, "the cluster is just being initialised");
        return false;
    }
    return true;
}

static void call_done(struct node *n, struct proposal *p, enum err status, const struct meta_reply *reply)
{
    struct call *call = container_of(p, struct call, proposal);
    struct rpc_request *request = call->request;
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_meta_reply_encode(reply, &request->arena), NULL);
    else
        service_refuse(n, request, status, NULL);
}

/* The leader's own commands are not for clients, and clients' changes belong to a session. */
static enum err check_command(const struct meta_command *c, struct err_text *why)
{
    if (c->op == META_INIT || c->op == META_REAP || c->op == META_BLOCK_SERVER)
        return err_explain(why, ERR_PERM, "%s is not for clients", meta_op_name(c->op));
    if (c->session == 0 && c->op != META_SESSION_OPEN && c->op != META_SESSION_END)
        return err_explain(why, ERR_INVAL, "%s without a session", meta_op_name(c->op));
    return ERR_OK;
}

void service_meta_call(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request))
        return;
    struct meta_command command;
    struct err_text why;
    enum err e = wire_meta_command_decode(request->message, &request->arena, &command, &why);
    if (e == ERR_OK)
        e = check_command(&command, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (command.session != 0)
        sessions_touch(&n->sessions, command.session, clock_boot_ns());
    command.time_ns = node_command_time_ns(n);
    struct call *call = arena_zalloc(&request->arena, sizeof *call);
    call->request = request;
    call->proposal.data = wire_meta_command_encode(&command, &request->arena);
    call->proposal.done = call_done;
    if (call->proposal.data.size > LIMIT_COMMAND_BYTES)
        service_refuse(n, request, ERR_TOO_BIG, NULL);
    else
        node_propose(n, &call->proposal);
}

static void query_done(struct node *n, struct read *r, enum err status)
{
    struct query *q = container_of(r, struct query, read);
    struct rpc_request *request = q->request;
    struct meta_query_reply reply = {0};
    if (status == ERR_OK) {
        status = meta_query(n->meta, &q->query, &request->arena, &reply);
        if (status != ERR_OK)
            log_error("query %d fails: %s", (int)q->query.op, err_message(status));
    }
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_meta_query_reply_encode(&reply, &request->arena), NULL);
    else
        service_refuse(n, request, status, NULL);
}

static struct query *new_query(struct rpc_request *request,
                               void (*done)(struct node *n, struct read *r, enum err status))
{
    struct query *q = arena_zalloc(&request->arena, sizeof *q);
    q->request = request;
    q->read.done = done;
    return q;
}

void service_meta_query(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request))
        return;
    struct query *q = new_query(request, query_done);
    struct err_text why;
    enum err e = wire_meta_query_decode(request->message, &request->arena, &q->query, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (q->query.session != 0)
        sessions_touch(&n->sessions, q->query.session, clock_boot_ns());
    node_read(n, &q->read);
}

/* As a read: only the leader that is confirmed to be it may tell a session that it is alive, or that it isn't. */
static void keepalive_done(struct node *n, struct read *r, enum err status)
{
    struct query *q = container_of(r, struct query, read);
    struct rpc_request *request = q->request;
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply cluster = {0};
    if (status == ERR_OK && !n->leader_ready)
        status = ERR_NO_LEADER;
    if (status == ERR_OK && !sessions_touch(&n->sessions, q->session, clock_boot_ns()))
        status = ERR_SESSION_EXPIRED;
    if (status == ERR_OK)
        status = meta_query(n->meta, &query, &request->arena, &cluster);
    if (status == ERR_OK)
        status = cluster.status;
    if (status != ERR_OK) {
        service_refuse(n, request, status, NULL);
        return;
    }
    struct wire_keepalive_reply reply = {.map_version = cluster.cluster.map_version,
                                         .session_timeout_ms = n->config.session_timeout_s * 1000};
    rpc_reply(request, ERR_OK, wire_keepalive_reply_encode(&reply, &request->arena), NULL);
}

void service_meta_keepalive(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request))
        return;
    struct wire_keepalive keepalive;
    struct err_text why;
    enum err e = wire_keepalive_decode(request->message, &request->arena, &keepalive, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    struct query *q = new_query(request, keepalive_done);
    q->session = keepalive.session;
    node_read(n, &q->read);
}
