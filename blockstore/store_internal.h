/* store_internal.h: what the parts of the store share. Internal to blockstore/.
 *
 *   store.c          opening, puts and gets, sync, inventory
 *   store_collect.c  touches, removal, and the rewriting of files that hold garbage */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <rocksdb/c.h>

#include "blockstore/barrier.h"
#include "blockstore/codec.h"
#include "blockstore/store.h"
#include "blockstore/touch.h"

#define KEY_SIZE (1 + SHA256_SIZE)
#define KEY_BYTES 'b'
#define KEY_PRESENT 'p'

struct block_store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_durable, *write_logged, *write_unlogged;
    rocksdb_readoptions_t *read_rows, *read_bytes;
    rocksdb_flushoptions_t *flush;
    char *path;
    uint64_t boot_id;

    pthread_mutex_t touch_lock; /* guards the next */
    struct touch_table touches;
    pthread_cond_t left;          /* what was being removed is gone */
    pthread_mutex_t collect_lock; /* one collects at a time */

    struct barrier barrier;
    uint64_t background_errors; /* seen so far; used by one barrier run at a time */
    atomic_int_least64_t net_bytes, net_stored_bytes;
    atomic_int failed; /* enum err: the disk's error that ended writing, or ERR_OK */
};

void store_key(uint8_t key[KEY_SIZE], char kind, const struct sha256 *id);

/* What a block's row of the second kind says. */
struct store_present {
    bool there;
    enum codec codec;
    uint32_t size, stored_size;
};
/* Its row is read with a check, so the answer can be relied on. */
enum err store_present(struct block_store *s, const struct sha256 *id, struct store_present *ret) MUST_USE;

/* What a write came to. A disk that failed is not trusted again before a restart. */
enum err store_settle(struct block_store *s, enum err e) MUST_USE;
/* bytes: of the blocks in it, for the choice between the log and a later flush. */
enum err store_write(struct block_store *s, rocksdb_writebatch_t *batch, uint64_t bytes, bool durable) MUST_USE;
void store_count_net(struct block_store *s, int64_t bytes, int64_t stored_bytes);
uint64_t store_property(struct block_store *s, const char *name);
