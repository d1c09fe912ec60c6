#include "replica/change_ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "replica/index_ring.h"

#define OVERHEAD_BYTES 48u /* of an entry: the allocator's, its place in the ring, its place in the map */

/* Slices of `change` point into text. */
struct entry {
    struct index_ring_item item;
    struct change change;
    uint8_t text[];
};

struct change_ring {
    struct index_ring entries;
    size_t bytes_max;
    struct map_u64 moves; /* ino -> struct entry: the last one that gave it a name or took one from it */
};

static bool moves_names(const struct change *c)
{
    return c->op == WIRE_CHANGE_LINK || c->op == WIRE_CHANGE_UNLINK || c->op == WIRE_CHANGE_RMDIR ||
           c->op == WIRE_CHANGE_RENAME || c->op == WIRE_CHANGE_EXCHANGE;
}

static void forget_move(struct change_ring *r, uint64_t ino, const struct entry *e)
{
    if (ino != 0 && map_u64_get(&r->moves, ino) == e)
        map_u64_remove(&r->moves, ino);
}

static bool drop_first(struct change_ring *r)
{
    struct index_ring_item *first = index_ring_pop(&r->entries);
    if (!first)
        return false;
    struct entry *e = container_of(first, struct entry, item);
    if (moves_names(&e->change)) {
        forget_move(r, e->change.ino, e);
        forget_move(r, e->change.other_ino, e);
    }
    free(e);
    return true;
}

static struct slice copy_text(uint8_t **to, struct slice s)
{
    if (s.size == 0)
        return SLICE(NULL, 0);
    memcpy(*to, s.data, s.size);
    *to += s.size;
    return SLICE(*to - s.size, s.size);
}

static uint64_t remember_move(struct change_ring *r, uint64_t ino, struct entry *e)
{
    struct entry *before = ino != 0 ? map_u64_put(&r->moves, ino, e) : NULL;
    return before ? before->change.index : 0;
}

struct change_ring *change_ring_new(size_t bytes)
{
    struct change_ring *r = MEM_NEW(struct change_ring);
    r->bytes_max = bytes;
    return r;
}

void change_ring_reset(struct change_ring *r, uint64_t index)
{
    while (drop_first(r))
        ;
    r->entries.floor = index;
}

void change_ring_free(struct change_ring *r)
{
    if (!r)
        return;
    change_ring_reset(r, 0);
    map_u64_free(&r->moves);
    index_ring_close(&r->entries);
    free(r);
}

void change_ring_add(struct change_ring *r, const struct change *c)
{
    size_t text_size = c->name.size + c->new_name.size + c->client.size;
    struct entry *e = mem_alloc(sizeof *e + text_size);
    uint8_t *text = e->text;
    e->change = *c;
    e->item = (struct index_ring_item){.index = c->index, .size = sizeof *e + text_size + OVERHEAD_BYTES};
    e->change.name = copy_text(&text, c->name);
    e->change.new_name = copy_text(&text, c->new_name);
    e->change.client = copy_text(&text, c->client);
    e->change.before = e->change.other_before = 0;
    if (moves_names(c)) {
        e->change.before = remember_move(r, c->ino, e);
        e->change.other_before = remember_move(r, c->other_ino, e);
    }
    index_ring_push(&r->entries, &e->item);
    while (r->entries.bytes > r->bytes_max && r->entries.count > 1)
        drop_first(r);
}

uint64_t change_ring_floor(const struct change_ring *r)
{
    return r->entries.floor;
}

const struct change *change_ring_after(const struct change_ring *r, uint64_t index)
{
    struct index_ring_item *item = index_ring_after(&r->entries, index);
    return item ? &container_of(item, struct entry, item)->change : NULL;
}

static bool is_at(const struct meta_place *p, uint64_t parent, struct slice name)
{
    return p->parent == parent && slice_equal(p->name, name);
}

/* `from` is what the inode was called before, and `to` after it (parent 0: nothing). */
static void undo(struct meta_place *place, struct meta_place from, struct meta_place to)
{
    /* Of several links another one than this may be known, which has not moved. */
    if (to.parent == 0 ? place->name.size == 0 : place->name.size == 0 || is_at(place, to.parent, to.name))
        *place = from;
}

void change_ring_roll_back(const struct change_ring *r, uint64_t ino, uint64_t index, struct meta_place *place)
{
    const struct entry *last = map_u64_get(&r->moves, ino);
    const struct change *c = last ? &last->change : NULL;
    while (c && c->index > index) {
        const struct meta_place none = {0, {NULL, 0}}, named = {c->parent, c->name};
        const struct meta_place renamed = {c->new_parent, c->new_name};
        bool other = c->ino != ino;
        if (c->op == WIRE_CHANGE_LINK) {
            if (is_at(place, c->parent, c->name))
                *place = none;
        } else if (c->op == WIRE_CHANGE_EXCHANGE) {
            undo(place, other ? renamed : named, other ? named : renamed);
        } else if (c->op == WIRE_CHANGE_RENAME && !other) {
            undo(place, named, renamed);
        } else {
            undo(place, other ? renamed : named, none);
        }
        uint64_t before = other ? c->other_before : c->before;
        /* Where the ring has forgotten it, it is from before `index` anyway. */
        c = before > r->entries.floor && before > index ? change_ring_after(r, before - 1) : NULL;
    }
}
