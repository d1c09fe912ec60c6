/* Each bound of the wire structs at its maximum (accepted) and one beyond it (refused with the field and the value in
 * the reason). Those of services are in test_limits_services.c. */
#include "by_hand.h"

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
        "size", "1114113");
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
    for (unsigned count = LIMIT_RELEASE; count <= LIMIT_RELEASE + 1; count++) {
        for (unsigned i = 0; i < count; i++)
            number(1, i + 2);
        enum err e = command(META_RELEASE, 25);
        count == LIMIT_RELEASE ? accepted(e) : refused(e, "release.ino", "257");
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
    accepted(setattr(1, 0xdff, 0177777, INT64_MAX));
    refused(setattr(0, 1, 0, 0), "ino", "0");
    accepted(setattr(1, META_SET_READ, 0, 0));
    refused(setattr(1, META_SET_READ | META_SET_MODE, 0, 0), "mask", "513");
    refused(setattr(1, 0x1000, 0, 0), "mask", "4096");
    refused(setattr(1, 1, 0200000, 0), "mode", "65536");
    refused(setattr(1, 8, 0, (uint64_t)INT64_MAX + 1), "size", "9223372036854775808");
    accepted(server(UINT32_MAX, 255, 1));
    refused(server(0, 255, 1), "id", "0");
    refused(server(1, 256, 1), "address", "256");
    refused(server(1, 0, 1), "address", "0");
    refused(server(1, 255, 0), "weight", "0");
    number(6, META_SERVER_CHANGE_LAST);
    accepted(server(1, 255, 1));
    number(6, META_SERVER_CHANGE_LAST + 1);
    refused(server(1, 255, 1), "change", "5");
    number(1, 1), blob(2, slice_str("a b:1")), number(3, 1);
    refused(command(META_BLOCK_SERVER, 27), "address", "a b:1");
    blob(1, filled(16, 'c')), blob(2, filled(15, 'k'));
    refused(command(META_INIT, 16), "cookie_key", "15");
    number(1, 0);
    refused(command(META_SESSION_END, 18), "session", "0");
    blob(1, slice_str("x")), number(2, META_EXPORT_OPTIONS_ALL), number(3, META_EXPORT_ROOT_SQUASH);
    accepted(command(META_EXPORT, 48));
    blob(1, filled(LIMIT_EXPORT_BYTES + 1, 'x'));
    refused(command(META_EXPORT, 48), "name", "64");
    blob(1, slice_str("x")), number(2, META_EXPORT_OPTIONS_ALL + 1);
    refused(command(META_EXPORT, 48), "mask", "2");
    blob(1, slice_str("x")), number(3, META_EXPORT_ROOT_SQUASH);
    refused(command(META_EXPORT, 48), "options", "1");
    number(1, 1);
    refused(command(META_REAP, 18), "body", "18");
    refused(command((enum meta_op)0, 18), "op", "0");
    newer(command((enum meta_op)(META_OP_LAST + 1), 18), "op", "31");
    number(1, 0);
    refused(command(META_SET_LEVEL, 70), "level", "0");
    number(1, 0);
    refused(command(META_REPLICAS, 72), "count", "0");
    number(1, LIMIT_REPLICAS);
    accepted(command(META_REPLICAS, 72));
    number(1, LIMIT_REPLICAS + 1);
    refused(command(META_REPLICAS, 72), "count", "8");
}

static struct slice lock_bytes(unsigned kind, unsigned type, uint64_t start, uint64_t end)
{
    number(1, kind), number(2, type), number(3, start), number(4, end);
    return written();
}

static enum err lock(uint64_t ino, struct slice what)
{
    number(1, ino), blob(2, what);
    return command(META_LOCK, 32);
}

static enum err lock_cancel(uint64_t ticket, uint64_t place)
{
    number(1, ticket), number(2, place);
    return command(META_LOCK_CANCEL, 33);
}

