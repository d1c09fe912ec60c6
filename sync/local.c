#include "sync/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static void close_at(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void part_name(struct slice part, char name[LIMIT_NAME_BYTES + 1])
{
    size_t size = MIN(part.size, (size_t)LIMIT_NAME_BYTES);
    memcpy(name, part.data, size);
    name[size] = 0;
}

void sync_local_last_part(struct slice path, char name[LIMIT_NAME_BYTES + 1])
{
    size_t from = path.size;
    while (from > 0 && path.data[from - 1] != '/')
        from--;
    part_name(slice_sub(path, from, path.size - from), name);
}

/* Takes the directory over. */
static int step_into(int directory, const char *name, bool make)
{
    _cleanup_(close_at) int from = directory;
    int fd = openat(from, name, DIRECTORY_FLAGS);
    if (fd >= 0 || errno != ENOENT || !make)
        return fd;
    if (mkdirat(from, name, 0777) != 0 && errno != EEXIST)
        return -1;
    return openat(from, name, DIRECTORY_FLAGS);
}

int sync_local_open_directory(int base, struct slice path, bool whole, bool make, enum err *ret_error)
{
    char name[LIMIT_NAME_BYTES + 1];
    int fd = openat(base, ".", DIRECTORY_FLAGS);
    size_t from = 0;
    for (size_t i = 0; fd >= 0 && i <= path.size; i++) {
        bool end = i == path.size;
        if (!end && path.data[i] != '/')
            continue;
        if (end && (!whole || from == i))
            break;
        part_name(slice_sub(path, from, i - from), name);
        fd = step_into(fd, name, make);
        from = i + 1;
    }
    if (fd < 0)
        *ret_error = err_from_errno(errno);
    return fd;
}

struct sync_identity sync_identity_of(const struct stat *st)
{
    return (struct sync_identity){.device = st->st_dev,
                                  .ino = st->st_ino,
                                  .size = (uint64_t)st->st_size,
                                  .mtime_ns = st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec,
                                  .ctime_ns = st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec};
}

bool sync_identity_equal(const struct sync_identity *a, const struct sync_identity *b)
{
    return a->device == b->device && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

int sync_local_open_file(int base, struct slice path, struct sync_identity *ret, uint32_t *ret_mode,
                         enum err *ret_error)
{
    char name[LIMIT_NAME_BYTES + 1];
    struct stat st;
    _cleanup_(close_at) int directory = sync_local_open_directory(base, path, false, false, ret_error);
    if (directory < 0)
        return -1;
    sync_local_last_part(path, name);
    /* Without waiting: what was a file a moment ago may be a pipe now. */
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *ret_error = err_from_errno(errno);
        close_at(&fd);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        *ret_error = ERR_INVAL;
        close(fd);
        return -1;
    }
    *ret = sync_identity_of(&st);
    *ret_mode = st.st_mode & 0777;
    return fd;
}

enum err sync_temporary_begin(int base, struct slice path, struct sync_temporary *ret)
{
    static atomic_uint serial;
    struct sync_temporary t = {.fd = -1};
    enum err e;
    t.directory = sync_local_open_directory(base, path, false, true, &e);
    if (t.directory < 0)
        return e;
    sync_local_last_part(path, t.name);
    snprintf(t.temporary, sizeof t.temporary, SYNC_OWN_PREFIX "-%d-%u", (int)getpid(), atomic_fetch_add(&serial, 1));
    t.fd = openat(t.directory, t.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (t.fd < 0) {
        e = err_from_errno(errno);
        close(t.directory);
        return e;
    }
    *ret = t;
    return ERR_OK;
}

bool sync_temporary_is_name(const char *name)
{
    int process, serial, end = 0;
    return sscanf(name, SYNC_OWN_PREFIX "-%9d-%9d%n", &process, &serial, &end) == 2 && name[end] == 0;
}

bool sync_temporary_is_link_name(const char *name)
{
    const size_t prefix = strlen(SYNC_LINK_PREFIX), digits = SYNC_LINK_DIGITS;
    return strncmp(name, SYNC_LINK_PREFIX, prefix) == 0 && strlen(name) == prefix + digits &&
           strspn(name + prefix, "0123456789abcdef") == digits;
}

void sync_temporary_drop(struct sync_temporary *t)
{
    if (t->fd < 0)
        return;
    close(t->fd);
    (void)unlinkat(t->directory, t->temporary, 0);
    close(t->directory);
    t->fd = t->directory = -1;
}

static bool is_as_it_was(int directory, const char *name, const struct sync_identity *was)
{
    struct stat st;
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT && !was;
    struct sync_identity now = sync_identity_of(&st);
    return was && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) && sync_identity_equal(&now, was);
}

