/* op_rename.c: rename(2) with RENAME_NOREPLACE and RENAME_EXCHANGE. Both parents may be the same directory: there is
 * one copy of it then. */
#include <sys/stat.h>

#include "meta/store.h"

#define DEPTH_MAX 4096u /* directories above one another that the loop check walks */

struct rename {
    struct row_inode parents[2];
    struct row_inode *from, *to; /* into parents; equal when it is one directory */
    struct row_inode moved, target;
    struct row_dentry moved_entry, target_entry;
    bool has_target;
};

/* Whether `directory` is `below` or above it. */
static enum err is_above(struct meta *m, uint64_t directory, uint64_t below, bool *ret)
{
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        if (below == directory) {
            *ret = true;
            return ERR_OK;
        }
        if (below == META_ROOT_INO) {
            *ret = false;
            return ERR_OK;
        }
        struct row_inode i;
        TRY(inode_get_named(m, below, &i));
        below = i.parent;
    }
    return ERR_LOOP;
}

static enum err load(struct meta *m, const struct meta_command *c, struct rename *n)
{
    bool found;
    n->from = n->to = &n->parents[0];
    TRY(inode_get_directory(m, c->rename.parent, n->from));
    if (c->rename.new_parent != c->rename.parent) {
        n->to = &n->parents[1];
        TRY(inode_get_directory(m, c->rename.new_parent, n->to));
    }
    TRY(dentry_get(m, c->rename.parent, c->rename.name, &n->moved_entry, &found));
    if (!found || n->to->attr.nlink == 0)
        return ERR_NOENT;
    TRY(inode_get_named(m, n->moved_entry.ino, &n->moved));
    TRY(dentry_get(m, c->rename.new_parent, c->rename.new_name, &n->target_entry, &n->has_target));
    return n->has_target ? inode_get_named(m, n->target_entry.ino, &n->target) : ERR_OK;
}

static enum err check_loops(struct meta *m, const struct meta_command *c, const struct rename *n)
{
    bool above = false;
    if (n->from == n->to)
        return ERR_OK;
    if (S_ISDIR(n->moved.attr.mode)) {
        TRY(is_above(m, n->moved.attr.ino, c->rename.new_parent, &above));
        if (above)
            return ERR_INVAL;
    }
    if (n->has_target && S_ISDIR(n->target.attr.mode)) {
        TRY(is_above(m, n->target.attr.ino, c->rename.parent, &above));
        if (above)
            return (c->rename.flags & META_RENAME_EXCHANGE) ? ERR_INVAL : ERR_NOTEMPTY;
    }
    return ERR_OK;
}

static void touch(struct meta *m, struct row_inode *i, uint64_t new_parent, struct slice new_name)
{
    i->parent = new_parent;
    i->name = new_name;
    i->attr.ctime_ns = m->time_ns;
    inode_put(m, i);
}

static void put_parents(struct meta *m, struct rename *n, int from_entries, int from_directories, int to_directories)
{
    if (n->from == n->to) {
        dentry_parent_changed(m, n->from, from_entries, from_directories + to_directories);
    } else {
        dentry_parent_changed(m, n->from, from_entries, from_directories);
        dentry_parent_changed(m, n->to, n->has_target ? 0 : 1, to_directories);
    }
}

static enum err exchange(struct meta *m, const struct meta_command *c, struct rename *n)
{
    bool moved_is_directory = S_ISDIR(n->moved.attr.mode), target_is_directory = S_ISDIR(n->target.attr.mode);
    dentry_put(m, c->rename.parent, c->rename.name, &n->target);
    dentry_put(m, c->rename.new_parent, c->rename.new_name, &n->moved);
    touch(m, &n->moved, c->rename.new_parent, c->rename.new_name);
    touch(m, &n->target, c->rename.parent, c->rename.name);
    put_parents(m, n, 0, (int)target_is_directory - (int)moved_is_directory,
                (int)moved_is_directory - (int)target_is_directory);
    return ERR_OK;
}

static enum err check_types(const struct rename *n)
{
    bool moved_is_directory = S_ISDIR(n->moved.attr.mode), target_is_directory = S_ISDIR(n->target.attr.mode);
    if (target_is_directory && !moved_is_directory)
        return ERR_ISDIR;
    if (!target_is_directory && moved_is_directory)
        return ERR_NOTDIR;
    return target_is_directory && n->target.attr.size > 0 ? ERR_NOTEMPTY : ERR_OK;
}

/* A directory that comes from elsewhere is a link more to the one that it comes to, unless it takes another's place. */
static bool links_exceeded(const struct rename *n, bool exchange)
{
    bool moved = S_ISDIR(n->moved.attr.mode), target = n->has_target && S_ISDIR(n->target.attr.mode);
    if (n->from == n->to)
        return false;
    return (moved && !target && n->to->attr.nlink >= META_LINK_MAX) ||
           (exchange && target && !moved && n->from->attr.nlink >= META_LINK_MAX);
}

static enum err move(struct meta *m, const struct meta_command *c, struct rename *n, bool *ret_orphaned)
{
    int directory = S_ISDIR(n->moved.attr.mode) ? 1 : 0;
    if (n->has_target) {
        if (S_ISDIR(n->target.attr.mode)) {
            n->target.attr.nlink = 0;
            TRY(inode_remove(m, &n->target));
        } else {
            TRY(inode_drop_link(m, &n->target, c->rename.new_parent, c->rename.new_name, ret_orphaned));
        }
    }
    dentry_delete(m, c->rename.parent, c->rename.name);
    dentry_put(m, c->rename.new_parent, c->rename.new_name, &n->moved);
    touch(m, &n->moved, c->rename.new_parent, c->rename.new_name);
    int replaced = n->has_target ? directory : 0; /* a directory that is replaced is one subdirectory less */
    int from_entries = n->from == n->to ? (n->has_target ? -1 : 0) : -1;
    put_parents(m, n, from_entries, -directory, directory - replaced);
    return ERR_OK;
}

OP(rename)
{
    struct rename n = {0};
    bool orphaned = false;
    uint32_t flags = c->rename.flags;
    if ((flags & ~(uint32_t)(META_RENAME_NOREPLACE | META_RENAME_EXCHANGE)) ||
        flags == (META_RENAME_NOREPLACE | META_RENAME_EXCHANGE))
        return outcome(r, ERR_INVAL);
    TRY_OP(load(m, c, &n));
    if ((flags & META_RENAME_NOREPLACE) && n.has_target)
        return outcome(r, ERR_EXIST);
    if ((flags & META_RENAME_EXCHANGE) && !n.has_target)
        return outcome(r, ERR_NOENT);
    /* Two names of one inode: rename(2) does nothing, successfully. */
    bool same = n.has_target && n.target.attr.ino == n.moved.attr.ino;
    if (!same) {
        TRY_OP(check_loops(m, c, &n));
        if (links_exceeded(&n, flags & META_RENAME_EXCHANGE))
            return outcome(r, ERR_MLINK);
        if (flags & META_RENAME_EXCHANGE) {
            TRY_OP(exchange(m, c, &n));
        } else {
            if (n.has_target)
                TRY_OP(check_types(&n));
            TRY_OP(move(m, c, &n, &orphaned));
        }
    }
    *r = (struct meta_reply){
        .attr = n.moved.attr, .has_attr = true, .parent = n.to->attr, .has_parent = true, .orphaned = orphaned};
    if (n.has_target && !same) {
        r->replaced = n.target.attr;
        r->has_replaced = true;
    }
    return ERR_OK;
}
