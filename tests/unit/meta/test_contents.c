/* Contents: commits, truncation, reaping, and the counts that go with them. Every test ends with meta_verify. */
#include "tests/unit/meta/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "meta/store.h"

#define ROOT META_ROOT_INO

static uint64_t new_file(struct fixture *f, const char *name)
{
    return must_make(f, META_CREATE, ROOT, name, 0644);
}

static struct meta_reply commit(struct fixture *f, uint64_t ino, const struct meta_extent *extents, unsigned count)
{
    return fixture_call(f, commit_command(ino, extents, count));
}

/* The file's extents are exactly these. */
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

static void statfs_is(struct fixture *f, uint64_t inodes, uint64_t bytes)
{
    struct meta_query_reply r = fixture_query(f, (struct meta_query){.op = META_QUERY_STATFS});
    assert_int_equal(r.statfs.inodes, inodes);
    assert_int_equal(r.statfs.bytes, bytes);
}

static void a_commit_places_extents(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent e[] = {extent_of(0, 100, 1, 0), extent_of(200, 50, 2, 7)};
    struct meta_reply r = commit(f, ino, e, 2);
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.size, 250);
    assert_int_equal(r.attr.allocated, 150);
    assert_int_equal(r.attr.version, 1);
    assert_true(r.attr.mtime_ns == f->time_ns && r.attr.ctime_ns == f->time_ns);
    expect_extents(f, ino, e, 2);
    statfs_is(f, 2, 150);
    assert_int_equal(references_of(f, 1), 1);
}

static void a_commit_cuts_what_was_there(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t from, to;
    } cuts[] = {{0, 100}, {0, 50}, {50, 100}, {25, 75}, {0, 150}, {99, 100}, {0, 1}, {100, 101}};
    for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
        char name[8];
        snprintf(name, sizeof name, "f%zu", i);
        uint64_t ino = new_file(f, name), from = cuts[i].from, to = cuts[i].to;
        struct meta_extent old = extent_of(0, 100, 1, 10), e = extent_of(from, to - from, 2, 0), want[3];
        unsigned count = 0;
        assert_status(commit(f, ino, &old, 1), ERR_OK);
        assert_status(commit(f, ino, &e, 1), ERR_OK);
        if (from > 0)
            want[count++] = extent_of(0, MIN(from, 100u), 1, 10);
        want[count++] = e;
        if (to < 100)
            want[count++] = extent_of(to, 100 - to, 1, 10 + (uint32_t)to);
        expect_extents(f, ino, want, count);
        assert_int_equal(must_getattr(f, ino).allocated, MAX(to, 100u));
        assert_status(do_remove(f, ROOT, name), ERR_OK);
        reap_all(f);
        assert_int_equal(references_of(f, 1), 0);
        assert_int_equal(references_of(f, 2), 0);
    }
}

static void several_ranges_of_one_commit_cut_one_extent(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent old[] = {extent_of(0, 100, 1, 0), extent_of(100, 100, 2, 0), extent_of(200, 100, 3, 0)};
    assert_status(commit(f, ino, old, 3), ERR_OK);
    /* In the first, to its end and over into the second, in the second twice, a hole, and the whole of the third. */
    struct meta_extent e[] = {extent_of(10, 10, 4, 0),  extent_of(30, 5, 4, 10),  extent_of(90, 20, 4, 20),
                              extent_of(110, 5, 0, 0),  extent_of(130, 5, 4, 40), extent_of(150, 5, 4, 50),
                              extent_of(200, 100, 5, 0)};
    struct meta_reply r = commit(f, ino, e, ARRAY_SIZE(e));
    assert_status(r, ERR_OK);
    const struct meta_extent want[] = {extent_of(0, 10, 1, 0),    extent_of(10, 10, 4, 0),   extent_of(20, 10, 1, 20),
                                       extent_of(30, 5, 4, 10),   extent_of(35, 55, 1, 35),  extent_of(90, 20, 4, 20),
                                       extent_of(115, 15, 2, 15), extent_of(130, 5, 4, 40),  extent_of(135, 15, 2, 35),
                                       extent_of(150, 5, 4, 50),  extent_of(155, 45, 2, 55), extent_of(200, 100, 5, 0)};
    expect_extents(f, ino, want, ARRAY_SIZE(want));
    assert_int_equal(r.attr.allocated, 295);
    assert_int_equal(references_of(f, 1), 3);
    assert_int_equal(references_of(f, 2), 3);
    assert_int_equal(references_of(f, 3), 0);
    assert_int_equal(references_of(f, 4), 5);
    statfs_is(f, 2, 295);
}

