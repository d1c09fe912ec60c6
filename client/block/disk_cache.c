#include "client/block/disk_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/block/disk_cache_internal.h"

#define LOG_MODULE "disk-cache"
#include "base/log.h"

#define FOLDER_NAME "surffs-cache"
#define QUEUE_BYTES_MAX ((size_t)16 * MIB)
#define QUEUE_BLOCKS_MAX 1024u
#define FULL_NS (60 * NS_PER_S) /* how long a full disk is left alone, */
#define SLOW_NS (1 * NS_PER_S)  /* and one that takes so long for a block */
#define USED_NS (30 * NS_PER_S) /* so much older is noted as used again */
#define FUSE_MAGIC 0x65735546

struct disk_cache_job {
    struct list_node node;
    struct block_buffer *block;
};

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define _cleanup_close_ _cleanup_(close_fd)

void disk_cache_turn_off(struct disk_cache *c, const char *what, int error)
{
    if (!atomic_exchange(&c->off, true))
        log_error("the cache on disk is not used any more: %s: %s", what, strerror(error));
}

static void name_of(const struct sha256 *id, char name[DISK_CACHE_NAME_BYTES])
{
    char hex[65];
    sha256_hex(id, hex);
    snprintf(name, DISK_CACHE_NAME_BYTES, "%.2s/%.64s", hex, hex);
}

/* ---- reading ---- */

static bool is_usable(struct disk_cache *c)
{
    return !atomic_load(&c->off) && clock_boot_ns() >= atomic_load(&c->slow_until_ns);
}

/* Servers are quicker than a disk that is busy or sick. */
static void judge_speed(struct disk_cache *c, int64_t begun_ns)
{
    int64_t now_ns = clock_boot_ns();
    if (now_ns - begun_ns >= SLOW_NS && atomic_exchange(&c->slow_until_ns, now_ns + FULL_NS) == 0)
        log_warn("the disk of the cache takes over a second for a block: it is left alone for a while");
}

/* All of the file, if it can be a block. */
static uint8_t *read_block(int fd, size_t *ret_size)
{
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || s.st_size <= 0 || s.st_size > (off_t)LIMIT_BLOCK_BYTES)
        return NULL;
    size_t size = (size_t)s.st_size, got = 0;
    uint8_t *data = mem_alloc(size);
    while (got < size) {
        ssize_t n = pread(fd, data + got, size - got, (off_t)got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(data);
            return NULL;
        }
        got += (size_t)n;
    }
    const struct timespec *used = &s.st_atim;
    if (clock_wall_ns() - ((int64_t)used->tv_sec * NS_PER_S + used->tv_nsec) > USED_NS)
        (void)!futimens(fd, (const struct timespec[]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}});
    *ret_size = size;
    return data;
}

/* What it counted for stays counted, until that is done anew: it may be gone already. */
static void drop_bad(struct disk_cache *c, const char *name)
{
    if (atomic_fetch_add(&c->bad, 1) == 0)
        log_warn("a block in the cache on disk is damaged (%s); it is fetched from the servers", name);
    (void)unlinkat(c->folder, name, 0);
}

static struct block_buffer *read_named(struct disk_cache *c, const char *name, const struct sha256 *id)
{
    size_t size;
    _cleanup_close_ int fd = openat(c->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == EIO)
        disk_cache_turn_off(c, "opening", errno);
    if (fd < 0 && errno != ELOOP)
        return NULL;
    uint8_t *data = fd < 0 ? NULL : read_block(fd, &size);
    struct block_buffer *block = data ? block_buffer_new(data, size) : NULL;
    if (block && sha256_equal(&block->id, id))
        return block;
    block_buffer_unref(block);
    drop_bad(c, name); /* also when a part of the disk can't be read: it is damage like any other */
    return NULL;
}

struct block_buffer *disk_cache_get(struct disk_cache *c, const struct sha256 *id)
{
    char name[DISK_CACHE_NAME_BYTES];
    int64_t begun_ns = clock_boot_ns();
    if (!is_usable(c))
        return NULL;
    name_of(id, name);
    struct block_buffer *block = read_named(c, name, id);
    atomic_fetch_add(block ? &c->hits : &c->misses, 1);
    judge_speed(c, begun_ns);
    return block;
}

/* ---- writing ---- */

static bool write_all(int fd, struct slice data)
{
    for (size_t at = 0; at < data.size;) {
        ssize_t n = pwrite(fd, data.data + at, data.size - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : ENOSPC;
            return false;
        }
        at += (size_t)n;
    }
    return true;
}

