/* row.c: values of rows, to and from bytes. */
#include <string.h>

#include "meta/extent.h"
#include "meta/schema.h"

#define ROW_VERSION 1
#define CLIENT_BYTES 255u

static struct cursor row_open(struct slice s)
{
    struct cursor c = cursor_of(s);
    if (cursor_u8(&c) != ROW_VERSION)
        c.failed = true;
    return c;
}

static enum err row_end(const struct cursor *c)
{
    return cursor_done(c) ? ERR_OK : ERR_CORRUPT;
}

static void take_bytes(struct cursor *c, void *to, size_t size)
{
    struct slice s = cursor_take(c, size);
    if (s.size == size)
        memcpy(to, s.data, size);
}

/* In the mode: the number of extended attributes follows. Most inodes have none, and rows of before have no place for
 * it. */
#define MODE_HAS_XATTRS (UINT32_C(1) << 31)

static void attr_encode(const struct meta_attr *a, struct bytes *to)
{
    bytes_u64(to, a->ino);
    bytes_u32(to, a->mode | (a->xattrs > 0 ? MODE_HAS_XATTRS : 0));
    bytes_u32(to, a->uid);
    bytes_u32(to, a->gid);
    bytes_u32(to, a->nlink);
    bytes_u32(to, a->rdev);
    bytes_u64(to, a->size);
    bytes_u64(to, a->allocated);
    bytes_u64(to, (uint64_t)a->atime_ns);
    bytes_u64(to, (uint64_t)a->mtime_ns);
    bytes_u64(to, (uint64_t)a->ctime_ns);
    bytes_u64(to, (uint64_t)a->btime_ns);
    bytes_u64(to, a->version);
    bytes_u64(to, a->content_id);
    if (a->xattrs > 0)
        bytes_u32(to, a->xattrs);
}

static void attr_decode(struct cursor *c, struct meta_attr *a)
{
    a->ino = cursor_u64(c);
    uint32_t mode = cursor_u32(c);
    a->mode = mode & ~MODE_HAS_XATTRS;
    a->uid = cursor_u32(c);
    a->gid = cursor_u32(c);
    a->nlink = cursor_u32(c);
    a->rdev = cursor_u32(c);
    a->size = cursor_u64(c);
    a->allocated = cursor_u64(c);
    a->atime_ns = (int64_t)cursor_u64(c);
    a->mtime_ns = (int64_t)cursor_u64(c);
    a->ctime_ns = (int64_t)cursor_u64(c);
    a->btime_ns = (int64_t)cursor_u64(c);
    a->version = cursor_u64(c);
    a->content_id = cursor_u64(c);
    a->xattrs = mode & MODE_HAS_XATTRS ? cursor_u32(c) : 0;
}

/* In the parent: a name follows. */
#define PARENT_HAS_NAME (UINT64_C(1) << 63)

void row_inode_encode(const struct row_inode *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    attr_encode(&r->attr, to);
    bytes_u64(to, r->parent | (r->name.size > 0 ? PARENT_HAS_NAME : 0));
    bytes_blob(to, r->target);
    if (r->attr.xattrs > 0)
        bytes_u32(to, r->xattr_list_bytes);
    if (r->name.size > 0)
        bytes_blob(to, r->name);
}

enum err row_inode_decode(struct slice s, struct row_inode *ret)
{
    struct cursor c = row_open(s);
    attr_decode(&c, &ret->attr);
    uint64_t parent = cursor_u64(&c);
    ret->parent = parent & ~PARENT_HAS_NAME;
    ret->target = cursor_blob(&c, LIMIT_SYMLINK_BYTES);
    ret->xattr_list_bytes = ret->attr.xattrs > 0 ? cursor_u32(&c) : 0;
    ret->name = parent & PARENT_HAS_NAME ? cursor_blob(&c, LIMIT_NAME_BYTES) : SLICE(NULL, 0);
    return row_end(&c);
}

void row_dentry_encode(const struct row_dentry *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->ino);
    bytes_u32(to, r->type_mode);
}

