#include "client/file/layout.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define LAYOUT_EXTENTS_MAX 65536u /* 4 MiB */

void layout_free(struct layout *l)
{
    free(l->extents);
    ranges_free(&l->known);
    *l = (struct layout){0};
}

void layout_forget(struct layout *l)
{
    l->count = 0;
    ranges_free(&l->known);
}

static uint64_t end_of(const struct meta_extent *e)
{
    return e->file_offset + e->length;
}

unsigned layout_find(const struct layout *l, uint64_t offset)
{
    unsigned low = 0, high = l->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (end_of(&l->extents[middle]) <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- old extents with new ones over them ---- */

struct merged {
    struct meta_extent *list;
    unsigned count;
};

/* Parts of one block that follow each other there and here are one. */
static void push(struct merged *m, const struct meta_extent *e)
{
    struct meta_extent *last = m->count > 0 ? &m->list[m->count - 1] : NULL;
    if (last && end_of(last) == e->file_offset && last->block_offset + last->length == e->block_offset &&
        sha256_equal(&last->block, &e->block))
        last->length += e->length;
    else
        m->list[m->count++] = *e;
}

/* What is left of the old extents when [from, to) is taken out of them: what lies before it is pushed. *at is the old
 * one that is next, of which *next is what is left. */
struct old {
    const struct meta_extent *list;
    unsigned at, count;
    struct meta_extent next;
};

static void old_go_on(struct old *o)
{
    o->at++;
    if (o->at < o->count)
        o->next = o->list[o->at];
}

static void take_out(struct old *o, uint64_t from, uint64_t to, struct merged *before)
{
    for (; o->at < o->count && end_of(&o->next) <= from; old_go_on(o))
        push(before, &o->next);
    if (o->at < o->count && o->next.file_offset < from) {
        struct meta_extent head = meta_extent_part(&o->next, o->next.file_offset, from);
        push(before, &head);
    }
    while (o->at < o->count && end_of(&o->next) <= to)
        old_go_on(o);
    if (o->at < o->count && o->next.file_offset < to)
        o->next = meta_extent_part(&o->next, to, end_of(&o->next));
}

/* Puts the list in the place of the old extents [first, end). */
static void splice(struct layout *l, unsigned first, unsigned end, const struct merged *m)
{
    unsigned count = l->count - (end - first) + m->count;
    if (count > l->capacity) {
        l->capacity = MAX(2 * l->capacity, count);
        l->extents = mem_realloc(l->extents, l->capacity * sizeof *l->extents);
    }
    if (first + m->count != end && end < l->count)
        memmove(&l->extents[first + m->count], &l->extents[end], (l->count - end) * sizeof *l->extents);
    if (m->count > 0)
        memcpy(&l->extents[first], m->list, m->count * sizeof *m->list);
    l->count = count;
}

/* [from, to) becomes a hole, then the extents are put over what is there, each cut to [from, to). */
static void overlay(struct layout *l, uint64_t from, uint64_t to, bool empty, const struct meta_extent *extents,
                    unsigned count)
{
    unsigned first = layout_find(l, from), end = first;
    first -= first > 0; /* it may go on in the first new one */
    while (end < l->count && l->extents[end].file_offset <= to)
        end++;
    struct old o = {.list = l->count > 0 ? l->extents + first : NULL, .count = end - first};
    if (o.count > 0)
        o.next = o.list[0];
    struct merged m = {.list = mem_alloc((end - first + 2 * (size_t)count + 2) * sizeof *m.list)};
    if (empty)
        take_out(&o, from, to, &m);
    for (unsigned n = 0; n < count; n++) {
        const struct meta_extent *e = &extents[n];
        uint64_t f = MAX(e->file_offset, from), t = MIN(end_of(e), to);
        if (f >= t)
            continue;
        if (!empty)
            take_out(&o, f, t, &m);
        struct meta_extent part = meta_extent_part(e, f, t);
        if (!meta_extent_is_hole(e))
            push(&m, &part);
    }
    for (; o.at < o.count; old_go_on(&o))
        push(&m, &o.next);
    splice(l, first, end, &m);
    free(m.list);
}

/* ---- what is known ---- */

/* The half of what is known that is farther away, by its extents. */
static void forget_half(struct layout *l, uint64_t near)
{
    uint64_t middle = l->extents[l->count / 2].file_offset;
    uint64_t from = near > middle ? 0 : middle, to = near > middle ? middle : UINT64_MAX;
    overlay(l, from, to, true, NULL, 0);
    ranges_remove(&l->known, from, to);
}

void layout_learn(struct layout *l, uint64_t from, uint64_t to, const struct meta_extent *extents, unsigned count)
{
    CHECK(count < LAYOUT_EXTENTS_MAX / 2);
    if (from >= to)
        return; /* an answer without sense */
    while (l->count + count > LAYOUT_EXTENTS_MAX)
        forget_half(l, from);
    overlay(l, from, to, true, extents, count);
    ranges_add(&l->known, from, to);
}

uint64_t layout_known_to(const struct layout *l, uint64_t from)
{
    unsigned n = ranges_find(&l->known, from);
    return n < l->known.count && l->known.list[n].from <= from ? l->known.list[n].to : from;
}

bool layout_knows(const struct layout *l, uint64_t from, uint64_t to)
{
    return from < to && layout_known_to(l, from) >= to;
}

/* Where it is known what was there, or where the file goes on. */
static bool stays_known(const struct layout *l, const struct meta_extent *e)
{
    uint64_t from = e->file_offset;
    return layout_knows(l, from, end_of(e)) || (from > 0 && layout_known_to(l, from - 1) == from);
}

void layout_replace(struct layout *l, const struct meta_extent *extents, unsigned count)
{
    if (count == 0)
        return;
    struct meta_extent *kept = mem_alloc(count * sizeof *kept);
    unsigned kept_count = 0;
    for (unsigned n = 0; n < count; n++) {
        uint64_t from = extents[n].file_offset, to = end_of(&extents[n]);
        if (stays_known(l, &extents[n])) {
            kept[kept_count++] = extents[n];
            ranges_add(&l->known, from, to);
            continue;
        }
        overlay(l, from, to, true, NULL, 0);
        ranges_remove(&l->known, from, to);
    }
    if (kept_count > 0)
        overlay(l, kept[0].file_offset, end_of(&kept[kept_count - 1]), false, kept, kept_count);
    free(kept);
    while (l->count > LAYOUT_EXTENTS_MAX)
        forget_half(l, extents[count - 1].file_offset);
}
