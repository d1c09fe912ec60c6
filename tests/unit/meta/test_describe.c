/* Commands in words: complete, printable, and always within the room that there is. */
#include "tests/unit/meta/commands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

static void expect(const struct meta_command *c, const char *want)
{
    char text[256];
    meta_command_describe(c, text, sizeof text);
    assert_string_equal(text, want);
}

static void every_operation_is_described(void **state)
{
    (void)state;
    struct meta_command c = make_command(META_CREATE, 1, "x", 0100644);
    c.session = 7;
    c.seq = 12;
    expect(&c, "create parent=1 name=\"x\" mode=100644 session=7/12");
    c = make_command(META_MKDIR, 2, "d", 0755);
    expect(&c, "mkdir parent=2 name=\"d\" mode=755");
    c = unlink_command(META_RMDIR, 3, "r");
    expect(&c, "rmdir parent=3 name=\"r\"");
    c = rename_command(4, "a", 5, "b", META_RENAME_EXCHANGE);
    expect(&c, "rename parent=4 name=\"a\" new_parent=5 new_name=\"b\"");
    struct meta_extent e = extent_of(0, 1, 1, 0);
    c = commit_command(6, &e, 1);
    c.commit.size_at_least = 9;
    c.commit.has_expected_version = true;
    c.commit.expected_version = 3;
    expect(&c, "commit ino=6 extents=1 size>=9 expected_version=3");
    c.commit.append = true;
    c.commit.has_expected_version = false;
    expect(&c, "commit ino=6 extents=1 append");
    c = size_command(7, 100);
    expect(&c, "setattr ino=7 mask=0x8 size=100");
    c = (struct meta_command){.op = META_SESSION_END, .session_end.session = 5};
    expect(&c, "session-end session=5");
    c = (struct meta_command){.op = META_REAP, .reap.content_id = 8};
    expect(&c, "reap content=8");
    c = (struct meta_command){.op = META_BLOCK_SERVER, .block_server = {.id = 3, .address = "h:1", .weight = 4}};
    expect(&c, "block-server id=3 address=h:1 weight=4");
    c = (struct meta_command){.op = META_SESSION_OPEN};
    c.session_open.export = slice_str("default");
    c.session_open.client = slice_str("host:/mnt");
    expect(&c, "session-open export=\"default\" client=\"host:/mnt\"");
    c = (struct meta_command){.op = META_LINK, .link = {.ino = 1, .parent = 2, .name = slice_str("n")}};
    expect(&c, "link ino=1 parent=2 name=\"n\"");
    c = (struct meta_command){.op = META_RELEASE, .release.count = 2};
    expect(&c, "release inodes=2");
    c = (struct meta_command){.op = META_READS, .reads.count = 4};
    expect(&c, "reads inodes=4");
    c = (struct meta_command){.op = META_CLONE,
                              .clone = {.source = 3, .source_offset = 4, .length = 5, .ino = 6, .offset = 7}};
    expect(&c, "clone source=3 offset=4 length=5 ino=6 offset=7");
    c = (struct meta_command){.op = META_COMMIT, .commit = {.ino = 4, .size_at_least = 9, .inlined_count = 2}};
    expect(&c, "commit ino=4 extents=0 size>=9 inlined=2");
    c = (struct meta_command){.op = META_MOVED, .moved.count = 3};
    expect(&c, "moved blocks=3");
    c = (struct meta_command){.op = META_REWRITE,
                              .rewrite = {.ino = 4, .offset = 5, .length = 6, .extent_count = 7, .version = 8}};
    expect(&c, "rewrite ino=4 offset=5 length=6 extents=7");
    c.rewrite.length = 0;
    expect(&c, "rewrite ino=4 done version=8");
    c = (struct meta_command){.op = META_SETXATTR, .xattr = {.ino = 4, .name = slice_str("user.k"), .flags = 1}};
    c.xattr.value = slice_str("four");
    expect(&c, "setxattr ino=4 name=\"user.k\" bytes=4 flags=0x1");
    c.op = META_REMOVEXATTR;
    expect(&c, "removexattr ino=4 name=\"user.k\"");
    c = (struct meta_command){.op = META_REPLICAS, .replicas.count = 2};
    expect(&c, "replicas count=2");
    c = (struct meta_command){.op = META_EXPORT, .export = {.name = slice_str("default"), .mask = 1, .options = 1}};
    expect(&c, "export name=\"default\" mask=0x1 options=0x1");
    const struct meta_kv_change changes[] = {
        {.kind = META_KV_CAS, .key = slice_str("k"), .value = slice_str("four"), .expected_version = 7},
        {.kind = META_KV_PUT, .key = slice_str("l"), .ttl_ns = 1500000000},
        {.kind = META_KV_DELETE, .key = slice_str("m")},
        {.kind = META_KV_SET, .key = slice_str("n")},
        {.kind = META_KV_SET, .key = slice_str("o")}};
    c = (struct meta_command){.op = META_KV, .kv = {.changes = changes, .count = 3}};
    expect(&c, "kv cas key=\"k\" expected_version=7 bytes=4 put key=\"l\" bytes=0 ttl=1.500 delete key=\"m\"");
    c.kv.changes = changes + 2;
    expect(&c, "kv delete key=\"m\" set key=\"n\" bytes=0 set key=\"o\" bytes=0");
    c = (struct meta_command){.op = META_KV_EXPIRE};
    expect(&c, "kv-expire");
    c = (struct meta_command){.op = META_INIT};
    expect(&c, "init");
}

