/* op_setattr.c: chmod, chown, utimens and truncate, in one. */
#include <sys/stat.h>

#include "meta/acl.h"
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
        /* chown(2): a new owner must not inherit what set-user-ID gave the old one. */
        privilege_kill_set_id(a);
    }
}

static enum err set_read(struct meta *m, const struct meta_command *c, struct row_inode *i, struct meta_reply *r)
{
    (void)!inode_was_read(m, i, c->setattr.atime_ns, c->setattr.ctime_ns);
    *r = (struct meta_reply){.attr = i->attr, .has_attr = true};
    return ERR_OK;
}

/* The access list follows a change of mode. */
static enum err set_list(struct meta *m, struct row_inode *i)
{
    struct slice value;
    struct acl acl;
    bool found = false;
    if (i->attr.xattrs > 0)
        TRY(xattr_get(m, i->attr.ino, slice_str(META_ACL_ACCESS), &value, &found));
    if (!found)
        return ERR_OK;
    if (acl_decode(value, &acl) != ERR_OK || acl.count == 0)
        return ERR_CORRUPT;
    acl_set_mode(&acl, i->attr.mode);
    struct bytes changed = {0};
    acl_encode(&acl, &changed);
    enum err e = xattr_put(m, i, slice_str(META_ACL_ACCESS), bytes_slice(&changed), true);
    bytes_free(&changed);
    return e;
}

OP(setattr)
{
    struct row_inode i;
    bool partial = false;
    TRY_OP(inode_get(m, c->setattr.ino, &i));
    if (c->setattr.mask & META_SET_READ)
        return set_read(m, c, &i, r);
    if (c->setattr.mask & META_SET_SIZE) {
        if (S_ISDIR(i.attr.mode))
            return outcome(r, ERR_ISDIR);
        if (!S_ISREG(i.attr.mode))
            return outcome(r, ERR_INVAL);
        if (c->setattr.size > META_SIZE_MAX)
            return outcome(r, ERR_FBIG);
        TRY_OP(resize(m, &i, c->setattr.size, &partial));
        i.attr.mtime_ns = i.attr.ctime_ns = m->time_ns;
        if (c->setattr.mask & META_KILL_SET_ID)
            privilege_kill_set_id(&i.attr);
    }
    if (c->setattr.mask & (META_SET_SIZE | META_SET_UID | META_SET_GID))
        TRY(privilege_kill_capability(m, &i));
    if ((c->setattr.mask & META_KILL_SET_GID) && S_ISREG(i.attr.mode))
        i.attr.mode &= ~(uint32_t)S_ISGID;
    if (!partial) {
        set_owner_and_mode(c, &i.attr);
        set_times(m, c, &i.attr);
        if (c->setattr.mask & META_SET_MODE)
            TRY_OP(set_list(m, &i));
    }
    inode_put(m, &i);
    *r = (struct meta_reply){.status = partial ? ERR_PARTIAL : ERR_OK, .attr = i.attr, .has_attr = true};
    return ERR_OK;
}
