/* Changes of the tree for who watches it: kept as they are applied, told in order, each as soon as every mount sees it.
 */
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "replica"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

#define LOOKED_AT_MAX 1024u            /* changes that one question looks at */
#define ANSWER_BYTES ((size_t)1 * MIB) /* paths in one answer; one more change always fits into a frame */
_Static_assert(ANSWER_BYTES + 2 * WIRE_CHANGE_PATH_BYTES + WIRE_CHANGES * 512 <= LIMIT_FRAME_MESSAGE_BYTES,
               "an answer fits in a frame");

/* ---- what has been applied ---- */

/* Commands come in runs from few sessions. */
static struct slice client_of(struct replica *r, uint64_t session)
{
    struct change_client *known = &r->change_clients[session % CHANGE_CLIENTS];
    struct slice client = {NULL, 0};
    if (known->session == session)
        return SLICE(known->text, known->size);
    if (meta_session_client(r->meta, session, &r->apply_arena, &client) != ERR_OK)
        return client;
    *known = (struct change_client){.session = session, .size = (uint8_t)MIN(client.size, sizeof known->text)};
    if (known->size > 0)
        memcpy(known->text, client.data, known->size);
    return client;
}

static enum wire_change_op op_of_make(enum meta_op op)
{
    return op == META_CREATE  ? WIRE_CHANGE_CREATE
           : op == META_MKDIR ? WIRE_CHANGE_MKDIR
           : op == META_MKNOD ? WIRE_CHANGE_MKNOD
                              : WIRE_CHANGE_SYMLINK;
}

/* False: it is no change of the tree. */
static bool describe(const struct meta_command *c, const struct meta_reply *reply, struct change *ret)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        ret->op = op_of_make(c->op);
        ret->parent = c->make.parent, ret->name = c->make.name;
        return true;
    case META_LINK:
        ret->op = WIRE_CHANGE_LINK;
        ret->parent = c->link.parent, ret->name = c->link.name;
        return true;
    case META_UNLINK:
    case META_RMDIR:
        ret->op = c->op == META_UNLINK ? WIRE_CHANGE_UNLINK : WIRE_CHANGE_RMDIR;
        ret->parent = c->unlink.parent, ret->name = c->unlink.name;
        return true;
    case META_RENAME:
        ret->op = c->rename.flags & META_RENAME_EXCHANGE ? WIRE_CHANGE_EXCHANGE : WIRE_CHANGE_RENAME;
        ret->parent = c->rename.parent, ret->name = c->rename.name;
        ret->new_parent = c->rename.new_parent, ret->new_name = c->rename.new_name;
        ret->other_ino = reply->has_replaced ? reply->replaced.ino : 0;
        return true;
    case META_SETATTR:
        ret->op = c->setattr.mask & META_SET_SIZE ? WIRE_CHANGE_TRUNCATE : WIRE_CHANGE_ATTR;
        ret->ino = c->setattr.ino;
        return c->setattr.mask != META_SET_READ;
    case META_COMMIT:
    case META_CLONE:
        ret->op = WIRE_CHANGE_WRITE;
        ret->ino = c->op == META_COMMIT ? c->commit.ino : c->clone.ino;
        return true;
    case META_SETXATTR:
    case META_REMOVEXATTR:
        ret->op = WIRE_CHANGE_XATTR;
        ret->ino = c->xattr.ino;
        return true;
    default:
        return false;
    }
}

void changes_applied(struct replica *r, const struct meta_command *c, const struct meta_reply *reply)
{
    struct meta_touched touched;
    meta_touched(r->meta, &touched);
    struct change change = {.index = meta_applied_index(r->meta), .time_ns = c->time_ns, .session = c->session};
    /* Nothing was written by what failed, was answered from its kept reply, or made no difference. */
    if (reply->status != ERR_OK || touched.wrote_count == 0 || !describe(c, reply, &change))
        return;
    if (reply->has_attr)
        change.ino = reply->attr.ino, change.mode = reply->attr.mode;
    change.client = client_of(r, c->session);
    change_ring_add(r->changes, &change);
}

void changes_reset(struct replica *r)
{
    change_ring_reset(r->changes, r->meta ? meta_applied_index(r->meta) : 0);
}

/* ---- paths ---- */

/* One answer in the making. */
struct telling {
    struct replica *r;
    struct arena *arena;
    struct slice filter;
    uint64_t directory; /* whose path was made last, as of the change at hand; 0: none */
    struct slice directory_path;
    size_t bytes;
    enum err error;
};

static struct slice join(struct arena *a, struct slice directory, struct slice name)
{
    uint8_t *path = arena_alloc(a, directory.size + 1 + name.size);
    if (directory.size > 0)
        memcpy(path, directory.data, directory.size);
    path[directory.size] = '/';
    memcpy(path + directory.size + 1, name.data, name.size);
    return SLICE(path, directory.size + 1 + name.size);
}

static bool place_of(struct telling *t, uint64_t ino, uint64_t index, struct meta_place *ret)
{
    enum err e = meta_place(t->r->meta, ino, t->arena, ret);
    if (e != ERR_OK) {
        t->error = e;
        return false;
    }
    change_ring_roll_back(t->r->changes, ino, index, ret);
    return ret->name.size > 0;
}

