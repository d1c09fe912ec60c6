/* Names: what each operation makes, refuses and counts; renames; stable cookies. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO
#define MISSING 999999u

static void making_sets_every_attribute(void **state)
{
    struct fixture *f = *state;
    struct meta_reply r = fixture_call(f, make_command(META_CREATE, ROOT, "f", 0100640));
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.mode, S_IFREG | 0640);
    assert_int_equal(r.attr.uid, 7);
    assert_int_equal(r.attr.gid, 8);
    assert_int_equal(r.attr.nlink, 1);
    assert_int_equal(r.attr.size, 0);
    assert_int_equal(r.attr.content_id, r.attr.ino);
    assert_true(r.attr.atime_ns == f->time_ns && r.attr.mtime_ns == f->time_ns);
    assert_true(r.attr.ctime_ns == f->time_ns && r.attr.btime_ns == f->time_ns);
    assert_true(r.has_parent && r.parent.ino == ROOT);
    assert_int_equal(r.parent.size, 1);
    assert_int_equal(r.parent.nlink, 2);
    assert_true(r.parent.mtime_ns == f->time_ns && r.parent.ctime_ns == f->time_ns);

    r = fixture_call(f, make_command(META_MKDIR, ROOT, "d", 01777));
    assert_int_equal(r.attr.mode, S_IFDIR | 01777);
    assert_int_equal(r.attr.nlink, 2);
    assert_int_equal(r.parent.nlink, 3);
    assert_int_equal(r.parent.size, 2);

    r = fixture_call(f, make_command(META_SYMLINK, ROOT, "l", 0));
    assert_int_equal(r.attr.mode, S_IFLNK | 0777);
    assert_int_equal(r.attr.size, strlen("target"));
    struct meta_query_reply link = fixture_query(f, (struct meta_query){.op = META_QUERY_READLINK, .ino = r.attr.ino});
    assert_true(slice_equal(link.target, slice_str("target")));
    link = fixture_query(f, (struct meta_query){.op = META_QUERY_READLINK, .ino = ROOT});
    assert_status(link, ERR_INVAL);
}

static void mknod_takes_types(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t mode, type, rdev;
        enum err want;
    } cases[] = {{0600, S_IFREG, 0, ERR_OK},           {S_IFREG | 0600, S_IFREG, 0, ERR_OK},
                 {S_IFIFO | 0600, S_IFIFO, 0, ERR_OK}, {S_IFSOCK | 0600, S_IFSOCK, 0, ERR_OK},
                 {S_IFCHR | 0600, S_IFCHR, 5, ERR_OK}, {S_IFBLK | 0600, S_IFBLK, 5, ERR_OK},
                 {S_IFDIR | 0600, 0, 0, ERR_INVAL},    {S_IFLNK | 0600, 0, 0, ERR_INVAL}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[8];
        snprintf(name, sizeof name, "n%zu", i);
        struct meta_command c = make_command(META_MKNOD, ROOT, name, cases[i].mode);
        c.make.rdev = 5;
        struct meta_reply r = fixture_call(f, c);
        assert_status(r, cases[i].want);
        if (r.status != ERR_OK)
            continue;
        assert_int_equal(r.attr.mode & S_IFMT, cases[i].type);
        assert_int_equal(r.attr.mode & 07777, 0600);
        assert_int_equal(r.attr.rdev, cases[i].rdev);
    }
}

static void making_refuses(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    static const enum meta_op ops[] = {META_CREATE, META_MKDIR, META_MKNOD, META_SYMLINK};
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_status(fixture_call(f, make_command(ops[i], ROOT, "f", 0644)), ERR_EXIST);
        assert_status(fixture_call(f, make_command(ops[i], ROOT, "d", 0644)), ERR_EXIST);
        assert_status(fixture_call(f, make_command(ops[i], file, "x", 0644)), ERR_NOTDIR);
        assert_status(fixture_call(f, make_command(ops[i], MISSING, "x", 0644)), ERR_STALE);
    }
    assert_status(do_rmdir(f, ROOT, "d"), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        assert_status(fixture_call(f, make_command(ops[i], directory, "x", 0644)), ERR_STALE);
    assert_int_equal(must_getattr(f, ROOT).size, 1);
}

static void create_finds_what_is_there_unless_exclusive(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    must_make(f, META_MKDIR, ROOT, "d", 0755);
    struct meta_attr before = must_getattr(f, ROOT);
    struct meta_command c = make_command(META_CREATE, ROOT, "f", 0600);
    c.make.exclusive = false;
    struct meta_reply r = fixture_call(f, c);
    assert_status(r, ERR_OK);
    assert_true(r.existed);
    assert_int_equal(r.attr.ino, file);
    assert_int_equal(r.attr.mode, S_IFREG | 0644);
    assert_true(must_getattr(f, ROOT).mtime_ns == before.mtime_ns);
    c.make.name = slice_str("d");
    assert_status(fixture_call(f, c), ERR_ISDIR);
    c.make.name = slice_str("new");
    r = fixture_call(f, c);
    assert_status(r, ERR_OK);
    assert_false(r.existed);
}

static void setgid_directories_pass_their_group_on(void **state)
{
    struct fixture *f = *state;
    struct meta_command c = make_command(META_MKDIR, ROOT, "d", 02755);
    c.make.gid = 50;
    uint64_t directory = fixture_call(f, c).attr.ino;
    struct meta_reply r = fixture_call(f, make_command(META_CREATE, directory, "f", 0644));
    assert_int_equal(r.attr.gid, 50);
    assert_int_equal(r.attr.mode, S_IFREG | 0644);
    r = fixture_call(f, make_command(META_MKDIR, directory, "sub", 0755));
    assert_int_equal(r.attr.gid, 50);
    assert_int_equal(r.attr.mode, S_IFDIR | 02755);
    r = fixture_call(f, make_command(META_SYMLINK, r.attr.ino, "l", 0));
    assert_int_equal(r.attr.gid, 50);
    assert_int_equal(r.attr.mode, S_IFLNK | 0777);
}

static void links_are_counted(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "a", 0644);
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    struct meta_reply r = do_link(f, file, directory, "b");
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.nlink, 2);
    assert_int_equal(r.parent.ino, directory);
    assert_int_equal(r.parent.size, 1);
    assert_true(r.attr.ctime_ns == f->time_ns);
    assert_status(do_link(f, file, directory, "b"), ERR_EXIST);
    assert_status(do_link(f, directory, ROOT, "x"), ERR_PERM);
    assert_status(do_link(f, MISSING, ROOT, "x"), ERR_STALE);
    assert_status(do_link(f, file, file, "x"), ERR_NOTDIR);
    assert_status(do_link(f, file, MISSING, "x"), ERR_STALE);
    r = do_unlink(f, ROOT, "a");
    assert_int_equal(r.attr.nlink, 1);
    assert_false(r.orphaned);
    assert_int_equal(ino_of(f, ROOT, "a"), 0);
    assert_int_equal(ino_of(f, directory, "b"), file);
    r = do_unlink(f, directory, "b");
    assert_int_equal(r.attr.nlink, 0);
    assert_true(r.orphaned);
    assert_status(do_link(f, file, ROOT, "x"), ERR_NOENT);
    assert_status(do_release(f, file), ERR_OK);
    assert_status(do_getattr(f, file), ERR_STALE);
    assert_status(do_link(f, file, ROOT, "x"), ERR_STALE);
}

static void an_unlinked_open_file_cannot_be_linked_again(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "a", 0644);
    assert_true(do_unlink(f, ROOT, "a").orphaned);
    assert_status(do_link(f, file, ROOT, "b"), ERR_NOENT);
}

/* Rows as they are after very many commands. */
static void set_nlink(struct fixture *f, uint64_t ino, uint32_t nlink)
{
    struct row_inode i;
    struct schema_key key = schema_inode(ino);
    struct bytes b = {0};
    char *message = NULL;
    assert_int_equal(inode_read(f->meta, ino, &f->arena, &i), ERR_OK);
    i.attr.nlink = nlink;
    row_inode_encode(&i, &b);
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, (const char *)b.data, b.size, &message);
    assert_null(message);
    bytes_free(&b);
}

