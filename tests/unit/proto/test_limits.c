/* Each bound of the wire structs at its maximum (accepted) and one beyond it (refused with the field and the value in
 * the reason). Encoders CHECK their bounds, so what is beyond them is made from a valid message, by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/fuzz/wire/samples.h"

static struct prng p;
static struct arena a;
static struct err_text why;

static int setup(void **state)
{
    (void)state;
    prng_seed(&p, 7);
    why.text[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&a);
    return 0;
}

/* ---- protobuf by hand ---- */

static struct bytes out;

static void varint(uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        bytes_u8(&out, (uint8_t)(v | 0x80));
    bytes_u8(&out, (uint8_t)v);
}
static void number(unsigned field, uint64_t v)
{
    varint(field << 3);
    varint(v);
}
static void blob(unsigned field, struct slice s)
{
    varint(field << 3 | 2);
    varint(s.size);
    bytes_append(&out, s);
}
/* What was written, as a message; the next one starts afresh. */
static struct slice written(void)
{
    struct slice s = arena_slice(&a, bytes_slice(&out));
    bytes_free(&out);
    return s;
}
static struct slice filled(size_t size, char with)
{
    return SLICE(memset(arena_alloc(&a, size), with, size), size);
}

static void accepted(enum err e)
{
    if (e != ERR_OK)
        fail_msg("refused: %s", why.text);
}
/* Also, that the reason names both. */
static void refused(enum err e, const char *field, const char *value)
{
    assert_int_equal(e, ERR_PROTOCOL);
    if (!strstr(why.text, field) || !strstr(why.text, value))
        fail_msg("\"%s\" does not say %s and %s", why.text, field, value);
}

/* ---- hello and error ---- */

static enum err hello(uint64_t role, uint64_t low, uint64_t high, uint64_t node, size_t id_size, size_t name_size)
{
    struct wire_hello h;
    number(1, role), number(2, low), number(3, high), number(4, node);
    blob(5, filled(id_size, 'i')), blob(6, filled(name_size, 'n'));
    return wire_hello_decode(written(), &a, &h, &why);
}

static void test_hello(void **state)
{
    (void)state;
    accepted(hello(1, 1, 1, 1, 16, 255));
    accepted(hello(3, 1, 1, 0, 0, 0));
    refused(hello(0, 1, 1, 0, 0, 0), "role", "0");
    refused(hello(4, 1, 1, 0, 0, 0), "role", "4");
    refused(hello(3, 0, 1, 0, 0, 0), "version_min", "0");
    refused(hello(3, 5, 4, 0, 0, 0), "version_max", "4");
    refused(hello(1, 1, 1, 0, 0, 0), "node_id", "0");
    refused(hello(2, 1, 1, 7, 0, 0), "node_id", "7");
    refused(hello(3, 1, 1, 0, 15, 0), "cluster_id", "15");
    refused(hello(3, 1, 1, 0, 17, 0), "cluster_id", "17");
    refused(hello(3, 1, 1, 0, 0, 256), "name", "256");
    refused(hello(3, 1, 1, 0, 0, 20000), "hello", "200");
}

static void test_error(void **state)
{
    (void)state;
    struct wire_error e, from = {.leader_id = 3, .text = filled(5000, 't'), .leader_address = slice_str("h:1")};
    wire_error_decode(wire_error_encode(&from, &a), &a, &e);
    assert_int_equal(e.leader_id, 3);
    assert_int_equal(e.text.size, WIRE_TEXT_BYTES);
    /* A hint that can't be an address is no hint. */
    number(1, 3), blob(2, slice_str("bad address:1")), blob(3, slice_str("text"));
    wire_error_decode(written(), &a, &e);
    assert_int_equal(e.leader_id, 0);
    assert_int_equal(e.leader_address.size, 0);
    assert_true(slice_equal(e.text, slice_str("text")));
    wire_error_decode(slice_str("rubbish"), &a, &e);
    assert_true(e.leader_id == 0 && e.text.size == 0);
    wire_error_decode(SLICE(NULL, 0), &a, &e);
    assert_true(e.leader_id == 0 && e.text.size == 0);
}

/* ---- raft ---- */

