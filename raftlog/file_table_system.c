/* The real file table: directory-relative calls of Linux. */
#include "raftlog/file_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

#define ZEROS_BYTES (256 * KIB)

struct file_table_dir {
    int fd;
};
struct file_table_file {
    int fd;
};

/* Anything but a full disk is ERR_IO: the caller can't do more about EROFS than about EIO. */
static enum err disk_error(void)
{
    return err_from_errno(errno) == ERR_NOSPC ? ERR_NOSPC : ERR_IO;
}

static enum err system_open_dir(void *context, const char *path, struct file_table_dir **ret, struct err_text *why)
{
    (void)context;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_explain(why, err_from_errno(errno), "can't create directory %s: %s", path, strerror(errno));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_explain(why, err_from_errno(errno), "can't open directory %s: %s", path, strerror(errno));
    /* The directory's own name must be durable too. */
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fsync(parent) != 0) {
        enum err e = err_explain(why, ERR_IO, "can't sync the directory above %s: %s", path, strerror(errno));
        if (parent >= 0)
            close(parent);
        close(fd);
        return e;
    }
    close(parent);
    *ret = MEM_NEW(struct file_table_dir);
    (*ret)->fd = fd;
    return ERR_OK;
}

static void system_close_dir(void *context, struct file_table_dir *dir)
{
    (void)context;
    close(dir->fd);
    free(dir);
}

static enum err system_list(void *context, struct file_table_dir *dir, void (*each)(void *arg, const char *name),
                            void *arg)
{
    (void)context;
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) {
        enum err e = disk_error();
        if (fd >= 0)
            close(fd);
        return e;
    }
    enum err e = ERR_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            e = errno ? disk_error() : ERR_OK;
            break;
        }
        struct stat info;
        if (fstatat(dir->fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
            each(arg, entry->d_name);
    }
    closedir(stream);
    return e;
}

static enum err system_open(void *context, struct file_table_dir *dir, const char *name, bool create,
                            struct file_table_file **ret)
{
    (void)context;
    int fd = openat(dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_ACCES : disk_error();
    *ret = MEM_NEW(struct file_table_file);
    (*ret)->fd = fd;
    return ERR_OK;
}

static void system_close(void *context, struct file_table_file *file)
{
    (void)context;
    close(file->fd); /* everything that matters was synced, and the sync's result was looked at */
    free(file);
}

static enum err system_size(void *context, struct file_table_file *file, uint64_t *ret)
{
    (void)context;
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return disk_error();
    *ret = (uint64_t)info.st_size;
    return ERR_OK;
}

static enum err system_read(void *context, struct file_table_file *file, uint64_t offset, void *to, size_t size)
{
    (void)context;
    uint8_t *at = to;
    while (size > 0) {
        ssize_t got = pread(file->fd, at, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        at += got, size -= (size_t)got, offset += (uint64_t)got;
    }
    return ERR_OK;
}

static enum err system_write(void *context, struct file_table_file *file, uint64_t offset, const void *from,
                             size_t size)
{
    (void)context;
    const uint8_t *at = from;
    while (size > 0) {
        ssize_t put = pwrite(file->fd, at, size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? disk_error() : ERR_IO;
        at += put, size -= (size_t)put, offset += (uint64_t)put;
    }
    return ERR_OK;
}

static enum err system_allocate(void *context, struct file_table_file *file, uint64_t size)
{
    static const uint8_t zeros[ZEROS_BYTES];
    uint64_t at = 0;
    TRY(system_size(context, file, &at));
    if (at >= size)
        return ERR_OK;
    /* Only for contiguous blocks, and it isn't there everywhere. The zeros themselves are written: a write into blocks
     * that are merely reserved has to convert them, through the journal. */
    if (fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)(size - at)) != 0 && errno != EOPNOTSUPP &&
        errno != EINTR)
        return disk_error();
    while (at < size) {
        size_t part = (size_t)MIN(size - at, (uint64_t)sizeof zeros);
        TRY(system_write(context, file, at, zeros, part));
        at += part;
    }
    return ERR_OK;
}

static enum err system_truncate(void *context, struct file_table_file *file, uint64_t size)
{
    (void)context;
    return ftruncate(file->fd, (off_t)size) == 0 ? ERR_OK : disk_error();
}

static enum err system_sync(void *context, struct file_table_file *file)
{
    (void)context;
    return fdatasync(file->fd) == 0 ? ERR_OK : disk_error();
}

static enum err system_rename(void *context, struct file_table_dir *dir, const char *from, const char *to)
{
    (void)context;
    return renameat(dir->fd, from, dir->fd, to) == 0 ? ERR_OK : disk_error();
}

static enum err system_remove(void *context, struct file_table_dir *dir, const char *name)
{
    (void)context;
    if (unlinkat(dir->fd, name, 0) == 0)
        return ERR_OK;
    return errno == ENOENT ? ERR_NOT_FOUND : disk_error();
}

static enum err system_sync_dir(void *context, struct file_table_dir *dir)
{
    (void)context;
    return fsync(dir->fd) == 0 ? ERR_OK : disk_error();
}

const struct file_table *file_table_system(void)
{
    static const struct file_table table = {
        .open_dir = system_open_dir,
        .close_dir = system_close_dir,
        .list = system_list,
        .open = system_open,
        .close = system_close,
        .size = system_size,
        .read = system_read,
        .write = system_write,
        .allocate = system_allocate,
        .truncate = system_truncate,
        .sync = system_sync,
        .rename = system_rename,
        .remove = system_remove,
        .sync_dir = system_sync_dir,
    };
    return &table;
}
