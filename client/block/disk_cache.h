/* disk_cache.h: blocks on a local disk, shared by the mounts of this machine that name the same directory.
 *
 * A block is a file that is named by its id, in one of 256 folders; its bytes are hashed whenever they are read. So an
 * entry can be neither stale nor wrong: whatever a kill, a power failure or a bad disk has left there is dropped when
 * it is met, and counted. Nothing is ever synced.
 *
 * What is read is read by the caller; what is to be kept is written by one thread, from a queue that drops what it has
 * no room for. The size is bounded for all mounts together by a count in a file, to which each adds before it writes: a
 * kill leaves it too high at most, until the next mount counts anew. Beyond the bound those go that were not used for
 * longest, about (disk_cache_space.c).
 *
 * A disk that is full is not written for a while, one that is slow not asked; one that fails is not used any more.
 * Either is logged once, and nobody who reads a file hears of it. Thread-safe. */
#pragma once

#include "client/block/block_client.h"

struct disk_cache;

#define DISK_CACHE_BYTES_MIN (UINT64_C(16) * MIB)

/* The directory is there, is writable and on a disk; below it one of our own is made, which nobody else may write to:
 * who shares it is the same user. bytes: the bound; the lowest of the mounts that share it counts. INVAL, with a reason
 * for people. */
enum err disk_cache_open(const char *directory, uint64_t bytes, struct disk_cache **ret, struct err_text *why) MUST_USE;
/* What waits to be written is dropped. NULL is allowed. */
void disk_cache_free(struct disk_cache *c);

/* One reference, verified; NULL: it isn't there. */
struct block_buffer *disk_cache_get(struct disk_cache *c, const struct sha256 *id);
/* It is to be kept, sooner or later, if there is room. Takes a reference of its own. */
void disk_cache_put(struct disk_cache *c, struct block_buffer *block);

struct disk_cache_stats {
    uint64_t hits, misses;
    uint64_t written, dropped; /* blocks that were to be kept; dropped: the disk was too slow, full or busy */
    uint64_t bad;              /* that were found damaged */
    uint64_t evicted;          /* by this mount */
    bool is_off;               /* the disk has failed */
};
void disk_cache_stats(struct disk_cache *c, struct disk_cache_stats *ret);
