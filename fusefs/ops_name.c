/* ops_name.c: names: looking them up, making, moving and removing them. */
#include "fusefs/fusefs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* The end of every operation that makes or finds an inode by name. */
static void reply_entry(struct fusefs_call *c, enum err e, const struct meta_attr *attr)
{
    fusefs_end(c);
    if (e != ERR_OK) {
        fusefs_reply_error(c->req, e);
        return;
    }
    struct fuse_entry_param entry = fusefs_entry(attr);
    fuse_reply_entry(c->req, &entry);
}

static void reply_done(struct fusefs_call *c, enum err e)
{
    fusefs_end(c);
    fusefs_reply_error(c->req, e);
}

void fusefs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    reply_entry(&c, surf_lookup(c.fs->surf, &c.caller, parent, slice_str(name), &attr), &attr);
}

void fusefs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    (void)ino, (void)count;
    fuse_reply_none(req);
}

void fusefs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    (void)count, (void)forgets;
    fuse_reply_none(req);
}

void fusefs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    enum err e = surf_mknod(c.fs->surf, &c.caller, parent, slice_str(name), mode, (uint32_t)rdev, &attr);
    reply_entry(&c, e, &attr);
}

void fusefs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    reply_entry(&c, surf_mkdir(c.fs->surf, &c.caller, parent, slice_str(name), S_IFDIR | (mode & 07777), &attr), &attr);
}

void fusefs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    reply_entry(&c, surf_symlink(c.fs->surf, &c.caller, parent, slice_str(name), slice_str(target), &attr), &attr);
}

void fusefs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    reply_entry(&c, surf_link(c.fs->surf, &c.caller, ino, new_parent, slice_str(new_name), &attr), &attr);
}

void fusefs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fusefs_call c = fusefs_begin(req);
    reply_done(&c, surf_unlink(c.fs->surf, &c.caller, parent, slice_str(name)));
}

void fusefs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fusefs_call c = fusefs_begin(req);
    reply_done(&c, surf_rmdir(c.fs->surf, &c.caller, parent, slice_str(name)));
}

void fusefs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                   unsigned flags)
{
    uint32_t meta_flags =
        (flags & RENAME_NOREPLACE ? META_RENAME_NOREPLACE : 0) | (flags & RENAME_EXCHANGE ? META_RENAME_EXCHANGE : 0);
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct fusefs_call c = fusefs_begin(req);
    reply_done(
        &c, surf_rename(c.fs->surf, &c.caller, parent, slice_str(name), new_parent, slice_str(new_name), meta_flags));
}

void fusefs_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct fusefs_call c = fusefs_begin(req);
    struct arena arena = {0};
    struct slice target;
    enum err e = surf_readlink(c.fs->surf, &c.caller, ino, &arena, &target);
    fusefs_end(&c);
    if (e == ERR_OK)
        fuse_reply_readlink(req, arena_str(&arena, target));
    else
        fusefs_reply_error(req, e);
    arena_free(&arena);
}
