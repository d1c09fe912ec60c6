/* wire_block.h: block servers. Block bytes travel in the payload, concatenated in the order of the message. */
#pragma once

#include "base/hash.h"
#include "proto/wire_common.h"

struct wire_block_put {
    bool durable;             /* synced before the answer */
    const struct sha256 *ids; /* 1..LIMIT_BLOCKS_PER_FRAME */
    const uint32_t *sizes;    /* each 1..LIMIT_BLOCK_BYTES; their sum is the payload's size (the decoder checks) */
    unsigned count;
    uint64_t epoch; /* of collection, as far as the sender knows; 0: it doesn't name them. blockstore/collect.h */
};
struct wire_block_ack {
    uint64_t boot_id; /* a change between put and sync means: put again */
};
struct wire_block_ids {
    const struct sha256 *ids; /* GET, SUSPECT: 1..LIMIT_BLOCKS_PER_FRAME; HAS: 1..LIMIT_HASHES_PER_FRAME */
    unsigned count;
    bool sure; /* HAS: 1 only for a copy that has just been read, has the right hash and is synced; then the count is
                  bounded by LIMIT_BLOCKS_PER_FRAME */
    uint64_t epoch; /* HAS: as in a put, which those that are here count as; 0: they are only asked for */
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
    /* To a `sure` question: the version of the map of block servers by which this server keeps these copies. As long as
     * it goes by that one it removes none of those that it owns. 0: it does not say. */
    uint64_t map_version;
    uint64_t read_bytes; /* To a `sure` question: so much was read for it. */
};

/* What a block server has done lately so that its blocks, and the copies on the others, stay whole; since its start
 * where nothing else is said. Positions are in parts of WIRE_UPKEEP_WHOLE. */
#define WIRE_UPKEEP_WHOLE 10000u
#define WIRE_UPKEEP_NUMBERS(X)                                                                                         \
    X(map_version)   /* of the block servers, by which it goes; 0: it knows none yet */                                \
    X(walks)         /* that have ended */                                                                             \
    X(walk_ended_ns) /* of the last one that ended, wall clock; 0: none */                                             \
    X(walk_ns)       /* how long that took */                                                                          \
    X(walk_blocks)   /* how many blocks it met here */                                                                 \
    X(walk_position) /* of the one under way */                                                                        \
    X(walk_eta_s)    /* until its end, by how long it took so far; 0: not known */                                     \
    X(short_blocks)  /* this server has to copy them to others: could not, or has got as far as that */                \
    X(unsure_blocks) /* an owner of them could not be asked */                                                         \
    X(copied_blocks) /* copies made on others */                                                                       \
    X(copied_bytes)                                                                                                    \
    X(strays_removed) /* copies that belong on other servers, which all have them */                                   \
    X(bad_found)      /* copies here that were bad or absent */                                                        \
    X(bad_healed)                                                                                                      \
    X(bad_now) /* bad ones for which no server had good bytes when it was last asked */                                \
    X(scrub_passes)                                                                                                    \
    X(scrub_position)                                                                                                  \
    X(scrub_eta_s) /* until the end of this pass */                                                                    \
    X(scrubbed_bytes)                                                                                                  \
    X(repair_rate)      /* bytes per second, as configured; 0: no limit */                                             \
    X(scrub_rate)       /* the same; 0: off */                                                                         \
    X(collections)      /* of garbage, that have ended */                                                              \
    X(collect_epoch)    /* as of which the last of them looked; 0: none */                                             \
    X(collect_ended_ns) /* wall clock */                                                                               \
    X(collect_ns)       /* how long it took */                                                                         \
    X(collect_blocks)   /* that it met */                                                                              \
    X(collect_waiting)  /* blocks that no file names, and that may have been put for one that will */                  \
    X(collecting)       /* 1: one is under way */                                                                      \
    X(collected_blocks) /* garbage removed so far */                                                                   \
    X(collected_bytes)                                                                                                 \
    X(compactions)  /* of the store's files, since much had gone */                                                    \
    X(unique_bytes) /* of the blocks here, as they were given; about, and 0 before the first walk has ended */         \
    X(stored_bytes) /* the same, as they are stored: compressed where that pays */

struct wire_block_upkeep {
    bool walking, walk_due; /* due: something has changed since the last whole walk, and the next is to see to it */
#define X(name) uint64_t name;
    WIRE_UPKEEP_NUMBERS(X)
#undef X
};

struct wire_block_info {
    uint32_t node_id;
    struct slice address;                                         /* where clients reach it */
    struct slice zone;                                            /* meta_zone_valid */
    uint64_t boot_id, blocks, block_bytes, disk_total, disk_free; /* bytes */
    uint64_t disk_kept; /* of what is free: no blocks are taken when there is no more than this */
    bool full;          /* none are taken now */
    bool failed;        /* the same, since a write of the store failed, until it is opened again */
    struct wire_block_upkeep upkeep;
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
