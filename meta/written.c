#include "meta/written.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define CAPACITY_MIN 64u
#define CAPACITY_KEPT 1024u /* a larger table is given back after its command: few have so many rows */

/* The slot of the key, or the free one where it would be. */
static struct written_row *find(const struct written *w, uint64_t hash, struct slice key)
{
    for (size_t i = hash & (w->capacity - 1);; i = (i + 1) & (w->capacity - 1)) {
        struct written_row *row = &w->slots[i];
        if (row->generation != w->generation || (row->hash == hash && slice_equal(row->key, key)))
            return row;
    }
}

static void grow(struct written *w)
{
    struct written old = *w;
    w->capacity = MAX(2 * old.capacity, (size_t)CAPACITY_MIN);
    w->slots = mem_zalloc(w->capacity * sizeof *w->slots);
    w->generation = 1;
    for (size_t i = 0; i < old.capacity; i++) {
        struct written_row *row = &old.slots[i];
        if (row->generation != old.generation)
            continue;
        struct written_row *place = find(w, row->hash, row->key);
        *place = *row;
        place->generation = w->generation;
    }
    free(old.slots);
}

const struct written_row *written_get(const struct written *w, struct slice key)
{
    if (w->count == 0)
        return NULL;
    const struct written_row *row = find(w, checksum64(key, 0), key);
    return row->generation == w->generation ? row : NULL;
}

void written_put(struct written *w, struct slice key, struct slice value, bool deleted)
{
    if (2 * (w->count + 1) > w->capacity)
        grow(w);
    uint64_t hash = checksum64(key, 0);
    struct written_row *row = find(w, hash, key);
    w->count += row->generation != w->generation;
    *row =
        (struct written_row){.generation = w->generation, .hash = hash, .key = key, .value = value, .deleted = deleted};
}

void written_clear(struct written *w)
{
    if (w->capacity > CAPACITY_KEPT)
        written_free(w);
    w->count = 0;
    w->generation++;
}

void written_free(struct written *w)
{
    free(w->slots);
    *w = (struct written){0};
}
