/* The metastore's methods. The leader answers; who is not sends the client on. */
#define LOG_MODULE "service"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"

/* A request that waits; lives in the request's arena. */
struct call {
    struct replica_proposal proposal;
    struct rpc_request *request;
};
struct query {
    struct replica_read read;
    struct rpc_request *request;
    struct meta_query query;
    uint64_t session; /* of a keepalive */
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
    if (!ready_to_serve(n, request, false))
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
        (void)replica_session_touch(n->replica, command.session);
    command.time_ns = replica_command_time_ns(n->replica);
    struct call *call = arena_zalloc(&request->arena, sizeof *call);
    call->request = request;
    call->proposal.data = wire_meta_command_encode(&command, &request->arena);
    call->proposal.done = call_done;
    call->proposal.context = n;
    if (call->proposal.data.size > LIMIT_COMMAND_BYTES)
        service_refuse(n, request, ERR_TOO_BIG, NULL);
    else
        replica_propose(n->replica, &call->proposal);
}

static void query_done(struct replica_read *r, enum err status)
{
    struct query *q = container_of(r, struct query, read);
    struct rpc_request *request = q->request;
    struct node *n = r->context;
    struct meta_query_reply reply = {0};
    if (status == ERR_OK) {
        status = meta_query(replica_meta(n->replica), &q->query, &request->arena, &reply);
        if (status != ERR_OK)
            log_error("query %d fails: %s", (int)q->query.op, err_message(status));
    }
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_meta_query_reply_encode(&reply, &request->arena), NULL);
    else
        service_refuse(n, request, status, NULL);
}

static struct query *new_query(struct node *n, struct rpc_request *request,
                               void (*done)(struct replica_read *r, enum err status))
{
    struct query *q = arena_zalloc(&request->arena, sizeof *q);
    q->request = request;
    q->read.done = done;
    q->read.context = n;
    return q;
}

void service_meta_query(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct query *q = new_query(n, request, query_done);
    struct err_text why;
    enum err e = wire_meta_query_decode(request->message, &request->arena, &q->query, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (!ready_to_serve(n, request, q->query.any_member))
        return;
    if (q->query.session != 0)
        (void)replica_session_touch(n->replica, q->query.session);
    replica_read(n->replica, &q->read, q->query.any_member);
}

/* As a read: only the leader that is confirmed to be it may tell a session that it is alive, or that it isn't. */
static void keepalive_done(struct replica_read *r, enum err status)
{
    struct query *q = container_of(r, struct query, read);
    struct rpc_request *request = q->request;
    struct node *n = r->context;
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply cluster = {0};
    if (status == ERR_OK && !n->leader_ready)
        status = ERR_NO_LEADER;
    if (status == ERR_OK && !replica_session_touch(n->replica, q->session))
        status = ERR_SESSION_EXPIRED;
    if (status == ERR_OK)
        status = meta_query(replica_meta(n->replica), &query, &request->arena, &cluster);
    if (status == ERR_OK)
        status = cluster.status;
    if (status != ERR_OK) {
        service_refuse(n, request, status, NULL);
        return;
    }
    struct wire_keepalive_reply reply = {.map_version = cluster.cluster.map_version,
                                         .session_timeout_ms = n->config.session_timeout_s * 1000};
    node_members_describe(n, &reply.members);
    rpc_reply(request, ERR_OK, wire_keepalive_reply_encode(&reply, &request->arena), NULL);
}

void service_meta_keepalive(struct node *n, struct rpc_request *request)
{
    if (!ready_to_serve(n, request, false))
        return;
    struct wire_keepalive keepalive;
    struct err_text why;
    enum err e = wire_keepalive_decode(request->message, &request->arena, &keepalive, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    struct query *q = new_query(n, request, keepalive_done);
    q->session = keepalive.session;
    replica_read(n->replica, &q->read, false);
}
