/* flock(2) and fcntl(2) locks. The kernel keeps none of them itself, so what it says of a lock is what the metastore
 * says. It names the owner: for fcntl the process (or, for locks of open file descriptions, the description), for flock
 * the description. */
#include <fcntl.h>
#include <sys/file.h>

#include "fusefs/mount.h"

static enum meta_lock_type type_of(short type)
{
    return type == F_RDLCK ? META_LOCK_READ : type == F_WRLCK ? META_LOCK_WRITE : META_LOCK_UNLOCK;
}

/* libfuse gives l_whence SEEK_SET; a length of 0 is to the end of all files. */
static enum err from_flock(const struct flock *from, uint64_t owner, struct meta_lock *ret)
{
    if (from->l_start < 0 || from->l_len < 0)
        return ERR_INVAL;
    uint64_t start = (uint64_t)from->l_start;
    if (from->l_len > 0 && start > META_SIZE_MAX - (uint64_t)(from->l_len - 1))
        return ERR_INVAL;
    *ret = (struct meta_lock){.kind = META_LOCK_POSIX,
                              .type = type_of(from->l_type),
                              .start = start,
                              .end = from->l_len == 0 ? META_SIZE_MAX : start + (uint64_t)from->l_len - 1,
                              .owner = owner,
                              .pid = (uint32_t)from->l_pid};
    return ERR_OK;
}

static void to_flock(const struct meta_lock *from, struct flock *ret)
{
    *ret = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (from->type == META_LOCK_UNLOCK)
        return;
    ret->l_type = from->type == META_LOCK_READ ? F_RDLCK : F_WRLCK;
    ret->l_start = (off_t)from->start;
    ret->l_len = from->end == META_SIZE_MAX ? 0 : (off_t)(from->end - from->start + 1);
    ret->l_pid = (pid_t)from->pid;
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    struct op op;
    struct meta_lock asked, found = {0};
    op_begin(&op, req);
    enum err e = from_flock(lock, fi->lock_owner, &asked);
    if (e == ERR_OK)
        e = locks_test(surf_locks(op.mount->surf), ino, &asked, op.request.caller.cancel, &found);
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct flock answer;
    to_flock(&found, &answer);
    fuse_reply_lock(req, &answer);
}

static void set(fuse_req_t req, struct open_file *handle, const struct meta_lock *lock, bool wait)
{
    struct op op;
    op_begin(&op, req);
    if (wait)
        request_waits(&op.request);
    enum err e = locks_set(surf_locks(op.mount->surf), handle, lock, wait, op.request.caller.cancel);
    op_end(&op);
    reply_error(req, e);
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
    (void)ino;
    struct meta_lock asked;
    enum err e = from_flock(lock, fi->lock_owner, &asked);
    if (e != ERR_OK)
        reply_error(req, e);
    else
        set(req, file_handle_of(fi), &asked, sleep && asked.type != META_LOCK_UNLOCK);
}

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    (void)ino;
    int what = op & ~LOCK_NB;
    struct meta_lock asked = {.kind = META_LOCK_FLOCK,
                              .type = what == LOCK_SH   ? META_LOCK_READ
                                      : what == LOCK_EX ? META_LOCK_WRITE
                                                        : META_LOCK_UNLOCK,
                              .start = 0,
                              .end = META_SIZE_MAX,
                              .owner = fi->lock_owner,
                              .pid = (uint32_t)fuse_req_ctx(req)->pid};
    set(req, file_handle_of(fi), &asked, !(op & LOCK_NB) && asked.type != META_LOCK_UNLOCK);
}
