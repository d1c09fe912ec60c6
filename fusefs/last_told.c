#include "fusefs/last_told.h"

#include <sys/stat.h>

#include "base/clock.h"

void last_told_init(struct last_told *l)
{
    pthread_mutex_init(&l->lock, NULL);
}

void last_told_close(struct last_told *l)
{
    pthread_mutex_destroy(&l->lock);
}

bool last_told_put(struct last_told *l, const struct meta_attr *attr)
{
    pthread_mutex_lock(&l->lock);
    /* Many files are looked up for each directory: they must not push it out. */
    struct meta_attr *slot = &l->slots[S_ISREG(attr->mode)][attr->ino % LAST_TOLD_INODES];
    bool other = slot->ino == attr->ino && (slot->size != attr->size || slot->mtime_ns != attr->mtime_ns);
    *slot = *attr;
    pthread_mutex_unlock(&l->lock);
    return other;
}

static struct meta_attr *find_locked(struct last_told *l, uint64_t ino)
{
    for (unsigned n = 0; n < 2; n++) {
        struct meta_attr *a = &l->slots[n][ino % LAST_TOLD_INODES];
        if (a->ino == ino) {
            a->nlink = 0;
            return a;
        }
    }
    return NULL;
}

bool last_told_removed(struct last_told *l, uint64_t ino, struct meta_attr *ret)
{
    pthread_mutex_lock(&l->lock);
    const struct meta_attr *a = find_locked(l, ino);
    if (a)
        *ret = *a;
    pthread_mutex_unlock(&l->lock);
    return a != NULL;
}

static void change(struct meta_attr *a, const struct surf_setattr *set)
{
    int64_t now_ns = clock_wall_ns();
    if (set->mask & META_SET_MODE)
        a->mode = (a->mode & S_IFMT) | (set->mode & 07777);
    if (set->mask & META_SET_UID)
        a->uid = set->uid;
    if (set->mask & META_SET_GID)
        a->gid = set->gid;
    if (set->mask & META_SET_ATIME)
        a->atime_ns = set->atime_ns;
    if (set->mask & META_SET_ATIME_NOW)
        a->atime_ns = now_ns;
    if (set->mask & META_SET_MTIME)
        a->mtime_ns = set->mtime_ns;
    if (set->mask & META_SET_MTIME_NOW)
        a->mtime_ns = now_ns;
    a->ctime_ns = now_ns;
}

bool last_told_change(struct last_told *l, uint64_t ino, const struct surf_setattr *set, struct meta_attr *ret)
{
    if (set->mask & META_SET_SIZE)
        return false; /* only open regular files are truncated, and those are not gone */
    pthread_mutex_lock(&l->lock);
    struct meta_attr *a = find_locked(l, ino);
    if (a) {
        change(a, set);
        *ret = *a;
    }
    pthread_mutex_unlock(&l->lock);
    return a != NULL;
}