/* A file appears under its name only when it is whole. Errors are in errno; EEXIST: another mount was quicker. */
static bool write_block(struct disk_cache *c, const char *name, struct slice data)
{
    char folder[3] = {name[0], name[1], 0}, self[32];
    _cleanup_close_ int fd = openat(c->folder, folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return write_all(fd, data) && linkat(AT_FDCWD, self, c->folder, name, AT_SYMLINK_FOLLOW) == 0;
}

static void note_write_error(struct disk_cache *c, int error)
{
    if (error == EEXIST || error == EMFILE || error == ENFILE || error == ENOMEM)
        return;
    if (error != ENOSPC && error != EDQUOT) {
        disk_cache_turn_off(c, "writing", error);
        return;
    }
    if (atomic_exchange(&c->full_until_ns, clock_boot_ns() + FULL_NS) == 0)
        log_warn("the disk of the cache is full: nothing more is kept there until there is room");
}

static bool is_there(struct disk_cache *c, const char *name)
{
    return faccessat(c->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void keep(struct disk_cache *c, const struct block_buffer *block)
{
    char name[DISK_CACHE_NAME_BYTES];
    int64_t cost = disk_cache_cost(block->data.size);
    name_of(&block->id, name);
    if (!is_usable(c) || is_there(c, name))
        return;
    if (c->must_count)
        disk_cache_count(c);
    if (clock_boot_ns() < atomic_load(&c->full_until_ns) ||
        (!disk_cache_reserve(c, cost) && !(disk_cache_make_room(c, cost) && disk_cache_reserve(c, cost)))) {
        atomic_fetch_add(&c->dropped, 1);
        return;
    }
    if (write_block(c, name, block->data)) {
        atomic_fetch_add(&c->written, 1);
        return;
    }
    note_write_error(c, errno);
    (void)disk_cache_reserve(c, -cost);
    atomic_fetch_add(&c->dropped, 1);
}

static void *writer_main(void *p)
{
    struct disk_cache *c = p;
    disk_cache_count(c);
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        struct list_node *n = list_pop_front(&c->queue);
        if (!n) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        struct disk_cache_job *job = container_of(n, struct disk_cache_job, node);
        c->queued_bytes -= job->block->data.size;
        c->queued--;
        pthread_mutex_unlock(&c->lock);
        keep(c, job->block);
        block_buffer_unref(job->block);
        free(job);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void disk_cache_put(struct disk_cache *c, struct block_buffer *block)
{
    if (!is_usable(c))
        return;
    pthread_mutex_lock(&c->lock);
    bool room = c->queued_bytes + block->data.size <= QUEUE_BYTES_MAX && c->queued < QUEUE_BLOCKS_MAX && !c->stopping;
    if (room) {
        struct disk_cache_job *job = MEM_NEW(struct disk_cache_job);
        job->block = block_buffer_ref(block);
        list_push_back(&c->queue, &job->node);
        c->queued_bytes += block->data.size;
        c->queued++;
        pthread_cond_signal(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    if (!room)
        atomic_fetch_add(&c->dropped, 1);
}

/* ---- opening ---- */

static enum err refuse(struct err_text *why, const char *directory, const char *reason)
{
    return err_explain(why, ERR_INVAL, "cache=%s: %s", directory, reason);
}

/* A directory that all may write to, as /tmp, may have a folder of this name that somebody else made, with links in it
 * to anywhere. */
static bool is_ours(int folder)
{
    struct stat s;
    return fstat(folder, &s) == 0 && s.st_uid == geteuid() && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static enum err make_folders(const char *directory, int parent, int *ret, struct err_text *why)
{
    if (mkdirat(parent, FOLDER_NAME, 0700) != 0 && errno != EEXIST)
        return refuse(why, directory, strerror(errno));
    _cleanup_close_ int folder = openat(parent, FOLDER_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0)
        return refuse(why, directory, strerror(errno));
    if (!is_ours(folder))
        return refuse(why, directory, "others may write to its " FOLDER_NAME);
    for (unsigned n = 0; n < DISK_CACHE_FOLDERS; n++) {
        char name[3];
        snprintf(name, sizeof name, "%02x", n & 0xffu);
        if (mkdirat(folder, name, 0700) != 0 && errno != EEXIST)
            return refuse(why, directory, strerror(errno));
    }
    _cleanup_close_ int probe = openat(folder, "00", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (probe < 0)
        return refuse(why, directory, errno == EOPNOTSUPP ? "its file system has no O_TMPFILE" : strerror(errno));
    *ret = folder;
    folder = -1;
    return ERR_OK;
}

static int open_file(int folder, const char *name)
{
    return openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void free_cache(struct disk_cache *c)
{
    for (struct list_node *n; (n = list_pop_front(&c->queue));) {
        struct disk_cache_job *job = container_of(n, struct disk_cache_job, node);
        block_buffer_unref(job->block);
        free(job);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    close(c->evictors);
    close(c->usage);
    close(c->folder);
    free(c);
}

enum err disk_cache_open(const char *directory, uint64_t bytes, struct disk_cache **ret, struct err_text *why)
{
    struct statfs fs;
    int folder;
    if (bytes < DISK_CACHE_BYTES_MIN)
        return refuse(why, directory, "its size is below 16 MiB");
    _cleanup_close_ int parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fstatfs(parent, &fs) != 0)
        return refuse(why, directory, strerror(errno));
    if (fs.f_type == FUSE_MAGIC) /* it might be this very mount that is asked, by itself */
        return refuse(why, directory, "it is on a FUSE file system, and must be on a local disk");
    TRY(make_folders(directory, parent, &folder, why));
    _cleanup_close_ int usage = open_file(folder, "usage"), evictors = open_file(folder, "evictors");
    if (usage < 0 || evictors < 0) {
        enum err e = refuse(why, directory, strerror(errno));
        close(folder);
        return e;
    }
    struct disk_cache *c = MEM_NEW(struct disk_cache);
    c->folder = folder, c->usage = usage, c->evictors = evictors;
    usage = evictors = -1;
    c->limit_bytes = bytes;
    c->hand = (unsigned)getpid();
    list_init(&c->queue);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    if (pthread_create(&c->writer, NULL, writer_main, c) != 0) {
        free_cache(c);
        return refuse(why, directory, "there is no thread for it");
    }
    *ret = c;
    return ERR_OK;
}

void disk_cache_free(struct disk_cache *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->writer, NULL);
    free_cache(c);
}

void disk_cache_stats(struct disk_cache *c, struct disk_cache_stats *ret)
{
    *ret = (struct disk_cache_stats){.hits = atomic_load(&c->hits),
                                     .misses = atomic_load(&c->misses),
                                     .written = atomic_load(&c->written),
                                     .dropped = atomic_load(&c->dropped),
                                     .bad = atomic_load(&c->bad),
                                     .evicted = atomic_load(&c->evicted),
                                     .is_off = atomic_load(&c->off)};
}
