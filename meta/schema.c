#include "meta/schema.h"

#include <string.h>

#include "base/check.h"

static void key_add(struct schema_key *k, const void *bytes, size_t size)
{
    CHECK(size <= SCHEMA_KEY_MAX - k->size);
    if (size > 0)
        memcpy(k->bytes + k->size, bytes, size);
    k->size += size;
}

static void key_add_u64(struct schema_key *k, uint64_t v)
{
    uint8_t bytes[8];
    put_u64be(bytes, v);
    key_add(k, bytes, 8);
}

static struct schema_key key_of(char table)
{
    struct schema_key k;
    k.size = 1;
    k.bytes[0] = (uint8_t)table;
    return k;
}

static struct schema_key key_u64(char table, uint64_t a)
{
    struct schema_key k = key_of(table);
    key_add_u64(&k, a);
    return k;
}

static struct schema_key key_u64_u64(char table, uint64_t a, uint64_t b)
{
    struct schema_key k = key_u64(table, a);
    key_add_u64(&k, b);
    return k;
}

struct schema_key schema_inode(uint64_t ino)
{
    return key_u64('i', ino);
}

struct schema_key schema_dentry(uint64_t parent, uint64_t cookie, struct slice name)
{
    struct schema_key k = key_u64_u64('d', parent, cookie);
    key_add(&k, name.data, name.size);
    return k;
}

struct schema_key schema_dentry_prefix(uint64_t parent)
{
    return key_u64('d', parent);
}

struct schema_key schema_extent(uint64_t content_id, uint64_t end)
{
    return key_u64_u64('x', content_id, end);
}

struct schema_key schema_block_ref(const struct sha256 *block)
{
    struct schema_key k = key_of(SCHEMA_TABLE_BLOCK_REF);
    key_add(&k, block->bytes, SHA256_SIZE);
    return k;
}

struct schema_key schema_inline_block(const struct sha256 *block)
{
    struct schema_key k = key_of(SCHEMA_TABLE_INLINE_BLOCK);
    key_add(&k, block->bytes, SHA256_SIZE);
    return k;
}

struct schema_key schema_session(uint64_t session)
{
    return key_u64('s', session);
}

struct schema_key schema_reply(uint64_t session, uint64_t seq)
{
    return key_u64_u64('q', session, seq);
}

struct schema_key schema_nonce(const uint8_t nonce[16])
{
    struct schema_key k = key_of('e');
    key_add(&k, nonce, 16);
    return k;
}

struct schema_key schema_xattr(uint64_t ino, struct slice name)
{
    struct schema_key k = key_u64('a', ino);
    key_add(&k, name.data, name.size);
    return k;
}

struct schema_key schema_orphan(uint64_t ino)
{
    return key_u64('o', ino);
}

struct schema_key schema_garbage(uint64_t content_id)
{
    return key_u64('g', content_id);
}

struct schema_key schema_fragmented(uint64_t ino)
{
    return key_u64('f', ino);
}

static void key_add_place(struct schema_key *k, uint32_t place)
{
    uint8_t bytes[4];
    put_u32be(bytes, place);
    key_add(k, bytes, 4);
}

struct schema_key schema_lock_prefix(uint64_t ino, enum meta_lock_kind kind)
{
    struct schema_key k = key_u64('l', ino);
    uint8_t byte = (uint8_t)kind;
    key_add(&k, &byte, 1);
    return k;
}

struct schema_key schema_lock(uint64_t ino, enum meta_lock_kind kind, uint32_t place)
{
    struct schema_key k = schema_lock_prefix(ino, kind);
    key_add_place(&k, place);
    return k;
}

struct schema_key schema_lock_mark(uint64_t session, uint64_t ino, enum meta_lock_kind kind)
{
    struct schema_key k = key_u64_u64('h', session, ino);
    uint8_t byte = (uint8_t)kind;
    key_add(&k, &byte, 1);
    return k;
}

struct schema_key schema_lock_wait(uint64_t session, uint32_t place)
{
    struct schema_key k = key_u64('w', session);
    key_add_place(&k, place);
    return k;
}

enum err schema_key_place(struct slice key, size_t skip, uint32_t *ret)
{
    if (key.size != skip + 4)
        return ERR_CORRUPT;
    *ret = get_u32be(key.data + skip);
    return ERR_OK;
}

void schema_kv(struct slice key, struct schema_kv_key *ret)
{
    CHECK(key.size <= LIMIT_KV_KEY_BYTES);
    ret->bytes[0] = 'k';
    ret->size = 1 + key.size;
    if (key.size > 0)
        memcpy(ret->bytes + 1, key.data, key.size);
}

void schema_kv_expiry(int64_t expires_ns, struct slice key, struct schema_kv_key *ret)
{
    CHECK(key.size <= LIMIT_KV_KEY_BYTES);
    ret->bytes[0] = 't';
    put_u64be(ret->bytes + 1, (uint64_t)expires_ns);
    ret->size = 9 + key.size;
    if (key.size > 0)
        memcpy(ret->bytes + 9, key.data, key.size);
}

struct schema_key schema_kv_expiry_from(int64_t expires_ns)
{
    return key_u64('t', (uint64_t)expires_ns);
}

struct schema_key schema_export(struct slice name)
{
    struct schema_key k = key_of('c');
    key_add(&k, "e", 1);
    key_add(&k, name.data, name.size);
    return k;
}

struct schema_key schema_block_server(uint32_t id)
{
    struct schema_key k = key_of('c');
    uint8_t bytes[4];
    put_u32be(bytes, id);
    key_add(&k, "b", 1);
    key_add(&k, bytes, 4);
    return k;
}

struct schema_key schema_cluster(void)
{
    struct schema_key k = key_of('c');
    key_add(&k, "k", 1);
    return k;
}

struct schema_key schema_members(void)
{
    struct schema_key k = key_of('c');
    key_add(&k, "m", 1);
    return k;
}

struct schema_key schema_level(void)
{
    struct schema_key k = key_of('c');
    key_add(&k, "l", 1);
    return k;
}

struct schema_key schema_next(void)
{
    struct schema_key k = key_of('c');
    key_add(&k, "n", 1);
    return k;
}

struct schema_key schema_meta(void)
{
    return key_of('m');
}

struct schema_key schema_prefix_end(const struct schema_key *key, size_t prefix_size)
{
    struct schema_key end = *key;
    CHECK(prefix_size > 0 && prefix_size <= key->size);
    end.size = prefix_size;
    while (end.bytes[end.size - 1] == UINT8_MAX)
        end.size--; /* table letters are below that */
    end.bytes[end.size - 1]++;
    return end;
}

uint64_t schema_key_u64(struct slice key, size_t skip)
{
    CHECK(key.size >= skip + 8);
    return get_u64be(key.data + skip);
}
