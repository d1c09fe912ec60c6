/* make.c: what create, mkdir, mknod and symlink share. */
#include <sys/stat.h>

#include "meta/acl.h"
#include "meta/store.h"

/* The mode as the umask or the parent's default list leaves it; *ret_acl: what becomes the access list, if there is a
 * default list. */
static enum err inherit(struct meta *m, const struct row_inode *parent, uint32_t mask, struct acl *ret_acl,
                        uint32_t *mode)
{
    struct slice value;
    bool found = false;
    if (parent->attr.xattrs > 0)
        TRY(xattr_get(m, parent->attr.ino, slice_str(META_ACL_DEFAULT), &value, &found));
    if (!found) {
        *mode &= ~(mask & UINT32_C(0777));
        return ERR_OK;
    }
    if (acl_decode(value, ret_acl) != ERR_OK || ret_acl->count == 0)
        return ERR_CORRUPT;
    acl_inherit(ret_acl, mode);
    return ERR_OK;
}

static enum err put_list(struct meta *m, struct row_inode *i, const char *name, struct slice value)
{
    /* The only attributes of something new: they are within every limit. */
    return xattr_put(m, i, slice_str(name), value, false);
}

/* A new inode has its access list, unless its mode says it all, and a new directory its parent's default list. */
static enum err put_lists(struct meta *m, const struct row_inode *parent, const struct acl *acl,
                          struct row_inode *child)
{
    if (!acl_is_mode(acl)) {
        struct bytes value = {0};
        acl_encode(acl, &value);
        enum err e = put_list(m, child, META_ACL_ACCESS, bytes_slice(&value));
        bytes_free(&value);
        TRY(e);
    }
    if (!S_ISDIR(child->attr.mode))
        return ERR_OK;
    struct slice value;
    bool found;
    TRY(xattr_get(m, parent->attr.ino, slice_str(META_ACL_DEFAULT), &value, &found));
    return found ? put_list(m, child, META_ACL_DEFAULT, value) : ERR_CORRUPT;
}

enum err make_entry(struct meta *m, const struct meta_command *c, uint32_t mode, struct meta_reply *r)
{
    struct row_inode parent, child;
    struct row_dentry there;
    bool found;
    TRY_OP(inode_get_directory(m, c->make.parent, &parent));
    if (parent.attr.nlink == 0)
        return outcome(r, ERR_NOENT); /* removed while somebody stood in it */
    TRY_OP(dentry_get(m, c->make.parent, c->make.name, &there, &found));
    if (found && c->op == META_CREATE && !c->make.exclusive) {
        struct row_inode existing;
        TRY_OP(inode_get_named(m, there.ino, &existing));
        if (!S_ISREG(existing.attr.mode))
            return outcome(r, S_ISDIR(existing.attr.mode) ? ERR_ISDIR : ERR_EXIST);
        *r = (struct meta_reply){
            .existed = true, .attr = existing.attr, .has_attr = true, .parent = parent.attr, .has_parent = true};
        return ERR_OK;
    }
    if (found)
        return outcome(r, ERR_EXIST);
    bool is_directory = S_ISDIR(mode);
    if (is_directory && parent.attr.nlink >= META_LINK_MAX)
        return outcome(r, ERR_MLINK);
    uint32_t gid = c->make.gid;
    if (parent.attr.mode & S_ISGID) {
        gid = parent.attr.gid;
        if (is_directory)
            mode |= S_ISGID;
    }
    struct acl acl = {0};
    if (!S_ISLNK(mode))
        TRY_OP(inherit(m, &parent, c->make.umask, &acl, &mode));
    inode_make(m, mode, c->make.uid, gid, &child);
    child.parent = c->make.parent;
    child.name = c->make.name;
    if (S_ISCHR(mode) || S_ISBLK(mode))
        child.attr.rdev = c->make.rdev;
    if (S_ISLNK(mode)) {
        child.target = c->make.target;
        child.attr.size = c->make.target.size;
    }
    if (acl.count > 0)
        TRY(put_lists(m, &parent, &acl, &child));
    inode_put(m, &child);
    dentry_put(m, c->make.parent, c->make.name, &child);
    dentry_parent_changed(m, &parent, 1, is_directory ? 1 : 0);
    *r = (struct meta_reply){.attr = child.attr, .has_attr = true, .parent = parent.attr, .has_parent = true};
    return ERR_OK;
}