static void link_counts_have_a_limit(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t full = must_make(f, META_MKDIR, ROOT, "full", 0755);
    uint64_t sub = must_make(f, META_MKDIR, full, "sub", 0755);
    must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_CREATE, full, "file", 0755);
    set_nlink(f, file, META_LINK_MAX);
    set_nlink(f, full, META_LINK_MAX);
    assert_status(do_link(f, file, ROOT, "x"), ERR_MLINK);
    assert_status(fixture_call(f, make_command(META_MKDIR, full, "x", 0755)), ERR_MLINK);
    assert_status(do_rename(f, ROOT, "d", full, "x", 0), ERR_MLINK);
    assert_status(do_rename(f, ROOT, "d", full, "file", META_RENAME_EXCHANGE), ERR_MLINK);
    assert_status(do_rename(f, full, "file", ROOT, "d", META_RENAME_EXCHANGE), ERR_MLINK);
    /* Within it, in place of another, and of files: no directory more. */
    assert_status(do_rename(f, full, "sub", full, "sub2", 0), ERR_OK);
    assert_status(do_rename(f, ROOT, "d", full, "sub2", META_RENAME_EXCHANGE), ERR_OK);
    assert_status(do_rename(f, ROOT, "d", full, "sub2", 0), ERR_OK);
    assert_int_equal(ino_of(f, full, "sub2"), sub);
    assert_status(do_rename(f, ROOT, "f", full, "x", 0), ERR_OK);
    assert_int_equal(must_getattr(f, full).nlink, META_LINK_MAX);
    set_nlink(f, file, 1);
    set_nlink(f, full, 3);
}

