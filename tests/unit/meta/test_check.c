/* The check of the whole state: of a view, in passes, with what is found told; and what asks for blocks by their names.
 */
#include "tests/unit/meta/steps.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "meta/store.h"

static struct meta *made(char path[64])
{
    directory_make(path);
    struct meta *m = must_open(path);
    run_to(m, STEPS);
    return m;
}

static void check_as(struct meta *m, uint64_t inodes, uint64_t hashes, struct meta_report *ret)
{
    struct meta_check check = {.inodes = inodes, .hashes = hashes};
    assert_int_equal(meta_check(m, &check, ret), ERR_OK);
}

static void assert_same_report(const struct meta_report *a, const struct meta_report *b)
{
    assert_int_equal(a->problem_count, b->problem_count);
    assert_int_equal(a->inodes, b->inodes);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->names, b->names);
    assert_int_equal(a->extents, b->extents);
    assert_int_equal(a->blocks, b->blocks);
    assert_true(sha256_equal(&a->state, &b->state));
}

static void many_passes_say_what_one_says(void **state)
{
    (void)state;
    char path[64];
    struct meta *m = made(path);
    struct meta_report one, many;
    check_as(m, 0, 0, &one);
    assert_int_equal(one.problem_count, 0);
    assert_int_equal(one.index, STEPS);
    assert_true(one.inodes > 20 && one.extents > 20 && one.blocks > 5 && one.names > 20);
    for (uint64_t held = 1; held <= 20; held += 6) {
        check_as(m, held, held + 1, &many);
        assert_same_report(&one, &many);
    }
    meta_close(m);
    directory_remove(path);
}

static void put_row(struct meta *m, const struct schema_key *key, struct slice value)
{
    char *message = NULL;
    assert_int_equal(meta_write_out(m), ERR_OK);
    rocksdb_put(m->db, m->write, (const char *)key->bytes, key->size, (const char *)value.data, value.size, &message);
    assert_null(message);
}

static bool tells(const struct meta_report *r, const char *words)
{
    for (unsigned i = 0; i < MIN(r->problem_count, META_PROBLEMS_KEPT); i++)
        if (strstr(r->problems[i].text, words))
            return true;
    return false;
}

/* One inode says that it has more links than names, one count is wrong, one row is too short to have a number, and one
 * block is named without a count: all are told, however the check is divided. */
static void everything_wrong_is_told(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644), other = must_make(f, META_CREATE, ROOT, "g", 0644);
    struct meta_extent a = extent_of(0, 10, 1, 0), b = extent_of(0, 10, 2, 0);
    assert_status(fixture_call(f, commit_command(ino, &a, 1)), ERR_OK);
    assert_status(fixture_call(f, commit_command(other, &b, 1)), ERR_OK);
    struct bytes value = {0};
    struct row_inode row;
    struct arena arena = {0};
    assert_int_equal(inode_read(f->meta, ino, &arena, &row), ERR_OK);
    row.attr.nlink = 5;
    row_inode_encode(&row, &value);
    struct schema_key key = schema_inode(ino);
    put_row(f->meta, &key, bytes_slice(&value));
    bytes_clear(&value);
    row_count_encode(7, &value);
    key = schema_block_ref(&a.block);
    put_row(f->meta, &key, bytes_slice(&value));
    bytes_clear(&value);
    row_count_encode(0, &value);
    key = schema_block_ref(&b.block);
    put_row(f->meta, &key, bytes_slice(&value));
    key = (struct schema_key){.bytes = "d?", .size = 2};
    put_row(f->meta, &key, bytes_slice(&value));
    for (uint64_t held = 0; held < 3; held++) {
        struct meta_report r;
        check_as(f->meta, held, held, &r);
        assert_true(tells(&r, "5 links, but 1 names"));
        assert_true(tells(&r, "counted 7 times and named by 1 extents"));
        assert_true(tells(&r, "counted 0 times and named by 1 extents"));
        assert_true(tells(&r, "table 'd' can't be decoded"));
    }
    bytes_free(&value);
    arena_free(&arena);
    meta_close(f->meta);
    fixture_remove(f);
    fixture_open(f);
}

static void put_inode(struct fixture *f, const struct row_inode *row)
{
    struct bytes value = {0};
    struct schema_key key = schema_inode(row->attr.ino);
    row_inode_encode(row, &value);
    put_row(f->meta, &key, bytes_slice(&value));
    bytes_free(&value);
}

static unsigned told(const struct meta_report *r, const char *words)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MIN(r->problem_count, META_PROBLEMS_KEPT); i++)
        count += strstr(r->problems[i].text, words) != NULL;
    return count;
}

/* /a/b/c/d, where a is said to lie in c: a, b and c are a ring, and d is below it. Then c lies in what is not there. */
static void directories_that_the_root_does_not_reach(void **state)
{
    struct fixture *f = *state;
    uint64_t a = must_make(f, META_MKDIR, ROOT, "a", 0755), b = must_make(f, META_MKDIR, a, "b", 0755),
             c = must_make(f, META_MKDIR, b, "c", 0755);
    (void)must_make(f, META_MKDIR, c, "d", 0755);
    (void)must_make(f, META_MKDIR, ROOT, "other", 0755);
    struct row_inode row;
    struct arena arena = {0};
    struct meta_report r;
    for (uint64_t held = 0; held < 4; held++) {
        check_as(f->meta, held, held, &r);
        assert_int_equal(r.problem_count, 0);
    }
    assert_int_equal(inode_read(f->meta, a, &arena, &row), ERR_OK);
    row.parent = c;
    put_inode(f, &row);
    for (uint64_t held = 0; held < 4; held++) {
        check_as(f->meta, held, held, &r);
        assert_int_equal(told(&r, "is not reached from the root"), 4);
    }
    row.parent = ROOT;
    put_inode(f, &row);
    assert_int_equal(inode_read(f->meta, c, &arena, &row), ERR_OK);
    row.parent = 123456;
    put_inode(f, &row);
    check_as(f->meta, 0, 0, &r);
    assert_int_equal(told(&r, "is not reached from the root"), 2);
    arena_free(&arena);
    meta_close(f->meta);
    fixture_remove(f);
    fixture_open(f);
}

