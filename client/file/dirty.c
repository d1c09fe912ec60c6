#include "client/file/dirty.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void dirty_init(struct dirty_set *d)
{
    list_init(&d->chunks);
    d->bytes = 0;
}

static struct dirty_chunk *chunk_of(struct list_node *n)
{
    return container_of(n, struct dirty_chunk, node);
}

void dirty_chunk_free(struct dirty_chunk *c)
{
    ranges_free(&c->ranges);
    free(c->data);
    free(c);
}

void dirty_take(struct dirty_set *d, struct dirty_chunk *c)
{
    list_remove(&c->node);
    d->bytes -= ranges_bytes(&c->ranges);
}

void dirty_clear(struct dirty_set *d)
{
    for (struct list_node *n; (n = list_pop_front(&d->chunks));)
        dirty_chunk_free(chunk_of(n));
    d->bytes = 0;
}

bool dirty_empty(const struct dirty_set *d)
{
    return list_empty(&d->chunks);
}

/* The chunk with this index, made if it isn't there. Writes mostly go to the last one. */
static struct dirty_chunk *find_or_make(struct dirty_set *d, uint64_t index)
{
    struct list_node *at = d->chunks.head.prev;
    while (at != &d->chunks.head && chunk_of(at)->index > index)
        at = at->prev;
    if (at != &d->chunks.head && chunk_of(at)->index == index)
        return chunk_of(at);
    struct dirty_chunk *c = MEM_NEW(struct dirty_chunk);
    c->index = index;
    c->data = mem_alloc(CHUNK_BYTES);
    list_insert_before(at->next, &c->node);
    return c;
}

static void chunk_add(struct dirty_set *d, struct dirty_chunk *c, uint64_t from, uint64_t to)
{
    d->bytes -= ranges_bytes(&c->ranges);
    ranges_add(&c->ranges, from, to);
    d->bytes += ranges_bytes(&c->ranges);
}

struct dirty_chunk *dirty_write(struct dirty_set *d, uint64_t offset, const void *data, size_t size)
{
    uint64_t within = offset % CHUNK_BYTES;
    CHECK(size > 0 && size <= CHUNK_BYTES - within);
    struct dirty_chunk *c = find_or_make(d, offset / CHUNK_BYTES);
    memcpy(c->data + within, data, size);
    chunk_add(d, c, within, within + size);
    return c;
}

bool dirty_chunk_is_full(const struct dirty_chunk *c)
{
    return c->ranges.count == 1 && c->ranges.list[0].from == 0 && c->ranges.list[0].to == CHUNK_BYTES;
}

void dirty_read(const struct dirty_set *d, uint64_t offset, uint8_t *buffer, struct ranges *missing)
{
    if (missing->count == 0)
        return;
    uint64_t begin = missing->list[0].from, end = missing->list[missing->count - 1].to;
    list_for_each (n, &d->chunks) {
        const struct dirty_chunk *c = chunk_of(n);
        uint64_t base = c->index * CHUNK_BYTES;
        if (base >= end)
            break;
        if (base + CHUNK_BYTES <= begin)
            continue;
        for (unsigned i = 0; i < c->ranges.count; i++) {
            uint64_t from = base + c->ranges.list[i].from, to = base + c->ranges.list[i].to;
            for (unsigned m = 0; m < missing->count; m++) {
                uint64_t f = MAX(from, missing->list[m].from), t = MIN(to, missing->list[m].to);
                if (f < t)
                    memcpy(buffer + (f - offset), c->data + (f - base), t - f);
            }
            ranges_remove(missing, from, to);
        }
    }
}

void dirty_underlay(struct dirty_set *d, struct dirty_set *older)
{
    for (struct list_node *n; (n = list_pop_front(&older->chunks));) {
        struct dirty_chunk *o = chunk_of(n);
        struct dirty_chunk *c = find_or_make(d, o->index);
        for (unsigned i = 0; i < c->ranges.count; i++)
            ranges_remove(&o->ranges, c->ranges.list[i].from, c->ranges.list[i].to);
        for (unsigned i = 0; i < o->ranges.count; i++) {
            struct range r = o->ranges.list[i];
            memcpy(c->data + r.from, o->data + r.from, r.to - r.from);
            chunk_add(d, c, r.from, r.to);
        }
        if (c->ranges.count == 0) {
            list_remove(&c->node);
            dirty_chunk_free(c);
        }
        dirty_chunk_free(o);
    }
    older->bytes = 0;
}

uint64_t dirty_end(const struct dirty_set *d)
{
    if (list_empty(&d->chunks))
        return 0;
    const struct dirty_chunk *c = chunk_of(d->chunks.head.prev);
    return c->index * CHUNK_BYTES + c->ranges.list[c->ranges.count - 1].to;
}
