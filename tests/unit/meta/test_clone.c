/* Contents shared between files: what a clone takes, what it replaces, counts of who names a block, and its bounds. */
#include "tests/unit/meta/commands.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

static uint64_t new_file(struct fixture *f, const char *name)
{
    return must_make(f, META_CREATE, ROOT, name, 0644);
}

static struct meta_command clone_command(uint64_t source, uint64_t source_offset, uint64_t ino, uint64_t offset,
                                         uint64_t length)
{
    return (struct meta_command){
        .op = META_CLONE,
        .clone = {.source = source, .source_offset = source_offset, .ino = ino, .offset = offset, .length = length}};
}

static struct meta_reply clone(struct fixture *f, uint64_t source, uint64_t source_offset, uint64_t ino,
                               uint64_t offset, uint64_t length)
{
    return fixture_call(f, clone_command(source, source_offset, ino, offset, length));
}

static void expect_extents(struct fixture *f, uint64_t ino, const struct meta_extent *want, unsigned count)
{
    struct meta_query_reply r = do_layout(f, ino);
    assert_status(r, ERR_OK);
    assert_int_equal(r.extent_count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(r.extents[i].file_offset, want[i].file_offset);
        assert_int_equal(r.extents[i].length, want[i].length);
        assert_int_equal(r.extents[i].block_offset, want[i].block_offset);
        assert_true(sha256_equal(&r.extents[i].block, &want[i].block));
    }
}

static void a_clone_names_the_same_blocks(void **state)
{
    struct fixture *f = *state;
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f");
    assert_status(do_write(f, source, 0, 100, 1, 10), ERR_OK);
    assert_status(do_write(f, source, 200, 100, 2, 0), ERR_OK);
    assert_status(do_write(f, ino, 0, 1000, 3, 0), ERR_OK);
    struct meta_reply r = clone(f, source, 50, ino, 300, 200);
    assert_status(r, ERR_OK);
    assert_int_equal(r.offset, 200);
    assert_int_equal(r.attr.ino, ino);
    assert_int_equal(r.attr.size, 1000);
    assert_int_equal(r.attr.version, 2);
    assert_int_equal(r.attr.allocated, 900); /* the hole of the source is one here too */
    const struct meta_extent want[] = {extent_of(0, 300, 3, 0), extent_of(300, 50, 1, 60), extent_of(450, 50, 2, 0),
                                       extent_of(500, 500, 3, 500)};
    expect_extents(f, ino, want, 4);
    assert_int_equal(references_of(f, 1), 2);
    assert_int_equal(references_of(f, 2), 2);
    assert_int_equal(references_of(f, 3), 2);
    assert_int_equal(must_getattr(f, source).version, 2);
}

static void a_clone_ends_where_its_source_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f");
    assert_status(do_write(f, source, 0, 100, 1, 0), ERR_OK);
    assert_status(do_truncate(f, source, 500), ERR_OK);
    struct meta_reply r = clone(f, source, 0, ino, 7, META_SIZE_MAX - 7);
    assert_status(r, ERR_OK);
    assert_int_equal(r.offset, 500);
    assert_int_equal(r.attr.size, 507); /* with the hole at its end */
    assert_int_equal(r.attr.allocated, 100);
    r = clone(f, source, 500, ino, 0, 1);
    assert_status(r, ERR_OK);
    assert_int_equal(r.offset, 0);
    assert_int_equal(r.attr.version, 1); /* nothing was done */
}

static void within_one_file(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    assert_status(do_write(f, ino, 0, 100, 1, 0), ERR_OK);
    assert_status(clone(f, ino, 0, ino, 99, 100), ERR_INVAL);
    assert_status(clone(f, ino, 99, ino, 0, 100), ERR_INVAL);
    assert_status(clone(f, ino, 0, ino, 100, 100), ERR_OK);
    assert_status(clone(f, ino, 50, ino, 0, 50), ERR_OK);
    const struct meta_extent want[] = {extent_of(0, 50, 1, 50), extent_of(50, 50, 1, 50), extent_of(100, 100, 1, 0)};
    expect_extents(f, ino, want, 3);
    assert_int_equal(references_of(f, 1), 3);
}

