/* describe.c: commands in words, for logs and surfctl. Names are quoted, bytes that don't print are shown as \xNN. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "meta/meta.h"

const char *meta_op_name(enum meta_op op)
{
    static const char *const names[META_OP_LAST + 1] = {[META_INIT] = "init",
                                                        [META_SESSION_OPEN] = "session-open",
                                                        [META_SESSION_END] = "session-end",
                                                        [META_SETATTR] = "setattr",
                                                        [META_CREATE] = "create",
                                                        [META_MKDIR] = "mkdir",
                                                        [META_MKNOD] = "mknod",
                                                        [META_SYMLINK] = "symlink",
                                                        [META_LINK] = "link",
                                                        [META_UNLINK] = "unlink",
                                                        [META_RMDIR] = "rmdir",
                                                        [META_RENAME] = "rename",
                                                        [META_COMMIT] = "commit",
                                                        [META_RELEASE] = "release",
                                                        [META_REAP] = "reap",
                                                        [META_BLOCK_SERVER] = "block-server"};
    return op > 0 && op <= META_OP_LAST ? names[op] : "unknown";
}

struct text {
    char *to;
    size_t size, used; /* used < size */
};

static void add(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(t->to + t->used, t->size - t->used, format, args);
    va_end(args);
    if (wrote > 0)
        t->used += (size_t)wrote < t->size - t->used ? (size_t)wrote : t->size - t->used - 1;
}

static void add_name(struct text *t, const char *label, struct slice name)
{
    add(t, " %s=\"", label);
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] >= 0x20 && name.data[i] < 0x7f && name.data[i] != '"' && name.data[i] != '\\')
            add(t, "%c", name.data[i]);
        else
            add(t, "\\x%02x", name.data[i]);
    }
    add(t, "\"");
}

static void add_arguments(struct text *t, const struct meta_command *c)
{
    switch (c->op) {
    case META_INIT:
        break;
    case META_SESSION_OPEN:
        add_name(t, "export", c->session_open.export);
        add_name(t, "client", c->session_open.client);
        break;
    case META_SESSION_END:
        add(t, " session=%" PRIu64, c->session_end.session);
        break;
    case META_SETATTR:
        add(t, " ino=%" PRIu64 " mask=%#" PRIx32, c->setattr.ino, c->setattr.mask);
        if (c->setattr.mask & META_SET_SIZE)
            add(t, " size=%" PRIu64, c->setattr.size);
        if (c->setattr.mask & META_SET_MODE)
            add(t, " mode=%" PRIo32, c->setattr.mode);
        break;
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        add(t, " parent=%" PRIu64, c->make.parent);
        add_name(t, "name", c->make.name);
        add(t, " mode=%" PRIo32, c->make.mode);
        break;
    case META_LINK:
        add(t, " ino=%" PRIu64 " parent=%" PRIu64, c->link.ino, c->link.parent);
        add_name(t, "name", c->link.name);
        break;
    case META_UNLINK:
    case META_RMDIR:
        add(t, " parent=%" PRIu64, c->unlink.parent);
        add_name(t, "name", c->unlink.name);
        break;
    case META_RENAME:
        add(t, " parent=%" PRIu64, c->rename.parent);
        add_name(t, "name", c->rename.name);
        add(t, " new_parent=%" PRIu64, c->rename.new_parent);
        add_name(t, "new_name", c->rename.new_name);
        break;
    case META_COMMIT:
        add(t, " ino=%" PRIu64 " extents=%u", c->commit.ino, c->commit.extent_count);
        if (c->commit.append)
            add(t, " append");
        else
            add(t, " size>=%" PRIu64, c->commit.size_at_least);
        if (c->commit.has_expected_version)
            add(t, " expected_version=%" PRIu64, c->commit.expected_version);
        break;
    case META_RELEASE:
        add(t, " inodes=%u", c->release.count);
        break;
    case META_REAP:
        add(t, " content=%" PRIu64, c->reap.content_id);
        break;
    case META_BLOCK_SERVER:
        add(t, " id=%" PRIu32 " address=%s weight=%" PRIu64, c->block_server.id, c->block_server.address,
            c->block_server.weight);
        break;
    }
}

void meta_command_describe(const struct meta_command *c, char *to, size_t size)
{
    if (size == 0)
        return;
    to[0] = 0;
    struct text t = {to, size, 0};
    add(&t, "%s", meta_op_name(c->op));
    add_arguments(&t, c);
    if (c->session != 0)
        add(&t, " session=%" PRIu64 "/%" PRIu64, c->session, c->seq);
}