enum err row_dentry_decode(struct slice s, struct row_dentry *ret)
{
    struct cursor c = row_open(s);
    ret->ino = cursor_u64(&c);
    ret->type_mode = cursor_u32(&c);
    return row_end(&c);
}

void row_extent_encode(const struct meta_extent *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->length);
    bytes_u32(to, r->block_offset);
    bytes_append(to, SLICE(r->block.bytes, SHA256_SIZE));
}

enum err row_extent_decode(struct slice key, struct slice s, struct meta_extent *ret)
{
    struct cursor c = row_open(s);
    if (key.size != 17)
        return ERR_CORRUPT;
    uint64_t end = schema_key_u64(key, 9);
    ret->length = cursor_u64(&c);
    if (ret->length > end)
        return ERR_CORRUPT;
    ret->file_offset = end - ret->length;
    ret->block_offset = cursor_u32(&c);
    take_bytes(&c, ret->block.bytes, SHA256_SIZE);
    TRY(row_end(&c));
    /* Holes have no rows; and whoever looks for extents relies on their bounds. */
    return meta_extent_is_hole(ret) || extent_validate(ret, NULL) != ERR_OK ? ERR_CORRUPT : ERR_OK;
}

void row_xattr_encode(struct slice value, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_blob(to, value);
}

enum err row_xattr_decode(struct slice s, struct slice *ret)
{
    struct cursor c = row_open(s);
    struct slice value = cursor_blob(&c, LIMIT_XATTR_VALUE_BYTES);
    TRY(row_end(&c));
    *ret = value;
    return ERR_OK;
}

void row_count_encode(int64_t count, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, (uint64_t)count);
}

enum err row_count_decode(struct slice s, int64_t *ret)
{
    struct cursor c = row_open(s);
    *ret = (int64_t)cursor_u64(&c);
    return row_end(&c);
}

void row_inline_block_encode(const struct meta_inline_block *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->ino);
    bytes_u64(to, r->version);
    bytes_blob(to, r->data);
}

enum err row_inline_block_decode(struct slice key, struct slice s, struct meta_inline_block *ret)
{
    struct cursor c = row_open(s);
    ret->ino = cursor_u64(&c);
    ret->version = cursor_u64(&c);
    ret->data = cursor_blob(&c, LIMIT_INLINE_BYTES);
    if (key.size != 1 + SHA256_SIZE || ret->data.size == 0)
        return ERR_CORRUPT;
    memcpy(ret->id.bytes, key.data + 1, SHA256_SIZE);
    return row_end(&c);
}

void row_garbage_encode(uint64_t end, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, end);
}

enum err row_garbage_decode(struct slice s, uint64_t *ret_end)
{
    struct cursor c = row_open(s);
    *ret_end = cursor_u64(&c);
    return row_end(&c);
}

void row_fragmented_encode(uint64_t version, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, version);
}

enum err row_fragmented_decode(struct slice s, uint64_t *ret_version)
{
    struct cursor c = row_open(s);
    *ret_version = cursor_u64(&c);
    return row_end(&c);
}

void row_session_encode(const struct row_session *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->root_ino);
    bytes_u64(to, r->acked);
    bytes_u64(to, r->last_seq);
    bytes_u64(to, (uint64_t)r->opened_ns);
    bytes_u8(to, r->attaches);
    bytes_append(to, SLICE(r->nonce, 16));
    bytes_blob(to, r->export);
    bytes_blob(to, r->client);
    bytes_u64(to, r->locks);
    bytes_u64(to, r->waits);
    bytes_u8(to, r->ending);
}

enum err row_session_decode(struct slice s, struct row_session *ret)
{
    struct cursor c = row_open(s);
    ret->root_ino = cursor_u64(&c);
    ret->acked = cursor_u64(&c);
    ret->last_seq = cursor_u64(&c);
    ret->opened_ns = (int64_t)cursor_u64(&c);
    ret->attaches = cursor_u8(&c) != 0;
    take_bytes(&c, ret->nonce, 16);
    ret->export = cursor_blob(&c, LIMIT_EXPORT_BYTES);
    ret->client = cursor_blob(&c, CLIENT_BYTES);
    ret->locks = cursor_u64(&c);
    ret->waits = cursor_u64(&c);
    unsigned ending = cursor_u8(&c);
    ret->ending = ending;
    return ending > 1 ? ERR_CORRUPT : row_end(&c);
}

