/* wire_admin.h: what surfctl asks nodes. One node speaks for itself only; surfctl puts the answers together. */
#pragma once

#include "proto/wire_common.h"
#include "raft/raft.h"

#define WIRE_NODE_META 1u
#define WIRE_NODE_BLOCK 2u

#define WIRE_ADMIN_LOG_ENTRIES 100u
#define WIRE_ADMIN_SESSIONS 1024u

struct wire_admin_state_query {
    uint32_t log_entries; /* how many of the last entries to describe, 0..WIRE_ADMIN_LOG_ENTRIES */
};

struct wire_admin_peer {
    uint32_t id;
    struct slice address;
    bool voter, active; /* active, match, needs_snapshot: as the leader sees it */
    bool old_voter;     /* while a change of members is under way: of the outgoing configuration */
    bool needs_snapshot;
    uint64_t match;
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
};
struct wire_admin_session {
    uint64_t id, last_seq, orphans;
    struct slice client, export;
    int64_t opened_ns; /* wall clock */
    int64_t silent_ns; /* since its last keepalive, leader only; -1 unknown */
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
    uint64_t term, commit, applied, persisted, last, compacted, flushed;
    uint32_t leader, vote;
    struct slice chain_hash; /* 32 bytes, at applied; or empty */
    uint64_t log_bytes;
    uint32_t log_segments;
    uint64_t inodes, file_bytes;         /* of the applied state */
    const struct wire_admin_peer *peers; /* all members, this one too */
    unsigned peer_count;
    bool removed;        /* this member was removed from the metastore */
    bool config_pending; /* a change of members is under way */
    uint64_t config_index;
    /* A snapshot that this member receives; total 0: none. */
    uint64_t snapshot_index, snapshot_bytes, snapshot_total_bytes;
    uint32_t snapshot_from;
    uint64_t snapshots_installed, hashes_compared; /* since the start; states of other members with this leader's */
    const uint32_t *unreachable;                   /* ids whose raft messages this node ignores */
    unsigned unreachable_count;
    const struct wire_admin_log_entry *log;
    unsigned log_count;
    const struct wire_admin_block_server *block_servers; /* registered */
    unsigned block_server_count;
    const struct wire_admin_session *sessions;
    unsigned session_count; /* <= WIRE_ADMIN_SESSIONS; the rest are left out */
    /* block role */
    uint64_t blocks, block_bytes, disk_total, disk_free;
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
    WIRE_MEMBER_REJOIN /* of a node that lost its data, for itself */
};
struct wire_admin_member_change {
    enum wire_member_change_kind kind;
    uint32_t id;
    struct slice address; /* ADD, REJOIN: HOST:PORT; else empty */
    uint8_t identity[16]; /* REJOIN; else zero */
};
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
