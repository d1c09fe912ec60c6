#include "blockstore/store.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/rocks.h"
#include "blockstore/barrier.h"

#define LOG_MODULE "blockstore"
#include "base/log.h"

#define KEY_SIZE (1 + SHA256_SIZE)
#define KEY_BYTES 'b'
#define KEY_PRESENT 'p'
#define MIN_BLOB_BYTES 512u
#define BLOB_FILE_BYTES (256u * MIB)
#define OPEN_FILES_MAX 256
#define DEFAULT_WRITE_BUFFER (32u * MIB)
#define DEFAULT_CACHE (8u * MIB)

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

    struct barrier barrier;
    uint64_t background_errors; /* seen so far; used by one barrier run at a time */
    atomic_int failed;          /* enum err: the disk's error that ended writing, or ERR_OK */
};

static void key_of(uint8_t key[KEY_SIZE], char kind, const struct sha256 *id)
{
    key[0] = (uint8_t)kind;
    memcpy(key + 1, id->bytes, SHA256_SIZE);
}

static rocksdb_options_t *store_options(const struct block_store_options *o, rocksdb_block_based_table_options_t *table)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(r, 1);
    rocksdb_options_set_paranoid_checks(r, 1);
    /* A torn last record was never acknowledged and is dropped; damage anywhere else refuses to open. */
    rocksdb_options_set_wal_recovery_mode(r, 0);
    rocksdb_options_set_write_buffer_size(r, o->write_buffer_bytes ? o->write_buffer_bytes : DEFAULT_WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(r, 3);
    rocksdb_options_set_max_open_files(r, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(r, 2);
    rocksdb_options_set_compression(r, rocksdb_no_compression);
    rocksdb_options_set_keep_log_file_num(r, 2);
    rocksdb_options_set_max_total_wal_size(r, 64 * MIB);
    rocksdb_options_set_bytes_per_sync(r, MIB);
    rocksdb_options_set_enable_blob_files(r, 1);
    rocksdb_options_set_min_blob_size(r, MIN_BLOB_BYTES);
    rocksdb_options_set_blob_file_size(r, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(r, rocksdb_no_compression);
    rocksdb_options_set_enable_blob_gc(r, 0);
    rocksdb_options_set_block_based_table_factory(r, table);
    return r;
}

enum err block_store_open(const char *path, const struct block_store_options *options, struct block_store **ret,
                          struct err_text *why)
{
    struct block_store *s = MEM_NEW(struct block_store);
    s->path = mem_strdup(path);
    barrier_init(&s->barrier);
    do
        random_bytes(&s->boot_id, sizeof s->boot_id);
    while (s->boot_id == 0);

    s->cache = rocksdb_cache_create_lru(options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE);
    s->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_filter_policy(s->table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(s->table, 1);
    s->options = store_options(options, s->table);
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

/* Is the block there? Its row is read with a check, so the answer can be relied on. */
static enum err present(struct block_store *s, const struct sha256 *id, bool *ret)
{
    uint8_t key[KEY_SIZE];
    key_of(key, KEY_PRESENT, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read_rows, (const char *)key, sizeof key, &message);
    TRY(read_result(message, "block presence"));
    *ret = value != NULL;
    rocksdb_pinnableslice_destroy(value);
    return ERR_OK;
}

/* A disk that failed to write is not trusted again before a restart: after a failed sync the kernel drops what it could
 * not write, and the next sync succeeds. Only a full disk may recover. */
static enum err settle(struct block_store *s, enum err e)
{
    if (e == ERR_OK || e == ERR_NOSPC)
        return e;
    if (atomic_exchange(&s->failed, (int)e) == ERR_OK)
        log_error("%s: %s; no more blocks are taken", s->path, err_message(e));
    return e;
}

static void add_rows(rocksdb_writebatch_t *batch, const struct sha256 *id, struct slice data)
{
    uint8_t key[KEY_SIZE], size[4];
    key_of(key, KEY_PRESENT, id); /* first: the batch is one growing string, and the large part should grow it last */
    put_u32be(size, (uint32_t)data.size);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)size, sizeof size);
    key_of(key, KEY_BYTES, id);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)data.data, data.size);
}

static enum err write_batch(struct block_store *s, rocksdb_writebatch_t *batch, uint64_t bytes, bool durable)
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
    return settle(s, rocks_result(message, "block put", NULL));
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