static void test_raft_entries(void **state)
{
    (void)state;
    struct slice data = filled(LIMIT_COMMAND_BYTES, 'd'), message, payload;
    struct raft_message m = {.type = RAFT_MSG_APPEND, .from = 1, .to = 2, .term = 5, .log_term = 5, .index = 10}, got;
    struct raft_entry *entries = arena_zalloc(&a, LIMIT_RAFT_BATCH_ENTRIES * sizeof *entries);
    for (unsigned i = 0; i < LIMIT_RAFT_BATCH_ENTRIES; i++)
        entries[i] =
            (struct raft_entry){.index = 11 + i, .term = 5, .type = RAFT_ENTRY_COMMAND, .data = SLICE(data.data, 3)};
    m.entries = entries, m.entry_count = LIMIT_RAFT_BATCH_ENTRIES;
    wire_raft_encode(&m, &a, &message, &payload);
    accepted(wire_raft_decode(message, payload, &a, &got, &why));
    assert_int_equal(got.entry_count, LIMIT_RAFT_BATCH_ENTRIES);

    entries[0].data = data, m.entry_count = 1;
    wire_raft_encode(&m, &a, &message, &payload);
    accepted(wire_raft_decode(message, payload, &a, &got, &why));
    assert_int_equal(got.entries[0].data.size, LIMIT_COMMAND_BYTES);

    /* Every bit of the entries is under the checksum. */
    uint8_t *damaged = memcpy(arena_alloc(&a, payload.size), payload.data, payload.size);
    for (size_t at = 0; at < payload.size; at = at * 3 + 1) {
        damaged[at] ^= 1;
        refused(wire_raft_decode(message, SLICE(damaged, payload.size), &a, &got, &why), "entries_checksum", "");
        damaged[at] ^= 1;
    }
    refused(wire_raft_decode(message, SLICE(damaged, payload.size - 1), &a, &got, &why), "entries_checksum", "");
    refused(wire_raft_decode(message, SLICE(NULL, 0), &a, &got, &why), "payload", "0");
    m.entry_count = 0;
    wire_raft_encode(&m, &a, &message, &payload);
    refused(wire_raft_decode(message, SLICE(damaged, 1), &a, &got, &why), "payload", "1");
}

struct raw_entry {
    uint64_t term;
    uint8_t type;
    uint32_t says, has; /* sizes of the data: what the header says and what follows */
};

static enum err append_raw(uint64_t type, uint64_t index, uint64_t count, const struct raw_entry *e)
{
    struct raft_message got;
    bytes_u64(&out, e->term), bytes_u8(&out, e->type), bytes_u32(&out, e->says);
    bytes_append(&out, filled(e->has, 'x'));
    struct slice payload = written();
    uint64_t checksum = checksum64(payload, 0);
    number(1, type), number(2, 1), number(3, 2), number(4, 9), number(5, index), number(6, 4), number(12, count);
    varint(13 << 3 | 1);
    bytes_append(&out, SLICE(&checksum, 8)); /* fixed64 is little-endian, as are the machines that we build for */
    return wire_raft_decode(written(), payload, &a, &got, &why);
}

static void test_raft_bounds(void **state)
{
    (void)state;
    accepted(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, RAFT_ENTRY_COMMAND, 10, 10}));
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){3, RAFT_ENTRY_COMMAND, 10, 10}), "term", "3");
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){10, RAFT_ENTRY_COMMAND, 10, 10}), "term", "10");
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, 0, 10, 10}), "entry.type", "0");
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, 4, 10, 10}), "entry.type", "4");
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, 2, 11, 10}), "size", "11");
    refused(append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, 2, 9, 10}), "size", "23");
    refused(
        append_raw(RAFT_MSG_APPEND, 10, 1, &(struct raw_entry){5, 2, LIMIT_COMMAND_BYTES + 1, LIMIT_COMMAND_BYTES + 1}),
        "size", "262145");
    refused(append_raw(RAFT_MSG_APPEND, 10, LIMIT_RAFT_BATCH_ENTRIES + 1, &(struct raw_entry){5, 2, 0, 100000}),
            "entries", "4097");
    refused(append_raw(RAFT_MSG_APPEND, UINT64_MAX, 1, &(struct raw_entry){5, 2, 0, 0}), "index",
            "18446744073709551615");
    refused(append_raw(RAFT_MSG_VOTE, 10, 1, &(struct raw_entry){5, 2, 0, 0}), "entry_count", "1");
    refused(append_raw(0, 10, 0, &(struct raw_entry){0}), "type", "0");
    refused(append_raw(RAFT_MSG_LAST + 1, 10, 0, &(struct raw_entry){0}), "type", "10");
}

