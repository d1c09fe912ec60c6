/* Extended attributes: set, removed, listed, limited; gone with their inode; and lists that modes follow. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/acl.h"

#define ROOT META_ROOT_INO

static struct meta_reply set(struct fixture *f, uint64_t ino, const char *name, struct slice value, uint32_t flags)
{
    struct meta_command c = {.op = META_SETXATTR,
                             .xattr = {.ino = ino, .name = slice_str(name), .value = value, .flags = flags}};
    return fixture_call(f, c);
}

static struct meta_reply unset(struct fixture *f, uint64_t ino, const char *name)
{
    struct meta_command c = {.op = META_REMOVEXATTR, .xattr = {.ino = ino, .name = slice_str(name)}};
    return fixture_call(f, c);
}

static struct meta_query_reply get(struct fixture *f, uint64_t ino, const char *name)
{
    return fixture_query(f, (struct meta_query){.op = META_QUERY_GETXATTR, .ino = ino, .name = slice_str(name)});
}

static struct slice list(struct fixture *f, uint64_t ino)
{
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_LISTXATTR, .ino = ino});
    assert_status(r, ERR_OK);
    return r.xattr;
}

static void a_value_is_set_replaced_and_removed(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    assert_status(get(f, ino, "user.a"), ERR_NODATA);
    assert_status(unset(f, ino, "user.a"), ERR_NODATA);
    assert_status(set(f, ino, "user.a", slice_str("1"), META_XATTR_REPLACE), ERR_NODATA);
    struct meta_attr before = must_getattr(f, ino);
    struct meta_reply r = set(f, ino, "user.a", slice_str("1"), META_XATTR_CREATE);
    assert_status(r, ERR_OK);
    assert_true(r.has_attr && r.attr.xattrs == 1 && r.attr.ctime_ns == f->time_ns);
    assert_true(r.attr.mtime_ns == before.mtime_ns && r.attr.version == before.version);
    assert_status(set(f, ino, "user.a", slice_str("2"), META_XATTR_CREATE), ERR_EXIST);
    assert_status(set(f, ino, "user.a", slice_str("two"), META_XATTR_REPLACE), ERR_OK);
    assert_true(slice_equal(get(f, ino, "user.a").xattr, slice_str("two")));
    assert_status(set(f, ino, "user.empty", SLICE(NULL, 0), 0), ERR_OK);
    assert_status(get(f, ino, "user.empty"), ERR_OK);
    assert_int_equal(get(f, ino, "user.empty").xattr.size, 0);
    assert_true(slice_equal(list(f, ino), SLICE("user.a\0user.empty", 18)));
    assert_status(unset(f, ino, "user.a"), ERR_OK);
    assert_status(get(f, ino, "user.a"), ERR_NODATA);
    assert_int_equal(must_getattr(f, ino).xattrs, 1);
    assert_status(unset(f, ino, "user.empty"), ERR_OK);
    assert_int_equal(list(f, ino).size, 0);
    assert_int_equal(rows_of(f, 'a'), 0);
    assert_status(set(f, 99999, "user.a", slice_str("1"), 0), ERR_STALE);
    assert_status(get(f, 99999, "user.a"), ERR_STALE);
}

static void they_survive_a_restart_and_are_not_mixed_up(void **state)
{
    struct fixture *f = *state;
    uint64_t one = must_make(f, META_CREATE, ROOT, "1", 0644), two = must_make(f, META_MKDIR, ROOT, "2", 0755);
    assert_status(set(f, one, "user.k", slice_str("one"), 0), ERR_OK);
    assert_status(set(f, two, "user.k", slice_str("two"), 0), ERR_OK);
    assert_status(set(f, two, "user.l", slice_str("more"), 0), ERR_OK);
    fixture_reopen(f);
    assert_true(slice_equal(get(f, one, "user.k").xattr, slice_str("one")));
    assert_true(slice_equal(get(f, two, "user.k").xattr, slice_str("two")));
    assert_true(slice_equal(list(f, one), SLICE("user.k", 7)));
    assert_int_equal(must_getattr(f, two).xattrs, 2);
}

/* A mount that did not hear the reply asks again, and gets the first one. */
static void a_repeated_request_has_its_first_reply(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    struct meta_reply first = set(f, ino, "user.a", slice_str("1"), META_XATTR_CREATE);
    struct meta_command again = {.op = META_SETXATTR, .session = f->session, .seq = f->seq, .acked = f->seq - 1};
    again.xattr.ino = ino;
    again.xattr.name = slice_str("user.a");
    again.xattr.flags = META_XATTR_CREATE;
    struct meta_reply second = fixture_apply(f, again);
    assert_status(second, ERR_OK);
    assert_int_equal(second.attr.xattrs, 1);
    assert_int_equal(second.attr.ctime_ns, first.attr.ctime_ns);
}

