/* Administration: answered by every node, crashed or not, of itself only. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_MODULE "admin"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"
#include "replica/leases.h"

#define STATE_LOG_ENTRIES_MAX 100u
#define STATE_SESSIONS_MAX 1024u
#define ENTRY_TEXT_BYTES 512u

static void add_ids(struct bytes *to, const char *word, const struct raft_config *c,
                    bool (*is)(const struct raft_member *m))
{
    const char *separator = word;
    for (unsigned i = 0; i < c->count; i++) {
        char text[32];
        if (!is(&c->members[i]))
            continue;
        snprintf(text, sizeof text, "%s%u", separator, c->members[i].id);
        bytes_append(to, slice_str(text));
        separator = ",";
    }
}

static bool is_voter(const struct raft_member *m)
{
    return m->voter;
}

static bool is_old_voter(const struct raft_member *m)
{
    return m->old_voter;
}

static bool is_learner(const struct raft_member *m)
{
    return !m->voter && !m->leaving;
}

static const char *config_text(const struct raft_entry *e, struct arena *a)
{
    struct raft_config config;
    _cleanup_(bytes_free) struct bytes text = {0};
    if (raft_config_decode(e->data, &config) != ERR_OK)
        return "unreadable";
    bytes_append(&text, slice_str("config"));
    add_ids(&text, " voters ", &config, is_voter);
    add_ids(&text, " old voters ", &config, is_old_voter);
    add_ids(&text, " learners ", &config, is_learner);
    return arena_str(a, bytes_slice(&text));
}

static const char *entry_text(const struct raft_entry *e, struct arena *a)
{
    char text[ENTRY_TEXT_BYTES];
    struct meta_command command;
    struct err_text why;
    if (e->type == RAFT_ENTRY_NOOP)
        return "noop";
    if (e->type == RAFT_ENTRY_CONFIG)
        return config_text(e, a);
    if (wire_meta_command_decode(e->data, a, &command, &why) != ERR_OK)
        return "unreadable";
    meta_command_describe(&command, text, sizeof text);
    return arena_str(a, slice_str(text));
}

/* The last entries that are durable here. */
static void state_log(struct node *n, unsigned count, struct arena *a, struct wire_admin_state *s)
{
    struct raftlog_bounds bounds;
    raftlog_bounds(replica_log(n->replica), &bounds);
    s->compacted = bounds.compacted_index;
    s->log_bytes = bounds.bytes;
    s->log_segments = bounds.segments;
    s->log_writes = bounds.writes;
    count = (unsigned)MIN((uint64_t)MIN(count, STATE_LOG_ENTRIES_MAX), bounds.last_index - bounds.compacted_index);
    struct wire_admin_log_entry *list = arena_alloc(a, (count + 1) * sizeof *list);
    struct raft_entry *entries = arena_alloc(a, (count + 1) * sizeof *entries);
    struct bytes buffer = {0};
    uint64_t from = bounds.last_index + 1 - count;
    while (s->log_count < count) {
        unsigned got = 0;
        if (raftlog_read(replica_log(n->replica), from, count - s->log_count, LIMIT_RAFT_BATCH_BYTES, &buffer, entries,
                         &got) != ERR_OK ||
            got == 0)
            break;
        for (unsigned i = 0; i < got; i++)
            list[s->log_count++] =
                (struct wire_admin_log_entry){entries[i].index, entries[i].term, slice_str(entry_text(&entries[i], a))};
        from += got;
    }
    bytes_free(&buffer);
    s->log = list;
}

static void state_members(struct node *n, const struct raft_status *status, struct arena *a, struct wire_admin_state *s)
{
    const struct raft_config *config = replica_config(n->replica);
    struct wire_admin_peer *peers = arena_zalloc(a, (config->count + 1) * sizeof *peers);
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_member *m = &config->members[i];
        peers[i] = (struct wire_admin_peer){
            .id = m->id, .address = slice_str(m->address), .voter = m->voter, .old_voter = m->old_voter};
        if (m->id == n->config.id)
            peers[i].active = node_in_service(n), peers[i].match = status->last, peers[i].next = status->last + 1;
        for (unsigned p = 0; p < status->progress_count; p++) {
            const struct raft_progress *progress = &status->progress[p];
            if (progress->id != m->id)
                continue;
            peers[i].active = progress->active, peers[i].match = progress->match;
            peers[i].next = progress->next;
            peers[i].needs_snapshot = progress->needs_snapshot;
            peers[i].foreign = replica_member_is_foreign(n->replica, m->id);
        }
    }
    s->peers = peers, s->peer_count = config->count;
}

