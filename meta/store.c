#include "meta/store.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rocks.h"

static enum err take_value(char *value, size_t size, char *message, struct arena *a, struct slice *ret, bool *ret_found)
{
    TRY(rocks_result(message, "metadata read", NULL));
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

static void range_init(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size)
{
    CHECK(prefix_size <= from->size);
    memcpy(r->prefix, from->bytes, prefix_size);
    r->prefix_size = prefix_size;
    r->it = rocksdb_create_iterator(m->db, m->read);
}

void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size)
{
    range_init(m, r, from, prefix_size);
    rocksdb_iter_seek(r->it, (const char *)from->bytes, from->size);
}

void store_range_open_before(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size)
{
    range_init(m, r, from, prefix_size);
    rocksdb_iter_seek_for_prev(r->it, (const char *)from->bytes, from->size);
}

bool store_range_get(const struct store_range *r, struct slice *ret_key, struct slice *ret_value)
{
    if (!rocksdb_iter_valid(r->it))
        return false;
    size_t size = 0;
    const char *key = rocksdb_iter_key(r->it, &size);
    if (size < r->prefix_size || memcmp(key, r->prefix, r->prefix_size) != 0)
        return false;
    *ret_key = SLICE(key, size);
    const char *value = rocksdb_iter_value(r->it, &size);
    *ret_value = SLICE(value, size);
    return true;
}

void store_range_next(struct store_range *r)
{
    rocksdb_iter_next(r->it);
}

enum err store_range_close(struct store_range *r)
{
    char *message = NULL;
    rocksdb_iter_get_error(r->it, &message);
    rocksdb_iter_destroy(r->it);
    r->it = NULL;
    return rocks_result(message, "metadata scan", NULL);
}
