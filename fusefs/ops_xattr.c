/* Extended attributes and access control lists. The kernel checks who may do what (it has the lists from us, since it
 * asks for them as attributes), the metastore makes lists and modes follow each other. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/mem.h"
#include "fusefs/squash.h"

_Static_assert((int)META_XATTR_CREATE == (int)XATTR_CREATE && (int)META_XATTR_REPLACE == (int)XATTR_REPLACE,
               "flags are passed on");

static bool is_acl(const char *name)
{
    return strcmp(name, META_ACL_ACCESS) == 0 || strcmp(name, META_ACL_DEFAULT) == 0;
}

/* A kernel that doesn't know lists would take them for what they say without heeding them. */
static bool is_refused(fuse_req_t req, const char *name)
{
    const struct mount *m = fuse_req_userdata(req);
    return is_acl(name) && !m->has_acl;
}

/* The group's bits change with an access list, and with them what the set-group-ID bit grants: as with chmod(2), it is
 * for members of the group only. */
static enum err kills_sgid(struct op *op, fuse_req_t req, uint64_t ino, const char *name, uint32_t *flags)
{
    struct meta_attr attr;
    if (op->request.caller.uid == 0 || strcmp(name, META_ACL_ACCESS) != 0)
        return ERR_OK;
    TRY(surf_getattr(op->mount->surf, &op->request.caller, ino, &attr));
    if (!access_in_group(op, req, attr.gid))
        *flags |= META_XATTR_KILL_SGID;
    return ERR_OK;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    if (is_refused(req, name)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct op op;
    uint32_t meta_flags = (uint32_t)flags & (XATTR_CREATE | XATTR_REPLACE);
    op_begin_change(&op, req);
    enum err e = squash_sets_xattr(&op, req, ino, name);
    if (e == ERR_OK)
        e = kills_sgid(&op, req, ino, name, &meta_flags);
    if (e == ERR_OK)
        e = surf_setxattr(op.mount->surf, &op.request.caller, ino, slice_str(name), SLICE(value, size), meta_flags);
    op_end(&op);
    reply_error(req, e);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (is_refused(req, name)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct op op;
    op_begin_change(&op, req);
    enum err e = squash_sets_xattr(&op, req, ino, name);
    if (e == ERR_OK)
        e = surf_removexattr(op.mount->surf, &op.request.caller, ino, slice_str(name));
    op_end(&op);
    reply_error(req, e);
}

/* size 0: the caller wants to know how large it is. */
static void reply_value(fuse_req_t req, enum err e, struct slice value, size_t size)
{
    if (e != ERR_OK)
        reply_error(req, e);
    else if (size == 0)
        fuse_reply_xattr(req, value.size);
    else if (value.size > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, (const char *)value.data, value.size);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (is_refused(req, name)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct op op;
    struct arena arena = {0};
    struct slice value = {0};
    op_begin(&op, req);
    enum err e = squash_reads_xattr(&op, req, ino, name);
    if (e == ERR_OK)
        e = surf_getxattr(op.mount->surf, &op.request.caller, ino, slice_str(name), &arena, &value);
    op_end(&op);
    reply_value(req, e, value, size);
    arena_free(&arena);
}

/* Attributes of the trusted namespace are not even listed for others than root (xattr(7)). */
static struct slice without_trusted(struct slice list, struct arena *arena)
{
    static const char prefix[] = "trusted.";
    uint8_t *kept = arena_alloc(arena, list.size);
    size_t used = 0;
    while (list.size > 0) {
        size_t size = strnlen((const char *)list.data, list.size - 1) + 1;
        if (size < sizeof prefix || memcmp(list.data, prefix, sizeof prefix - 1) != 0) {
            memcpy(kept + used, list.data, size);
            used += size;
        }
        list = slice_sub(list, size, list.size - size);
    }
    return SLICE(kept, used);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct op op;
    struct arena arena = {0};
    struct slice list = {0};
    op_begin(&op, req);
    enum err e = surf_listxattr(op.mount->surf, &op.request.caller, ino, &arena, &list);
    op_end(&op);
    if (e == ERR_OK && list.size > 0 && op.request.caller.uid != 0)
        list = without_trusted(list, &arena);
    reply_value(req, e, list, size);
    arena_free(&arena);
}
