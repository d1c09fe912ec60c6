/* methods.h: the method numbers of frames, who serves them and what travels. Numbers are never reused. */
#pragma once

enum rpc_method {
    /* Between metastore members; ONEWAY. Message wire_replica.h; entries, manifests and pieces in the payload. */
    METHOD_RAFT = 1,

    /* Served by the leader; others answer NOT_LEADER with a hint. wire_meta.h */
    METHOD_META_CALL = 16, /* struct meta_command -> struct meta_reply */
    METHOD_META_QUERY,     /* struct meta_query -> struct meta_query_reply; linearizable */
    METHOD_META_KEEPALIVE, /* struct wire_keepalive -> struct wire_keepalive_reply */
    METHOD_META_NOTICES,   /* struct wire_notices_query -> struct wire_notices; held until there are some */
    METHOD_META_CHANGES,   /* struct wire_changes_query -> struct wire_changes (wire_changes.h); held likewise */
    METHOD_META_KV_EVENTS, /* struct wire_kv_events_query -> struct wire_kv_events (wire_kv_events.h); held likewise */
    METHOD_META_DURABLE,   /* struct meta_command -> struct durability_ack (wire_durable.h); of every voter */

    /* Served by block servers. wire_block.h; payload: block bytes, one after the other */
    METHOD_BLOCK_PUT = 32,   /* struct wire_block_put -> struct wire_block_ack */
    METHOD_BLOCK_GET,        /* struct wire_block_ids -> struct wire_block_sizes, payload */
    METHOD_BLOCK_HAS,        /* struct wire_block_ids -> struct wire_block_present */
    METHOD_BLOCK_SYNC,       /* empty -> struct wire_block_ack: all that was put before is durable */
    METHOD_BLOCK_INFO,       /* empty -> struct wire_block_info */
    METHOD_BLOCK_SUSPECT,    /* struct wire_block_ids -> empty: the server's copies of these are bad or not there */
    METHOD_BLOCK_SHORT = 43, /* empty -> empty: a client has put blocks here that not all of their owners got */
    METHOD_BLOCK_INVENTORY,  /* struct wire_ids_query -> struct wire_ids (wire_check.h) */

    /* From a block server to the leader, every few seconds: registers it and reports space. wire_block_info ->
     * wire_members */
    METHOD_BLOCK_REPORT = 48,

    /* Administration; served by every node, crashed or not. wire_admin.h */
    METHOD_ADMIN_STATE = 64,  /* struct wire_admin_state_query -> struct wire_admin_state */
    METHOD_ADMIN_CRASH,       /* struct wire_admin_crash -> empty */
    METHOD_ADMIN_RESTORE,     /* empty -> empty */
    METHOD_ADMIN_LEADER,      /* empty -> empty: this node shall become leader; answered when it is */
    METHOD_ADMIN_HEARTBEAT,   /* empty -> empty: one round of replication, if leader */
    METHOD_ADMIN_UNREACHABLE, /* struct wire_admin_nodes -> empty: ignore messages from these ids, in addition to those
                                 ignored already; an empty list clears it */
    METHOD_ADMIN_MEMBERS,  /* struct wire_admin_member_change -> empty (REJOIN: wire_admin_rejoined); of the leader */
    METHOD_ADMIN_BLOCKS,   /* struct wire_admin_server_change -> empty; of the leader */
    METHOD_ADMIN_EXPORT,   /* struct wire_admin_export, both ways; of the leader */
    METHOD_ADMIN_COLLECT,  /* empty -> empty: all block servers look for garbage now; of the leader */
    METHOD_ADMIN_REPLICAS, /* struct wire_admin_replicas -> empty: copies of each block; of the leader */
    /* wire_check.h */
    METHOD_ADMIN_CHECK = 80, /* struct wire_check_query -> struct wire_check: of the node's own state */
    METHOD_ADMIN_REFERENCES, /* struct wire_ids_query -> struct wire_ids; of the leader */
    METHOD_ADMIN_FILES /* struct meta_files_query -> struct meta_files (wire_files.h): of the node's own state, crashed
                          or not */
};
const char *rpc_method_name(unsigned method);
