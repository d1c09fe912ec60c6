/* The table of operations, and what they all do. What is not in it (locks, extended attributes, fallocate, lseek,
 * copy_file_range, ioctl) libfuse answers with ENOSYS, upon which the kernel does it itself or reports it as not
 * supported. */
#include <string.h>

#include "base/clock.h"
#include "fusefs/mount.h"

void op_begin(struct op *op, fuse_req_t req)
{
    op->mount = fuse_req_userdata(req);
    op->changes = false;
    request_begin(&op->request, &op->mount->requests, req);
}

void op_begin_change(struct op *op, fuse_req_t req)
{
    op_begin(op, req);
    op->changes = true;
    atomic_fetch_add(&op->mount->changes, 1);
}

void op_end(struct op *op)
{
    if (op->changes)
        atomic_fetch_add(&op->mount->changes, 1);
    request_end(&op->request);
}

static struct timespec timespec_of(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    if (t.tv_nsec < 0) {
        t.tv_nsec += NS_PER_S;
        t.tv_sec--;
    }
    return t;
}

void attr_to_stat(const struct meta_attr *attr, struct stat *ret)
{
    *ret = (struct stat){
        .st_ino = attr->ino,
        .st_mode = attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = attr->rdev,
        .st_size = (off_t)attr->size,
        .st_blocks = (blkcnt_t)((attr->allocated + 511) / 512),
        /* Programs size their buffers by it: large enough for few requests, small enough for many open files. */
        .st_blksize = 128 * KIB,
        .st_atim = timespec_of(attr->atime_ns),
        .st_mtim = timespec_of(attr->mtime_ns),
        .st_ctim = timespec_of(attr->ctime_ns),
    };
}

void attr_to_entry(const struct meta_attr *attr, struct fuse_entry_param *ret)
{
    *ret =
        (struct fuse_entry_param){.ino = attr->ino, .attr_timeout = ATTR_TIMEOUT_S, .entry_timeout = ENTRY_TIMEOUT_S};
    attr_to_stat(attr, &ret->attr);
}

void reply_entry(fuse_req_t req, enum err e, const struct meta_attr *attr)
{
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct fuse_entry_param entry;
    attr_to_entry(attr, &entry);
    fuse_reply_entry(req, &entry);
}

/* Nothing is kept per looked-up inode. */
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    (void)ino, (void)count;
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    (void)count, (void)forgets;
    fuse_reply_none(req);
}

const struct fuse_lowlevel_ops mount_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .create = op_create,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .statfs = op_statfs,
};
