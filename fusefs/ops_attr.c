#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "fusefs/kernel_cache.h"
#include "fusefs/set_gid.h"
#include "fusefs/squash.h"
#include "fusefs/statx.h"

/* That there is no such name: kept as long as one that is there. */
static void reply_absent(fuse_req_t req, uint64_t parent, struct slice name)
{
    struct mount *m = fuse_req_userdata(req);
    struct fuse_entry_param entry = {.ino = 0};
    surf_answer_begin(m->surf);
    entry.entry_timeout = (double)surf_name_ns(m->surf, parent, name, 0) / NS_PER_S;
    if (entry.entry_timeout > 0 && !squash_hides_names(m, parent))
        fuse_reply_entry(req, &entry);
    else
        fuse_reply_err(req, ENOENT);
    surf_answer_end(m->surf);
}

/* "." is asked for by who has a file's number from a handle (open_by_handle_at(2), NFS servers) when the kernel has
 * forgotten the file, ".." when it makes a path for a directory that it has got so. */
static enum err look_up_by_number(struct op *op, uint64_t ino, bool parent, struct meta_attr *ret)
{
    struct arena arena = {0};
    struct meta_query_reply page;
    enum err e = ERR_OK;
    if (parent) {
        e = surf_readdir(op->mount->surf, &op->request.caller, ino, 0, 1, false, &arena, &page);
        ino = e == ERR_OK && page.parent_ino ? page.parent_ino : ino;
        arena_free(&arena);
    }
    return e == ERR_OK ? surf_getattr(op->mount->surf, &op->request.caller, ino, ret) : e;
}

static void reply_by_number(fuse_req_t req, uint64_t ino, bool parent)
{
    struct op op;
    struct meta_attr attr;
    op_begin(&op, req);
    /* Nobody has walked a path to it, which is what squashed root would have to be allowed to. */
    enum err e = op.squashed ? ERR_STALE : look_up_by_number(&op, ino, parent, &attr);
    op_end(&op);
    if (e != ERR_OK) {
        reply_name_error(req, e);
        return;
    }
    struct mount *m = fuse_req_userdata(req);
    kernel_cache_tells_attr(m, &attr);
    surf_answer_begin(m->surf);
    struct fuse_entry_param entry = {.ino = attr.ino, .attr_timeout = (double)surf_attr_ns(m->surf, &attr) / NS_PER_S};
    attr_to_stat(&attr, &entry.attr);
    last_told_put(&m->last_told, &attr);
    fuse_reply_entry(req, &entry);
    surf_answer_end(m->surf);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op op;
    struct meta_attr attr;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        reply_by_number(req, parent, name[1] != 0);
        return;
    }
    op_begin(&op, req);
    enum err e = squash_permits(&op, req, parent, ACCESS_SEARCH);
    if (e == ERR_OK)
        e = surf_lookup(op.mount->surf, &op.request.caller, parent, slice_str(name), &attr);
    op_end(&op);
    listings_looked_up(&op.mount->listings, parent);
    if (e == ERR_NOENT)
        reply_absent(req, parent, slice_str(name));
    else
        reply_entry(req, e, parent, name, &attr);
}

/* asked_ns: the attributes are of after that. */
static void reply_attr(fuse_req_t req, enum err e, struct meta_attr *attr, int64_t asked_ns)
{
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct mount *m = fuse_req_userdata(req);
    struct stat st;
    kernel_cache_tells_attr(m, attr);
    surf_answer_begin(m->surf);
    int64_t ns = surf_attr_ns(m->surf, attr);
    attr_to_stat(attr, &st);
    bool other = last_told_put(&m->last_told, attr);
    struct timespec born = timespec_of_ns(attr->btime_ns);
    if (statx_is_asked())
        statx_reply(req, &st, &born, ns);
    else
        fuse_reply_attr(req, &st, (double)ns / NS_PER_S);
    surf_answer_end(m->surf);
    if (other)
        invalidator_told(&m->invalidator, attr->ino, asked_ns);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct op op;
    struct meta_attr attr;
    int64_t asked_ns = clock_boot_ns();
    op_begin(&op, req);
    invalidator_asked(&op.mount->invalidator, ino);
    if (ino == FUSE_ROOT_ID)
        request_looks_at_mountpoint(&op.request);
    enum err e = surf_getattr(op.mount->surf, &op.request.caller, ino, &attr);
    op_end(&op);
    if (e == ERR_STALE && last_told_removed(&op.mount->last_told, ino, &attr))
        e = ERR_OK;
    reply_attr(req, e, &attr, asked_ns);
    invalidator_answered(&op.mount->invalidator, ino);
}

/* What 64 bits of nanoseconds can't say becomes the last, or first, that they can (1677 to 2262). */
static int64_t ns_of(const struct timespec *t)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)t->tv_sec, NS_PER_S, &ns) || __builtin_add_overflow(ns, t->tv_nsec, &ns))
        return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
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
    enum err e = squash_sets_attr(&op, req, ino, fi != NULL, &set);
    if (e == ERR_OK)
        e = set_gid_look(&op, req, ino, &set);
    if (e == ERR_OK)
        e = set.mask == 0 ? surf_getattr(op.mount->surf, &op.request.caller, ino, &changed)
                          : surf_setattr(op.mount->surf, &op.request.caller, ino, &set, &changed);
    op_end(&op);
    if (e == ERR_STALE && last_told_change(&op.mount->last_told, ino, &set, &changed))
        e = ERR_OK;
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
    request_looks_at_mountpoint(&op.request);
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
                         .f_bavail = space.available_bytes / unit,
                         /* Inodes are made as needed; space runs out first. */
                         .f_files = space.used_inodes + space.free_bytes / unit,
                         .f_ffree = space.free_bytes / unit,
                         .f_favail = space.available_bytes / unit,
                         .f_namemax = LIMIT_NAME_BYTES};
    fuse_reply_statfs(req, &st);
}
