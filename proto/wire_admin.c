#include "proto/wire_admin.h"

#include "proto/admin_parts.h"
#include "proto/block_parts.h"
#include "proto/pack.h"

#define VERSION_BYTES 255u
#define CLIENT_BYTES 255u
#define CHAIN_HASH_BYTES 32u
#define ROLES_ALL (WIRE_NODE_META | WIRE_NODE_BLOCK)

/* ---- small messages ---- */

struct slice wire_admin_state_query_encode(const struct wire_admin_state_query *q, struct arena *a)
{
    CHECK(q->log_entries <= WIRE_ADMIN_LOG_ENTRIES);
    Surf__AdminStateQuery m = SURF__ADMIN_STATE_QUERY__INIT;
    m.log_entries = q->log_entries;
    return wire_pack(&m.base, a);
}

enum err wire_admin_state_query_decode(struct slice s, struct arena *a, struct wire_admin_state_query *ret,
                                       struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminStateQuery, surf__admin_state_query, "state query", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("state query.log_entries", m->log_entries, 0, WIRE_ADMIN_LOG_ENTRIES, why));
    ret->log_entries = m->log_entries;
    return ERR_OK;
}

struct slice wire_admin_crash_encode(const struct wire_admin_crash *q, struct arena *a)
{
    Surf__AdminCrash m = SURF__ADMIN_CRASH__INIT;
    m.kill = q->kill;
    return wire_pack(&m.base, a);
}

enum err wire_admin_crash_decode(struct slice s, struct arena *a, struct wire_admin_crash *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminCrash, surf__admin_crash, "crash", s, WIRE_SMALL_BYTES, a, m);
    ret->kill = m->kill;
    return ERR_OK;
}

struct slice wire_admin_member_change_encode(const struct wire_admin_member_change *c, struct arena *a)
{
    Surf__AdminMemberChange m = SURF__ADMIN_MEMBER_CHANGE__INIT;
    m.kind = c->kind;
    m.id = c->id;
    m.address = wire_binary_of(c->address);
    if (c->kind == WIRE_MEMBER_REJOIN)
        m.identity = wire_binary(c->identity, sizeof c->identity);
    m.level_max = c->level_max;
    return wire_pack(&m.base, a);
}

enum err wire_admin_member_change_decode(struct slice s, struct arena *a, struct wire_admin_member_change *ret,
                                         struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminMemberChange, surf__admin_member_change, "member change", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("member change.kind", m->kind, WIRE_MEMBER_ADD, WIRE_MEMBER_MOVE, why));
    TRY(wire_check_range("member change.id", m->id, 1, UINT16_MAX, why));
    bool placed = m->kind == WIRE_MEMBER_ADD || m->kind == WIRE_MEMBER_REJOIN || m->kind == WIRE_MEMBER_MOVE;
    if (placed)
        TRY(wire_check_address("member change.address", wire_slice(m->address), why));
    else
        TRY(wire_check_size("member change.address", wire_slice(m->address), 0, 0, why));
    size_t identity_bytes = m->kind == WIRE_MEMBER_REJOIN ? 16 : 0;
    TRY(wire_check_size("member change.identity", wire_slice(m->identity), identity_bytes, identity_bytes, why));
    *ret = (struct wire_admin_member_change){.kind = (enum wire_member_change_kind)m->kind,
                                             .id = m->id,
                                             .address = wire_slice(m->address),
                                             .level_max = m->level_max};
    if (identity_bytes > 0)
        memcpy(ret->identity, m->identity.data, sizeof ret->identity);
    return ERR_OK;
}

struct slice wire_admin_server_change_encode(const struct wire_admin_server_change *c, struct arena *a)
{
    CHECK(c->id > 0 && (c->change == META_SERVER_WEIGHT) == (c->weight > 0));
    Surf__AdminServerChange m = SURF__ADMIN_SERVER_CHANGE__INIT;
    m.change = c->change;
    m.id = c->id;
    m.weight = c->weight;
    m.lost = c->lost;
    return wire_pack(&m.base, a);
}

