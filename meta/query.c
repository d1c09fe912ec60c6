/* query.c: reads of the applied state. Each answers from rows only; nothing is changed. */
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

/* Entries with equal cookies are never split over two replies, so a page may be a little longer than asked for. */
#define EQUAL_COOKIES_MAX 64u
#define SESSIONS_MAX 1024u

static enum err query_lookup(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode parent, child;
    struct row_dentry entry;
    struct slice value = {0};
    bool found;
    TRY(inode_read(m, q->ino, a, &parent));
    if (!S_ISDIR(parent.attr.mode))
        return ERR_NOTDIR;
    struct schema_key key = schema_dentry(q->ino, dentry_cookie(&m->cluster, q->name), q->name);
    TRY(store_read(m, &key, a, &value, &found));
    if (!found)
        return ERR_NOENT;
    TRY(row_dentry_decode(value, &entry));
    TRY(inode_read_named(m, entry.ino, a, &child));
    r->attr = child.attr;
    r->has_attr = true;
    return ERR_OK;
}

static enum err query_getattr(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode i;
    TRY(inode_read(m, q->ino, a, &i));
    r->attr = i.attr;
    r->has_attr = true;
    return ERR_OK;
}

static enum err read_extents(struct meta *m, uint64_t content_id, uint64_t from, uint64_t to, unsigned max,
                             struct arena *a, struct meta_query_reply *r)
{
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    r->extents = arena_alloc(a, max * sizeof *r->extents);
    r->end = true;
    content_range_open(m, &range, content_id, from, to);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_extent extent;
        e = row_extent_decode(key, value, &extent);
        if (e != ERR_OK || extent.file_offset >= to)
            break;
        if (r->extent_count == max) {
            r->end = false;
            break;
        }
        r->extents[r->extent_count++] = extent;
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

static unsigned limited(unsigned asked, unsigned limit)
{
    return asked == 0 || asked > limit ? limit : asked;
}

static enum err query_open(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    TRY(query_getattr(m, q, a, r));
    if (r->attr.nlink == 0) {
        /* Unlinked: only who had it open may still open it; for everybody else the name leads elsewhere now. */
        bool held;
        TRY(orphan_is_held(m, q->session, q->ino, a, &held));
        if (!held)
            return ERR_STALE;
    }
    if (!S_ISREG(r->attr.mode)) {
        r->end = true;
        return ERR_OK;
    }
    return read_extents(m, r->attr.content_id, 0, UINT64_MAX, limited(q->max_count, LIMIT_LAYOUT_EXTENTS), a, r);
}

static enum err query_layout(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    TRY(query_getattr(m, q, a, r));
    if (!S_ISREG(r->attr.mode))
        return ERR_INVAL;
    uint64_t to = q->length > UINT64_MAX - q->offset ? UINT64_MAX : q->offset + q->length;
    return read_extents(m, r->attr.content_id, q->offset, to, limited(q->max_count, LIMIT_LAYOUT_EXTENTS), a, r);
}

static enum err query_readlink(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode i;
    TRY(inode_read(m, q->ino, a, &i));
    if (!S_ISLNK(i.attr.mode))
        return ERR_INVAL;
    r->target = i.target;
    r->attr = i.attr;
    r->has_attr = true;
    return ERR_OK;
}

static enum err fill_attributes(struct meta *m, struct arena *a, struct meta_query_reply *r)
{
    for (unsigned n = 0; n < r->entry_count; n++) {
        struct row_inode i;
        TRY(inode_read_named(m, r->entries[n].ino, a, &i));
        r->entries[n].attr = i.attr;
    }
    return ERR_OK;
}

static enum err query_readdir(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode directory;
    TRY(inode_read(m, q->ino, a, &directory));
    if (!S_ISDIR(directory.attr.mode))
        return ERR_NOTDIR;
    r->attr = directory.attr;
    r->has_attr = true;
    r->parent_ino = directory.parent;
    r->end = true;
    unsigned max = limited(q->max_count, LIMIT_READDIR_ENTRIES - EQUAL_COOKIES_MAX);
    if (max > LIMIT_READDIR_ENTRIES - EQUAL_COOKIES_MAX)
        max = LIMIT_READDIR_ENTRIES - EQUAL_COOKIES_MAX;
    r->entries = arena_alloc(a, LIMIT_READDIR_ENTRIES * sizeof *r->entries);

    struct store_range range;
    struct slice key, value;
    uint64_t from = q->cookie == UINT64_MAX ? UINT64_MAX : q->cookie + 1, last = 0;
    struct schema_key at = schema_dentry(q->ino, from, SLICE(NULL, 0));
    enum err e = ERR_OK;
    store_range_open_prefix(m, &range, &at, 9);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        uint64_t cookie = schema_key_u64(key, 9);
        if ((r->entry_count >= max && cookie != last) || r->entry_count == LIMIT_READDIR_ENTRIES) {
            r->end = false;
            break;
        }
        struct row_dentry entry;
        e = row_dentry_decode(value, &entry);
        if (e != ERR_OK)
            break;
        r->entries[r->entry_count++] = (struct meta_dirent){.name = arena_slice(a, slice_sub(key, 17, key.size - 17)),
                                                            .ino = entry.ino,
                                                            .cookie = cookie,
                                                            .type_mode = entry.type_mode};
        last = cookie;
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    return q->with_attr ? fill_attributes(m, a, r) : ERR_OK;
}

static enum err query_statfs(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    (void)q, (void)a;
    r->statfs.inodes = m->state.inodes;
    r->statfs.bytes = m->state.bytes;
    return ERR_OK;
}

static enum err query_cluster(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    (void)q;
    struct schema_key from = schema_block_server(0);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < sizeof r->cluster.id; i++)
        r->cluster.id[i] = m->cluster.id[i];
    r->cluster.replicas = m->cluster.replicas;
    r->cluster.map_version = m->cluster.map_version;
    r->cluster.servers = arena_alloc(a, LIMIT_BLOCK_SERVERS * sizeof *r->cluster.servers);
    store_range_open_prefix(m, &range, &from, 2);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range))
        if (r->cluster.server_count < LIMIT_BLOCK_SERVERS)
            e = row_block_server_decode(key, value, &r->cluster.servers[r->cluster.server_count++]);
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