static void unlink_and_rmdir_refuse(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_CREATE, directory, "x", 0644);
    assert_status(do_unlink(f, ROOT, "d"), ERR_ISDIR);
    assert_status(do_unlink(f, ROOT, "gone"), ERR_NOENT);
    assert_status(do_unlink(f, file, "x"), ERR_NOTDIR);
    assert_status(do_unlink(f, MISSING, "x"), ERR_STALE);
    assert_status(do_rmdir(f, ROOT, "f"), ERR_NOTDIR);
    assert_status(do_rmdir(f, ROOT, "gone"), ERR_NOENT);
    assert_status(do_rmdir(f, file, "x"), ERR_NOTDIR);
    assert_status(do_rmdir(f, MISSING, "x"), ERR_STALE);
    assert_status(do_rmdir(f, ROOT, "d"), ERR_NOTEMPTY);
    assert_status(do_unlink(f, directory, "x"), ERR_OK);
    struct meta_reply r = do_rmdir(f, ROOT, "d");
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.nlink, 0);
    assert_int_equal(r.parent.nlink, 2);
    assert_int_equal(r.parent.size, 1);
    assert_status(do_getattr(f, directory), ERR_STALE);
}

static void names_are_any_bytes(void **state)
{
    struct fixture *f = *state;
    char longest[LIMIT_NAME_BYTES + 1] = {0}, odd[] = {(char)0xff, '\n', 1, 0};
    memset(longest, 'n', LIMIT_NAME_BYTES);
    uint64_t a = must_make(f, META_CREATE, ROOT, longest, 0644), b = must_make(f, META_CREATE, ROOT, odd, 0644);
    assert_int_equal(ino_of(f, ROOT, longest), a);
    assert_int_equal(ino_of(f, ROOT, odd), b);
    longest[LIMIT_NAME_BYTES - 1] = 0;
    assert_int_equal(ino_of(f, ROOT, longest), 0);
}

static void queries_refuse(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    assert_status(do_lookup(f, file, "x"), ERR_NOTDIR);
    assert_status(do_lookup(f, MISSING, "x"), ERR_STALE);
    assert_status(do_lookup(f, ROOT, "x"), ERR_NOENT);
    assert_status(do_getattr(f, MISSING), ERR_STALE);
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_READDIR, .ino = file}), ERR_NOTDIR);
    assert_status(fixture_query(f, (struct meta_query){.op = META_QUERY_LAYOUT, .ino = ROOT}), ERR_INVAL);
}

/* ---- rename ---- */

static void rename_moves_files_and_directories(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755), b = must_make(f, META_MKDIR, ROOT, "b", 0755);
    uint64_t file = must_make(f, META_CREATE, a, "f", 0644), sub = must_make(f, META_MKDIR, a, "sub", 0755);
    struct meta_reply r = do_rename(f, a, "f", b, "g", 0);
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.ino, file);
    assert_true(r.attr.ctime_ns == f->time_ns);
    assert_int_equal(r.parent.ino, b);
    assert_int_equal(r.parent.size, 1);
    assert_false(r.has_replaced);
    assert_int_equal(ino_of(f, a, "f"), 0);
    assert_int_equal(ino_of(f, b, "g"), file);
    assert_status(do_rename(f, a, "sub", b, "sub", 0), ERR_OK);
    assert_int_equal(must_getattr(f, a).nlink, 2);
    assert_int_equal(must_getattr(f, a).size, 0);
    assert_int_equal(must_getattr(f, b).nlink, 3);
    assert_int_equal(must_getattr(f, b).size, 2);
    struct meta_query_reply q = fixture_query(f, (struct meta_query){.op = META_QUERY_READDIR, .ino = sub});
    assert_int_equal(q.parent_ino, b);
    assert_status(do_rename(f, b, "g", b, "h", 0), ERR_OK);
    assert_int_equal(must_getattr(f, b).size, 2);
    assert_int_equal(ino_of(f, b, "h"), file);
}

