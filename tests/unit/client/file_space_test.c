/* Space of files and times of access, between two mounts and with a metastore that doesn't answer. */
#include "file_fixture.h"

#include <stdlib.h>

static struct meta_attr attr_of(struct mount *m, uint64_t ino)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = ino};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(m->meta, &query, NULL, &arena, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    arena_free(&arena);
    return reply.attr;
}

static void *fire_at_once(void *p)
{
    nanosleep(&(struct timespec){.tv_nsec = 20 * NS_PER_MS}, NULL);
    rpc_cancel_fire(p);
    return NULL;
}

static void refusals(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "f"), *reader = open_it(&f->a, open_file_ino(h), O_RDONLY);
    struct open_file *appender = open_it(&f->a, open_file_ino(h), O_RDWR | O_APPEND);
    uint64_t done, found;
    write_it(h, 0, "0123456789", 10);
    assert_int_equal(file_allocate(h, FALLOC_FL_COLLAPSE_RANGE, 0, 1, false, NULL), ERR_NOTSUP);
    assert_int_equal(file_allocate(h, FALLOC_FL_PUNCH_HOLE, 0, 1, false, NULL), ERR_NOTSUP);
    assert_int_equal(file_allocate(h, 0, 0, 0, false, NULL), ERR_INVAL);
    assert_int_equal(file_allocate(h, 0, META_SIZE_MAX, 1, false, NULL), ERR_FBIG);
    assert_int_equal(file_allocate(reader, 0, 0, 1, false, NULL), ERR_BADF);
    assert_int_equal(clone_it(h, 0, reader, 5, 5, &done), ERR_BADF);
    assert_int_equal(clone_it(h, 0, appender, 5, 5, &done), ERR_BADF);
    assert_int_equal(clone_it(h, 0, h, 4, 5, &done), ERR_INVAL);
    assert_int_equal(file_seek(h, 10, true, NULL, &found), ERR_NOT_FOUND);
    assert_int_equal(file_seek(h, 10, false, NULL, &found), ERR_NOT_FOUND);
    expect_file(&f->a, open_file_ino(h), (const uint8_t *)"0123456789", 10);
    file_close(appender);
    file_close(reader);
    file_close(h);
    fixture_end(f);
}

static void a_copy_is_made_of_what_both_mounts_committed(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *source = create_it(&f->a, "source"), *h = create_it(&f->a, "f");
    write_it(source, 0, "aaaaaaaaaa", 10);
    assert_int_equal(file_fsync(source, NULL), ERR_OK);
    struct open_file *theirs = open_it(&f->b, open_file_ino(source), O_RDWR);
    write_it(theirs, 2, "bb", 2);
    assert_int_equal(file_fsync(theirs, NULL), ERR_OK);
    write_it(source, 4, "cc", 2);
    write_it(h, 8, "hhhh", 4);
    uint64_t done;
    assert_int_equal(clone_it(source, 0, h, 1, 100, &done), ERR_OK);
    assert_int_equal(done, 10);
    expect_file(&f->b, open_file_ino(h), (const uint8_t *)"\0aabbccaaaah", 12);
    file_close(theirs);
    file_close(source);
    file_close(h);
    fixture_end(f);
}

/* One that was broken off is resolved in the background; what is written after it stays. */
static void a_broken_off_hole_undoes_nothing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        struct fixture *f = fixture_start();
        struct open_file *h = create_it(&f->a, "f");
        write_it(h, 0, "0123456789", 10);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        struct rpc_cancel *cancel = rpc_cancel_new();
        pthread_t thread;
        atomic_store(&f->cluster.meta_silent, 1);
        pthread_create(&thread, NULL, fire_at_once, cancel);
        assert_int_equal(file_allocate(h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10, false, cancel),
                         ERR_CANCELLED);
        pthread_join(thread, NULL);
        atomic_store(&f->cluster.meta_silent, 0);
        write_it(h, 2, "new", 3);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        uint8_t got[10];
        assert_int_equal(read_it(h, 0, got, 10), 10);
        assert_memory_equal(got + 2, "new", 3);
        expect_file(&f->b, open_file_ino(h), got, 10);
        rpc_cancel_free(cancel);
        file_close(h);
        fixture_end(f);
    }
}

