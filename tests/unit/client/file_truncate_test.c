/* A truncation whose caller has left before its outcome was known: nothing is lost untold, and nothing that is written
 * later goes with it. */
#include "file_fixture.h"

#define SOFT_NS (300 * NS_PER_MS)

struct world {
    struct fixture *f;
    struct mount soft;
    struct open_file *h;
    uint64_t ino;
    unsigned commands; /* of the cluster, before the truncation */
};

/* It has no answer in time. */
static void truncate_in_vain(struct world *w)
{
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = w->ino, .mask = META_SET_SIZE}};
    struct meta_reply reply;
    w->commands = atomic_load(&w->f->cluster.commands);
    atomic_store(&w->f->cluster.meta_silent, 1);
    assert_int_equal(file_truncate(w->soft.files, &command, NULL, &reply), ERR_TIMEOUT);
}

/* Once it has happened, and what was written later has been committed. */
static void expect_at_last(struct world *w, const char *text)
{
    AWAIT(atomic_load(&w->f->cluster.commands) >= w->commands + 2);
    expect_file(&w->f->b, w->ino, (const uint8_t *)text, strlen(text));
}

/* A file with "kept" committed and "lost" written over it, and a truncation to nothing that had no answer in time. */
static void world_start(struct world *w)
{
    w->f = fixture_start();
    memset(&w->soft, 0, sizeof w->soft);
    w->soft.meta = cluster_connect(&w->f->cluster, SOFT_NS);
    w->soft.blocks = block_client_new(w->soft.meta, 0);
    struct file_options options = {.on_stale = mount_on_stale, .context = &w->soft};
    w->soft.files = open_files_new(w->soft.meta, w->soft.blocks, &options);
    w->h = create_it(&w->soft, "file");
    w->ino = open_file_ino(w->h);
    write_it(w->h, 0, "kept", 4);
    assert_int_equal(file_fsync(w->h, NULL), ERR_OK);
    write_it(w->h, 0, "lost", 4);
    truncate_in_vain(w);
}

static void world_end(struct world *w)
{
    file_close(w->h);
    mount_close(&w->soft);
    fixture_end(w->f);
}

/* fsync, until the metastore has been reached. */
static enum err sync_patiently(struct world *w)
{
    enum err e;
    while ((e = file_fsync(w->h, NULL)) == ERR_TIMEOUT)
        ;
    return e;
}

static void what_it_has_dropped_is_told_when_it_never_happens(void **state)
{
    (void)state;
    struct world w;
    world_start(&w);
    cluster_end_session(&w.f->cluster, meta_client_session(w.soft.meta));
    atomic_store(&w.f->cluster.meta_silent, 0);
    assert_int_equal(sync_patiently(&w), ERR_IO);
    assert_int_equal(file_fsync(w.h, NULL), ERR_OK);
    expect_file(&w.f->b, w.ino, (const uint8_t *)"kept", 4);
    world_end(&w);
}

static void it_may_happen_yet(void **state)
{
    (void)state;
    struct world w;
    world_start(&w);
    assert_int_equal(file_fsync(w.h, NULL), ERR_TIMEOUT); /* what became of "lost" is not known */
    atomic_store(&w.f->cluster.meta_silent, 0);
    assert_int_equal(sync_patiently(&w), ERR_OK);
    expect_file(&w.f->b, w.ino, (const uint8_t *)"", 0);
    assert_true(atomic_load(&w.soft.stale) > 0); /* the kernel has been told that it failed, and kept its pages */
    world_end(&w);
}

static void what_is_written_after_it_stays(void **state)
{
    (void)state;
    struct world w;
    uint8_t got[8];
    world_start(&w);
    write_it(w.h, 0, "ab", 2);
    atomic_store(&w.f->cluster.meta_silent, 0);
    assert_int_equal(sync_patiently(&w), ERR_OK);
    expect_at_last(&w, "ab");
    assert_int_equal(read_it(w.h, 0, got, sizeof got), 2);
    assert_memory_equal(got, "ab", 2);
    world_end(&w);
}

