#include <sys/stat.h>

#include "proto/meta_parts.h"
#include "proto/wire_meta.h"

#define CLIENT_BYTES 255u
_Static_assert(META_QUERY_LAST == META_QUERY_EXTENTS,
               "a new query needs its fields here, in meta.proto and in the tests");

#define QUERY_BYTES (LIMIT_KV_KEYS * (LIMIT_KV_KEY_BYTES + 8) + WIRE_SMALL_BYTES)
_Static_assert(LIMIT_BLOCK_REFS *SHA256_SIZE + WIRE_SMALL_BYTES <= QUERY_BYTES, "a list of blocks fits in a query");
_Static_assert(sizeof(struct sha256) == SHA256_SIZE && _Alignof(struct sha256) == 1, "ids are read in place");

static unsigned max_count_of(enum meta_query_op op)
{
    return op == META_QUERY_LOOKUP    ? LIMIT_LOOK_AHEAD
           : op == META_QUERY_READDIR ? LIMIT_READDIR_ENTRIES
           : op == META_QUERY_KV_LIST ? LIMIT_KV_LIST_ENTRIES
                                      : LIMIT_LAYOUT_EXTENTS;
}

struct slice wire_meta_query_encode(const struct meta_query *q, struct arena *a)
{
    CHECK(q->max_count <= max_count_of(q->op) && q->offset <= META_SIZE_MAX);
    CHECK(q->op != META_QUERY_LOOKUP || wire_name_valid(q->name));
    CHECK(q->op != META_QUERY_BLOCK_REFS || (q->block_count >= 1 && q->block_count <= LIMIT_BLOCK_REFS));
    CHECK(q->op != META_QUERY_GETXATTR || wire_xattr_name_valid(q->name));
    Surf__Query m = SURF__QUERY__INIT;
    m.op = q->op;
    m.session = q->session;
    m.ino = q->ino;
    if (q->op == META_QUERY_LOOKUP || q->op == META_QUERY_GETXATTR)
        m.name = wire_binary_of(q->name);
    m.cookie = q->cookie;
    m.offset = q->offset;
    m.length = q->length;
    m.max_count = q->max_count;
    m.with_attr = q->with_attr;
    m.any_member = q->any_member;
    Surf__Lock lock;
    if (q->op == META_QUERY_LOCK_TEST) {
        wire_lock_fill(&lock, &q->lock);
        m.lock = &lock;
    }
    m.ticket = q->ticket;
    m.place = q->place;
    m.writer = q->writer;
    if (q->op == META_QUERY_INLINE)
        m.block = wire_binary(q->block.bytes, SHA256_SIZE);
    m.next_block = q->next_block;
    if (q->op == META_QUERY_BLOCK_REFS)
        m.blocks = wire_binary(q->blocks, (size_t)q->block_count * SHA256_SIZE);
    wire_kv_query_fill(&m, q, a);
    return wire_pack(&m.base, a);
}

static enum err blocks_read(const Surf__Query *m, struct meta_query *q, struct err_text *why)
{
    size_t most = q->op == META_QUERY_BLOCK_REFS ? LIMIT_BLOCK_REFS : 0;
    if (m->blocks.len % SHA256_SIZE != 0)
        return wire_refuse("query.blocks", m->blocks.len, "a multiple of 32 bytes", why);
    TRY(wire_check_count("query.blocks", m->blocks.len / SHA256_SIZE, most > 0, most, why));
    q->blocks = (const struct sha256 *)(const void *)m->blocks.data;
    q->block_count = (unsigned)(m->blocks.len / SHA256_SIZE);
    return ERR_OK;
}

