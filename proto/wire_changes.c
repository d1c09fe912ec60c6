#include "proto/wire_changes.h"

#include "proto/meta_parts.h"

#define CLIENT_BYTES 255u

const char *wire_change_name(enum wire_change_op op)
{
    static const char *const names[WIRE_CHANGE_LAST + 1] = {
        [WIRE_CHANGE_CREATE] = "create",   [WIRE_CHANGE_MKDIR] = "mkdir",       [WIRE_CHANGE_MKNOD] = "mknod",
        [WIRE_CHANGE_SYMLINK] = "symlink", [WIRE_CHANGE_LINK] = "link",         [WIRE_CHANGE_UNLINK] = "unlink",
        [WIRE_CHANGE_RMDIR] = "rmdir",     [WIRE_CHANGE_RENAME] = "rename",     [WIRE_CHANGE_EXCHANGE] = "exchange",
        [WIRE_CHANGE_WRITE] = "write",     [WIRE_CHANGE_TRUNCATE] = "truncate", [WIRE_CHANGE_ATTR] = "attr",
        [WIRE_CHANGE_XATTR] = "xattr",
    };
    return op >= WIRE_CHANGE_CREATE && op <= WIRE_CHANGE_LAST ? names[op] : "unknown";
}

static enum err check_path(const char *field, struct slice path, struct err_text *why)
{
    TRY(wire_check_size(field, path, 0, WIRE_CHANGE_PATH_BYTES, why));
    if (path.size > 0 && path.data[0] != '/')
        return wire_refuse(field, path.data[0], "begin with a slash", why);
    return ERR_OK;
}

struct slice wire_changes_query_encode(const struct wire_changes_query *q, struct arena *a)
{
    Surf__ChangesQuery m = SURF__CHANGES_QUERY__INIT;
    m.after = q->after;
    m.from_now = q->from_now;
    m.path = wire_binary_of(q->path);
    return wire_pack(&m.base, a);
}

enum err wire_changes_query_decode(struct slice s, struct arena *a, struct wire_changes_query *ret,
                                   struct err_text *why)
{
    WIRE_UNPACK(Surf__ChangesQuery, surf__changes_query, "changes query", s, 2 * WIRE_CHANGE_PATH_BYTES, a, m);
    TRY(check_path("changes query.path", wire_slice(m->path), why));
    *ret = (struct wire_changes_query){.after = m->after, .from_now = m->from_now, .path = wire_slice(m->path)};
    return ERR_OK;
}

struct slice wire_changes_encode(const struct wire_changes *c, struct arena *a)
{
    CHECK(c->count <= WIRE_CHANGES);
    Surf__Changes m = SURF__CHANGES__INIT;
    m.through = c->through;
    m.missed_upto = c->missed_upto;
    m.n_change = c->count;
    Surf__Change *list = arena_alloc(a, (c->count + 1) * sizeof *list);
    m.change = arena_alloc(a, (c->count + 1) * sizeof *m.change);
    for (unsigned i = 0; i < c->count; i++) {
        const struct wire_change *from = &c->list[i];
        Surf__Change *to = m.change[i] = &list[i];
        surf__change__init(to);
        to->index = from->index;
        to->time_ns = from->time_ns;
        to->op = from->op;
        to->mode = from->mode;
        to->ino = from->ino;
        to->path = wire_binary_of(from->path);
        to->new_path = wire_binary_of(from->new_path);
        to->session = from->session;
        to->client = wire_binary_cut(from->client, CLIENT_BYTES);
    }
    return wire_pack(&m.base, a);
}

static enum err decode_change(const Surf__Change *m, struct wire_change *ret, struct err_text *why)
{
    TRY(wire_check_range("change.op", m->op, WIRE_CHANGE_CREATE, WIRE_CHANGE_LAST, why));
    TRY(check_path("change.path", wire_slice(m->path), why));
    TRY(check_path("change.new_path", wire_slice(m->new_path), why));
    TRY(wire_check_size("change.client", wire_slice(m->client), 0, CLIENT_BYTES, why));
    *ret = (struct wire_change){.index = m->index,
                                .time_ns = m->time_ns,
                                .op = (enum wire_change_op)m->op,
                                .mode = m->mode,
                                .ino = m->ino,
                                .path = wire_slice(m->path),
                                .new_path = wire_slice(m->new_path),
                                .session = m->session,
                                .client = wire_slice(m->client)};
    return ERR_OK;
}

enum err wire_changes_decode(struct slice s, struct arena *a, struct wire_changes *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Changes, surf__changes, "changes", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    TRY(wire_check_count("changes.change", m->n_change, 0, WIRE_CHANGES, why));
    struct wire_changes c = {.through = m->through, .missed_upto = m->missed_upto, .count = (unsigned)m->n_change};
    c.list = arena_alloc(a, (c.count + 1) * sizeof *c.list);
    for (unsigned i = 0; i < c.count; i++)
        TRY(decode_change(m->change[i], &c.list[i], why));
    *ret = c;
    return ERR_OK;
}
