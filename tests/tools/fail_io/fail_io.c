/* A library for LD_PRELOAD: once the file that SURF_FAIL_WHEN names exists, writes and syncs of files whose path
 * contains the text that stands in it fail with EIO, as on a disk that is broken. Reads go on. With "slow:" before the
 * text reads of these files take more than a second instead. */
#undef _FILE_OFFSET_BITS /* both names of pwrite are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The path of the file contains the text that stands behind the prefix. */
static bool is_meant(int fd, const char *prefix)
{
    const char *when = getenv("SURF_FAIL_WHEN");
    char text[256] = "", link[64], path[PATH_MAX];
    int saved = errno;
    int control = when ? open(when, O_RDONLY | O_CLOEXEC) : -1;
    if (control < 0) {
        errno = saved;
        return false;
    }
    ssize_t size = read(control, text, sizeof text - 1);
    close(control);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (size <= 0 || length <= 0)
        return false;
    path[length] = 0;
    size_t skip = strlen(prefix);
    return strncmp(text, prefix, skip) == 0 && strstr(path, text + skip) != NULL;
}

static bool is_broken(int fd)
{
    return is_meant(fd, "");
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF_BROKEN(fd)                                                                                             \
    do {                                                                                                               \
        if (is_broken(fd)) {                                                                                           \
            errno = EIO;                                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

int fdatasync(int fd)
{
    FAIL_IF_BROKEN(fd);
    return NEXT(fdatasync)(fd);
}

int fsync(int fd)
{
    FAIL_IF_BROKEN(fd);
    return NEXT(fsync)(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    FAIL_IF_BROKEN(fd);
    return NEXT(pwrite64)(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    FAIL_IF_BROKEN(fd);
    return NEXT(pwrite64)(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    FAIL_IF_BROKEN(fd);
    return NEXT(write)(fd, data, size);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    if (is_meant(fd, "slow:"))
        nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200000000}, NULL);
    return NEXT(pread64)(fd, data, size, offset);
}