enum err wire_meta_query_decode(struct slice s, struct arena *a, struct meta_query *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Query, surf__query, "query", s, QUERY_BYTES, a, m);
    TRY(wire_check_known(&m->base, "query.op", m->op, META_QUERY_LAST, why));
    TRY(wire_check_range("query.op", m->op, META_QUERY_LOOKUP, META_QUERY_LAST, why));
    enum meta_query_op op = (enum meta_query_op)m->op;
    struct meta_lock lock = {0};
    if (meta_query_of_inode(op))
        TRY(wire_check_range("query.ino", m->ino, 1, UINT64_MAX, why));
    if (op == META_QUERY_LOOKUP)
        TRY(wire_check_name("query.name", wire_slice(m->name), why));
    else if (op == META_QUERY_GETXATTR)
        TRY(wire_check_xattr_name("query.name", wire_slice(m->name), why));
    else
        TRY(wire_check_size("query.name", wire_slice(m->name), 0, 0, why));
    TRY(wire_check_range("query.offset", m->offset, 0, META_SIZE_MAX, why));
    TRY(wire_check_range("query.max_count", m->max_count, 0, max_count_of(op), why));
    TRY(wire_check_range("query.place", m->place, 0, LIMIT_SESSION_WAITS - 1, why));
    if (op == META_QUERY_LOCK_TEST)
        TRY(wire_lock_read(m->lock, "query.lock", &lock, why));
    size_t block_size = op == META_QUERY_INLINE ? SHA256_SIZE : 0;
    TRY(wire_check_size("query.block", wire_slice(m->block), block_size, block_size, why));
    *ret = (struct meta_query){
        .op = op,
        .session = m->session,
        .ino = m->ino,
        .name = wire_slice(m->name),
        .cookie = m->cookie,
        .offset = m->offset,
        .length = MIN(m->length, META_SIZE_MAX - m->offset), /* so that no sum of the two overflows */
        .max_count = m->max_count,
        .with_attr = m->with_attr,
        .any_member = m->any_member,
        .lock = lock,
        .ticket = m->ticket,
        .place = m->place,
        .writer = m->writer,
        .next_block = m->next_block,
    };
    if (block_size > 0)
        memcpy(ret->block.bytes, m->block.data, block_size);
    TRY(wire_kv_query_read(m, a, ret, why));
    return blocks_read(m, ret, why);
}

/* ---- replies ---- */

static void entries_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    CHECK(r->entry_count <= LIMIT_READDIR_ENTRIES);
    if (r->entry_count == 0)
        return;
    struct entry {
        Surf__Dirent dirent;
        Surf__Attr attr;
    } *entries = arena_alloc(a, r->entry_count * sizeof *entries);
    m->entry = arena_alloc(a, r->entry_count * sizeof(Surf__Dirent *));
    m->n_entry = r->entry_count;
    for (unsigned i = 0; i < r->entry_count; i++) {
        const struct meta_dirent *from = &r->entries[i];
        Surf__Dirent *to = m->entry[i] = &entries[i].dirent;
        CHECK(wire_name_valid(from->name) && from->ino > 0);
        surf__dirent__init(to);
        to->name = wire_binary_of(from->name);
        to->ino = from->ino;
        to->cookie = from->cookie;
        to->type_mode = from->type_mode & S_IFMT;
        if (from->attr.ino > 0) {
            wire_attr_fill(&entries[i].attr, &from->attr);
            to->attr = &entries[i].attr;
        }
    }
}

static void servers_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    CHECK(r->cluster.server_count <= LIMIT_BLOCK_SERVERS);
    if (r->cluster.server_count == 0)
        return;
    Surf__BlockServer *servers = arena_alloc(a, r->cluster.server_count * sizeof *servers);
    m->server = arena_alloc(a, r->cluster.server_count * sizeof(Surf__BlockServer *));
    m->n_server = r->cluster.server_count;
    for (unsigned i = 0; i < r->cluster.server_count; i++) {
        m->server[i] = &servers[i];
        wire_server_fill(&servers[i], &r->cluster.servers[i]);
    }
}

static void sessions_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    unsigned count = MIN(r->session_count, WIRE_SESSIONS);
    if (count == 0)
        return;
    Surf__Session *sessions = arena_alloc(a, count * sizeof *sessions);
    m->session = arena_alloc(a, count * sizeof(Surf__Session *));
    m->n_session = count;
    for (unsigned i = 0; i < count; i++) {
        const struct meta_session_info *from = &r->sessions[i];
        Surf__Session *to = m->session[i] = &sessions[i];
        surf__session__init(to);
        CHECK(from->export.size <= LIMIT_EXPORT_BYTES && from->client.size <= CLIENT_BYTES);
        to->id = from->id;
        to->last_seq = from->last_seq;
        to->export = wire_binary_of(from->export);
        to->client = wire_binary_of(from->client);
        to->opened_ns = from->opened_ns;
        to->locks = from->locks;
        to->waits = from->waits;
    }
}