enum err sync_local_take_name(int directory, const char *temporary, const char *name, const struct sync_identity *was)
{
    if (!is_as_it_was(directory, name, was))
        return ERR_AGAIN;
    if (renameat2(directory, temporary, directory, name, was ? 0 : RENAME_NOREPLACE) != 0)
        return errno == EEXIST ? ERR_AGAIN : err_from_errno(errno);
    return ERR_OK;
}

enum err sync_temporary_commit(struct sync_temporary *t, uint32_t mode, const struct sync_identity *was)
{
    enum err e = ERR_OK;
    if (fchmod(t->fd, sync_mode_here(mode)) != 0 || fsync(t->fd) != 0)
        e = err_from_errno(errno);
    else
        e = sync_local_take_name(t->directory, t->temporary, t->name, was);
    if (e != ERR_OK) {
        sync_temporary_drop(t);
        return e;
    }
    if (fsync(t->directory) != 0)
        e = err_from_errno(errno);
    close(t->fd);
    close(t->directory);
    t->fd = t->directory = -1;
    return e;
}

static enum err set_mtime(int fd, int64_t mtime_ns)
{
    int64_t rest_ns = mtime_ns % NS_PER_S;
    rest_ns += rest_ns < 0 ? NS_PER_S : 0;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = (mtime_ns - rest_ns) / NS_PER_S, .tv_nsec = rest_ns}};
    return futimens(fd, times) == 0 ? ERR_OK : err_from_errno(errno);
}

enum err sync_temporary_set_mtime(struct sync_temporary *t, int64_t mtime_ns)
{
    return set_mtime(t->fd, mtime_ns);
}

enum err sync_local_set_attributes(int base, struct slice path, const struct sync_identity *was, uint32_t mode,
                                   int64_t mtime_ns)
{
    struct sync_identity now;
    uint32_t mode_now;
    enum err e = ERR_OK;
    _cleanup_(close_at) int fd = sync_local_open_file(base, path, &now, &mode_now, &e);
    if (fd < 0)
        return e == ERR_NOENT ? ERR_AGAIN : e;
    if (!sync_identity_equal(&now, was))
        return ERR_AGAIN;
    if (fchmod(fd, sync_mode_here(mode)) != 0)
        return err_from_errno(errno);
    return set_mtime(fd, mtime_ns);
}

enum err sync_local_write_all(int fd, const void *from, size_t size)
{
    for (const uint8_t *at = from; size > 0;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_IO;
        at += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

enum err sync_local_truncate(int fd)
{
    return ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 ? ERR_OK : err_from_errno(errno);
}

enum err sync_local_delete(int base, struct slice path, const struct sync_identity *was)
{
    char name[LIMIT_NAME_BYTES + 1];
    enum err e;
    _cleanup_(close_at) int directory = sync_local_open_directory(base, path, false, false, &e);
    if (directory < 0)
        return e;
    sync_local_last_part(path, name);
    if (!is_as_it_was(directory, name, was))
        return ERR_AGAIN;
    return unlinkat(directory, name, 0) == 0 ? ERR_OK : err_from_errno(errno);
}

bool sync_local_is_directory(int base, struct slice path)
{
    enum err e;
    _cleanup_(close_at) int fd = sync_local_open_directory(base, path, true, false, &e);
    return fd >= 0;
}

void sync_local_remove_directory(int base, struct slice path)
{
    char name[LIMIT_NAME_BYTES + 1];
    enum err e;
    _cleanup_(close_at) int parent = sync_local_open_directory(base, path, false, false, &e);
    sync_local_last_part(path, name);
    if (parent >= 0)
        (void)unlinkat(parent, name, AT_REMOVEDIR);
}
