#include "proto/meta_parts.h"
#include "proto/wire_meta.h"

#define CLIENT_BYTES 255u
#define SETATTR_MASK_ALL ((uint32_t)(META_KILL_SET_GID * 2 - 1))
#define RENAME_FLAGS_ALL ((uint32_t)(META_RENAME_NOREPLACE | META_RENAME_EXCHANGE))
#define XATTR_FLAGS_ALL ((uint32_t)(META_XATTR_CREATE | META_XATTR_REPLACE | META_XATTR_KILL_SGID))
#define UMASK_ALL 0777u
_Static_assert(META_OP_LAST == META_NEXT, "a new command needs a body here, in meta.proto and in the tests");

/* ---- encoding ---- */

/* The bodies live beside the command on the encoder's stack; only one of them is used. */
struct command_message {
    Surf__Command command;
    union {
        Surf__CommandInit init;
        Surf__CommandSessionOpen session_open;
        Surf__CommandSessionEnd session_end;
        Surf__CommandSetattr setattr;
        Surf__CommandMake make;
        Surf__CommandLink link;
        Surf__CommandUnlink unlink;
        Surf__CommandRename rename;
        Surf__CommandCommit commit;
        Surf__CommandRelease release;
        Surf__CommandReap reap;
        Surf__BlockServer block_server;
        Surf__CommandLock lock;
        Surf__CommandLockCancel lock_cancel;
        Surf__CommandClone clone;
        Surf__CommandMoved moved;
        Surf__CommandSetxattr setxattr;
        Surf__CommandRemovexattr removexattr;
        Surf__CommandExport export;
        Surf__CommandEpoch epoch;
        Surf__CommandKv kv;
        Surf__CommandKvExpire kv_expire;
        Surf__CommandReads reads;
        Surf__CommandRewrite rewrite;
        Surf__CommandSetLevel set_level;
        Surf__CommandReplicas replicas;
        Surf__CommandNext next;
    };
    Surf__Extents extents;
    Surf__Lock what;
};

/* Points the command at its body, which is initialised. */
#define BODY(m, upper, lower, body)                                                                                    \
    ((m)->command.body_case = SURF__COMMAND__BODY_##upper, (m)->command.body = &(m)->body, lower##__init(&(m)->body),  \
     &(m)->body)

static void session_open_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(c->session_open.export.size > 0 && c->session_open.export.size <= LIMIT_EXPORT_BYTES);
    CHECK(c->session_open.client.size <= CLIENT_BYTES);
    Surf__CommandSessionOpen *body = BODY(m, SESSION_OPEN, surf__command_session_open, session_open);
    body->export = wire_binary_of(c->session_open.export);
    body->client = wire_binary_of(c->session_open.client);
    body->attaches = c->session_open.attaches;
    body->nonce = wire_binary(c->session_open.nonce, sizeof c->session_open.nonce);
}

static void setattr_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK((c->setattr.mask & ~SETATTR_MASK_ALL) == 0);
    CHECK(c->setattr.mode <= WIRE_MODE_MAX && c->setattr.size <= META_SIZE_MAX);
    Surf__CommandSetattr *body = BODY(m, SETATTR, surf__command_setattr, setattr);
    body->ino = c->setattr.ino;
    body->mask = c->setattr.mask;
    body->mode = c->setattr.mode;
    body->uid = c->setattr.uid;
    body->gid = c->setattr.gid;
    body->size = c->setattr.size;
    body->atime_ns = c->setattr.atime_ns;
    body->mtime_ns = c->setattr.mtime_ns;
    body->ctime_ns = c->setattr.ctime_ns;
}

static void make_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_name_valid(c->make.name) && c->make.mode <= WIRE_MODE_MAX && c->make.umask <= UMASK_ALL);
    CHECK(c->make.target.size <= LIMIT_SYMLINK_BYTES);
    Surf__CommandMake *body = BODY(m, MAKE, surf__command_make, make);
    body->parent = c->make.parent;
    body->name = wire_binary_of(c->make.name);
    body->mode = c->make.mode;
    body->uid = c->make.uid;
    body->gid = c->make.gid;
    body->rdev = c->make.rdev;
    body->umask = c->make.umask;
    body->exclusive = c->make.exclusive;
    if (c->op == META_SYMLINK)
        body->target = wire_binary_of(c->make.target);
}

