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
                                                        [META_BLOCK_SERVER] = "block-server",
                                                        [META_LOCK] = "lock",
                                                        [META_LOCK_CANCEL] = "lock-cancel",
                                                        [META_CLONE] = "clone",
                                                        [META_MOVED] = "moved",
                                                        [META_SETXATTR] = "setxattr",
                                                        [META_REMOVEXATTR] = "removexattr",
                                                        [META_EXPORT] = "export",
                                                        [META_EPOCH] = "epoch",
                                                        [META_KV] = "kv",
                                                        [META_KV_EXPIRE] = "kv-expire",
                                                        [META_READS] = "reads",
                                                        [META_REWRITE] = "rewrite",
                                                        [META_SET_LEVEL] = "set-level",
                                                        [META_REPLICAS] = "replicas",
                                                        [META_NEXT] = "next"};
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

static void add_lock(struct text *t, uint64_t ino, const struct meta_lock *lock)
{
    static const char *const types[] = {
        [META_LOCK_READ] = "read", [META_LOCK_WRITE] = "write", [META_LOCK_UNLOCK] = "unlock"};
    add(t, " ino=%" PRIu64 " %s %s owner=%" PRIx64, ino, lock->kind == META_LOCK_POSIX ? "posix" : "flock",
        types[lock->type], lock->owner);
    if (lock->kind == META_LOCK_POSIX)
        add(t, " bytes=%" PRIu64 "-%" PRIu64, lock->start, lock->end);
}

static void add_server(struct text *t, const struct meta_block_server *s)
{
    static const char *const changes[] = {[META_SERVER_REGISTER] = "",
                                          [META_SERVER_DRAIN] = " drain",
                                          [META_SERVER_UNDRAIN] = " undrain",
                                          [META_SERVER_WEIGHT] = " fixed",
                                          [META_SERVER_REMOVE] = " remove"};
    add(t, " id=%" PRIu32 " address=%s weight=%" PRIu64 "%s", s->id, s->address, s->weight, changes[s->change]);
}

static void add_kv(struct text *t, const struct meta_command *c)
{
    static const char *const kinds[] = {[META_KV_PUT] = "put",       [META_KV_SET] = "set",
                                        [META_KV_CAS] = "cas",       [META_KV_CAS_VALUE] = "cas-value",
                                        [META_KV_APPEND] = "append", [META_KV_DELETE] = "delete"};
    for (unsigned i = 0; i < c->kv.count && i < 4; i++) {
        const struct meta_kv_change *change = &c->kv.changes[i];
        add(t, " %s", kinds[change->kind]);
        add_name(t, "key", change->key);
        if (change->expected_version != 0)
            add(t, " expected_version=%" PRIu64, change->expected_version);
        if (change->kind != META_KV_DELETE)
            add(t, " bytes=%zu", change->value.size);
        if (change->ttl_ns != 0)
            add(t, " ttl=%.3f", (double)change->ttl_ns / 1e9);
    }
    if (c->kv.count > 4)
        add(t, " and %u more", c->kv.count - 4);
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
        if (c->commit.inlined_count > 0)
            add(t, " inlined=%u", c->commit.inlined_count);
        break;
    case META_MOVED:
        add(t, " blocks=%u", c->moved.count);
        break;
    case META_RELEASE:
        add(t, " inodes=%u", c->release.count);
        break;
    case META_READS:
        add(t, " inodes=%u", c->reads.count);
        break;
    case META_REAP:
        add(t, " content=%" PRIu64, c->reap.content_id);
        break;
    case META_EPOCH:
        add(t, " after=%" PRIu64 "%s", c->epoch.after, c->epoch.look ? " look" : "");
        break;
    case META_REWRITE:
        add(t, " ino=%" PRIu64, c->rewrite.ino);
        if (c->rewrite.length > 0)
            add(t, " offset=%" PRIu64 " length=%" PRIu32 " extents=%u", c->rewrite.offset, c->rewrite.length,
                c->rewrite.extent_count);
        else
            add(t, " done version=%" PRIu64, c->rewrite.version);
        break;
    case META_BLOCK_SERVER:
        add_server(t, &c->block_server);
        break;
    case META_LOCK:
        add_lock(t, c->lock.ino, &c->lock.lock);
        if (c->lock.wait)
            add(t, " wait");
        break;
    case META_LOCK_CANCEL:
        add(t, " ticket=%" PRIu64, c->lock_cancel.ticket);
        break;
    case META_CLONE:
        add(t, " source=%" PRIu64 " offset=%" PRIu64 " length=%" PRIu64 " ino=%" PRIu64 " offset=%" PRIu64,
            c->clone.source, c->clone.source_offset, c->clone.length, c->clone.ino, c->clone.offset);
        if (c->clone.has_expected_version)
            add(t, " expected_version=%" PRIu64, c->clone.expected_version);
        if (c->clone.take)
            add(t, " take version=%" PRIu64, c->clone.version);
        break;
    case META_KV:
        add_kv(t, c);
        break;
    case META_KV_EXPIRE:
    case META_NEXT:
        break;
    case META_SET_LEVEL:
        add(t, " level=%" PRIu32, c->set_level.level);
        break;
    case META_REPLICAS:
        add(t, " count=%" PRIu32, c->replicas.count);
        break;
    case META_EXPORT:
        add_name(t, "name", c->export.name);
        add(t, " mask=%#" PRIx32 " options=%#" PRIx32, c->export.mask, c->export.options);
        break;
    case META_SETXATTR:
    case META_REMOVEXATTR:
        add(t, " ino=%" PRIu64, c->xattr.ino);
        add_name(t, "name", c->xattr.name);
        if (c->op == META_SETXATTR)
            add(t, " bytes=%zu flags=%#" PRIx32, c->xattr.value.size, c->xattr.flags);
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
