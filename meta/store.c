#include "meta/store.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rocks.h"

/* Whatever ails a read, it is the disk's: no outcome of an operation, which other replicas would not see. */
static enum err read_result(char *message, const char *what)
{
    enum err e = rocks_result(message, what, NULL);
    return e == ERR_OK || e == ERR_CORRUPT ? e : ERR_IO;
}

static enum err take_value(char *value, size_t size, char *message, struct arena *a, struct slice *ret, bool *ret_found)
{
    TRY(read_result(message, "metadata read"));
    *ret_found = value != NULL;
    if (value)
        *ret = arena_slice(a, SLICE(value, size));
    rocksdb_free(value);
    return ERR_OK;
}

static struct slice key_slice(const struct schema_key *key)
{
    return SLICE(key->bytes, key->size);
}

enum err store_get_at(struct meta *m, struct slice key, struct slice *ret, bool *ret_found)
{
    const struct written_row *row = written_get(&m->written, key);
    if (!row)
        return store_read_at(m, key, &m->arena, ret, ret_found);
    *ret_found = !row->deleted;
    if (!row->deleted)
        *ret = row->value;
    return ERR_OK;
}

enum err store_get(struct meta *m, const struct schema_key *key, struct slice *ret, bool *ret_found)
{
    return store_get_at(m, key_slice(key), ret, ret_found);
}

enum err store_read_at(struct meta *m, struct slice key, struct arena *a, struct slice *ret, bool *ret_found)
{
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_get(m->db, m->read, (const char *)key.data, key.size, &size, &message);
    return take_value(value, size, message, a, ret, ret_found);
}

enum err store_read(struct meta *m, const struct schema_key *key, struct arena *a, struct slice *ret, bool *ret_found)
{
    return store_read_at(m, key_slice(key), a, ret, ret_found);
}

void store_put_scratch_at(struct meta *m, struct slice key)
{
    struct slice value = arena_slice(&m->arena, bytes_slice(&m->scratch));
    rocksdb_writebatch_put(m->batch, (const char *)key.data, key.size, (const char *)value.data, value.size);
    written_put(&m->written, arena_slice(&m->arena, key), value, false);
    bytes_clear(&m->scratch);
    m->rows++;
}

void store_put_scratch(struct meta *m, const struct schema_key *key)
{
    store_put_scratch_at(m, key_slice(key));
}

void store_delete_at(struct meta *m, struct slice key)
{
    rocksdb_writebatch_delete(m->batch, (const char *)key.data, key.size);
    written_put(&m->written, arena_slice(&m->arena, key), SLICE(NULL, 0), true);
    m->rows++;
}

void store_delete(struct meta *m, const struct schema_key *key)
{
    store_delete_at(m, key_slice(key));
}

void store_clear(struct meta *m)
{
    rocksdb_writebatch_clear(m->batch);
    written_clear(&m->written);
}

void store_count_settle(struct meta *m)
{
    if (m->count_change == 0)
        return;
    row_count_encode(m->count_change, &m->scratch);
    rocksdb_writebatch_merge(m->batch, (const char *)m->counted.bytes, m->counted.size, (const char *)m->scratch.data,
                             m->scratch.size);
    bytes_clear(&m->scratch);
    m->count_change = 0;
}

void store_count(struct meta *m, const struct schema_key *key, int64_t change)
{
    if (!slice_equal(SLICE(key->bytes, key->size), SLICE(m->counted.bytes, m->counted.size))) {
        store_count_settle(m);
        m->counted = *key;
    }
    m->count_change += change;
    m->rows++;
}

static void range_init_at(struct meta *m, struct store_range *r, struct slice lower, struct slice upper)
{
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(r->read, m->snapshot);
    rocksdb_readoptions_set_iterate_lower_bound(r->read, (const char *)lower.data, lower.size);
    rocksdb_readoptions_set_iterate_upper_bound(r->read, (const char *)upper.data, upper.size);
    r->it = rocksdb_create_iterator(m->db, r->read);
}

void store_range_open_unplaced(struct meta *m, struct store_range *r, const struct schema_key *lower,
                               const struct schema_key *upper)
{
    r->lower = *lower;
    r->upper = *upper;
    range_init_at(m, r, key_slice(&r->lower), key_slice(&r->upper));
}

void store_range_open_at(struct meta *m, struct store_range *r, struct slice lower, struct slice upper)
{
    range_init_at(m, r, lower, upper);
    rocksdb_iter_seek_to_first(r->it);
}

void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *lower,
                      const struct schema_key *upper)
{
    store_range_open_unplaced(m, r, lower, upper);
    rocksdb_iter_seek_to_first(r->it);
}

void store_range_open_prefix(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size)
{
    struct schema_key upper = schema_prefix_end(from, prefix_size);
    store_range_open(m, r, from, &upper);
}

void store_range_open_last(struct meta *m, struct store_range *r, const struct schema_key *lower,
                           const struct schema_key *upper)
{
    store_range_open_unplaced(m, r, lower, upper);
    rocksdb_iter_seek_to_last(r->it);
}

void store_range_seek(struct store_range *r, const struct schema_key *at)
{
    rocksdb_iter_seek(r->it, (const char *)at->bytes, at->size);
}

bool store_range_get(const struct store_range *r, struct slice *ret_key, struct slice *ret_value)
{
    if (!rocksdb_iter_valid(r->it))
        return false;
    size_t size = 0;
    const char *key = rocksdb_iter_key(r->it, &size);
    *ret_key = SLICE(key, size);
    const char *value = rocksdb_iter_value(r->it, &size);
    *ret_value = SLICE(value, size);
    return true;
}

void store_range_next(struct store_range *r)
{
    rocksdb_iter_next(r->it);
}

void store_range_previous(struct store_range *r)
{
    rocksdb_iter_prev(r->it);
}

enum err store_range_close(struct store_range *r)
{
    char *message = NULL;
    rocksdb_iter_get_error(r->it, &message);
    rocksdb_iter_destroy(r->it);
    rocksdb_readoptions_destroy(r->read);
    r->it = NULL;
    return read_result(message, "metadata scan");
}