static void fill(struct fixture *f, uint64_t ino, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "user.%u", i);
        assert_status(set(f, ino, name, slice_str("value"), 0), ERR_OK);
    }
}

static void there_are_limits(void **state)
{
    struct fixture *f = *state;
    static uint8_t big[LIMIT_XATTR_VALUE_BYTES];
    uint64_t many = must_make(f, META_CREATE, ROOT, "many", 0644), wide = must_make(f, META_CREATE, ROOT, "wide", 0644);
    fill(f, many, LIMIT_XATTRS);
    assert_status(set(f, many, "user.more", slice_str("1"), 0), ERR_NOSPC);
    assert_status(set(f, many, "user.7", slice_str("another"), 0), ERR_OK);
    assert_status(unset(f, many, "user.8"), ERR_OK);
    assert_status(set(f, many, "user.more", slice_str("1"), 0), ERR_OK);
    assert_status(set(f, wide, "user.big", SLICE(big, sizeof big), 0), ERR_OK);
    assert_int_equal(get(f, wide, "user.big").xattr.size, sizeof big);
    char name[LIMIT_XATTR_NAME_BYTES + 1];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    struct meta_reply r = {0};
    unsigned count = 0;
    for (; r.status == ERR_OK; count++) {
        snprintf(name, sizeof name, "user.%04u", count);
        name[strlen("user.0000")] = 'n';
        r = set(f, wide, name, slice_str("1"), 0);
    }
    assert_status(r, ERR_NOSPC);
    size_t bytes = list(f, wide).size;
    assert_true(bytes <= LIMIT_XATTR_LIST_BYTES && bytes + sizeof name > LIMIT_XATTR_LIST_BYTES);
    fixture_verify(f);
}

static void they_go_with_their_inode(void **state)
{
    struct fixture *f = *state;
    uint64_t directory = must_make(f, META_MKDIR, ROOT, "d", 0755), file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t other = must_make(f, META_MKDIR, ROOT, "e", 0755);
    fill(f, directory, 3);
    fill(f, file, 4);
    fill(f, other, 5);
    assert_status(do_rmdir(f, ROOT, "d"), ERR_OK);
    assert_int_equal(rows_of(f, 'a'), 9);
    assert_true(do_unlink(f, ROOT, "f").orphaned);
    assert_int_equal(rows_of(f, 'a'), 9); /* it may be open */
    assert_status(do_release(f, file), ERR_OK);
    assert_int_equal(rows_of(f, 'a'), 5);
    must_make(f, META_MKDIR, ROOT, "new", 0755);
    assert_status(do_rename(f, ROOT, "new", ROOT, "e", 0), ERR_OK);
    assert_int_equal(rows_of(f, 'a'), 0);
}

static void a_release_does_what_fits(void **state)
{
    struct fixture *f = *state;
    uint64_t inos[5];
    for (unsigned i = 0; i < ARRAY_SIZE(inos); i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        inos[i] = must_make(f, META_CREATE, ROOT, name, 0644);
        fill(f, inos[i], LIMIT_XATTRS);
        assert_true(do_unlink(f, ROOT, name).orphaned);
    }
    struct meta_command c = {.op = META_RELEASE, .release = {.inos = inos, .count = ARRAY_SIZE(inos)}};
    unsigned commands = 0, left = ARRAY_SIZE(inos);
    for (bool more = true; more; commands++) {
        struct meta_reply r = fixture_apply(f, c);
        assert_status(r, ERR_OK);
        more = r.more;
        unsigned now = rows_of(f, 'o');
        assert_true(now < left);
        left = now;
    }
    assert_int_equal(left, 0);
    assert_int_equal(commands, 3);
    assert_int_equal(rows_of(f, 'a'), 0);
}

/* ---- what a program loses ---- */

static uint32_t mode_of(struct fixture *f, uint64_t ino)
{
    return must_getattr(f, ino).mode & 07777;
}