void row_lock_encode(const struct row_lock *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u8(to, (uint8_t)r->lock.type);
    bytes_u64(to, r->lock.start);
    bytes_u64(to, r->lock.end);
    bytes_u64(to, r->lock.owner);
    bytes_u32(to, r->lock.pid);
    bytes_u64(to, r->session);
    bytes_u64(to, r->ticket);
    bytes_u32(to, r->wait_place);
}

enum err row_lock_decode(struct slice s, enum meta_lock_kind kind, struct row_lock *ret)
{
    struct cursor c = row_open(s);
    unsigned type = cursor_u8(&c);
    *ret = (struct row_lock){.lock = {.kind = kind, .type = (enum meta_lock_type)type}};
    ret->lock.start = cursor_u64(&c);
    ret->lock.end = cursor_u64(&c);
    ret->lock.owner = cursor_u64(&c);
    ret->lock.pid = cursor_u32(&c);
    ret->session = cursor_u64(&c);
    ret->ticket = cursor_u64(&c);
    ret->wait_place = cursor_u32(&c);
    TRY(row_end(&c));
    bool valid = (type == META_LOCK_READ || type == META_LOCK_WRITE) && ret->lock.start <= ret->lock.end &&
                 ret->lock.end <= META_SIZE_MAX;
    return valid ? ERR_OK : ERR_CORRUPT;
}

void row_lock_wait_encode(const struct row_lock_wait *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->ino);
    bytes_u8(to, (uint8_t)r->kind);
    bytes_u64(to, r->owner);
    bytes_u64(to, r->ticket);
}

enum err row_lock_wait_decode(struct slice s, struct row_lock_wait *ret)
{
    struct cursor c = row_open(s);
    ret->ino = cursor_u64(&c);
    unsigned kind = cursor_u8(&c);
    ret->kind = (enum meta_lock_kind)kind;
    ret->owner = cursor_u64(&c);
    ret->ticket = cursor_u64(&c);
    TRY(row_end(&c));
    return kind == META_LOCK_POSIX || kind == META_LOCK_FLOCK ? ERR_OK : ERR_CORRUPT;
}

void row_kv_encode(const struct row_kv *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u8(to, (uint8_t)r->type);
    bytes_u64(to, r->version);
    bytes_u64(to, (uint64_t)r->ttl_ns);
    bytes_u64(to, (uint64_t)r->expires_ns);
    bytes_append(to, r->value);
}

enum err row_kv_decode(struct slice s, struct row_kv *ret)
{
    struct cursor c = row_open(s);
    unsigned type = cursor_u8(&c);
    *ret = (struct row_kv){.type = (enum meta_kv_type)type};
    ret->version = cursor_u64(&c);
    ret->ttl_ns = (int64_t)cursor_u64(&c);
    ret->expires_ns = (int64_t)cursor_u64(&c);
    ret->value = SLICE(c.at, (size_t)(c.end - c.at));
    bool valid = cursor_ok(&c) && (type == META_KV_BYTES || type == META_KV_LIST) && ret->version > 0 &&
                 ret->ttl_ns >= 0 && ret->expires_ns >= 0 && (ret->ttl_ns == 0) == (ret->expires_ns == 0) &&
                 ret->value.size <= LIMIT_KV_VALUE_BYTES;
    return valid ? ERR_OK : ERR_CORRUPT;
}

#define SERVER_DRAINING 1u
#define SERVER_WEIGHT_FIXED 2u

void row_block_server_encode(const struct meta_block_server *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->weight);
    bytes_blob(to, slice_str(r->address));
    bytes_u8(to, (uint8_t)((r->draining ? SERVER_DRAINING : 0) | (r->weight_fixed ? SERVER_WEIGHT_FIXED : 0)));
    bytes_blob(to, slice_str(r->zone));
}

