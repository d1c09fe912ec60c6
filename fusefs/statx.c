#include "fusefs/statx.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <linux/fuse.h>

#include "base/clock.h"

/* Debian 12's <linux/fuse.h> is older: protocol 7.39. */
#define OPCODE_STATX 52u

struct wire_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};

struct wire_statx {
    uint64_t valid_seconds;
    uint32_t valid_nanoseconds;
    uint32_t flags;
    uint64_t spare[2];
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare_mode;
    uint64_t ino, size, blocks, attributes_mask;
    struct wire_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare_end[14];
};
_Static_assert(sizeof(struct wire_statx) == 32 + 256, "as in the kernel");
_Static_assert(sizeof(struct fuse_getattr_in) == 16, "which is what FUSE_STATX begins with");

static _Thread_local bool is_asked;

void statx_look(void *request, size_t size)
{
    struct fuse_in_header header;
    is_asked = false;
    if (size < sizeof header + sizeof(struct fuse_getattr_in))
        return;
    memcpy(&header, request, sizeof header);
    if (header.opcode != OPCODE_STATX)
        return;
    is_asked = true;
    header.opcode = FUSE_GETATTR;
    memcpy(request, &header, sizeof header);
}

bool statx_is_asked(void)
{
    return is_asked;
}

static struct wire_time time_of(const struct timespec *t)
{
    return (struct wire_time){.seconds = t->tv_sec, .nanoseconds = (uint32_t)t->tv_nsec};
}

int statx_reply(fuse_req_t req, const struct stat *st, const struct timespec *born, int64_t valid_ns)
{
    struct wire_statx out = {.valid_seconds = (uint64_t)(valid_ns / NS_PER_S),
                             .valid_nanoseconds = (uint32_t)(valid_ns % NS_PER_S),
                             .mask = STATX_BASIC_STATS | STATX_BTIME,
                             .blksize = (uint32_t)st->st_blksize,
                             .nlink = (uint32_t)st->st_nlink,
                             .uid = st->st_uid,
                             .gid = st->st_gid,
                             .mode = (uint16_t)st->st_mode,
                             .ino = st->st_ino,
                             .size = (uint64_t)st->st_size,
                             .blocks = (uint64_t)st->st_blocks,
                             .atime = time_of(&st->st_atim),
                             .btime = time_of(born),
                             .ctime = time_of(&st->st_ctim),
                             .mtime = time_of(&st->st_mtim),
                             .rdev_major = major(st->st_rdev),
                             .rdev_minor = minor(st->st_rdev)};
    return fuse_reply_buf(req, (const char *)&out, sizeof out);
}
