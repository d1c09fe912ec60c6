#include <sys/stat.h>

#include "meta/store.h"

OP(rmdir)
{
    struct row_inode parent, child;
    struct row_dentry there;
    bool found;
    TRY_OP(inode_get_directory(m, c->unlink.parent, &parent));
    TRY_OP(dentry_get(m, c->unlink.parent, c->unlink.name, &there, &found));
    if (!found)
        return outcome(r, ERR_NOENT);
    TRY_OP(inode_get_named(m, there.ino, &child));
    if (!S_ISDIR(child.attr.mode))
        return outcome(r, ERR_NOTDIR);
    if (child.attr.size > 0)
        return outcome(r, ERR_NOTEMPTY);
    dentry_delete(m, c->unlink.parent, c->unlink.name);
    dentry_parent_changed(m, &parent, -1, -1);
    child.attr.nlink = 0;
    child.attr.ctime_ns = m->time_ns;
    TRY_OP(inode_remove(m, &child));
    *r = (struct meta_reply){.attr = child.attr, .has_attr = true, .parent = parent.attr, .has_parent = true};
    return ERR_OK;
}
