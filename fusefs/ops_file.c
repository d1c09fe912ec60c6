/* ops_file.c: open files. A handle is a struct file_handle in fi->fh. */
#include "fusefs/fusefs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/mem.h"

static struct file_handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct file_handle *)(uintptr_t)fi->fh;
}

/* What the kernel is told about a new handle. */
static void set_handle(struct fuse_file_info *fi, struct file_handle *handle, bool keep_cache)
{
    bool reads_only = (fi->flags & O_ACCMODE) == O_RDONLY;
    fi->fh = (uintptr_t)handle;
    fi->keep_cache = keep_cache;
    /* The metastore places appended bytes, perhaps not where this kernel thinks that the file ends. */
    fi->direct_io = !reads_only && (fi->flags & O_APPEND) != 0;
    fi->noflush = reads_only;
}

void fusefs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct fusefs_call c = fusefs_begin(req);
    struct meta_attr attr;
    struct file_handle *handle;
    bool keep_cache = false;
    enum err e = surf_create(c.fs->surf, &c.caller, parent, slice_str(name), S_IFREG | (mode & 07777), fi->flags, &attr,
                             &handle, &keep_cache);
    fusefs_end(&c);
    if (e != ERR_OK) {
        fusefs_reply_error(req, e);
        return;
    }
    set_handle(fi, handle, keep_cache);
    struct fuse_entry_param entry = fusefs_entry(&attr);
    if (fuse_reply_create(req, &entry, fi) != 0)
        file_close(handle); /* the kernel never heard of it: nobody will release it */
}

void fusefs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fusefs_call c = fusefs_begin(req);
    struct file_handle *handle;
    bool keep_cache = false;
    enum err e = surf_open(c.fs->surf, &c.caller, ino, fi->flags, &handle, &keep_cache);
    fusefs_end(&c);
    if (e != ERR_OK) {
        fusefs_reply_error(req, e);
        return;
    }
    set_handle(fi, handle, keep_cache);
    if (fuse_reply_open(req, fi) != 0)
        file_close(handle);
}

static pthread_key_t read_buffer_key;
static pthread_once_t read_buffer_once = PTHREAD_ONCE_INIT;

static void read_buffer_init(void)
{
    pthread_key_create(&read_buffer_key, free);
}

/* One for each thread, made at its first read. */
static void *read_buffer(void)
{
    pthread_once(&read_buffer_once, read_buffer_init);
    void *buffer = pthread_getspecific(read_buffer_key);
    if (!buffer) {
        buffer = mem_alloc(FUSEFS_REQUEST_BYTES);
        pthread_setspecific(read_buffer_key, buffer);
    }
    return buffer;
}

void fusefs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    struct fusefs_call c = fusefs_begin(req);
    void *buffer = read_buffer();
    size_t got = 0;
    enum err e = file_read(handle_of(fi), (uint64_t)offset, buffer, MIN(size, (size_t)FUSEFS_REQUEST_BYTES),
                           c.caller.cancel, &got);
    fusefs_end(&c);
    if (e == ERR_OK)
        fuse_reply_buf(req, buffer, got);
    else
        fusefs_reply_error(req, e);
}

void fusefs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                  struct fuse_file_info *fi)
{
    (void)ino;
    struct fusefs_call c = fusefs_begin(req);
    enum err e = file_write(handle_of(fi), (uint64_t)offset, data, size, c.caller.cancel);
    fusefs_end(&c);
    if (e == ERR_OK)
        fuse_reply_write(req, size);
    else
        fusefs_reply_error(req, e);
}

void fusefs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct fusefs_call c = fusefs_begin(req);
    enum err e = file_flush(handle_of(fi), c.caller.cancel);
    fusefs_end(&c);
    fusefs_reply_error(req, e);
}

void fusefs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync;
    struct fusefs_call c = fusefs_begin(req);
    enum err e = file_fsync(handle_of(fi), c.caller.cancel);
    fusefs_end(&c);
    fusefs_reply_error(req, e);
}

void fusefs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    file_close(handle_of(fi));
    fuse_reply_err(req, 0);
}
