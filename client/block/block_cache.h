/* block_cache.h: blocks in memory, the least recently used go first. Content addressing means that an entry can't be
 * stale. Two readers of one block share one fetch. Thread-safe. */
#pragma once

#include "client/block/block_client.h"
#include "client/block/disk_cache.h"

struct block_cache;

/* disk: where blocks are looked for before servers are asked, and kept; NULL is allowed. The caller's. */
struct block_cache *block_cache_new(struct block_client *blocks, struct disk_cache *disk, size_t limit_bytes);
void block_cache_free(struct block_cache *c); /* no get may be under way */
/* One reference; fetched when it isn't there. */
enum err block_cache_get(struct block_cache *c, const struct sha256 *id, struct rpc_cancel *cancel,
                         struct block_buffer **ret) MUST_USE;
/* Those of these (at most LIMIT_BLOCKS_PER_FRAME) that are not there are fetched together, for gets that follow: these
 * find them, or see for themselves what is wrong. Of several only those are there then that came soon. */
void block_cache_fetch(struct block_cache *c, const struct sha256 *ids, unsigned count, struct rpc_cancel *cancel);
/* Takes a reference of its own. */
void block_cache_insert(struct block_cache *c, struct block_buffer *block);
/* One reference, or NULL; it counts as no use of the block. */
struct block_buffer *block_cache_peek(struct block_cache *c, const struct sha256 *id);
bool block_cache_has(struct block_cache *c, const struct sha256 *id); /* there or being fetched */
struct block_cache_stats {
    uint64_t bytes, hits, misses;
};
void block_cache_stats(struct block_cache *c, struct block_cache_stats *ret);
