#include <errno.h>

#include "fusefs/mount.h"

/* What a program sees. Outcomes of file operations have their errno; everything that is about the cluster is EIO, since
 * programs don't know what to make of ECONNREFUSED from write(2). */
int errno_of(enum err e)
{
    if (e == ERR_OK)
        return 0;
    if (e == ERR_CANCELLED)
        return EINTR;
    if (e == ERR_NOMEM)
        return ENOMEM;
    if (e == ERR_WOULD_BLOCK || e == ERR_NOLCK)
        return err_to_errno(e);
    if (e == ERR_TOO_BIG)
        return E2BIG;
    return e <= ERR_IO ? err_to_errno(e) : EIO;
}

/* A directory that has been removed has no names, and none can be made in it. */
void reply_name_error(fuse_req_t req, enum err e)
{
    fuse_reply_err(req, e == ERR_STALE ? ENOENT : errno_of(e));
}

void reply_error(fuse_req_t req, enum err e)
{
    fuse_reply_err(req, errno_of(e));
}
