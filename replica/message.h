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
    REPLICA_REMOVED,  /* you are not in the committed configuration of entry config_index */
    REPLICA_GATHER,   /* a new leader of `term`: what is in your durability log? */
    REPLICA_GATHERED, /* that, for the leader of `term`, which is the sender's on disk */
    REPLICA_SETTLED   /* what durability logs took before `term` is applied, or was never acknowledged */
};
#define REPLICA_MESSAGE_LAST REPLICA_SETTLED

struct replica_message {
    enum replica_message_type type;
    uint32_t from, to;
    struct raft_message raft; /* RAFT; its from, to are the same */
    uint32_t level_max;       /* what the sender's program knows (meta/level.h); 0: not told, it is the first */
    uint32_t level;           /* OFFER: of the snapshot's state */
    uint64_t applied, chain;  /* RAFT, DIVERGED: the sender's applied index and meta_chain_at it; 0: not told */
    uint64_t snapshot;        /* OFFER, FETCH, CHUNK: id, random */
    struct slice manifest;    /* OFFER: <= REPLICA_MANIFEST_BYTES_MAX */
    uint32_t file;            /* FETCH, CHUNK: place in the manifest */
    uint64_t offset;
    bool gone;
    struct slice data;     /* CHUNK, GATHERED (durability/merge.h): <= REPLICA_CHUNK_BYTES */
    uint64_t config_index; /* REMOVED */
    uint64_t term;         /* GATHER, GATHERED, SETTLED */
    bool durable;          /* RAFT: the sender has a durability log */
};