static void a_commit_takes_set_id_bits_when_it_says_so(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint32_t before, after;
    } cases[] = {{06777, 0777}, {06767, 02767}, {04711, 0711}, {02711, 0711}, {01777, 01777}};
    struct meta_extent e = extent_of(0, 10, 1, 0);
    uint64_t source = must_make(f, META_CREATE, ROOT, "source", 0644);
    assert_status(fixture_call(f, commit_command(source, &e, 1)), ERR_OK);
    const struct meta_command copy = {.op = META_CLONE, .clone = {.source = source, .length = 10}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[8];
        snprintf(name, sizeof name, "f%zu", i);
        uint64_t ino = must_make(f, META_CREATE, ROOT, name, cases[i].before);
        struct meta_command c = commit_command(ino, &e, 1), size = size_command(ino, 5);
        assert_status(fixture_call(f, c), ERR_OK);
        assert_status(fixture_call(f, size), ERR_OK);
        assert_int_equal(mode_of(f, ino), cases[i].before);
        c.commit.kill_set_id = true;
        assert_int_equal(fixture_call(f, c).attr.mode & 07777, cases[i].after);
        struct meta_command chmod = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_MODE}}, clone = copy;
        chmod.setattr.mode = cases[i].before;
        clone.clone.ino = ino;
        assert_status(fixture_call(f, chmod), ERR_OK);
        assert_int_equal(fixture_call(f, clone).attr.mode & 07777, cases[i].before);
        clone.clone.kill_set_id = true;
        assert_int_equal(fixture_call(f, clone).attr.mode & 07777, cases[i].after);
        snprintf(name, sizeof name, "s%zu", i);
        ino = must_make(f, META_CREATE, ROOT, name, cases[i].before);
        size = size_command(ino, 5);
        size.setattr.mask |= META_KILL_SET_ID;
        assert_status(fixture_call(f, size), ERR_OK);
        assert_int_equal(mode_of(f, ino), cases[i].after);
    }
}

static void capabilities_go_with_any_change(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0755);
    struct meta_extent e = extent_of(0, 10, 1, 0);
    uint64_t source = must_make(f, META_CREATE, ROOT, "source", 0644);
    assert_status(fixture_call(f, commit_command(source, &e, 1)), ERR_OK);
    const struct meta_command changes[] = {
        commit_command(ino, &e, 1),
        {.op = META_CLONE, .clone = {.source = source, .ino = ino, .length = 10}},
        size_command(ino, 0),
        {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_UID, .uid = 9}},
        {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_GID, .gid = 9}},
    };
    assert_status(set(f, ino, "user.stays", slice_str("x"), 0), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        assert_status(set(f, ino, "security.capability", slice_str("x"), 0), ERR_OK);
        struct meta_command chmod = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_MODE, .mode = 0700}};
        assert_int_equal(fixture_call(f, chmod).attr.xattrs, 2);
        assert_int_equal(fixture_call(f, changes[i]).attr.xattrs, 1);
        assert_status(get(f, ino, "security.capability"), ERR_NODATA);
    }
    assert_status(get(f, ino, "user.stays"), ERR_OK);
}

/* ---- access control lists ---- */

/* user::rwx user:5:rwx group::r-x mask::m other::--- as the kernel writes it */
#define NAMED(m)                                                                                                       \
    SLICE("\2\0\0\0\1\0\7\0\377\377\377\377\2\0\7\0\5\0\0\0\4\0\5\0\377\377\377\377\20\0" m                            \
          "\0\377\377\377\377\40\0\0\0\377\377\377\377",                                                               \
          44)
#define PLAIN SLICE("\2\0\0\0\1\0\6\0\377\377\377\377\4\0\5\0\377\377\377\377\40\0\4\0\377\377\377\377", 28)
#define EMPTY SLICE("\2\0\0\0", 4)

static void the_mode_follows_a_list(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 02644);
    assert_status(set(f, ino, META_ACL_ACCESS, NAMED("\6"), 0), ERR_OK);
    assert_int_equal(mode_of(f, ino), 02760);
    assert_true(slice_equal(get(f, ino, META_ACL_ACCESS).xattr, NAMED("\6")));
    struct meta_command chmod = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_MODE, .mode = 0710}};
    assert_status(fixture_call(f, chmod), ERR_OK);
    assert_true(slice_equal(get(f, ino, META_ACL_ACCESS).xattr, NAMED("\1")));
    /* What says no more than the mode is not kept. */
    assert_status(set(f, ino, META_ACL_ACCESS, PLAIN, 0), ERR_OK);
    assert_int_equal(mode_of(f, ino), 0654);
    assert_status(get(f, ino, META_ACL_ACCESS), ERR_NODATA);
    assert_int_equal(must_getattr(f, ino).xattrs, 0);
    /* Without a list, and its removal when there is none. */
    assert_status(set(f, ino, META_ACL_ACCESS, NAMED("\6"), 0), ERR_OK);
    assert_status(set(f, ino, META_ACL_ACCESS, EMPTY, 0), ERR_OK);
    assert_int_equal(mode_of(f, ino), 0760);
    assert_int_equal(must_getattr(f, ino).xattrs, 0);
    assert_status(unset(f, ino, META_ACL_ACCESS), ERR_OK);
}

