/* dirty.h: written bytes of a file that are not committed yet: chunks of up to 1 MiB, each with the ranges of it that
 * were written. Pure; one thread at a time. */
#pragma once

#include "base/list.h"
#include "client/block/block_client.h"
#include "client/file/ranges.h"

#define CHUNK_BYTES LIMIT_BLOCK_BYTES

struct dirty_chunk {
    struct list_node node; /* in dirty_set, by index */
    uint64_t index;        /* the chunk begins at index * CHUNK_BYTES */
    uint8_t *data;         /* CHUNK_BYTES; only what the ranges say is valid */
    struct ranges ranges;  /* offsets in the chunk */
};
struct dirty_set {
    struct list chunks; /* by index */
    uint64_t bytes;     /* sum of the ranges */
};
void dirty_init(struct dirty_set *d);
void dirty_clear(struct dirty_set *d);
bool dirty_empty(const struct dirty_set *d);
/* The piece must lie within one chunk. Returns the chunk. */
struct dirty_chunk *dirty_write(struct dirty_set *d, uint64_t offset, const void *data, size_t size);
bool dirty_chunk_is_full(const struct dirty_chunk *c);
/* Takes it out of the set; the caller owns it. */
void dirty_take(struct dirty_set *d, struct dirty_chunk *c);
void dirty_chunk_free(struct dirty_chunk *c);
/* Copies what is in the set to buffer (which stands for bytes from `offset` on), for each range still in *missing, and
 * takes it off *missing (file offsets). */
void dirty_read(const struct dirty_set *d, uint64_t offset, uint8_t *buffer, struct ranges *missing);
/* Puts `older` under d: where both have bytes, d's stay. older is empty afterwards. */
void dirty_underlay(struct dirty_set *d, struct dirty_set *older);
uint64_t dirty_end(const struct dirty_set *d); /* behind the last byte; 0 when empty */