/* ---- commands ---- */

/* A command of this op whose body, in field `field`, is what was written so far. */
static enum err command(enum meta_op op, unsigned field)
{
    struct slice body = written();
    struct meta_command c;
    number(1, op);
    blob(field, body);
    return wire_meta_command_decode(written(), &a, &c, &why);
}
static enum err make(enum meta_op op, struct slice name, struct slice target, uint64_t mode, uint64_t parent)
{
    number(1, parent), blob(2, name), number(3, mode), blob(8, target);
    return command(op, 20);
}

static void test_names(void **state)
{
    (void)state;
    struct slice none = SLICE(NULL, 0);
    accepted(make(META_MKDIR, filled(255, 'n'), none, 040755, 1));
    accepted(make(META_MKDIR, slice_str("..."), none, 040755, 1));
    accepted(make(META_MKDIR, slice_str(".x"), none, 0177777, UINT64_MAX));
    refused(make(META_MKDIR, filled(256, 'n'), none, 040755, 1), "make.name", "256");
    refused(make(META_MKDIR, none, none, 040755, 1), "make.name", "0");
    refused(make(META_MKDIR, slice_str("."), none, 040755, 1), "make.name", "\".\"");
    refused(make(META_MKDIR, slice_str(".."), none, 040755, 1), "make.name", "\"..\"");
    refused(make(META_MKDIR, slice_str("a/b"), none, 040755, 1), "make.name", "a/b");
    refused(make(META_MKDIR, SLICE("a\0b", 3), none, 040755, 1), "make.name", "3 bytes");
    refused(make(META_MKDIR, slice_str("d"), none, 0200000, 1), "make.mode", "65536");
    refused(make(META_MKDIR, slice_str("d"), none, 040755, 0), "make.parent", "0");
    accepted(make(META_SYMLINK, slice_str("l"), filled(4095, 't'), 0120777, 1));
    refused(make(META_SYMLINK, slice_str("l"), filled(4096, 't'), 0120777, 1), "make.target", "4096");
    refused(make(META_SYMLINK, slice_str("l"), none, 0120777, 1), "make.target", "0");
    refused(make(META_SYMLINK, slice_str("l"), SLICE("x\0y", 3), 0120777, 1), "make.target", "3");
    refused(make(META_CREATE, slice_str("f"), slice_str("t"), 0100644, 1), "make.target", "1");
    number(1, 5), number(2, 1), blob(3, slice_str("a/b"));
    refused(command(META_LINK, 21), "link.name", "a/b");
    number(1, 0), number(2, 1), blob(3, slice_str("a"));
    refused(command(META_LINK, 21), "link.ino", "0");
}

static void test_rename_and_unlink(void **state)
{
    (void)state;
    for (unsigned count = LIMIT_OPEN_HINTS; count <= LIMIT_OPEN_HINTS + 1; count++) {
        number(1, 1), blob(2, slice_str("x"));
        for (unsigned i = 0; i < count; i++)
            number(3, i + 2);
        enum err e = command(META_UNLINK, 22);
        count == LIMIT_OPEN_HINTS ? accepted(e) : refused(e, "open_ino", "257");
        for (unsigned i = 0; i < count; i++)
            number(1, i + 2);
        e = command(META_RELEASE, 25);
        count == LIMIT_OPEN_HINTS ? accepted(e) : refused(e, "release.ino", "257");
    }
    number(1, 0);
    refused(command(META_RELEASE, 25), "release.ino", "0");
    for (unsigned flags = 0; flags <= 4; flags++) {
        number(1, 1), number(2, 2), blob(3, slice_str("x")), blob(4, slice_str("y")), number(5, flags);
        enum err e = command(META_RENAME, 23);
        flags <= 3 ? accepted(e) : refused(e, "flags", "4");
    }
    number(1, 1), number(2, 2), blob(3, slice_str("x")), blob(4, slice_str(".."));
    refused(command(META_RENAME, 23), "new_name", "..");
}