/* Of a directory right after the change at `index`, empty for the root. False: it is not in the tree, or too deep. */
static bool directory_path(struct telling *t, uint64_t ino, uint64_t index, struct slice *ret)
{
    uint8_t path[WIRE_CHANGE_PATH_BYTES]; /* filled from its end */
    size_t at = sizeof path;
    struct meta_place place;
    if (ino == t->directory) {
        *ret = t->directory_path;
        return true;
    }
    for (uint64_t d = ino; d != META_ROOT_INO; d = place.parent) {
        if (!place_of(t, d, index, &place) || place.name.size + 1 + LIMIT_NAME_BYTES + 1 > at)
            return false;
        at -= place.name.size;
        memcpy(path + at, place.name.data, place.name.size);
        path[--at] = '/';
    }
    t->directory = ino;
    *ret = t->directory_path = arena_slice(t->arena, SLICE(path + at, sizeof path - at));
    return true;
}

static struct slice path_of(struct telling *t, uint64_t parent, struct slice name, uint64_t index)
{
    struct slice directory;
    return directory_path(t, parent, index, &directory) ? join(t->arena, directory, name) : SLICE(NULL, 0);
}

static void make_paths(struct telling *t, const struct change *c, struct wire_change *to)
{
    struct meta_place place = {c->parent, c->name};
    if (c->parent == 0 && c->ino == META_ROOT_INO)
        to->path = slice_str("/");
    else if (c->parent != 0 || place_of(t, c->ino, c->index, &place))
        to->path = path_of(t, place.parent, place.name, c->index);
    if (c->new_parent != 0)
        to->new_path = path_of(t, c->new_parent, c->new_name, c->index);
}

static bool moves_directory(const struct change *c)
{
    return c->op == WIRE_CHANGE_EXCHANGE || (c->op == WIRE_CHANGE_RENAME && S_ISDIR(c->mode));
}

static bool is_below(struct slice path, struct slice above)
{
    return path.size >= above.size && memcmp(path.data, above.data, above.size) == 0 &&
           (path.size == above.size || path.data[above.size] == '/');
}

static bool is_wanted(const struct telling *t, const struct change *c, const struct wire_change *w)
{
    struct slice f = t->filter;
    if (f.size == 0)
        return true;
    const struct slice paths[] = {w->path, w->new_path};
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        if (paths[i].size > 0 && (is_below(paths[i], f) || (moves_directory(c) && is_below(f, paths[i]))))
            return true;
    }
    return false;
}

/* ---- what is told ---- */

/* Some mount still believes an older state of what it has changed, so that others may not be told. */
static bool is_hidden(struct replica *r, const struct change *c)
{
    const uint64_t inos[] = {c->ino, c->other_ino, c->parent, c->new_parent};
    return leases_must_wait(r->leases, inos, ARRAY_SIZE(inos), c->index, replica_now_ns(r), NULL);
}

static void tell(struct telling *t, const struct change *c, struct wire_changes *ret)
{
    struct wire_change w = {
        .index = c->index, .time_ns = c->time_ns, .op = c->op, .mode = c->mode, .ino = c->ino, .session = c->session};
    /* What was true of a directory after the change before is, unless a directory has moved in this one. */
    if (moves_directory(c))
        t->directory = 0;
    make_paths(t, c, &w);
    if (!is_wanted(t, c, &w))
        return;
    if (!ret->list)
        ret->list = arena_alloc(t->arena, WIRE_CHANGES * sizeof *ret->list);
    w.client = arena_slice(t->arena, c->client);
    t->bytes += w.path.size + w.new_path.size;
    ret->list[ret->count++] = w;
}

static uint64_t newest_visible(struct replica *r)
{
    uint64_t through = change_ring_floor(r->changes);
    for (const struct change *c; (c = change_ring_after(r->changes, through)) && !is_hidden(r, c);)
        through = c->index;
    return change_ring_after(r->changes, through) ? through : meta_applied_index(r->meta);
}

enum err replica_changes(struct replica *r, const struct wire_changes_query *q, struct arena *a,
                         struct wire_changes *ret)
{
    if (!replica_in_service(r) || r->role != RAFT_LEADER || !r->leader_ready)
        return r->role != RAFT_LEADER && r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    *ret = (struct wire_changes){.through = q->after};
    if (leases_must_wait(r->leases, NULL, 0, 0, replica_now_ns(r), NULL))
        return q->from_now ? ERR_NO_LEADER : ERR_OK; /* nobody is told anything yet, neither where now is */
    if (q->from_now) {
        ret->through = newest_visible(r);
        return ERR_OK;
    }
    uint64_t floor = change_ring_floor(r->changes);
    if (ret->through < floor)
        ret->through = ret->missed_upto = floor;
    struct telling t = {.r = r, .arena = a, .filter = q->path};
    const struct change *c = NULL;
    for (unsigned looked_at = 0; looked_at < LOOKED_AT_MAX; looked_at++) {
        c = change_ring_after(r->changes, ret->through);
        if (!c || is_hidden(r, c) || ret->count == WIRE_CHANGES || t.bytes > ANSWER_BYTES)
            break;
        tell(&t, c, ret);
        ret->through = c->index;
    }
    if (!c)
        ret->through = MAX(ret->through, meta_applied_index(r->meta));
    return t.error;
}