struct slice wire_meta_query_reply_encode(const struct meta_query_reply *r, struct arena *a)
{
    static const uint8_t no_id[16];
    CHECK(r->target.size <= LIMIT_SYMLINK_BYTES && r->xattr.size <= LIMIT_XATTR_VALUE_BYTES);
    CHECK(r->extent_count <= LIMIT_LAYOUT_EXTENTS);
    Surf__QueryReply m = SURF__QUERY_REPLY__INIT;
    Surf__Attr attr;
    Surf__Extents extents;
    m.status = r->status;
    if (r->has_attr) {
        wire_attr_fill(&attr, &r->attr);
        m.attr = &attr;
    }
    m.target = wire_binary_of(r->target);
    m.xattr = wire_binary_of(r->xattr);
    entries_fill(&m, r, a);
    m.ahead_cookie = r->ahead_cookie;
    m.end = r->end;
    m.parent_ino = r->parent_ino;
    if (r->extent_count > 0) {
        wire_extents_fill(&extents, r->extents, r->extent_count, a);
        m.extents = &extents;
    }
    wire_inline_blocks_fill(&m, r, a);
    wire_fragmented_fill(&m, r, a);
    m.statfs_inodes = r->statfs.inodes;
    m.statfs_bytes = r->statfs.bytes;
    if (memcmp(r->cluster.id, no_id, sizeof no_id) != 0)
        m.cluster_id = wire_binary(r->cluster.id, sizeof r->cluster.id);
    m.replicas = r->cluster.replicas;
    m.map_version = r->cluster.map_version;
    servers_fill(&m, r, a);
    sessions_fill(&m, r, a);
    Surf__Lock lock;
    if (r->lock.kind != 0) {
        wire_lock_fill(&lock, &r->lock);
        m.lock = &lock;
    }
    m.waiting = r->waiting;
    CHECK(r->referenced_count <= LIMIT_BLOCK_REFS);
    m.referenced = wire_binary(r->referenced, r->referenced_count);
    m.released = r->released;
    wire_kv_entries_fill(&m, r, a);
    m.epoch = r->epoch;
    m.index = r->index;
    Surf__Grant grant;
    m.grant = wire_grant_fill(&grant, &r->grant);
    return wire_pack(&m.base, a);
}

static enum err entries_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                             struct err_text *why)
{
    TRY(wire_check_count("query reply.entries", m->n_entry, 0, LIMIT_READDIR_ENTRIES, why));
    if (m->n_entry == 0)
        return ERR_OK;
    struct meta_dirent *entries = arena_zalloc(a, m->n_entry * sizeof *entries);
    uint64_t cookie_before = 0;
    for (size_t i = 0; i < m->n_entry; i++) {
        const Surf__Dirent *from = m->entry[i];
        struct meta_dirent *to = &entries[i];
        to->name = wire_slice(from->name);
        to->ino = from->ino;
        to->cookie = from->cookie;
        to->type_mode = from->type_mode;
        TRY(wire_check_name("query reply.entry.name", to->name, why));
        TRY(wire_check_range("query reply.entry.ino", to->ino, 1, UINT64_MAX, why));
        TRY(wire_check_range("query reply.entry.cookie", to->cookie, cookie_before, UINT64_MAX, why));
        if ((to->type_mode & ~(uint32_t)S_IFMT) != 0)
            return wire_refuse("query reply.entry.type_mode", to->type_mode, "a file type", why);
        if (from->attr)
            TRY(wire_attr_read(from->attr, "query reply.entry.attr", &to->attr, why));
        cookie_before = to->cookie;
    }
    r->entries = entries;
    r->entry_count = (unsigned)m->n_entry;
    return ERR_OK;
}

