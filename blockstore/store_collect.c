/* Garbage: blocks are touched, and leave when they have not been for long (collect.h); and the files of RocksDB are
 * rewritten so that the file system gets the space. */
#include <stdio.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rocks.h"
#include "blockstore/store_internal.h"

#define REST_BYTES_MIN (4u * MIB)    /* of a memtable, that block_store_rest makes a file of */
#define BOTTOMMOST_FORCE_OPTIMIZED 3 /* rocksdb::BottommostLevelCompaction: also what is in its last place */
#define REWRITE_GARBAGE_PARTS 3u /* live blocks are copied when so much, one part of all, is garbage: so freeing a */
#define REWRITE_GARBAGE_MIN (16 * MIB) /* byte costs two at most */

_Static_assert(BLOCK_STORE_COLLECT_MAX <= TOUCH_LEAVING_MAX, "they leave together");

static bool any_leaving(const struct block_store *s, const struct sha256 *ids, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < count && !any; i++)
        any = touch_is_leaving(&s->touches, &ids[i]);
    return any;
}

void block_store_touch(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t epoch)
{
    pthread_mutex_lock(&s->touch_lock);
    while (any_leaving(s, ids, count))
        pthread_cond_wait(&s->left, &s->touch_lock);
    for (unsigned i = 0; i < count; i++)
        touch_note(&s->touches, &ids[i], epoch);
    pthread_mutex_unlock(&s->touch_lock);
}

void block_store_epoch(struct block_store *s, uint64_t epoch)
{
    pthread_mutex_lock(&s->touch_lock);
    touch_begin_at(&s->touches, epoch);
    pthread_mutex_unlock(&s->touch_lock);
}

uint64_t block_store_touched(struct block_store *s, const struct sha256 *id)
{
    pthread_mutex_lock(&s->touch_lock);
    uint64_t epoch = touch_of(&s->touches, id);
    pthread_mutex_unlock(&s->touch_lock);
    return epoch;
}

static enum err remove_leaving(struct block_store *s, const struct sha256 *ids, unsigned count, const bool *leaves,
                               struct block_store_removed *removed)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    uint8_t key[KEY_SIZE];
    uint64_t size = 0, stored_size = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!leaves[i])
            continue;
        struct store_present row;
        if (store_present(s, &ids[i], &row) == ERR_OK && row.there) {
            size += row.size;
            stored_size += row.stored_size;
        }
        removed->blocks++;
        store_key(key, KEY_BYTES, &ids[i]);
        rocksdb_writebatch_delete(batch, (const char *)key, sizeof key);
        store_key(key, KEY_PRESENT, &ids[i]);
        rocksdb_writebatch_delete(batch, (const char *)key, sizeof key);
    }
    enum err e = store_write(s, batch, 0, false);
    if (e == ERR_OK)
        store_count_net(s, -(int64_t)size, -(int64_t)stored_size);
    removed->bytes += size;
    rocksdb_writebatch_destroy(batch);
    return e;
}

enum err block_store_collect(struct block_store *s, const struct sha256 *ids, unsigned count, uint64_t limit,
                             struct block_store_removed *ret)
{
    bool leaves[BLOCK_STORE_COLLECT_MAX];
    struct block_store_removed removed = {0};
    enum err e = ERR_OK;
    CHECK(count <= BLOCK_STORE_COLLECT_MAX);
    pthread_mutex_lock(&s->collect_lock);
    pthread_mutex_lock(&s->touch_lock);
    unsigned leaving = touch_leave(&s->touches, ids, count, limit, leaves);
    pthread_mutex_unlock(&s->touch_lock);
    if (leaving > 0)
        e = remove_leaving(s, ids, count, leaves, &removed);
    pthread_mutex_lock(&s->touch_lock);
    touch_left(&s->touches);
    pthread_cond_broadcast(&s->left);
    pthread_mutex_unlock(&s->touch_lock);
    pthread_mutex_unlock(&s->collect_lock);
    if (e == ERR_OK)
        *ret = removed;
    return e;
}

/* How RocksDB's next compactions treat blobs: those in this part of the blob files, by age, are copied out of them. */
static enum err set_rewriting(struct block_store *s, double part)
{
    char cutoff[32], *message = NULL;
    snprintf(cutoff, sizeof cutoff, "%.3f", part);
    const char *const keys[] = {"enable_blob_garbage_collection", "blob_garbage_collection_age_cutoff"};
    const char *const values[] = {part > 0 ? "true" : "false", cutoff};
    rocksdb_set_options(s->db, 2, keys, values, &message);
    return rocks_result(message, "block store options", NULL);
}

static void compact_all(struct block_store *s, bool rewriting)
{
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
    if (rewriting)
        rocksdb_compactoptions_set_bottommost_level_compaction(options, BOTTOMMOST_FORCE_OPTIMIZED);
    rocksdb_compact_range_opt(s->db, options, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(options);
}

/* Which part of the blob files to copy the live blocks out of, oldest first: as many as there is room for. 0: it does
 * not pay. */
static double part_to_rewrite(struct block_store *s)
{
    uint64_t all = store_property(s, "rocksdb.live-blob-file-size"),
             garbage = MIN(store_property(s, "rocksdb.live-blob-file-garbage-size"), all);
    struct block_store_stat stat;
    block_store_stat(s, &stat);
    if (garbage < REWRITE_GARBAGE_MIN || garbage < all / REWRITE_GARBAGE_PARTS)
        return 0;
    double live = (double)(all - garbage), room = (double)stat.disk_free / 2;
    return live <= room ? 1 : room / live;
}

enum err block_store_compact(struct block_store *s)
{
    char *message = NULL;
    /* What was removed lately is in memory, where no compaction looks. */
    rocksdb_flush(s->db, s->flush, &message);
    TRY(store_settle(s, rocks_result(message, "block flush", NULL)));
    /* First only the rows, which are few bytes: a blob file in which nothing is left goes by that. */
    compact_all(s, false);
    double part = part_to_rewrite(s);
    if (part <= 0)
        return ERR_OK;
    TRY(set_rewriting(s, part));
    compact_all(s, true);
    return set_rewriting(s, 0);
}

void block_store_rest(struct block_store *s)
{
    if (atomic_load(&s->failed) || store_property(s, "rocksdb.cur-size-active-mem-table") < REST_BYTES_MIN)
        return;
    char *message = NULL;
    rocksdb_flush(s->db, s->flush, &message);
    (void)!store_settle(s, rocks_result(message, "block flush", NULL));
}

void block_store_compact_stop(struct block_store *s)
{
    rocksdb_disable_manual_compaction(s->db);
}
