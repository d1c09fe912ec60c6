#include "daemon/node.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define LOG_MODULE "node"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define HANDOVER_NS (1 * NS_PER_S) /* how long a leader that stops waits for another one */
#define HANDOVER_POLL_MS 10u
#define POLL_SECONDS 2u /* between two questions to block servers that don't report by themselves */

const char *node_own_address(const struct node *n)
{
    return n->config.advertise.text;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct node *n = handle->data;
    log_info("signal %d: stopping", number);
    if (n->on_stop_asked)
        n->on_stop_asked(n->stop_context);
    else
        node_stop(n);
}

static enum err open_datadir(struct node *n, struct err_text *why)
{
    struct datadir_options options = {.path = n->config.data,
                                      .node_id = n->config.id,
                                      .roles = n->config.roles,
                                      .rebuild = n->config.rebuild,
                                      .rebuild_blocks = n->config.rebuild_blocks};
    if ((n->config.roles & WIRE_NODE_META) && !n->config.join)
        for (unsigned i = 0; i < n->config.peer_count; i++)
            options.members[options.member_count++] = n->config.peers[i].id;
    TRY(datadir_open(&options, &n->dir, why));
    if (n->config.rebuild_blocks)
        TRY(datadir_put_blocks_aside(n->dir, why));
    return n->config.rebuild ? datadir_rebuild(n->dir, why) : ERR_OK;
}

static void on_second(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (n->stopping || n->fault.text[0])
        return;
    n->seconds++;
    node_space_second(n);
    node_memory_second(n);
    if (!node_in_service(n))
        return;
    node_members_connect(n);
    if (n->replica)
        node_rejoin_second(n);
    if (n->leader_ready && n->seconds % POLL_SECONDS == 0)
        node_registry_poll(n);
}

bool node_in_service(const struct node *n)
{
    return !n->crashed && !n->no_space.text[0] && !n->fault.text[0] && !n->stopping;
}

static void open_handles(struct node *n)
{
    uv_timer_init(n->loop, &n->second_timer);
    n->second_timer.data = n;
    uv_timer_start(&n->second_timer, on_second, 0, 1000);
    node_chaos_open(n);
    service_members_open(n);
    lock_parks_open(n);
    service_notices_open(n);
    service_changes_open(n);
    node_lead_open(n);
    uv_signal_init(n->loop, &n->sigterm);
    uv_signal_init(n->loop, &n->sigint);
    n->sigterm.data = n->sigint.data = n;
    uv_signal_start(&n->sigterm, on_signal, SIGTERM);
    uv_signal_start(&n->sigint, on_signal, SIGINT);
}

static void log_start(const struct node *n)
{
    char members[512] = "none";
    size_t at = 0;
    for (unsigned i = 0; i < n->config.peer_count && at < sizeof members; i++)
        at += (size_t)snprintf(members + at, sizeof members - at, "%s%u=%s", i ? "," : "", n->config.peers[i].id,
                               n->config.peers[i].address.text);
    unsigned roles = n->config.roles;
    log_info("node %u (%s) at %s, data in %s, members %s, election %s, reads %s", n->config.id,
             roles == WIRE_NODE_META    ? "meta"
             : roles == WIRE_NODE_BLOCK ? "block"
                                        : "meta and block",
             node_own_address(n), n->config.data, members, n->config.election == RAFT_ELECTION_AUTO ? "auto" : "manual",
             n->config.reads == RAFT_READS_LEASE ? "lease" : "readindex");
    if (n->config.join && !datadir_cluster_id(n->dir))
        log_info("waiting to be taken in: surfctl members add %u %s", n->config.id, node_own_address(n));
}

static enum err open_blocks(struct node *n, struct err_text *why)
{
    char path[PATH_MAX];
    struct block_store_options options = {0};
    struct err_text reason = {""};
    datadir_path(n->dir, "blocks", path);
    enum err e = block_store_open(path, &options, &n->blocks, &reason);
    if (e == ERR_CORRUPT)
        return err_explain(why, e,
                           "the block store is damaged (%.100s); surfd --rebuild-blocks puts it aside and takes "
                           "its blocks anew from the other servers",
                           reason.text);
    if (e != ERR_OK)
        *why = reason;
    return e;
}

static void on_reply(void *context, unsigned method, enum err status, int64_t took_ns)
{
    struct node *n = context;
    activity_add(&n->activity, method, status, took_ns);
}

/* Of the descriptors, an eighth unless told otherwise: the gateways take up to three quarters, databases and the log
 * need some hundred. */