/* ---- times of access ---- */

static void await_atime(struct mount *m, uint64_t ino, int64_t above_ns)
{
    int64_t end_ns = clock_boot_ns() + 20 * NS_PER_S;
    while (attr_of(m, ino).atime_ns <= above_ns)
        assert_true(clock_boot_ns() < end_ns);
}

static void the_first_read_is_told(void **state)
{
    (void)state;
    struct fixture *f = fixture_start_with(true);
    struct open_file *h = create_it(&f->a, "f");
    uint64_t ino = open_file_ino(h);
    char got[4];
    write_it(h, 0, "text", 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    struct meta_attr written = attr_of(&f->a, ino);
    struct open_file *quiet = open_it(&f->b, ino, O_RDONLY | O_NOATIME), *reader = open_it(&f->b, ino, O_RDONLY);
    read_it(quiet, 0, got, 4);
    struct meta_attr seen = attr_of(&f->b, ino);
    file_overlay_attr(f->b.files, &seen);
    assert_true(seen.atime_ns == written.atime_ns);
    read_it(reader, 0, got, 4);
    seen = attr_of(&f->b, ino);
    file_overlay_attr(f->b.files, &seen); /* at once, told or not */
    assert_true(seen.atime_ns > written.ctime_ns && seen.atime_ns > written.mtime_ns);
    await_atime(&f->a, ino, written.atime_ns);
    struct meta_attr told = attr_of(&f->a, ino);
    assert_true(told.atime_ns == seen.atime_ns && told.ctime_ns == written.ctime_ns && told.version == written.version);
    read_it(reader, 0, got, 4);
    read_it(h, 0, got, 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_true(attr_of(&f->a, ino).atime_ns == told.atime_ns);
    file_close(quiet);
    file_close(reader);
    file_close(h);
    fixture_end(f);
}

static void many_reads_are_told_together(void **state)
{
    (void)state;
    enum { FILES = 2 * LIMIT_READS + 1 };
    struct fixture *f = fixture_start_with(true);
    struct meta_attr written[FILES];
    char name[16], got[4];
    for (unsigned n = 0; n < FILES; n++) {
        snprintf(name, sizeof name, "f%u", n);
        struct open_file *h = create_it(&f->a, name);
        write_it(h, 0, name, 2);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        written[n] = attr_of(&f->a, open_file_ino(h));
        file_close(h);
    }
    unsigned commands = atomic_load(&f->cluster.commands);
    for (unsigned n = 0; n < FILES; n++) {
        struct open_file *h = open_it(&f->b, written[n].ino, O_RDONLY);
        assert_int_equal(read_it(h, 0, got, 4), 2);
        file_close(h);
    }
    for (unsigned n = 0; n < FILES; n++)
        await_atime(&f->a, written[n].ino, written[n].atime_ns);
    /* Blocks are moved meanwhile, and on a slow machine less than all gather at a time. */
    assert_true(atomic_load(&f->cluster.commands) - commands < FILES / 2);
    fixture_end(f);
}

static void no_read_waits_for_the_metastore(void **state)
{
    (void)state;
    struct fixture *f = fixture_start_with(true);
    struct open_file *h = create_it(&f->a, "f");
    char got[4];
    write_it(h, 0, "text", 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    atomic_store(&f->cluster.meta_silent, 1);
    int64_t begun_ns = clock_boot_ns();
    for (unsigned n = 0; n < 1000; n++)
        assert_int_equal(read_it(h, 0, got, 4), 4);
    assert_true(clock_boot_ns() - begun_ns < 5 * NS_PER_S);
    file_close(h);
    mount_close(&f->a); /* what can't be told is dropped */
    atomic_store(&f->cluster.meta_silent, 0);
    mount_close(&f->b);
    cluster_stop(&f->cluster);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_copy_is_made_of_what_both_mounts_committed),
        cmocka_unit_test(a_broken_off_hole_undoes_nothing),
        cmocka_unit_test(the_first_read_is_told),
        cmocka_unit_test(many_reads_are_told_together),
        cmocka_unit_test(no_read_waits_for_the_metastore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
