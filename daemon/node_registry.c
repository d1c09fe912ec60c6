/* Keeps the leader's registry of block servers up to date: loads it, takes reports, asks servers that were named on the
 * command line, and proposes what has to be in the replicated state. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "blocks"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"

#define POLL_DEADLINE_NS (2 * NS_PER_S)

/* A positional address: that server does not report by itself. */
struct polled_server {
    struct node *node;
    const struct rpc_address *address;
    struct rpc_peer *peer;
    bool under_way;
};

void node_registry_load(struct node *n)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    block_registry_clear(&n->registry);
    n->registry_complaint[0] = 0;
    if (meta_initialised(replica_meta(n->replica)) &&
        meta_query(replica_meta(n->replica), &query, &arena, &reply) == ERR_OK && reply.status == ERR_OK)
        for (unsigned i = 0; i < reply.cluster.server_count; i++)
            block_registry_registered(&n->registry, &reply.cluster.servers[i]);
    arena_free(&arena);
}

struct registration {
    struct node *node;
    uint32_t id;
};

static void register_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct registration *r = context;
    block_registry_settled(&r->node->registry, r->id);
    if (status == ERR_OK && reply->status != ERR_OK)
        log_warn("block server %u can't be registered: %s", r->id, err_message(reply->status));
    free(r);
}

/* The same complaint comes with every report: said once. */
static void complain(struct node *n, const struct err_text *why)
{
    if (strcmp(n->registry_complaint, why->text) == 0)
        return;
    snprintf(n->registry_complaint, sizeof n->registry_complaint, "%s", why->text);
    log_warn("%s", why->text);
}

enum err node_registry_report(struct node *n, const struct wire_block_info *info, const char *address,
                              struct err_text *why)
{
    struct rpc_address parsed;
    if (!meta_initialised(replica_meta(n->replica)))
        return err_explain(why, ERR_NO_LEADER, "the cluster is just being initialised");
    TRY(rpc_address_parse(address, &parsed, why));
    struct block_report report = {.blocks = info->blocks,
                                  .block_bytes = info->block_bytes,
                                  .disk_total = info->disk_total,
                                  .disk_free = info->disk_free,
                                  .disk_kept = info->disk_kept,
                                  .full = info->full,
                                  .failed = info->failed,
                                  .upkeep = info->upkeep};
    if (info->zone.size > 0)
        memcpy(report.zone, info->zone.data, info->zone.size);
    struct meta_command c = {.op = META_BLOCK_SERVER};
    bool registers = false;
    enum err e = block_registry_report(&n->registry, info->node_id, parsed.text, &report, clock_boot_ns(),
                                       &c.block_server, &registers, why);
    if (e != ERR_OK) {
        complain(n, why);
        return e;
    }
    if (info->upkeep.collect_waiting > 0)
        replica_garbage_waits(n->replica);
    if (registers) {
        log_info("block server %u at %s, %llu MiB, is to be registered", c.block_server.id, c.block_server.address,
                 (unsigned long long)c.block_server.weight);
        struct registration *r = MEM_NEW(struct registration);
        *r = (struct registration){.node = n, .id = c.block_server.id};
        replica_propose_own(n->replica, &c, register_done, r);
    }
    return ERR_OK;
}

static enum err on_polled_hello(void *context, struct slice encoded, struct err_text *why)
{
    struct polled_server *s = context;
    struct wire_hello hello;
    return node_check_hello(s->node, encoded, &hello, why);
}

static void on_polled(void *context, const struct rpc_response *response)
{
    struct polled_server *s = context;
    struct node *n = s->node;
    s->under_way = false;
    if (!n->leader_ready || !node_in_service(n))
        return;
    struct arena arena = {0};
    struct wire_block_info info;
    struct err_text why = {""};
    enum err e = response->status;
    if (e == ERR_OK)
        e = wire_block_info_decode(response->message, &arena, &info, &why);
    if (e == ERR_OK)
        (void)!node_registry_report(n, &info, s->address->text, &why);
    else {
        struct err_text text;
        (void)!err_explain(&text, e, "block server %.100s does not answer: %.100s", s->address->text,
                           why.text[0] ? why.text : err_message(e));
        complain(n, &text);
    }
    arena_free(&arena);
}

void node_registry_poll(struct node *n)
{
    for (unsigned i = 0; i < n->config.block_server_count; i++) {
        struct polled_server *s = n->polled[i];
        if (!s) {
            s = n->polled[i] = MEM_NEW(struct polled_server);
            s->node = n;
            s->address = &n->config.block_servers[i];
            s->peer = rpc_peer_new(n->loop, s->address, node_hello(n), on_polled_hello, s);
        }
        if (s->under_way)
            continue;
        s->under_way = true;
        rpc_peer_call(s->peer, METHOD_BLOCK_INFO, SLICE(NULL, 0), SLICE(NULL, 0), clock_boot_ns() + POLL_DEADLINE_NS,
                      on_polled, s);
    }
}

void node_registry_close(struct node *n)
{
    for (unsigned i = 0; i < n->config.block_server_count; i++)
        if (n->polled[i])
            rpc_peer_free(n->polled[i]->peer);
}

void node_registry_free(struct node *n)
{
    for (unsigned i = 0; i < n->config.block_server_count; i++)
        free(n->polled[i]);
}