static void holes_free_bytes(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent old[] = {extent_of(0, 100, 1, 0), extent_of(500, 100, 2, 0)};
    struct meta_extent hole = extent_of(50, 500, 0, 0), far = extent_of(META_SIZE_MAX - 10, 10, 0, 0);
    assert_status(commit(f, ino, old, 2), ERR_OK);
    struct meta_reply r = commit(f, ino, &hole, 1);
    assert_int_equal(r.attr.allocated, 100);
    assert_int_equal(r.attr.size, 600);
    const struct meta_extent want[] = {extent_of(0, 50, 1, 0), extent_of(550, 50, 2, 50)};
    expect_extents(f, ino, want, 2);
    r = commit(f, ino, &far, 1); /* extends the file without a row */
    assert_status(r, ERR_OK);
    assert_true(r.attr.size == META_SIZE_MAX);
    expect_extents(f, ino, want, 2);
    hole = extent_of(0, META_SIZE_MAX, 0, 0);
    r = commit(f, ino, &hole, 1);
    assert_int_equal(r.attr.allocated, 0);
    assert_int_equal(rows_of(f, 'x'), 0);
    assert_int_equal(references_of(f, 1) + references_of(f, 2), 0);
}

static void commits_refuse(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f"), directory = must_make(f, META_MKDIR, ROOT, "d", 0755);
    uint64_t fifo = must_make(f, META_MKNOD, ROOT, "p", S_IFIFO | 0600);
    struct meta_extent one = extent_of(0, 10, 1, 0);
    struct meta_extent overlap[] = {extent_of(0, 10, 1, 0), extent_of(9, 10, 1, 0)};
    struct meta_extent out = extent_of(META_SIZE_MAX - 1, 2, 0, 0), block = extent_of(0, 10, 1, LIMIT_BLOCK_BYTES);
    assert_status(commit(f, directory, &one, 1), ERR_ISDIR);
    assert_status(commit(f, fifo, &one, 1), ERR_INVAL);
    assert_status(commit(f, 99999, &one, 1), ERR_STALE);
    assert_status(commit(f, ino, overlap, 2), ERR_INVAL);
    assert_status(commit(f, ino, &out, 1), ERR_INVAL);
    assert_status(commit(f, ino, &block, 1), ERR_INVAL);
    struct meta_command c = commit_command(ino, &one, 1);
    c.commit.size_at_least = (uint64_t)META_SIZE_MAX + 1;
    assert_status(fixture_call(f, c), ERR_FBIG);
    assert_status(fixture_call(f, size_command(ino, (uint64_t)META_SIZE_MAX + 1)), ERR_FBIG);
    assert_status(fixture_call(f, size_command(directory, 1)), ERR_ISDIR);
    assert_status(fixture_call(f, size_command(fifo, 1)), ERR_INVAL);
    struct meta_attr attr = must_getattr(f, ino);
    assert_true(attr.version == 0 && attr.size == 0);
    assert_int_equal(rows_of(f, 'x'), 0);
}

