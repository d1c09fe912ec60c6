/* Values of rows: what is encoded comes back, and nothing else is taken for a row. */
#include "tests/unit/meta/commands.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/prng.h"
#include "meta/schema.h"

#define SEED 20240611u
#define RANDOM_ROUNDS 20000u

/* One decoder as seen by the damage tests; key is what it gets besides the value. */
static enum err decode_inode(struct slice s)
{
    struct row_inode r;
    enum err e = row_inode_decode(s, &r);
    if (e == ERR_OK)
        assert_true(r.target.size <= LIMIT_SYMLINK_BYTES);
    return e;
}
static enum err decode_dentry(struct slice s)
{
    struct row_dentry r;
    return row_dentry_decode(s, &r);
}
static enum err decode_extent(struct slice s)
{
    struct schema_key key = schema_extent(3, 1u << 30);
    struct meta_extent r;
    enum err e = row_extent_decode(SLICE(key.bytes, key.size), s, &r);
    if (e == ERR_OK) {
        assert_true(r.length > 0 && r.length <= LIMIT_BLOCK_BYTES);
        assert_true(r.block_offset + r.length <= LIMIT_BLOCK_BYTES);
    }
    return e;
}
static enum err decode_session(struct slice s)
{
    struct row_session r;
    enum err e = row_session_decode(s, &r);
    if (e == ERR_OK)
        assert_true(r.export.size <= LIMIT_EXPORT_BYTES && r.client.size <= 255);
    return e;
}
static enum err decode_block_server(struct slice s)
{
    struct schema_key key = schema_block_server(7);
    struct meta_block_server r;
    enum err e = row_block_server_decode(SLICE(key.bytes, key.size), s, &r);
    if (e == ERR_OK)
        assert_true(strlen(r.address) <= LIMIT_ADDRESS_BYTES);
    return e;
}
static enum err decode_cluster(struct slice s)
{
    struct row_cluster r;
    return row_cluster_decode(s, &r);
}
static enum err decode_meta(struct slice s)
{
    struct row_meta r;
    return row_meta_decode(s, &r);
}
static enum err decode_reply(struct slice s)
{
    struct meta_reply r;
    return row_reply_decode(s, &r);
}

static enum err decode_inline_block(struct slice s)
{
    struct sha256 id = {{7}};
    struct schema_key key = schema_inline_block(&id);
    struct meta_inline_block r;
    enum err e = row_inline_block_decode(SLICE(key.bytes, key.size), s, &r);
    if (e == ERR_OK)
        assert_true(r.data.size > 0 && r.data.size <= LIMIT_INLINE_BYTES && sha256_equal(&r.id, &id));
    return e;
}

static struct meta_attr some_attr(uint64_t salt)
{
    return (struct meta_attr){.ino = 1 + salt,
                              .mode = S_IFREG | 0644,
                              .uid = 3,
                              .gid = 4,
                              .nlink = 5,
                              .rdev = 6,
                              .size = META_SIZE_MAX,
                              .allocated = 8,
                              .atime_ns = -9,
                              .mtime_ns = INT64_MIN,
                              .ctime_ns = INT64_MAX,
                              .btime_ns = 12,
                              .version = UINT64_MAX,
                              .content_id = 14};
}

static struct meta_reply full_reply(void)
{
    return (struct meta_reply){.status = ERR_PARTIAL,
                               .attr = some_attr(1),
                               .has_attr = true,
                               .parent = some_attr(2),
                               .has_parent = true,
                               .replaced = some_attr(3),
                               .has_replaced = true,
                               .existed = true,
                               .orphaned = true,
                               .more = true,
                               .session = 77,
                               .offset = 78};
}

static struct row_session some_session(void)
{
    return (struct row_session){.root_ino = 1,
                                .acked = 2,
                                .last_seq = 3,
                                .opened_ns = -5,
                                .nonce = {6, 7},
                                .export = slice_str("default"),
                                .client = slice_str("host:/mnt")};
}

