#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/mem.h"
#include "fusefs/mount.h"

static struct open_file *handle_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh;
}

static void fill_open(struct fuse_file_info *fi, struct open_file *handle, bool keep_cache)
{
    fi->fh = (uintptr_t)handle;
    fi->keep_cache = keep_cache;
    /* Where appended bytes land is decided by the metastore; the kernel must not keep pages by its own guess. */
    fi->direct_io = (fi->flags & O_APPEND) && (fi->flags & O_ACCMODE) != O_RDONLY;
    /* A handle that can't write has nothing to flush: saves a request at close. */
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct op op;
    struct meta_attr attr;
    struct open_file *handle;
    bool keep_cache = false;
    op_begin_change(&op, req);
    /* The kernel believes that the file is new, and would open one that another mount has just made without looking at
     * its type and permissions. ESTALE makes it look the name up again. */
    enum err e = surf_create(op.mount->surf, &op.request.caller, parent, slice_str(name), mode, fi->flags | O_EXCL,
                             &attr, &handle, &keep_cache);
    if (e == ERR_EXIST && !(fi->flags & O_EXCL))
        e = ERR_STALE;
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct fuse_entry_param entry;
    attr_to_entry(&attr, &entry);
    fill_open(fi, handle, keep_cache);
    /* ENOENT: the caller was killed meanwhile, so no release will come. */
    if (fuse_reply_create(req, &entry, fi) == -ENOENT)
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
    enum err e = surf_open(op.mount->surf, &op.request.caller, ino, fi->flags, &handle, &keep_cache);
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    /* The kernel drops the old pages by itself, but would go on reading up to a size that it looked up before. This
     * form touches no pages, so it can't wait for a request. */
    if (!keep_cache)
        (void)fuse_lowlevel_notify_inval_inode(op.mount->session, ino, -1, 0);
    fill_open(fi, handle, keep_cache);
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
    size_t got = 0;
    void *buffer = read_buffer();
    op_begin(&op, req);
    enum err e = file_read(handle_of(fi), (uint64_t)off, buffer, MIN(size, (size_t)MAX_TRANSFER),
                           op.request.caller.cancel, &got);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_buf(req, buffer, got);
    else
        reply_error(req, e);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    op_begin_change(&op, req);
    enum err e = file_write(handle_of(fi), (uint64_t)off, buf, size, op.request.caller.cancel);
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
    enum err e = file_flush(handle_of(fi), op.request.caller.cancel);
    op_end(&op);
    reply_error(req, e);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync;
    struct op op;
    op_begin_change(&op, req);
    enum err e = file_fsync(handle_of(fi), op.request.caller.cancel);
    op_end(&op);
    reply_error(req, e);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    file_close(handle_of(fi));
    fuse_reply_err(req, 0);
}
