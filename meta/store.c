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

enum err store_get(struct meta *m, const struct schema_key *key, struct slice *ret, bool *ret_found)
{
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_writebatch_wi_get_from_batch_and_db(m->batch, m->db, m->read, (const char *)key->bytes,
                                                              key->size, &size, &message);
    return take_value(value, size, message, &m->arena, ret, ret_found);
}

enum err store_read(struct meta *m, const struct schema_key *key, struct arena *a, struct slice *ret, bool *ret_found)
{
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_get(m->db, m->read, (const char *)key->bytes, key->size, &size, &message);
    return take_value(value, size, message, a, ret, ret_found);
}

void store_put_scratch(struct meta *m, const struct schema_key *key)
{
    rocksdb_writebatch_wi_put(m->batch, (const char *)key->bytes, key->size, (const char *)m->scratch.data,
                              m->scratch.size);
    bytes_clear(&m->scratch);
    m->rows++;
}

void store_delete(struct meta *m, const struct schema_key *key)
{
    rocksdb_writebatch_wi_delete(m->batch, (const char *)key->bytes, key->size);
    m->rows++;
}

void store_count(struct meta *m, const struct schema_key *key, int64_t change)
{
    row_count_encode(change, &m->scratch);
    rocksdb_writebatch_wi_merge(m->batch, (const char *)key->bytes, key->size, (const char *)m->scratch.data,
                                m->scratch.size);
    bytes_clear(&m->scratch);
    m->rows++;
}

static void range_init(struct meta *m, struct store_range *r, const struct schema_key *lower,
                       const struct schema_key *upper)
{
    r->lower = *lower;
    r->upper = *upper;
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(r->read, (const char *)r->lower.bytes, r->lower.size);
    rocksdb_readoptions_set_iterate_upper_bound(r->read, (const char *)r->upper.bytes, r->upper.size);
    r->it = rocksdb_create_iterator(m->db, r->read);
}

void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *lower,
                      const struct schema_key *upper)
{
    range_init(m, r, lower, upper);
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
    range_init(m, r, lower, upper);
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