static void state_raft(struct node *n, struct arena *a, struct wire_admin_state *s)
{
    struct replica_status status;
    replica_status(n->replica, &status);
    s->role = status.raft.role;
    s->election_manual = n->config.election == RAFT_ELECTION_MANUAL;
    s->term = status.raft.term, s->leader = status.raft.leader, s->vote = status.raft.vote;
    s->commit = status.raft.committed, s->persisted = status.raft.persisted, s->last = status.raft.last,
    s->last_term = status.raft.last_term;
    s->applied = status.raft.applied;
    s->flushed = status.flushed_index;
    s->removed = status.removed;
    s->config_pending = status.raft.config_pending, s->config_index = status.raft.config_index;
    s->snapshot_index = status.receiving.index, s->snapshot_from = status.receiving.peer;
    s->snapshot_bytes = status.receiving.bytes, s->snapshot_total_bytes = status.receiving.total_bytes;
    s->snapshots_installed = status.snapshots_installed;
    s->hashes_compared = status.hashes_compared;
    s->puts_taken = status.puts_taken, s->puts_acknowledged = status.puts_acknowledged;
    s->puts_recovered = status.puts_recovered, s->puts_waiting = status.puts_waiting;
    s->epoch_hurry = status.epoch_hurry;
    struct leases_status leases;
    replica_leases(n->replica, &leases);
    s->activity.lease_holders = leases.attachments, s->activity.leased_inodes = leases.held_inodes;
    s->activity.changes_waiting = leases.waiting_changes;
    s->activity.leases_granted = leases.granted, s->activity.notices = leases.noticed;
    s->activity.leases_expired = leases.expired;
    state_members(n, &status.raft, a, s);
}

static void state_sessions(struct node *n, const struct meta_query_reply *reply, struct arena *a,
                           struct wire_admin_state *s)
{
    unsigned count = MIN(reply->session_count, STATE_SESSIONS_MAX);
    struct wire_admin_session *list = arena_zalloc(a, (count + 1) * sizeof *list);
    for (unsigned i = 0; i < count; i++) {
        const struct meta_session_info *info = &reply->sessions[i];
        list[i] = (struct wire_admin_session){.id = info->id,
                                              .last_seq = info->last_seq,
                                              .client = info->client,
                                              .export = info->export,
                                              .opened_ns = info->opened_ns,
                                              .locks = info->locks,
                                              .waits = info->waits,
                                              .silent_ns = replica_session_silent_ns(n->replica, info->id)};
    }
    s->sessions = list, s->session_count = count;
}

static void state_block_servers(struct node *n, const struct meta_query_reply *reply, struct arena *a,
                                struct wire_admin_state *s)
{
    int64_t now_ns = clock_boot_ns();
    unsigned count = reply->cluster.server_count;
    struct wire_admin_block_server *list = arena_zalloc(a, (count + 1) * sizeof *list);
    for (unsigned i = 0; i < count; i++) {
        const struct meta_block_server *server = &reply->cluster.servers[i];
        list[i].id = server->id;
        list[i].address = slice_str(server->address);
        list[i].weight = server->weight;
        list[i].zone = slice_str(server->zone);
        list[i].draining = server->draining, list[i].weight_fixed = server->weight_fixed;
        const struct block_registry_entry *e = block_registry_find(&n->registry, server->id);
        if (!e || e->reported_ns == 0)
            continue;
        list[i].reporting = block_registry_reporting(e, now_ns);
        list[i].blocks = e->report.blocks, list[i].block_bytes = e->report.block_bytes;
        list[i].disk_total = e->report.disk_total, list[i].disk_free = e->report.disk_free;
        list[i].disk_kept = e->report.disk_kept, list[i].full = e->report.full;
        list[i].failed = e->report.failed;
        list[i].upkeep = e->report.upkeep;
    }
    s->block_servers = list, s->block_server_count = count;
}

/* Of the applied state, here and now, whoever leads. */
static void state_meta(struct node *n, struct arena *a, struct wire_admin_state *s)
{
    struct meta *meta = replica_meta(n->replica);
    struct sha256 *chain = arena_alloc(a, sizeof *chain);
    if (!meta)
        return; /* it could not be opened */
    meta_chain_hash(meta, chain);
    s->chain_hash = SLICE(chain->bytes, SHA256_SIZE);
    s->applied = meta_applied_index(meta);
    s->level = meta_level(meta);
    struct meta_collection collection;
    meta_collection(meta, &collection);
    s->epoch = collection.epoch;
    struct meta_query query = {.op = META_QUERY_STATFS};
    struct meta_query_reply reply = {0};
    if (meta_query(meta, &query, a, &reply) == ERR_OK && reply.status == ERR_OK)
        s->inodes = reply.statfs.inodes, s->file_bytes = reply.statfs.bytes;
    struct meta_query_reply *kept = arena_zalloc(a, sizeof *kept);
    query.op = META_QUERY_CLUSTER;
    if (meta_query(meta, &query, a, kept) == ERR_OK && kept->status == ERR_OK) {
        s->replicas = kept->cluster.replicas;
        state_block_servers(n, kept, a, s);
    }
    query.op = META_QUERY_SESSIONS;
    if (meta_query(meta, &query, a, &reply) == ERR_OK && reply.status == ERR_OK)
        state_sessions(n, &reply, a, s);
}