static void link_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_name_valid(c->link.name));
    Surf__CommandLink *body = BODY(m, LINK, surf__command_link, link);
    body->ino = c->link.ino;
    body->parent = c->link.parent;
    body->name = wire_binary_of(c->link.name);
}

static void unlink_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_name_valid(c->unlink.name));
    Surf__CommandUnlink *body = BODY(m, UNLINK, surf__command_unlink, unlink);
    body->parent = c->unlink.parent;
    body->name = wire_binary_of(c->unlink.name);
    body->expected_ino = c->unlink.expected_ino;
    body->expected_version = c->unlink.expected_version;
}

static void rename_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_name_valid(c->rename.name) && wire_name_valid(c->rename.new_name));
    CHECK((c->rename.flags & ~RENAME_FLAGS_ALL) == 0);
    Surf__CommandRename *body = BODY(m, RENAME, surf__command_rename, rename);
    body->parent = c->rename.parent;
    body->new_parent = c->rename.new_parent;
    body->name = wire_binary_of(c->rename.name);
    body->new_name = wire_binary_of(c->rename.new_name);
    body->flags = c->rename.flags;
}

static void commit_fill(struct command_message *m, const struct meta_command *c, struct arena *a)
{
    CHECK(c->commit.extent_count <= LIMIT_COMMIT_EXTENTS && c->commit.size_at_least <= META_SIZE_MAX);
    Surf__CommandCommit *body = BODY(m, COMMIT, surf__command_commit, commit);
    body->ino = c->commit.ino;
    if (c->commit.extent_count > 0) {
        wire_extents_fill(&m->extents, c->commit.extents, c->commit.extent_count, a);
        body->extents = &m->extents;
    }
    body->size_at_least = c->commit.size_at_least;
    body->append = c->commit.append;
    body->has_expected_version = c->commit.has_expected_version;
    body->expected_version = c->commit.expected_version;
    body->has_mtime = c->commit.has_mtime;
    body->mtime_ns = c->commit.mtime_ns;
    body->kill_set_id = c->commit.kill_set_id;
    wire_inlined_fill(body, c->commit.inlined, c->commit.inlined_count, a);
    body->epoch = c->commit.epoch;
}

static void clone_fill(struct command_message *m, const struct meta_command *c)
{
    Surf__CommandClone *body = BODY(m, CLONE, surf__command_clone, clone);
    body->source = c->clone.source;
    body->source_offset = c->clone.source_offset;
    body->ino = c->clone.ino;
    body->offset = c->clone.offset;
    body->length = c->clone.length;
    body->has_expected_version = c->clone.has_expected_version;
    body->expected_version = c->clone.expected_version;
    body->kill_set_id = c->clone.kill_set_id;
    body->take = c->clone.take;
    body->version = c->clone.version;
}

static void release_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(c->release.count <= LIMIT_RELEASE);
    Surf__CommandRelease *body = BODY(m, RELEASE, surf__command_release, release);
    body->n_ino = c->release.count;
    body->ino = wire_unconst(c->release.inos);
}

static void lock_fill(struct command_message *m, const struct meta_command *c)
{
    Surf__CommandLock *body = BODY(m, LOCK, surf__command_lock, lock);
    body->ino = c->lock.ino;
    wire_lock_fill(&m->what, &c->lock.lock);
    body->lock = &m->what;
    body->wait = c->lock.wait;
}

static void lock_cancel_fill(struct command_message *m, const struct meta_command *c)
{
    Surf__CommandLockCancel *body = BODY(m, LOCK_CANCEL, surf__command_lock_cancel, lock_cancel);
    body->ticket = c->lock_cancel.ticket;
    body->place = c->lock_cancel.place;
}

