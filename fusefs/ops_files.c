#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/mem.h"
#include "fusefs/set_gid.h"
#include "fusefs/squash.h"

#define CREATE_ATTEMPTS 20

struct open_file *file_handle_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh;
}

static void fill_open(struct mount *m, struct fuse_file_info *fi, struct open_file *handle, bool keep_cache)
{
    fi->fh = (uintptr_t)handle;
    fi->keep_cache = keep_cache;
    /* Where appended bytes land is decided by the metastore; the kernel must not keep pages by its own guess. */
    fi->direct_io = (fi->flags & O_APPEND) && (fi->flags & O_ACCMODE) != O_RDONLY;
    /* A handle that can't write has nothing to flush: saves a request at close. But any close ends a process's fcntl
     * locks; those taken through this handle end with it at the latest. */
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY && !locks_any(surf_locks(m->surf), open_file_ino(handle));
}

/* The kernel has looked the name up and believes that the file is new. Another mount may have been quicker: then that
 * one is opened, unless it is something else, which ESTALE makes the kernel look up again. */
static enum err create_or_open(struct op *op, fuse_req_t req, uint64_t parent, struct slice name, mode_t mode,
                               int flags, struct meta_attr *attr, struct open_file **ret, bool *ret_keep_cache)
{
    TRY(squash_makes(op, req, parent));
    for (int attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
        enum err e = surf_create(op->mount->surf, &op->request.caller, parent, name, mode, flags | O_EXCL, attr, ret,
                                 ret_keep_cache);
        if (e == ERR_STALE)
            return ERR_NOENT; /* the directory has been removed */
        if (e != ERR_EXIST || (flags & O_EXCL))
            return e;
        e = surf_lookup(op->mount->surf, &op->request.caller, parent, name, attr);
        if (e == ERR_NOENT)
            continue; /* gone again */
        TRY(e);
        if (!S_ISREG(attr->mode))
            return ERR_STALE;
        e = access_permits(op, req, attr, access_wanted(flags));
        if (e == ERR_STALE)
            continue; /* gone before its list was read */
        TRY(e);
        e = surf_open(op->mount->surf, &op->request.caller, attr->ino, flags, ret, ret_keep_cache);
        if (e != ERR_STALE)
            return e;
    }
    return ERR_STALE;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct op op;
    struct meta_attr attr;
    struct open_file *handle;
    bool keep_cache = false;
    op_begin_change(&op, req);
    enum err e = create_or_open(&op, req, parent, slice_str(name), mode, fi->flags, &attr, &handle, &keep_cache);
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct mount *m = fuse_req_userdata(req);
    struct fuse_entry_param entry;
    fill_open(m, fi, handle, keep_cache);
    surf_answer_begin(m->surf);
    fill_entry(m, parent, slice_str(name), &attr, &entry);
    int error = fuse_reply_create(req, &entry, fi);
    surf_answer_end(m->surf);
    /* ENOENT: the caller was killed meanwhile, so no release will come. */
    if (error == -ENOENT)
        file_close(handle);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct op op;
    struct open_file *handle;
    bool keep_cache = false;
    if (fi->flags & O_TRUNC)
        op_begin_change(&op, req);
    else
        op_begin(&op, req);
    invalidator_asked(&op.mount->invalidator, ino); /* it is likely to be read next */
    enum err e = squash_opens(&op, req, ino, fi->flags);
    if (e == ERR_OK && (fi->flags & O_TRUNC))
        e = set_gid_drop_by_open(&op, req, ino);
    if (e == ERR_OK)
        e = surf_open(op.mount->surf, &op.request.caller, ino, fi->flags, &handle, &keep_cache);
    op_end(&op);
    invalidator_answered(&op.mount->invalidator, ino);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    /* The kernel drops the old pages by itself, but would go on reading up to a size that it looked up before. This
     * form touches no pages, so it can't wait for a request. */
    if (!keep_cache)
        (void)fuse_lowlevel_notify_inval_inode(op.mount->session, ino, -1, 0);
    fill_open(op.mount, fi, handle, keep_cache);
    if (fuse_reply_open(req, fi) == -ENOENT)
        file_close(handle);
}

/* One buffer per thread that reads, freed when libfuse ends the thread. */
static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void)
{
    if (pthread_key_create(&buffer_key, free) != 0)
        abort();
}

static void *read_buffer(void)
{
    pthread_once(&buffer_once, make_buffer_key);
    void *buffer = pthread_getspecific(buffer_key);
    if (!buffer) {
        buffer = mem_alloc(MAX_TRANSFER);
        pthread_setspecific(buffer_key, buffer);
    }
    return buffer;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    struct slice got;
    struct block_buffer *lent;
    void *buffer = read_buffer();
    op_begin(&op, req);
    enum err e = file_read_lent(file_handle_of(fi), (uint64_t)off, buffer, MIN(size, (size_t)MAX_TRANSFER),
                                op.request.caller.cancel, &got, &lent);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_buf(req, (const char *)got.data, got.size);
    else
        reply_error(req, e);
    block_buffer_unref(lent);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    op_begin_change(&op, req);
    /* The flags are those that the handle has now (fcntl(2) changes them), and none when the kernel writes a mapped
     * page: for that it takes any handle that is open for writing. */
    unsigned flags = fi->flags & O_APPEND ? FILE_WRITE_APPEND : 0;
    /* The kernel writes mapped pages in nobody's name, which looks like root's. */
    if (op.request.caller.kills_set_id && !(op.squashed && fi->writepage))
        flags |= FILE_WRITE_KILL_SET_ID;
    enum err e = fi->writepage ? ERR_OK : set_gid_drop(&op, req, file_handle_of(fi));
    if (e == ERR_OK)
        e = file_write_as(file_handle_of(fi), (uint64_t)off, buf, size, flags, op.request.caller.cancel);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_write(req, size);
    else
        reply_error(req, e);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    op_begin_change(&op, req);
    request_closes(&op.request);
    enum err e = file_flush(file_handle_of(fi), op.request.caller.cancel);
    enum err closed =
        locks_close(surf_locks(op.mount->surf), file_handle_of(fi), fi->lock_owner, op.request.caller.cancel);
    if (e == ERR_OK)
        e = closed;
    op_end(&op);
    reply_error(req, e);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync;
    struct op op;
    op_begin_change(&op, req);
    enum err e = file_fsync(file_handle_of(fi), op.request.caller.cancel);
    op_end(&op);
    reply_error(req, e);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct mount *m = fuse_req_userdata(req);
    locks_release(surf_locks(m->surf), file_handle_of(fi));
    file_close(file_handle_of(fi));
    fuse_reply_err(req, 0);
}