static void clones_refuse(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f"), directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    uint64_t fifo = must_make(f, META_MKNOD, ROOT, "p", S_IFIFO | 0644);
    assert_status(clone(f, 999, 0, ino, 0, 1), ERR_STALE);
    assert_status(clone(f, ino, 0, 999, 0, 1), ERR_STALE);
    assert_status(clone(f, directory, 0, ino, 0, 1), ERR_ISDIR);
    assert_status(clone(f, ino, 0, directory, 0, 1), ERR_ISDIR);
    assert_status(clone(f, fifo, 0, ino, 0, 1), ERR_INVAL);
    assert_status(clone(f, ino, 0, fifo, 0, 1), ERR_INVAL);
    struct meta_command c = clone_command(ino, 10, ino, 0, 1);
    c.clone.has_expected_version = true;
    c.clone.expected_version = 5;
    struct meta_reply r = fixture_call(f, c);
    assert_status(r, ERR_VERSION);
    assert_true(r.has_attr && r.attr.ino == ino);
}

/* What is left of a clone when one side changes is nobody else's. */
static void both_sides_live_on_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f");
    assert_status(do_write(f, source, 0, 100, 1, 0), ERR_OK);
    assert_status(clone(f, source, 0, ino, 0, 100), ERR_OK);
    assert_status(do_write(f, source, 20, 10, 2, 0), ERR_OK);
    const struct meta_extent want[] = {extent_of(0, 100, 1, 0)};
    expect_extents(f, ino, want, 1);
    assert_status(do_remove(f, ROOT, "source"), ERR_OK);
    (void)reap_all(f);
    expect_extents(f, ino, want, 1);
    assert_int_equal(references_of(f, 1), 1);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    (void)reap_all(f);
    assert_int_equal(references_of(f, 1), 0);
}

static void many_extents_go_in_pieces(void **state)
{
    struct fixture *f = *state;
    static struct meta_extent e[LIMIT_COMMIT_EXTENTS];
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f"), done = 0;
    for (unsigned n = 0; n < LIMIT_COMMIT_EXTENTS; n++)
        e[n] = extent_of(n * 10, 5, 1, n);
    assert_status(fixture_call(f, commit_command(source, e, LIMIT_COMMIT_EXTENTS)), ERR_OK);
    /* Twice: into nothing, and over extents that lie otherwise. */
    for (unsigned round = 0; round < 2; round++) {
        unsigned pieces = 0;
        uint64_t most = META_SIZE_MAX / 2, size = must_getattr(f, source).size;
        for (done = 0; done < size; pieces++) {
            struct meta_reply r = clone(f, source, done, ino, 3 * round + done, MIN(most, size - done));
            assert_true(f->meta->rows <= LIMIT_COMMAND_ROWS);
            if (r.status == ERR_SPLIT) {
                most = MIN(most, size - done) / 2;
                assert_true(most > 0);
                continue;
            }
            assert_status(r, ERR_OK);
            assert_true(r.offset > 0);
            done += r.offset;
        }
        assert_int_equal(done, size);
        assert_true(pieces >= LIMIT_COMMIT_EXTENTS / LIMIT_CLONE_EXTENTS && pieces < 20);
    }
    assert_int_equal(must_getattr(f, ino).allocated, 5 * LIMIT_COMMIT_EXTENTS + 3);
}

/* ---- taking all of it ---- */

static struct meta_reply take(struct fixture *f, uint64_t source, uint64_t ino, uint64_t expected, uint64_t version)
{
    struct meta_command c = clone_command(source, 0, ino, 0, META_SIZE_MAX);
    c.clone.take = c.clone.has_expected_version = true;
    c.clone.expected_version = expected;
    c.clone.version = version;
    return fixture_call(f, c);
}