static void take_text(struct slice from, char *to)
{
    if (from.size > 0)
        memcpy(to, from.data, from.size);
    to[from.size] = 0;
}

enum err row_block_server_decode(struct slice key, struct slice s, struct meta_block_server *ret)
{
    struct cursor c = row_open(s);
    if (key.size != 6)
        return ERR_CORRUPT;
    ret->id = get_u32be(key.data + 2);
    ret->weight = cursor_u64(&c);
    take_text(cursor_blob(&c, LIMIT_ADDRESS_BYTES), ret->address);
    uint8_t flags = cursor_u8(&c);
    if (flags & ~(SERVER_DRAINING | SERVER_WEIGHT_FIXED))
        return ERR_CORRUPT;
    ret->draining = flags & SERVER_DRAINING;
    ret->weight_fixed = flags & SERVER_WEIGHT_FIXED;
    ret->change = META_SERVER_REGISTER;
    take_text(cursor_blob(&c, LIMIT_ZONE_BYTES), ret->zone);
    return row_end(&c);
}

void row_export_encode(const struct row_export *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->root_ino);
    if (r->options != 0) /* as it was before there were any */
        bytes_u32(to, r->options);
}

enum err row_export_decode(struct slice s, struct row_export *ret)
{
    struct cursor c = row_open(s);
    ret->root_ino = cursor_u64(&c);
    ret->options = c.at < c.end ? cursor_u32(&c) : 0;
    TRY(row_end(&c));
    return ret->options & ~(uint32_t)META_EXPORT_OPTIONS_ALL ? ERR_CORRUPT : ERR_OK;
}

void row_cluster_encode(const struct row_cluster *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_append(to, SLICE(r->id, 16));
    bytes_append(to, SLICE(r->cookie_key, 16));
    bytes_u32(to, r->replicas);
    bytes_u64(to, r->map_version);
}

enum err row_cluster_decode(struct slice s, struct row_cluster *ret)
{
    struct cursor c = row_open(s);
    take_bytes(&c, ret->id, 16);
    take_bytes(&c, ret->cookie_key, 16);
    ret->replicas = cursor_u32(&c);
    ret->map_version = cursor_u64(&c);
    return row_end(&c);
}

void row_members_encode(uint64_t index, struct slice config, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, index);
    bytes_append(to, config);
}

enum err row_members_decode(struct slice s, uint64_t *ret_index, struct slice *ret_config)
{
    struct cursor c = row_open(s);
    uint64_t index = cursor_u64(&c);
    if (!cursor_ok(&c) || index == 0)
        return ERR_CORRUPT;
    *ret_index = index;
    *ret_config = slice_sub(s, 9, s.size - 9);
    return ERR_OK;
}

void row_level_encode(uint32_t level, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u32(to, level);
}

enum err row_level_decode(struct slice s, uint32_t *ret)
{
    struct cursor c = row_open(s);
    *ret = cursor_u32(&c);
    return row_end(&c);
}

void row_meta_encode(const struct row_meta *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->applied);
    bytes_u64(to, r->term);
    bytes_u64(to, r->next_id);
    bytes_u64(to, r->inodes);
    bytes_u64(to, r->bytes);
    bytes_u64(to, (uint64_t)r->last_time_ns);
    bytes_append(to, SLICE(r->chain.bytes, SHA256_SIZE));
    bytes_u64(to, r->epoch);
    bytes_u64(to, r->released);
    bytes_u64(to, r->released_epoch);
    bytes_u64(to, r->inline_bytes);
    if (r->kv_keys > 0) { /* as it was before there were any */
        bytes_u64(to, r->kv_keys);
        bytes_u64(to, r->kv_bytes);
    }
}

