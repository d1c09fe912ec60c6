/* content.c: extents of contents in rows, and the count of who names each block. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

#define ROWS_PER_EXTENT 2u /* itself and the count of its block */
#define ROWS_PER_CUT 8u    /* besides the extents that go: what is left of the first and the last, and the new one */

static struct schema_key key_of(uint64_t content_id, const struct meta_extent *e)
{
    return schema_extent(content_id, e->file_offset + e->length);
}

static void add_row(struct meta *m, uint64_t content_id, const struct meta_extent *e, uint64_t *allocated)
{
    struct schema_key key = key_of(content_id, e), block = schema_block_ref(&e->block);
    row_extent_encode(e, &m->scratch);
    store_put_scratch(m, &key);
    store_count(m, &block, 1);
    if (allocated) {
        *allocated += e->length;
        m->next.bytes += e->length;
    }
}

static enum err remove_row(struct meta *m, uint64_t content_id, const struct meta_extent *e, uint64_t *allocated)
{
    struct schema_key key = key_of(content_id, e), block = schema_block_ref(&e->block);
    store_delete(m, &key);
    store_count(m, &block, -1);
    m->next.released++;
    m->next.released_epoch = m->next.epoch;
    if (allocated) {
        if (*allocated < e->length || m->next.bytes < e->length)
            return ERR_CORRUPT;
        *allocated -= e->length;
        m->next.bytes -= e->length;
    }
    return ERR_OK;
}

enum err content_count(struct meta *m, const struct sha256 *block, struct arena *a, int64_t *ret)
{
    struct schema_key key = schema_block_ref(block);
    struct slice value = {0};
    bool found;
    *ret = 0;
    TRY(store_read(m, &key, a, &value, &found));
    return found ? row_count_decode(value, ret) : ERR_OK;
}

/* Where the extents of [from, to) are. */
static void bounds_of(uint64_t content_id, uint64_t from, uint64_t to, struct schema_key *ret_lower,
                      struct schema_key *ret_upper)
{
    /* No extent is longer than a block. */
    uint64_t end = to > UINT64_MAX - LIMIT_BLOCK_BYTES ? UINT64_MAX : to + LIMIT_BLOCK_BYTES;
    *ret_lower = schema_extent(content_id, from == UINT64_MAX ? from : from + 1);
    *ret_upper = schema_extent(content_id, end);
}

void content_range_open(struct meta *m, struct store_range *range, uint64_t content_id, uint64_t from, uint64_t to)
{
    struct schema_key lower, upper;
    bounds_of(content_id, from, to, &lower, &upper);
    store_range_open(m, range, &lower, &upper);
}

struct extent_list {
    struct meta_extent *items; /* in the arena of the apply */
    unsigned count, capacity;
};

static void list_add(struct meta *m, struct extent_list *l, const struct meta_extent *e)
{
    if (l->count == l->capacity) {
        l->capacity = MAX(2 * l->capacity, 16u);
        struct meta_extent *more = arena_alloc(&m->arena, l->capacity * sizeof *more);
        if (l->count > 0)
            memcpy(more, l->items, l->count * sizeof *more);
        l->items = more;
    }
    l->items[l->count++] = *e;
}

/* The written extents that overlap [from, to) or touch it. ERR_SPLIT when there are more than max. */
static enum err collect(struct content_cutter *c, uint64_t from, uint64_t to, unsigned max, struct extent_list *ret)
{
    struct slice key, value;
    struct schema_key at = schema_extent(c->content_id, from);
    if (c->is_empty)
        return ERR_OK;
    store_range_seek(&c->range, &at);
    for (; store_range_get(&c->range, &key, &value); store_range_next(&c->range)) {
        struct meta_extent extent;
        TRY(row_extent_decode(key, value, &extent));
        if (extent.file_offset > to)
            break;
        if (ret->count == max)
            return ERR_SPLIT;
        list_add(c->m, ret, &extent);
    }
    return ERR_OK;
}

void content_begin(struct content_cutter *c, struct meta *m, uint64_t content_id, uint64_t from, uint64_t to,
                   uint64_t *allocated)
{
    *c = (struct content_cutter){.m = m, .content_id = content_id, .allocated = allocated};
    struct schema_key lower, upper;
    c->is_empty = allocated && *allocated == 0;
    if (c->is_empty)
        return;
    bounds_of(content_id, from > 0 ? from - 1 : 0, to + 1, &lower, &upper);
    store_range_open_unplaced(m, &c->range, &lower, &upper);
}

/* The next extent of the new contents, in file order. */
static void emit(struct content_cutter *c, const struct meta_extent *e)
{
    struct meta_extent both;
    if (c->has_pending && extent_merge(&c->pending, e, &both)) {
        c->pending = both;
        return;
    }
    if (c->has_pending)
        add_row(c->m, c->content_id, &c->pending, c->allocated);
    c->pending = *e;
    c->has_pending = true;
}