static void setxattr_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_xattr_name_valid(c->xattr.name) && c->xattr.value.size <= LIMIT_XATTR_VALUE_BYTES);
    CHECK((c->xattr.flags & ~XATTR_FLAGS_ALL) == 0);
    Surf__CommandSetxattr *body = BODY(m, SETXATTR, surf__command_setxattr, setxattr);
    body->ino = c->xattr.ino;
    body->name = wire_binary_of(c->xattr.name);
    body->value = wire_binary_of(c->xattr.value);
    body->flags = c->xattr.flags;
}

static void removexattr_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(wire_xattr_name_valid(c->xattr.name));
    Surf__CommandRemovexattr *body = BODY(m, REMOVEXATTR, surf__command_removexattr, removexattr);
    body->ino = c->xattr.ino;
    body->name = wire_binary_of(c->xattr.name);
}

static void export_fill(struct command_message *m, const struct meta_command *c)
{
    CHECK(c->export.name.size > 0 && c->export.name.size <= LIMIT_EXPORT_BYTES);
    CHECK(c->export.mask <= META_EXPORT_OPTIONS_ALL && (c->export.options & ~c->export.mask) == 0);
    Surf__CommandExport *body = BODY(m, EXPORT, surf__command_export, export);
    body->name = wire_binary_of(c->export.name);
    body->mask = c->export.mask;
    body->options = c->export.options;
}

static void body_fill(struct command_message *m, const struct meta_command *c, struct arena *a)
{
    switch (c->op) {
    case META_INIT: {
        Surf__CommandInit *body = BODY(m, INIT, surf__command_init, init);
        body->cluster_id = wire_binary(c->init.cluster_id, sizeof c->init.cluster_id);
        body->cookie_key = wire_binary(c->init.cookie_key, sizeof c->init.cookie_key);
        return;
    }
    case META_SESSION_OPEN:
        return session_open_fill(m, c);
    case META_SESSION_END:
        BODY(m, SESSION_END, surf__command_session_end, session_end)->session = c->session_end.session;
        return;
    case META_SETATTR:
        return setattr_fill(m, c);
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        return make_fill(m, c);
    case META_LINK:
        return link_fill(m, c);
    case META_UNLINK:
    case META_RMDIR:
        return unlink_fill(m, c);
    case META_RENAME:
        return rename_fill(m, c);
    case META_COMMIT:
        return commit_fill(m, c, a);
    case META_RELEASE:
        return release_fill(m, c);
    case META_REAP:
        BODY(m, REAP, surf__command_reap, reap)->content_id = c->reap.content_id;
        return;
    case META_BLOCK_SERVER:
        m->command.body_case = SURF__COMMAND__BODY_BLOCK_SERVER;
        m->command.block_server = &m->block_server;
        wire_server_fill(&m->block_server, &c->block_server);
        return;
    case META_LOCK:
        return lock_fill(m, c);
    case META_LOCK_CANCEL:
        return lock_cancel_fill(m, c);
    case META_CLONE:
        return clone_fill(m, c);
    case META_MOVED:
        wire_moved_fill(BODY(m, MOVED, surf__command_moved, moved), c->moved.blocks, c->moved.count, a);
        return;
    case META_READS:
        wire_reads_fill(BODY(m, READS, surf__command_reads, reads), c->reads.list, c->reads.count, a);
        return;
    case META_SETXATTR:
        return setxattr_fill(m, c);
    case META_REMOVEXATTR:
        return removexattr_fill(m, c);
    case META_EXPORT:
        return export_fill(m, c);
    case META_EPOCH: {
        Surf__CommandEpoch *body = BODY(m, EPOCH, surf__command_epoch, epoch);
        body->after = c->epoch.after;
        body->look = c->epoch.look;
        return;
    }
    case META_KV:
        wire_kv_fill(BODY(m, KV, surf__command_kv, kv), c->kv.changes, c->kv.count, a);
        return;
    case META_KV_EXPIRE:
        (void)BODY(m, KV_EXPIRE, surf__command_kv_expire, kv_expire);
        return;
    case META_REWRITE:
        wire_rewrite_fill(BODY(m, REWRITE, surf__command_rewrite, rewrite), &m->extents, c, a);
        return;
    case META_SET_LEVEL:
        BODY(m, SET_LEVEL, surf__command_set_level, set_level)->level = c->set_level.level;
        return;
    case META_REPLICAS:
        BODY(m, REPLICAS, surf__command_replicas, replicas)->count = c->replicas.count;
        return;
    case META_NEXT:
        (void)BODY(m, NEXT, surf__command_next, next);
        return;
    }
    CHECK(!"a command that is listed");
}

