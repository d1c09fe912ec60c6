#include "client/file/ranges.h"

#include <string.h>

#include "base/mem.h"

unsigned ranges_find(const struct ranges *r, uint64_t offset)
{
    unsigned low = 0, high = r->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (r->list[middle].to <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void ranges_add(struct ranges *r, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    /* Those that [from, to) overlaps or touches become one with it. */
    unsigned first = from > 0 ? ranges_find(r, from - 1) : 0, end = first;
    while (end < r->count && r->list[end].from <= to) {
        from = MIN(from, r->list[end].from);
        to = MAX(to, r->list[end].to);
        end++;
    }
    if (end == first) {
        if (r->count == r->capacity) {
            r->capacity = MAX(2 * r->capacity, 4u);
            r->list = mem_realloc(r->list, r->capacity * sizeof *r->list);
        }
        memmove(&r->list[first + 1], &r->list[first], (r->count - first) * sizeof *r->list);
        r->count++;
    } else {
        memmove(&r->list[first + 1], &r->list[end], (r->count - end) * sizeof *r->list);
        r->count -= end - first - 1;
    }
    r->list[first] = (struct range){from, to};
}

void ranges_remove(struct ranges *r, uint64_t from, uint64_t to)
{
    struct ranges kept = {0};
    for (unsigned i = 0; i < r->count; i++) {
        struct range old = r->list[i];
        ranges_add(&kept, old.from, MIN(old.to, from));
        ranges_add(&kept, MAX(old.from, to), old.to);
    }
    free(r->list);
    *r = kept;
}

void ranges_free(struct ranges *r)
{
    free(r->list);
    *r = (struct ranges){0};
}

uint64_t ranges_bytes(const struct ranges *r)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < r->count; i++)
        bytes += r->list[i].to - r->list[i].from;
    return bytes;
}