static void a_commit_that_fails_half_way_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent old = extent_of(0, 100, 1, 0);
    assert_status(commit(f, ino, &old, 1), ERR_OK);
    assert_status(fixture_call(f, size_command(ino, META_SIZE_MAX - 50)), ERR_OK);
    struct sha256 before, after;
    uint64_t references = references_of(f, 1);
    /* The first run still fits behind the end of file, the second does not. */
    struct meta_extent e[] = {extent_of(0, 50, 1, 0), extent_of(50, 10, 1, 0)};
    struct meta_command c = commit_command(ino, e, 2);
    c.commit.append = true;
    struct meta_attr attr = must_getattr(f, ino);
    meta_chain_hash(f->meta, &before);
    assert_status(fixture_call(f, c), ERR_FBIG);
    meta_chain_hash(f->meta, &after);
    assert_false(sha256_equal(&before, &after)); /* the reply is a row */
    assert_int_equal(references_of(f, 1), references);
    assert_int_equal(must_getattr(f, ino).version, attr.version);
    assert_int_equal(must_getattr(f, ino).allocated, 100);
    statfs_is(f, 2, 100);
    expect_extents(f, ino, &old, 1);
}

static void append_goes_to_the_end_of_file(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent e[] = {extent_of(0, 10, 1, 0), extent_of(10, 5, 2, 0)};
    struct meta_command c = commit_command(ino, e, 2);
    c.commit.append = true;
    struct meta_reply r = fixture_call(f, c);
    assert_int_equal(r.offset, 0);
    assert_int_equal(r.attr.size, 15);
    assert_status(fixture_call(f, size_command(ino, 100)), ERR_OK);
    r = fixture_call(f, c);
    assert_int_equal(r.offset, 100);
    assert_int_equal(r.attr.size, 115);
    const struct meta_extent want[] = {e[0], e[1], extent_of(100, 10, 1, 0), extent_of(110, 5, 2, 0)};
    expect_extents(f, ino, want, 4);
    assert_int_equal(references_of(f, 1), 2);
}

static void an_expected_version_guards(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent a = extent_of(0, 10, 1, 0), b = extent_of(0, 10, 2, 0);
    struct meta_command c = commit_command(ino, &a, 1);
    c.commit.has_expected_version = true;
    assert_status(fixture_call(f, c), ERR_OK);
    c.commit.extents = &b;
    struct meta_reply r = fixture_call(f, c);
    assert_status(r, ERR_VERSION);
    assert_true(r.has_attr && r.attr.version == 1 && r.attr.ino == ino);
    expect_extents(f, ino, &a, 1);
    c.commit.expected_version = 1;
    assert_status(fixture_call(f, c), ERR_OK);
    expect_extents(f, ino, &b, 1);
    assert_status(fixture_call(f, size_command(ino, 5)), ERR_OK); /* is a change as well */
    c.commit.expected_version = 2;
    assert_status(fixture_call(f, c), ERR_VERSION);
}

static void times_and_sizes_of_a_commit(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent e = extent_of(0, 10, 1, 0);
    struct meta_command c = commit_command(ino, &e, 1);
    c.commit.has_mtime = true;
    c.commit.mtime_ns = -5;
    c.commit.size_at_least = 1000;
    struct meta_reply r = fixture_call(f, c);
    assert_true(r.attr.mtime_ns == -5 && r.attr.ctime_ns == f->time_ns);
    int64_t written_ns = f->time_ns + FIXTURE_STEP_NS / 2; /* what the writer has seen as its ctime stays */
    c.commit.mtime_ns = written_ns;
    r = fixture_call(f, c);
    assert_true(r.attr.mtime_ns == written_ns && r.attr.ctime_ns == written_ns);
    c.commit.mtime_ns = f->time_ns + INT64_C(10) * FIXTURE_STEP_NS; /* of a clock that is ahead: not believed */
    r = fixture_call(f, c);
    assert_true(r.attr.mtime_ns == c.commit.mtime_ns && r.attr.ctime_ns == f->time_ns);
    assert_int_equal(r.attr.size, 1000);
    c.commit.size_at_least = 20;
    assert_int_equal(fixture_call(f, c).attr.size, 1000);
    c.commit.extent_count = 0;
    c.commit.size_at_least = 2000;
    assert_int_equal(fixture_call(f, c).attr.size, 2000);
}

/* ---- many extents ---- */