static void encode_inode(struct bytes *to)
{
    struct row_inode r = {.attr = some_attr(0), .parent = 9, .target = slice_str("../there"), .name = slice_str("n")};
    row_inode_encode(&r, to);
}
static void encode_dentry(struct bytes *to)
{
    struct row_dentry r = {.ino = UINT64_MAX, .type_mode = S_IFDIR};
    row_dentry_encode(&r, to);
}
static void encode_extent(struct bytes *to)
{
    struct meta_extent r = extent_of(1000, LIMIT_BLOCK_BYTES - 5, 42, 5);
    row_extent_encode(&r, to);
}
static void encode_session(struct bytes *to)
{
    struct row_session r = some_session();
    row_session_encode(&r, to);
}
static void encode_block_server(struct bytes *to)
{
    struct meta_block_server r = {.id = 7, .address = "127.0.0.1:7000", .zone = "rack", .weight = 100};
    row_block_server_encode(&r, to);
}
static void encode_cluster(struct bytes *to)
{
    struct row_cluster r = {.id = {1}, .cookie_key = {2}, .replicas = 3, .map_version = 4};
    row_cluster_encode(&r, to);
}
static void encode_meta(struct bytes *to)
{
    struct row_meta r = {.applied = 1, .next_id = 2, .inodes = 3, .bytes = 4, .last_time_ns = -5, .chain = {{6}}};
    row_meta_encode(&r, to);
}
static void encode_meta_inline(struct bytes *to)
{
    struct row_meta r = {.applied = 1, .next_id = 2, .inline_bytes = 7};
    row_meta_encode(&r, to);
}
static void encode_inline_block(struct bytes *to)
{
    struct meta_inline_block r = {.ino = 1, .version = 2, .data = slice_str("bytes")};
    row_inline_block_encode(&r, to);
}
static void encode_reply(struct bytes *to)
{
    struct meta_reply r = full_reply();
    row_reply_encode(&r, to);
}

static const struct row_kind {
    const char *name;
    void (*encode)(struct bytes *to);
    enum err (*decode)(struct slice s);
} kinds[] = {
    {"inode", encode_inode, decode_inode},
    {"dentry", encode_dentry, decode_dentry},
    {"extent", encode_extent, decode_extent},
    {"session", encode_session, decode_session},
    {"block server", encode_block_server, decode_block_server},
    {"cluster", encode_cluster, decode_cluster},
    {"meta", encode_meta, decode_meta},
    {"meta with inline blocks", encode_meta_inline, decode_meta},
    {"inline block", encode_inline_block, decode_inline_block},
    {"reply", encode_reply, decode_reply},
};

static void check_attr(const struct meta_attr *a, const struct meta_attr *b)
{
    assert_int_equal(a->ino, b->ino);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->nlink, b->nlink);
    assert_int_equal(a->rdev, b->rdev);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->allocated, b->allocated);
    assert_true(a->atime_ns == b->atime_ns && a->mtime_ns == b->mtime_ns);
    assert_true(a->ctime_ns == b->ctime_ns && a->btime_ns == b->btime_ns);
    assert_true(a->version == b->version && a->content_id == b->content_id);
}

static void inode_comes_back(void **state)
{
    (void)state;
    static char target[LIMIT_SYMLINK_BYTES], name[LIMIT_NAME_BYTES];
    struct bytes b = {0};
    memset(target, 't', sizeof target);
    struct row_inode r = {.attr = some_attr(0), .parent = 9, .target = SLICE(target, sizeof target)}, got;
    memset(name, 'n', sizeof name);
    r.name = SLICE(name, sizeof name);
    row_inode_encode(&r, &b);
    assert_int_equal(row_inode_decode(bytes_slice(&b), &got), ERR_OK);
    check_attr(&r.attr, &got.attr);
    assert_int_equal(got.parent, 9);
    assert_true(slice_equal(got.target, r.target));
    assert_true(slice_equal(got.name, r.name));
    bytes_free(&b);
}

static void session_comes_back(void **state)
{
    (void)state;
    struct bytes b = {0};
    struct row_session r = some_session(), got;
    row_session_encode(&r, &b);
    assert_int_equal(row_session_decode(bytes_slice(&b), &got), ERR_OK);
    assert_int_equal(got.root_ino, r.root_ino);
    assert_int_equal(got.acked, r.acked);
    assert_int_equal(got.last_seq, r.last_seq);
    assert_true(got.opened_ns == r.opened_ns);
    assert_memory_equal(got.nonce, r.nonce, 16);
    assert_true(slice_equal(got.export, r.export) && slice_equal(got.client, r.client));
    bytes_free(&b);
}