enum err wire_admin_server_change_decode(struct slice s, struct arena *a, struct wire_admin_server_change *ret,
                                         struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminServerChange, surf__admin_server_change, "server change", s, WIRE_SMALL_BYTES, a, m);
    bool weighs = m->change == META_SERVER_WEIGHT;
    TRY(wire_check_range("server change.change", m->change, META_SERVER_DRAIN, META_SERVER_CHANGE_LAST, why));
    TRY(wire_check_range("server change.id", m->id, 1, UINT32_MAX, why));
    TRY(wire_check_range("server change.weight", m->weight, weighs ? 1 : 0, weighs ? META_WEIGHT_MAX : 0, why));
    *ret = (struct wire_admin_server_change){
        .change = (enum meta_server_change)m->change, .id = m->id, .weight = m->weight, .lost = m->lost};
    return ERR_OK;
}

struct slice wire_admin_replicas_encode(const struct wire_admin_replicas *q, struct arena *a)
{
    CHECK(q->count >= 1 && q->count <= LIMIT_REPLICAS);
    Surf__AdminReplicas m = SURF__ADMIN_REPLICAS__INIT;
    m.count = q->count;
    return wire_pack(&m.base, a);
}

enum err wire_admin_replicas_decode(struct slice s, struct arena *a, struct wire_admin_replicas *ret,
                                    struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminReplicas, surf__admin_replicas, "replicas", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("replicas.count", m->count, 1, LIMIT_REPLICAS, why));
    *ret = (struct wire_admin_replicas){.count = m->count};
    return ERR_OK;
}

struct slice wire_admin_export_encode(const struct wire_admin_export *q, struct arena *a)
{
    CHECK(q->name.size > 0 && q->name.size <= LIMIT_EXPORT_BYTES && (q->options & ~q->mask) == 0);
    Surf__AdminExport m = SURF__ADMIN_EXPORT__INIT;
    m.name = wire_binary_of(q->name);
    m.mask = q->mask;
    m.options = q->options;
    return wire_pack(&m.base, a);
}

enum err wire_admin_export_decode(struct slice s, struct arena *a, struct wire_admin_export *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminExport, surf__admin_export, "export", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_size("export.name", wire_slice(m->name), 1, LIMIT_EXPORT_BYTES, why));
    TRY(wire_check_range("export.mask", m->mask, 0, META_EXPORT_OPTIONS_ALL, why));
    if (m->options & ~m->mask)
        return wire_refuse("export.options", m->options, "of the mask", why);
    *ret = (struct wire_admin_export){.name = wire_slice(m->name), .mask = m->mask, .options = m->options};
    return ERR_OK;
}

struct slice wire_admin_rejoined_encode(const struct wire_admin_rejoined *r, struct arena *a)
{
    Surf__AdminRejoined m = SURF__ADMIN_REJOINED__INIT;
    m.was_voter = r->was_voter;
    return wire_pack(&m.base, a);
}

enum err wire_admin_rejoined_decode(struct slice s, struct arena *a, struct wire_admin_rejoined *ret,
                                    struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminRejoined, surf__admin_rejoined, "rejoined", s, WIRE_SMALL_BYTES, a, m);
    ret->was_voter = m->was_voter;
    return ERR_OK;
}

struct slice wire_admin_nodes_encode(const struct wire_admin_nodes *q, struct arena *a)
{
    CHECK(q->count <= LIMIT_NODES);
    Surf__AdminNodes m = SURF__ADMIN_NODES__INIT;
    m.n_id = q->count;
    m.id = wire_unconst(q->ids);
    return wire_pack(&m.base, a);
}

static enum err ids_check(const char *field, const uint32_t *ids, size_t count, struct err_text *why)
{
    TRY(wire_check_count(field, count, 0, LIMIT_NODES, why));
    for (size_t i = 0; i < count; i++)
        TRY(wire_check_range(field, ids[i], 1, UINT32_MAX, why));
    return ERR_OK;
}

enum err wire_admin_nodes_decode(struct slice s, struct arena *a, struct wire_admin_nodes *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminNodes, surf__admin_nodes, "nodes", s, WIRE_SMALL_BYTES, a, m);
    TRY(ids_check("nodes.id", m->id, m->n_id, why));
    *ret = (struct wire_admin_nodes){.ids = m->id, .count = (unsigned)m->n_id};
    return ERR_OK;
}

/* ---- state: encoding ---- */

