#include "meta/store.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rocks.h"

#define DIRECT_CHANGES 128u /* a command that changes more than that goes to RocksDB as it is */

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

/* What RocksDB counts, none if it has no such row, and what was counted since. */
static enum err add_recent_count(const struct recent_row *row, bool has_stored, struct slice stored, int64_t *ret)
{
    *ret = 0;
    if (has_stored)
        TRY(row_count_decode(stored, ret));
    return __builtin_add_overflow(*ret, row->count, ret) ? ERR_CORRUPT : ERR_OK;
}

static enum err get_stored(struct meta *m, struct slice key, struct arena *a, struct slice *ret, bool *ret_found)
{
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_get(m->db, m->read, (const char *)key.data, key.size, &size, &message);
    return take_value(value, size, message, a, ret, ret_found);
}

static enum err get_count(struct meta *m, const struct recent_row *row, struct arena *a, struct slice *ret,
                          bool *ret_found)
{
    _cleanup_(bytes_free) struct bytes encoded = {0};
    struct slice stored = {0};
    int64_t count;
    TRY(get_stored(m, row->key, a, &stored, ret_found));
    TRY(add_recent_count(row, *ret_found, stored, &count));
    row_count_encode(count, &encoded);
    *ret = arena_slice(a, bytes_slice(&encoded));
    *ret_found = true;
    return ERR_OK;
}

enum err store_read_at(struct meta *m, struct slice key, struct arena *a, struct slice *ret, bool *ret_found)
{
    const struct recent_row *row = recent_get(&m->recent, key);
    if (!row)
        return get_stored(m, key, a, ret, ret_found);
    if (row->change == ROW_COUNT)
        return get_count(m, row, a, ret, ret_found);
    *ret_found = row->change == ROW_PUT;
    if (*ret_found)
        *ret = arena_slice(a, row->value);
    return ERR_OK;
}

enum err store_read(struct meta *m, const struct schema_key *key, struct arena *a, struct slice *ret, bool *ret_found)
{
    return store_read_at(m, key_slice(key), a, ret, ret_found);
}

static void note_change(struct meta *m, struct store_change change)
{
    if (m->change_count == m->change_capacity) {
        m->change_capacity = MAX(2 * m->change_capacity, (size_t)64);
        m->changes = mem_realloc(m->changes, m->change_capacity * sizeof *m->changes);
    }
    m->changes[m->change_count++] = change;
}

void store_put_scratch_at(struct meta *m, struct slice key)
{
    struct store_change c = {.change = ROW_PUT,
                             .key = arena_slice(&m->arena, key),
                             .value = arena_slice(&m->arena, bytes_slice(&m->scratch))};
    rocksdb_writebatch_put(m->batch, (const char *)c.key.data, c.key.size, (const char *)c.value.data, c.value.size);
    written_put(&m->written, c.key, c.value, false);
    note_change(m, c);
    bytes_clear(&m->scratch);
    m->rows++;
}

void store_put_scratch(struct meta *m, const struct schema_key *key)
{
    store_put_scratch_at(m, key_slice(key));
}

void store_delete_at(struct meta *m, struct slice key)
{
    struct store_change c = {.change = ROW_DELETE, .key = arena_slice(&m->arena, key)};
    rocksdb_writebatch_delete(m->batch, (const char *)c.key.data, c.key.size);
    written_put(&m->written, c.key, SLICE(NULL, 0), true);
    note_change(m, c);
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
    m->change_count = 0;
}

