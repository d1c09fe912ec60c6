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
    return e <= ERR_IO ? err_to_errno(e) : EIO;
}

void reply_error(fuse_req_t req, enum err e)
{
    fuse_reply_err(req, errno_of(e));
}
