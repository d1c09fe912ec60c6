/* op_setattr.c: chmod, chown, utimens and truncate, in one. */
#include <sys/stat.h>

#include "meta/store.h"

/* A shrink that would touch more rows than a command may does a part: the file then ends where it has got to. */
#define TRIM_EXTENTS_MAX ((STORE_OPERATION_ROWS - 8) / 2)

static enum err resize(struct meta *m, struct row_inode *i, uint64_t size, bool *ret_partial)
{
    *ret_partial = false;
    if (size == 0) {
        inode_drop_contents(m, i);
    } else if (size < i->attr.size) {
        uint64_t end;
        TRY(content_trim(m, i->attr.content_id, size, i->attr.size, TRIM_EXTENTS_MAX, &i->attr.allocated, &end));
        *ret_partial = end > size;
        size = end;
    }
    i->attr.size = size;
    i->attr.version++;
    return ERR_OK;
}

static void set_times(struct meta *m, const struct meta_command *c, struct meta_attr *a)
{
    uint32_t mask = c->setattr.mask;
    if (mask & META_SET_ATIME)
        a->atime_ns = c->setattr.atime_ns;
    if (mask & META_SET_ATIME_NOW)
        a->atime_ns = m->time_ns;
    if (mask & META_SET_MTIME)
        a->mtime_ns = c->setattr.mtime_ns;
    if (mask & META_SET_MTIME_NOW)
        a->mtime_ns = m->time_ns;
    a->ctime_ns = m->time_ns;
}

static void set_owner_and_mode(const struct meta_command *c, struct meta_attr *a)
{
    uint32_t mask = c->setattr.mask;
    if (mask & META_SET_UID)
        a->uid = c->setattr.uid;
    if (mask & META_SET_GID)
        a->gid = c->setattr.gid;
    if (mask & META_SET_MODE) {
        a->mode = (a->mode & S_IFMT) | (c->setattr.mode & 07777);
    } else if ((mask & (META_SET_UID | META_SET_GID)) && !S_ISDIR(a->mode)) {
        /* chown(2): a new owner must not inherit what set-user-ID gave the old one. Without group execution the
         * set-group-ID bit means mandatory locking and stays. */
        a->mode &= ~(uint32_t)S_ISUID;
        if (a->mode & S_IXGRP)
            a->mode &= ~(uint32_t)S_ISGID;
    }
}

OP(setattr)
{
    struct row_inode i;
    bool partial = false;
    TRY_OP(inode_get(m, c->setattr.ino, &i));
    if (c->setattr.mask & META_SET_SIZE) {
        if (S_ISDIR(i.attr.mode))
            return outcome(r, ERR_ISDIR);
        if (!S_ISREG(i.attr.mode))
            return outcome(r, ERR_INVAL);
        if (c->setattr.size > META_SIZE_MAX)
            return outcome(r, ERR_FBIG);
        TRY_OP(resize(m, &i, c->setattr.size, &partial));
        i.attr.mtime_ns = i.attr.ctime_ns = m->time_ns;
    }
    if (!partial) {
        set_owner_and_mode(c, &i.attr);
        set_times(m, c, &i.attr);
    }
    inode_put(m, &i);
    *r = (struct meta_reply){.status = partial ? ERR_PARTIAL : ERR_OK, .attr = i.attr, .has_attr = true};
    return ERR_OK;
}