struct slice wire_meta_command_encode(const struct meta_command *c, struct arena *a)
{
    struct command_message m;
    surf__command__init(&m.command);
    m.command.op = c->op;
    m.command.session = c->session;
    m.command.seq = c->seq;
    m.command.acked = c->acked;
    m.command.time_ns = c->time_ns;
    body_fill(&m, c, a);
    struct slice s = wire_pack(&m.command.base, a);
    CHECK(s.size <= LIMIT_COMMAND_BYTES);
    return s;
}

/* ---- decoding ---- */

static enum err inos_read(const char *field, const uint64_t *inos, size_t count, struct err_text *why)
{
    TRY(wire_check_count(field, count, 0, LIMIT_RELEASE, why));
    for (size_t i = 0; i < count; i++)
        TRY(wire_check_range(field, inos[i], 1, UINT64_MAX, why));
    return ERR_OK;
}

static enum err init_read(const Surf__CommandInit *body, struct meta_command *c, struct err_text *why)
{
    TRY(wire_check_size("command.init.cluster_id", wire_slice(body->cluster_id), 16, 16, why));
    TRY(wire_check_size("command.init.cookie_key", wire_slice(body->cookie_key), 16, 16, why));
    memcpy(c->init.cluster_id, body->cluster_id.data, 16);
    memcpy(c->init.cookie_key, body->cookie_key.data, 16);
    return ERR_OK;
}

static enum err session_open_read(const Surf__CommandSessionOpen *body, struct meta_command *c, struct err_text *why)
{
    c->session_open.export = wire_slice(body->export);
    c->session_open.client = wire_slice(body->client);
    c->session_open.attaches = body->attaches;
    TRY(wire_check_size("command.session_open.export", c->session_open.export, 1, LIMIT_EXPORT_BYTES, why));
    TRY(wire_check_size("command.session_open.client", c->session_open.client, 0, CLIENT_BYTES, why));
    TRY(wire_check_size("command.session_open.nonce", wire_slice(body->nonce), 16, 16, why));
    memcpy(c->session_open.nonce, body->nonce.data, 16);
    return ERR_OK;
}