static void is_at(struct fixture *f, uint64_t ino, uint64_t parent, const char *name)
{
    struct meta_place place;
    assert_int_equal(meta_place(f->meta, ino, &f->arena, &place), ERR_OK);
    assert_true(slice_equal(place.name, slice_str(name)));
    if (*name)
        assert_int_equal(place.parent, parent);
}

static void an_inode_knows_one_of_its_names(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755), b = must_make(f, META_MKDIR, ROOT, "b", 0755);
    uint64_t x = must_make(f, META_CREATE, a, "x", 0644), y = must_make(f, META_CREATE, b, "y", 0644);
    is_at(f, ROOT, 0, "");
    is_at(f, a, ROOT, "a");
    is_at(f, x, a, "x");
    assert_status(do_link(f, x, b, "hard"), ERR_OK);
    is_at(f, x, a, "x");
    assert_status(do_unlink(f, b, "hard"), ERR_OK);
    is_at(f, x, a, "x");
    assert_status(do_rename(f, a, "x", b, "y", META_RENAME_EXCHANGE), ERR_OK);
    is_at(f, x, b, "y");
    is_at(f, y, a, "x");
    assert_status(do_link(f, y, ROOT, "other"), ERR_OK);
    assert_status(do_rename(f, b, "y", a, "x", 0), ERR_OK);
    is_at(f, x, a, "x");
    is_at(f, y, 0, "");
    assert_status(do_link(f, y, ROOT, "again"), ERR_OK);
    is_at(f, y, ROOT, "again");
    assert_status(do_rename(f, ROOT, "b", a, "sub", 0), ERR_OK);
    is_at(f, b, a, "sub");
    assert_status(do_unlink(f, a, "x"), ERR_OK);
    is_at(f, x, 0, "");
    struct err_text why;
    assert_int_equal(meta_verify(f->meta, &why), ERR_OK);
}

static void rename_refuses(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755), b = must_make(f, META_MKDIR, a, "b", 0755);
    uint64_t c = must_make(f, META_MKDIR, b, "c", 0755), file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t gone = must_make(f, META_MKDIR, ROOT, "gone", 0755);
    must_make(f, META_MKDIR, ROOT, "empty", 0755);
    must_make(f, META_CREATE, c, "x", 0644);
    assert_status(do_rmdir(f, ROOT, "gone"), ERR_OK);
    const struct {
        uint64_t parent;
        const char *name;
        uint64_t new_parent;
        const char *new_name;
        uint32_t flags;
        enum err want;
    } cases[] = {
        {ROOT, "nothing", ROOT, "x", 0, ERR_NOENT},
        {ROOT, "f", MISSING, "x", 0, ERR_STALE},
        {ROOT, "f", gone, "x", 0, ERR_STALE},
        {MISSING, "f", ROOT, "x", 0, ERR_STALE},
        {file, "f", ROOT, "x", 0, ERR_NOTDIR},
        {ROOT, "f", file, "x", 0, ERR_NOTDIR},
        {ROOT, "f", ROOT, "a", 0, ERR_ISDIR},
        {ROOT, "a", ROOT, "f", 0, ERR_NOTDIR},
        {ROOT, "empty", ROOT, "a", 0, ERR_NOTEMPTY},
        {ROOT, "f", ROOT, "a", META_RENAME_NOREPLACE, ERR_EXIST},
        {ROOT, "f", ROOT, "x", META_RENAME_EXCHANGE, ERR_NOENT},
        {ROOT, "f", ROOT, "x", META_RENAME_EXCHANGE | META_RENAME_NOREPLACE, ERR_INVAL},
        {ROOT, "f", ROOT, "x", 4, ERR_INVAL},
        /* loops */
        {ROOT, "a", a, "x", 0, ERR_INVAL},
        {ROOT, "a", b, "x", 0, ERR_INVAL},
        {ROOT, "a", c, "x", 0, ERR_INVAL},
        {ROOT, "a", c, "x", META_RENAME_EXCHANGE, ERR_INVAL},
        {b, "c", ROOT, "a", META_RENAME_EXCHANGE, ERR_INVAL},
        {c, "x", ROOT, "a", META_RENAME_EXCHANGE, ERR_INVAL},
        {b, "c", ROOT, "a", 0, ERR_NOTEMPTY},
        {c, "x", ROOT, "a", 0, ERR_NOTEMPTY},
    };
    struct meta_attr root = must_getattr(f, ROOT);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct meta_reply r =
            do_rename(f, cases[i].parent, cases[i].name, cases[i].new_parent, cases[i].new_name, cases[i].flags);
        if (r.status != cases[i].want)
            fail_msg("case %zu: %s, must be %s", i, err_name(r.status), err_name(cases[i].want));
    }
    assert_true(must_getattr(f, ROOT).mtime_ns == root.mtime_ns);
    assert_int_equal(ino_of(f, c, "x") != 0, 1);
}

