/* wire_admin.h: what surfctl asks nodes. One node speaks for itself only; surfctl puts the answers together. */
#pragma once

#include "meta/types.h"
#include "proto/wire_block.h"
#include "proto/wire_common.h"
#include "raft/raft.h"

#define WIRE_NODE_META 1u
#define WIRE_NODE_BLOCK 2u

#define WIRE_ADMIN_LOG_ENTRIES 100u
#define WIRE_ADMIN_SESSIONS 1024u
#define WIRE_ADMIN_METHODS 128u

struct wire_admin_state_query {
    uint32_t log_entries; /* how many of the last entries to describe, 0..WIRE_ADMIN_LOG_ENTRIES */
};

struct wire_admin_peer {
    uint32_t id;
    struct slice address;
    bool voter, active; /* active, match, next, needs_snapshot: as the leader sees it */
    bool old_voter;     /* while a change of members is under way: of the outgoing configuration */
    bool needs_snapshot;
    bool foreign;         /* as the leader sees it: it has another data directory than it had, and counts for nothing */
    uint64_t match, next; /* next: the entry that it is sent next */
};
struct wire_admin_log_entry {
    uint64_t index, term;
    struct slice text; /* in words; cut to WIRE_TEXT_BYTES */
};
struct wire_admin_block_server { /* the leader's knowledge */
    uint32_t id;
    struct slice address;
    bool reporting; /* a report within the last 10 s */
    uint64_t blocks, block_bytes, disk_total, disk_free;
    uint64_t disk_kept; /* of what is free: no blocks are taken when there is no more than this */
    bool full;          /* none are taken now */
    bool failed;        /* the same, since a write of its store failed */
    uint64_t weight;    /* as registered, like what follows */
    struct slice zone;
    bool draining, weight_fixed;
    struct wire_block_upkeep upkeep;
};
struct wire_admin_session {
    uint64_t id, last_seq;
    struct slice client, export;
    int64_t opened_ns;     /* wall clock */
    int64_t silent_ns;     /* since its last keepalive, leader only; -1 unknown */
    uint64_t locks, waits; /* locks held and waited for */
};

struct wire_admin_work { /* of one method, since the node was started */
    uint32_t method;     /* enum rpc_method, but from a newer node perhaps none that is known */
    uint64_t count, failed, took_us;
};
struct wire_admin_activity {
    const struct wire_admin_work *work; /* counted only where a gateway shows it */
    unsigned work_count;                /* <= WIRE_ADMIN_METHODS */
    /* The leader's leases now: mounts that keep caches, inodes that they are told of, changes whose answer waits. */
    uint64_t lease_holders, leased_inodes, changes_waiting;
    uint64_t leases_granted, notices, leases_expired; /* since it leads */
};

struct wire_admin_state {
    uint32_t node_id;
    struct slice address, version;
    uint32_t roles; /* WIRE_NODE_* */
    bool crashed;
    bool has_cluster_id;
    uint8_t cluster_id[16];
    uint32_t pid;
    int64_t uptime_ns;
    struct slice fault;     /* why the node is out of service for good; empty: it isn't */
    struct slice suspended; /* why it is out of service for a while, as when its disk is full; empty: it isn't */
    /* metastore role */
    enum raft_role role;
    bool election_manual;
    uint64_t term, commit, applied, persisted, last, last_term, compacted, flushed;
    uint32_t leader, vote;
    struct slice chain_hash; /* 32 bytes, at applied; or empty */
    uint64_t log_bytes;
    uint32_t log_segments;
    uint64_t log_writes;                 /* synced writes of entries since the node was started */
    uint64_t inodes, file_bytes;         /* of the applied state */
    uint32_t level, level_max;           /* the applied state's; what this node's program knows (meta/level.h) */
    uint32_t replicas;                   /* likewise: of each block; 0: not known */
    const struct wire_admin_peer *peers; /* all members, this one too */
    unsigned peer_count;
    bool removed;        /* this member was removed from the metastore */
    bool config_pending; /* a change of members is under way */
    uint64_t config_index;
    /* A snapshot that this member receives; total 0: none. */
    uint64_t snapshot_index, snapshot_bytes, snapshot_total_bytes;
    uint32_t snapshot_from;
    uint64_t epoch, epoch_hurry; /* of collection: the applied state's; up to which the leader raises it at once */
    uint64_t snapshots_installed, hashes_compared; /* since the start; states of other members with this leader's */
    /* Puts that this member's durability log took, that it acknowledged, that it ordered as a new leader; in it now. */
    uint64_t puts_taken, puts_acknowledged, puts_recovered;
    uint32_t puts_waiting;
    const uint32_t *unreachable; /* ids whose raft messages this node ignores */
    unsigned unreachable_count;
    const struct wire_admin_log_entry *log;
    unsigned log_count;
    const struct wire_admin_block_server *block_servers; /* registered */
    unsigned block_server_count;
    const struct wire_admin_session *sessions;
    unsigned session_count; /* <= WIRE_ADMIN_SESSIONS; the rest are left out */
    /* block role */
    uint64_t blocks, block_bytes, disk_total, disk_free, disk_kept;
    bool blocks_full, blocks_failed; /* as wire_admin_block_server's */
    struct wire_admin_activity activity;
};