static enum err session_open(size_t export_size, size_t client_size, size_t nonce_size)
{
    blob(1, filled(export_size, 'e')), blob(2, filled(client_size, 'c')), blob(3, filled(nonce_size, 'n'));
    return command(META_SESSION_OPEN, 17);
}
static enum err setattr(uint64_t ino, uint64_t mask, uint64_t mode, uint64_t size)
{
    number(1, ino), number(2, mask), number(3, mode), number(6, size);
    return command(META_SETATTR, 19);
}
static enum err server(uint64_t id, size_t address_size, uint64_t weight)
{
    number(1, id), blob(2, filled(address_size, 'a')), number(3, weight);
    return command(META_BLOCK_SERVER, 27);
}

static void test_other_commands(void **state)
{
    (void)state;
    accepted(session_open(63, 255, 16));
    refused(session_open(64, 255, 16), "export", "64");
    refused(session_open(0, 255, 16), "export", "0");
    refused(session_open(63, 256, 16), "client", "256");
    refused(session_open(63, 255, 15), "nonce", "15");
    accepted(setattr(1, 0x1ff, 0177777, INT64_MAX));
    refused(setattr(0, 1, 0, 0), "ino", "0");
    refused(setattr(1, 0x200, 0, 0), "mask", "512");
    refused(setattr(1, 1, 0200000, 0), "mode", "65536");
    refused(setattr(1, 8, 0, (uint64_t)INT64_MAX + 1), "size", "9223372036854775808");
    accepted(server(UINT32_MAX, 255, 1));
    refused(server(0, 255, 1), "id", "0");
    refused(server(1, 256, 1), "address", "256");
    refused(server(1, 0, 1), "address", "0");
    refused(server(1, 255, 0), "weight", "0");
    number(1, 1), blob(2, slice_str("a b:1")), number(3, 1);
    refused(command(META_BLOCK_SERVER, 27), "address", "a b:1");
    blob(1, filled(16, 'c')), blob(2, filled(15, 'k'));
    refused(command(META_INIT, 16), "cookie_key", "15");
    number(1, 0);
    refused(command(META_SESSION_END, 18), "session", "0");
    number(1, 1);
    refused(command(META_REAP, 18), "body", "18");
    refused(command((enum meta_op)0, 18), "op", "0");
    refused(command((enum meta_op)(META_OP_LAST + 1), 18), "op", "17");
}

static enum err numbered(uint64_t session, uint64_t seq, uint64_t acked)
{
    struct meta_command c;
    number(1, META_RELEASE), number(2, session), number(3, seq), number(4, acked), blob(25, SLICE(NULL, 0));
    return wire_meta_command_decode(written(), &a, &c, &why);
}

static void test_sequence(void **state)
{
    (void)state;
    accepted(numbered(0, 0, 0));
    accepted(numbered(1, 1, 0));
    accepted(numbered(1, LIMIT_REPLY_WINDOW, 0));
    accepted(numbered(UINT64_MAX, UINT64_MAX, UINT64_MAX - 1));
    refused(numbered(1, 0, 0), "seq", "0");
    refused(numbered(1, 5, 5), "acked", "5");
    refused(numbered(1, 5, 6), "acked", "6");
    refused(numbered(1, LIMIT_REPLY_WINDOW + 1, 0), "acked", "0");
}

/* ---- extents ---- */

struct raw_extent {
    uint64_t gap, length;
    bool hole;
    uint32_t block_offset;
};

static enum err commit(const struct raw_extent *extents, unsigned count, bool append)
{
    for (unsigned i = 0; i < count; i++) {
        number(1, extents[i].gap), number(2, extents[i].length * 2 + extents[i].hole);
        if (!extents[i].hole)
            number(4, extents[i].block_offset);
    }
    unsigned blocks = 0;
    for (unsigned i = 0; i < count; i++)
        blocks += !extents[i].hole;
    blob(3, filled(blocks * SHA256_SIZE, 'b'));
    struct slice body = written();
    number(1, 5), blob(2, body), number(4, append);
    return command(META_COMMIT, 24);
}
static enum err commit_one(uint64_t gap, uint64_t length, bool hole, uint32_t block_offset, bool append)
{
    return commit(&(struct raw_extent){gap, length, hole, block_offset}, 1, append);
}

