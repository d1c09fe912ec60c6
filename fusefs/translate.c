#include "fusefs/fusefs.h"

#include <errno.h>

#define STAT_BLOCK 512u
#define PREFERRED_IO_BYTES (64u * KIB)

int fusefs_errno(enum err e)
{
    switch (e) {
    case ERR_CANCELLED:
        return EINTR;
    /* The cluster's troubles, not the file's: their errno would mislead. */
    case ERR_TIMEOUT:
    case ERR_UNREACHABLE:
    case ERR_CLOSED:
    case ERR_AGAIN:
    case ERR_NOMEM:
        return EIO;
    default:
        return err_to_errno(e);
    }
}

void fusefs_reply_error(fuse_req_t req, enum err e)
{
    fuse_reply_err(req, e == ERR_OK ? 0 : fusefs_errno(e));
}

static struct timespec timespec_of(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (t.tv_nsec < 0)
        t.tv_sec--, t.tv_nsec += 1000000000;
    return t;
}

void fusefs_stat(const struct meta_attr *attr, struct stat *ret)
{
    *ret = (struct stat){
        .st_ino = attr->ino,
        .st_mode = attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = attr->rdev,
        .st_size = (off_t)attr->size,
        .st_blksize = PREFERRED_IO_BYTES,
        .st_blocks = (blkcnt_t)((attr->allocated + STAT_BLOCK - 1) / STAT_BLOCK),
        .st_atim = timespec_of(attr->atime_ns),
        .st_mtim = timespec_of(attr->mtime_ns),
        .st_ctim = timespec_of(attr->ctime_ns),
    };
}

struct fuse_entry_param fusefs_entry(const struct meta_attr *attr)
{
    struct fuse_entry_param e = {.ino = attr->ino, .attr_timeout = FUSEFS_TIMEOUT_S, .entry_timeout = FUSEFS_TIMEOUT_S};
    fusefs_stat(attr, &e.attr);
    return e;
}

static void on_interrupt(fuse_req_t req, void *data)
{
    (void)req;
    interrupt_request(data);
}

struct fusefs_call fusefs_begin(fuse_req_t req)
{
    struct fusefs *fs = fuse_req_userdata(req);
    const struct fuse_ctx *context = fuse_req_ctx(req);
    struct interrupt_slot *slot = interrupt_begin(fs->interrupts);
    fuse_req_interrupt_func(req, on_interrupt, slot);
    return (struct fusefs_call){
        .fs = fs,
        .req = req,
        .slot = slot,
        .caller = {.uid = context->uid, .gid = context->gid, .cancel = interrupt_cancel_of(slot)}};
}

void fusefs_end(struct fusefs_call *c)
{
    fuse_req_interrupt_func(c->req, NULL, NULL);
    interrupt_end(c->slot);
}