/* Adds the blocks that are to be written: those that aren't there, or with `again` those that are. */
static enum err add_blocks(struct block_store *s, rocksdb_writebatch_t *batch, const struct sha256 *ids,
                           const struct slice *datas, unsigned count, bool again, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        bool there = false;
        TRY(present(s, &ids[i], &there));
        if (there != again)
            continue;
        add_rows(batch, &ids[i], datas[i]);
        bytes += datas[i].size;
    }
    *ret_bytes = bytes;
    return ERR_OK;
}

enum err block_store_put_many(struct block_store *s, const struct sha256 *ids, const struct slice *datas,
                              unsigned count, bool durable)
{
    for (unsigned i = 0; i < count; i++)
        TRY(check_block(&ids[i], datas[i]));
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    uint64_t bytes = 0, more = 0;
    enum err e = add_blocks(s, batch, ids, datas, count, false, &bytes);
    /* A block that is there may be a bulk put's that no sync covers yet. The order matters: first seen, then asked. */
    if (e == ERR_OK && durable && rocksdb_writebatch_count(batch) < (int)(2 * count) && !barrier_is_clean(&s->barrier))
        e = add_blocks(s, batch, ids, datas, count, true, &more);
    if (e == ERR_OK && bytes + more > 0)
        e = write_batch(s, batch, bytes + more, durable);
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_put(struct block_store *s, const struct sha256 *id, struct slice data, bool durable)
{
    return block_store_put_many(s, id, &data, 1, durable);
}

enum err block_store_get(struct block_store *s, const struct sha256 *id, struct bytes *ret)
{
    bool there = false;
    TRY(present(s, id, &there));
    if (!there)
        return ERR_NOT_FOUND;
    uint8_t key[KEY_SIZE];
    key_of(key, KEY_BYTES, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read_bytes, (const char *)key, sizeof key, &message);
    TRY(read_result(message, "block get"));
    if (!value) { /* deleted in between, or lost */
        TRY(present(s, id, &there));
        return there ? ERR_CORRUPT : ERR_NOT_FOUND;
    }
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(value, &size);
    enum err e = size <= LIMIT_BLOCK_BYTES ? ERR_OK : ERR_CORRUPT;
    if (e == ERR_OK) {
        bytes_clear(ret);
        bytes_append(ret, SLICE(data, size));
    }
    rocksdb_pinnableslice_destroy(value);
    return e;
}

enum err block_store_has(struct block_store *s, const struct sha256 *ids, unsigned count, bool *ret_present)
{
    for (unsigned i = 0; i < count; i++)
        TRY(present(s, &ids[i], &ret_present[i]));
    return ERR_OK;
}

enum err block_store_verify(struct block_store *s, const struct sha256 *id)
{
    struct bytes data = {0};
    enum err e = block_store_get(s, id, &data);
    if (e == ERR_OK)
        e = check_block(id, bytes_slice(&data)) == ERR_OK ? ERR_OK : ERR_CORRUPT;
    bytes_free(&data);
    return e;
}

enum err block_store_delete(struct block_store *s, const struct sha256 *id)
{
    uint8_t key[KEY_SIZE];
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    key_of(key, KEY_BYTES, id);
    rocksdb_writebatch_delete(batch, (const char *)key, sizeof key);
    key_of(key, KEY_PRESENT, id);
    rocksdb_writebatch_delete(batch, (const char *)key, sizeof key);
    enum err e = write_batch(s, batch, 0, false);
    rocksdb_writebatch_destroy(batch);
    return e;
}

static uint64_t property(struct block_store *s, const char *name)
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
    uint64_t errors = property(s, "rocksdb.background-errors");
    if (flush || errors != s->background_errors)
        rocksdb_flush(s->db, s->flush, &message);
    else
        rocksdb_flush_wal(s->db, 1, &message);
    enum err e = settle(s, rocks_result(message, "block sync", NULL));
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
    key_of(key, KEY_PRESENT, after ? after : &first);
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
    TRY(read_result(message, "block inventory"));
    *ret_count = count;
    return ERR_OK;
}

void block_store_stat(struct block_store *s, struct block_store_stat *ret)
{
    *ret = (struct block_store_stat){0};
    ret->blocks = property(s, "rocksdb.estimate-num-keys") / 2;
    ret->block_bytes = property(s, "rocksdb.live-blob-file-size") + property(s, "rocksdb.live-sst-files-size") +
                       property(s, "rocksdb.cur-size-all-mem-tables");
    struct statvfs disk;
    if (statvfs(s->path, &disk) == 0) {
        ret->disk_total = (uint64_t)disk.f_blocks * disk.f_frsize;
        ret->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    }
}

uint64_t block_store_boot_id(const struct block_store *s)
{
    return s->boot_id;
}
