/* Requests to whom they concern, and refusals that say why. */
#include <stdio.h>

#define LOG_MODULE "service"
#include "base/log.h"
#include "daemon/node.h"
#include "proto/methods.h"

enum err service_state(const struct node *n)
{
    if (n->crashed || n->no_space.text[0])
        return ERR_CRASHED;
    /* A fault is this node's own: clients are to go on with another one. */
    if (n->fault.text[0] || n->stopping)
        return ERR_SHUTDOWN;
    return ERR_OK;
}

enum err service_not_leader(const struct node *n)
{
    return n->leader != 0 && n->leader != n->config.id ? ERR_NOT_LEADER : ERR_NO_LEADER;
}

/* A member that is none any more sends its clients on to one that is, which knows who leads. */
static struct member *successor(struct node *n)
{
    unsigned at = 0;
    bool member = !n->replica || raft_config_find(replica_config(n->replica), n->config.id);
    return member ? NULL : node_member_next(n, &at);
}

static void refuse(struct node *n, struct rpc_request *request, enum err status, const char *text, bool not_done)
{
    char sentence[400];
    snprintf(sentence, sizeof sentence, "node %u: %s", n->config.id,
             text                  ? text
             : n->fault.text[0]    ? n->fault.text
             : n->no_space.text[0] ? n->no_space.text
                                   : err_message(status));
    struct wire_error error = {.text = slice_str(sentence),
                               .not_done = not_done && request->method == METHOD_META_CALL};
    if (status == ERR_NOT_LEADER && n->leader != 0 && n->leader != n->config.id) {
        const struct member *leader = node_member(n, n->leader);
        error.leader_id = n->leader;
        error.leader_address = leader ? slice_str(leader->address.text) : SLICE(NULL, 0);
    }
    struct member *other = status == ERR_NO_LEADER ? successor(n) : NULL;
    if (other) {
        status = ERR_NOT_LEADER;
        error.leader_id = other->id;
        error.leader_address = slice_str(other->address.text);
    }
    rpc_reply(request, status, wire_error_encode(&error, &request->arena), NULL);
}

void service_refuse(struct node *n, struct rpc_request *request, enum err status, const char *text)
{
    refuse(n, request, status, text, true);
}

void service_fail(struct node *n, struct rpc_request *request, enum err status)
{
    refuse(n, request, status, NULL, false);
}

bool service_has_role(struct node *n, struct rpc_request *request, unsigned role)
{
    if (n->config.roles & role)
        return true;
    service_refuse(n, request, ERR_NO_METHOD,
                   role == WIRE_NODE_META ? "it has no metastore" : "it has no block server");
    return false;
}

static void serve(struct node *n, struct rpc_request *request)
{
    if (n->log_thread)
        log_thread_served(n->log_thread);
    switch (request->method) {
    case METHOD_META_CALL:
        service_meta_call(n, request);
        break;
    case METHOD_META_QUERY:
        service_meta_query(n, request);
        break;
    case METHOD_META_NOTICES:
        service_meta_notices(n, request);
        break;
    case METHOD_META_CHANGES:
        service_meta_changes(n, request);
        return;
    case METHOD_META_KV_EVENTS:
        service_meta_kv_events(n, request);
        break;
    case METHOD_META_DURABLE:
        service_meta_durable(n, request);
        break;
    case METHOD_META_KEEPALIVE:
        service_meta_keepalive(n, request);
        break;
    case METHOD_BLOCK_PUT:
    case METHOD_BLOCK_GET:
    case METHOD_BLOCK_HAS:
    case METHOD_BLOCK_SYNC:
    case METHOD_BLOCK_INFO:
    case METHOD_BLOCK_SUSPECT:
    case METHOD_BLOCK_SHORT:
    case METHOD_BLOCK_INVENTORY:
        service_block(n, request);
        break;
    case METHOD_BLOCK_REPORT:
        service_block_report(n, request);
        break;
    case METHOD_ADMIN_CHECK:
        service_check(n, request);
        break;
    case METHOD_ADMIN_REFERENCES:
        service_references(n, request);
        break;
    default:
        service_refuse(n, request, ERR_NO_METHOD, NULL);
    }
}

void service_on_request(void *context, struct rpc_request *request)
{
    struct node *n = context;
    enum err state = service_state(n);
    if (request->method == METHOD_RAFT)
        node_receive(n, request);
    else if (request->oneway)
        rpc_release(request);
    else if (request->method >= METHOD_ADMIN_STATE && request->method <= METHOD_ADMIN_REPLICAS)
        service_admin(n, request);
    else if (request->method == METHOD_ADMIN_FILES)
        service_files(n, request);
    else if (state != ERR_OK)
        service_refuse(n, request, state, NULL);
    else
        serve(n, request);
}
