/* privilege.c: what a program may no longer do when it is not what it was (chown(2), write(2), capabilities(7)). */
#include <sys/stat.h>

#include "meta/store.h"

#define CAPABILITY_NAME "security.capability"

void privilege_kill_set_id(struct meta_attr *a)
{
    a->mode &= ~(uint32_t)S_ISUID;
    if (a->mode & S_IXGRP)
        a->mode &= ~(uint32_t)S_ISGID;
}

enum err privilege_kill_capability(struct meta *m, struct row_inode *i)
{
    struct slice value;
    bool found;
    if (i->attr.xattrs == 0)
        return ERR_OK;
    TRY(xattr_get(m, i->attr.ino, slice_str(CAPABILITY_NAME), &value, &found));
    if (found)
        xattr_delete(m, i, slice_str(CAPABILITY_NAME));
    return ERR_OK;
}
