#include "raftlog/format.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"

#define SEGMENT_MAGIC UINT32_C(0x53667367) /* "Sfsg" */
#define RECORD_MAGIC UINT32_C(0x53667265)  /* "Sfre" */
#define MARKER_MAGIC UINT32_C(0x53666d6b)  /* "Sfmk" */
#define FORMAT_VERSION 1u

uint64_t format_seed(const uint8_t identity[IDENTITY_BYTES])
{
    return checksum64(SLICE(identity, IDENTITY_BYTES), 0);
}

void segment_header_encode(const struct segment_header *h, uint8_t to[SEGMENT_HEADER_BYTES])
{
    memset(to, 0, SEGMENT_HEADER_BYTES);
    put_u32be(to + 8, SEGMENT_MAGIC);
    put_u32be(to + 12, FORMAT_VERSION);
    put_u64be(to + 16, h->number);
    memcpy(to + 24, h->identity, IDENTITY_BYTES);
    put_u64be(to + 40, h->first_index);
    put_u64be(to + 48, h->before_term);
    put_u64be(to, checksum64(SLICE(to + 8, SEGMENT_HEADER_BYTES - 8), 0));
}

bool segment_header_decode(const uint8_t from[SEGMENT_HEADER_BYTES], struct segment_header *ret)
{
    if (get_u64be(from) != checksum64(SLICE(from + 8, SEGMENT_HEADER_BYTES - 8), 0) ||
        get_u32be(from + 8) != SEGMENT_MAGIC || get_u32be(from + 12) != FORMAT_VERSION)
        return false;
    ret->number = get_u64be(from + 16);
    memcpy(ret->identity, from + 24, IDENTITY_BYTES);
    ret->first_index = get_u64be(from + 40);
    ret->before_term = get_u64be(from + 48);
    return true;
}

size_t record_bytes(size_t size)
{
    return RECORD_HEADER_BYTES + ((size + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1));
}

static uint64_t place_seed(const struct record_place *place)
{
    return place->seed + place->segment * UINT64_C(0x9e3779b97f4a7c15) + place->offset;
}

void record_append(struct bytes *to, const struct raft_entry *entry, const struct record_place *place,
                   uint32_t write_start)
{
    CHECK(entry->data.size <= LIMIT_COMMAND_BYTES);
    size_t total = record_bytes(entry->data.size);
    uint8_t *at = bytes_extend(to, total);
    put_u32be(at + 8, (uint32_t)entry->data.size);
    put_u32be(at + 12, write_start);
    put_u64be(at + 16, entry->index);
    put_u64be(at + 24, entry->term);
    put_u32be(at + 32, (uint32_t)entry->type);
    put_u32be(at + 36, RECORD_MAGIC);
    if (entry->data.size > 0)
        memcpy(at + RECORD_HEADER_BYTES, entry->data.data, entry->data.size);
    size_t used = RECORD_HEADER_BYTES + entry->data.size;
    memset(at + used, 0, total - used);
    put_u64be(at, checksum64(SLICE(at + 8, total - 8), place_seed(place)));
}

bool record_decode(struct slice from, const struct record_place *place, struct raft_entry *ret_entry,
                   uint32_t *ret_write_start, size_t *ret_bytes)
{
    if (from.size < RECORD_HEADER_BYTES || get_u32be(from.data + 36) != RECORD_MAGIC)
        return false;
    uint32_t size = get_u32be(from.data + 8);
    if (size > LIMIT_COMMAND_BYTES || record_bytes(size) > from.size)
        return false;
    size_t total = record_bytes(size);
    if (get_u64be(from.data) != checksum64(SLICE(from.data + 8, total - 8), place_seed(place)))
        return false;
    *ret_entry = (struct raft_entry){
        .index = get_u64be(from.data + 16),
        .term = get_u64be(from.data + 24),
        .type = (enum raft_entry_type)get_u32be(from.data + 32),
        .data = SLICE(from.data + RECORD_HEADER_BYTES, size),
    };
    *ret_write_start = get_u32be(from.data + 12);
    *ret_bytes = total;
    return true;
}

void marker_encode(const struct marker *m, uint64_t seed, uint8_t to[MARKER_SLOT_BYTES])
{
    memset(to, 0, MARKER_SLOT_BYTES);
    put_u32be(to + 8, MARKER_MAGIC);
    put_u32be(to + 12, FORMAT_VERSION);
    put_u64be(to + 16, m->sequence);
    put_u64be(to + 24, m->acknowledged_index);
    put_u64be(to + 32, m->acknowledged_term);
    put_u64be(to + 40, m->first_segment);
    put_u64be(to + 48, m->cut_segment);
    put_u64be(to + 56, m->cut_offset);
    put_u32be(to + 64, m->clean);
    put_u64be(to + 72, m->reset_index);
    put_u64be(to + 80, m->reset_term);
    put_u64be(to, checksum64(SLICE(to + 8, MARKER_SLOT_BYTES - 8), seed));
}

bool marker_decode(const uint8_t from[MARKER_SLOT_BYTES], uint64_t seed, struct marker *ret)
{
    if (get_u64be(from) != checksum64(SLICE(from + 8, MARKER_SLOT_BYTES - 8), seed) ||
        get_u32be(from + 8) != MARKER_MAGIC || get_u32be(from + 12) != FORMAT_VERSION)
        return false;
    *ret = (struct marker){
        .sequence = get_u64be(from + 16),
        .acknowledged_index = get_u64be(from + 24),
        .acknowledged_term = get_u64be(from + 32),
        .first_segment = get_u64be(from + 40),
        .cut_segment = get_u64be(from + 48),
        .cut_offset = get_u64be(from + 56),
        .clean = get_u32be(from + 64) != 0,
        .reset_index = get_u64be(from + 72),
        .reset_term = get_u64be(from + 80),
    };
    return true;
}
