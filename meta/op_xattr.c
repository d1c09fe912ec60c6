/* op_xattr.c: setting and removing extended attributes. Those that hold access control lists have a meaning here. */
#include <sys/stat.h>

#include "meta/acl.h"
#include "meta/store.h"

static enum err changed(struct meta *m, struct row_inode *i, struct meta_reply *r)
{
    i->attr.ctime_ns = m->time_ns;
    inode_put(m, i);
    *r = (struct meta_reply){.attr = i->attr, .has_attr = true};
    return ERR_OK;
}

/* The list of what an ACL attribute holds; *ret_keep: it is kept, and not just mode bits. */
static enum err take_acl(struct row_inode *i, const struct meta_command *c, bool is_default, bool *ret_keep)
{
    struct acl acl;
    TRY(acl_decode(c->xattr.value, &acl));
    if (S_ISLNK(i->attr.mode))
        return ERR_NOTSUP;
    if (is_default) {
        *ret_keep = acl.count > 0;
        return S_ISDIR(i->attr.mode) || acl.count == 0 ? ERR_OK : ERR_ACCES;
    }
    *ret_keep = !acl_is_mode(&acl);
    if (acl.count > 0)
        i->attr.mode = (i->attr.mode & ~UINT32_C(0777)) | acl_mode(&acl);
    if (c->xattr.flags & META_XATTR_KILL_SGID)
        i->attr.mode &= ~(uint32_t)S_ISGID;
    return ERR_OK;
}

static bool is_acl(struct slice name, bool *ret_default)
{
    *ret_default = slice_equal(name, slice_str(META_ACL_DEFAULT));
    return *ret_default || slice_equal(name, slice_str(META_ACL_ACCESS));
}

OP(setxattr)
{
    struct row_inode i;
    struct slice old;
    bool found, is_default, keep = true;
    TRY_OP(inode_get(m, c->xattr.ino, &i));
    TRY(xattr_get(m, c->xattr.ino, c->xattr.name, &old, &found));
    if (found && (c->xattr.flags & META_XATTR_CREATE))
        return outcome(r, ERR_EXIST);
    if (!found && (c->xattr.flags & META_XATTR_REPLACE))
        return outcome(r, ERR_NODATA);
    if (is_acl(c->xattr.name, &is_default))
        TRY_OP(take_acl(&i, c, is_default, &keep));
    if (!keep) {
        if (found)
            xattr_delete(m, &i, c->xattr.name);
        return changed(m, &i, r);
    }
    enum err e = xattr_put(m, &i, c->xattr.name, c->xattr.value, found);
    return e == ERR_NOSPC ? outcome(r, e) : changed(m, &i, r);
}

OP(removexattr)
{
    struct row_inode i;
    struct slice old;
    bool found, is_default;
    TRY_OP(inode_get(m, c->xattr.ino, &i));
    TRY(xattr_get(m, c->xattr.ino, c->xattr.name, &old, &found));
    if (found)
        xattr_delete(m, &i, c->xattr.name);
    else if (!is_acl(c->xattr.name, &is_default)) /* no list is what everything has at first */
        return outcome(r, ERR_NODATA);
    return changed(m, &i, r);
}
