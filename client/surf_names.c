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
    command->make.umask = c->umask & 0777u;
    return surf_change(s, c, command, ret);
}

static enum err make_attr(struct surf *s, const struct surf_caller *c, struct meta_command *command,
                          struct meta_attr *ret)
{
    struct meta_reply reply;
    TRY(make(s, c, command, &reply));
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

static enum err create(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
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

enum err surf_create(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                     int flags, struct meta_attr *ret, struct open_file **ret_handle, bool *ret_keep_cache)
{
    struct file_create mark;
    file_create_begin(s->files, &mark);
    enum err e = create(s, c, parent, name, mode, flags, ret, ret_handle, ret_keep_cache);
    file_create_end(s->files, &mark);
    return e;
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
    TRY(surf_change(s, c, &command, &reply));
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

enum err surf_unlink(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name)
{
    TRY(surf_check_name(name));
    struct meta_command command = {.op = META_UNLINK, .unlink = {.parent = parent, .name = name}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}

enum err surf_unlink_version(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                             uint64_t ino, uint64_t version)
{
    TRY(surf_check_name(name));
    struct meta_command command = {
        .op = META_UNLINK,
        .unlink = {.parent = parent, .name = name, .expected_ino = ino, .expected_version = version}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}

enum err surf_take(struct surf *s, const struct surf_caller *c, uint64_t source, uint64_t ino, uint64_t version,
                   uint64_t new_version, struct meta_attr *ret)
{
    struct meta_command command = {.op = META_CLONE,
                                   .clone = {.source = source,
                                             .ino = ino,
                                             .length = META_SIZE_MAX,
                                             .has_expected_version = true,
                                             .expected_version = version,
                                             .take = true,
                                             .version = new_version}};
    struct meta_reply reply;
    TRY(surf_change(s, c, &command, &reply));
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

enum err surf_rmdir(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name)
{
    TRY(surf_check_name(name));
    struct meta_command command = {.op = META_RMDIR, .unlink = {.parent = parent, .name = name}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}

enum err surf_rename(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     uint64_t new_parent, struct slice new_name, uint32_t meta_flags)
{
    TRY(surf_check_name(name));
    TRY(surf_check_name(new_name));
    struct meta_command command = {
        .op = META_RENAME,
        .rename = {
            .parent = parent, .new_parent = new_parent, .name = name, .new_name = new_name, .flags = meta_flags}};
    struct meta_reply reply;
    return surf_change(s, c, &command, &reply);
}
