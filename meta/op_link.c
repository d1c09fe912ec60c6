#include <sys/stat.h>

#include "meta/store.h"

OP(link)
{
    struct row_inode parent, child;
    struct row_dentry there;
    bool found;
    TRY_OP(inode_get_directory(m, c->link.parent, &parent));
    if (parent.attr.nlink == 0)
        return outcome(r, ERR_NOENT);
    TRY_OP(inode_get(m, c->link.ino, &child));
    if (S_ISDIR(child.attr.mode))
        return outcome(r, ERR_PERM);
    if (child.attr.nlink == 0)
        return outcome(r, ERR_NOENT); /* link(2): an unlinked file can't be linked again */
    if (child.attr.nlink >= META_LINK_MAX)
        return outcome(r, ERR_MLINK);
    TRY_OP(dentry_get(m, c->link.parent, c->link.name, &there, &found));
    if (found)
        return outcome(r, ERR_EXIST);
    child.attr.nlink++;
    child.attr.ctime_ns = m->time_ns;
    if (child.name.size == 0)
        child.parent = c->link.parent, child.name = c->link.name;
    inode_put(m, &child);
    dentry_put(m, c->link.parent, c->link.name, &child);
    dentry_parent_changed(m, &parent, 1, 0);
    *r = (struct meta_reply){.attr = child.attr, .has_attr = true, .parent = parent.attr, .has_parent = true};
    return ERR_OK;
}