static void rename_replaces(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755);
    uint64_t from = must_make(f, META_CREATE, ROOT, "from", 0644), to = must_make(f, META_CREATE, a, "to", 0644);
    uint64_t d1 = must_make(f, META_MKDIR, ROOT, "d1", 0755), d2 = must_make(f, META_MKDIR, a, "d2", 0755);
    must_make(f, META_CREATE, d1, "inside", 0644);
    struct meta_reply r = do_rename(f, ROOT, "from", a, "to", 0);
    assert_status(r, ERR_OK);
    assert_true(r.has_replaced && r.replaced.ino == to && r.replaced.nlink == 0);
    assert_true(r.orphaned);
    assert_int_equal(ino_of(f, a, "to"), from);
    assert_int_equal(must_getattr(f, to).nlink, 0);
    assert_status(do_release(f, to), ERR_OK);
    assert_status(do_getattr(f, to), ERR_STALE);
    assert_int_equal(must_getattr(f, a).size, 2);
    r = do_rename(f, ROOT, "d1", a, "d2", 0);
    assert_status(r, ERR_OK);
    assert_true(r.has_replaced && r.replaced.ino == d2);
    assert_int_equal(ino_of(f, a, "d2"), d1);
    assert_int_equal(must_getattr(f, a).nlink, 3);
    assert_int_equal(must_getattr(f, ROOT).nlink, 3);
    assert_int_equal(must_getattr(f, ROOT).size, 1);
    /* and within one directory */
    must_make(f, META_MKDIR, a, "d3", 0755);
    assert_status(do_rename(f, a, "d2", a, "d3", 0), ERR_OK);
    assert_int_equal(must_getattr(f, a).nlink, 3);
    assert_int_equal(must_getattr(f, a).size, 2);
}

static void rename_between_two_names_of_one_inode_does_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "a", 0644);
    assert_status(do_link(f, file, ROOT, "b"), ERR_OK);
    struct meta_attr before = must_getattr(f, file), root = must_getattr(f, ROOT);
    static const uint32_t flags[] = {0, META_RENAME_EXCHANGE};
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        assert_status(do_rename(f, ROOT, "a", ROOT, "b", flags[i]), ERR_OK);
        assert_status(do_rename(f, ROOT, "a", ROOT, "a", flags[i]), ERR_OK);
    }
    assert_status(do_rename(f, ROOT, "a", ROOT, "b", META_RENAME_NOREPLACE), ERR_EXIST);
    assert_int_equal(ino_of(f, ROOT, "a"), file);
    assert_int_equal(ino_of(f, ROOT, "b"), file);
    assert_int_equal(must_getattr(f, file).nlink, 2);
    assert_true(must_getattr(f, file).ctime_ns == before.ctime_ns);
    assert_true(must_getattr(f, ROOT).mtime_ns == root.mtime_ns);
}

static void exchange_swaps_a_file_and_a_directory(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755), b = must_make(f, META_MKDIR, ROOT, "b", 0755);
    uint64_t file = must_make(f, META_CREATE, a, "f", 0644), sub = must_make(f, META_MKDIR, b, "sub", 0755);
    must_make(f, META_CREATE, sub, "inside", 0644);
    struct meta_reply r = do_rename(f, a, "f", b, "sub", META_RENAME_EXCHANGE);
    assert_status(r, ERR_OK);
    assert_true(r.has_replaced && r.replaced.ino == sub && r.replaced.nlink == 2);
    assert_int_equal(ino_of(f, a, "f"), sub);
    assert_int_equal(ino_of(f, b, "sub"), file);
    assert_int_equal(must_getattr(f, a).nlink, 3);
    assert_int_equal(must_getattr(f, b).nlink, 2);
    assert_int_equal(must_getattr(f, a).size, 1);
    assert_int_equal(must_getattr(f, b).size, 1);
    struct meta_query_reply q = fixture_query(f, (struct meta_query){.op = META_QUERY_READDIR, .ino = sub});
    assert_int_equal(q.parent_ino, a);
    /* A directory can now be moved below the other one, and not the other way round. */
    assert_status(do_rename(f, ROOT, "b", sub, "b", 0), ERR_OK);
    assert_status(do_rename(f, ROOT, "a", b, "a", 0), ERR_INVAL);
}

