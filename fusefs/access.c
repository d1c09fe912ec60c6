#include "fusefs/access.h"

#include <fcntl.h>

#include "meta/acl.h"

#define GROUPS_MAX 1025u
#define FOR_EXECUTION 0x20 /* __FMODE_EXEC: execve(2) opens the file */

/* All groups of the caller, the first being its own; how many there are. */
static unsigned groups_of(const struct op *op, fuse_req_t req, uint32_t groups[GROUPS_MAX])
{
    groups[0] = op->request.caller.gid;
    int count = op->squashed ? 0 : fuse_req_getgroups(req, GROUPS_MAX - 1, groups + 1);
    return count < 0 ? 1 : 1 + MIN((unsigned)count, GROUPS_MAX - 1);
}

bool access_in_group(const struct op *op, fuse_req_t req, uint32_t gid)
{
    uint32_t groups[GROUPS_MAX];
    unsigned count = groups_of(op, req, groups);
    for (unsigned i = 0; i < count; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

/* The list by which the kernel judges: it heeds the mode bits only where it doesn't know lists. */
static enum err access_list(struct op *op, const struct meta_attr *attr, struct acl *ret)
{
    struct arena a = {0};
    struct slice value;
    enum err e = ERR_NODATA;
    if (op->mount->has_acl && attr->xattrs > 0)
        e = surf_getxattr(op->mount->surf, &op->request.caller, attr->ino, slice_str(META_ACL_ACCESS), &a, &value);
    if (e == ERR_OK)
        e = acl_decode(value, ret);
    arena_free(&a);
    if (e == ERR_NODATA || (e == ERR_OK && ret->count == 0)) {
        acl_of_mode(ret, attr->mode);
        return ERR_OK;
    }
    return e;
}

enum err access_permits(struct op *op, fuse_req_t req, const struct meta_attr *attr, unsigned wanted)
{
    uint32_t groups[GROUPS_MAX];
    struct acl list;
    struct acl_subject subject = {
        .owner = attr->uid, .group = attr->gid, .uid = op->request.caller.uid, .groups = groups};
    if (subject.uid == 0)
        return ERR_OK;
    TRY(access_list(op, attr, &list));
    subject.group_count = groups_of(op, req, groups);
    return acl_permits(&list, &subject, wanted) ? ERR_OK : ERR_ACCES;
}

unsigned access_wanted(int flags)
{
    static const unsigned wanted[] = {
        [O_RDONLY] = ACCESS_READ, [O_WRONLY] = ACCESS_WRITE, [O_RDWR] = ACCESS_READ | ACCESS_WRITE};
    int mode = flags & O_ACCMODE;
    if (flags & FOR_EXECUTION)
        return ACCESS_SEARCH;
    return (mode == O_ACCMODE ? ACCESS_READ | ACCESS_WRITE : wanted[mode]) | (flags & O_TRUNC ? ACCESS_WRITE : 0u);
}