static enum err cluster_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                             struct err_text *why)
{
    if (m->cluster_id.len > 0) {
        TRY(wire_check_size("query reply.cluster_id", wire_slice(m->cluster_id), 16, 16, why));
        memcpy(r->cluster.id, m->cluster_id.data, 16);
    }
    TRY(wire_check_range("query reply.replicas", m->replicas, 0, LIMIT_REPLICAS, why));
    TRY(wire_check_count("query reply.servers", m->n_server, 0, LIMIT_BLOCK_SERVERS, why));
    r->cluster.replicas = m->replicas;
    r->cluster.map_version = m->map_version;
    if (m->n_server == 0)
        return ERR_OK;
    struct meta_block_server *servers = arena_alloc(a, m->n_server * sizeof *servers);
    uint32_t id_before = 0;
    for (size_t i = 0; i < m->n_server; i++) {
        TRY(wire_server_read(m->server[i], &servers[i], why));
        if (servers[i].id <= id_before)
            return wire_refuse("query reply.server.id", servers[i].id, "above the one before it", why);
        id_before = servers[i].id;
    }
    r->cluster.servers = servers;
    r->cluster.server_count = (unsigned)m->n_server;
    return ERR_OK;
}

static enum err sessions_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                              struct err_text *why)
{
    TRY(wire_check_count("query reply.sessions", m->n_session, 0, WIRE_SESSIONS, why));
    if (m->n_session == 0)
        return ERR_OK;
    struct meta_session_info *sessions = arena_alloc(a, m->n_session * sizeof *sessions);
    for (size_t i = 0; i < m->n_session; i++) {
        const Surf__Session *from = m->session[i];
        sessions[i] = (struct meta_session_info){
            .id = from->id,
            .last_seq = from->last_seq,
            .export = wire_slice(from->export),
            .client = wire_slice(from->client),
            .opened_ns = from->opened_ns,
            .locks = from->locks,
            .waits = from->waits,
        };
        TRY(wire_check_size("query reply.session.export", sessions[i].export, 0, LIMIT_EXPORT_BYTES, why));
        TRY(wire_check_size("query reply.session.client", sessions[i].client, 0, CLIENT_BYTES, why));
    }
    r->sessions = sessions;
    r->session_count = (unsigned)m->n_session;
    return ERR_OK;
}

enum err wire_meta_query_reply_decode(struct slice s, struct arena *a, struct meta_query_reply *ret,
                                      struct err_text *why)
{
    WIRE_UNPACK(Surf__QueryReply, surf__query_reply, "query reply", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    struct meta_query_reply r = {
        .status = err_from_wire(m->status),
        .has_attr = m->attr,
        .target = wire_slice(m->target),
        .xattr = wire_slice(m->xattr),
        .ahead_cookie = m->ahead_cookie,
        .end = m->end,
        .parent_ino = m->parent_ino,
        .statfs = {.inodes = m->statfs_inodes, .bytes = m->statfs_bytes},
        .waiting = m->waiting,
        .referenced = m->referenced.data,
        .referenced_count = (unsigned)m->referenced.len,
        .released = m->released,
        .epoch = m->epoch,
        .index = m->index,
        .grant = wire_grant_read(m->grant),
    };
    if (m->attr)
        TRY(wire_attr_read(m->attr, "query reply.attr", &r.attr, why));
    TRY(wire_check_size("query reply.target", r.target, 0, LIMIT_SYMLINK_BYTES, why));
    TRY(wire_check_size("query reply.xattr", r.xattr, 0, LIMIT_XATTR_VALUE_BYTES, why));
    TRY(wire_check_count("query reply.referenced", m->referenced.len, 0, LIMIT_BLOCK_REFS, why));
    for (size_t i = 0; i < m->referenced.len; i++)
        TRY(wire_check_range("query reply.referenced", m->referenced.data[i], 0, 1, why));
    TRY(entries_read(m, a, &r, why));
    TRY(wire_extents_read(m->extents, "query reply.extents", LIMIT_LAYOUT_EXTENTS, a, &r.extents, &r.extent_count,
                          why));
    TRY(wire_inline_blocks_read(m, a, &r, why));
    TRY(wire_kv_entries_read(m, a, &r, why));
    TRY(wire_fragmented_read(m, a, &r, why));
    TRY(cluster_read(m, a, &r, why));
    TRY(sessions_read(m, a, &r, why));
    if (m->lock)
        TRY(wire_lock_read(m->lock, "query reply.lock", &r.lock, why));
    *ret = r;
    return ERR_OK;
}
