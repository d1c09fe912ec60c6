#include "client/surf_recent.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

void surf_recent_init(struct surf_recent *r)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
}

void surf_recent_close(struct surf_recent *r)
{
    pthread_mutex_destroy(&r->lock);
}

static void enter(struct surf_recent *r, const struct meta_attr *attr, int64_t asked_ns, bool only_if_there)
{
    size_t at = attr->ino % SURF_RECENT_SLOTS;
    if (!S_ISDIR(attr->mode))
        return;
    pthread_mutex_lock(&r->lock);
    bool there = r->slots[at].attr.ino == attr->ino;
    if (there ? r->slots[at].at_ns <= asked_ns : !only_if_there) {
        r->slots[at].attr = *attr;
        r->slots[at].at_ns = asked_ns;
    }
    pthread_mutex_unlock(&r->lock);
}

void surf_recent_put(struct surf_recent *r, const struct meta_attr *attr, int64_t asked_ns)
{
    enter(r, attr, asked_ns, false);
}

void surf_recent_update(struct surf_recent *r, const struct meta_attr *attr, int64_t asked_ns)
{
    enter(r, attr, asked_ns, true);
}

void surf_recent_drop(struct surf_recent *r, uint64_t ino)
{
    size_t at = ino % SURF_RECENT_SLOTS;
    pthread_mutex_lock(&r->lock);
    if (r->slots[at].attr.ino == ino)
        r->slots[at].attr.ino = 0;
    pthread_mutex_unlock(&r->lock);
}

bool surf_recent_get(struct surf_recent *r, uint64_t ino, struct meta_attr *ret, int64_t *ret_age_ns)
{
    size_t at = ino % SURF_RECENT_SLOTS;
    pthread_mutex_lock(&r->lock);
    bool there = ino != 0 && r->slots[at].attr.ino == ino;
    if (there) {
        *ret = r->slots[at].attr;
        *ret_age_ns = clock_boot_ns() - r->slots[at].at_ns;
    }
    pthread_mutex_unlock(&r->lock);
    return there;
}
