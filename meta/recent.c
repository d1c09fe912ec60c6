#include "meta/recent.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define ROWS_MAX 256u /* a search is eight comparisons; a batch of them takes RocksDB less than half a millisecond */
#define BYTES_MAX (1u << 20) /* small files have their contents in rows, too */

bool recent_is_full(const struct recent *r)
{
    return r->count >= ROWS_MAX || arena_size(&r->arena) >= BYTES_MAX;
}

size_t recent_lower_bound(const struct recent *r, struct slice key)
{
    size_t from = 0, to = r->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (slice_compare(r->rows[middle]->key, key) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

const struct recent_row *recent_get(const struct recent *r, struct slice key)
{
    size_t at = recent_lower_bound(r, key);
    return at < r->count && slice_equal(r->rows[at]->key, key) ? r->rows[at] : NULL;
}

static struct recent_row *get_or_insert(struct recent *r, struct slice key, enum row_change change)
{
    size_t at = recent_lower_bound(r, key);
    if (at < r->count && slice_equal(r->rows[at]->key, key))
        return r->rows[at];
    if (r->count == r->capacity) {
        r->capacity = MAX(2 * r->capacity, (size_t)ROWS_MAX);
        r->rows = mem_realloc(r->rows, r->capacity * sizeof(*r->rows));
    }
    struct recent_row *row = arena_zalloc(&r->arena, sizeof *row);
    row->key = arena_slice(&r->arena, key);
    row->change = change;
    memmove(r->rows + at + 1, r->rows + at, (r->count - at) * sizeof(*r->rows));
    r->rows[at] = row;
    r->count++;
    return row;
}

void recent_put(struct recent *r, struct slice key, struct slice value)
{
    struct recent_row *row = get_or_insert(r, key, ROW_PUT);
    CHECK(row->change != ROW_COUNT);
    row->change = ROW_PUT;
    if (value.size > row->room) {
        row->place = arena_alloc(&r->arena, value.size);
        row->room = value.size;
    }
    if (value.size > 0)
        memcpy(row->place, value.data, value.size);
    row->value = SLICE(row->place, value.size);
}

void recent_delete(struct recent *r, struct slice key)
{
    struct recent_row *row = get_or_insert(r, key, ROW_DELETE);
    CHECK(row->change != ROW_COUNT);
    row->change = ROW_DELETE;
}

void recent_add_count(struct recent *r, struct slice key, int64_t change)
{
    struct recent_row *row = get_or_insert(r, key, ROW_COUNT);
    CHECK(row->change == ROW_COUNT);
    row->count += change;
}

void recent_clear(struct recent *r)
{
    r->count = 0;
    arena_reset(&r->arena);
}

void recent_free(struct recent *r)
{
    free(r->rows);
    arena_free(&r->arena);
    *r = (struct recent){0};
}