/* ---- readdir ---- */

static struct meta_query_reply read_page(struct fixture *f, uint64_t directory, uint64_t cookie, unsigned max)
{
    struct meta_query_reply r = fixture_query(
        f, (struct meta_query){.op = META_QUERY_READDIR, .ino = directory, .cookie = cookie, .max_count = max});
    assert_status(r, ERR_OK);
    assert_true(r.entry_count <= LIMIT_READDIR_ENTRIES);
    return r;
}

#define FILES 200u

static void readdir_sees_what_stays_exactly_once(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755), cookie = 0;
    unsigned seen[FILES] = {0}, changes = 0;
    char name[16];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s%u", i % 2 ? "stay" : "go", i);
        must_make(f, META_CREATE, directory, name, 0644);
    }
    for (bool end = false; !end;) {
        struct meta_query_reply r = read_page(f, directory, cookie, 7);
        end = r.end;
        for (unsigned i = 0; i < r.entry_count; i++) {
            assert_true(r.entries[i].cookie > cookie || i > 0);
            assert_true(r.entries[i].cookie >= 3);
            cookie = r.entries[i].cookie;
            snprintf(name, sizeof name, "%.*s", (int)r.entries[i].name.size, (const char *)r.entries[i].name.data);
            assert_int_equal(r.entries[i].type_mode, S_IFREG);
            if (strncmp(name, "stay", 4) == 0)
                seen[atoi(name + 4)]++;
        }
        /* Others come and go between the pages. */
        snprintf(name, sizeof name, "go%u", 2 * changes);
        assert_status(do_unlink(f, directory, name), ERR_OK);
        snprintf(name, sizeof name, "come%u", changes++);
        must_make(f, META_CREATE, directory, name, 0644);
    }
    for (unsigned i = 0; i < FILES; i++)
        assert_int_equal(seen[i], i % 2);
    assert_true(changes > FILES / 2 / 7);
}

static void readdir_pages_have_bounds(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    struct meta_query_reply r = read_page(f, directory, 0, 0);
    assert_true(r.end && r.entry_count == 0 && r.parent_ino == ROOT);
    uint64_t file = must_make(f, META_CREATE, directory, "x", 0640);
    r = read_page(f, directory, 0, 1);
    assert_true(r.end && r.entry_count == 1); /* the page is full, and that was all */
    r = read_page(f, directory, r.entries[0].cookie, 1);
    assert_true(r.end && r.entry_count == 0);
    r = read_page(f, directory, UINT64_MAX, UINT32_MAX);
    assert_true(r.end && r.entry_count == 0);
    r = fixture_query(f, (struct meta_query){.op = META_QUERY_READDIR, .ino = directory, .with_attr = true});
    assert_int_equal(r.entry_count, 1);
    assert_int_equal(r.entries[0].attr.ino, file);
    assert_int_equal(r.entries[0].attr.mode, S_IFREG | 0640);
}

static void put_entry(struct fixture *f, uint64_t directory, uint64_t cookie, const char *name)
{
    struct schema_key key = schema_dentry(directory, cookie, slice_str(name));
    struct row_dentry row = {.ino = ROOT, .type_mode = S_IFDIR};
    struct bytes b = {0};
    char *message = NULL;
    row_dentry_encode(&row, &b);
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, (const char *)b.data, b.size, &message);
    assert_null(message);
    bytes_free(&b);
}

static void delete_entry(struct fixture *f, uint64_t directory, uint64_t cookie, const char *name)
{
    struct schema_key key = schema_dentry(directory, cookie, slice_str(name));
    char *message = NULL;
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_delete(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, &message);
    assert_null(message);
}