static void test_extents(void **state)
{
    (void)state;
    accepted(commit_one(0, LIMIT_BLOCK_BYTES, false, 0, false));
    accepted(commit_one(0, 1, false, LIMIT_BLOCK_BYTES - 1, true));
    accepted(commit_one(0, INT64_MAX, true, 0, false));
    accepted(commit_one(INT64_MAX - 1, 1, false, 0, false));
    refused(commit_one(0, 0, false, 0, false), "length", "0");
    refused(commit_one(0, LIMIT_BLOCK_BYTES + 1, false, 0, false), "length", "1048577");
    refused(commit_one(0, 2, false, LIMIT_BLOCK_BYTES - 1, false), "length", "2");
    refused(commit_one(0, 1, false, LIMIT_BLOCK_BYTES, false), "block_offset", "1048576");
    refused(commit_one(1, INT64_MAX, true, 0, false), "length", "9223372036854775807");
    refused(commit_one((uint64_t)INT64_MAX + 1, 1, true, 0, false), "gap", "9223372036854775808");
    refused(commit_one(1, 1, false, 0, true), "gap", "1");
    struct raw_extent two[] = {{0, INT64_MAX - 5, true, 0}, {5, 1, true, 0}};
    refused(commit(two, 2, false), "length", "1");
    two[1].gap = 6;
    refused(commit(two, 2, false), "gap", "6");

    struct raw_extent *many = arena_alloc(&a, (LIMIT_COMMIT_EXTENTS + 1) * sizeof *many);
    for (unsigned i = 0; i <= LIMIT_COMMIT_EXTENTS; i++)
        many[i] = (struct raw_extent){i, 1, i % 3 == 0, i};
    accepted(commit(many, LIMIT_COMMIT_EXTENTS, false));
    refused(commit(many, LIMIT_COMMIT_EXTENTS + 1, false), "extents", "1025");
}

/* The parallel arrays must agree, and a block of zeros is not a way to write a hole. */
static void test_extent_arrays(void **state)
{
    (void)state;
    struct {
        unsigned gaps, lengths, blocks, offsets;
        char byte;
        const char *field;
    } cases[] = {
        {1, 2, 1, 1, 'b', "length_hole"},  {2, 1, 1, 1, 'b', "length_hole"},  {1, 1, 2, 1, 'b', "extent.block bytes"},
        {1, 1, 0, 0, 'b', "block_offset"}, {1, 1, 2, 2, 'b', "block_offset"}, {0, 0, 1, 1, 'b', "extents"},
        {1, 1, 1, 1, 0, "all zero"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned j = 0; j < cases[i].gaps; j++)
            number(1, 0);
        for (unsigned j = 0; j < cases[i].lengths; j++)
            number(2, 2);
        blob(3, filled(cases[i].blocks * SHA256_SIZE, cases[i].byte));
        for (unsigned j = 0; j < cases[i].offsets; j++)
            number(4, 0);
        struct slice body = written();
        number(1, 5), blob(2, body);
        refused(command(META_COMMIT, 24), cases[i].field, "");
    }
}

/* The largest commit is within a log entry; the static assertion in limits.h is about this. */
static void test_largest_commit(void **state)
{
    (void)state;
    struct meta_command c = {.op = META_COMMIT, .session = UINT64_MAX, .seq = UINT64_MAX, .acked = UINT64_MAX - 1}, got;
    struct meta_extent *extents = arena_zalloc(&a, LIMIT_COMMIT_EXTENTS * sizeof *extents);
    for (unsigned i = 0; i < LIMIT_COMMIT_EXTENTS; i++) {
        extents[i].file_offset = (UINT64_C(1) << 52) * (i + 1);
        extents[i].length = LIMIT_BLOCK_BYTES / 2;
        extents[i].block_offset = LIMIT_BLOCK_BYTES / 2;
        memset(extents[i].block.bytes, 0xff, SHA256_SIZE);
    }
    c.commit.ino = UINT64_MAX, c.commit.extents = extents, c.commit.extent_count = LIMIT_COMMIT_EXTENTS;
    struct slice s = wire_meta_command_encode(&c, &a);
    assert_true(s.size < LIMIT_COMMAND_BYTES / 4);
    accepted(wire_meta_command_decode(s, &a, &got, &why));
    assert_int_equal(got.commit.extent_count, LIMIT_COMMIT_EXTENTS);
    refused(wire_meta_command_decode(filled(LIMIT_COMMAND_BYTES + 1, 0), &a, &got, &why), "command", "262145");
}

