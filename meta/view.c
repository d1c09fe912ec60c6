/* view.c: the state as it is at one index, for another thread; and what all its rows are as one hash. */
#include "base/mem.h"
#include "base/rocks.h"
#include "meta/check.h"

struct meta *meta_view_open(struct meta *m)
{
    if (store_write_out(m) != ERR_OK)
        return NULL;
    struct meta *view = MEM_NEW(struct meta);
    view->db = m->db;
    view->snapshot = rocksdb_create_snapshot(m->db);
    view->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(view->read, view->snapshot);
    view->state = m->state;
    view->cluster = m->cluster;
    view->initialised = m->initialised;
    view->level = m->level, view->level_max = m->level_max;
    return view;
}

void meta_view_close(struct meta *view)
{
    if (!view)
        return;
    rocksdb_readoptions_destroy(view->read);
    rocksdb_release_snapshot(view->db, view->snapshot);
    touch_free(view);
    free(view);
}

static bool is_no_row(struct slice key, struct slice value)
{
    int64_t count;
    return key.data[0] == SCHEMA_TABLE_BLOCK_REF && row_count_decode(value, &count) == ERR_OK && count == 0;
}

enum err check_hash_rows(struct meta *m, struct meta_check *check, uint64_t counts[256], struct sha256 *ret)
{
    struct sha256 hash = {{0}};
    TRY(store_write_out(m));
    rocksdb_iterator_t *it = rocksdb_create_iterator(m->db, m->read);
    _cleanup_(bytes_free) struct bytes row = {0};
    bool stopped = false;
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it) && !stopped; rocksdb_iter_next(it)) {
        size_t key_size, value_size;
        const char *key = rocksdb_iter_key(it, &key_size), *value = rocksdb_iter_value(it, &value_size);
        stopped = check_row_read(check);
        if (key_size == 0 || is_no_row(SLICE(key, key_size), SLICE(value, value_size)))
            continue; /* whether a count of zero is still there depends on compaction */
        counts[(uint8_t)key[0]]++;
        bytes_clear(&row);
        bytes_blob(&row, SLICE(key, key_size));
        bytes_blob(&row, SLICE(value, value_size));
        sha256_of2(SLICE(hash.bytes, SHA256_SIZE), bytes_slice(&row), &hash);
    }
    char *message = NULL;
    rocksdb_iter_get_error(it, &message);
    rocksdb_iter_destroy(it);
    TRY(rocks_result(message, "metadata scan", NULL));
    if (stopped)
        return ERR_CANCELLED;
    *ret = hash;
    return ERR_OK;
}

enum err meta_state_hash(struct meta *m, struct sha256 *ret)
{
    struct meta_check check = {.on_row = NULL};
    uint64_t counts[256] = {0};
    return check_hash_rows(m, &check, counts, ret);
}
