/* scan.h: the tree here. Regular files with the hashes of their blocks; what else there is is told and left alone. */
#pragma once

#include "sync/local.h"

/* What a file's bytes give, block by block; also while they pass by. */
struct sync_hasher {
    struct arena *arena;
    uint32_t block_bytes;
    struct bytes block; /* what has come of the block under way */
    struct sha256 *hashes;
    unsigned count, capacity;
    bool too_many; /* more than SYNC_FILE_BLOCKS */
};
void sync_hasher_begin(struct sync_hasher *h, struct arena *arena, uint32_t block_bytes);
void sync_hasher_add(struct sync_hasher *h, struct slice data);
void sync_hasher_end(struct sync_hasher *h); /* hashes and count are then of all; frees what is not in the arena */

struct sync_local_directory {
    struct slice path;
    uint32_t mode; /* permission bits */
};
struct sync_scan {
    int base;
    uint32_t block_bytes;
    bool looks_only; /* what runs that were killed have left behind stays */
    bool links;      /* symbolic links are synced as links */
    const struct sync_index *index;
    /* What was found before, by path: of what has not changed since the hashes are taken over. May be empty. */
    const struct sync_local *known;
    size_t known_count;
    int64_t known_ns;                                       /* by the wall clock, when that was begun */
    void (*on_directory)(void *context, struct slice path); /* NULL, or called for each */
    /* What is not synced, and why. */
    void (*on_left_out)(void *context, struct slice path, enum err e, const char *why);
    void *context;
    const struct rpc_cancel *cancel;
};
/* What is here but for the directory itself, in the arena; files by path, directories in front of those in them. */
struct sync_scanned {
    struct sync_local *files;
    size_t file_count;
    struct sync_local_directory *directories;
    size_t directory_count;
};
/* Fails when a directory can't be read: what is in it must not be taken for deleted. */
enum err sync_scan(const struct sync_scan *s, struct arena *arena, struct sync_scanned *ret,
                   struct err_text *why) MUST_USE;
