#include "replica/index_ring.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define PLACES_MIN 256u

static struct index_ring_item *item_at(const struct index_ring *r, size_t i)
{
    return r->places[(r->first + i) & (r->room - 1)];
}

static void grow(struct index_ring *r)
{
    size_t room = r->room ? 2 * r->room : PLACES_MIN;
    struct index_ring_item **places = mem_alloc(room * sizeof(struct index_ring_item *));
    for (size_t i = 0; i < r->count; i++)
        places[i] = item_at(r, i);
    free(r->places);
    r->places = places, r->room = room, r->first = 0;
}

void index_ring_push(struct index_ring *r, struct index_ring_item *item)
{
    CHECK(item->index > r->floor && (r->count == 0 || item->index > item_at(r, r->count - 1)->index));
    if (r->count == r->room)
        grow(r);
    r->places[(r->first + r->count++) & (r->room - 1)] = item;
    r->bytes += item->size;
}

struct index_ring_item *index_ring_pop(struct index_ring *r)
{
    if (r->count == 0)
        return NULL;
    struct index_ring_item *item = item_at(r, 0);
    r->first = (r->first + 1) & (r->room - 1);
    r->count--;
    r->bytes -= item->size;
    r->floor = item->index;
    return item;
}

struct index_ring_item *index_ring_after(const struct index_ring *r, uint64_t index)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (item_at(r, middle)->index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->count ? item_at(r, low) : NULL;
}

void index_ring_close(struct index_ring *r)
{
    CHECK(r->count == 0);
    free(r->places);
    *r = (struct index_ring){.room = 0};
}