static void peers_fill(Surf__AdminState *m, const struct wire_admin_state *q, struct arena *a)
{
    CHECK(q->peer_count <= LIMIT_NODES);
    Surf__AdminPeer *peers = arena_alloc(a, q->peer_count * sizeof *peers);
    m->peer = arena_alloc(a, q->peer_count * sizeof(Surf__AdminPeer *));
    m->n_peer = q->peer_count;
    for (unsigned i = 0; i < q->peer_count; i++) {
        CHECK(q->peers[i].address.size <= LIMIT_ADDRESS_BYTES);
        m->peer[i] = &peers[i];
        surf__admin_peer__init(&peers[i]);
        peers[i].id = q->peers[i].id;
        peers[i].address = wire_binary_of(q->peers[i].address);
        peers[i].voter = q->peers[i].voter;
        peers[i].active = q->peers[i].active;
        peers[i].match = q->peers[i].match;
        peers[i].next = q->peers[i].next;
        peers[i].old_voter = q->peers[i].old_voter;
        peers[i].needs_snapshot = q->peers[i].needs_snapshot;
        peers[i].foreign = q->peers[i].foreign;
    }
}

static void log_fill(Surf__AdminState *m, const struct wire_admin_state *q, struct arena *a)
{
    CHECK(q->log_count <= WIRE_ADMIN_LOG_ENTRIES);
    Surf__AdminLogEntry *log = arena_alloc(a, q->log_count * sizeof *log);
    m->log = arena_alloc(a, q->log_count * sizeof(Surf__AdminLogEntry *));
    m->n_log = q->log_count;
    for (unsigned i = 0; i < q->log_count; i++) {
        m->log[i] = &log[i];
        surf__admin_log_entry__init(&log[i]);
        log[i].index = q->log[i].index;
        log[i].term = q->log[i].term;
        log[i].text = wire_binary_cut(q->log[i].text, WIRE_TEXT_BYTES);
    }
}

static void block_servers_fill(Surf__AdminState *m, const struct wire_admin_state *q, struct arena *a)
{
    CHECK(q->block_server_count <= LIMIT_BLOCK_SERVERS);
    Surf__AdminBlockServer *servers = arena_alloc(a, q->block_server_count * sizeof *servers);
    Surf__BlockUpkeep *upkeeps = arena_alloc(a, q->block_server_count * sizeof *upkeeps);
    m->block_server = arena_alloc(a, q->block_server_count * sizeof(Surf__AdminBlockServer *));
    m->n_block_server = q->block_server_count;
    for (unsigned i = 0; i < q->block_server_count; i++) {
        const struct wire_admin_block_server *from = &q->block_servers[i];
        Surf__AdminBlockServer *to = m->block_server[i] = &servers[i];
        CHECK(from->address.size <= LIMIT_ADDRESS_BYTES && meta_zone_valid(from->zone));
        surf__admin_block_server__init(to);
        to->id = from->id;
        to->address = wire_binary_of(from->address);
        to->reporting = from->reporting;
        to->blocks = from->blocks;
        to->block_bytes = from->block_bytes;
        to->disk_total = from->disk_total;
        to->disk_free = from->disk_free;
        to->disk_kept = from->disk_kept;
        to->full = from->full;
        to->failed = from->failed;
        to->weight = from->weight;
        to->zone = wire_binary_of(from->zone);
        to->draining = from->draining;
        to->weight_fixed = from->weight_fixed;
        to->upkeep = &upkeeps[i];
        wire_upkeep_fill(to->upkeep, &from->upkeep);
    }
}

static void sessions_fill(Surf__AdminState *m, const struct wire_admin_state *q, struct arena *a)
{
    CHECK(q->session_count <= WIRE_ADMIN_SESSIONS);
    Surf__AdminSession *sessions = arena_alloc(a, q->session_count * sizeof *sessions);
    m->session = arena_alloc(a, q->session_count * sizeof(Surf__AdminSession *));
    m->n_session = q->session_count;
    for (unsigned i = 0; i < q->session_count; i++) {
        const struct wire_admin_session *from = &q->sessions[i];
        Surf__AdminSession *to = m->session[i] = &sessions[i];
        surf__admin_session__init(to);
        to->id = from->id;
        to->last_seq = from->last_seq;
        to->client = wire_binary_cut(from->client, CLIENT_BYTES);
        to->export = wire_binary_cut(from->export, LIMIT_EXPORT_BYTES);
        to->opened_ns = from->opened_ns;
        to->silent_ns = from->silent_ns;
        to->locks = from->locks;
        to->waits = from->waits;
    }
}