/* ---- queries ---- */

static enum err query(uint64_t op, uint64_t ino, struct slice name, uint64_t offset, uint64_t length, uint64_t max,
                      struct meta_query *q)
{
    number(1, op), number(3, ino), blob(4, name), number(6, offset), number(7, length), number(8, max);
    return wire_meta_query_decode(written(), &a, q, &why);
}

static void test_query(void **state)
{
    (void)state;
    struct meta_query q;
    struct slice none = SLICE(NULL, 0);
    accepted(query(META_QUERY_LOOKUP, 1, filled(255, 'n'), 0, 0, 0, &q));
    accepted(query(META_QUERY_READDIR, 1, none, 0, 0, LIMIT_READDIR_ENTRIES, &q));
    accepted(query(META_QUERY_STATFS, 0, none, 0, 0, 0, &q));
    accepted(query(META_QUERY_LAYOUT, 1, none, INT64_MAX, UINT64_MAX, LIMIT_LAYOUT_EXTENTS, &q));
    assert_true(q.offset + q.length <= META_SIZE_MAX);
    accepted(query(META_QUERY_LAYOUT, 1, none, 5, UINT64_MAX, 0, &q));
    assert_true(q.offset == 5 && q.length == META_SIZE_MAX - 5);
    refused(query(0, 1, none, 0, 0, 0, &q), "op", "0");
    refused(query(META_QUERY_LAST + 1, 1, none, 0, 0, 0, &q), "op", "10");
    refused(query(META_QUERY_LOOKUP, 0, slice_str("x"), 0, 0, 0, &q), "ino", "0");
    refused(query(META_QUERY_LOOKUP, 1, filled(256, 'n'), 0, 0, 0, &q), "name", "256");
    refused(query(META_QUERY_LOOKUP, 1, none, 0, 0, 0, &q), "name", "0");
    refused(query(META_QUERY_GETATTR, 1, slice_str("x"), 0, 0, 0, &q), "name", "1");
    refused(query(META_QUERY_LAYOUT, 1, none, (uint64_t)INT64_MAX + 1, 0, 0, &q), "offset", "9223372036854775808");
    refused(query(META_QUERY_READDIR, 1, none, 0, 0, LIMIT_READDIR_ENTRIES + 1, &q), "max_count", "1025");
    refused(query(META_QUERY_LAYOUT, 1, none, 0, 0, LIMIT_LAYOUT_EXTENTS + 1, &q), "max_count", "1025");
}

/* A reply of `count` copies of the sub-message that was written so far. */
static enum err query_reply(unsigned field, unsigned count)
{
    struct slice sub = written();
    struct meta_query_reply r;
    for (unsigned i = 0; i < count; i++)
        blob(field, sub);
    return wire_meta_query_reply_decode(written(), &a, &r, &why);
}
static void dirent(struct slice name, uint64_t ino, uint64_t type)
{
    blob(1, name), number(2, ino), number(4, type);
}

static void test_query_reply(void **state)
{
    (void)state;
    struct meta_query_reply r;
    dirent(slice_str("x"), 1, 040000), accepted(query_reply(4, LIMIT_READDIR_ENTRIES));
    dirent(slice_str("x"), 1, 040000), refused(query_reply(4, LIMIT_READDIR_ENTRIES + 1), "entries", "1025");
    dirent(slice_str(".."), 1, 040000), refused(query_reply(4, 1), "entry.name", "..");
    dirent(slice_str("x"), 0, 040000), refused(query_reply(4, 1), "entry.ino", "0");
    dirent(slice_str("x"), 1, 040001), refused(query_reply(4, 1), "type_mode", "16385");
    number(1, 0), refused(query_reply(2, 1), "attr", "inode 0");
    number(1, 5), number(7, (uint64_t)INT64_MAX + 1), refused(query_reply(2, 1), "attr", "9223372036854775808");
    number(1, 5), number(2, 0200000), refused(query_reply(2, 1), "attr", "0200000");
    number(1, 1), blob(2, slice_str("h:1")), number(3, 1), accepted(query_reply(13, 1));
    number(1, 1), blob(2, slice_str("h:1")), number(3, 1), refused(query_reply(13, 2), "server.id", "1");
    number(1, 1), blob(2, slice_str("h:1")), number(3, 1), refused(query_reply(13, 65), "servers", "65");
    number(1, 1), accepted(query_reply(14, WIRE_SESSIONS));
    number(1, 1), refused(query_reply(14, WIRE_SESSIONS + 1), "sessions", "4097");
    blob(3, filled(LIMIT_SYMLINK_BYTES + 1, 't'));
    refused(wire_meta_query_reply_decode(written(), &a, &r, &why), "target", "4096");
    number(11, LIMIT_REPLICAS + 1);
    refused(wire_meta_query_reply_decode(written(), &a, &r, &why), "replicas", "8");
    blob(10, filled(15, 'c'));
    refused(wire_meta_query_reply_decode(written(), &a, &r, &why), "cluster_id", "15");
}

