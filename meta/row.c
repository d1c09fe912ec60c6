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

static void attr_encode(const struct meta_attr *a, struct bytes *to)
{
    bytes_u64(to, a->ino);
    bytes_u32(to, a->mode);
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
}

static void attr_decode(struct cursor *c, struct meta_attr *a)
{
    a->ino = cursor_u64(c);
    a->mode = cursor_u32(c);
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
}

void row_inode_encode(const struct row_inode *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    attr_encode(&r->attr, to);
    bytes_u64(to, r->parent);
    bytes_blob(to, r->target);
}

enum err row_inode_decode(struct slice s, struct row_inode *ret)
{
    struct cursor c = row_open(s);
    attr_decode(&c, &ret->attr);
    ret->parent = cursor_u64(&c);
    ret->target = cursor_blob(&c, LIMIT_SYMLINK_BYTES);
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

void row_session_encode(const struct row_session *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->root_ino);
    bytes_u64(to, r->acked);
    bytes_u64(to, r->last_seq);
    bytes_u64(to, r->orphans);
    bytes_u64(to, (uint64_t)r->opened_ns);
    bytes_append(to, SLICE(r->nonce, 16));
    bytes_blob(to, r->export);
    bytes_blob(to, r->client);
}

enum err row_session_decode(struct slice s, struct row_session *ret)
{
    struct cursor c = row_open(s);
    ret->root_ino = cursor_u64(&c);
    ret->acked = cursor_u64(&c);
    ret->last_seq = cursor_u64(&c);
    ret->orphans = cursor_u64(&c);
    ret->opened_ns = (int64_t)cursor_u64(&c);
    take_bytes(&c, ret->nonce, 16);
    ret->export = cursor_blob(&c, LIMIT_EXPORT_BYTES);
    ret->client = cursor_blob(&c, CLIENT_BYTES);
    return row_end(&c);
}

void row_block_server_encode(const struct meta_block_server *r, struct bytes *to)
{
    bytes_u8(to, ROW_VERSION);
    bytes_u64(to, r->weight);
    bytes_blob(to, slice_str(r->address));
}

enum err row_block_server_decode(struct slice key, struct slice s, struct meta_block_server *ret)
{
    struct cursor c = row_open(s);
    if (key.size != 6)
        return ERR_CORRUPT;
    ret->id = get_u32be(key.data + 2);
    ret->weight = cursor_u64(&c);
    struct slice address = cursor_blob(&c, LIMIT_ADDRESS_BYTES);
    if (address.size > 0)
        memcpy(ret->address, address.data, address.size);
    ret->address[address.size] = 0;
    return row_end(&c);
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
    return row_end(&c);
}

enum reply_flag {
    REPLY_ATTR = 1 << 0,
    REPLY_PARENT = 1 << 1,
    REPLY_REPLACED = 1 << 2,
    REPLY_EXISTED = 1 << 3,
    REPLY_ORPHANED = 1 << 4,
    REPLY_MORE = 1 << 5,
    REPLY_ALL = (1 << 6) - 1
};

void row_reply_encode(const struct meta_reply *r, struct bytes *to)
{
    unsigned flags = (r->has_attr ? REPLY_ATTR : 0u) | (r->has_parent ? REPLY_PARENT : 0u) |
                     (r->has_replaced ? REPLY_REPLACED : 0u) | (r->existed ? REPLY_EXISTED : 0u) |
                     (r->orphaned ? REPLY_ORPHANED : 0u) | (r->more ? REPLY_MORE : 0u);
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
    return row_end(&c);
}