static void operations_have_different_names(void **state)
{
    (void)state;
    for (int op = 1; op <= META_OP_LAST; op++) {
        assert_string_not_equal(meta_op_name((enum meta_op)op), "unknown");
        for (int other = 1; other < op; other++)
            assert_string_not_equal(meta_op_name((enum meta_op)op), meta_op_name((enum meta_op)other));
    }
    assert_string_equal(meta_op_name((enum meta_op)0), "unknown");
    assert_string_equal(meta_op_name((enum meta_op)(META_OP_LAST + 1)), "unknown");
}

static void names_are_made_printable(void **state)
{
    (void)state;
    struct meta_command c = make_command(META_CREATE, 1, "a\n\"\\\x7f z", 0644);
    expect(&c, "create parent=1 name=\"a\\x0a\\x22\\x5c\\x7f z\" mode=644");
    char text[256];
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {(char)byte, 0};
        c.make.name = slice_str(name);
        meta_command_describe(&c, text, sizeof text);
        for (const char *t = text; *t; t++)
            if ((unsigned char)*t < 0x20 || (unsigned char)*t > 0x7e)
                fail_msg("byte %#x of a name is shown as it is", (unsigned)byte);
    }
}

static void it_is_cut_to_the_room_there_is(void **state)
{
    (void)state;
    char name[LIMIT_NAME_BYTES + 1] = {0}, whole[4096];
    memset(name, '\n', LIMIT_NAME_BYTES);
    struct meta_command c = rename_command(1, name, 2, name, 0);
    c.session = UINT64_MAX;
    c.seq = UINT64_MAX;
    meta_command_describe(&c, whole, sizeof whole);
    size_t length = strlen(whole);
    assert_true(length > 2 * 4 * LIMIT_NAME_BYTES);
    for (size_t size = 1; size <= length + 2; size++) {
        char *text = mem_alloc(size); /* exactly, for the sanitizer */
        memset(text, 'x', size);
        meta_command_describe(&c, text, size);
        assert_int_equal(strnlen(text, size), MIN(size - 1, length));
        assert_memory_equal(text, whole, MIN(size - 1, length));
        free(text);
    }
    char untouched = 'x';
    meta_command_describe(&c, &untouched, 0);
    assert_int_equal(untouched, 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_described),
        cmocka_unit_test(operations_have_different_names),
        cmocka_unit_test(names_are_made_printable),
        cmocka_unit_test(it_is_cut_to_the_room_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
