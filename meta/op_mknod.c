#include <sys/stat.h>

#include "meta/store.h"

OP(mknod)
{
    uint32_t type = c->make.mode & S_IFMT;
    if (type == 0)
        type = S_IFREG;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR && type != S_IFBLK)
        return outcome(r, ERR_INVAL);
    return make_entry(m, c, type | (c->make.mode & 07777), r);
}
