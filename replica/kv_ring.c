#include "replica/kv_ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "replica/index_ring.h"

#define OVERHEAD_BYTES 32u /* of a group: the allocator's, its place in the ring */

/* What one entry has done. The keys follow the events. */
struct group {
    struct index_ring_item item;
    unsigned count;
    struct meta_kv_event events[];
};

struct kv_ring {
    struct index_ring groups;
    size_t bytes_max;
};

static bool drop_first(struct kv_ring *r)
{
    struct index_ring_item *first = index_ring_pop(&r->groups);
    if (first)
        free(container_of(first, struct group, item));
    return first != NULL;
}

struct kv_ring *kv_ring_new(size_t bytes)
{
    struct kv_ring *r = MEM_NEW(struct kv_ring);
    r->bytes_max = bytes;
    return r;
}

void kv_ring_reset(struct kv_ring *r, uint64_t index)
{
    while (drop_first(r))
        ;
    r->groups.floor = index;
}

void kv_ring_free(struct kv_ring *r)
{
    if (!r)
        return;
    kv_ring_reset(r, 0);
    index_ring_close(&r->groups);
    free(r);
}

void kv_ring_add(struct kv_ring *r, const struct meta_kv_event *events, unsigned count)
{
    if (count == 0)
        return;
    size_t size = sizeof(struct group) + count * sizeof *events;
    for (unsigned i = 0; i < count; i++)
        size += events[i].key.size;
    struct group *g = mem_alloc(size);
    uint8_t *text = (uint8_t *)(g->events + count);
    *g = (struct group){.item = {.index = events[0].index, .size = size + OVERHEAD_BYTES}, .count = count};
    for (unsigned i = 0; i < count; i++) {
        struct slice key = events[i].key;
        g->events[i] = events[i];
        g->events[i].key.data = text;
        if (key.size > 0)
            memcpy(text, key.data, key.size);
        text += key.size;
    }
    index_ring_push(&r->groups, &g->item);
    while (r->groups.bytes > r->bytes_max && r->groups.count > 1)
        drop_first(r);
}

uint64_t kv_ring_floor(const struct kv_ring *r)
{
    return r->groups.floor;
}

unsigned kv_ring_after(const struct kv_ring *r, uint64_t index, const struct meta_kv_event **ret)
{
    struct index_ring_item *item = index_ring_after(&r->groups, index);
    if (!item)
        return 0;
    const struct group *g = container_of(item, struct group, item);
    *ret = g->events;
    return g->count;
}