struct slice wire_admin_state_encode(const struct wire_admin_state *q, struct arena *a)
{
    CHECK(q->address.size <= LIMIT_ADDRESS_BYTES && (q->roles & ~ROLES_ALL) == 0 &&
          q->unreachable_count <= LIMIT_NODES);
    CHECK(q->chain_hash.size == 0 || q->chain_hash.size == CHAIN_HASH_BYTES);
    Surf__AdminState m = SURF__ADMIN_STATE__INIT;
    m.node_id = q->node_id;
    m.address = wire_binary_of(q->address);
    m.version = wire_binary_cut(q->version, VERSION_BYTES);
    m.roles = q->roles;
    m.crashed = q->crashed;
    if (q->has_cluster_id)
        m.cluster_id = wire_binary(q->cluster_id, sizeof q->cluster_id);
    m.pid = q->pid;
    m.uptime_ns = q->uptime_ns;
    m.fault = wire_binary_cut(q->fault, WIRE_TEXT_BYTES);
    m.role = q->role;
    m.election_manual = q->election_manual;
    m.term = q->term;
    m.commit = q->commit;
    m.applied = q->applied;
    m.persisted = q->persisted;
    m.last = q->last;
    m.last_term = q->last_term;
    m.compacted = q->compacted;
    m.flushed = q->flushed;
    m.leader = q->leader;
    m.vote = q->vote;
    m.chain_hash = wire_binary_of(q->chain_hash);
    m.log_bytes = q->log_bytes;
    m.log_segments = q->log_segments;
    m.log_writes = q->log_writes;
    m.level = q->level, m.level_max = q->level_max;
    m.replicas = q->replicas;
    m.inodes = q->inodes;
    m.file_bytes = q->file_bytes;
    peers_fill(&m, q, a);
    m.n_unreachable = q->unreachable_count;
    m.unreachable = wire_unconst(q->unreachable);
    log_fill(&m, q, a);
    block_servers_fill(&m, q, a);
    sessions_fill(&m, q, a);
    m.blocks = q->blocks;
    m.block_bytes = q->block_bytes;
    m.disk_total = q->disk_total;
    m.disk_free = q->disk_free;
    m.disk_kept = q->disk_kept;
    m.blocks_full = q->blocks_full;
    m.blocks_failed = q->blocks_failed;
    m.suspended = wire_binary_cut(q->suspended, WIRE_TEXT_BYTES);
    m.removed = q->removed;
    m.config_pending = q->config_pending;
    m.config_index = q->config_index;
    m.snapshot_index = q->snapshot_index;
    m.snapshot_bytes = q->snapshot_bytes;
    m.snapshot_total_bytes = q->snapshot_total_bytes;
    m.snapshot_from = q->snapshot_from;
    m.snapshots_installed = q->snapshots_installed;
    m.hashes_compared = q->hashes_compared;
    m.puts_taken = q->puts_taken, m.puts_acknowledged = q->puts_acknowledged;
    m.puts_recovered = q->puts_recovered, m.puts_waiting = q->puts_waiting;
    m.epoch = q->epoch, m.epoch_hurry = q->epoch_hurry;
    m.activity = wire_admin_activity_fill(&q->activity, a);
    return wire_pack(&m.base, a);
}

/* ---- state: decoding ---- */

/* An address that may not be known. */
static enum err address_check(const char *field, struct slice s, struct err_text *why)
{
    return s.size == 0 ? ERR_OK : wire_check_address(field, s, why);
}