static void a_list_may_take_the_set_group_id(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 06755);
    assert_status(set(f, ino, META_ACL_ACCESS, NAMED("\5"), META_XATTR_KILL_SGID), ERR_OK);
    assert_int_equal(mode_of(f, ino), 04750);
}

static void what_is_no_list_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t file = must_make(f, META_CREATE, ROOT, "f", 0644);
    uint64_t symlink = make_symlink(f, ROOT, "l", "target").attr.ino;
    assert_status(set(f, file, META_ACL_ACCESS, slice_str("nonsense"), 0), ERR_INVAL);
    assert_status(set(f, file, META_ACL_DEFAULT, NAMED("\5"), 0), ERR_ACCES);
    assert_status(set(f, symlink, META_ACL_ACCESS, NAMED("\5"), 0), ERR_NOTSUP);
    assert_int_equal(mode_of(f, file), 0644);
    assert_int_equal(rows_of(f, 'a'), 0);
}

static uint64_t make_masked(struct fixture *f, enum meta_op op, uint64_t parent, const char *name, uint32_t mode)
{
    struct meta_command c = make_command(op, parent, name, mode);
    c.make.umask = 0077;
    struct meta_reply r = fixture_call(f, c);
    assert_status(r, ERR_OK);
    return r.attr.ino;
}

static void a_default_list_is_inherited(void **state)
{
    struct fixture *f = *state;
    uint64_t d = must_make(f, META_MKDIR, ROOT, "d", 0755);
    assert_int_equal(mode_of(f, make_masked(f, META_CREATE, d, "before", 0666)), 0600);
    assert_status(set(f, d, META_ACL_DEFAULT, NAMED("\6"), 0), ERR_OK);
    assert_int_equal(mode_of(f, d), 0755);
    /* Instead of the umask. */
    uint64_t file = make_masked(f, META_CREATE, d, "file", 0666), fifo = make_masked(f, META_MKNOD, d, "p", 010640);
    assert_int_equal(mode_of(f, file), 0660);
    assert_true(get(f, file, META_ACL_ACCESS).xattr.size == 44);
    assert_status(get(f, file, META_ACL_DEFAULT), ERR_NODATA);
    assert_int_equal(mode_of(f, fifo), 0640);
    uint64_t sub = make_masked(f, META_MKDIR, d, "sub", 0777);
    assert_int_equal(mode_of(f, sub), 0760);
    assert_true(slice_equal(get(f, sub, META_ACL_DEFAULT).xattr, NAMED("\6")));
    assert_true(slice_equal(get(f, sub, META_ACL_ACCESS).xattr, NAMED("\6")));
    assert_int_equal(must_getattr(f, sub).xattrs, 2);
    assert_int_equal(mode_of(f, make_masked(f, META_CREATE, sub, "deep", 0600)), 0600);
    assert_int_equal(make_symlink(f, d, "l", "t").attr.xattrs, 0);
    /* One that says no more than a mode: children get it as their mode. */
    assert_status(set(f, d, META_ACL_DEFAULT, PLAIN, 0), ERR_OK);
    uint64_t plain = make_masked(f, META_CREATE, d, "plain", 0666);
    assert_int_equal(mode_of(f, plain), 0644);
    assert_int_equal(must_getattr(f, plain).xattrs, 0);
    assert_status(set(f, d, META_ACL_DEFAULT, EMPTY, 0), ERR_OK);
    assert_int_equal(must_getattr(f, d).xattrs, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_is_set_replaced_and_removed),
        TEST(they_survive_a_restart_and_are_not_mixed_up),
        TEST(a_repeated_request_has_its_first_reply),
        TEST(there_are_limits),
        TEST(they_go_with_their_inode),
        TEST(a_release_does_what_fits),
        TEST(a_commit_takes_set_id_bits_when_it_says_so),
        TEST(capabilities_go_with_any_change),
        TEST(the_mode_follows_a_list),
        TEST(a_list_may_take_the_set_group_id),
        TEST(what_is_no_list_is_refused),
        TEST(a_default_list_is_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
