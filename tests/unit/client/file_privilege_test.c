/* Set-user-ID bits of a file that somebody writes who must not leave them: not shown from then on, gone with the
 * commit. */
#include <fcntl.h>
#include <sys/stat.h>

#include "file_fixture.h"

static void chmod_it(struct mount *m, uint64_t ino, uint32_t mode)
{
    struct meta_command c = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_MODE, .mode = mode}};
    struct meta_reply reply;
    assert_int_equal(meta_client_call(m->meta, &c, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
}

/* As the metastore has it, and as this mount shows it. */
static void expect_mode(struct mount *m, uint64_t ino, uint32_t committed, uint32_t shown)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = ino};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(m->meta, &query, NULL, &arena, &reply), ERR_OK);
    assert_int_equal(reply.attr.mode & 07777, committed);
    file_overlay_attr(m->files, &reply.attr);
    assert_int_equal(reply.attr.mode & 07777, shown);
    arena_free(&arena);
}

static void write_unprivileged(struct open_file *h, uint64_t offset, const char *text, unsigned flags)
{
    assert_int_equal(file_write_as(h, offset, text, strlen(text), flags | FILE_WRITE_KILL_SET_ID, NULL), ERR_OK);
}

static void the_bits_go_with_the_bytes(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "tool");
    uint64_t ino = open_file_ino(h);
    chmod_it(&f->a, ino, 06755);
    write_it(h, 0, "by root", 7);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_mode(&f->b, ino, 06755, 06755);
    write_unprivileged(h, 3, "by somebody", 0);
    expect_mode(&f->a, ino, 06755, 0755);
    expect_mode(&f->b, ino, 06755, 06755); /* nor does it see the bytes */
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_mode(&f->a, ino, 0755, 0755);
    expect_mode(&f->b, ino, 0755, 0755);
    /* What was once written takes nothing that is set later. */
    chmod_it(&f->b, ino, 04755);
    write_it(h, 0, "by root", 7);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_mode(&f->a, ino, 04755, 04755);
    file_close(h);
    fixture_end(f);
}

static void appended_bytes_take_them_too(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *made = create_it(&f->a, "tool");
    uint64_t ino = open_file_ino(made);
    chmod_it(&f->a, ino, 02711);
    struct open_file *h = open_it(&f->a, ino, O_WRONLY | O_APPEND);
    write_it(h, 0, "by root", 7);
    expect_mode(&f->b, ino, 02711, 02711);
    write_unprivileged(h, 0, "by somebody", FILE_WRITE_APPEND);
    expect_mode(&f->b, ino, 0711, 0711);
    file_close(h);
    file_close(made);
    fixture_end(f);
}

static void a_truncation_that_drops_the_bytes_takes_them(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "tool");
    uint64_t ino = open_file_ino(h);
    chmod_it(&f->a, ino, 04755);
    write_unprivileged(h, 0, "never committed", 0);
    struct meta_command c = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_SIZE}};
    struct meta_reply reply;
    assert_int_equal(file_truncate(f->a.files, &c, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    expect_mode(&f->a, ino, 0755, 0755);
    file_close(h);
    fixture_end(f);
}

static void allocate_unprivileged(struct open_file *h, int mode, uint64_t offset, uint64_t length)
{
    assert_int_equal(file_allocate(h, mode, offset, length, true, NULL), ERR_OK);
}

/* Also one that changes nothing, by whatever the other mount has set since this one opened the file. */
static void changes_of_space_take_them(void **state)
{
    (void)state;
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE};
    static const uint64_t offsets[] = {0, 5, 100};
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "tool");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "0123456789", 10);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(modes) * ARRAY_SIZE(offsets); i++) {
        int mode = modes[i / ARRAY_SIZE(offsets)];
        uint64_t offset = offsets[i % ARRAY_SIZE(offsets)];
        chmod_it(&f->b, ino, 06755);
        assert_int_equal(file_allocate(h, mode, offset, 5, false, NULL), ERR_OK);
        expect_mode(&f->b, ino, 06755, 06755);
        allocate_unprivileged(h, mode, offset, 5);
        expect_mode(&f->b, ino, 0755, 0755);
        expect_mode(&f->a, ino, 0755, 0755);
    }
    file_close(h);
    fixture_end(f);
}

static void copied_bytes_take_them(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *source = create_it(&f->a, "source"), *h = create_it(&f->a, "tool");
    struct file_place from = {source, 0}, to = {h, 0};
    uint64_t ino = open_file_ino(h), done;
    write_it(source, 0, "0123456789", 10);
    chmod_it(&f->a, open_file_ino(source), 04755);
    chmod_it(&f->a, ino, 06755);
    assert_int_equal(file_clone(from, to, 10, false, NULL, &done), ERR_OK);
    expect_mode(&f->a, ino, 06755, 06755);
    assert_int_equal(file_clone(from, to, 10, true, NULL, &done), ERR_OK);
    expect_mode(&f->a, ino, 0755, 0755);
    expect_mode(&f->a, open_file_ino(source), 04755, 04755);
    file_close(source);
    file_close(h);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_go_with_the_bytes),
        cmocka_unit_test(appended_bytes_take_them_too),
        cmocka_unit_test(a_truncation_that_drops_the_bytes_takes_them),
        cmocka_unit_test(changes_of_space_take_them),
        cmocka_unit_test(copied_bytes_take_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
