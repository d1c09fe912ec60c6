/* message.h: what members of the metastore say to each other: raft's messages with a word on the applied state, and
 * snapshots in pieces. One way, any of them may be lost, doubled or late. Encoded by proto/wire_replica.h. */
#pragma once

#include "raft/raft.h"

#define REPLICA_CHUNK_BYTES MIB /* a piece of a snapshot's file */
#define REPLICA_MANIFEST_BYTES_MAX MIB

enum replica_message_type {
    REPLICA_RAFT = 1,
    REPLICA_OFFER,    /* leader: there is a snapshot for you; repeated until it is fetched or not needed */
    REPLICA_FETCH,    /* follower: that piece, please */
    REPLICA_CHUNK,    /* leader: this piece. Empty data and gone set: the snapshot is not there any more */
    REPLICA_DIVERGED, /* leader: your state as of `applied` differs from mine, which a majority does not contradict */
    REPLICA_REMOVED   /* you are not in the committed configuration of entry config_index */
};
#define REPLICA_MESSAGE_LAST REPLICA_REMOVED

struct replica_message {
    enum replica_message_type type;
    uint32_t from, to;
    struct raft_message raft; /* RAFT; its from, to are the same */
    uint64_t applied, chain;  /* RAFT, DIVERGED: the sender's applied index and meta_chain_at it; 0: not told */
    uint64_t snapshot;        /* OFFER, FETCH, CHUNK: id, random */
    struct slice manifest;    /* OFFER: <= REPLICA_MANIFEST_BYTES_MAX */
    uint32_t file;            /* FETCH, CHUNK: place in the manifest */
    uint64_t offset;
    bool gone;
    struct slice data;     /* CHUNK: <= REPLICA_CHUNK_BYTES */
    uint64_t config_index; /* REMOVED */
};
