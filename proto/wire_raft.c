#include "proto/wire_raft.h"

#include "base/hash.h"
#include "proto/pack.h"
#include "proto/raft.pb-c.h"

/* An entry in the payload: u64 term, u8 type, u32 size, data. The index follows from the message's. */
#define ENTRY_HEADER_SIZE 13u

static struct slice entries_encode(const struct raft_message *m, struct arena *a)
{
    size_t size = 0;
    for (unsigned i = 0; i < m->entry_count; i++) {
        CHECK(m->entries[i].index == m->index + 1 + i);
        CHECK(m->entries[i].data.size <= LIMIT_COMMAND_BYTES);
        size += ENTRY_HEADER_SIZE + m->entries[i].data.size;
    }
    CHECK(size <= LIMIT_FRAME_PAYLOAD_BYTES);
    uint8_t *to = arena_alloc(a, size), *at = to;
    for (unsigned i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        put_u64be(at, e->term);
        at[8] = (uint8_t)e->type;
        put_u32be(at + 9, (uint32_t)e->data.size);
        at += ENTRY_HEADER_SIZE;
        if (e->data.size > 0)
            memcpy(at, e->data.data, e->data.size);
        at += e->data.size;
    }
    return SLICE(to, size);
}

void wire_raft_encode(const struct raft_message *m, struct arena *a, struct slice *ret_message,
                      struct slice *ret_payload)
{
    CHECK(m->entry_count <= LIMIT_RAFT_BATCH_ENTRIES);
    CHECK(m->entry_count == 0 || m->type == RAFT_MSG_APPEND);
    Surf__RaftMessage wire = SURF__RAFT_MESSAGE__INIT;
    wire.type = m->type;
    wire.from = m->from;
    wire.to = m->to;
    wire.term = m->term;
    wire.index = m->index;
    wire.log_term = m->log_term;
    wire.commit = m->commit;
    wire.round = m->round;
    wire.compactable = m->compactable;
    wire.reject = m->reject;
    wire.force = m->force;
    struct slice payload = SLICE(NULL, 0);
    if (m->entry_count > 0) {
        payload = entries_encode(m, a);
        wire.entry_count = m->entry_count;
        wire.entries_checksum = checksum64(payload, 0);
    }
    *ret_message = wire_pack(&wire.base, a);
    *ret_payload = payload;
}

static enum err entries_decode(const Surf__RaftMessage *m, struct slice payload, struct arena *a,
                               const struct raft_entry **ret_entries, struct err_text *why)
{
    /* So that the array below is not larger than what came warrants. */
    if (payload.size < (size_t)m->entry_count * ENTRY_HEADER_SIZE)
        return wire_refuse("raft.payload size", payload.size, "room for entry_count entries", why);
    if (checksum64(payload, 0) != m->entries_checksum)
        return wire_refuse("raft.entries_checksum", m->entries_checksum, "that of the payload", why);
    if (m->index > UINT64_MAX - m->entry_count)
        return wire_refuse("raft.index", m->index, "so low that the entries' indexes are numbers", why);
    struct raft_entry *entries = arena_alloc(a, m->entry_count * sizeof *entries);
    struct cursor c = cursor_of(payload);
    uint64_t term_before = m->log_term;
    for (unsigned i = 0; i < m->entry_count; i++) {
        uint64_t term = cursor_u64(&c);
        unsigned type = cursor_u8(&c);
        uint32_t size = cursor_u32(&c);
        TRY(wire_check_range("raft.entry.term", term, term_before, m->term, why));
        TRY(wire_check_range("raft.entry.type", type, RAFT_ENTRY_NOOP, RAFT_ENTRY_CONFIG, why));
        TRY(wire_check_range("raft.entry.size", size, 0, LIMIT_COMMAND_BYTES, why));
        struct slice data = cursor_take(&c, size);
        if (!cursor_ok(&c))
            return wire_refuse("raft.entry.size", size, "within the payload", why);
        entries[i] = (struct raft_entry){
            .index = m->index + 1 + i, .term = term, .type = (enum raft_entry_type)type, .data = data};
        term_before = term;
    }
    if (!cursor_done(&c))
        return wire_refuse("raft.payload size", payload.size, "that of its entries", why);
    *ret_entries = entries;
    return ERR_OK;
}

enum err wire_raft_decode(struct slice message, struct slice payload, struct arena *a, struct raft_message *ret,
                          struct err_text *why)
{
    WIRE_UNPACK(Surf__RaftMessage, surf__raft_message, "raft message", message, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("raft.type", m->type, RAFT_MSG_PREVOTE, RAFT_MSG_LAST, why));
    TRY(wire_check_range("raft.from", m->from, 1, UINT32_MAX, why));
    TRY(wire_check_range("raft.to", m->to, 1, UINT32_MAX, why));
    if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PREVOTE)
        TRY(wire_check_range("raft.log_term", m->log_term, 0, m->term, why));
    TRY(wire_check_count("raft.entries", m->entry_count, 0, LIMIT_RAFT_BATCH_ENTRIES, why));
    if (m->entry_count > 0 && m->type != RAFT_MSG_APPEND)
        return wire_refuse("raft.entry_count", m->entry_count, "0 unless it is an append", why);
    if (m->entry_count == 0 && payload.size > 0)
        return wire_refuse("raft.payload size", payload.size, "0 without entries", why);
    const struct raft_entry *entries = NULL;
    if (m->entry_count > 0)
        TRY(entries_decode(m, payload, a, &entries, why));

    *ret = (struct raft_message){
        .type = (enum raft_message_type)m->type,
        .from = m->from,
        .to = m->to,
        .term = m->term,
        .index = m->index,
        .log_term = m->log_term,
        .commit = m->commit,
        .round = m->round,
        .compactable = m->compactable,
        .reject = m->reject,
        .force = m->force,
        .entries = entries,
        .entry_count = m->entry_count,
    };
    return ERR_OK;
}
