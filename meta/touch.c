/* Which inodes an apply or a query had to do with: leases are about them. Not part of the state. */
#include "base/mem.h"
#include "meta/store.h"

static void add(struct touch_list *l, uint64_t ino)
{
    if (l->count > 0 && l->inos[l->count - 1] == ino)
        return; /* mostly it is the one that was read just before */
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 64;
        l->inos = mem_realloc(l->inos, l->capacity * sizeof *l->inos);
    }
    l->inos[l->count++] = ino;
}

void touch_begin(struct meta *m)
{
    m->seen.count = m->wrote.count = 0;
}

void touch_seen(struct meta *m, uint64_t ino)
{
    add(&m->seen, ino);
}

void touch_wrote(struct meta *m, uint64_t ino)
{
    add(&m->wrote, ino);
}

void touch_free(struct meta *m)
{
    free(m->seen.inos);
    free(m->wrote.inos);
}

void meta_touched(const struct meta *m, struct meta_touched *ret)
{
    *ret = (struct meta_touched){
        .seen = m->seen.inos, .seen_count = m->seen.count, .wrote = m->wrote.inos, .wrote_count = m->wrote.count};
}