static void answer_state(struct node *n, struct rpc_request *request)
{
    struct arena *a = &request->arena;
    struct wire_admin_state_query query;
    struct err_text why;
    enum err e = wire_admin_state_query_decode(request->message, a, &query, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    struct wire_admin_state s = {.node_id = n->config.id,
                                 .address = slice_str(n->config.advertise.text),
                                 .version = slice_str(SURF_VERSION),
                                 .roles = n->config.roles,
                                 .crashed = n->crashed,
                                 .level_max = NODE_LEVEL_MAX,
                                 .pid = (uint32_t)getpid(),
                                 .uptime_ns = clock_boot_ns() - n->started_ns,
                                 .fault = slice_str(n->fault.text),
                                 .suspended = slice_str(n->no_space.text),
                                 .unreachable = n->unreachable,
                                 .unreachable_count = n->unreachable_count};
    const uint8_t *cluster_id = datadir_cluster_id(n->dir);
    if (cluster_id) {
        s.has_cluster_id = true;
        memcpy(s.cluster_id, cluster_id, sizeof s.cluster_id);
    }
    activity_tell(&n->activity, a, &s.activity);
    if (n->replica) {
        state_raft(n, a, &s);
        state_log(n, query.log_entries, a, &s);
        state_meta(n, a, &s);
    }
    if (n->blocks) {
        s.blocks = n->block_stat.blocks, s.block_bytes = n->block_stat.block_bytes;
        s.disk_total = n->block_stat.disk_total, s.disk_free = n->block_stat.disk_free;
        s.disk_kept = node_space_kept(n), s.blocks_full = n->blocks_full;
        s.blocks_failed = block_store_failed(n->blocks) != ERR_OK;
    }
    rpc_reply(request, ERR_OK, wire_admin_state_encode(&s, a), NULL);
}

static void answer_crash(struct node *n, struct rpc_request *request)
{
    struct wire_admin_crash crash;
    struct err_text why;
    enum err e = wire_admin_crash_decode(request->message, &request->arena, &crash, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    if (crash.kill) {
        log_warn("killed on request");
        raise(SIGKILL);
    }
    rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
    node_crash(n);
}

static void answer_unreachable(struct node *n, struct rpc_request *request)
{
    struct wire_admin_nodes nodes;
    struct err_text why;
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    enum err e = wire_admin_nodes_decode(request->message, &request->arena, &nodes, &why);
    for (unsigned i = 0; e == ERR_OK && i < nodes.count; i++)
        if (!node_member(n, nodes.ids[i]) || nodes.ids[i] == n->config.id)
            e = err_explain(&why, ERR_NO_NODE, "%u is not another member", nodes.ids[i]);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    node_ignore(n, nodes.ids, nodes.count);
    rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
}

static void answer_heartbeat(struct node *n, struct rpc_request *request)
{
    enum err status = replica_heartbeat(n->replica);
    if (status == ERR_OK)
        rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
    else
        service_refuse(n, request, status == ERR_NOT_LEADER ? service_not_leader(n) : status, NULL);
}

void service_admin(struct node *n, struct rpc_request *request)
{
    enum err state = service_state(n);
    switch (request->method) {
    case METHOD_ADMIN_STATE:
        answer_state(n, request);
        return;
    case METHOD_ADMIN_CRASH:
        answer_crash(n, request);
        return;
    case METHOD_ADMIN_RESTORE:
        node_restore(n);
        rpc_reply(request, ERR_OK, SLICE(NULL, 0), NULL);
        return;
    case METHOD_ADMIN_UNREACHABLE:
        answer_unreachable(n, request);
        return;
    default:
        break;
    }
    if (state != ERR_OK)
        service_refuse(n, request, state, NULL);
    else if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    else if (request->method == METHOD_ADMIN_LEADER && node_of_tag(request->conn_tag) != 0)
        node_hand_over(n, request, node_of_tag(request->conn_tag));
    else if (request->method == METHOD_ADMIN_LEADER)
        node_lead(n, request);
    else if (request->method == METHOD_ADMIN_MEMBERS)
        service_members(n, request);
    else if (request->method == METHOD_ADMIN_BLOCKS)
        service_block_servers(n, request);
    else if (request->method == METHOD_ADMIN_REPLICAS)
        service_replicas(n, request);
    else if (request->method == METHOD_ADMIN_EXPORT)
        service_exports(n, request);
    else if (request->method == METHOD_ADMIN_COLLECT)
        service_collect(n, request);
    else
        answer_heartbeat(n, request);
}
