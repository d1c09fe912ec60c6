#include "meta/lock_list.h"

#include "base/check.h"
#include "base/mem.h"

#define WEIGHT_OF_WAITING 3u /* what it may become: itself, and two ends of a range that it splits */

void lock_list_free(struct lock_list *l)
{
    free(l->entries);
    *l = (struct lock_list){0};
}

static struct lock_entry *add_entry(struct lock_list *l)
{
    if (l->count == l->capacity) {
        l->capacity = MAX(2 * l->capacity, 16u);
        l->entries = mem_realloc(l->entries, l->capacity * sizeof *l->entries);
    }
    return &l->entries[l->count++];
}

void lock_list_add(struct lock_list *l, const struct row_lock *row, uint32_t place)
{
    *add_entry(l) = (struct lock_entry){.row = *row, .place = place};
}

void lock_list_remove(struct lock_list *l, unsigned at)
{
    CHECK(at < l->count);
    l->entries[at] = l->entries[--l->count];
}

struct lock_counts lock_list_count(const struct lock_list *l, uint64_t session)
{
    struct lock_counts c = {0};
    for (unsigned i = 0; i < l->count; i++)
        if (l->entries[i].row.session == session)
            *(l->entries[i].row.ticket ? &c.waiting : &c.held) += 1;
    return c;
}

static bool is_held_by(const struct row_lock *r, uint64_t session, uint64_t owner)
{
    return r->ticket == 0 && r->session == session && r->lock.owner == owner;
}

unsigned lock_list_held(const struct lock_list *l, uint64_t session, uint64_t owner)
{
    unsigned held = 0;
    for (unsigned i = 0; i < l->count; i++)
        held += is_held_by(&l->entries[i].row, session, owner);
    return held;
}

unsigned lock_list_weight(const struct lock_list *l)
{
    unsigned weight = 0;
    for (unsigned i = 0; i < l->count; i++)
        weight += l->entries[i].row.ticket ? WEIGHT_OF_WAITING : 1;
    return weight;
}

bool lock_is_in_the_way(const struct row_lock *held, uint64_t session, const struct meta_lock *lock)
{
    return held->ticket == 0 && !is_held_by(held, session, lock->owner) && held->lock.start <= lock->end &&
           held->lock.end >= lock->start && (held->lock.type == META_LOCK_WRITE || lock->type == META_LOCK_WRITE);
}

unsigned lock_list_conflict(const struct lock_list *l, uint64_t session, const struct meta_lock *lock)
{
    unsigned first = l->count;
    for (unsigned i = 0; i < l->count; i++) {
        const struct lock_entry *e = &l->entries[i];
        if (!lock_is_in_the_way(&e->row, session, lock))
            continue;
        const struct lock_entry *best = first < l->count ? &l->entries[first] : NULL;
        if (!best || e->row.lock.start < best->row.lock.start ||
            (e->row.lock.start == best->row.lock.start && e->place < best->place))
            first = i;
    }
    return first;
}

/* [start, end] is taken out of the entry, which may leave nothing, one or two ends. True: nothing is left. */
static bool cut(struct lock_list *l, unsigned at, uint64_t start, uint64_t end)
{
    struct lock_entry *e = &l->entries[at];
    bool head = e->row.lock.start<start, tail = e->row.lock.end> end;
    if (!head && !tail)
        return true;
    e->changed = true;
    if (head && tail) {
        struct row_lock rest = e->row;
        rest.lock.start = end + 1;
        e->row.lock.end = start - 1;
        lock_list_add(l, &rest, LOCK_LIST_NEW);
    } else if (head) {
        e->row.lock.end = start - 1;
    } else {
        e->row.lock.start = end + 1;
    }
    return false;
}

/* The new range swallows ranges of its owner and type that it overlaps or touches. */
static void widen(const struct lock_list *l, uint64_t session, struct meta_lock *lock)
{
    uint64_t start = lock->start, end = lock->end;
    for (unsigned i = 0; i < l->count; i++) {
        const struct row_lock *r = &l->entries[i].row;
        /* Ends are at most META_SIZE_MAX, so that one more is a number. */
        if (!is_held_by(r, session, lock->owner) || r->lock.type != lock->type || r->lock.start > lock->end + 1 ||
            r->lock.end + 1 < lock->start)
            continue;
        start = MIN(start, r->lock.start);
        end = MAX(end, r->lock.end);
    }
    lock->start = start;
    lock->end = end;
}

bool lock_list_set(struct lock_list *l, uint64_t session, const struct meta_lock *lock)
{
    struct row_lock wanted = {.lock = *lock, .session = session};
    bool freed = false;
    uint32_t place = LOCK_LIST_NEW;
    if (lock->type != META_LOCK_UNLOCK)
        widen(l, session, &wanted.lock);
    for (unsigned i = 0; i < l->count;) {
        const struct row_lock *r = &l->entries[i].row;
        if (!is_held_by(r, session, lock->owner) || r->lock.start > wanted.lock.end ||
            r->lock.end < wanted.lock.start) {
            i++;
            continue;
        }
        freed = freed || lock->type == META_LOCK_UNLOCK ||
                (lock->type == META_LOCK_READ && r->lock.type == META_LOCK_WRITE);
        if (cut(l, i, wanted.lock.start, wanted.lock.end)) {
            place = MIN(place, l->entries[i].place); /* the new range takes over one of the rows */
            lock_list_remove(l, i);
        } else {
            i++;
        }
    }
    if (lock->type != META_LOCK_UNLOCK) {
        lock_list_add(l, &wanted, place);
        l->entries[l->count - 1].changed = true;
    }
    return freed;
}

unsigned lock_list_next(const struct lock_list *l)
{
    unsigned next = l->count;
    for (unsigned i = 0; i < l->count; i++) {
        const struct row_lock *r = &l->entries[i].row;
        if (r->ticket == 0 || (next < l->count && l->entries[next].row.ticket < r->ticket))
            continue;
        if (lock_list_conflict(l, r->session, &r->lock) == l->count)
            next = i;
    }
    return next;
}

void lock_list_drop(struct lock_list *l, uint64_t session)
{
    for (unsigned i = 0; i < l->count;)
        if (l->entries[i].row.session == session)
            lock_list_remove(l, i);
        else
            i++;
}