static void replies_come_back_with_every_choice_of_fields(void **state)
{
    (void)state;
    for (unsigned choice = 0; choice < 64; choice++) {
        struct bytes b = {0};
        struct meta_reply r = full_reply(), got;
        r.has_attr = choice & 1, r.has_parent = choice & 2, r.has_replaced = choice & 4;
        r.existed = choice & 8, r.orphaned = choice & 16, r.more = choice & 32;
        row_reply_encode(&r, &b);
        assert_int_equal(row_reply_decode(bytes_slice(&b), &got), ERR_OK);
        assert_int_equal(got.status, ERR_PARTIAL);
        assert_true(got.has_attr == r.has_attr && got.has_parent == r.has_parent);
        assert_true(got.has_replaced == r.has_replaced && got.existed == r.existed);
        assert_true(got.orphaned == r.orphaned && got.more == r.more);
        assert_true(got.session == 77 && got.offset == 78);
        if (r.has_attr)
            check_attr(&r.attr, &got.attr);
        if (r.has_parent)
            check_attr(&r.parent, &got.parent);
        if (r.has_replaced)
            check_attr(&r.replaced, &got.replaced);
        bytes_free(&b);
    }
}

static void small_rows_come_back(void **state)
{
    (void)state;
    struct bytes b = {0};
    struct meta_extent extent = extent_of(1000, 10, 42, 5), extent_got;
    struct schema_key key = schema_extent(3, 1010);
    row_extent_encode(&extent, &b);
    assert_int_equal(row_extent_decode(SLICE(key.bytes, key.size), bytes_slice(&b), &extent_got), ERR_OK);
    assert_true(extent_got.file_offset == 1000 && extent_got.length == 10 && extent_got.block_offset == 5);
    assert_true(sha256_equal(&extent.block, &extent_got.block));
    bytes_clear(&b);

    struct meta_block_server server = {.id = 7, .zone = "rack-1", .weight = 100}, server_got;
    memset(server.address, 'a', LIMIT_ADDRESS_BYTES);
    key = schema_block_server(7);
    row_block_server_encode(&server, &b);
    assert_int_equal(row_block_server_decode(SLICE(key.bytes, key.size), bytes_slice(&b), &server_got), ERR_OK);
    assert_int_equal(server_got.id, 7);
    assert_int_equal(server_got.weight, 100);
    assert_string_equal(server_got.address, server.address);
    assert_string_equal(server_got.zone, "rack-1");
    bytes_clear(&b);

    struct row_meta meta = {.applied = 1, .next_id = 2, .inodes = 3, .bytes = 4, .last_time_ns = -5}, meta_got;
    meta.epoch = 7, meta.released = 8, meta.released_epoch = 9;
    meta.chain.bytes[31] = 6;
    row_meta_encode(&meta, &b);
    assert_int_equal(row_meta_decode(bytes_slice(&b), &meta_got), ERR_OK);
    assert_true(meta_got.applied == 1 && meta_got.next_id == 2 && meta_got.inodes == 3 && meta_got.bytes == 4);
    assert_true(meta_got.last_time_ns == -5 && sha256_equal(&meta.chain, &meta_got.chain));
    assert_true(meta_got.epoch == 7 && meta_got.released == 8 && meta_got.released_epoch == 9);
    assert_int_equal(meta_got.inline_bytes, 0);
    bytes_clear(&b);
    meta.inline_bytes = 9;
    row_meta_encode(&meta, &b);
    assert_int_equal(row_meta_decode(bytes_slice(&b), &meta_got), ERR_OK);
    assert_int_equal(meta_got.inline_bytes, 9);
    bytes_free(&b);
}

/* The copy is of exactly the right size, so that the sanitizer sees a read behind it. */
static enum err decode_copy(const struct row_kind *kind, const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_dup(data, size);
    enum err e = kind->decode(SLICE(copy, size));
    free(copy);
    return e;
}

static void every_truncation_is_corrupt(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        struct bytes b = {0};
        kinds[k].encode(&b);
        assert_int_equal(decode_copy(&kinds[k], b.data, b.size), ERR_OK);
        for (size_t size = 0; size < b.size; size++)
            if (decode_copy(&kinds[k], b.data, size) != ERR_CORRUPT)
                fail_msg("%s: %zu of %zu bytes were taken for a row", kinds[k].name, size, b.size);
        bytes_u8(&b, 0);
        if (kinds[k].decode(bytes_slice(&b)) != ERR_CORRUPT)
            fail_msg("%s: a row with a byte too many was taken", kinds[k].name);
        bytes_free(&b);
    }
}