static enum err setattr_read(const Surf__CommandSetattr *body, struct meta_command *c, struct err_text *why)
{
    TRY(wire_check_range("command.setattr.ino", body->ino, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.setattr.mask", body->mask, 0, SETATTR_MASK_ALL, why));
    if ((body->mask & META_SET_READ) && body->mask != META_SET_READ)
        return wire_refuse("command.setattr.mask", body->mask, "nothing else with a read", why);
    TRY(wire_check_range("command.setattr.mode", body->mode, 0, WIRE_MODE_MAX, why));
    TRY(wire_check_range("command.setattr.size", body->size, 0, META_SIZE_MAX, why));
    c->setattr.ino = body->ino;
    c->setattr.mask = body->mask;
    c->setattr.mode = body->mode;
    c->setattr.uid = body->uid;
    c->setattr.gid = body->gid;
    c->setattr.size = body->size;
    c->setattr.atime_ns = body->atime_ns;
    c->setattr.mtime_ns = body->mtime_ns;
    c->setattr.ctime_ns = body->ctime_ns;
    return ERR_OK;
}

static enum err make_read(const Surf__CommandMake *body, struct meta_command *c, struct err_text *why)
{
    bool symlink = c->op == META_SYMLINK;
    c->make.name = wire_slice(body->name);
    c->make.target = wire_slice(body->target);
    TRY(wire_check_range("command.make.parent", body->parent, 1, UINT64_MAX, why));
    TRY(wire_check_name("command.make.name", c->make.name, why));
    TRY(wire_check_range("command.make.mode", body->mode, 0, WIRE_MODE_MAX, why));
    TRY(wire_check_range("command.make.umask", body->umask, 0, UMASK_ALL, why));
    TRY(wire_check_size("command.make.target", c->make.target, symlink, symlink ? LIMIT_SYMLINK_BYTES : 0, why));
    if (symlink && memchr(c->make.target.data, 0, c->make.target.size))
        return err_explain(why, ERR_PROTOCOL, "command.make.target has a NUL in its %zu bytes", c->make.target.size);
    c->make.parent = body->parent;
    c->make.mode = body->mode;
    c->make.uid = body->uid;
    c->make.gid = body->gid;
    c->make.rdev = body->rdev;
    c->make.umask = body->umask;
    c->make.exclusive = body->exclusive;
    return ERR_OK;
}

static enum err link_read(const Surf__CommandLink *body, struct meta_command *c, struct err_text *why)
{
    c->link.ino = body->ino;
    c->link.parent = body->parent;
    c->link.name = wire_slice(body->name);
    TRY(wire_check_range("command.link.ino", body->ino, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.link.parent", body->parent, 1, UINT64_MAX, why));
    return wire_check_name("command.link.name", c->link.name, why);
}

static enum err unlink_read(const Surf__CommandUnlink *body, struct meta_command *c, struct err_text *why)
{
    c->unlink.parent = body->parent;
    c->unlink.name = wire_slice(body->name);
    c->unlink.expected_ino = body->expected_ino;
    c->unlink.expected_version = body->expected_version;
    TRY(wire_check_range("command.unlink.parent", body->parent, 1, UINT64_MAX, why));
    TRY(wire_check_name("command.unlink.name", c->unlink.name, why));
    return ERR_OK;
}

static enum err rename_read(const Surf__CommandRename *body, struct meta_command *c, struct err_text *why)
{
    c->rename.parent = body->parent;
    c->rename.new_parent = body->new_parent;
    c->rename.name = wire_slice(body->name);
    c->rename.new_name = wire_slice(body->new_name);
    TRY(wire_check_range("command.rename.parent", body->parent, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.rename.new_parent", body->new_parent, 1, UINT64_MAX, why));
    TRY(wire_check_name("command.rename.name", c->rename.name, why));
    TRY(wire_check_name("command.rename.new_name", c->rename.new_name, why));
    TRY(wire_check_range("command.rename.flags", body->flags, 0, RENAME_FLAGS_ALL, why));
    c->rename.flags = body->flags;
    return ERR_OK;
}

static enum err commit_read(const Surf__CommandCommit *body, struct arena *a, struct meta_command *c,
                            struct err_text *why)
{
    struct meta_extent *extents;
    TRY(wire_check_range("command.commit.ino", body->ino, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.commit.size_at_least", body->size_at_least, 0, META_SIZE_MAX, why));
    TRY(wire_extents_read(body->extents, "command.commit.extents", LIMIT_COMMIT_EXTENTS, a, &extents,
                          &c->commit.extent_count, why));
    for (unsigned i = 0; body->append && i < c->commit.extent_count; i++)
        if (body->extents->gap[i] > 0)
            return wire_refuse("command.commit.extents.gap", body->extents->gap[i], "0 in an append: one run from 0",
                               why);
    c->commit.ino = body->ino;
    c->commit.extents = extents;
    c->commit.size_at_least = body->size_at_least;
    c->commit.append = body->append;
    c->commit.has_expected_version = body->has_expected_version;
    c->commit.expected_version = body->expected_version;
    c->commit.has_mtime = body->has_mtime;
    c->commit.mtime_ns = body->mtime_ns;
    c->commit.kill_set_id = body->kill_set_id;
    c->commit.epoch = body->epoch;
    return wire_inlined_read(body, a, &c->commit.inlined, &c->commit.inlined_count, why);
}

static enum err clone_read(const Surf__CommandClone *body, struct meta_command *c, struct err_text *why)
{
    TRY(wire_check_range("command.clone.source", body->source, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.clone.ino", body->ino, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.clone.length", body->length, 1, META_SIZE_MAX, why));
    TRY(wire_check_range("command.clone.source_offset", body->source_offset, 0, META_SIZE_MAX - body->length, why));
    TRY(wire_check_range("command.clone.offset", body->offset, 0, META_SIZE_MAX - body->length, why));
    if (body->take && (body->length != META_SIZE_MAX || !body->has_expected_version))
        return wire_refuse("command.clone.take", body->length, "of the whole, with an expected version", why);
    TRY(wire_check_range("command.clone.version", body->version, 0, META_SIZE_MAX, why));
    c->clone.take = body->take;
    c->clone.version = body->version;
    c->clone.source = body->source;
    c->clone.source_offset = body->source_offset;
    c->clone.ino = body->ino;
    c->clone.offset = body->offset;
    c->clone.length = body->length;
    c->clone.has_expected_version = body->has_expected_version;
    c->clone.expected_version = body->expected_version;
    c->clone.kill_set_id = body->kill_set_id;
    return ERR_OK;
}

static enum err release_read(const Surf__CommandRelease *body, struct meta_command *c, struct err_text *why)
{
    TRY(inos_read("command.release.ino", body->ino, body->n_ino, why));
    c->release.inos = body->ino;
    c->release.count = (unsigned)body->n_ino;
    return ERR_OK;
}

static enum err lock_read(const Surf__CommandLock *body, struct meta_command *c, struct err_text *why)
{
    TRY(wire_check_range("command.lock.ino", body->ino, 1, UINT64_MAX, why));
    c->lock.ino = body->ino;
    c->lock.wait = body->wait;
    return wire_lock_read(body->lock, "command.lock.lock", &c->lock.lock, why);
}

static enum err lock_cancel_read(const Surf__CommandLockCancel *body, struct meta_command *c, struct err_text *why)
{
    TRY(wire_check_range("command.lock_cancel.ticket", body->ticket, 1, UINT64_MAX, why));
    TRY(wire_check_range("command.lock_cancel.place", body->place, 0, LIMIT_SESSION_WAITS - 1, why));
    c->lock_cancel.ticket = body->ticket;
    c->lock_cancel.place = body->place;
    return ERR_OK;
}

static enum err setxattr_read(const Surf__CommandSetxattr *body, struct meta_command *c, struct err_text *why)
{
    c->xattr.ino = body->ino;
    c->xattr.name = wire_slice(body->name);
    c->xattr.value = wire_slice(body->value);
    c->xattr.flags = body->flags;
    TRY(wire_check_range("command.setxattr.ino", body->ino, 1, UINT64_MAX, why));
    TRY(wire_check_xattr_name("command.setxattr.name", c->xattr.name, why));
    TRY(wire_check_size("command.setxattr.value", c->xattr.value, 0, LIMIT_XATTR_VALUE_BYTES, why));
    return wire_check_range("command.setxattr.flags", body->flags, 0, XATTR_FLAGS_ALL, why);
}

static enum err removexattr_read(const Surf__CommandRemovexattr *body, struct meta_command *c, struct err_text *why)
{
    c->xattr.ino = body->ino;
    c->xattr.name = wire_slice(body->name);
    TRY(wire_check_range("command.removexattr.ino", body->ino, 1, UINT64_MAX, why));
    return wire_check_xattr_name("command.removexattr.name", c->xattr.name, why);
}

static enum err export_read(const Surf__CommandExport *body, struct meta_command *c, struct err_text *why)
{
    c->export.name = wire_slice(body->name);
    c->export.mask = body->mask;
    c->export.options = body->options;
    TRY(wire_check_size("command.export.name", c->export.name, 1, LIMIT_EXPORT_BYTES, why));
    TRY(wire_check_range("command.export.mask", body->mask, 0, META_EXPORT_OPTIONS_ALL, why));
    if (body->options & ~body->mask)
        return wire_refuse("command.export.options", body->options, "of the mask", why);
    return ERR_OK;
}

static Surf__Command__BodyCase body_of(enum meta_op op)
{
    static const Surf__Command__BodyCase bodies[META_OP_LAST + 1] = {
        [META_INIT] = SURF__COMMAND__BODY_INIT,
        [META_SESSION_OPEN] = SURF__COMMAND__BODY_SESSION_OPEN,
        [META_SESSION_END] = SURF__COMMAND__BODY_SESSION_END,
        [META_SETATTR] = SURF__COMMAND__BODY_SETATTR,
        [META_CREATE] = SURF__COMMAND__BODY_MAKE,
        [META_MKDIR] = SURF__COMMAND__BODY_MAKE,
        [META_MKNOD] = SURF__COMMAND__BODY_MAKE,
        [META_SYMLINK] = SURF__COMMAND__BODY_MAKE,
        [META_LINK] = SURF__COMMAND__BODY_LINK,
        [META_UNLINK] = SURF__COMMAND__BODY_UNLINK,
        [META_RMDIR] = SURF__COMMAND__BODY_UNLINK,
        [META_RENAME] = SURF__COMMAND__BODY_RENAME,
        [META_COMMIT] = SURF__COMMAND__BODY_COMMIT,
        [META_RELEASE] = SURF__COMMAND__BODY_RELEASE,
        [META_REAP] = SURF__COMMAND__BODY_REAP,
        [META_BLOCK_SERVER] = SURF__COMMAND__BODY_BLOCK_SERVER,
        [META_LOCK] = SURF__COMMAND__BODY_LOCK,
        [META_LOCK_CANCEL] = SURF__COMMAND__BODY_LOCK_CANCEL,
        [META_CLONE] = SURF__COMMAND__BODY_CLONE,
        [META_MOVED] = SURF__COMMAND__BODY_MOVED,
        [META_SETXATTR] = SURF__COMMAND__BODY_SETXATTR,
        [META_REMOVEXATTR] = SURF__COMMAND__BODY_REMOVEXATTR,
        [META_EXPORT] = SURF__COMMAND__BODY_EXPORT,
        [META_EPOCH] = SURF__COMMAND__BODY_EPOCH,
        [META_KV] = SURF__COMMAND__BODY_KV,
        [META_KV_EXPIRE] = SURF__COMMAND__BODY_KV_EXPIRE,
        [META_READS] = SURF__COMMAND__BODY_READS,
        [META_REWRITE] = SURF__COMMAND__BODY_REWRITE,
        [META_SET_LEVEL] = SURF__COMMAND__BODY_SET_LEVEL,
        [META_REPLICAS] = SURF__COMMAND__BODY_REPLICAS,
        [META_NEXT] = SURF__COMMAND__BODY_NEXT,
    };
    return bodies[op];
}

static enum err body_read(const Surf__Command *m, struct arena *a, struct meta_command *c, struct err_text *why)
{
    switch (m->body_case) {
    case SURF__COMMAND__BODY_INIT:
        return init_read(m->init, c, why);
    case SURF__COMMAND__BODY_SESSION_OPEN:
        return session_open_read(m->session_open, c, why);
    case SURF__COMMAND__BODY_SESSION_END:
        c->session_end.session = m->session_end->session;
        return wire_check_range("command.session_end.session", c->session_end.session, 1, UINT64_MAX, why);
    case SURF__COMMAND__BODY_EPOCH:
        c->epoch.after = m->epoch->after;
        c->epoch.look = m->epoch->look;
        return ERR_OK;
    case SURF__COMMAND__BODY_REWRITE:
        return wire_rewrite_read(m->rewrite, a, c, why);
    case SURF__COMMAND__BODY_SETATTR:
        return setattr_read(m->setattr, c, why);
    case SURF__COMMAND__BODY_MAKE:
        return make_read(m->make, c, why);
    case SURF__COMMAND__BODY_LINK:
        return link_read(m->link, c, why);
    case SURF__COMMAND__BODY_UNLINK:
        return unlink_read(m->unlink, c, why);
    case SURF__COMMAND__BODY_RENAME:
        return rename_read(m->rename, c, why);
    case SURF__COMMAND__BODY_COMMIT:
        return commit_read(m->commit, a, c, why);
    case SURF__COMMAND__BODY_RELEASE:
        return release_read(m->release, c, why);
    case SURF__COMMAND__BODY_REAP:
        c->reap.content_id = m->reap->content_id;
        return ERR_OK;
    case SURF__COMMAND__BODY_BLOCK_SERVER:
        return wire_server_read(m->block_server, &c->block_server, why);
    case SURF__COMMAND__BODY_LOCK:
        return lock_read(m->lock, c, why);
    case SURF__COMMAND__BODY_LOCK_CANCEL:
        return lock_cancel_read(m->lock_cancel, c, why);
    case SURF__COMMAND__BODY_CLONE:
        return clone_read(m->clone, c, why);
    case SURF__COMMAND__BODY_MOVED:
        return wire_moved_read(m->moved, a, &c->moved.blocks, &c->moved.count, why);
    case SURF__COMMAND__BODY_READS:
        return wire_reads_read(m->reads, a, &c->reads.list, &c->reads.count, why);
    case SURF__COMMAND__BODY_SETXATTR:
        return setxattr_read(m->setxattr, c, why);
    case SURF__COMMAND__BODY_REMOVEXATTR:
        return removexattr_read(m->removexattr, c, why);
    case SURF__COMMAND__BODY_EXPORT:
        return export_read(m->export, c, why);
    case SURF__COMMAND__BODY_KV:
        return wire_kv_read(m->kv, a, &c->kv.changes, &c->kv.count, why);
    case SURF__COMMAND__BODY_SET_LEVEL:
        c->set_level.level = m->set_level->level;
        return wire_check_range("command.set_level.level", c->set_level.level, 1, UINT32_MAX, why);
    case SURF__COMMAND__BODY_REPLICAS:
        c->replicas.count = m->replicas->count;
        return wire_check_range("command.replicas.count", c->replicas.count, 1, LIMIT_REPLICAS, why);
    case SURF__COMMAND__BODY_KV_EXPIRE:
    case SURF__COMMAND__BODY_NEXT:
        return ERR_OK;
    default:
        return wire_refuse("command.body", (uint64_t)m->body_case, "that of its op", why);
    }
}

enum err wire_meta_command_decode(struct slice s, struct arena *a, struct meta_command *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Command, surf__command, "command", s, LIMIT_COMMAND_BYTES, a, m);
    TRY(wire_check_known(&m->base, "command.op", m->op, META_OP_LAST, why));
    TRY(wire_check_range("command.op", m->op, META_INIT, META_OP_LAST, why));
    if (m->body_case != body_of((enum meta_op)m->op))
        return wire_refuse("command.body", (uint64_t)m->body_case, "that of its op", why);
    if (m->session != 0) {
        TRY(wire_check_range("command.seq", m->seq, 1, UINT64_MAX, why));
        if (m->acked >= m->seq || m->seq - m->acked > LIMIT_REPLY_WINDOW)
            return wire_refuse("command.acked", m->acked, "below seq, by at most the reply window", why);
    }
    struct meta_command c = {
        .op = (enum meta_op)m->op, .session = m->session, .seq = m->seq, .acked = m->acked, .time_ns = m->time_ns};
    TRY(body_read(m, a, &c, why));
    *ret = c;
    return ERR_OK;
}
