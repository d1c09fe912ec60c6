/* Operations that change directories. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/check.h"
#include "client/surf_internal.h"

static enum err make(struct surf *s, const struct surf_caller *c, struct meta_command *command, struct meta_reply *ret)
{
    TRY(surf_check_name(command->make.name));
    command->make.uid = c->uid;
    command->make.gid = c->gid;
    return surf_change(s, c, command, command->make.parent, 0, ret);
}

static enum err make_attr(struct surf *s, const struct surf_caller *c, struct meta_command *command,
                          struct meta_attr *ret)
{
    struct meta_reply reply;
    TRY(make(s, c, command, &reply));
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

enum err surf_create(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                     int flags, struct meta_attr *ret, struct open_file **ret_handle, bool *ret_keep_cache)
{
    struct meta_command command = {
        .op = META_CREATE,
        .make = {
            .parent = parent, .name = name, .mode = S_IFREG | (mode & 07777u), .exclusive = (flags & O_EXCL) != 0}};
    struct meta_reply reply;
    struct meta_attr attr;
    TRY(make(s, c, &command, &reply));
    TRY(surf_take_attr(s, reply.has_attr, &reply.attr, &attr));
    if (reply.existed && (flags & O_TRUNC) && attr.size > 0)
        TRY(surf_setattr(s, c, attr.ino, &(struct surf_setattr){.mask = META_SET_SIZE}, &attr));
    if (ret_handle)
        TRY(file_open(s->files, attr.ino, flags, reply.existed ? NULL : &attr, c->cancel, ret_handle, ret_keep_cache));
    *ret = attr;
    return ERR_OK;
}

enum err surf_mkdir(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                    struct meta_attr *ret)
{
    struct meta_command command = {
        .op = META_MKDIR,
        .make = {.parent = parent, .name = name, .mode = S_IFDIR | (mode & 07777u), .exclusive = true}};
    return make_attr(s, c, &command, ret);
}

enum err surf_mknod(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                    uint32_t rdev, struct meta_attr *ret)
{
    struct meta_command command = {
        .op = META_MKNOD, .make = {.parent = parent, .name = name, .mode = mode, .rdev = rdev, .exclusive = true}};
    return make_attr(s, c, &command, ret);
}

enum err surf_symlink(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                      struct slice target, struct meta_attr *ret)
{
    if (target.size == 0)
        return ERR_NOENT;
    if (target.size > LIMIT_SYMLINK_BYTES)
        return ERR_NAMETOOLONG;
    struct meta_command command = {
        .op = META_SYMLINK,
        .make = {.parent = parent, .name = name, .mode = S_IFLNK | 0777u, .exclusive = true, .target = target}};
    return make_attr(s, c, &command, ret);
}

enum err surf_link(struct surf *s, const struct surf_caller *c, uint64_t ino, uint64_t parent, struct slice name,
                   struct meta_attr *ret)
{
    TRY(surf_check_name(name));
    struct meta_command command = {.op = META_LINK, .link = {.ino = ino, .parent = parent, .name = name}};
    struct meta_reply reply;
    TRY(surf_change(s, c, &command, parent, 0, &reply));
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

enum err surf_unlink(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name)
{
    TRY(surf_check_name(name));
    uint64_t inos[LIMIT_OPEN_HINTS];
    unsigned count = 0;
    bool all = file_unlinks_begin(s->files, inos, &count);
    struct meta_command command = {.op = META_UNLINK,
                                   .unlink = {.parent = parent,
                                              .name = name,
                                              .open_inos = all ? inos : NULL,
                                              .open_count = all ? count : 0,
                                              .open_unknown = !all}};
    struct meta_reply reply = {0};
    enum err e = surf_change(s, c, &command, parent, 0, &reply);
    file_unlinks_end(s->files, e == ERR_OK ? surf_orphan_of(META_UNLINK, &reply) : 0);
    return e;
}

enum err surf_rmdir(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name)
{
    TRY(surf_check_name(name));
    struct meta_command command = {.op = META_RMDIR, .unlink = {.parent = parent, .name = name}};
    struct meta_reply reply;
    return surf_change(s, c, &command, parent, 0, &reply);
}

enum err surf_rename(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     uint64_t new_parent, struct slice new_name, uint32_t meta_flags)
{
    TRY(surf_check_name(name));
    TRY(surf_check_name(new_name));
    uint64_t inos[LIMIT_OPEN_HINTS];
    unsigned count = 0;
    bool all = file_unlinks_begin(s->files, inos, &count);
    struct meta_command command = {.op = META_RENAME,
                                   .rename = {.parent = parent,
                                              .new_parent = new_parent,
                                              .name = name,
                                              .new_name = new_name,
                                              .flags = meta_flags,
                                              .open_inos = all ? inos : NULL,
                                              .open_count = all ? count : 0,
                                              .open_unknown = !all}};
    struct meta_reply reply = {0};
    enum err e = surf_change(s, c, &command, parent, new_parent, &reply);
    file_unlinks_end(s->files, e == ERR_OK ? surf_orphan_of(META_RENAME, &reply) : 0);
    return e;
}
