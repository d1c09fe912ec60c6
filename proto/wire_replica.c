#include "proto/wire_replica.h"

#include "base/hash.h"
#include "proto/pack.h"
#include "proto/raft.pb-c.h"
#include "proto/wire_raft.h"

void wire_replica_encode(const struct replica_message *m, struct arena *a, struct slice *ret_message,
                         struct slice *ret_payload)
{
    Surf__ReplicaMessage wire = SURF__REPLICA_MESSAGE__INIT;
    struct slice payload = SLICE(NULL, 0);
    wire.type = m->type;
    wire.from = m->from;
    wire.to = m->to;
    if (m->type == REPLICA_RAFT) {
        struct slice raft;
        wire_raft_encode(&m->raft, a, &raft, &payload);
        wire.raft = wire_binary_of(raft);
    } else if (m->type == REPLICA_OFFER) {
        payload = m->manifest;
    } else if (m->type == REPLICA_CHUNK || m->type == REPLICA_GATHERED) {
        payload = m->data;
    }
    CHECK(payload.size <= LIMIT_FRAME_PAYLOAD_BYTES);
    wire.level_max = m->level_max;
    wire.level = m->level;
    wire.applied = m->applied;
    wire.chain = m->chain;
    wire.snapshot = m->snapshot;
    wire.file = m->file;
    wire.offset = m->offset;
    wire.gone = m->gone;
    wire.config_index = m->config_index;
    wire.term = m->term;
    wire.durable = m->durable;
    if (m->type != REPLICA_RAFT && payload.size > 0)
        wire.payload_checksum = checksum64(payload, 0);
    *ret_message = wire_pack(&wire.base, a);
    *ret_payload = payload;
}

static enum err raft_decode(const Surf__ReplicaMessage *m, struct slice payload, struct arena *a,
                            struct raft_message *ret, struct err_text *why)
{
    TRY(wire_raft_decode(wire_slice(m->raft), payload, a, ret, why));
    TRY(wire_check_range("replica.raft.from", ret->from, m->from, m->from, why));
    return wire_check_range("replica.raft.to", ret->to, m->to, m->to, why);
}

enum err wire_replica_decode(struct slice message, struct slice payload, struct arena *a, struct replica_message *ret,
                             struct err_text *why)
{
    WIRE_UNPACK(Surf__ReplicaMessage, surf__replica_message, "replica message", message, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("replica.type", m->type, REPLICA_RAFT, REPLICA_MESSAGE_LAST, why));
    TRY(wire_check_range("replica.from", m->from, 1, UINT32_MAX, why));
    TRY(wire_check_range("replica.to", m->to, 1, UINT32_MAX, why));
    struct raft_message raft = {0};
    size_t payload_max = 0;
    if (m->type == REPLICA_RAFT)
        TRY(raft_decode(m, payload, a, &raft, why));
    else if (m->type == REPLICA_OFFER)
        payload_max = REPLICA_MANIFEST_BYTES_MAX;
    else if (m->type == REPLICA_GATHERED || (m->type == REPLICA_CHUNK && !m->gone))
        payload_max = REPLICA_CHUNK_BYTES;
    if (m->type != REPLICA_RAFT) {
        TRY(wire_check_range("replica.payload size", payload.size, 0, payload_max, why));
        if (payload.size > 0 && checksum64(payload, 0) != m->payload_checksum)
            return wire_refuse("replica.payload_checksum", m->payload_checksum, "that of the payload", why);
    }
    *ret = (struct replica_message){
        .type = (enum replica_message_type)m->type,
        .from = m->from,
        .to = m->to,
        .raft = raft,
        .level_max = m->level_max,
        .level = m->level,
        .applied = m->applied,
        .chain = m->chain,
        .snapshot = m->snapshot,
        .file = m->file,
        .offset = m->offset,
        .gone = m->gone,
        .config_index = m->config_index,
        .term = m->term,
        .durable = m->durable,
    };
    if (m->type == REPLICA_OFFER)
        ret->manifest = payload;
    else if (m->type == REPLICA_CHUNK || m->type == REPLICA_GATHERED)
        ret->data = payload;
    return ERR_OK;
}