static unsigned connections_max(const struct node *n)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    unsigned wanted = n->config.connections;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t most = wanted ? MIN((rlim_t)wanted, limit.rlim_cur / 2) : MIN((rlim_t)LIMIT_CONNECTIONS, limit.rlim_cur / 8);
    most = MAX(most, (rlim_t)RPC_SERVER_CONNECTIONS_MIN);
    if (most < (wanted ? wanted : LIMIT_CONNECTIONS))
        log_warn("%u connections at most, since this process may have %llu descriptors", (unsigned)most,
                 (unsigned long long)limit.rlim_cur);
    return (unsigned)most;
}

static enum err open_parts(struct node *n, struct err_text *why)
{
    /* The port first: when it is taken, nothing has been made in the data directory yet. */
    struct rpc_server_callbacks callbacks = {.context = n,
                                             .on_hello = node_on_hello,
                                             .on_request = service_on_request,
                                             .is_important = node_is_important,
                                             .on_close = node_on_close};
    if (n->config.http.port)
        callbacks.on_reply = on_reply;
    TRY(rpc_server_listen(n->loop, n->config.bind_host, n->config.port, node_hello(n), &callbacks, &n->server, why));
    rpc_server_set_connections(n->server, connections_max(n));
    TRY(open_datadir(n, why));
    if (n->config.roles & WIRE_NODE_BLOCK)
        TRY(open_blocks(n, why));
    if (n->config.roles & WIRE_NODE_META)
        TRY(node_replica_open(n, why));
    if (!datadir_is_complete(n->dir))
        TRY(datadir_complete(n->dir, why));
    node_members_open(n);
    node_update_hello(n);
    if (n->blocks) {
        block_reporter_open(n);
        block_keeper_open(n);
    }
    return ERR_OK;
}

enum err node_open(struct node *n, uv_loop_t *loop, const struct config *config, struct err_text *why)
{
    *n = (struct node){.config = *config, .loop = loop, .started_ns = clock_boot_ns()};
    open_handles(n);
    TRY(open_parts(n, why));
    log_start(n);
    return ERR_OK;
}

static void finish_stop(struct node *n)
{
    uv_timer_stop(&n->stop_timer);
    uv_stop(n->loop);
}

static bool is_connected(struct node *n, uint32_t id)
{
    const struct member *m = node_member(n, id);
    return m && m->peer && rpc_peer_connected(m->peer);
}

static void on_stop_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    bool over = n->role != RAFT_LEADER || !is_connected(n, n->successor);
    if (over || n->fault.text[0] || clock_boot_ns() - n->stop_ns > HANDOVER_NS)
        finish_stop(n);
}

/* The member that has most of the log. 0: nobody is there. */
static uint32_t best_successor(struct node *n)
{
    struct replica_status whole;
    replica_status(n->replica, &whole);
    const struct raft_status status = whole.raft;
    uint32_t best = 0;
    uint64_t match = 0;
    for (unsigned i = 0; i < status.progress_count; i++) {
        const struct raft_progress *p = &status.progress[i];
        if (p->active && !p->learner && p->match >= match && !node_is_unreachable(n, p->id) && is_connected(n, p->id))
            best = p->id, match = p->match;
    }
    return best;
}

void node_stop(struct node *n)
{
    if (n->stopping)
        return;
    n->stopping = true;
    n->stop_ns = clock_boot_ns();
    bool leads = n->replica && n->role == RAFT_LEADER && !n->crashed && !n->fault.text[0];
    n->successor = leads && n->config.election == RAFT_ELECTION_AUTO ? best_successor(n) : 0;
    if (n->successor != 0 && replica_transfer(n->replica, n->successor) == ERR_OK)
        uv_timer_start(&n->stop_timer, on_stop_timer, HANDOVER_POLL_MS, HANDOVER_POLL_MS);
    else
        finish_stop(n);
}

static void on_server_closed(void *context)
{
    (void)context;
}

static void close_loop_parts(struct node *n)
{
    node_replica_stop(n);
    node_chaos_close(n);
    service_members_close(n);
    lock_parks_close(n);
    service_notices_close(n);
    service_changes_close(n);
    node_lead_close(n);
    uv_close((uv_handle_t *)&n->second_timer, NULL);
    uv_close((uv_handle_t *)&n->sigterm, NULL);
    uv_close((uv_handle_t *)&n->sigint, NULL);
    block_reporter_close(n);
    block_keeper_close(n);
    node_registry_close(n);
    node_members_close(n);
    if (n->server)
        rpc_server_close(n->server, on_server_closed, n);
}

void node_close(struct node *n)
{
    n->stopping = true;
    close_loop_parts(n);
    /* What worker threads do ends, and every handle's close callback runs. */
    uv_run(n->loop, UV_RUN_DEFAULT);
    service_check_free(n);
    node_replica_close(n);
    block_reporter_free(n);
    block_keeper_free(n);
    node_registry_free(n);
    block_store_close(n->blocks);
    datadir_close(n->dir);
    arena_free(&n->hello_arena);
}