enum err row_meta_decode(struct slice s, struct row_meta *ret)
{
    struct cursor c = row_open(s);
    ret->applied = cursor_u64(&c);
    ret->term = cursor_u64(&c);
    ret->next_id = cursor_u64(&c);
    ret->inodes = cursor_u64(&c);
    ret->bytes = cursor_u64(&c);
    ret->last_time_ns = (int64_t)cursor_u64(&c);
    take_bytes(&c, ret->chain.bytes, SHA256_SIZE);
    ret->epoch = cursor_u64(&c);
    ret->released = cursor_u64(&c);
    ret->released_epoch = cursor_u64(&c);
    ret->inline_bytes = cursor_u64(&c);
    bool has_kv = c.at < c.end;
    ret->kv_keys = has_kv ? cursor_u64(&c) : 0;
    ret->kv_bytes = has_kv ? cursor_u64(&c) : 0;
    return row_end(&c);
}

enum reply_flag {
    REPLY_ATTR = 1 << 0,
    REPLY_PARENT = 1 << 1,
    REPLY_REPLACED = 1 << 2,
    REPLY_EXISTED = 1 << 3,
    REPLY_ORPHANED = 1 << 4,
    REPLY_MORE = 1 << 5,
    REPLY_LOCK = 1 << 6, /* ticket, place and held follow the attributes */
    REPLY_KV = 1 << 7,   /* version and refused follow after that */
    REPLY_ALL = (1 << 8) - 1
};

void row_reply_encode(const struct meta_reply *r, struct bytes *to)
{
    unsigned flags = (r->has_attr ? REPLY_ATTR : 0u) | (r->has_parent ? REPLY_PARENT : 0u) |
                     (r->has_replaced ? REPLY_REPLACED : 0u) | (r->existed ? REPLY_EXISTED : 0u) |
                     (r->orphaned ? REPLY_ORPHANED : 0u) | (r->more ? REPLY_MORE : 0u) |
                     (r->ticket || r->held ? REPLY_LOCK : 0u) | (r->kv_version || r->kv_refused ? REPLY_KV : 0u);
    bytes_u8(to, ROW_VERSION);
    bytes_u16(to, (uint16_t)r->status);
    bytes_u8(to, (uint8_t)flags);
    bytes_u64(to, r->session);
    bytes_u64(to, r->offset);
    if (r->has_attr)
        attr_encode(&r->attr, to);
    if (r->has_parent)
        attr_encode(&r->parent, to);
    if (r->has_replaced)
        attr_encode(&r->replaced, to);
    if (flags & REPLY_LOCK) {
        bytes_u64(to, r->ticket);
        bytes_u32(to, r->place);
        bytes_u32(to, r->held);
    }
    if (flags & REPLY_KV) {
        bytes_u64(to, r->kv_version);
        bytes_u32(to, r->kv_refused);
    }
}

enum err row_reply_decode(struct slice s, struct meta_reply *ret)
{
    struct cursor c = row_open(s);
    *ret = (struct meta_reply){0};
    unsigned status = cursor_u16(&c), flags = cursor_u8(&c);
    ret->status = err_from_wire(status);
    if ((unsigned)ret->status != status || (flags & ~(unsigned)REPLY_ALL))
        return ERR_CORRUPT;
    ret->session = cursor_u64(&c);
    ret->offset = cursor_u64(&c);
    ret->has_attr = flags & REPLY_ATTR;
    ret->has_parent = flags & REPLY_PARENT;
    ret->has_replaced = flags & REPLY_REPLACED;
    ret->existed = flags & REPLY_EXISTED;
    ret->orphaned = flags & REPLY_ORPHANED;
    ret->more = flags & REPLY_MORE;
    if (ret->has_attr)
        attr_decode(&c, &ret->attr);
    if (ret->has_parent)
        attr_decode(&c, &ret->parent);
    if (ret->has_replaced)
        attr_decode(&c, &ret->replaced);
    if (flags & REPLY_LOCK) {
        ret->ticket = cursor_u64(&c);
        ret->place = cursor_u32(&c);
        ret->held = cursor_u32(&c);
    }
    if (flags & REPLY_KV) {
        ret->kv_version = cursor_u64(&c);
        ret->kv_refused = cursor_u32(&c);
    }
    return row_end(&c);
}
