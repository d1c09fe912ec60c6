#include <errno.h>
#include <stdio.h>

#include "fusefs/squash.h"

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct op op;
    struct meta_attr attr;
    op_begin_change(&op, req);
    enum err e = squash_makes(&op, req, parent);
    if (e == ERR_OK && op.squashed && (S_ISCHR(mode) || S_ISBLK(mode)))
        e = ERR_PERM;
    if (e == ERR_OK)
        e = surf_mknod(op.mount->surf, &op.request.caller, parent, slice_str(name), mode, (uint32_t)rdev, &attr);
    op_end(&op);
    reply_entry(req, e, parent, name, &attr);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct op op;
    struct meta_attr attr;
    op_begin_change(&op, req);
    enum err e = squash_makes(&op, req, parent);
    if (e == ERR_OK)
        e = surf_mkdir(op.mount->surf, &op.request.caller, parent, slice_str(name), mode, &attr);
    op_end(&op);
    reply_entry(req, e, parent, name, &attr);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op op;
    op_begin_change(&op, req);
    enum err e = squash_removes(&op, req, parent, slice_str(name));
    if (e == ERR_OK)
        e = surf_unlink(op.mount->surf, &op.request.caller, parent, slice_str(name));
    op_end(&op);
    reply_name_error(req, e);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op op;
    op_begin_change(&op, req);
    enum err e = squash_removes(&op, req, parent, slice_str(name));
    if (e == ERR_OK)
        e = surf_rmdir(op.mount->surf, &op.request.caller, parent, slice_str(name));
    op_end(&op);
    reply_name_error(req, e);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct op op;
    struct meta_attr attr;
    op_begin_change(&op, req);
    enum err e = squash_makes(&op, req, parent);
    if (e == ERR_OK)
        e = surf_symlink(op.mount->surf, &op.request.caller, parent, slice_str(name), slice_str(target), &attr);
    op_end(&op);
    reply_entry(req, e, parent, name, &attr);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
               unsigned int flags)
{
    uint32_t meta_flags = 0;
    if (flags & RENAME_NOREPLACE)
        meta_flags |= META_RENAME_NOREPLACE;
    if (flags & RENAME_EXCHANGE)
        meta_flags |= META_RENAME_EXCHANGE;
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct op op;
    op_begin_change(&op, req);
    enum err e =
        squash_renames(&op, req, parent, slice_str(name), new_parent, slice_str(new_name), flags & RENAME_EXCHANGE);
    if (e == ERR_OK)
        e = surf_rename(op.mount->surf, &op.request.caller, parent, slice_str(name), new_parent, slice_str(new_name),
                        meta_flags);
    op_end(&op);
    reply_name_error(req, e);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    struct op op;
    struct meta_attr attr;
    op_begin_change(&op, req);
    enum err e = squash_links(&op, req, ino, new_parent);
    if (e == ERR_OK)
        e = surf_link(op.mount->surf, &op.request.caller, ino, new_parent, slice_str(new_name), &attr);
    op_end(&op);
    reply_entry(req, e, new_parent, new_name, &attr);
}
