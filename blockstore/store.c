#include "blockstore/store_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/rocks.h"
#include "blockstore/direct.h"

#define LOG_MODULE "blockstore"
#include "base/log.h"

#define MIN_BLOB_BYTES 512u
#define BLOB_FILE_BYTES (256u * MIB)
#define OPEN_FILES_MAX 256
#define DEFAULT_WRITE_BUFFER (32u * MIB)
#define DEFAULT_CACHE (32u * MIB) /* the filters of 13 million blocks */

void store_key(uint8_t key[KEY_SIZE], char kind, const struct sha256 *id)
{
    key[0] = (uint8_t)kind;
    memcpy(key + 1, id->bytes, SHA256_SIZE);
}

static rocksdb_options_t *store_options(const char *path, const struct block_store_options *o,
                                        rocksdb_block_based_table_options_t *table)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(r, 1);
    rocksdb_options_set_paranoid_checks(r, 1);
    /* A torn last record was never acknowledged and is dropped; damage anywhere else refuses to open. */
    rocksdb_options_set_wal_recovery_mode(r, 0);
    rocksdb_options_set_write_buffer_size(r, o->write_buffer_bytes ? o->write_buffer_bytes : DEFAULT_WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(r, 3);
    /* A put asks first whether its block is there, which it seldom is. */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(r, 0.01);
    rocksdb_options_set_memtable_whole_key_filtering(r, 1);
    rocksdb_options_set_max_open_files(r, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(r, 2);
    rocksdb_options_set_compression(r, rocksdb_no_compression);
    rocksdb_options_set_keep_log_file_num(r, 2);
    rocksdb_options_set_max_total_wal_size(r, 64 * MIB);
    rocksdb_options_set_bytes_per_sync(r, MIB);
    /* Blocks are written once more when the memtable is full. The page cache would only cost the copy into it, which
     * was half of a node's time while blocks were put (docs/PERFORMANCE.md), and what was in it before. */
    rocksdb_options_set_use_direct_io_for_flush_and_compaction(r, direct_is_possible(path));
    rocksdb_options_set_enable_blob_files(r, 1);
    rocksdb_options_set_min_blob_size(r, MIN_BLOB_BYTES);
    rocksdb_options_set_blob_file_size(r, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(r, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(r, 0); /* every compaction would copy blocks: block_store_compact chooses when */
    rocksdb_options_set_block_based_table_factory(r, table);
    return r;
}

enum err block_store_open(const char *path, const struct block_store_options *options, struct block_store **ret,
                          struct err_text *why)
{
    struct block_store *s = MEM_NEW(struct block_store);
    s->path = mem_strdup(path);
    barrier_init(&s->barrier);
    touch_init(&s->touches);
    CHECK(pthread_mutex_init(&s->touch_lock, NULL) == 0 && pthread_mutex_init(&s->collect_lock, NULL) == 0);
    CHECK(pthread_cond_init(&s->left, NULL) == 0);
    do
        random_bytes(&s->boot_id, sizeof s->boot_id);
    while (s->boot_id == 0);

    s->cache = rocksdb_cache_create_lru(options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE);
    s->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_filter_policy(s->table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(s->table, 1);
    /* In parts of a few KiB: a whole filter is as large as the cache when there are many blocks, and would be read for
     * each of them that is put or asked for. */
    rocksdb_block_based_options_set_index_type(s->table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(s->table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(s->table, 1);
    s->options = store_options(path, options, s->table);
    s->write_durable = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->write_durable, 1);
    s->write_logged = rocksdb_writeoptions_create();
    s->write_unlogged = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(s->write_unlogged, 1);
    s->read_rows = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(s->read_rows, 1);
    /* Readers check SHA-256; RocksDB's own checksum of blobs would only be slower (docs/PERFORMANCE.md). What was read
     * without a check must not be cached, where checked reads would take it for good. */
    s->read_bytes = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(s->read_bytes, 0);
    rocksdb_readoptions_set_fill_cache(s->read_bytes, 0);
    s->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(s->flush, 1);

    char *message = NULL;
    s->db = rocksdb_open(s->options, path, &message);
    enum err e = rocks_result(message, path, why);
    if (e != ERR_OK) {
        block_store_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void block_store_close(struct block_store *s)
{
    if (!s)
        return;
    if (s->db) {
        if (block_store_sync(s) != ERR_OK)
            log_error("%s: what was put since the last sync may be lost", s->path);
        rocksdb_close(s->db);
    }
    rocksdb_flushoptions_destroy(s->flush);
    rocksdb_readoptions_destroy(s->read_bytes);
    rocksdb_readoptions_destroy(s->read_rows);
    rocksdb_writeoptions_destroy(s->write_logged);
    rocksdb_writeoptions_destroy(s->write_unlogged);
    rocksdb_writeoptions_destroy(s->write_durable);
    rocksdb_options_destroy(s->options);
    rocksdb_block_based_options_destroy(s->table);
    rocksdb_cache_destroy(s->cache);
    barrier_close(&s->barrier);
    pthread_cond_destroy(&s->left);
    pthread_mutex_destroy(&s->collect_lock);
    pthread_mutex_destroy(&s->touch_lock);
    touch_close(&s->touches);
    free(s->path);
    free(s);
}

/* The result of a read. A file that is gone is damage to the store, not a fault of the disk. */
static enum err read_result(char *message, const char *what)
{
    bool gone = message && strstr(message, "No such file");
    enum err e = rocks_result(message, what, NULL);
    return gone ? ERR_CORRUPT : e;
}

#define PRESENT_PLAIN_BYTES 4u      /* the size; the bytes are stored as they are */
#define PRESENT_COMPRESSED_BYTES 9u /* the size, the codec, the size as stored */

static enum err present_decode(const uint8_t *row, size_t size, struct store_present *ret)
{
    *ret = (struct store_present){.there = true};
    if (size != PRESENT_PLAIN_BYTES && size != PRESENT_COMPRESSED_BYTES)
        return ERR_CORRUPT;
    ret->size = ret->stored_size = get_u32be(row);
    if (size == PRESENT_PLAIN_BYTES)
        return ERR_OK;
    ret->codec = (enum codec)row[4];
    ret->stored_size = get_u32be(row + 5);
    return row[4] <= CODEC_LAST ? ERR_OK : ERR_CORRUPT;
}

/* Is the block there? Its row is read with a check, so the answer can be relied on. */
enum err store_present(struct block_store *s, const struct sha256 *id, struct store_present *ret)
{
    uint8_t key[KEY_SIZE];
    store_key(key, KEY_PRESENT, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read_rows, (const char *)key, sizeof key, &message);
    TRY(read_result(message, "block presence"));
    *ret = (struct store_present){.there = false};
    if (!value)
        return ERR_OK;
    size_t size = 0;
    const char *row = rocksdb_pinnableslice_value(value, &size);
    enum err e = present_decode((const uint8_t *)row, size, ret);
    rocksdb_pinnableslice_destroy(value);
    return e;
}

/* A disk that failed to write is not trusted again before a restart: after a failed sync the kernel drops what it could
 * not write, and the next sync succeeds. Only a full disk may recover. */
enum err store_settle(struct block_store *s, enum err e)
{
    if (e == ERR_OK || e == ERR_NOSPC)
        return e;
    if (atomic_exchange(&s->failed, (int)e) == ERR_OK)
        log_error("%s: %s; no more blocks are taken", s->path, err_message(e));
    return e;
}

/* scratch: for what is compressed. Gives the size as stored. */
static size_t add_rows(rocksdb_writebatch_t *batch, const struct sha256 *id, struct slice data, struct bytes *scratch)
{
    uint8_t key[KEY_SIZE], row[PRESENT_COMPRESSED_BYTES];
    enum codec codec = codec_encode(data, scratch);
    struct slice stored = codec == CODEC_NONE ? data : bytes_slice(scratch);
    store_key(key, KEY_PRESENT,
              id); /* first: the batch is one growing string, and the large part should grow it last */
    put_u32be(row, (uint32_t)data.size);
    row[4] = (uint8_t)codec;
    put_u32be(row + 5, (uint32_t)stored.size);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)row,
                           codec == CODEC_NONE ? PRESENT_PLAIN_BYTES : PRESENT_COMPRESSED_BYTES);
    store_key(key, KEY_BYTES, id);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)stored.data, stored.size);
    return stored.size;
}

enum err store_write(struct block_store *s, rocksdb_writebatch_t *batch, uint64_t bytes, bool durable)
{
    TRY((enum err)atomic_load(&s->failed));
    char *message = NULL;
    if (durable) {
        rocksdb_write(s->db, s->write_durable, batch, &message);
    } else {
        bool logged = barrier_put_begin(&s->barrier, bytes);
        rocksdb_write(s->db, logged ? s->write_logged : s->write_unlogged, batch, &message);
        barrier_put_end(&s->barrier, logged);
    }
    return store_settle(s, rocks_result(message, "block put", NULL));
}

static enum err check_block(const struct sha256 *id, struct slice data)
{
    if (data.size == 0)
        return ERR_INVAL;
    if (data.size > LIMIT_BLOCK_BYTES)
        return ERR_TOO_BIG;
    struct sha256 actual;
    sha256_of(data, &actual);
    return sha256_equal(&actual, id) ? ERR_OK : ERR_CORRUPT;
}

/* As `present`; but a row that can't be read counts as absent. It may lie in a damaged file for ever: whoever asks what
 * is missing is to send the block again, and the new row is found before the old one. */
static enum err readable(struct block_store *s, const struct sha256 *id, bool *ret)
{
    struct store_present row;
    enum err e = store_present(s, id, &row);
    if (e != ERR_OK && e != ERR_CORRUPT)
        return e;
    *ret = e == ERR_OK && row.there;
    return ERR_OK;
}

void store_count_net(struct block_store *s, int64_t bytes, int64_t stored_bytes)
{
    atomic_fetch_add_explicit(&s->net_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->net_stored_bytes, stored_bytes, memory_order_relaxed);
}

struct added {
    uint64_t bytes, stored_bytes; /* of blocks that were not there */
    uint64_t again_bytes;         /* as stored: of those that were */
};

/* Adds the blocks that aren't there. One that is there is read: who puts it has its bytes in his hands and keeps them
 * no longer, perhaps to replace what can't be read any more, so the word that it is here must not rest on a copy that
 * has gone bad. Reading it costs no more than writing it would. */
static enum err add_missing(struct block_store *s, rocksdb_writebatch_t *batch, const struct sha256 *ids,
                            const struct slice *datas, unsigned count, struct added *added)
{
    _cleanup_(bytes_free) struct bytes scratch = {0}, here = {0};
    for (unsigned i = 0; i < count; i++) {
        bool there = false;
        TRY(readable(s, &ids[i], &there));
        if (there && block_store_get(s, &ids[i], &here) == ERR_OK && slice_equal(bytes_slice(&here), datas[i]))
            continue;
        size_t stored = add_rows(batch, &ids[i], datas[i], &scratch);
        if (there) {
            char hex[65];
            sha256_hex(&ids[i], hex);
            log_warn("block %s: the copy here is bad, and is replaced by one that was put", hex);
            added->again_bytes += stored;
        } else {
            added->bytes += datas[i].size;
            added->stored_bytes += stored;
        }
    }
    return ERR_OK;
}

static enum err add_present(struct block_store *s, rocksdb_writebatch_t *batch, const struct sha256 *ids,
                            const struct slice *datas, unsigned count, struct added *added)
{
    _cleanup_(bytes_free) struct bytes scratch = {0};
    for (unsigned i = 0; i < count; i++) {
        bool there = false;
        TRY(readable(s, &ids[i], &there));
        if (there)
            added->again_bytes += add_rows(batch, &ids[i], datas[i], &scratch);
    }
    return ERR_OK;
}

enum err block_store_put_many(struct block_store *s, const struct sha256 *ids, const struct slice *datas,
                              unsigned count, bool durable)
{
    for (unsigned i = 0; i < count; i++)
        TRY(check_block(&ids[i], datas[i]));
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    struct added added = {0};
    enum err e = add_missing(s, batch, ids, datas, count, &added);
    /* A block that is there may be a bulk put's that no sync covers yet. The order matters: first seen, then asked. */
    if (e == ERR_OK && durable && rocksdb_writebatch_count(batch) < (int)(2 * count) && !barrier_is_clean(&s->barrier))
        e = add_present(s, batch, ids, datas, count, &added);
    if (e == ERR_OK && rocksdb_writebatch_count(batch) > 0)
        e = store_write(s, batch, added.stored_bytes + added.again_bytes, durable);
    if (e == ERR_OK)
        store_count_net(s, (int64_t)added.bytes, (int64_t)added.stored_bytes);
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_put(struct block_store *s, const struct sha256 *id, struct slice data, bool durable)
{
    return block_store_put_many(s, id, &data, 1, durable);
}

enum err block_store_replace(struct block_store *s, const struct sha256 *id, struct slice data)
{
    TRY(check_block(id, data));
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    _cleanup_(bytes_free) struct bytes scratch = {0};
    size_t stored_size = add_rows(batch, id, data, &scratch);
    enum err e = store_write(s, batch, stored_size, true);
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_get(struct block_store *s, const struct sha256 *id, struct bytes *ret)
{
    struct store_present row;
    TRY(store_present(s, id, &row));
    if (!row.there)
        return ERR_NOT_FOUND;
    uint8_t key[KEY_SIZE];
    store_key(key, KEY_BYTES, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read_bytes, (const char *)key, sizeof key, &message);
    TRY(read_result(message, "block get"));
    if (!value) { /* deleted in between, or lost */
        TRY(store_present(s, id, &row));
        return row.there ? ERR_CORRUPT : ERR_NOT_FOUND;
    }
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(value, &size);
    enum err e = codec_decode(row.codec, SLICE(data, size), row.size, ret);
    rocksdb_pinnableslice_destroy(value);
    return e;
}

enum err block_store_has(struct block_store *s, const struct sha256 *ids, unsigned count, bool *ret_present)
{
    for (unsigned i = 0; i < count; i++)
        TRY(readable(s, &ids[i], &ret_present[i]));
    return ERR_OK;
}

enum err block_store_get_verified(struct block_store *s, const struct sha256 *id, struct bytes *ret)
{
    TRY(block_store_get(s, id, ret));
    return check_block(id, bytes_slice(ret)) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err block_store_verify(struct block_store *s, const struct sha256 *id)
{
    _cleanup_(bytes_free) struct bytes data = {0};
    return block_store_get_verified(s, id, &data);
}

uint64_t store_property(struct block_store *s, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int(s->db, name, &value) == 0 ? value : 0;
}

/* One barrier for everybody who waits. */
static enum err barrier_run(void *arg, bool flush)
{
    struct block_store *s = arg;
    char *message = NULL;
    /* A flush in the background that failed may have left RocksDB without what the log's sync would promise: the flush
     * in the foreground says whether it still is so. */
    uint64_t errors = store_property(s, "rocksdb.background-errors");
    if (flush || errors != s->background_errors)
        rocksdb_flush(s->db, s->flush, &message);
    else
        rocksdb_flush_wal(s->db, 1, &message);
    enum err e = store_settle(s, rocks_result(message, "block sync", NULL));
    if (e == ERR_OK)
        s->background_errors = errors;
    return e;
}

enum err block_store_sync(struct block_store *s)
{
    TRY((enum err)atomic_load(&s->failed));
    return barrier_sync(&s->barrier, barrier_run, s);
}

enum err block_store_inventory(struct block_store *s, const struct sha256 *after, unsigned max, struct sha256 *ret,
                               unsigned *ret_count)
{
    struct sha256 first = {{0}};
    uint8_t key[KEY_SIZE];
    store_key(key, KEY_PRESENT, after ? after : &first);
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->read_rows);
    unsigned count = 0;
    for (rocksdb_iter_seek(it, (const char *)key, sizeof key); rocksdb_iter_valid(it) && count < max;
         rocksdb_iter_next(it)) {
        size_t size;
        const char *found = rocksdb_iter_key(it, &size);
        if (size != KEY_SIZE || found[0] != KEY_PRESENT)
            break;
        if (after && memcmp(found + 1, after->bytes, SHA256_SIZE) == 0)
            continue;
        memcpy(ret[count++].bytes, found + 1, SHA256_SIZE);
    }
    char *message = NULL;
    rocksdb_iter_get_error(it, &message);
    rocksdb_iter_destroy(it);
    enum err e = read_result(message, "block inventory");
    /* What was found before the damage is of use; who goes on behind it meets the damage at once. */
    if (e != ERR_OK && count == 0)
        return e;
    *ret_count = count;
    return ERR_OK;
}

void block_store_measure(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t *ret_bytes,
                         uint64_t *ret_stored_bytes)
{
    *ret_bytes = *ret_stored_bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        struct store_present row;
        if (store_present(s, &ids[i], &row) != ERR_OK || !row.there)
            continue;
        *ret_bytes += row.size;
        *ret_stored_bytes += row.stored_size;
    }
}

void block_store_net(struct block_store *s, int64_t *ret_bytes, int64_t *ret_stored_bytes)
{
    *ret_bytes = atomic_load_explicit(&s->net_bytes, memory_order_relaxed);
    *ret_stored_bytes = atomic_load_explicit(&s->net_stored_bytes, memory_order_relaxed);
}

void block_store_stat(struct block_store *s, struct block_store_stat *ret)
{
    *ret = (struct block_store_stat){0};
    ret->blocks = store_property(s, "rocksdb.estimate-num-keys") / 2;
    ret->block_bytes = store_property(s, "rocksdb.live-blob-file-size") +
                       store_property(s, "rocksdb.live-sst-files-size") +
                       store_property(s, "rocksdb.cur-size-all-mem-tables");
    struct statvfs disk;
    if (statvfs(s->path, &disk) == 0) {
        ret->disk_total = (uint64_t)disk.f_blocks * disk.f_frsize;
        ret->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    }
}

enum err block_store_failed(struct block_store *s)
{
    return (enum err)atomic_load(&s->failed);
}

uint64_t block_store_boot_id(const struct block_store *s)
{
    return s->boot_id;
}
