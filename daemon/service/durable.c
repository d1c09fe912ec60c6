/* Unconditional puts ahead of their order: every voter answers, for itself. */
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_durable.h"

struct durable_call {
    struct replica_durable durable;
    struct rpc_request *request;
};

static void durable_done(struct replica_durable *d, enum err status)
{
    struct rpc_request *request = container_of(d, struct durable_call, durable)->request;
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, wire_durable_ack_encode(&d->ack, &request->arena), NULL);
    else
        service_fail(d->context, request, status); /* it may be in the log, and happen */
}

void service_meta_durable(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct durable_call *call = arena_zalloc(&request->arena, sizeof *call);
    call->request = request;
    call->durable.command = request->message;
    call->durable.done = durable_done;
    call->durable.context = n;
    replica_durable(n->replica, &call->durable);
}
