/* Space of files: fallocate(2), the hole forms of lseek(2), copy_file_range(2). The kernel drops its own pages of what
 * was zeroed or copied over, after the answer. */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "fusefs/set_gid.h"

#define COPY_MAX ((size_t)1 << 31) /* of one request: the answer has 32 bits for it */

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    if (offset < 0 || length <= 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    op_begin_change(&op, req);
    enum err e = set_gid_drop(&op, req, file_handle_of(fi));
    if (e == ERR_OK)
        e = file_allocate(file_handle_of(fi), mode, (uint64_t)offset, (uint64_t)length, op.request.caller.kills_set_id,
                          op.request.caller.cancel);
    op_end(&op);
    reply_error(req, e);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
    (void)ino;
    struct op op;
    uint64_t found;
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        fuse_reply_err(req, EINVAL); /* the kernel does the others */
        return;
    }
    if (offset < 0) {
        fuse_reply_err(req, ENXIO);
        return;
    }
    op_begin(&op, req);
    enum err e = file_seek(file_handle_of(fi), (uint64_t)offset, whence == SEEK_DATA, op.request.caller.cancel, &found);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_lseek(req, (off_t)found);
    else if (e == ERR_NOT_FOUND)
        fuse_reply_err(req, ENXIO);
    else
        reply_error(req, e);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                        fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t length, int flags)
{
    (void)ino_in, (void)ino_out;
    struct op op;
    uint64_t done;
    if (flags != 0 || off_in < 0 || off_out < 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    op_begin_change(&op, req);
    struct file_place from = {file_handle_of(fi_in), (uint64_t)off_in},
                      to = {file_handle_of(fi_out), (uint64_t)off_out};
    enum err e = set_gid_drop(&op, req, file_handle_of(fi_out));
    if (e == ERR_OK)
        e = file_clone(from, to, MIN(length, COPY_MAX), op.request.caller.kills_set_id, op.request.caller.cancel,
                       &done);
    op_end(&op);
    if (e == ERR_OK)
        fuse_reply_write(req, done);
    else
        reply_error(req, e);
}