/* `count` extents of `length` bytes, `step` apart, in commits that are each as large as may be. */
static void fill(struct fixture *f, uint64_t ino, unsigned count, uint64_t step, uint64_t length, uint32_t block)
{
    static struct meta_extent e[LIMIT_COMMIT_EXTENTS];
    for (unsigned at = 0; at < count;) {
        unsigned n = 0;
        for (; n < LIMIT_COMMIT_EXTENTS && at < count; n++, at++)
            e[n] = extent_of(at * step, length, block, at % 1000);
        assert_status(commit(f, ino, e, n), ERR_OK);
    }
}

static void a_commit_over_too_many_extents_is_to_be_split(void **state)
{
    struct fixture *f = *state;
    const unsigned count = 2000;
    uint64_t ino = new_file(f, "f");
    fill(f, ino, count, 10, 5, 1);
    struct meta_attr before = must_getattr(f, ino);
    assert_int_equal(before.allocated, 5 * count);
    struct meta_extent all = extent_of(0, 10 * count, 2, 0),
                       half[2] = {extent_of(0, 5 * count, 2, 0), extent_of(5 * count, 5 * count, 2, 5 * count)};
    assert_status(commit(f, ino, &all, 1), ERR_SPLIT);
    assert_status(commit(f, ino, half, 2), ERR_SPLIT); /* the first of them has been done by then */
    struct meta_attr after = must_getattr(f, ino);
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.allocated, before.allocated);
    assert_int_equal(references_of(f, 1), count);
    assert_int_equal(references_of(f, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t quarter = 5 * count / 2;
        for (unsigned n = 0; n < 2; n++) {
            uint64_t at = half[i].file_offset + n * quarter;
            struct meta_extent part =
                extent_of(at, quarter, 10 + 2 * i + n, 0); /* neighbours of one block would merge */
            assert_status(commit(f, ino, &part, 1), ERR_OK);
        }
    }
    assert_int_equal(references_of(f, 1), 0);
    assert_int_equal(must_getattr(f, ino).allocated, 10 * count);
    struct meta_query_reply r = do_layout(f, ino);
    assert_int_equal(r.extent_count, 4);
}

/* As a client does. */
static void commit_split(struct fixture *f, uint64_t ino, const struct meta_extent *e, unsigned count)
{
    struct meta_reply r = commit(f, ino, e, count);
    if (r.status == ERR_OK)
        return;
    assert_status(r, ERR_SPLIT);
    assert_true(count > 1);
    commit_split(f, ino, e, count / 2);
    commit_split(f, ino, e + count / 2, count - count / 2);
}

static void a_full_commit_can_be_written_over_in_halves(void **state)
{
    struct fixture *f = *state;
    static struct meta_extent e[LIMIT_COMMIT_EXTENTS];
    uint64_t ino = new_file(f, "f");
    fill(f, ino, LIMIT_COMMIT_EXTENTS, 10, 5, 1);
    for (unsigned n = 0; n < LIMIT_COMMIT_EXTENTS; n++)
        e[n] = extent_of(n * 10 + 2, 5, 2, n);
    commit_split(f, ino, e, LIMIT_COMMIT_EXTENTS);
    assert_int_equal(must_getattr(f, ino).allocated, 7 * LIMIT_COMMIT_EXTENTS);
    assert_int_equal(references_of(f, 1), LIMIT_COMMIT_EXTENTS);
    assert_int_equal(references_of(f, 2), LIMIT_COMMIT_EXTENTS);
}

static void a_commit_never_touches_more_rows_than_a_command_may(void **state)
{
    struct fixture *f = *state;
    static struct meta_extent e[LIMIT_COMMIT_EXTENTS];
    uint64_t ino = new_file(f, "f");
    struct meta_extent whole = extent_of(0, LIMIT_BLOCK_BYTES, 1, 0);
    assert_status(commit(f, ino, &whole, 1), ERR_OK);
    /* All of the ranges cut the same old extent. */
    for (unsigned n = 0; n < LIMIT_COMMIT_EXTENTS; n++)
        e[n] = extent_of(n * 100 + 10, 5, 2, n);
    for (unsigned count = LIMIT_COMMIT_EXTENTS; count > 0; count /= 2) {
        (void)commit(f, ino, e, count);
        assert_true(f->meta->rows <= LIMIT_COMMAND_ROWS);
    }
    commit_split(f, ino, e, LIMIT_COMMIT_EXTENTS);
    assert_int_equal(must_getattr(f, ino).allocated, LIMIT_BLOCK_BYTES);
    assert_int_equal(references_of(f, 2), LIMIT_COMMIT_EXTENTS);
    assert_int_equal(references_of(f, 1), LIMIT_COMMIT_EXTENTS + 1);
}

