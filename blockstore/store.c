#include "blockstore/store.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/rocks.h"

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
    rocksdb_writeoptions_t *write_durable, *write_bulk;
    rocksdb_readoptions_t *read;
    rocksdb_flushoptions_t *flush;
    char *path;
    uint64_t boot_id;

    pthread_mutex_t lock;
    pthread_cond_t flushed;
    uint64_t bulk_puts;   /* so far; protected by lock */
    uint64_t bulk_synced; /* how many of them a finished flush covers; protected by lock */
    bool flushing;        /* protected by lock */
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
    rocksdb_options_set_enable_blob_gc(r, 1);
    rocksdb_options_set_block_based_table_factory(r, table);
    return r;
}

enum err block_store_open(const char *path, const struct block_store_options *options, struct block_store **ret,
                          struct err_text *why)
{
    struct block_store *s = MEM_NEW(struct block_store);
    s->path = mem_strdup(path);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->flushed, NULL);
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
    s->write_bulk = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(s->write_bulk, 1);
    s->read = rocksdb_readoptions_create();
    /* Readers check SHA-256; RocksDB's own checksum of blobs would only be slower (docs/PERFORMANCE.md). */
    rocksdb_readoptions_set_verify_checksums(s->read, 0);
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
    if (s->db)
        rocksdb_close(s->db);
    rocksdb_flushoptions_destroy(s->flush);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_writeoptions_destroy(s->write_bulk);
    rocksdb_writeoptions_destroy(s->write_durable);
    rocksdb_options_destroy(s->options);
    rocksdb_block_based_options_destroy(s->table);
    rocksdb_cache_destroy(s->cache);
    pthread_cond_destroy(&s->flushed);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

/* True when the block is there; ERR_OK unless the disk fails. */
static enum err present(struct block_store *s, const struct sha256 *id, bool *ret)
{
    uint8_t key[KEY_SIZE];
    key_of(key, KEY_PRESENT, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read, (const char *)key, sizeof key, &message);
    TRY(rocks_result(message, "block presence", NULL));
    *ret = value != NULL;
    rocksdb_pinnableslice_destroy(value);
    return ERR_OK;
}

static bool all_synced(struct block_store *s)
{
    pthread_mutex_lock(&s->lock);
    bool synced = s->bulk_synced == s->bulk_puts;
    pthread_mutex_unlock(&s->lock);
    return synced;
}

static void add_rows(rocksdb_writebatch_t *batch, const struct sha256 *id, struct slice data)
{
    uint8_t key[KEY_SIZE], size[4];
    key_of(key, KEY_BYTES, id);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)data.data, data.size);
    key_of(key, KEY_PRESENT, id);
    put_u32be(size, (uint32_t)data.size);
    rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)size, sizeof size);
}

static enum err write_batch(struct block_store *s, rocksdb_writebatch_t *batch, bool durable)
{
    char *message = NULL;
    rocksdb_write(s->db, durable ? s->write_durable : s->write_bulk, batch, &message);
    TRY(rocks_result(message, "block put", NULL));
    if (!durable) {
        pthread_mutex_lock(&s->lock);
        s->bulk_puts++;
        pthread_mutex_unlock(&s->lock);
    }
    return ERR_OK;
}

static enum err check_block(const struct sha256 *id, struct slice data)
{
    if (data.size == 0 || data.size > LIMIT_BLOCK_BYTES)
        return ERR_TOO_BIG;
    struct sha256 actual;
    sha256_of(data, &actual);
    return sha256_equal(&actual, id) ? ERR_OK : ERR_CORRUPT;
}

enum err block_store_put_many(struct block_store *s, const struct sha256 *ids, const struct slice *datas,
                              unsigned count, bool durable)
{
    for (unsigned i = 0; i < count; i++)
        TRY(check_block(&ids[i], datas[i]));
    /* A block that is there but perhaps not yet durable is written again: a durable put must not depend on a flush. */
    bool may_skip = !durable || all_synced(s);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    unsigned added = 0;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < count && e == ERR_OK; i++) {
        bool there = false;
        if (may_skip)
            e = present(s, &ids[i], &there);
        if (e == ERR_OK && !there) {
            add_rows(batch, &ids[i], datas[i]);
            added++;
        }
    }
    if (e == ERR_OK && added > 0)
        e = write_batch(s, batch, durable);
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_put(struct block_store *s, const struct sha256 *id, struct slice data, bool durable)
{
    return block_store_put_many(s, id, &data, 1, durable);
}

enum err block_store_get(struct block_store *s, const struct sha256 *id, struct bytes *ret)
{
    uint8_t key[KEY_SIZE];
    key_of(key, KEY_BYTES, id);
    char *message = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->read, (const char *)key, sizeof key, &message);
    TRY(rocks_result(message, "block get", NULL));
    if (!value)
        return ERR_NOT_FOUND;
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
    enum err e = write_batch(s, batch, false);
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_sync(struct block_store *s)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&s->lock);
    uint64_t want = s->bulk_puts;
    while (e == ERR_OK && s->bulk_synced < want) {
        if (s->flushing) {
            pthread_cond_wait(&s->flushed, &s->lock);
            continue;
        }
        uint64_t covers = s->bulk_puts;
        s->flushing = true;
        pthread_mutex_unlock(&s->lock);
        char *message = NULL;
        rocksdb_flush(s->db, s->flush, &message);
        e = rocks_result(message, "block sync", NULL);
        pthread_mutex_lock(&s->lock);
        s->flushing = false;
        if (e == ERR_OK && covers > s->bulk_synced)
            s->bulk_synced = covers;
        pthread_cond_broadcast(&s->flushed);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

enum err block_store_inventory(struct block_store *s, const struct sha256 *after, unsigned max, struct sha256 *ret,
                               unsigned *ret_count)
{
    struct sha256 first = {{0}};
    uint8_t key[KEY_SIZE];
    key_of(key, KEY_PRESENT, after ? after : &first);
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->read);
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
    TRY(rocks_result(message, "block inventory", NULL));
    *ret_count = count;
    return ERR_OK;
}

static uint64_t property(struct block_store *s, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int(s->db, name, &value) == 0 ? value : 0;
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
