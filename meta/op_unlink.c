#include <sys/stat.h>

#include "meta/store.h"

OP(unlink)
{
    struct row_inode parent, child;
    struct row_dentry there;
    bool found, orphaned;
    TRY_OP(inode_get_directory(m, c->unlink.parent, &parent));
    TRY_OP(dentry_get(m, c->unlink.parent, c->unlink.name, &there, &found));
    if (!found)
        return outcome(r, ERR_NOENT);
    TRY_OP(inode_get_named(m, there.ino, &child));
    if (S_ISDIR(child.attr.mode))
        return outcome(r, ERR_ISDIR);
    uint64_t expected = c->unlink.expected_ino;
    if (expected != 0 && (there.ino != expected || child.attr.version != c->unlink.expected_version)) {
        *r = (struct meta_reply){.status = ERR_VERSION, .attr = child.attr, .has_attr = true};
        return ERR_OK;
    }
    dentry_delete(m, c->unlink.parent, c->unlink.name);
    dentry_parent_changed(m, &parent, -1, 0);
    TRY_OP(inode_drop_link(m, &child, c->unlink.parent, c->unlink.name, &orphaned));
    *r = (struct meta_reply){
        .attr = child.attr, .has_attr = true, .parent = parent.attr, .has_parent = true, .orphaned = orphaned};
    return ERR_OK;
}