static void test_locks(void **state)
{
    (void)state;
    accepted(lock(1, lock_bytes(META_LOCK_POSIX, META_LOCK_READ, 0, 0)));
    accepted(lock(1, lock_bytes(META_LOCK_POSIX, META_LOCK_UNLOCK, META_SIZE_MAX, META_SIZE_MAX)));
    accepted(lock(1, lock_bytes(META_LOCK_FLOCK, META_LOCK_WRITE, 0, META_SIZE_MAX)));
    refused(lock(0, lock_bytes(META_LOCK_POSIX, META_LOCK_READ, 0, 0)), "ino", "0");
    refused(lock(1, lock_bytes(0, META_LOCK_READ, 0, 0)), "lock", "kind 0");
    refused(lock(1, lock_bytes(3, META_LOCK_READ, 0, 0)), "lock", "kind 3");
    refused(lock(1, lock_bytes(META_LOCK_POSIX, 4, 0, 0)), "lock", "type 4");
    refused(lock(1, lock_bytes(META_LOCK_POSIX, META_LOCK_READ, 2, 1)), "lock", "range");
    refused(lock(1, lock_bytes(META_LOCK_POSIX, META_LOCK_READ, 0, (uint64_t)INT64_MAX + 1)), "lock", "range");
    refused(lock(1, lock_bytes(META_LOCK_FLOCK, META_LOCK_READ, 1, META_SIZE_MAX)), "lock", "part");
    accepted(lock_cancel(1, LIMIT_SESSION_WAITS - 1));
    refused(lock_cancel(0, 0), "ticket", "0");
    refused(lock_cancel(1, LIMIT_SESSION_WAITS), "place", "512");
}

static enum err clone(uint64_t source, uint64_t source_offset, uint64_t ino, uint64_t offset, uint64_t length)
{
    number(1, source), number(2, source_offset), number(3, ino), number(4, offset), number(5, length);
    return command(META_CLONE, 40);
}

static enum err take(uint64_t length, uint64_t has_expected_version, uint64_t version)
{
    number(1, 1), number(3, 2), number(5, length), number(6, has_expected_version), number(9, 1), number(10, version);
    return command(META_CLONE, 40);
}

static void test_clone(void **state)
{
    (void)state;
    accepted(clone(1, 0, 1, 1, 1));
    accepted(clone(UINT64_MAX, 0, UINT64_MAX, 0, META_SIZE_MAX));
    accepted(clone(1, META_SIZE_MAX - 1, 2, META_SIZE_MAX - 1, 1));
    refused(clone(0, 0, 1, 0, 1), "source", "0");
    refused(clone(1, 0, 0, 0, 1), "ino", "0");
    refused(clone(1, 0, 1, 0, 0), "length", "0");
    refused(clone(1, 0, 1, 0, UINT64_MAX), "length", "18446744073709551615");
    refused(clone(1, META_SIZE_MAX, 1, 0, 1), "source_offset", "9223372036854775807");
    refused(clone(1, 0, 1, META_SIZE_MAX, 1), "offset", "9223372036854775807");
    refused(take(1, 1, 1), "take", "1");
    refused(take(META_SIZE_MAX, 0, 1), "take", "9223372036854775807");
    refused(take(META_SIZE_MAX, 1, UINT64_MAX), "version", "18446744073709551615");
    accepted(take(META_SIZE_MAX, 1, META_SIZE_MAX));
}

static enum err moved(size_t id_bytes, unsigned inos, unsigned versions, uint64_t ino)
{
    blob(1, filled(id_bytes, 'i'));
    for (unsigned i = 0; i < inos; i++)
        number(2, ino);
    for (unsigned i = 0; i < versions; i++)
        number(3, 5);
    return command(META_MOVED, 41);
}

static void fixed(unsigned field, uint64_t value)
{
    varint(field << 3 | 1);
    bytes_append(&out, SLICE(&value, 8)); /* little-endian, as are the machines that we build for */
}

static enum err reads(unsigned inos, unsigned times, unsigned ctimes, uint64_t ino)
{
    for (unsigned i = 0; i < inos; i++)
        number(1, ino);
    for (unsigned i = 0; i < times; i++)
        fixed(2, 5);
    for (unsigned i = 0; i < ctimes; i++)
        fixed(3, 6);
    return command(META_READS, 60);
}

static void test_reads(void **state)
{
    (void)state;
    accepted(reads(1, 1, 1, UINT64_MAX));
    accepted(reads(LIMIT_READS, LIMIT_READS, LIMIT_READS, 1));
    refused(reads(LIMIT_READS + 1, LIMIT_READS + 1, LIMIT_READS + 1, 1), "ino", "65");
    refused(reads(0, 0, 0, 1), "ino", "0");
    refused(reads(2, 1, 2, 1), "ns", "1");
    refused(reads(2, 2, 3, 1), "ctime_ns", "3");
    refused(reads(1, 1, 1, 0), "ino", "0");
}

/* A commit that brings so many blocks along, the last of another size. */
static enum err inlined(unsigned count, size_t each, size_t last)
{
    number(1, 5);
    for (unsigned i = 0; i < count; i++)
        blob(10, filled(i + 1 < count ? each : last, 'd'));
    return command(META_COMMIT, 24);
}