static void a_take_moves_all_contents(void **state)
{
    struct fixture *f = *state;
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f");
    assert_status(do_write(f, source, 0, 100, 1, 10), ERR_OK);
    assert_status(do_write(f, source, 200, 100, 2, 0), ERR_OK);
    assert_status(do_write(f, ino, 0, 1000, 3, 0), ERR_OK);
    struct meta_reply r = take(f, source, ino, 1, 7);
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.ino, ino);
    assert_int_equal(r.attr.version, 7);
    assert_int_equal(r.attr.size, 300);
    assert_int_equal(r.attr.allocated, 200);
    const struct meta_extent want[] = {extent_of(0, 100, 1, 10), extent_of(200, 100, 2, 0)};
    expect_extents(f, ino, want, 2);
    expect_extents(f, source, NULL, 0);
    assert_int_equal(must_getattr(f, source).size, 0);
    assert_int_equal(must_getattr(f, source).allocated, 0);
    assert_int_equal(must_getattr(f, source).version, 3);
    (void)reap_all(f);
    assert_int_equal(references_of(f, 3), 0); /* what it had is gone, what it got is not */
    assert_int_equal(references_of(f, 1), 1);
    /* The source is a file like any other afterwards. */
    assert_status(do_write(f, source, 0, 50, 4, 0), ERR_OK);
    expect_extents(f, ino, want, 2);
    assert_status(do_remove(f, ROOT, "source"), ERR_OK);
    (void)reap_all(f);
    expect_extents(f, ino, want, 2);
    assert_int_equal(references_of(f, 4), 0);
}

static void a_take_is_of_the_version_expected(void **state)
{
    struct fixture *f = *state;
    uint64_t source = new_file(f, "source"), ino = new_file(f, "f");
    assert_status(do_write(f, source, 0, 100, 1, 0), ERR_OK);
    assert_status(do_write(f, ino, 0, 10, 2, 0), ERR_OK);
    struct meta_reply r = take(f, source, ino, 0, 9);
    assert_status(r, ERR_VERSION);
    assert_true(r.has_attr);
    assert_int_equal(r.attr.version, 1);
    assert_status(take(f, source, ino, 1, 1), ERR_INVAL); /* versions don't go back, or stay */
    assert_int_equal(must_getattr(f, ino).size, 10);
    assert_int_equal(must_getattr(f, source).size, 100);
    assert_status(take(f, ino, ino, 1, 5), ERR_OK); /* of itself: the version alone */
    assert_int_equal(must_getattr(f, ino).version, 5);
    assert_int_equal(must_getattr(f, ino).size, 10);
    assert_status(do_remove(f, ROOT, "f"), ERR_OK);
    assert_status(take(f, source, ino, 5, 6), ERR_STALE);
    assert_status(take(f, ROOT, source, 1, 6), ERR_ISDIR);
    assert_status(take(f, source, ROOT, 1, 6), ERR_ISDIR);
}

static void an_unlink_may_be_of_one_version_only(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    assert_status(do_write(f, ino, 0, 10, 2, 0), ERR_OK);
    struct meta_command c = unlink_command(META_UNLINK, ROOT, "f");
    c.unlink.expected_ino = ino;
    struct meta_reply r = fixture_call(f, c);
    assert_status(r, ERR_VERSION);
    assert_int_equal(r.attr.version, 1);
    c.unlink.expected_ino = ino + 1;
    c.unlink.expected_version = 1;
    assert_status(fixture_call(f, c), ERR_VERSION);
    assert_int_equal(ino_of(f, ROOT, "f"), ino);
    c.unlink.expected_ino = ino;
    assert_status(fixture_call(f, c), ERR_OK);
    assert_int_equal(ino_of(f, ROOT, "f"), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clone_names_the_same_blocks),
        TEST(a_clone_ends_where_its_source_ends),
        TEST(within_one_file),
        TEST(clones_refuse),
        TEST(both_sides_live_on_alone),
        TEST(many_extents_go_in_pieces),
        TEST(a_take_moves_all_contents),
        TEST(a_take_is_of_the_version_expected),
        TEST(an_unlink_may_be_of_one_version_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
