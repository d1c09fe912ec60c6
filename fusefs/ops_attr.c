#include <sys/statvfs.h>

#include "base/clock.h"
#include "fusefs/mount.h"

#define RECENT_NS (NS_PER_S / 2) /* how old attributes of our own last change may be */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op op;
    struct meta_attr attr;
    op_begin(&op, req);
    enum err e = surf_lookup(op.mount->surf, &op.request.caller, parent, slice_str(name), &attr);
    op_end(&op);
    reply_entry(req, e, &attr);
}

static void reply_attr(fuse_req_t req, enum err e, const struct meta_attr *attr, int64_t age_ns)
{
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct stat st;
    attr_to_stat(attr, &st);
    fuse_reply_attr(req, &st, ATTR_TIMEOUT_S - (double)age_ns / NS_PER_S);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct op op;
    struct meta_attr attr;
    int64_t age_ns = 0;
    struct mount *m = fuse_req_userdata(req);
    if (surf_recent_attr(m->surf, ino, RECENT_NS, &attr, &age_ns)) {
        reply_attr(req, ERR_OK, &attr, age_ns);
        return;
    }
    op_begin(&op, req);
    enum err e = surf_getattr(op.mount->surf, &op.request.caller, ino, &attr);
    op_end(&op);
    reply_attr(req, e, &attr, 0);
}

static int64_t ns_of(const struct timespec *t)
{
    return t->tv_sec * NS_PER_S + t->tv_nsec;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    (void)fi;
    static const struct {
        int fuse;
        uint32_t meta;
    } bits[] = {
        {FUSE_SET_ATTR_MODE, META_SET_MODE},
        {FUSE_SET_ATTR_UID, META_SET_UID},
        {FUSE_SET_ATTR_GID, META_SET_GID},
        {FUSE_SET_ATTR_SIZE, META_SET_SIZE},
        {FUSE_SET_ATTR_ATIME, META_SET_ATIME},
        {FUSE_SET_ATTR_MTIME, META_SET_MTIME},
        {FUSE_SET_ATTR_ATIME_NOW, META_SET_ATIME_NOW},
        {FUSE_SET_ATTR_MTIME_NOW, META_SET_MTIME_NOW},
        {FUSE_SET_ATTR_CTIME, META_SET_CTIME},
    };
    struct surf_setattr set = {.mode = attr->st_mode,
                               .uid = attr->st_uid,
                               .gid = attr->st_gid,
                               .size = (uint64_t)attr->st_size,
                               .atime_ns = ns_of(&attr->st_atim),
                               .mtime_ns = ns_of(&attr->st_mtim)};
    for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
        if (to_set & bits[i].fuse)
            set.mask |= bits[i].meta;
    /* libfuse sets both the bit and the "now" bit; "now" is the leader's. */
    if (set.mask & META_SET_ATIME_NOW)
        set.mask &= ~(uint32_t)META_SET_ATIME;
    if (set.mask & META_SET_MTIME_NOW)
        set.mask &= ~(uint32_t)META_SET_MTIME;

    struct op op;
    struct meta_attr changed;
    op_begin_change(&op, req);
    enum err e = set.mask == 0 ? surf_getattr(op.mount->surf, &op.request.caller, ino, &changed)
                               : surf_setattr(op.mount->surf, &op.request.caller, ino, &set, &changed);
    op_end(&op);
    reply_attr(req, e, &changed, 0);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct op op;
    struct arena arena = {0};
    struct slice target;
    op_begin(&op, req);
    enum err e = surf_readlink(op.mount->surf, &op.request.caller, ino, &arena, &target);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_readlink(req, arena_str(&arena, target));
    else
        reply_error(req, e);
    arena_free(&arena);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    struct op op;
    struct surf_space space;
    op_begin(&op, req);
    enum err e = surf_statfs(op.mount->surf, &op.request.caller, &space);
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    const unsigned unit = 4096;
    struct statvfs st = {.f_bsize = unit,
                         .f_frsize = unit,
                         .f_blocks = space.total_bytes / unit,
                         .f_bfree = space.free_bytes / unit,
                         .f_bavail = space.free_bytes / unit,
                         /* Inodes are made as needed; space runs out first. */
                         .f_files = space.used_inodes + space.free_bytes / unit,
                         .f_ffree = space.free_bytes / unit,
                         .f_favail = space.free_bytes / unit,
                         .f_namemax = LIMIT_NAME_BYTES};
    fuse_reply_statfs(req, &st);
}
