/* query.c: reads of the applied state. Each answers from rows only; nothing is changed. */
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/extent.h"
#include "meta/lock_rows.h"
#include "meta/store.h"

/* Entries with equal cookies are never split over two replies, so a page may be a little longer than asked for. */
#define EQUAL_COOKIES_MAX 64u
#define SESSIONS_MAX 1024u

/* Adds the entries of [from, to) but `own`, as long as there are fewer than `max`. Nobody has asked for them: they
 * don't count as seen, which is up to who tells them. */
static enum err bring_along(struct meta *m, const struct schema_key *from, const struct schema_key *to,
                            const struct schema_key *own, unsigned max, struct arena *a, struct meta_query_reply *r)
{
    struct store_range range;
    struct slice key, value, own_key = SLICE(own->bytes, own->size);
    enum err e = ERR_OK;
    store_range_open(m, &range, from, to);
    for (; r->entry_count < max && e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct row_dentry entry;
        struct row_inode child;
        if (slice_equal(key, own_key))
            continue;
        e = row_dentry_decode(value, &entry);
        if (e == ERR_OK)
            e = inode_peek(m, entry.ino, a, &child);
        if (e != ERR_OK)
            break;
        r->ahead_cookie = schema_key_u64(key, 9);
        r->entries[r->entry_count++] = (struct meta_dirent){.name = arena_slice(a, slice_sub(key, 17, key.size - 17)),
                                                            .ino = entry.ino,
                                                            .type_mode = entry.type_mode,
                                                            .attr = child.attr};
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

/* The others of a directory, behind this one, or where who asks wants to go on, and around its end. They are an extra:
 * what can't be read is left to who asks for it. */
static void look_ahead(struct meta *m, const struct meta_query *q, const struct schema_key *own, struct arena *a,
                       struct meta_query_reply *r)
{
    unsigned max = MIN(q->max_count, LIMIT_LOOK_AHEAD);
    if (max == 0)
        return;
    struct schema_key first = schema_dentry_prefix(q->ino), end = schema_prefix_end(&first, first.size), from = *own;
    if (q->cookie != 0)
        from = schema_dentry(q->ino, q->cookie == UINT64_MAX ? UINT64_MAX : q->cookie + 1, SLICE(NULL, 0));
    r->entries = arena_alloc(a, max * sizeof *r->entries);
    enum err e = bring_along(m, &from, &end, own, max, a, r);
    if (e == ERR_OK && r->entry_count < max)
        e = bring_along(m, &first, &from, own, max, a, r);
    if (e != ERR_OK)
        r->entry_count = 0, r->ahead_cookie = 0;
}

static enum err query_lookup(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode parent, child;
    struct row_dentry entry;
    struct slice value = {0};
    bool found;
    touch_seen(m, q->ino);
    struct schema_key key = schema_dentry(q->ino, dentry_cookie(&m->cluster, q->name), q->name);
    TRY(store_read(m, &key, a, &value, &found));
    if (!found) { /* an entry says enough of what it is in */
        TRY(inode_read(m, q->ino, a, &parent));
        return S_ISDIR(parent.attr.mode) ? ERR_NOENT : ERR_NOTDIR;
    }
    TRY(row_dentry_decode(value, &entry));
    TRY(inode_read_named(m, entry.ino, a, &child));
    r->attr = child.attr;
    r->has_attr = true;
    look_ahead(m, q, &key, a, r);
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

static enum err read_contents(struct meta *m, uint64_t content_id, uint64_t from, uint64_t to, unsigned max,
                              struct arena *a, struct meta_query_reply *r)
{
    TRY(read_extents(m, content_id, from, to, max, a, r));
    return inline_blocks_of_extents(m, a, r);
}

static unsigned limited(unsigned asked, unsigned limit)
{
    return asked == 0 || asked > limit ? limit : asked;
}

static enum err query_open(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    TRY(query_getattr(m, q, a, r));
    if (!S_ISREG(r->attr.mode)) {
        r->end = true;
        return ERR_OK;
    }
    return read_contents(m, r->attr.content_id, 0, UINT64_MAX, limited(q->max_count, LIMIT_LAYOUT_EXTENTS), a, r);
}

static enum err query_layout(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    TRY(query_getattr(m, q, a, r));
    if (!S_ISREG(r->attr.mode))
        return ERR_INVAL;
    uint64_t to = q->length > UINT64_MAX - q->offset ? UINT64_MAX : q->offset + q->length;
    return read_contents(m, r->attr.content_id, q->offset, to, limited(q->max_count, LIMIT_LAYOUT_EXTENTS), a, r);
}

static enum err query_extents(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode i;
    TRY(inode_peek(m, q->ino, a, &i));
    if (!S_ISREG(i.attr.mode))
        return ERR_INVAL;
    r->attr = i.attr;
    r->has_attr = true;
    uint64_t to = q->length > UINT64_MAX - q->offset ? UINT64_MAX : q->offset + q->length;
    return read_extents(m, i.attr.content_id, q->offset, to, limited(q->max_count, LIMIT_LAYOUT_EXTENTS), a, r);
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
                                                                     .export = arena_slice(a, s.export),
                                                                     .client = arena_slice(a, s.client),
                                                                     .opened_ns = s.opened_ns,
                                                                     .locks = s.locks,
                                                                     .waits = s.waits,
                                                                     .attaches = s.attaches};
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

static enum err query_getxattr(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct schema_key key = schema_xattr(q->ino, q->name);
    struct slice value = {0};
    bool found = false;
    TRY(query_getattr(m, q, a, r));
    if (r->attr.xattrs > 0)
        TRY(store_read(m, &key, a, &value, &found));
    return found ? row_xattr_decode(value, &r->xattr) : ERR_NODATA;
}

static enum err query_listxattr(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct row_inode i;
    TRY(inode_read(m, q->ino, a, &i));
    r->attr = i.attr;
    r->has_attr = true;
    if (i.attr.xattrs == 0)
        return ERR_OK;
    struct schema_key first = schema_xattr(q->ino, SLICE(NULL, 0));
    struct store_range range;
    struct slice key, value;
    uint8_t *list = arena_alloc(a, i.xattr_list_bytes);
    size_t used = 0;
    store_range_open_prefix(m, &range, &first, first.size);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        size_t size = key.size - first.size;
        if (size + 1 > i.xattr_list_bytes - used)
            break;
        memcpy(list + used, key.data + first.size, size);
        list[used + size] = 0;
        used += size + 1;
    }
    TRY(store_range_close(&range));
    r->xattr = SLICE(list, used);
    return used == i.xattr_list_bytes ? ERR_OK : ERR_CORRUPT;
}

/* A count below zero would be a fault of ours, of which a check tells: no reason to lose a block. */
static enum err query_block_refs(struct meta *m, const struct meta_query *q, struct arena *a,
                                 struct meta_query_reply *r)
{
    r->referenced = arena_zalloc(a, q->block_count);
    for (unsigned i = 0; i < q->block_count; i++) {
        int64_t count;
        TRY(content_count(m, &q->blocks[i], a, &count));
        r->referenced[i] = count != 0;
    }
    r->referenced_count = q->block_count;
    r->released = m->state.released;
    return ERR_OK;
}

enum err meta_query(struct meta *m, const struct meta_query *query, struct arena *arena, struct meta_query_reply *ret)
{
    static enum err (*const queries[META_QUERY_LAST + 1])(struct meta *, const struct meta_query *, struct arena *,
                                                          struct meta_query_reply *) = {
        [META_QUERY_LOOKUP] = query_lookup,
        [META_QUERY_GETATTR] = query_getattr,
        [META_QUERY_OPEN] = query_open,
        [META_QUERY_READLINK] = query_readlink,
        [META_QUERY_READDIR] = query_readdir,
        [META_QUERY_LAYOUT] = query_layout,
        [META_QUERY_STATFS] = query_statfs,
        [META_QUERY_CLUSTER] = query_cluster,
        [META_QUERY_SESSIONS] = query_sessions,
        [META_QUERY_LOCK_TEST] = query_lock_test,
        [META_QUERY_LOCK_WAIT] = query_lock_wait,
        [META_QUERY_GETXATTR] = query_getxattr,
        [META_QUERY_LISTXATTR] = query_listxattr,
        [META_QUERY_INLINE] = query_inline,
        [META_QUERY_BLOCK_REFS] = query_block_refs,
        [META_QUERY_KV_GET] = query_kv_get,
        [META_QUERY_KV_LIST] = query_kv_list,
        [META_QUERY_FRAGMENTED] = query_fragmented,
        [META_QUERY_EXTENTS] = query_extents,
    };
    if (query->op < 1 || query->op > META_QUERY_LAST)
        return ERR_INVAL;
    struct meta_query_reply r = {0};
    touch_begin(m);
    /* Before META_INIT there are no files to ask for, but the daemon may look at what there is. */
    bool of_files = meta_query_of_inode(query->op);
    enum err e = m->initialised || !of_files ? queries[query->op](m, query, arena, &r) : ERR_NO_LEADER;
    if (e != ERR_OK) {
        if (!is_outcome(e))
            return e;
        r = (struct meta_query_reply){.status = e};
    }
    *ret = r;
    ret->epoch = m->state.epoch;
    return ERR_OK;
}