static void test_inline_blocks(void **state)
{
    (void)state;
    accepted(moved(0, 0, 0, 1));
    accepted(moved((size_t)LIMIT_MOVED_BLOCKS * 32, LIMIT_MOVED_BLOCKS, LIMIT_MOVED_BLOCKS, 1));
    refused(moved((size_t)(LIMIT_MOVED_BLOCKS + 1) * 32, LIMIT_MOVED_BLOCKS + 1, LIMIT_MOVED_BLOCKS + 1, 1), "ino",
            "257");
    refused(moved(32, 1, 2, 1), "version", "2");
    refused(moved(32, 1, 0, 1), "version", "0");
    refused(moved(33, 1, 1, 1), "block", "33");
    refused(moved(64, 1, 1, 1), "block", "64");
    refused(moved(32, 1, 1, 0), "ino", "0");
    accepted(inlined(1, 0, LIMIT_INLINE_BYTES));
    accepted(inlined(LIMIT_INLINE_BLOCKS, 1024, 1024));
    refused(inlined(LIMIT_INLINE_BLOCKS + 1, 1, 1), "inlined", "17");
    refused(inlined(1, 0, LIMIT_INLINE_BYTES + 1), "inlined", "16385");
    refused(inlined(2, LIMIT_INLINE_BYTES - 5, 6), "inlined", "6");
    refused(inlined(1, 0, 0), "inlined", "0");
    struct meta_query q;
    number(1, META_QUERY_INLINE), blob(19, filled(32, 'b')), number(20, 1);
    accepted(wire_meta_query_decode(written(), &a, &q, &why));
    assert_true(q.next_block && q.block.bytes[31] == 'b');
    number(1, META_QUERY_INLINE), blob(19, filled(31, 'b'));
    refused(wire_meta_query_decode(written(), &a, &q, &why), "block", "31");
    number(1, META_QUERY_STATFS), blob(19, filled(32, 'b'));
    refused(wire_meta_query_decode(written(), &a, &q, &why), "block", "32");
}

static enum err query(uint64_t op, uint64_t ino, struct slice name, uint64_t offset, uint64_t length, uint64_t max,
                      struct meta_query *q)
{
    number(1, op), number(3, ino), blob(4, name), number(6, offset), number(7, length), number(8, max);
    return wire_meta_query_decode(written(), &a, q, &why);
}

static enum err setxattr(uint64_t ino, struct slice name, size_t value, uint32_t flags)
{
    number(1, ino), blob(2, name), blob(3, filled(value, 'v')), number(4, flags);
    return command(META_SETXATTR, 36);
}

static void test_xattr(void **state)
{
    (void)state;
    accepted(setxattr(1, filled(255, 'n'), 65536, 7));
    accepted(setxattr(1, slice_str("a/b"), 0, 0));
    refused(setxattr(0, slice_str("n"), 0, 0), "ino", "0");
    refused(setxattr(1, filled(256, 'n'), 0, 0), "name", "256");
    refused(setxattr(1, SLICE(NULL, 0), 0, 0), "name", "0");
    refused(setxattr(1, SLICE("a\0b", 3), 0, 0), "name", "NUL");
    refused(setxattr(1, slice_str("n"), 65537, 0), "value", "65537");
    refused(setxattr(1, slice_str("n"), 0, 8), "flags", "8");
    number(1, 1), blob(2, filled(256, 'n'));
    refused(command(META_REMOVEXATTR, 37), "name", "256");
    number(1, 1), blob(2, slice_str("n"));
    refused(command(META_REMOVEXATTR, 36), "body", "");
    struct meta_query q;
    accepted(query(META_QUERY_GETXATTR, 1, filled(255, '/'), 0, 0, 0, &q));
    refused(query(META_QUERY_GETXATTR, 1, filled(256, 'n'), 0, 0, 0, &q), "name", "256");
    refused(query(META_QUERY_GETXATTR, 1, SLICE(NULL, 0), 0, 0, 0, &q), "name", "0");
    refused(query(META_QUERY_LISTXATTR, 1, slice_str("n"), 0, 0, 0, &q), "name", "1");
    refused(query(META_QUERY_LISTXATTR, 0, SLICE(NULL, 0), 0, 0, 0, &q), "ino", "0");
    blob(28, filled(65537, 'v'));
    struct meta_query_reply r;
    refused(wire_meta_query_reply_decode(written(), &a, &r, &why), "xattr", "65537");
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
    refused(wire_meta_command_decode(filled(LIMIT_COMMAND_BYTES + 1, 0), &a, &got, &why), "command", "1114113");
}