/* The largest reply of a directory with attributes is within a frame. */
static void test_largest_readdir(void **state)
{
    (void)state;
    struct meta_query_reply r = {.entry_count = LIMIT_READDIR_ENTRIES}, got;
    r.entries = arena_zalloc(&a, LIMIT_READDIR_ENTRIES * sizeof *r.entries);
    for (unsigned i = 0; i < LIMIT_READDIR_ENTRIES; i++) {
        struct meta_attr *attr = &r.entries[i].attr;
        r.entries[i].name = filled(255, 'n'), r.entries[i].ino = r.entries[i].cookie = UINT64_MAX;
        *attr = (struct meta_attr){
            .ino = UINT64_MAX, .mode = 0177777, .uid = UINT32_MAX, .gid = UINT32_MAX, .nlink = UINT32_MAX};
        attr->rdev = UINT32_MAX, attr->size = attr->allocated = META_SIZE_MAX,
        attr->version = attr->content_id = UINT64_MAX;
        attr->atime_ns = attr->mtime_ns = attr->ctime_ns = attr->btime_ns = -1;
    }
    accepted(wire_meta_query_reply_decode(wire_meta_query_reply_encode(&r, &a), &a, &got, &why));
    assert_int_equal(got.entry_count, LIMIT_READDIR_ENTRIES);
}

/* ---- blocks ---- */

static enum err put(size_t id_bytes, unsigned count, uint64_t size, size_t payload_size)
{
    struct wire_block_put got;
    blob(2, filled(id_bytes, 'i'));
    for (unsigned i = 0; i < count; i++)
        number(3, size);
    return wire_block_put_decode(written(), payload_size, &a, &got, &why);
}
static enum err ids(size_t id_bytes, unsigned max_count)
{
    struct wire_block_ids got;
    blob(1, filled(id_bytes, 'i'));
    return wire_block_ids_decode(written(), max_count, &a, &got, &why);
}
static enum err sizes(unsigned count, uint64_t size, size_t payload_size)
{
    struct wire_block_sizes got;
    for (unsigned i = 0; i < count; i++)
        number(1, size);
    return wire_block_sizes_decode(written(), payload_size, &a, &got, &why);
}
static enum err present(size_t count, char value)
{
    struct wire_block_present got;
    blob(2, filled(count, value));
    return wire_block_present_decode(written(), &a, &got, &why);
}