static void other_versions_are_corrupt(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
        for (unsigned version = 0; version < 256; version++) {
            struct bytes b = {0};
            kinds[k].encode(&b);
            unsigned own = b.data[0];
            assert_int_equal(own, 1);
            b.data[0] = (uint8_t)version;
            assert_int_equal(kinds[k].decode(bytes_slice(&b)), version == own ? ERR_OK : ERR_CORRUPT);
            bytes_free(&b);
        }
}

/* Flipped and random bytes: either a row within all bounds (the decoders above look at them) or ERR_CORRUPT. */
static void damage_is_survived(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, SEED);
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        const struct row_kind *kind = &kinds[prng_below(&p, ARRAY_SIZE(kinds))];
        struct bytes b = {0};
        kind->encode(&b);
        if (prng_below(&p, 2)) {
            bytes_clear(&b);
            size_t size = prng_below(&p, 200);
            bytes_u8(&b, 1);
            for (size_t i = 0; i < size; i++)
                bytes_u8(&b, prng_below(&p, 3) ? 0 : (uint8_t)prng_next(&p));
        } else {
            for (uint64_t n = 1 + prng_below(&p, 4); n > 0; n--)
                b.data[prng_below(&p, b.size)] = (uint8_t)prng_next(&p);
        }
        enum err e = decode_copy(kind, b.data, b.size);
        if (e != ERR_OK && e != ERR_CORRUPT)
            fail_msg("seed %u, round %u: %s gave %s", SEED, round, kind->name, err_name(e));
        bytes_free(&b);
    }
}

static void extents_out_of_bounds_are_corrupt(void **state)
{
    (void)state;
    const struct meta_extent wrong[] = {
        extent_of(1000, 0, 42, 0),          extent_of(1000, LIMIT_BLOCK_BYTES + 1, 42, 0),
        extent_of(1000, UINT64_MAX, 42, 0), extent_of(1000, 2, 42, LIMIT_BLOCK_BYTES - 1),
        extent_of(1000, 10, 0, 0), /* holes have no row */
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct bytes b = {0};
        row_extent_encode(&wrong[i], &b);
        if (decode_extent(bytes_slice(&b)) != ERR_CORRUPT)
            fail_msg("case %zu", i);
        bytes_free(&b);
    }
    struct bytes b = {0};
    struct schema_key key = schema_extent(3, (uint64_t)META_SIZE_MAX + 1);
    struct meta_extent r;
    encode_extent(&b);
    assert_int_equal(row_extent_decode(SLICE(key.bytes, key.size), bytes_slice(&b), &r), ERR_CORRUPT);
    assert_int_equal(row_extent_decode(SLICE(key.bytes, 10), bytes_slice(&b), &r), ERR_CORRUPT);
    bytes_free(&b);
}

static void replies_with_unknown_flags_or_status_are_corrupt(void **state)
{
    (void)state;
    struct bytes b = {0};
    encode_reply(&b);
    b.data[3] |= 0x40;
    assert_int_equal(decode_reply(bytes_slice(&b)), ERR_CORRUPT);
    b.data[3] &= 0xbf;
    assert_int_equal(decode_reply(bytes_slice(&b)), ERR_OK);
    put_u16be(b.data + 1, 60000);
    assert_int_equal(decode_reply(bytes_slice(&b)), ERR_CORRUPT);
    bytes_free(&b);
}

static void keys_sort_by_their_numbers(void **state)
{
    (void)state;
    const uint64_t numbers[] = {0, 1, 255, 256, UINT32_MAX, 1ull << 40, UINT64_MAX};
    for (size_t i = 1; i < ARRAY_SIZE(numbers); i++) {
        struct schema_key a = schema_extent(7, numbers[i - 1]), b = schema_extent(7, numbers[i]);
        assert_true(slice_compare(SLICE(a.bytes, a.size), SLICE(b.bytes, b.size)) < 0);
        assert_int_equal(schema_key_u64(SLICE(b.bytes, b.size), 9), numbers[i]);
        a = schema_extent(numbers[i - 1], UINT64_MAX), b = schema_extent(numbers[i], 0);
        assert_true(slice_compare(SLICE(a.bytes, a.size), SLICE(b.bytes, b.size)) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inode_comes_back),
        cmocka_unit_test(session_comes_back),
        cmocka_unit_test(replies_come_back_with_every_choice_of_fields),
        cmocka_unit_test(small_rows_come_back),
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(other_versions_are_corrupt),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(extents_out_of_bounds_are_corrupt),
        cmocka_unit_test(replies_with_unknown_flags_or_status_are_corrupt),
        cmocka_unit_test(keys_sort_by_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
