/* store.h: one server's blocks, by content, on RocksDB with blob files.
 *
 * Rows: 'b' id -> the bytes (a blob), 'p' id -> their size (so that presence and inventory never read a blob). Both are
 * written in one batch.
 *
 * Durability comes two ways. A durable put goes through the write-ahead log and is synced at return; concurrent ones
 * share the sync. A bulk put is durable after the next block_store_sync; most of them skip the log
 * (blockstore/barrier.h, docs/PERFORMANCE.md). A crash loses bulk puts that no sync covered, which the boot id shows.
 * After a crash a block that was deleted may be back.
 *
 * Thread-safe; everything blocks on the disk: call it from worker threads. Errors: CORRUPT (bytes that don't hash to
 * the id, or damaged files), TOO_BIG, INVAL (no bytes), NOT_FOUND, NOSPC, IO. After IO or CORRUPT from RocksDB's own
 * writing, every later put, delete and sync gives that error until the store is opened again; reads go on. */
#pragma once

#include "base/err.h"
#include "base/hash.h"

struct block_store;

struct block_store_options {
    size_t write_buffer_bytes; /* 0: 32 MiB; bounds the memory of puts */
    size_t cache_bytes;        /* 0: 8 MiB; for rows that are not blobs */
};

/* ERR_LOCKED when another process has it open; ERR_CORRUPT with RocksDB's words when its files are damaged. */
enum err block_store_open(const char *path, const struct block_store_options *options, struct block_store **ret,
                          struct err_text *why) MUST_USE;
void block_store_close(struct block_store *s);

/* SHA-256(data) must be id; size 1..LIMIT_BLOCK_BYTES. A block that is there already is fine. */
enum err block_store_put(struct block_store *s, const struct sha256 *id, struct slice data, bool durable) MUST_USE;
/* All of them in one write batch, or none. */
enum err block_store_put_many(struct block_store *s, const struct sha256 *ids, const struct slice *datas,
                              unsigned count, bool durable) MUST_USE;
/* Replaces *ret's content. The reader checks the hash; this doesn't. */
enum err block_store_get(struct block_store *s, const struct sha256 *id, struct bytes *ret) MUST_USE;
enum err block_store_has(struct block_store *s, const struct sha256 *ids, unsigned count, bool *ret_present) MUST_USE;
/* Reads the block and checks its hash: ERR_CORRUPT when it is wrong. */
enum err block_store_verify(struct block_store *s, const struct sha256 *id) MUST_USE;
enum err block_store_delete(struct block_store *s, const struct sha256 *id) MUST_USE;
/* Everything whose put returned before this call is durable at return. Concurrent callers share a flush. */
enum err block_store_sync(struct block_store *s) MUST_USE;
/* Up to `max` ids in order, behind *after (NULL: from the start). */
enum err block_store_inventory(struct block_store *s, const struct sha256 *after, unsigned max, struct sha256 *ret,
                               unsigned *ret_count) MUST_USE;

struct block_store_stat {
    uint64_t blocks;      /* an estimate */
    uint64_t block_bytes; /* on disk and in memory */
    uint64_t disk_total, disk_free;
};
void block_store_stat(struct block_store *s, struct block_store_stat *ret);
/* Random for each open, never 0. */
uint64_t block_store_boot_id(const struct block_store *s);