/* Equal cookies can't be made by way of names, so the rows are written past the state machine. */
static void readdir_never_splits_equal_cookies(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    char name[16];
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "%02u", i);
        put_entry(f, directory, 100 + i / 4, name);
    }
    for (unsigned max = 1; max <= 61; max++) {
        unsigned seen = 0;
        uint64_t cookie = 0;
        for (bool end = false; !end;) {
            struct meta_query_reply r = read_page(f, directory, cookie, max);
            end = r.end;
            assert_true(end || r.entry_count >= max);
            assert_true(r.entry_count <= max + 3);
            for (unsigned i = 0; i < r.entry_count; i++) {
                snprintf(name, sizeof name, "%02u", seen++);
                assert_true(slice_equal(r.entries[i].name, slice_str(name)));
                cookie = r.entries[i].cookie;
            }
        }
        assert_int_equal(seen, 60);
    }
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "%02u", i);
        delete_entry(f, directory, 100 + i / 4, name);
    }
}

static void cookies_follow_from_the_name(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_CREATE, directory, "x", 0644);
    uint64_t cookie = read_page(f, directory, 0, 0).entries[0].cookie;
    assert_status(do_unlink(f, directory, "x"), ERR_OK);
    must_make(f, META_MKDIR, directory, "x", 0755);
    assert_true(read_page(f, directory, 0, 0).entries[0].cookie == cookie);
    fixture_reopen(f);
    assert_true(read_page(f, directory, 0, 0).entries[0].cookie == cookie);
}

/* ---- what a look-up brings along ---- */

static struct meta_query_reply look_up_ahead(struct fixture *f, uint64_t directory, struct slice name, unsigned max)
{
    return fixture_query(
        f, (struct meta_query){.op = META_QUERY_LOOKUP, .ino = directory, .name = name, .max_count = max});
}

static void brings(struct fixture *f, uint64_t directory, const struct meta_query_reply *all, unsigned at, unsigned max)
{
    struct meta_query_reply r = look_up_ahead(f, directory, all->entries[at].name, max);
    struct meta_touched touched;
    meta_touched(f->meta, &touched);
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.ino, all->entries[at].ino);
    assert_int_equal(r.entry_count, MIN(MIN(max, LIMIT_LOOK_AHEAD), all->entry_count - 1));
    for (unsigned i = 0; i < r.entry_count; i++) {
        const struct meta_dirent *want = &all->entries[(at + 1 + i) % all->entry_count], *got = &r.entries[i];
        assert_true(slice_equal(got->name, want->name));
        assert_memory_equal(&got->attr, &want->attr, sizeof got->attr);
        assert_true(got->ino == want->ino && got->type_mode == want->type_mode && got->cookie == 0);
    }
    /* Who tells them decides about them: they are not what was asked for. */
    assert_int_equal(touched.seen_count, 2);
    assert_true(touched.seen[0] == directory && touched.seen[1] == r.attr.ino);
}

static void a_look_up_brings_along_what_follows(void **state)
{
    struct fixture *f = *state;
    struct meta_query list = {.op = META_QUERY_READDIR, .with_attr = true};
    char name[16];
    /* Others before and behind it, whose entries are none of its. */
    uint64_t before = must_make(f, META_MKDIR, ROOT, "before", 0755);
    uint64_t directory = list.ino = must_make(f, META_MKDIR, ROOT, "d", 0755);
    uint64_t behind = must_make(f, META_MKDIR, ROOT, "behind", 0755);
    must_make(f, META_CREATE, before, "x", 0644), must_make(f, META_CREATE, behind, "x", 0644);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "f%u", i);
        must_make(f, i % 3 ? META_CREATE : META_MKDIR, directory, name, 0600 + i);
        struct meta_query_reply all = fixture_query(f, list);
        for (unsigned at = 0; at < all.entry_count; at++)
            for (unsigned max = 0; max <= all.entry_count + 1; max++)
                brings(f, directory, &all, at, max);
    }
    struct meta_query_reply r = look_up_ahead(f, directory, slice_str("absent"), 5);
    assert_status(r, ERR_NOENT);
    assert_int_equal(r.entry_count, 0);
    for (unsigned i = 12; i < LIMIT_LOOK_AHEAD + 10; i++) {
        snprintf(name, sizeof name, "f%u", i);
        must_make(f, META_CREATE, directory, name, 0644);
    }
    struct meta_query_reply all = fixture_query(f, list);
    assert_int_equal(all.entry_count, LIMIT_LOOK_AHEAD + 10);
    for (unsigned at = 0; at < all.entry_count; at += 19)
        brings(f, directory, &all, at, at % 2 ? LIMIT_LOOK_AHEAD : LIMIT_LOOK_AHEAD + 5);
}