static void no_more_is_kept_than_there_is_room_for(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < META_PROBLEMS_KEPT + 8; i++) {
        struct schema_key key = schema_orphan(100000 + i);
        put_row(f->meta, &key, SLICE("\1", 1));
    }
    struct meta_report r;
    check_as(f->meta, 0, 0, &r);
    assert_int_equal(r.problem_count, META_PROBLEMS_KEPT + 8);
    meta_close(f->meta);
    fixture_remove(f);
    fixture_open(f);
}

struct checker {
    struct meta *view;
    struct meta_report report;
    atomic_bool begun;
};

static void *checker_main(void *p)
{
    struct checker *c = p;
    for (unsigned i = 0; i < 20; i++) {
        struct meta_report first = c->report;
        check_as(c->view, 0, 0, &c->report);
        assert_int_equal(c->report.problem_count, 0);
        if (i > 0)
            assert_same_report(&first, &c->report);
        atomic_store(&c->begun, true);
    }
    return NULL;
}

static void a_view_stays_as_it_was(void **state)
{
    (void)state;
    char path[64];
    directory_make(path);
    struct meta *m = must_open(path);
    struct checker c = {0};
    pthread_t thread;
    run_to(m, STEPS / 2);
    c.view = meta_view_open(m);
    assert_int_equal(pthread_create(&thread, NULL, checker_main, &c), 0);
    while (!atomic_load(&c.begun))
        sched_yield();
    run_to(m, STEPS);
    pthread_join(thread, NULL);
    assert_int_equal(c.report.index, STEPS / 2);
    meta_view_close(c.view);
    meta_close(m);
    directory_remove(path);
}

static bool last_row(void *context)
{
    unsigned *left = context;
    return (*left)-- == 0;
}

static void a_check_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    for (unsigned rows = 0; rows < 6; rows++) {
        unsigned left = rows;
        struct meta_check check = {.on_row = last_row, .context = &left};
        struct meta_report r;
        assert_int_equal(meta_check(f->meta, &check, &r), ERR_CANCELLED);
    }
}

static void references_come_in_pages(void **state)
{
    struct fixture *f = *state;
    struct meta_extent extents[10];
    uint64_t ino = must_make(f, META_CREATE, ROOT, "f", 0644);
    for (uint32_t i = 0; i < 10; i++) {
        extents[i] = extent_of((uint64_t)i * 10, 10, i + 1, 0);
        assert_status(fixture_call(f, commit_command(ino, &extents[i], 1)), ERR_OK);
    }
    assert_status(do_truncate(f, ino, 90), ERR_OK); /* the tenth is named no more */
    struct sha256 after = {{0}}, upto, ids[4], seen[10];
    unsigned count, total = 0;
    memset(upto.bytes, 0xff, sizeof upto.bytes);
    while (!sha256_equal(&after, &upto)) {
        assert_int_equal(meta_server_blocks(f->meta, &after, &upto, 4, ids, &count, &after), ERR_OK);
        for (unsigned i = 0; i < count; i++) {
            assert_true(total < 9 && (total == 0 || memcmp(seen[total - 1].bytes, ids[i].bytes, SHA256_SIZE) < 0));
            seen[total++] = ids[i];
        }
    }
    assert_int_equal(total, 9);
    struct sha256 asked[2] = {extents[9].block, extents[3].block};
    bool are[2];
    assert_int_equal(meta_are_server_blocks(f->meta, asked, 2, are), ERR_OK);
    assert_true(!are[0] && are[1]);
}

static void who_names_a_block_is_found_by_its_path(void **state)
{
    struct fixture *f = *state;
    uint64_t d = must_make(f, META_MKDIR, ROOT, "d", 0755), e = must_make(f, META_MKDIR, d, "e", 0755);
    uint64_t a = must_make(f, META_CREATE, e, "a", 0644), b = must_make(f, META_CREATE, ROOT, "b", 0644);
    assert_status(do_write(f, a, 100, 10, 1, 0), ERR_OK);
    assert_status(do_write(f, b, 0, 10, 2, 0), ERR_OK);
    assert_status(do_write(f, b, 50, 5, 1, 0), ERR_OK);
    struct sha256 wanted = extent_of(0, 1, 1, 0).block;
    struct meta_check check = {.on_row = NULL};
    struct meta_block_use uses[8];
    unsigned count;
    assert_int_equal(meta_block_uses(f->meta, &check, &wanted, 1, 8, &f->arena, uses, &count), ERR_OK);
    assert_int_equal(count, 2);
    unsigned first = uses[0].ino == a ? 0 : 1;
    assert_true(slice_equal(uses[first].path, slice_str("/d/e/a")) && uses[first].offset == 100);
    assert_true(slice_equal(uses[!first].path, slice_str("/b")) && uses[!first].offset == 50);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_passes_say_what_one_says),
        TEST(everything_wrong_is_told),
        TEST(directories_that_the_root_does_not_reach),
        TEST(no_more_is_kept_than_there_is_room_for),
        cmocka_unit_test(a_view_stays_as_it_was),
        TEST(a_check_can_be_stopped),
        TEST(references_come_in_pages),
        TEST(who_names_a_block_is_found_by_its_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
