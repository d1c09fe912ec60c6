/* An administrator's changes of the block servers: drained, not drained any more, of another weight, removed; how many
 * copies a block shall have; and that they shall look for garbage. Of the leader, who knows what each of them has told
 * of its blocks. */
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "meta/meta.h"

struct change {
    struct node *node;
    struct rpc_request *request;
};

static void change_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct change *c = context;
    if (status == ERR_OK)
        status = reply->status;
    if (status == ERR_OK)
        rpc_reply(c->request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(c->node, c->request, status,
                       status == ERR_NOT_POSSIBLE ? "the last block server can't be drained" : NULL);
    free(c);
}

static void propose(struct node *n, struct rpc_request *request, const struct meta_command *command)
{
    struct change *c = MEM_NEW(struct change);
    *c = (struct change){.node = n, .request = request};
    replica_propose_own(n->replica, command, change_done, c);
}

/* Its blocks are elsewhere, as far as it has told: it met none when it last looked, which was by the map in force. */
static enum err may_be_removed(const struct block_registry_entry *e, uint64_t map_version, struct err_text *why)
{
    const struct wire_block_upkeep *u = &e->report.upkeep;
    uint32_t id = e->server.id;
    if (block_registry_reporting(e, clock_boot_ns()) && e->server.draining && u->walk_blocks > 0)
        return err_explain(why, ERR_NOT_POSSIBLE,
                           "block server %u still has %llu blocks: wait until they are elsewhere", id,
                           (unsigned long long)u->walk_blocks);
    if (!e->server.draining)
        return err_explain(
            why, ERR_NOT_POSSIBLE,
            "block server %u is not drained: `surfctl blocks drain %u' first, or, if it is gone for good, "
            "`surfctl blocks remove --lost %u'",
            id, id, id);
    if (e->reported_ns == 0 || u->map_version != map_version || u->walking || u->walk_due || u->walk_blocks > 0)
        return err_explain(why, ERR_NOT_POSSIBLE,
                           "it is not known that what block server %u has is elsewhere: start it and wait, or "
                           "`surfctl blocks remove --lost %u'",
                           id, id);
    return ERR_OK;
}

static enum err check(struct node *n, const struct wire_admin_server_change *asked, uint64_t map_version,
                      struct meta_block_server *ret, struct err_text *why)
{
    const struct block_registry_entry *e = block_registry_find(&n->registry, asked->id);
    if (!e || e->server.id == 0)
        return err_explain(why, ERR_NO_NODE, "no block server %u is registered", asked->id);
    if (asked->change == META_SERVER_REMOVE && !asked->lost)
        TRY(may_be_removed(e, map_version, why));
    if (asked->change == META_SERVER_REMOVE && block_registry_reporting(e, clock_boot_ns()))
        return err_explain(why, ERR_NOT_POSSIBLE,
                           "block server %u is running, or was seconds ago, and would register again: stop it first",
                           asked->id);
    *ret = e->server;
    ret->change = asked->change;
    if (asked->change == META_SERVER_WEIGHT)
        ret->weight = asked->weight;
    return ERR_OK;
}

void service_block_servers(struct node *n, struct rpc_request *request)
{
    struct wire_admin_server_change asked;
    struct err_text why;
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    enum err e = wire_admin_server_change_decode(request->message, &request->arena, &asked, &why);
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply = {0};
    if (e == ERR_OK)
        e = meta_query(replica_meta(n->replica), &query, &request->arena, &reply);
    struct meta_command command = {.op = META_BLOCK_SERVER};
    if (e == ERR_OK)
        e = check(n, &asked, reply.cluster.map_version, &command.block_server, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    propose(n, request, &command);
}

void service_replicas(struct node *n, struct rpc_request *request)
{
    struct wire_admin_replicas asked;
    struct err_text why;
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    enum err e = wire_admin_replicas_decode(request->message, &request->arena, &asked, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    struct meta_command command = {.op = META_REPLICAS, .replicas.count = asked.count};
    propose(n, request, &command);
}

static void collect_done(void *context, enum err status)
{
    struct change *c = context;
    if (status == ERR_AGAIN)
        replica_collect_now(c->node->replica, collect_done, c);
    else if (status == ERR_OK)
        rpc_reply(c->request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(c->node, c->request, status, NULL);
    if (status != ERR_AGAIN)
        free(c);
}

void service_collect(struct node *n, struct rpc_request *request)
{
    if (!n->leader_ready) {
        service_refuse(n, request, service_not_leader(n), NULL);
        return;
    }
    struct change *c = MEM_NEW(struct change);
    *c = (struct change){.node = n, .request = request};
    replica_collect_now(n->replica, collect_done, c);
}
