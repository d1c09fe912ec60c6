#include "fusefs/set_gid.h"

#include <sys/stat.h>

#include "fusefs/access.h"

static bool is_lost(const struct op *op, fuse_req_t req, const struct meta_attr *attr)
{
    bool is_such = S_ISREG(attr->mode) && (attr->mode & (S_ISGID | S_IXGRP)) == S_ISGID;
    return is_such && !access_in_group(op, req, attr->gid);
}

static enum err drop(struct op *op, uint64_t ino)
{
    struct surf_setattr set = {.mask = META_KILL_SET_GID};
    struct meta_attr attr;
    return surf_setattr(op->mount->surf, &op->request.caller, ino, &set, &attr);
}

enum err set_gid_drop(struct op *op, fuse_req_t req, const struct open_file *h)
{
    struct meta_attr attr;
    if (!op->request.caller.kills_set_id)
        return ERR_OK;
    /* A file that several mounts write is believed for no time, and a question for each write would be too dear. */
    if (!surf_believed_attr(op->mount->surf, open_file_ino(h), &attr))
        open_file_attr(h, &attr);
    return is_lost(op, req, &attr) ? drop(op, open_file_ino(h)) : ERR_OK;
}

enum err set_gid_drop_by_open(struct op *op, fuse_req_t req, uint64_t ino)
{
    struct meta_attr attr;
    if (!op->request.caller.kills_set_id)
        return ERR_OK;
    TRY(surf_getattr(op->mount->surf, &op->request.caller, ino, &attr));
    return is_lost(op, req, &attr) ? drop(op, ino) : ERR_OK;
}

enum err set_gid_look(struct op *op, fuse_req_t req, uint64_t ino, struct surf_setattr *set)
{
    struct meta_attr attr;
    bool gives_away = (set->mask & (META_SET_UID | META_SET_GID)) && op->request.caller.uid != 0;
    bool truncates = (set->mask & META_SET_SIZE) && op->request.caller.kills_set_id;
    if ((set->mask & META_SET_MODE) || (!gives_away && !truncates))
        return ERR_OK;
    TRY(surf_getattr(op->mount->surf, &op->request.caller, ino, &attr));
    if (is_lost(op, req, &attr))
        set->mask |= META_KILL_SET_GID;
    return ERR_OK;
}
