/* content.c: extents of contents in rows, and the count of who names each block. */
#include <string.h>

#include "base/check.h"
#include "meta/extent.h"
#include "meta/store.h"

static enum err reference(struct meta *m, const struct meta_extent *e, int change)
{
    struct schema_key key = schema_block_ref(&e->block);
    struct slice value = {0};
    bool found;
    int64_t count = 0;
    TRY(store_get(m, &key, &value, &found));
    if (found) {
        TRY(row_count_decode(value, &count));
    }
    if (change < 0 && count == 0)
        return ERR_CORRUPT;
    count += change;
    if (count == 0) {
        store_delete(m, &key);
    } else {
        row_count_encode(count, &m->scratch);
        store_put_scratch(m, &key);
    }
    return ERR_OK;
}

static enum err add_row(struct meta *m, uint64_t content_id, const struct meta_extent *e, uint64_t *allocated)
{
    struct schema_key key = schema_extent(content_id, e->file_offset);
    row_extent_encode(e, &m->scratch);
    store_put_scratch(m, &key);
    TRY(reference(m, e, 1));
    if (allocated) {
        *allocated += e->length;
        m->next.bytes += e->length;
    }
    return ERR_OK;
}

static enum err remove_row(struct meta *m, uint64_t content_id, const struct meta_extent *e, uint64_t *allocated)
{
    struct schema_key key = schema_extent(content_id, e->file_offset);
    store_delete(m, &key);
    TRY(reference(m, e, -1));
    if (allocated) {
        CHECK(*allocated >= e->length && m->next.bytes >= e->length);
        *allocated -= e->length;
        m->next.bytes -= e->length;
    }
    return ERR_OK;
}

static struct meta_extent *grow(struct arena *a, const struct meta_extent *list, unsigned count, unsigned *capacity)
{
    *capacity *= 2;
    struct meta_extent *more = arena_alloc(a, *capacity * sizeof *more);
    memcpy(more, list, count * sizeof *more);
    return more;
}

void content_range_open(struct meta *m, struct store_range *range, uint64_t content_id, uint64_t from, uint64_t to)
{
    /* One that begins before `from` may reach into the range, but none is longer than a block. */
    uint64_t first = from > LIMIT_BLOCK_BYTES ? from - LIMIT_BLOCK_BYTES : 0;
    struct schema_key lower = schema_extent(content_id, first), upper = schema_extent(content_id, to);
    struct schema_key at = schema_extent(content_id, from);
    store_range_open(m, range, &lower, &upper);
    if (from > first)
        store_range_seek_before(range, &at);
}

/* The written extents that overlap [from, to), at most max + 1 of them, into the arena. */
static enum err collect(struct meta *m, uint64_t content_id, uint64_t from, uint64_t to, unsigned max,
                        struct meta_extent **ret, unsigned *ret_count)
{
    unsigned capacity = 16, count = 0;
    struct meta_extent *list = arena_alloc(&m->arena, capacity * sizeof *list);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;

    content_range_open(m, &range, content_id, from, to);
    while (e == ERR_OK && count <= max && store_range_get(&range, &key, &value)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK)
            break;
        if (extent.file_offset + extent.length > from) {
            if (count == capacity)
                list = grow(&m->arena, list, count, &capacity);
            list[count++] = extent;
        }
        store_range_next(&range);
    }
    enum err closed = store_range_close(&range);
    if (e == ERR_OK)
        e = closed;
    *ret = list;
    *ret_count = count;
    return e;
}

/* Rows that removing one extent touches at most: itself, its count, two parts and their counts. */
#define ROWS_PER_CUT 4u

void content_begin(struct content_cutter *c, struct meta *m, uint64_t content_id, uint64_t *allocated)
{
    *c = (struct content_cutter){.m = m, .content_id = content_id, .allocated = allocated};
}

/* The parts of an old extent around [from, to): the head becomes a row, the tail the rest. */
static enum err keep_parts(struct content_cutter *c, const struct meta_extent *old, uint64_t from, uint64_t to)
{
    struct meta_extent parts[2];
    unsigned count = extent_subtract(old, from, to, parts);
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].file_offset < from) {
            TRY(add_row(c->m, c->content_id, &parts[i], c->allocated));
        } else {
            CHECK(!c->has_rest);
            c->rest = parts[i];
            c->has_rest = true;
        }
    }
    return ERR_OK;
}

static enum err cut(struct content_cutter *c, uint64_t from, uint64_t to)
{
    struct meta *m = c->m;
    if (c->has_rest) {
        struct meta_extent rest = c->rest;
        c->has_rest = false;
        TRY(keep_parts(c, &rest, from, to));
    }
    if (c->has_rest)
        return ERR_OK; /* it reaches behind this range, so nothing else is in it */
    struct meta_extent *old;
    unsigned count;
    unsigned left = m->rows < LIMIT_COMMAND_ROWS ? (LIMIT_COMMAND_ROWS - m->rows) / ROWS_PER_CUT : 0;
    TRY(collect(m, c->content_id, from, to, left, &old, &count));
    if (count > left)
        return ERR_SPLIT;
    for (unsigned i = 0; i < count; i++) {
        if (c->has_removed && old[i].file_offset <= c->removed_up_to)
            continue;
        TRY(remove_row(m, c->content_id, &old[i], c->allocated));
        c->has_removed = true;
        c->removed_up_to = old[i].file_offset;
        TRY(keep_parts(c, &old[i], from, to));
    }
    return ERR_OK;
}

enum err content_replace(struct content_cutter *c, const struct meta_extent *e)
{
    TRY(cut(c, e->file_offset, e->file_offset + e->length));
    if (c->m->rows + ROWS_PER_CUT > LIMIT_COMMAND_ROWS)
        return ERR_SPLIT;
    /* What no row covers is a hole. */
    return meta_extent_is_hole(e) ? ERR_OK : add_row(c->m, c->content_id, e, c->allocated);
}

enum err content_end(struct content_cutter *c)
{
    if (!c->has_rest)
        return ERR_OK;
    c->has_rest = false;
    return add_row(c->m, c->content_id, &c->rest, c->allocated);
}

enum err content_trim(struct meta *m, uint64_t content_id, uint64_t from, unsigned max, uint64_t *allocated,
                      uint64_t *ret_end)
{
    struct schema_key lower = schema_extent(content_id, from > LIMIT_BLOCK_BYTES ? from - LIMIT_BLOCK_BYTES : 0);
    struct schema_key upper = schema_extent(content_id, UINT64_MAX);
    struct store_range range;
    struct slice key, value;
    unsigned count = 0;
    enum err e = ERR_OK;
    unsigned capacity = 16;
    struct meta_extent *found = arena_alloc(&m->arena, capacity * sizeof *found);
    *ret_end = from;
    store_range_open_last(m, &range, &lower, &upper);
    while (e == ERR_OK && store_range_get(&range, &key, &value)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK || extent.file_offset + extent.length <= from)
            break;
        if (count == max) {
            *ret_end = extent.file_offset + extent.length;
            break;
        }
        if (count == capacity)
            found = grow(&m->arena, found, count, &capacity);
        found[count++] = extent;
        store_range_previous(&range);
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    for (unsigned i = 0; i < count; i++) {
        struct meta_extent parts[2];
        unsigned kept = extent_subtract(&found[i], from, UINT64_MAX, parts);
        TRY(remove_row(m, content_id, &found[i], allocated));
        for (unsigned p = 0; p < kept; p++)
            TRY(add_row(m, content_id, &parts[p], allocated));
    }
    return ERR_OK;
}