static void equal_cookies_are_brought_along_once(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_CREATE, directory, "x", 0644);
    uint64_t cookie = read_page(f, directory, 0, 0).entries[0].cookie;
    static const char *const others[] = {"xa", "y", "w", "wx"}; /* in the order in which they come */
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        put_entry(f, directory, cookie, others[i]);
    for (unsigned max = 1; max <= ARRAY_SIZE(others) + 1; max++) {
        struct meta_query_reply r = look_up_ahead(f, directory, slice_str("x"), max);
        assert_int_equal(r.entry_count, MIN(max, ARRAY_SIZE(others)));
        for (unsigned i = 0; i < r.entry_count; i++)
            assert_true(slice_equal(r.entries[i].name, slice_str(others[i])));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        delete_entry(f, directory, cookie, others[i]);
}

/* From where the last ones ended, each but the name itself comes once. */
static void what_comes_along_goes_on_behind_a_cookie(void **state)
{
    struct fixture *f = *state;
    char name[16];
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755), cookie = 0;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "f%u", i);
        must_make(f, META_CREATE, directory, name, 0644);
    }
    struct meta_query_reply all =
        fixture_query(f, (struct meta_query){.op = META_QUERY_READDIR, .ino = directory, .with_attr = true});
    for (unsigned at = 0; at < all.entry_count; at++) {
        struct meta_query q = {
            .op = META_QUERY_LOOKUP, .ino = directory, .name = all.entries[at].name, .max_count = 7, .cookie = cookie};
        unsigned next = at + 1; /* without a cookie it follows the name */
        for (unsigned i = 0; cookie != 0 && i < all.entry_count; i++)
            if (all.entries[i].cookie == cookie)
                next = i + 1;
        struct meta_query_reply r = fixture_query(f, q);
        assert_int_equal(r.entry_count, 7);
        for (unsigned i = 0; i < r.entry_count; i++, next++) {
            next += next % all.entry_count == at;
            assert_true(slice_equal(r.entries[i].name, all.entries[next % all.entry_count].name));
        }
        cookie = r.ahead_cookie;
        assert_true(cookie == all.entries[(next - 1) % all.entry_count].cookie);
    }
    /* No entry has it: what would follow. */
    struct meta_query last = {
        .op = META_QUERY_LOOKUP, .ino = directory, .name = all.entries[5].name, .max_count = 3, .cookie = UINT64_MAX};
    struct meta_query_reply r = fixture_query(f, last);
    assert_int_equal(r.entry_count, 3);
    assert_true(slice_equal(r.entries[0].name, all.entries[0].name));
}

/* The name is there whatever is wrong with others. */
static void what_cannot_be_read_is_not_brought_along(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    must_make(f, META_CREATE, directory, "x", 0644);
    struct schema_key key = schema_dentry(directory, 100, slice_str("lost"));
    struct row_dentry row = {.ino = MISSING, .type_mode = S_IFREG};
    struct bytes b = {0};
    char *message = NULL;
    row_dentry_encode(&row, &b);
    assert_int_equal(meta_write_out(f->meta), ERR_OK);
    rocksdb_put(f->meta->db, f->meta->write, (const char *)key.bytes, key.size, (const char *)b.data, b.size, &message);
    assert_null(message);
    bytes_free(&b);
    struct meta_query_reply r = look_up_ahead(f, directory, slice_str("x"), 5);
    assert_status(r, ERR_OK);
    assert_true(r.has_attr && r.entry_count == 0);
    delete_entry(f, directory, 100, "lost");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(making_sets_every_attribute),
        TEST(mknod_takes_types),
        TEST(making_refuses),
        TEST(create_finds_what_is_there_unless_exclusive),
        TEST(setgid_directories_pass_their_group_on),
        TEST(links_are_counted),
        TEST(an_unlinked_open_file_cannot_be_linked_again),
        TEST(link_counts_have_a_limit),
        TEST(unlink_and_rmdir_refuse),
        TEST(names_are_any_bytes),
        TEST(queries_refuse),
        TEST(rename_moves_files_and_directories),
        TEST(an_inode_knows_one_of_its_names),
        TEST(rename_refuses),
        TEST(rename_replaces),
        TEST(rename_between_two_names_of_one_inode_does_nothing),
        TEST(exchange_swaps_a_file_and_a_directory),
        TEST(readdir_sees_what_stays_exactly_once),
        TEST(readdir_pages_have_bounds),
        TEST(readdir_never_splits_equal_cookies),
        TEST(cookies_follow_from_the_name),
        TEST(a_look_up_brings_along_what_follows),
        TEST(equal_cookies_are_brought_along_once),
        TEST(what_comes_along_goes_on_behind_a_cookie),
        TEST(what_cannot_be_read_is_not_brought_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