/* It was not open here when it was truncated, nor before: as with a shell's `>`. */
static void nor_does_what_is_written_to_a_file_that_was_not_open_go(void **state)
{
    (void)state;
    struct world w;
    world_start(&w);
    atomic_store(&w.f->cluster.meta_silent, 0);
    assert_int_equal(sync_patiently(&w), ERR_OK);
    struct open_file *theirs = create_it(&w.f->b, "theirs");
    write_it(theirs, 0, "theirs", 6);
    assert_int_equal(file_fsync(theirs, NULL), ERR_OK);
    file_close(w.h);
    w.ino = open_file_ino(theirs);
    truncate_in_vain(&w);
    atomic_store(&w.f->cluster.meta_silent, 0);
    w.h = open_it(&w.soft, w.ino, O_RDWR);
    write_it(w.h, 0, "ab", 2);
    assert_int_equal(sync_patiently(&w), ERR_OK);
    expect_at_last(&w, "ab");
    file_close(theirs);
    world_end(&w);
}

static void what_is_appended_after_it_stays(void **state)
{
    (void)state;
    struct world w;
    world_start(&w);
    assert_int_equal(file_fsync(w.h, NULL), ERR_TIMEOUT);
    atomic_store(&w.f->cluster.meta_silent, 0);
    struct open_file *end = open_it(&w.soft, w.ino, O_WRONLY | O_APPEND);
    enum err e;
    while ((e = file_write(end, 0, "ab", 2, NULL)) == ERR_TIMEOUT)
        ;
    assert_int_equal(e, ERR_OK);
    expect_at_last(&w, "ab");
    file_close(end);
    world_end(&w);
}

/* Nobody syncs, and the file is closed: the flusher hears of it. */
static void a_closed_file_ends_it(void **state)
{
    (void)state;
    struct world w;
    struct file_stats stats;
    world_start(&w);
    file_close(w.h);
    atomic_store(&w.f->cluster.meta_silent, 0);
    AWAIT((file_stats(w.soft.files, &stats), stats.dirty_bytes == 0));
    w.h = open_it(&w.soft, w.ino, O_RDWR);
    assert_int_equal(file_fsync(w.h, NULL), ERR_OK);
    expect_file(&w.f->b, w.ino, (const uint8_t *)"", 0);
    world_end(&w);
}

/* Whole chunks that workers have in hand, and an append of which a second piece may come. */
static void all_that_is_dirty_goes_with_one_that_happens(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "file");
    uint8_t *bytes = mem_zalloc(3 * MIB);
    write_it(h, 0, bytes, 3 * MIB);
    write_it(h, 4 * MIB, bytes, 1000);
    struct open_file *end = open_it(&f->a, open_file_ino(h), O_WRONLY | O_APPEND);
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = open_file_ino(h), .mask = META_SET_SIZE}};
    struct meta_reply reply;
    assert_int_equal(file_truncate(f->a.files, &command, NULL, &reply), ERR_OK);
    assert_int_equal(read_it(h, 0, bytes, MIB), 0);
    assert_int_equal(file_write(end, 0, bytes, MIB - 1, NULL), ERR_OK); /* staged */
    assert_int_equal(file_truncate(f->a.files, &command, NULL, &reply), ERR_OK);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(read_it(h, 0, bytes, MIB), 0);
    struct file_stats stats;
    file_stats(f->a.files, &stats);
    assert_int_equal(stats.dirty_bytes, 0);
    expect_file(&f->b, open_file_ino(h), bytes, 0);
    file_close(end);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_has_dropped_is_told_when_it_never_happens),
        cmocka_unit_test(it_may_happen_yet),
        cmocka_unit_test(what_is_written_after_it_stays),
        cmocka_unit_test(nor_does_what_is_written_to_a_file_that_was_not_open_go),
        cmocka_unit_test(what_is_appended_after_it_stays),
        cmocka_unit_test(a_closed_file_ends_it),
        cmocka_unit_test(all_that_is_dirty_goes_with_one_that_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