static void layouts_come_in_pages(void **state)
{
    struct fixture *f = *state;
    const unsigned count = 2500;
    uint64_t ino = new_file(f, "f"), at = 0;
    unsigned seen = 0, pages = 0;
    fill(f, ino, count, 10, 5, 1);
    for (bool end = false; !end; pages++) {
        struct meta_query_reply r = fixture_query(
            f, (struct meta_query){.op = META_QUERY_LAYOUT, .ino = ino, .offset = at, .length = UINT64_MAX});
        assert_status(r, ERR_OK);
        end = r.end;
        for (unsigned i = 0; i < r.extent_count; i++, seen++)
            assert_int_equal(r.extents[i].file_offset, seen * 10);
        if (r.extent_count > 0)
            at = r.extents[r.extent_count - 1].file_offset + 5;
    }
    assert_int_equal(seen, count);
    assert_int_equal(pages, 3);
    static const struct {
        uint64_t offset, length;
        unsigned count;
    } ranges[] = {{0, 5, 1}, {4, 1, 1}, {5, 5, 0}, {4, 7, 2}, {5, 6, 1}, {24990, 100, 1}, {24995, 100, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        struct meta_query_reply r = fixture_query(
            f, (struct meta_query){
                   .op = META_QUERY_LAYOUT, .ino = ino, .offset = ranges[i].offset, .length = ranges[i].length});
        assert_true(r.end);
        assert_int_equal(r.extent_count, ranges[i].count);
    }
    struct meta_query_reply r =
        fixture_query(f, (struct meta_query){.op = META_QUERY_OPEN, .ino = ino, .max_count = 3});
    assert_int_equal(r.extent_count, 3);
    assert_false(r.end);
    assert_int_equal(r.attr.ino, ino);
}

/* ---- truncation ---- */

static void truncation_cuts_and_growth_gives_zeroes(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_extent e[] = {extent_of(0, 100, 1, 0), extent_of(200, 100, 2, 0)};
    assert_status(commit(f, ino, e, 2), ERR_OK);
    struct meta_reply r = do_truncate(f, ino, 250);
    assert_status(r, ERR_OK);
    assert_int_equal(r.attr.size, 250);
    assert_int_equal(r.attr.allocated, 150);
    assert_int_equal(r.attr.version, 2);
    assert_true(r.attr.mtime_ns == f->time_ns);
    assert_status(do_truncate(f, ino, 50), ERR_OK);
    assert_status(do_truncate(f, ino, 1000), ERR_OK);
    struct meta_extent head = extent_of(0, 50, 1, 0); /* what was behind does not come back */
    expect_extents(f, ino, &head, 1);
    assert_int_equal(must_getattr(f, ino).size, 1000);
    assert_int_equal(references_of(f, 2), 0);
    assert_status(do_truncate(f, ino, 1000), ERR_OK);
    expect_extents(f, ino, &head, 1);
    statfs_is(f, 2, 50);
}

static void truncation_to_nothing_gives_new_contents(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f"), id;
    struct meta_extent e = extent_of(0, 100, 1, 0), other = extent_of(50, 10, 2, 0);
    assert_status(commit(f, ino, &e, 1), ERR_OK);
    uint64_t old_id = must_getattr(f, ino).content_id;
    struct meta_reply r = do_truncate(f, ino, 0);
    assert_true(r.attr.content_id != old_id && r.attr.allocated == 0 && r.attr.size == 0);
    statfs_is(f, 2, 0);
    assert_true(meta_reap_pending(f->meta, &id));
    assert_int_equal(id, old_id);
    assert_status(commit(f, ino, &other, 1), ERR_OK);
    assert_int_equal(references_of(f, 1), 1);
    assert_int_equal(reap_all(f), 1);
    assert_int_equal(references_of(f, 1), 0);
    expect_extents(f, ino, &other, 1);
    /* An empty file has nothing to be reaped. */
    uint64_t empty = new_file(f, "empty");
    assert_status(do_truncate(f, empty, 0), ERR_OK);
    assert_false(meta_reap_pending(f->meta, &id));
}

static void a_large_truncation_is_done_in_parts(void **state)
{
    struct fixture *f = *state;
    const unsigned count = 5000;
    uint64_t ino = new_file(f, "f"), size = 10 * count, version = 0;
    unsigned parts = 0;
    fill(f, ino, count, 10, 10, 1);
    version = must_getattr(f, ino).version;
    for (bool done = false; !done; parts++) {
        struct meta_command c = size_command(ino, 25);
        c.setattr.mask |= META_SET_MODE;
        c.setattr.mode = 0600;
        struct meta_reply r = fixture_call(f, c);
        done = r.status != ERR_PARTIAL;
        assert_true(f->meta->rows <= LIMIT_COMMAND_ROWS);
        assert_true(r.attr.size < size && r.attr.version == ++version);
        size = r.attr.size;
        assert_int_equal(r.attr.allocated, size); /* nothing lies behind the end, and nothing before it is gone */
        assert_int_equal(r.attr.mode, S_IFREG | (done ? 0600 : 0644));
        fixture_verify(f);
        if (done)
            assert_status(r, ERR_OK);
    }
    assert_int_equal(size, 25);
    assert_true(parts > 2);
    assert_int_equal(references_of(f, 1), 3);
}

/* ---- dead contents ---- */

static void reaping_takes_several_rounds(void **state)
{
    struct fixture *f = *state;
    uint64_t large = new_file(f, "large"), small = new_file(f, "small");
    struct meta_extent e = extent_of(0, 10, 1, 0);
    fill(f, large, 5000, 10, 5, 1);
    assert_status(commit(f, small, &e, 1), ERR_OK);
    assert_status(do_remove(f, ROOT, "large"), ERR_OK);
    assert_int_equal(must_getattr(f, small).allocated, 10);
    statfs_is(f, 2, 10); /* at once */
    struct meta_command c = {.op = META_REAP};
    assert_true(meta_reap_pending(f->meta, &c.reap.content_id));
    struct meta_reply r = fixture_apply(f, c);
    assert_status(r, ERR_OK);
    assert_true(r.more);
    assert_true(f->meta->rows <= LIMIT_COMMAND_ROWS);
    assert_true(rows_of(f, 'x') < 5001 && rows_of(f, 'x') > 1);
    fixture_verify(f);
    assert_true(reap_all(f) >= 2);
    assert_int_equal(rows_of(f, 'x'), 1);
    assert_int_equal(rows_of(f, 'g'), 0);
    assert_int_equal(references_of(f, 1), 1);
    assert_status(fixture_apply(f, c), ERR_NOT_FOUND); /* repeated by another leader */
    expect_extents(f, small, &e, 1);
}

static void many_small_dead_files_share_a_round(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (unsigned i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "%u", i);
        uint64_t ino = new_file(f, name);
        struct meta_extent e = extent_of(0, 10, 1 + i / 2, 0); /* each block is named twice */
        assert_status(commit(f, ino, &e, 1), ERR_OK);
    }
    for (unsigned i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_status(do_remove(f, ROOT, name), ERR_OK);
    }
    assert_int_equal(rows_of(f, 'g'), 700);
    assert_true(reap_all(f) <= 4);
    assert_int_equal(rows_of(f, 'x'), 0);
    for (unsigned i = 0; i < 350; i++)
        assert_int_equal(references_of(f, 1 + i), 0);
    statfs_is(f, 1, 0);
}