struct wire_admin_crash {
    bool kill; /* the process ends itself at once (SIGKILL) */
};
struct wire_admin_nodes {
    const uint32_t *ids; /* <= LIMIT_NODES */
    unsigned count;
};

enum wire_member_change_kind {
    WIRE_MEMBER_ADD = 1,
    WIRE_MEMBER_PROMOTE,
    WIRE_MEMBER_DEMOTE,
    WIRE_MEMBER_REMOVE,
    WIRE_MEMBER_REJOIN, /* of a node that lost its data, for itself */
    WIRE_MEMBER_MOVE
};
struct wire_admin_member_change {
    enum wire_member_change_kind kind;
    uint32_t id;
    struct slice address; /* ADD, REJOIN, MOVE: HOST:PORT; else empty */
    uint8_t identity[16]; /* REJOIN; else zero */
    uint32_t level_max;   /* ADD, REJOIN: what its program knows (meta/level.h); 0: not known */
};
struct wire_admin_server_change {
    enum meta_server_change change; /* not REGISTER */
    uint32_t id;
    uint64_t weight; /* WEIGHT: at least 1; else 0 */
    bool lost;       /* REMOVE: although nobody knows that its blocks are elsewhere */
};
struct slice wire_admin_server_change_encode(const struct wire_admin_server_change *c, struct arena *a);
enum err wire_admin_server_change_decode(struct slice s, struct arena *a, struct wire_admin_server_change *ret,
                                         struct err_text *why) MUST_USE;
struct wire_admin_replicas {
    uint32_t count; /* 1..LIMIT_REPLICAS */
};
struct slice wire_admin_replicas_encode(const struct wire_admin_replicas *q, struct arena *a);
enum err wire_admin_replicas_decode(struct slice s, struct arena *a, struct wire_admin_replicas *ret,
                                    struct err_text *why) MUST_USE;
struct wire_admin_export {  /* asked: to set these options of the mask; answered: which there are now */
    struct slice name;      /* 1..LIMIT_EXPORT_BYTES */
    uint32_t mask, options; /* meta_export_options; options are of the mask */
};
struct slice wire_admin_export_encode(const struct wire_admin_export *q, struct arena *a);
enum err wire_admin_export_decode(struct slice s, struct arena *a, struct wire_admin_export *ret,
                                  struct err_text *why) MUST_USE;
struct wire_admin_rejoined { /* the answer to REJOIN */
    bool was_voter;
};

struct slice wire_admin_member_change_encode(const struct wire_admin_member_change *c, struct arena *a);
enum err wire_admin_member_change_decode(struct slice s, struct arena *a, struct wire_admin_member_change *ret,
                                         struct err_text *why) MUST_USE;
struct slice wire_admin_rejoined_encode(const struct wire_admin_rejoined *r, struct arena *a);
enum err wire_admin_rejoined_decode(struct slice s, struct arena *a, struct wire_admin_rejoined *ret,
                                    struct err_text *why) MUST_USE;
struct slice wire_admin_state_query_encode(const struct wire_admin_state_query *q, struct arena *a);
enum err wire_admin_state_query_decode(struct slice s, struct arena *a, struct wire_admin_state_query *ret,
                                       struct err_text *why) MUST_USE;
struct slice wire_admin_state_encode(const struct wire_admin_state *q, struct arena *a);
enum err wire_admin_state_decode(struct slice s, struct arena *a, struct wire_admin_state *ret,
                                 struct err_text *why) MUST_USE;
struct slice wire_admin_crash_encode(const struct wire_admin_crash *q, struct arena *a);
enum err wire_admin_crash_decode(struct slice s, struct arena *a, struct wire_admin_crash *ret,
                                 struct err_text *why) MUST_USE;
struct slice wire_admin_nodes_encode(const struct wire_admin_nodes *q, struct arena *a);
enum err wire_admin_nodes_decode(struct slice s, struct arena *a, struct wire_admin_nodes *ret,
                                 struct err_text *why) MUST_USE;