static enum err take_out(struct content_cutter *c, const struct meta_extent *old)
{
    c->has_removed = true;
    c->removed_up_to = old->file_offset;
    return remove_row(c->m, c->content_id, old, c->allocated);
}

/* The parts of an old extent around [from, to): the head is emitted, the tail is the rest. */
static void keep_parts(struct content_cutter *c, const struct meta_extent *old, uint64_t from, uint64_t to)
{
    struct meta_extent parts[2];
    unsigned count = extent_subtract(old, from, to, parts);
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].file_offset < from) {
            emit(c, &parts[i]);
        } else {
            CHECK(!c->has_rest);
            c->rest = parts[i];
            c->has_rest = true;
        }
    }
}

/* Short extents among others are what reading suffers from; of a long one it doesn't matter where it lies. */
static void note_fragments(struct content_cutter *c, const struct meta_extent *e, const struct meta_extent *old)
{
    bool touches = old->file_offset + old->length == e->file_offset || e->file_offset + e->length == old->file_offset;
    bool covered = e->file_offset <= old->file_offset && old->file_offset + old->length <= e->file_offset + e->length;
    if (!meta_extent_is_hole(e) && e->length < CONTENT_SHORT_BYTES && !covered &&
        (!touches || old->length < CONTENT_SHORT_BYTES))
        c->fragments = true;
}

/* Takes away what was in the range of e. An old extent that e continues, or that continues e, is taken out too, to be
 * emitted again as one with it. */
static enum err cut(struct content_cutter *c, const struct meta_extent *e)
{
    struct meta *m = c->m;
    uint64_t from = e->file_offset, to = from + e->length;
    struct extent_list old = {0};
    struct meta_extent both;
    bool is_hole = meta_extent_is_hole(e);
    if (m->rows + ROWS_PER_CUT > STORE_OPERATION_ROWS)
        return ERR_SPLIT;
    if (c->has_rest) {
        struct meta_extent rest = c->rest;
        c->has_rest = false;
        note_fragments(c, e, &rest);
        keep_parts(c, &rest, from, to);
    }
    if (c->has_rest)
        return ERR_OK; /* it reaches behind this range, so nothing else is in it */
    TRY(collect(c, from, to, (STORE_OPERATION_ROWS - m->rows - ROWS_PER_CUT) / ROWS_PER_EXTENT, &old));
    if (old.count == 0 && !is_hole && e->length < CONTENT_SHORT_BYTES && from < c->size)
        c->fragments = true; /* in a hole */
    for (unsigned i = 0; i < old.count; i++) {
        const struct meta_extent *x = &old.items[i];
        if (c->has_removed && x->file_offset <= c->removed_up_to)
            continue;
        if (x->file_offset + x->length == from) {
            if (!is_hole && extent_merge(x, e, &both)) {
                TRY(take_out(c, x));
                emit(c, x);
            } else {
                note_fragments(c, e, x);
            }
        } else if (x->file_offset == to) {
            if (!is_hole && extent_merge(e, x, &both)) {
                TRY(take_out(c, x));
                c->rest = *x;
                c->has_rest = true;
            } else {
                note_fragments(c, e, x);
            }
        } else {
            note_fragments(c, e, x);
            TRY(take_out(c, x));
            keep_parts(c, x, from, to);
        }
    }
    return ERR_OK;
}

enum err content_replace(struct content_cutter *c, const struct meta_extent *e)
{
    TRY(cut(c, e));
    if (!meta_extent_is_hole(e)) /* what no row covers is a hole */
        emit(c, e);
    return ERR_OK;
}

enum err content_end(struct content_cutter *c)
{
    if (c->has_rest)
        emit(c, &c->rest);
    if (c->has_pending)
        add_row(c->m, c->content_id, &c->pending, c->allocated);
    return c->is_empty ? ERR_OK : store_range_close(&c->range);
}

enum err content_trim(struct meta *m, uint64_t content_id, uint64_t from, uint64_t end, unsigned max,
                      uint64_t *allocated, uint64_t *ret_end)
{
    struct schema_key lower = schema_extent(content_id, from + 1);
    struct schema_key upper = schema_extent(content_id, end + 1);
    struct store_range range;
    struct slice key, value;
    struct extent_list found = {0};
    enum err e = ERR_OK;
    uint64_t left = from;
    store_range_open_last(m, &range, &lower, &upper);
    for (; e == ERR_OK && left == from && store_range_get(&range, &key, &value); store_range_previous(&range)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK)
            break;
        if (found.count == max)
            left = extent.file_offset + extent.length;
        else
            list_add(m, &found, &extent);
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    for (unsigned i = 0; i < found.count; i++) {
        struct meta_extent parts[2];
        unsigned kept = extent_subtract(&found.items[i], from, UINT64_MAX, parts);
        TRY(remove_row(m, content_id, &found.items[i], allocated));
        for (unsigned p = 0; p < kept; p++)
            add_row(m, content_id, &parts[p], allocated);
    }
    *ret_end = left;
    return ERR_OK;
}