static void garbage_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t ino = new_file(f, "f");
        struct meta_extent e = extent_of(0, 10, 1 + i, 0);
        assert_status(commit(f, ino, &e, 1), ERR_OK);
        assert_status(do_remove(f, ROOT, "f"), ERR_OK);
        if (i == 0)
            assert_int_equal(reap_all(f), 1);
        assert_int_equal(meta_flush(f->meta, true), ERR_OK);
        fixture_reopen(f);
        assert_int_equal(rows_of(f, 'g'), i);
    }
    assert_int_equal(reap_all(f), 1);
    assert_int_equal(rows_of(f, 'x'), 0);
}

/* ---- attributes ---- */

static void setattr_sets_what_the_mask_says(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = new_file(f, "f");
    struct meta_attr before = must_getattr(f, ino);
    struct meta_command c = {.op = META_SETATTR,
                             .setattr = {.ino = ino,
                                         .mode = S_IFDIR | 04711,
                                         .uid = 100,
                                         .gid = 101,
                                         .size = 102,
                                         .atime_ns = 103,
                                         .mtime_ns = -104}};
    struct meta_attr a = fixture_call(f, c).attr;
    assert_true(a.mode == before.mode && a.uid == before.uid && a.gid == before.gid && a.size == 0);
    assert_true(a.atime_ns == before.atime_ns && a.mtime_ns == before.mtime_ns && a.ctime_ns == f->time_ns);
    c.setattr.mask = META_SET_MODE | META_SET_UID | META_SET_GID | META_SET_ATIME | META_SET_MTIME;
    a = fixture_call(f, c).attr;
    assert_int_equal(a.mode, S_IFREG | 04711); /* the type stays, and an explicit mode too */
    assert_true(a.uid == 100 && a.gid == 101 && a.atime_ns == 103 && a.mtime_ns == -104);
    c.setattr.mask = META_SET_UID;
    assert_int_equal(fixture_call(f, c).attr.mode, S_IFREG | 0711); /* chown drops set-user-ID */
    c.setattr.mask = META_SET_ATIME_NOW | META_SET_MTIME_NOW;
    a = fixture_call(f, c).attr;
    assert_true(a.atime_ns == f->time_ns && a.mtime_ns == f->time_ns);
    c.setattr.mask = META_SET_SIZE | META_SET_MTIME;
    a = fixture_call(f, c).attr;
    assert_true(a.size == 102 && a.mtime_ns == -104);
    c.setattr.ino = 99999;
    assert_status(fixture_call(f, c), ERR_STALE);
}

