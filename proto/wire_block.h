/* wire_block.h: block servers. Block bytes travel in the payload, concatenated in the order of the message. */
#pragma once

#include "base/hash.h"
#include "proto/wire_common.h"

struct wire_block_put {
    bool durable;             /* synced before the answer */
    const struct sha256 *ids; /* 1..LIMIT_BLOCKS_PER_FRAME */
    const uint32_t *sizes;    /* each 1..LIMIT_BLOCK_BYTES; their sum is the payload's size (the decoder checks) */
    unsigned count;
};
struct wire_block_ack {
    uint64_t boot_id; /* a change between put and sync means: put again */
};
struct wire_block_ids {
    const struct sha256 *ids; /* GET: 1..LIMIT_BLOCKS_PER_FRAME; HAS: 1..LIMIT_HASHES_PER_FRAME */
    unsigned count;
};
#define WIRE_BLOCK_ABSENT UINT32_MAX
struct wire_block_sizes {
    const uint32_t
        *sizes; /* one per id, in order; WIRE_BLOCK_ABSENT: not here, or left out to keep the payload's limit */
    unsigned count;
};
struct wire_block_present {
    uint64_t boot_id;
    const uint8_t *present; /* one per id: 0 or 1 */
    unsigned count;
};
struct wire_block_info {
    uint32_t node_id;
    struct slice address;                                         /* where clients reach it */
    uint64_t boot_id, blocks, block_bytes, disk_total, disk_free; /* bytes */
};

struct slice wire_block_put_encode(const struct wire_block_put *p, struct arena *a);
enum err wire_block_put_decode(struct slice s, size_t payload_size, struct arena *a, struct wire_block_put *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_block_ack_encode(const struct wire_block_ack *p, struct arena *a);
enum err wire_block_ack_decode(struct slice s, struct arena *a, struct wire_block_ack *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_block_ids_encode(const struct wire_block_ids *p, struct arena *a);
enum err wire_block_ids_decode(struct slice s, unsigned max_count, struct arena *a, struct wire_block_ids *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_block_sizes_encode(const struct wire_block_sizes *p, struct arena *a);
/* Checks that the present ones' sizes add up to payload_size. */
enum err wire_block_sizes_decode(struct slice s, size_t payload_size, struct arena *a, struct wire_block_sizes *ret,
                                 struct err_text *why) MUST_USE;
struct slice wire_block_present_encode(const struct wire_block_present *p, struct arena *a);
enum err wire_block_present_decode(struct slice s, struct arena *a, struct wire_block_present *ret,
                                   struct err_text *why) MUST_USE;
struct slice wire_block_info_encode(const struct wire_block_info *p, struct arena *a);
enum err wire_block_info_decode(struct slice s, struct arena *a, struct wire_block_info *ret,
                                struct err_text *why) MUST_USE;
