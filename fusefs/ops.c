/* The table of operations, and what they all do. What is not in it (ioctl) libfuse answers with ENOSYS, upon which the
 * kernel reports it as not supported. */
#include <string.h>

#include "base/clock.h"
#include "fusefs/kernel_cache.h"
#include "fusefs/mount.h"
#include "fusefs/squash.h"

void op_begin(struct op *op, fuse_req_t req)
{
    op->mount = fuse_req_userdata(req);
    op->changes = false;
    request_begin(&op->request, &op->mount->requests, req);
    squash_begin(op, req);
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

struct timespec timespec_of_ns(int64_t ns)
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
        .st_atim = timespec_of_ns(attr->atime_ns),
        .st_mtim = timespec_of_ns(attr->mtime_ns),
        .st_ctim = timespec_of_ns(attr->ctime_ns),
    };
}

void fill_entry(struct mount *m, uint64_t parent, struct slice name, struct meta_attr *attr,
                struct fuse_entry_param *ret)
{
    int64_t attr_ns = surf_attr_ns(m->surf, attr), name_ns = surf_name_ns(m->surf, parent, name, attr->ino);
    if (squash_hides_names(m, parent))
        name_ns = 0;
    *ret = (struct fuse_entry_param){
        .ino = attr->ino, .attr_timeout = (double)attr_ns / NS_PER_S, .entry_timeout = (double)name_ns / NS_PER_S};
    attr_to_stat(attr, &ret->attr);
    last_told_put(&m->last_told, attr);
}

void reply_entry(fuse_req_t req, enum err e, uint64_t parent, const char *name, struct meta_attr *attr)
{
    if (e != ERR_OK) {
        reply_name_error(req, e);
        return;
    }
    struct mount *m = fuse_req_userdata(req);
    struct fuse_entry_param entry;
    kernel_cache_tells_attr(m, attr);
    surf_answer_begin(m->surf);
    fill_entry(m, parent, slice_str(name), attr, &entry);
    fuse_reply_entry(req, &entry);
    surf_answer_end(m->surf);
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
    .getlk = op_getlk,
    .setlk = op_setlk,
    .flock = op_flock,
    .fallocate = op_fallocate,
    .lseek = op_lseek,
    .copy_file_range = op_copy_file_range,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
};