static void chown_and_the_set_group_id_bit(void **state)
{
    struct fixture *f = *state;
    static const struct {
        bool directory;
        uint32_t mode, want;
    } cases[] = {{false, 06711, 0711}, {false, 06701, 02701}, {false, 06600, 02600}, {true, 06755, 06755}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char name[8];
        snprintf(name, sizeof name, "f%zu", i);
        struct meta_command c = {.op = META_SETATTR};
        c.setattr.ino = must_make(f, cases[i].directory ? META_MKDIR : META_CREATE, ROOT, name, cases[i].mode);
        c.setattr.mask = META_SET_GID;
        assert_int_equal(fixture_call(f, c).attr.mode & 07777, cases[i].want);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_commit_places_extents),
        TEST(a_commit_cuts_what_was_there),
        TEST(several_ranges_of_one_commit_cut_one_extent),
        TEST(holes_free_bytes),
        TEST(commits_refuse),
        TEST(a_commit_that_fails_half_way_leaves_nothing),
        TEST(append_goes_to_the_end_of_file),
        TEST(an_expected_version_guards),
        TEST(times_and_sizes_of_a_commit),
        TEST(a_commit_over_too_many_extents_is_to_be_split),
        TEST(a_full_commit_can_be_written_over_in_halves),
        TEST(a_commit_never_touches_more_rows_than_a_command_may),
        TEST(layouts_come_in_pages),
        TEST(truncation_cuts_and_growth_gives_zeroes),
        TEST(truncation_to_nothing_gives_new_contents),
        TEST(a_large_truncation_is_done_in_parts),
        TEST(reaping_takes_several_rounds),
        TEST(many_small_dead_files_share_a_round),
        TEST(garbage_survives_a_restart),
        TEST(setattr_sets_what_the_mask_says),
        TEST(chown_and_the_set_group_id_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
