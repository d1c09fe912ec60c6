#include "client/meta/look_ahead.h"

#include "base/mem.h"

_Static_assert((LOOK_AHEAD_DIRECTORIES & (LOOK_AHEAD_DIRECTORIES - 1)) == 0, "places are the upper bits of a product");
_Static_assert(LOOK_AHEAD_SMALL <= LIMIT_LOOK_AHEAD, "the first ones may be asked for");

/* Numbers of directories that were made together are close to each other. */
static struct look_ahead_directory *place_of(struct look_ahead *l, uint64_t ino)
{
    uint64_t mixed = ino * UINT64_C(0x9e3779b97f4a7c15);
    return &l->directories[(mixed >> 32) & (LOOK_AHEAD_DIRECTORIES - 1)];
}

/* NULL: it is not looked into, or was not lately. */
static struct look_ahead_directory *find(struct look_ahead *l, uint64_t ino, int64_t now_ns)
{
    struct look_ahead_directory *d = place_of(l, ino);
    return d->ino == ino && now_ns - d->last_ns <= LOOK_AHEAD_SOON_NS ? d : NULL;
}

static void earn(struct look_ahead_directory *d, unsigned parts, int64_t now_ns)
{
    d->credit = MIN(d->credit + parts, LIMIT_LOOK_AHEAD * LOOK_AHEAD_CALLS);
    d->last_ns = now_ns;
}

unsigned look_ahead_ask(struct look_ahead *l, uint64_t directory, int64_t now_ns, uint64_t *ret_cookie)
{
    *ret_cookie = 0;
    struct look_ahead_directory *d = find(l, directory, now_ns);
    unsigned asked = d ? d->credit / LOOK_AHEAD_CALLS : 0;
    if (asked < LOOK_AHEAD_FIRST)
        return 0;
    d->credit -= asked * LOOK_AHEAD_CALLS;
    if (d->used)
        *ret_cookie = d->cookie;
    d->used = false;
    return asked;
}

static unsigned first_entries(uint64_t entries)
{
    return entries > LOOK_AHEAD_FIRST && entries <= LOOK_AHEAD_SMALL ? (unsigned)entries : LOOK_AHEAD_FIRST;
}

void look_ahead_answered(struct look_ahead *l, uint64_t directory, const struct look_ahead_answer *a, int64_t now_ns)
{
    struct look_ahead_directory *d = find(l, directory, now_ns);
    unsigned back = a->asked - MIN(a->brought, a->asked);
    if (d)
        earn(d, back * LOOK_AHEAD_CALLS + a->found, a->found ? now_ns : d->last_ns);
    else if (a->found)
        *place_of(l, directory) = (struct look_ahead_directory){
            .ino = directory, .last_ns = now_ns, .credit = first_entries(a->entries) * LOOK_AHEAD_CALLS};
    if (d && a->brought > 0)
        d->cookie = a->cookie;
}

void look_ahead_used(struct look_ahead *l, uint64_t directory, int64_t now_ns)
{
    struct look_ahead_directory *d = find(l, directory, now_ns);
    if (!d)
        return;
    earn(d, LOOK_AHEAD_PER_USE * LOOK_AHEAD_CALLS, now_ns);
    d->used = true;
}
