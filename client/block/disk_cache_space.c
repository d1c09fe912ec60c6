/* disk_cache_space.c: how much there is in the cache of all mounts, and who goes when it is too much.
 *
 * Ids are hashes, so what is in a folder is a fair sample of all: of one folder after the other the eighth goes that
 * was not used for longest, until there is room and a bit more. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "client/block/disk_cache_internal.h"

#define COUNT_TRIES 200u /* a millisecond each */
#define EVICT_PART 8u
#define SPARE_PART 16u          /* so much more room is made than is needed */
#define EVICT_ROUNDS 4u         /* over all folders, at most, for one block */
#define FOLDER_FILES_MAX 65536u /* that are looked at, of one folder */

struct file {
    int64_t used_ns; /* when it was read last */
    int64_t bytes;
    char name[2 * SHA256_SIZE + 1];
};
struct files {
    struct file *list;
    unsigned count, capacity;
};

/* ---- the count ---- */

/* Of a lock that is held for moments, wait for some; who holds it may be stopped for long. */
static bool lock_file(int fd, short type, unsigned tries)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
    for (unsigned n = 0; fcntl(fd, F_OFD_SETLK, &lock) != 0; n++) {
        if (n + 1 >= tries || (errno != EAGAIN && errno != EACCES && errno != EINTR))
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

static void unlock_file(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

/* What another mount is at, or want of room, is no fault of the disk. */
static void judge(struct disk_cache *c, const char *what, int error)
{
    if (error != EAGAIN && error != EACCES && error != EINTR && error != ENOSPC && error != EDQUOT)
        disk_cache_turn_off(c, what, error);
}

/* Changes the count by `bytes`, if it then is not above `most` or goes down. *ret: what it is then, or would be. */
static bool change_count(struct disk_cache *c, int64_t bytes, int64_t most, int64_t *ret)
{
    int64_t count = 0;
    if (!lock_file(c->usage, F_WRLCK, COUNT_TRIES)) {
        judge(c, "the count of its bytes can't be locked", errno);
        return false;
    }
    ssize_t got = pread(c->usage, &count, sizeof count, 0);
    bool done = got >= 0;
    if (!done)
        judge(c, "the count of its bytes can't be read", errno);
    if (got != (ssize_t)sizeof count || count < 0 || count > INT64_MAX / 2) {
        count = 0; /* of a new cache; or it is damaged */
        c->must_count = c->must_count || got > 0;
    }
    *ret = MAX(count + bytes, (int64_t)0);
    if (done && bytes != 0) {
        done = *ret <= most || bytes < 0;
        if (done && pwrite(c->usage, ret, sizeof *ret, 0) != (ssize_t)sizeof *ret) {
            judge(c, "the count of its bytes can't be written", errno);
            done = false;
        }
    }
    unlock_file(c->usage);
    return done;
}

bool disk_cache_reserve(struct disk_cache *c, int64_t bytes)
{
    int64_t count;
    return change_count(c, bytes, (int64_t)c->limit_bytes, &count);
}

/* ---- folders ---- */

static bool is_block_name(const char *name)
{
    return strlen(name) == (size_t)2 * SHA256_SIZE && strspn(name, "0123456789abcdef") == (size_t)2 * SHA256_SIZE;
}

static void files_add(struct files *f, const char *name, const struct stat *s)
{
    if (f->count == f->capacity) {
        f->capacity = MAX(2 * f->capacity, 64u);
        f->list = mem_realloc(f->list, f->capacity * sizeof *f->list);
    }
    struct file *file = &f->list[f->count++];
    file->used_ns = (int64_t)s->st_atim.tv_sec * 1000000000 + s->st_atim.tv_nsec;
    file->bytes = disk_cache_cost((size_t)s->st_size);
    memcpy(file->name, name, sizeof file->name);
}

/* What is in one folder; a file that goes meanwhile is left out. The fd of the folder, or -1. */
static int read_folder(struct disk_cache *c, unsigned number, struct files *ret)
{
    char name[3];
    struct stat s;
    snprintf(name, sizeof name, "%02x", number & 0xffu);
    ret->count = 0;
    int fd = openat(c->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int again = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = again < 0 ? NULL : fdopendir(again);
    if (!directory) {
        int error = errno;
        if (again >= 0)
            close(again);
        if (fd >= 0)
            close(fd);
        if (error != EMFILE && error != ENFILE && error != ENOMEM)
            disk_cache_turn_off(c, name, error);
        return -1;
    }
    for (struct dirent *e; ret->count < FOLDER_FILES_MAX && (e = readdir(directory));)
        if (is_block_name(e->d_name) && fstatat(fd, e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(s.st_mode))
            files_add(ret, e->d_name, &s);
    closedir(directory);
    return fd;
}

void disk_cache_count(struct disk_cache *c)
{
    struct files files = {0};
    int64_t before, total = 0, count;
    if (!lock_file(c->evictors, F_WRLCK, 1))
        return;
    c->must_count = false;
    bool whole = change_count(c, 0, INT64_MAX, &before);
    for (unsigned n = 0; n < DISK_CACHE_FOLDERS && whole; n++) {
        int fd = read_folder(c, n, &files);
        whole = fd >= 0;
        if (whole)
            close(fd);
        for (unsigned i = 0; i < files.count && whole; i++)
            total += files.list[i].bytes;
    }
    /* What others have written meanwhile is in the count, and perhaps seen: then it is too high. What they were just
     * about to write is not: a block for each mount. */
    if (whole)
        (void)change_count(c, total - before, INT64_MAX, &count);
    free(files.list);
    unlock_file(c->evictors);
}

static int by_use(const void *a, const void *b)
{
    int64_t x = ((const struct file *)a)->used_ns, y = ((const struct file *)b)->used_ns;
    return (x > y) - (x < y);
}

/* The oldest of one folder. */
static void evict_some(struct disk_cache *c, unsigned number, struct files *files)
{
    int64_t count;
    int fd = read_folder(c, number, files);
    if (fd < 0)
        return;
    if (files->count > 1)
        qsort(files->list, files->count, sizeof *files->list, by_use);
    unsigned going = (files->count + EVICT_PART - 1) / EVICT_PART;
    for (unsigned n = 0; n < going; n++) {
        if (unlinkat(fd, files->list[n].name, 0) == 0) {
            (void)change_count(c, -files->list[n].bytes, INT64_MAX, &count);
            atomic_fetch_add(&c->evicted, 1);
        } else if (errno != ENOENT) {
            disk_cache_turn_off(c, "removing", errno);
            break;
        }
    }
    close(fd);
}

bool disk_cache_make_room(struct disk_cache *c, int64_t bytes)
{
    struct files files = {0};
    int64_t least = (int64_t)(c->limit_bytes - c->limit_bytes / SPARE_PART) - bytes, count = 0;
    if (!lock_file(c->evictors, F_WRLCK, 1))
        return false;
    bool room = false;
    for (unsigned n = 0; n < EVICT_ROUNDS * DISK_CACHE_FOLDERS && !room && !atomic_load(&c->off); n++) {
        evict_some(c, c->hand++ % DISK_CACHE_FOLDERS, &files);
        room = change_count(c, 0, INT64_MAX, &count) && count <= least;
    }
    free(files.list);
    unlock_file(c->evictors);
    if (!room && !atomic_load(&c->off))
        disk_cache_count(c); /* the count is of files that are not there */
    return room;
}
