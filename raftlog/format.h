/* format.h: what the log's files look like, and their encoding. Private to raftlog/. Integers are big-endian.
 *
 *   directory  = "hard" "marker" segment*
 *   hard       = a small file (see small_file_write) of: identity[16] term u64, vote u32
 *   segment    = header record* zero*                      name "segment-" and its number, 16 hex digits
 *   header     = checksum u64, magic u32, version u32, number u64, identity[16], first_index u64, before_term u64,
 *                zero u64                                  64 bytes; the checksum is over what follows it
 *   record     = checksum u64, size u32, write_start u32, index u64, term u64, type u32, magic u32,
 *                data[size], zero to a multiple of 8       the checksum is over all that follows it
 *   marker     = slot slot                                 512 bytes each, so that a sector holds one
 *   slot       = checksum u64, magic u32, version u32, sequence u64, acknowledged_index u64, acknowledged_term u64,
 *                first_segment u64, cut_segment u64, cut_offset u64, clean u32, zero u32, reset_index u64,
 *                reset_term u64, zero
 *
 * Segments. Their numbers follow each other without a gap. The first record has first_index; the entry before it has
 * (first_index - 1, before_term). A segment is made of zeros ahead of its use, with a name and all; its header is
 * written together with its first records. A record never spans two segments. Checksums of records are seeded with
 * identity, segment number and offset: a record in a wrong place is no record.
 *
 * Writes. Each batch is one write and one sync, and a write begins only when the one before it was synced; write_start
 * is the offset at which the record's own write began (0 when the header was part of it). So a whole record with a
 * write_start behind a damaged place proves that the damaged place had been synced.
 *
 * Marker. After each batch the last acknowledged (index, term) goes into the older slot, without a sync of its own; it
 * is synced when a segment is begun or dropped, with each change of the hard state, before and after a truncation, and
 * at close. (A sync with each batch would double what a batch costs.) The newest whole slot counts. So a marker that
 * must not come back, when the slot of a newer one is damaged, is replaced in both slots, each synced ("settled"):
 * after a truncation, a reset and a compaction.
 *
 * A truncation first stores, synced, the lowered acknowledged (index, term) and in cut_segment and cut_offset where the
 * dead bytes begin; then it removes later segments and writes zeros over the rest of that one; then it settles a marker
 * without a cut. An open that finds a cut repeats it.
 *
 * A reset makes the next segment of zeros, durable with its name; then it stores a marker, synced, that says that the
 * log begins with that segment and behind (reset_index, reset_term): that is the atomic step. When it is settled, older
 * segments go. A compaction does the same with the first segment that stays.
 *
 * Recovery. Bytes that are no record, at the end of the last segment:
 *   - a whole record of a later write follows, or the log would end below the acknowledged index: ERR_CORRUPT;
 *   - otherwise it is the rest of a write that never was acknowledged. It is cut, with a log line.
 * Anything wrong elsewhere is ERR_CORRUPT. What an open reports is made durable first: the last write is written and
 * synced once more, because after a failed sync the page cache may hold what the disk doesn't.
 *
 * What this promises about damage to acknowledged entries (a disk that lost or changed what it had synced):
 *   - after a clean stop or a crash of the process alone (kill -9), any damage is noticed;
 *   - after a power cut, damage is noticed if the entry is covered by the marker as it was last synced (or written back
 * by the kernel, within about 30 s), or if any whole record of a later write follows it. Not noticed is a loss of
 *     everything from an entry behind both to the end of the log, which looks like a write that was cut short. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "raft/raft.h"

#define SEGMENT_HEADER_BYTES 64u
#define RECORD_HEADER_BYTES 40u
#define RECORD_ALIGN 8u
#define SEGMENT_BYTES_DEFAULT (16 * MIB)
#define SEGMENT_BYTES_MAX (1024 * MIB) /* offsets are 32 bits wide, and a segment is read whole at start */
#define MARKER_SLOT_BYTES 512u
#define MARKER_SLOTS 2u
#define IDENTITY_BYTES 16u

_Static_assert(SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + LIMIT_COMMAND_BYTES < SEGMENT_BYTES_DEFAULT,
               "any record fits in a segment");

struct segment_header {
    uint64_t number;
    uint8_t identity[IDENTITY_BYTES];
    uint64_t first_index, before_term;
};
void segment_header_encode(const struct segment_header *h, uint8_t to[SEGMENT_HEADER_BYTES]);
/* False when it is none; nothing is checked but that it is whole. */
bool segment_header_decode(const uint8_t from[SEGMENT_HEADER_BYTES], struct segment_header *ret);

/* The seed of a log's checksums. */
uint64_t format_seed(const uint8_t identity[IDENTITY_BYTES]);

struct record_place {
    uint64_t seed; /* format_seed */
    uint64_t segment;
    uint32_t offset;
};
/* Bytes on disk of an entry with `size` bytes of data. */
size_t record_bytes(size_t size);
void record_append(struct bytes *to, const struct raft_entry *entry, const struct record_place *place,
                   uint32_t write_start);
/* The record at the front of `from`; *ret_entry->data points into it. False when there is none. */
bool record_decode(struct slice from, const struct record_place *place, struct raft_entry *ret_entry,
                   uint32_t *ret_write_start, size_t *ret_bytes);

struct marker {
    uint64_t sequence; /* +1 with each that is stored */
    uint64_t acknowledged_index, acknowledged_term;
    uint64_t first_segment;           /* older ones are leftovers of a compaction */
    uint64_t cut_segment, cut_offset; /* a truncation under way; 0, 0: none */
    uint64_t reset_index, reset_term; /* where the log begins if its first segment has no header */
    bool clean;                       /* the log was closed, and not opened since */
};
void marker_encode(const struct marker *m, uint64_t seed, uint8_t to[MARKER_SLOT_BYTES]);
bool marker_decode(const uint8_t from[MARKER_SLOT_BYTES], uint64_t seed, struct marker *ret);
