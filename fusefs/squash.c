#include "fusefs/squash.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "meta/acl.h"

static enum err attr_of(struct op *op, uint64_t ino, struct meta_attr *ret)
{
    return surf_getattr(op->mount->surf, &op->request.caller, ino, ret);
}

void squash_begin(struct op *op, fuse_req_t req)
{
    struct surf_caller *c = &op->request.caller;
    op->squashed = fuse_req_ctx(req)->uid == 0 && surf_squashes_root(op->mount->surf);
    if (!op->squashed)
        return;
    c->uid = c->gid = SQUASH_ID;
    c->kills_set_id = true; /* the kernel has not said so, since root may leave such programs */
}

enum err squash_permits(struct op *op, fuse_req_t req, uint64_t ino, unsigned wanted)
{
    struct meta_attr attr;
    if (!op->squashed)
        return ERR_OK;
    TRY(attr_of(op, ino, &attr));
    return access_permits(op, req, &attr, wanted);
}

enum err squash_opens(struct op *op, fuse_req_t req, uint64_t ino, int flags)
{
    struct meta_attr attr;
    if (!op->squashed)
        return ERR_OK;
    TRY(attr_of(op, ino, &attr));
    TRY(access_permits(op, req, &attr, access_wanted(flags)));
    return (flags & O_NOATIME) && attr.uid != SQUASH_ID ? ERR_PERM : ERR_OK;
}

enum err squash_makes(struct op *op, fuse_req_t req, uint64_t directory)
{
    return squash_permits(op, req, directory, ACCESS_WRITE | ACCESS_SEARCH);
}

/* The same, and of what the name leads to, if it is there: *ret. */
static enum err removes(struct op *op, fuse_req_t req, uint64_t directory, struct slice name, struct meta_attr *ret)
{
    struct meta_attr attr;
    *ret = (struct meta_attr){0};
    TRY(attr_of(op, directory, &attr));
    TRY(access_permits(op, req, &attr, ACCESS_WRITE | ACCESS_SEARCH));
    enum err e = surf_lookup(op->mount->surf, &op->request.caller, directory, name, ret);
    if (e == ERR_NOENT)
        return ERR_OK;
    TRY(e);
    return (attr.mode & S_ISVTX) && attr.uid != SQUASH_ID && ret->uid != SQUASH_ID ? ERR_PERM : ERR_OK;
}

enum err squash_removes(struct op *op, fuse_req_t req, uint64_t directory, struct slice name)
{
    struct meta_attr attr;
    return op->squashed ? removes(op, req, directory, name, &attr) : ERR_OK;
}

/* Of a directory that gets another parent, which is written in it. */
static enum err moves(struct op *op, fuse_req_t req, const struct meta_attr *attr)
{
    return S_ISDIR(attr->mode) ? access_permits(op, req, attr, ACCESS_WRITE) : ERR_OK;
}

enum err squash_renames(struct op *op, fuse_req_t req, uint64_t from, struct slice name, uint64_t to,
                        struct slice new_name, bool exchanges)
{
    struct meta_attr moved, replaced;
    if (!op->squashed)
        return ERR_OK;
    TRY(removes(op, req, from, name, &moved));
    TRY(removes(op, req, to, new_name, &replaced));
    if (from == to)
        return ERR_OK;
    TRY(moves(op, req, &moved));
    return exchanges ? moves(op, req, &replaced) : ERR_OK;
}

enum err squash_links(struct op *op, fuse_req_t req, uint64_t ino, uint64_t directory)
{
    struct meta_attr attr;
    if (!op->squashed)
        return ERR_OK;
    TRY(squash_makes(op, req, directory));
    TRY(attr_of(op, ino, &attr));
    if (attr.uid == SQUASH_ID)
        return ERR_OK;
    bool plain =
        S_ISREG(attr.mode) && !(attr.mode & S_ISUID) && (attr.mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP);
    return plain && access_permits(op, req, &attr, ACCESS_READ | ACCESS_WRITE) == ERR_OK ? ERR_OK : ERR_PERM;
}

enum err squash_sets_attr(struct op *op, fuse_req_t req, uint64_t ino, bool by_handle, struct surf_setattr *set)
{
    struct meta_attr attr;
    if (!op->squashed)
        return ERR_OK;
    TRY(attr_of(op, ino, &attr));
    bool owner = attr.uid == SQUASH_ID, in_group = access_in_group(op, req, attr.gid);
    uint32_t times = set->mask & (META_SET_ATIME | META_SET_MTIME);
    uint32_t now = set->mask & (META_SET_ATIME_NOW | META_SET_MTIME_NOW);
    if ((set->mask & META_SET_UID) && (!owner || set->uid != attr.uid))
        return ERR_PERM;
    if ((set->mask & META_SET_GID) && (!owner || (set->gid != attr.gid && !access_in_group(op, req, set->gid))))
        return ERR_PERM;
    if (((set->mask & META_SET_MODE) || times != 0) && !owner)
        return ERR_PERM;
    if ((set->mask & META_SET_MODE) && !in_group && !S_ISDIR(attr.mode))
        set->mode &= ~(uint32_t)S_ISGID;
    bool writes = ((set->mask & META_SET_SIZE) && !by_handle) || (now != 0 && !owner);
    return writes ? access_permits(op, req, &attr, ACCESS_WRITE) : ERR_OK;
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

enum err squash_sets_xattr(struct op *op, fuse_req_t req, uint64_t ino, const char *name)
{
    struct meta_attr attr;
    if (!op->squashed)
        return ERR_OK;
    if (begins(name, "trusted.") || begins(name, "security."))
        return ERR_PERM;
    TRY(attr_of(op, ino, &attr));
    bool owner = attr.uid == SQUASH_ID;
    if (!begins(name, "user."))
        return owner ? ERR_OK : ERR_PERM;
    if (S_ISDIR(attr.mode) && (attr.mode & S_ISVTX) && !owner)
        return ERR_PERM;
    return access_permits(op, req, &attr, ACCESS_WRITE);
}

enum err squash_reads_xattr(struct op *op, fuse_req_t req, uint64_t ino, const char *name)
{
    if (!op->squashed)
        return ERR_OK;
    if (begins(name, "trusted."))
        return ERR_NODATA;
    return begins(name, "user.") ? squash_permits(op, req, ino, ACCESS_READ) : ERR_OK;
}

bool squash_hides_names(struct mount *m, uint64_t directory)
{
    struct meta_attr attr;
    if (!surf_squashes_root(m->surf))
        return false;
    if (!surf_believed_attr(m->surf, directory, &attr) || attr.xattrs > 0) /* a list may say so */
        return true;
    struct acl list;
    uint32_t group = SQUASH_ID;
    struct acl_subject nobody = {
        .owner = attr.uid, .group = attr.gid, .uid = SQUASH_ID, .groups = &group, .group_count = 1};
    acl_of_mode(&list, attr.mode);
    return !acl_permits(&list, &nobody, ACCESS_SEARCH);
}
