/* store.h: one server's blocks, by content, on RocksDB with blob files.
 *
 * Rows: 'b' id -> the bytes (a blob), 'p' id -> their size (so that presence and inventory never read a blob), and
 * where they are compressed (blockstore/codec.h) how, and their size then. Both are written in one batch.
 *
 * Durability comes two ways. A durable put goes through the write-ahead log and is synced at return; concurrent ones
 * share the sync. A bulk put is durable after the next block_store_sync; most of them skip the log
 * (blockstore/barrier.h, docs/PERFORMANCE.md). A crash loses bulk puts that no sync covered, which the boot id shows.
 * After a crash a block that was deleted may be back.
 *
 * Thread-safe; everything blocks on the disk: call it from worker threads. Errors: CORRUPT (bytes that don't hash to
 * the id, or damaged files), TOO_BIG, INVAL (no bytes), NOT_FOUND, NOSPC, IO. After IO or CORRUPT from RocksDB's own
 * writing, every later put, delete and sync gives that error (block_store_failed) until the store is opened again;
 * reads go on. */
#pragma once

#include "base/err.h"
#include "base/hash.h"

struct block_store;

struct block_store_options {
    size_t write_buffer_bytes; /* 0: 32 MiB; bounds the memory of puts */
    size_t cache_bytes;        /* 0: 32 MiB; for rows that are not blobs */
};

/* ERR_LOCKED when another process has it open; ERR_CORRUPT with RocksDB's words when its files are damaged. */
enum err block_store_open(const char *path, const struct block_store_options *options, struct block_store **ret,
                          struct err_text *why) MUST_USE;
void block_store_close(struct block_store *s);

/* SHA-256(data) must be id; size 1..LIMIT_BLOCK_BYTES. A block that is there already is read, and written anew if it is
 * bad. */
enum err block_store_put(struct block_store *s, const struct sha256 *id, struct slice data, bool durable) MUST_USE;
/* All of them in one write batch, or none. */
enum err block_store_put_many(struct block_store *s, const struct sha256 *ids, const struct slice *datas,
                              unsigned count, bool durable) MUST_USE;
/* A durable put that also writes what is there already: for a copy whose bytes have gone bad. */
enum err block_store_replace(struct block_store *s, const struct sha256 *id, struct slice data) MUST_USE;
/* Replaces *ret's content. The reader checks the hash; this doesn't. */
enum err block_store_get(struct block_store *s, const struct sha256 *id, struct bytes *ret) MUST_USE;
/* A block whose row can't be read for damage is not present: a put writes it anew. */
enum err block_store_has(struct block_store *s, const struct sha256 *ids, unsigned count, bool *ret_present) MUST_USE;
/* The same, and checks it: CORRUPT when it is wrong. */
enum err block_store_get_verified(struct block_store *s, const struct sha256 *id, struct bytes *ret) MUST_USE;
/* Reads the block and checks its hash: ERR_CORRUPT when it is wrong. */
enum err block_store_verify(struct block_store *s, const struct sha256 *id) MUST_USE;

/* ---- collection of garbage: collect.h ---- */

/* Before a put of these, or before it is told that they are here: they are touched in this epoch. Waits while one of
 * them is being removed, so what is looked at afterwards is what counts. */
void block_store_touch(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t epoch);
/* The first epoch that was read from the metastore since the store was opened (touch_begin_at). */
void block_store_epoch(struct block_store *s, uint64_t epoch);
/* When it was touched last, at the latest; UINT64_MAX: it is not known yet. */
uint64_t block_store_touched(struct block_store *s, const struct sha256 *id);
struct block_store_removed {
    unsigned blocks;
    uint64_t bytes;
};
/* Removes those of these (at most BLOCK_STORE_COLLECT_MAX) that were last touched before the epoch `limit`, in one
 * write. It is not synced: after a crash they may be back. One thread at a time; it waits for another. */
#define BLOCK_STORE_COLLECT_MAX 256u
enum err block_store_collect(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t limit,
                             struct block_store_removed *ret) MUST_USE;
/* Rewrites what the store's files hold besides garbage, so that the file system gets its space back. Blocks for long;
 * puts and gets go on meanwhile. block_store_compact_stop, for any thread, makes it return, and every later one. */
enum err block_store_compact(struct block_store *s) MUST_USE;
void block_store_compact_stop(struct block_store *s);
/* Nothing has been put for a while: what RocksDB still holds of it in memory goes to its files, if it is worth a file.
 * An error shows with the next put or sync. */
void block_store_rest(struct block_store *s);

/* Everything whose put returned before this call is durable at return. Concurrent callers share a flush. */
enum err block_store_sync(struct block_store *s) MUST_USE;
/* Up to `max` ids in order, behind *after (NULL: from the start). Fewer than that are not the end; none are. CORRUPT:
 * those that come next can't be listed, but some further on may be (upkeep_skip). */
enum err block_store_inventory(struct block_store *s, const struct sha256 *after, unsigned max, struct sha256 *ret,
                               unsigned *ret_count) MUST_USE;

/* The sizes of these blocks, of those that are here: as they were given, and as they are stored. */
void block_store_measure(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t *ret_bytes,
                         uint64_t *ret_stored_bytes);

/* The same of the blocks that came, less those that went, since it was opened. At once. */
void block_store_net(struct block_store *s, int64_t *ret_bytes, int64_t *ret_stored_bytes);

struct block_store_stat {
    uint64_t blocks;      /* an estimate */
    uint64_t block_bytes; /* on disk and in memory */
    uint64_t disk_total, disk_free;
};
void block_store_stat(struct block_store *s, struct block_store_stat *ret);
/* What every put is refused with since a write failed; ERR_OK: none has. At once. */
enum err block_store_failed(struct block_store *s) MUST_USE;
/* Random for each open, never 0. */
uint64_t block_store_boot_id(const struct block_store *s);