static enum err query_sessions(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct schema_key from = schema_session(q->session == UINT64_MAX ? q->session : q->session + 1);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    unsigned max = limited(q->max_count, SESSIONS_MAX);
    r->sessions = arena_alloc(a, max * sizeof *r->sessions);
    r->end = true;
    store_range_open_prefix(m, &range, &from, 1);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        if (r->session_count == max) {
            r->end = false;
            break;
        }
        struct row_session s;
        uint64_t id = schema_key_u64(key, 1);
        e = row_session_decode(value, &s);
        if (e != ERR_OK)
            break;
        r->sessions[r->session_count++] = (struct meta_session_info){.id = id,
                                                                     .last_seq = s.last_seq,
                                                                     .orphans = s.orphans,
                                                                     .export = arena_slice(a, s.export),
                                                                     .client = arena_slice(a, s.client),
                                                                     .opened_ns = s.opened_ns};
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

enum err meta_query(struct meta *m, const struct meta_query *query, struct arena *arena, struct meta_query_reply *ret)
{
    static enum err (*const queries[META_QUERY_LAST + 1])(struct meta *, const struct meta_query *, struct arena *,
                                                          struct meta_query_reply *) = {
        [META_QUERY_LOOKUP] = query_lookup,     [META_QUERY_GETATTR] = query_getattr,
        [META_QUERY_OPEN] = query_open,         [META_QUERY_READLINK] = query_readlink,
        [META_QUERY_READDIR] = query_readdir,   [META_QUERY_LAYOUT] = query_layout,
        [META_QUERY_STATFS] = query_statfs,     [META_QUERY_CLUSTER] = query_cluster,
        [META_QUERY_SESSIONS] = query_sessions,
    };
    if (query->op < 1 || query->op > META_QUERY_LAST)
        return ERR_INVAL;
    struct meta_query_reply r = {0};
    /* Before META_INIT there are no files to ask for, but the daemon may look at what there is. */
    bool of_files = query->op < META_QUERY_STATFS;
    enum err e = m->initialised || !of_files ? queries[query->op](m, query, arena, &r) : ERR_NO_LEADER;
    if (e != ERR_OK) {
        if (!is_outcome(e))
            return e;
        r = (struct meta_query_reply){.status = e};
    }
    *ret = r;
    return ERR_OK;
}
