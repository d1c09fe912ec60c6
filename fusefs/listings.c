#include "fusefs/listings.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define LISTINGS_MAX 65536u
/* A listing with attributes is asked for again when the kernel doesn't believe those any more: otherwise it would look
 * up each name by itself. */
#define WITH_ATTR_NS (1400 * NS_PER_MS)
#define LOOKED_UP_PART 4 /* or when it has looked up so large a part of the names: one in four */

struct listing {
    bool in_use;        /* by a handle */
    bool begun;         /* the kernel has copied something since its last fresh start */
    bool whole;         /* to the end */
    bool mixed;         /* of several states */
    int64_t ctime_ns;   /* of the state that the copy is of */
    int64_t dropped_ns; /* ctime of the state for which it was dropped meanwhile, or 0 */
    bool with_attr;     /* who lists wants attributes too */
    uint64_t looked_up;
    int64_t begun_ns;
};

void listings_init(struct listings *l)
{
    *l = (struct listings){0};
    pthread_mutex_init(&l->lock, NULL);
}

void listings_set_surf(struct listings *l, struct surf *surf)
{
    l->surf = surf;
}

static void forget_unused(struct listings *l)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&l->map, &at, &ino, &value)) {
        struct listing *i = value;
        if (!i->in_use) {
            map_u64_remove(&l->map, ino);
            free(i);
        }
    }
}

void listings_close(struct listings *l)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&l->map, &at, &ino, &value))
        free(value);
    map_u64_free(&l->map);
    pthread_mutex_destroy(&l->lock);
}

static struct listing *find_or_add(struct listings *l, uint64_t ino)
{
    struct listing *i = map_u64_get(&l->map, ino);
    if (i)
        return i;
    if (l->map.count >= LISTINGS_MAX)
        forget_unused(l);
    i = MEM_NEW(struct listing);
    map_u64_put(&l->map, ino, i);
    return i;
}

/* Of the handle that has entered. */
static struct listing *find_in_use(struct listings *l, uint64_t ino)
{
    struct listing *i = map_u64_get(&l->map, ino);
    CHECK(i && i->in_use);
    return i;
}

/* Asked for with the lock held: who heeds a notice comes to listings_outdated after the inode is not believed any more,
 * and so sees what was decided before. */
static bool is_present(struct listings *l, uint64_t ino, const struct listing *i)
{
    struct meta_attr attr;
    return surf_believed_attr(l->surf, ino, &attr) && attr.ctime_ns == i->ctime_ns;
}

static bool is_worn(const struct listing *i)
{
    return i->with_attr && clock_boot_ns() - i->begun_ns > WITH_ATTR_NS;
}

bool listings_enter(struct listings *l, uint64_t ino, bool *ret_keep)
{
    struct meta_attr attr;
    bool enters = false;
    *ret_keep = true; /* who doesn't enter does not harm the copy */
    pthread_mutex_lock(&l->lock);
    if (surf_believed_attr(l->surf, ino, &attr)) {
        struct listing *i = find_or_add(l, ino);
        enters = !i->in_use;
        if (enters) {
            i->in_use = true;
            /* Half a copy stays whatever it is of: the kernel completes it, and at its end it is looked at. */
            *ret_keep = i->whole ? is_present(l, ino, i) && !is_worn(i) : i->begun;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return enters;
}

void listings_leave(struct listings *l, uint64_t ino)
{
    pthread_mutex_lock(&l->lock);
    find_in_use(l, ino)->in_use = false;
    pthread_mutex_unlock(&l->lock);
}

void listings_begin(struct listings *l, uint64_t ino)
{
    struct meta_attr attr;
    pthread_mutex_lock(&l->lock);
    struct listing *i = find_in_use(l, ino);
    bool is_fresh = !i->begun || i->whole; /* that it asks says that it has discarded a whole one */
    bool is_known = surf_believed_attr(l->surf, ino, &attr);
    i->mixed = !is_known || (!is_fresh && (i->mixed || attr.ctime_ns != i->ctime_ns));
    if (is_known && is_fresh && attr.ctime_ns != i->ctime_ns) {
        i->ctime_ns = attr.ctime_ns;
        i->with_attr = false;
    }
    i->looked_up = 0;
    i->dropped_ns = 0;
    i->begun = true;
    i->whole = false;
    i->begun_ns = clock_boot_ns();
    pthread_mutex_unlock(&l->lock);
}

bool listings_end(struct listings *l, uint64_t ino, bool with_attr)
{
    pthread_mutex_lock(&l->lock);
    struct listing *i = find_in_use(l, ino);
    if (!i->whole) {
        i->whole = i->begun && !i->mixed && is_present(l, ino, i);
        i->begun = i->whole;
        i->with_attr = i->with_attr || with_attr;
    }
    bool is_good = i->whole;
    pthread_mutex_unlock(&l->lock);
    return is_good;
}

void listings_looked_up(struct listings *l, uint64_t ino)
{
    struct meta_attr attr;
    pthread_mutex_lock(&l->lock);
    struct listing *i = map_u64_get(&l->map, ino);
    if (i && i->whole && !i->with_attr && surf_believed_attr(l->surf, ino, &attr))
        i->with_attr = ++i->looked_up >= attr.size / LOOKED_UP_PART;
    pthread_mutex_unlock(&l->lock);
}

bool listings_outdated(struct listings *l, uint64_t ino)
{
    pthread_mutex_lock(&l->lock);
    const struct listing *i = map_u64_get(&l->map, ino);
    bool must_drop = i && i->in_use && i->whole;
    pthread_mutex_unlock(&l->lock);
    return must_drop;
}

bool listings_is_other(struct listings *l, const struct meta_attr *attr)
{
    pthread_mutex_lock(&l->lock);
    const struct listing *i = map_u64_get(&l->map, attr->ino);
    bool is_other = i && i->in_use && i->whole && i->ctime_ns != attr->ctime_ns && i->dropped_ns != attr->ctime_ns;
    pthread_mutex_unlock(&l->lock);
    return is_other;
}

void listings_dropped(struct listings *l, const struct meta_attr *attr)
{
    pthread_mutex_lock(&l->lock);
    struct listing *i = map_u64_get(&l->map, attr->ino);
    if (i)
        i->dropped_ns = attr->ctime_ns;
    pthread_mutex_unlock(&l->lock);
}

uint64_t *listings_in_use(struct listings *l, size_t *ret_count)
{
    size_t at = 0, count = 0;
    uint64_t ino;
    void *value;
    pthread_mutex_lock(&l->lock);
    uint64_t *inos = mem_alloc((l->map.count + 1) * sizeof *inos);
    while (map_u64_next(&l->map, &at, &ino, &value)) {
        const struct listing *i = value;
        if (i->in_use && i->whole)
            inos[count++] = ino;
    }
    pthread_mutex_unlock(&l->lock);
    *ret_count = count;
    return inos;
}