void store_count_settle(struct meta *m)
{
    if (m->count_change == 0)
        return;
    row_count_encode(m->count_change, &m->scratch);
    rocksdb_writebatch_merge(m->batch, (const char *)m->counted.bytes, m->counted.size, (const char *)m->scratch.data,
                             m->scratch.size);
    note_change(m, (struct store_change){.change = ROW_COUNT,
                                         .key = arena_slice(&m->arena, key_slice(&m->counted)),
                                         .count = m->count_change});
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

/* ---- into RocksDB ---- */

static enum err write_batch(struct meta *m, rocksdb_writebatch_t *batch)
{
    char *message = NULL;
    rocksdb_write(m->db, m->write, batch, &message);
    return rocks_result(message, "metadata write", NULL);
}

static void add_to_out(struct meta *m, const struct recent_row *row)
{
    const char *key = (const char *)row->key.data;
    if (row->change == ROW_PUT) {
        rocksdb_writebatch_put(m->out, key, row->key.size, (const char *)row->value.data, row->value.size);
    } else if (row->change == ROW_DELETE) {
        rocksdb_writebatch_delete(m->out, key, row->key.size);
    } else if (row->count != 0) {
        bytes_clear(&m->scratch);
        row_count_encode(row->count, &m->scratch);
        rocksdb_writebatch_merge(m->out, key, row->key.size, (const char *)m->scratch.data, m->scratch.size);
        bytes_clear(&m->scratch);
    }
}

enum err store_write_out(struct meta *m)
{
    if (m->recent.count == 0)
        return ERR_OK;
    CHECK(m->open_ranges == 0);
    rocksdb_writebatch_clear(m->out);
    for (size_t i = 0; i < m->recent.count; i++)
        add_to_out(m, m->recent.rows[i]);
    TRY(write_batch(m, m->out));
    recent_clear(&m->recent);
    return ERR_OK;
}

static void add_to_recent(struct meta *m, const struct store_change *c)
{
    if (c->change == ROW_PUT)
        recent_put(&m->recent, c->key, c->value);
    else if (c->change == ROW_DELETE)
        recent_delete(&m->recent, c->key);
    else
        recent_add_count(&m->recent, c->key, c->count);
}

enum err store_commit(struct meta *m)
{
    bool direct = m->change_count > DIRECT_CHANGES;
    CHECK(m->open_ranges == 0);
    /* Before anything of this command is among the rows: when it fails, they are what they were. */
    if (direct || recent_is_full(&m->recent))
        TRY(store_write_out(m));
    if (direct)
        TRY(write_batch(m, m->batch));
    for (size_t i = 0; i < m->change_count; i++) {
        const struct store_change *c = &m->changes[i];
        if (c->key.data[0] == SCHEMA_TABLE_INLINE_BLOCK)
            inline_block_committed(m, c);
        if (!direct)
            add_to_recent(m, c);
    }
    return ERR_OK;
}

/* ---- ranges ---- */

static void range_init_at(struct meta *m, struct store_range *r, struct slice lower, struct slice upper)
{
    r->m = m;
    m->open_ranges++;
    r->begin = r->at = recent_lower_bound(&m->recent, lower);
    r->end = recent_lower_bound(&m->recent, upper);
    r->backwards = r->is_recent = false;
    r->sum = (struct bytes){0};
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(r->read, m->snapshot);
    rocksdb_readoptions_set_iterate_lower_bound(r->read, (const char *)lower.data, lower.size);
    rocksdb_readoptions_set_iterate_upper_bound(r->read, (const char *)upper.data, upper.size);
    r->it = rocksdb_create_iterator(m->db, r->read);
}

static struct slice iterator_key(const struct store_range *r)
{
    size_t size = 0;
    const char *key = rocksdb_iter_key(r->it, &size);
    return SLICE(key, size);
}

static struct slice iterator_value(const struct store_range *r)
{
    size_t size = 0;
    const char *value = rocksdb_iter_value(r->it, &size);
    return SLICE(value, size);
}

/* The recent row and RocksDB's with the same key are one: a change of it is what it is now, and a count is both. */
static bool is_gone(struct store_range *r, const struct recent_row *row, bool has_stored)
{
    int64_t count;
    if (row->change != ROW_COUNT)
        return row->change == ROW_DELETE;
    struct slice stored = has_stored ? iterator_value(r) : SLICE(NULL, 0);
    bytes_clear(&r->sum);
    if (add_recent_count(row, has_stored, stored, &count) == ERR_OK)
        row_count_encode(count, &r->sum); /* else it is empty, which nobody can decode */
    return false;
}

/* Which of the two is next, where the iterator and `at` stand. */
static void place(struct store_range *r)
{
    r->is_recent = false;
    while (r->backwards ? r->at > r->begin : r->at < r->end) {
        const struct recent_row *row = r->m->recent.rows[r->backwards ? r->at - 1 : r->at];
        bool valid = rocksdb_iter_valid(r->it);
        int order = valid ? slice_compare(iterator_key(r), row->key) : 0;
        if (valid && (r->backwards ? order > 0 : order < 0))
            return;
        bool both = valid && order == 0, gone = is_gone(r, row, both);
        if (both && r->backwards)
            rocksdb_iter_prev(r->it);
        else if (both)
            rocksdb_iter_next(r->it);
        if (!gone) {
            r->is_recent = true;
            return;
        }
        r->at = r->backwards ? r->at - 1 : r->at + 1;
    }
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
    place(r);
}

void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *lower,
                      const struct schema_key *upper)
{
    store_range_open_unplaced(m, r, lower, upper);
    rocksdb_iter_seek_to_first(r->it);
    place(r);
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
    r->backwards = true;
    r->at = r->end;
    place(r);
}

void store_range_seek(struct store_range *r, const struct schema_key *at)
{
    rocksdb_iter_seek(r->it, (const char *)at->bytes, at->size);
    r->backwards = false;
    if (r->begin < r->end)
        r->at = MIN(MAX(recent_lower_bound(&r->m->recent, key_slice(at)), r->begin), r->end);
    place(r);
}

bool store_range_get(const struct store_range *r, struct slice *ret_key, struct slice *ret_value)
{
    if (r->is_recent) {
        const struct recent_row *row = r->m->recent.rows[r->backwards ? r->at - 1 : r->at];
        *ret_key = row->key;
        *ret_value = row->change == ROW_COUNT ? bytes_slice(&r->sum) : row->value;
        return true;
    }
    if (!rocksdb_iter_valid(r->it))
        return false;
    *ret_key = iterator_key(r);
    *ret_value = iterator_value(r);
    return true;
}

void store_range_next(struct store_range *r)
{
    CHECK(!r->backwards);
    if (r->is_recent)
        r->at++;
    else
        rocksdb_iter_next(r->it);
    place(r);
}

void store_range_previous(struct store_range *r)
{
    CHECK(r->backwards);
    if (r->is_recent)
        r->at--;
    else
        rocksdb_iter_prev(r->it);
    place(r);
}

enum err store_range_close(struct store_range *r)
{
    char *message = NULL;
    rocksdb_iter_get_error(r->it, &message);
    rocksdb_iter_destroy(r->it);
    rocksdb_readoptions_destroy(r->read);
    r->it = NULL;
    bytes_free(&r->sum);
    r->m->open_ranges--;
    return read_result(message, "metadata scan");
}
