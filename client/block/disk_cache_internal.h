/* disk_cache_internal.h: what the disk_cache*.c share. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "client/block/disk_cache.h"

#define DISK_CACHE_FOLDERS 256u
#define DISK_CACHE_NAME_BYTES (2 + 1 + 2 * SHA256_SIZE + 1) /* "ab/abcd..." with its NUL */

struct disk_cache {
    int folder;   /* our own, with the 256 */
    int usage;    /* a file: bytes in all, of all mounts; locked while it is changed */
    int evictors; /* a file that is locked by who makes room */
    uint64_t limit_bytes;
    unsigned hand;   /* the folder where making room goes on; the writer's */
    bool must_count; /* the count was damaged; the writer's */
    atomic_uint_fast64_t hits, misses, written, dropped, bad, evicted;
    atomic_bool off;                   /* for good */
    atomic_int_fast64_t full_until_ns; /* nothing is written before */
    atomic_int_fast64_t slow_until_ns; /* nothing is read or written before */
    pthread_t writer;

    pthread_mutex_t lock; /* protects the rest */
    pthread_cond_t changed;
    struct list queue; /* struct disk_cache_job, oldest first */
    size_t queued_bytes;
    unsigned queued;
    bool stopping;
};

/* What a file takes on a disk, about. */
static inline int64_t disk_cache_cost(size_t size)
{
    return (int64_t)((size + 4095) / 4096 * 4096);
}

/* The disk has failed: one line, and it is not used any more. */
void disk_cache_turn_off(struct disk_cache *c, const char *what, int error);

/* ---- disk_cache_space.c, of the writer; errors turn the cache off ---- */

/* The count of all mounts changes by so much; false: it can't be told, or would go over the limit by it (for more than
 * nothing), and is as it was. */
bool disk_cache_reserve(struct disk_cache *c, int64_t bytes);
/* Room for so much, where the limit allows none. False: others make room just now, or it can't be made. */
bool disk_cache_make_room(struct disk_cache *c, int64_t bytes);
/* What is there is counted, unless others are at it. */
void disk_cache_count(struct disk_cache *c);