/* ---- queries ---- */

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
    newer(query(META_QUERY_LAST + 1, 1, none, 0, 0, 0, &q), "op", "19");
    refused(query(META_QUERY_LOOKUP, 0, slice_str("x"), 0, 0, 0, &q), "ino", "0");
    refused(query(META_QUERY_LOOKUP, 1, filled(256, 'n'), 0, 0, 0, &q), "name", "256");
    refused(query(META_QUERY_LOOKUP, 1, none, 0, 0, 0, &q), "name", "0");
    refused(query(META_QUERY_GETATTR, 1, slice_str("x"), 0, 0, 0, &q), "name", "1");
    refused(query(META_QUERY_LAYOUT, 1, none, (uint64_t)INT64_MAX + 1, 0, 0, &q), "offset", "9223372036854775808");
    refused(query(META_QUERY_READDIR, 1, none, 0, 0, LIMIT_READDIR_ENTRIES + 1, &q), "max_count", "1025");
    refused(query(META_QUERY_LAYOUT, 1, none, 0, 0, LIMIT_LAYOUT_EXTENTS + 1, &q), "max_count", "1025");
    accepted(query(META_QUERY_LOOKUP, 1, slice_str("x"), 0, 0, LIMIT_LOOK_AHEAD, &q));
    assert_int_equal(q.max_count, LIMIT_LOOK_AHEAD);
    refused(query(META_QUERY_LOOKUP, 1, slice_str("x"), 0, 0, LIMIT_LOOK_AHEAD + 1, &q), "max_count", "257");
}

static enum err block_refs(uint64_t op, size_t bytes, struct meta_query *q)
{
    number(1, op), number(3, 1), blob(21, filled(bytes, 'b'));
    return wire_meta_query_decode(written(), &a, q, &why);
}

static enum err references(size_t count, char each, struct meta_query_reply *r)
{
    blob(32, filled(count, each));
    return wire_meta_query_reply_decode(written(), &a, r, &why);
}

static void test_block_refs(void **state)
{
    (void)state;
    struct meta_query q;
    struct meta_query_reply r;
    accepted(block_refs(META_QUERY_BLOCK_REFS, 32, &q));
    accepted(block_refs(META_QUERY_BLOCK_REFS, LIMIT_BLOCK_REFS * 32, &q));
    assert_int_equal(q.block_count, LIMIT_BLOCK_REFS);
    refused(block_refs(META_QUERY_BLOCK_REFS, 0, &q), "blocks", "0");
    refused(block_refs(META_QUERY_BLOCK_REFS, 33, &q), "blocks", "33");
    refused(block_refs(META_QUERY_BLOCK_REFS, (LIMIT_BLOCK_REFS + 1) * 32, &q), "blocks", "1025");
    refused(block_refs(META_QUERY_GETATTR, 32, &q), "blocks", "1");
    accepted(references(LIMIT_BLOCK_REFS, 1, &r));
    assert_int_equal(r.referenced_count, LIMIT_BLOCK_REFS);
    refused(references(LIMIT_BLOCK_REFS + 1, 1, &r), "referenced", "1025");
    refused(references(1, 2, &r), "referenced", "2");
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
    number(1, 1), blob(3, slice_str("b")), accepted(query_reply(29, LIMIT_MOVED_BLOCKS));
    number(1, 1), blob(3, slice_str("b")), refused(query_reply(29, LIMIT_MOVED_BLOCKS + 1), "inlined", "257");
    number(1, 1), blob(3, filled(LIMIT_INLINE_BYTES + 1, 'b')), refused(query_reply(29, 1), "inlined.data", "16385");
    number(1, 1), refused(query_reply(29, 1), "inlined.data", "0");
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hello),          TEST(test_error),           TEST(test_raft_entries),
        TEST(test_raft_bounds),    TEST(test_names),           TEST(test_rename_and_unlink),
        TEST(test_other_commands), TEST(test_locks),           TEST(test_clone),
        TEST(test_xattr),          TEST(test_sequence),        TEST(test_extents),
        TEST(test_extent_arrays),  TEST(test_largest_commit),  TEST(test_query),
        TEST(test_query_reply),    TEST(test_largest_readdir), TEST(test_inline_blocks),
        TEST(test_block_refs),     TEST(test_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
