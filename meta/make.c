/* make.c: what create, mkdir, mknod and symlink share. */
#include <sys/stat.h>

#include "meta/store.h"

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
    inode_make(m, mode, c->make.uid, gid, &child);
    child.parent = is_directory ? c->make.parent : 0;
    if (S_ISCHR(mode) || S_ISBLK(mode))
        child.attr.rdev = c->make.rdev;
    if (S_ISLNK(mode)) {
        child.target = c->make.target;
        child.attr.size = c->make.target.size;
    }
    inode_put(m, &child);
    dentry_put(m, c->make.parent, c->make.name, &child);
    dentry_parent_changed(m, &parent, 1, is_directory ? 1 : 0);
    *r = (struct meta_reply){.attr = child.attr, .has_attr = true, .parent = parent.attr, .has_parent = true};
    return ERR_OK;
}
