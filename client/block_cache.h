/* block_cache.h: blocks in memory, the least recently used go first. Content addressing means that an entry can't be
 * stale. Two readers of one block share one fetch. Thread-safe. */
#pragma once

#include "client/block_client.h"

struct block_cache;

struct block_cache *block_cache_new(struct block_client *blocks, size_t limit_bytes);
void block_cache_free(struct block_cache *c); /* no get may be under way */
/* One reference; fetched when it isn't there. */
enum err block_cache_get(struct block_cache *c, const struct sha256 *id, struct rpc_cancel *cancel,
                         struct block_buffer **ret) MUST_USE;
/* Takes a reference of its own. */
void block_cache_insert(struct block_cache *c, struct block_buffer *block);
bool block_cache_has(struct block_cache *c, const struct sha256 *id); /* there or being fetched */
struct block_cache_stats {
    uint64_t bytes, hits, misses;
};
void block_cache_stats(struct block_cache *c, struct block_cache_stats *ret);