static void test_blocks(void **state)
{
    (void)state;
    accepted(put(32 * LIMIT_BLOCKS_PER_FRAME, LIMIT_BLOCKS_PER_FRAME, 1, LIMIT_BLOCKS_PER_FRAME));
    accepted(put(32, 1, LIMIT_BLOCK_BYTES, LIMIT_BLOCK_BYTES));
    refused(put(32 * 257, 257, 1, 257), "ids", "257");
    refused(put(0, 0, 1, 0), "ids", "0");
    refused(put(33, 1, 1, 1), "ids", "33");
    refused(put(64, 1, 1, 1), "sizes", "1");
    refused(put(32, 1, 0, 0), "size", "0");
    refused(put(32, 1, LIMIT_BLOCK_BYTES + 1, LIMIT_BLOCK_BYTES + 1), "size", "1048577");
    refused(put(32, 1, 10, 11), "payload", "11");
    accepted(ids(32 * LIMIT_HASHES_PER_FRAME, LIMIT_HASHES_PER_FRAME));
    refused(ids(32 * 257, LIMIT_BLOCKS_PER_FRAME), "ids", "257");
    refused(ids(32 * (LIMIT_HASHES_PER_FRAME + 1), LIMIT_HASHES_PER_FRAME), "ids", "16385");
    refused(ids(0, 5), "ids", "0");
    refused(ids(31, 5), "ids", "31");
    accepted(sizes(LIMIT_BLOCKS_PER_FRAME, 0, 0));
    accepted(sizes(2, LIMIT_BLOCK_BYTES, 2 * LIMIT_BLOCK_BYTES));
    refused(sizes(LIMIT_BLOCKS_PER_FRAME + 1, 0, 0), "sizes", "257");
    refused(sizes(1, LIMIT_BLOCK_BYTES + 1, LIMIT_BLOCK_BYTES + 1), "size", "1048577");
    refused(sizes(2, 5, 9), "payload", "9");
    accepted(present(LIMIT_HASHES_PER_FRAME, 1));
    refused(present(LIMIT_HASHES_PER_FRAME + 1, 1), "present", "16385");
    refused(present(3, 2), "present", "2");
    struct wire_block_info info;
    number(1, 0), blob(2, slice_str("h:1"));
    refused(wire_block_info_decode(written(), &a, &info, &why), "node_id", "0");
    number(1, 1);
    refused(wire_block_info_decode(written(), &a, &info, &why), "address", "0");
}

/* ---- administration ---- */

static enum err admin_state(unsigned field, unsigned count)
{
    struct slice sub = written();
    struct wire_admin_state got;
    number(1, 1);
    for (unsigned i = 0; i < count; i++)
        blob(field, sub);
    return wire_admin_state_decode(written(), &a, &got, &why);
}
static enum err admin_number(unsigned field, uint64_t value)
{
    struct wire_admin_state got;
    number(1, 1), number(field, value);
    return wire_admin_state_decode(written(), &a, &got, &why);
}

static void test_admin(void **state)
{
    (void)state;
    struct wire_admin_state_query q;
    number(1, 101);
    refused(wire_admin_state_query_decode(written(), &a, &q, &why), "log_entries", "101");
    struct wire_admin_nodes nodes;
    for (unsigned i = 0; i < LIMIT_NODES + 1; i++)
        number(1, i + 1);
    refused(wire_admin_nodes_decode(written(), &a, &nodes, &why), "id", "10");
    number(1, 0);
    refused(wire_admin_nodes_decode(written(), &a, &nodes, &why), "id", "0");

    number(1, 1), accepted(admin_state(26, LIMIT_NODES));
    number(1, 1), refused(admin_state(26, LIMIT_NODES + 1), "peers", "10");
    accepted(admin_state(28, 100));
    refused(admin_state(28, 101), "log", "101");
    number(1, 1), accepted(admin_state(29, LIMIT_BLOCK_SERVERS));
    number(1, 1), refused(admin_state(29, LIMIT_BLOCK_SERVERS + 1), "block_servers", "65");
    accepted(admin_state(30, WIRE_ADMIN_SESSIONS));
    refused(admin_state(30, WIRE_ADMIN_SESSIONS + 1), "sessions", "1025");
    blob(3, filled(WIRE_TEXT_BYTES + 1, 't')), refused(admin_state(28, 1), "log.text", "1024");
    blob(4, filled(256, 'c')), refused(admin_state(30, 1), "client", "256");
    refused(admin_number(1, 0), "node_id", "0");
    refused(admin_number(4, 4), "roles", "4");
    refused(admin_number(10, 4), "role", "4");
    bytes_append(&out, filled(31, 'h')), refused(admin_state(21, 1), "chain_hash", "31");
    bytes_append(&out, filled(17, 'c')), refused(admin_state(6, 1), "cluster_id", "17");
    bytes_append(&out, filled(256, 'a')), refused(admin_state(2, 1), "address", "256");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hello),          TEST(test_error),           TEST(test_raft_entries),
        TEST(test_raft_bounds),    TEST(test_names),           TEST(test_rename_and_unlink),
        TEST(test_other_commands), TEST(test_sequence),        TEST(test_extents),
        TEST(test_extent_arrays),  TEST(test_largest_commit),  TEST(test_query),
        TEST(test_query_reply),    TEST(test_largest_readdir), TEST(test_blocks),
        TEST(test_admin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