static enum err peers_read(const Surf__AdminState *m, struct arena *a, struct wire_admin_state *q, struct err_text *why)
{
    TRY(wire_check_count("state.peers", m->n_peer, 0, LIMIT_NODES, why));
    struct wire_admin_peer *peers = arena_alloc(a, m->n_peer * sizeof *peers);
    for (size_t i = 0; i < m->n_peer; i++) {
        const Surf__AdminPeer *from = m->peer[i];
        peers[i] = (struct wire_admin_peer){.id = from->id,
                                            .address = wire_slice(from->address),
                                            .voter = from->voter,
                                            .active = from->active,
                                            .match = from->match,
                                            .next = from->next,
                                            .old_voter = from->old_voter,
                                            .needs_snapshot = from->needs_snapshot,
                                            .foreign = from->foreign};
        TRY(wire_check_range("state.peer.id", from->id, 1, UINT32_MAX, why));
        TRY(address_check("state.peer.address", peers[i].address, why));
    }
    q->peers = peers;
    q->peer_count = (unsigned)m->n_peer;
    return ERR_OK;
}

static enum err log_read(const Surf__AdminState *m, struct arena *a, struct wire_admin_state *q, struct err_text *why)
{
    TRY(wire_check_count("state.log", m->n_log, 0, WIRE_ADMIN_LOG_ENTRIES, why));
    struct wire_admin_log_entry *log = arena_alloc(a, m->n_log * sizeof *log);
    for (size_t i = 0; i < m->n_log; i++) {
        const Surf__AdminLogEntry *from = m->log[i];
        log[i] =
            (struct wire_admin_log_entry){.index = from->index, .term = from->term, .text = wire_slice(from->text)};
        TRY(wire_check_size("state.log.text", log[i].text, 0, WIRE_TEXT_BYTES, why));
    }
    q->log = log;
    q->log_count = (unsigned)m->n_log;
    return ERR_OK;
}

static enum err block_servers_read(const Surf__AdminState *m, struct arena *a, struct wire_admin_state *q,
                                   struct err_text *why)
{
    TRY(wire_check_count("state.block_servers", m->n_block_server, 0, LIMIT_BLOCK_SERVERS, why));
    struct wire_admin_block_server *servers = arena_alloc(a, m->n_block_server * sizeof *servers);
    for (size_t i = 0; i < m->n_block_server; i++) {
        const Surf__AdminBlockServer *from = m->block_server[i];
        servers[i] = (struct wire_admin_block_server){
            .id = from->id,
            .address = wire_slice(from->address),
            .reporting = from->reporting,
            .blocks = from->blocks,
            .block_bytes = from->block_bytes,
            .disk_total = from->disk_total,
            .disk_free = from->disk_free,
            .disk_kept = from->disk_kept,
            .full = from->full,
            .failed = from->failed,
            .weight = from->weight,
            .zone = wire_slice(from->zone),
            .draining = from->draining,
            .weight_fixed = from->weight_fixed,
        };
        TRY(wire_upkeep_read(from->upkeep, &servers[i].upkeep, why));
        TRY(wire_check_range("state.block_server.id", from->id, 1, UINT32_MAX, why));
        TRY(address_check("state.block_server.address", servers[i].address, why));
        TRY(wire_check_zone("state.block_server.zone", servers[i].zone, why));
    }
    q->block_servers = servers;
    q->block_server_count = (unsigned)m->n_block_server;
    return ERR_OK;
}

static enum err sessions_read(const Surf__AdminState *m, struct arena *a, struct wire_admin_state *q,
                              struct err_text *why)
{
    TRY(wire_check_count("state.sessions", m->n_session, 0, WIRE_ADMIN_SESSIONS, why));
    struct wire_admin_session *sessions = arena_alloc(a, m->n_session * sizeof *sessions);
    for (size_t i = 0; i < m->n_session; i++) {
        const Surf__AdminSession *from = m->session[i];
        sessions[i] = (struct wire_admin_session){
            .id = from->id,
            .last_seq = from->last_seq,
            .client = wire_slice(from->client),
            .export = wire_slice(from->export),
            .opened_ns = from->opened_ns,
            .silent_ns = from->silent_ns,
            .locks = from->locks,
            .waits = from->waits,
        };
        TRY(wire_check_size("state.session.client", sessions[i].client, 0, CLIENT_BYTES, why));
        TRY(wire_check_size("state.session.export", sessions[i].export, 0, LIMIT_EXPORT_BYTES, why));
    }
    q->sessions = sessions;
    q->session_count = (unsigned)m->n_session;
    return ERR_OK;
}

