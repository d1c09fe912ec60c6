#include "client/file/layout.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* With more extents than this the window loses its beginning, but for the bytes that one read may need. */
#define LAYOUT_EXTENTS_MAX 65536u
#define LAYOUT_BYTES_KEPT (2 * (uint64_t)LIMIT_BLOCK_BYTES)

void layout_free(struct layout *l)
{
    free(l->extents);
    *l = (struct layout){0};
}

void layout_forget(struct layout *l)
{
    l->count = 0;
    l->from = l->to = 0;
}

static uint64_t end_of(const struct meta_extent *e)
{
    return e->file_offset + e->length;
}

static void reserve(struct layout *l, unsigned more)
{
    if (l->count + more <= l->capacity)
        return;
    l->capacity = MAX(2 * l->capacity, l->count + more);
    l->extents = mem_realloc(l->extents, l->capacity * sizeof *l->extents);
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

static void drop_before(struct layout *l, uint64_t offset)
{
    if (offset <= l->from)
        return;
    unsigned first = layout_find(l, offset);
    memmove(l->extents, l->extents + first, (l->count - first) * sizeof *l->extents);
    l->count -= first;
    l->from = offset;
}

void layout_learn(struct layout *l, uint64_t from, uint64_t to, const struct meta_extent *extents, unsigned count)
{
    if (from != l->to || l->from == l->to) {
        layout_forget(l);
        l->from = from;
    }
    if (l->count + count > LAYOUT_EXTENTS_MAX)
        drop_before(l, from < LAYOUT_BYTES_KEPT ? 0 : from - LAYOUT_BYTES_KEPT);
    reserve(l, count);
    for (unsigned i = 0; i < count; i++) {
        /* An extent that reaches over the seam is in both answers. */
        if (l->count > 0 && extents[i].file_offset < end_of(&l->extents[l->count - 1]))
            continue;
        l->extents[l->count++] = extents[i];
    }
    l->to = to;
}

bool layout_knows(const struct layout *l, uint64_t from, uint64_t to)
{
    return from >= l->from && to <= l->to;
}

void layout_replace(struct layout *l, const struct meta_extent *e)
{
    uint64_t from = e->file_offset, to = end_of(e);
    if (from == l->to && l->from != l->to)
        l->to = to; /* appended: the window grows with the file */
    if (!layout_knows(l, from, to)) {
        layout_forget(l);
        return;
    }
    reserve(l, 2);
    unsigned first = layout_find(l, from), end = first;
    struct meta_extent kept[3];
    unsigned kept_count = 0;
    while (end < l->count && l->extents[end].file_offset < to)
        end++;
    if (end > first && l->extents[first].file_offset < from)
        kept[kept_count++] = meta_extent_part(&l->extents[first], l->extents[first].file_offset, from);
    kept[kept_count++] = *e;
    if (end > first && end_of(&l->extents[end - 1]) > to)
        kept[kept_count++] = meta_extent_part(&l->extents[end - 1], to, end_of(&l->extents[end - 1]));
    CHECK(l->count - (end - first) + kept_count <= l->capacity);
    memmove(&l->extents[first + kept_count], &l->extents[end], (l->count - end) * sizeof *l->extents);
    memcpy(&l->extents[first], kept, kept_count * sizeof *kept);
    l->count = l->count - (end - first) + kept_count;
}