static enum err scalars_check(const Surf__AdminState *m, struct err_text *why)
{
    TRY(wire_check_range("state.node_id", m->node_id, 1, UINT32_MAX, why));
    TRY(address_check("state.address", wire_slice(m->address), why));
    TRY(wire_check_size("state.version", wire_slice(m->version), 0, VERSION_BYTES, why));
    TRY(wire_check_size("state.fault", wire_slice(m->fault), 0, WIRE_TEXT_BYTES, why));
    TRY(wire_check_size("state.suspended", wire_slice(m->suspended), 0, WIRE_TEXT_BYTES, why));
    TRY(wire_check_range("state.roles", m->roles, 0, ROLES_ALL, why));
    TRY(wire_check_range("state.role", m->role, RAFT_FOLLOWER, RAFT_LEADER, why));
    if (m->cluster_id.len > 0)
        TRY(wire_check_size("state.cluster_id", wire_slice(m->cluster_id), 16, 16, why));
    if (m->chain_hash.len > 0)
        TRY(wire_check_size("state.chain_hash", wire_slice(m->chain_hash), CHAIN_HASH_BYTES, CHAIN_HASH_BYTES, why));
    return ids_check("state.unreachable", m->unreachable, m->n_unreachable, why);
}

static void scalars_read(const Surf__AdminState *m, struct wire_admin_state *q)
{
    *q = (struct wire_admin_state){
        .node_id = m->node_id,
        .address = wire_slice(m->address),
        .version = wire_slice(m->version),
        .roles = m->roles,
        .crashed = m->crashed,
        .has_cluster_id = m->cluster_id.len > 0,
        .pid = m->pid,
        .uptime_ns = m->uptime_ns,
        .fault = wire_slice(m->fault),
        .role = (enum raft_role)m->role,
        .election_manual = m->election_manual,
        .term = m->term,
        .commit = m->commit,
        .applied = m->applied,
        .persisted = m->persisted,
        .last = m->last,
        .last_term = m->last_term,
        .compacted = m->compacted,
        .flushed = m->flushed,
        .leader = m->leader,
        .vote = m->vote,
        .chain_hash = wire_slice(m->chain_hash),
        .log_bytes = m->log_bytes,
        .log_segments = m->log_segments,
        .log_writes = m->log_writes,
        .level = m->level,
        .level_max = m->level_max,
        .replicas = m->replicas,
        .inodes = m->inodes,
        .file_bytes = m->file_bytes,
        .unreachable = m->unreachable,
        .unreachable_count = (unsigned)m->n_unreachable,
        .blocks = m->blocks,
        .block_bytes = m->block_bytes,
        .disk_total = m->disk_total,
        .disk_free = m->disk_free,
        .disk_kept = m->disk_kept,
        .blocks_full = m->blocks_full,
        .blocks_failed = m->blocks_failed,
        .suspended = wire_slice(m->suspended),
        .removed = m->removed,
        .config_pending = m->config_pending,
        .config_index = m->config_index,
        .snapshot_index = m->snapshot_index,
        .snapshot_bytes = m->snapshot_bytes,
        .snapshot_total_bytes = m->snapshot_total_bytes,
        .snapshot_from = m->snapshot_from,
        .snapshots_installed = m->snapshots_installed,
        .hashes_compared = m->hashes_compared,
        .puts_taken = m->puts_taken,
        .puts_acknowledged = m->puts_acknowledged,
        .puts_recovered = m->puts_recovered,
        .puts_waiting = m->puts_waiting,
        .epoch = m->epoch,
        .epoch_hurry = m->epoch_hurry,
    };
    if (q->has_cluster_id)
        memcpy(q->cluster_id, m->cluster_id.data, sizeof q->cluster_id);
}

enum err wire_admin_state_decode(struct slice s, struct arena *a, struct wire_admin_state *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__AdminState, surf__admin_state, "state", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    struct wire_admin_state q;
    TRY(scalars_check(m, why));
    scalars_read(m, &q);
    TRY(peers_read(m, a, &q, why));
    TRY(log_read(m, a, &q, why));
    TRY(block_servers_read(m, a, &q, why));
    TRY(sessions_read(m, a, &q, why));
    TRY(wire_admin_activity_read(m->activity, a, &q.activity, why));
    *ret = q;
    return ERR_OK;
}
