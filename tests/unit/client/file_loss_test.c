/* What was written and can't be kept: who is told, what is seen of it, and what it does not take along. And what others
 * have written that can't be asked about now. */
#include "file_fixture.h"

#define SMALL ((size_t)100 * KIB)

static unsigned refused(const struct cluster *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->server_count; i++)
        count += atomic_load(&c->servers[i].refused);
    return count;
}

static unsigned puts_seen(const struct cluster *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->server_count; i++)
        count += atomic_load(&c->servers[i].puts);
    return count;
}

static void set_all(struct cluster *c, enum server_fault fault, int put_delay_ms)
{
    for (unsigned i = 0; i < c->server_count; i++) {
        atomic_store(&c->servers[i].put_delay_ms, put_delay_ms);
        server_set(&c->servers[i], fault);
    }
}

static uint8_t *pattern(size_t size, uint8_t with)
{
    uint8_t *bytes = mem_alloc(size);
    memset(bytes, with, size);
    return bytes;
}

/* One chunk is refused for ever while a worker still has another one in hand, and more wait for a worker. */
static void chunks_in_hand_outlive_the_failure_of_others(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "chunks");
    uint8_t *bytes = pattern(8 * MIB, 1);
    set_all(&f->cluster, SERVER_FULL, 0);
    write_it(h, 0, bytes, MIB);
    AWAIT(refused(&f->cluster) >= 3);
    set_all(&f->cluster, SERVER_WELL, 400);
    unsigned before = puts_seen(&f->cluster);
    for (unsigned i = 1; i < 8; i++) {
        bytes[i * MIB] = (uint8_t)i; /* or they would be one block */
        write_it(h, i * MIB, bytes + i * MIB, MIB);
    }
    AWAIT(puts_seen(&f->cluster) > before);
    set_all(&f->cluster, SERVER_FULL, 0);
    assert_int_equal(file_fsync(h, NULL), ERR_NOSPC);
    set_all(&f->cluster, SERVER_WELL, 0);
    write_it(h, 0, bytes, 8 * MIB);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, 8 * MIB);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

/* The kernel has what was written in its pages, and nobody else will ever see it. */
static void pages_with_lost_bytes_go(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "pages");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "abc", 3);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    (void)reopen_keeps(&f->a, ino);
    assert_true(reopen_keeps(&f->a, ino));
    assert_int_equal(atomic_load(&f->a.stale), 0);
    set_all(&f->cluster, SERVER_FULL, 0);
    write_it(h, 0, "XYZ", 3);
    assert_int_equal(file_fsync(h, NULL), ERR_NOSPC);
    assert_int_equal(atomic_load(&f->a.stale), 1);
    assert_false(reopen_keeps(&f->a, ino));
    set_all(&f->cluster, SERVER_WELL, 0);
    expect_file(&f->a, ino, (const uint8_t *)"abc", 3);
    file_close(h);
    fixture_end(f);
}

/* The session is over, and the next one open. */
static void end_session(struct fixture *f, struct mount *m)
{
    uint64_t before = meta_client_session(m->meta);
    cluster_end_session(&f->cluster, before);
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = META_ROOT_INO, .mask = META_SET_MTIME_NOW}};
    struct meta_reply reply;
    assert_int_equal(meta_client_call(m->meta, &command, NULL, &reply), ERR_SESSION_EXPIRED);
    AWAIT(meta_client_session(m->meta) != 0 && meta_client_session(m->meta) != before);
}

struct syncing {
    struct open_file *file;
    enum err result;
};

static void *sync_main(void *context)
{
    struct syncing *s = context;
    s->result = file_fsync(s->file, NULL);
    return NULL;
}

/* A file that is always written, as a log is: only what was written in the session that is over goes with it. */
static void what_is_written_in_the_next_session_is_kept(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "log");
    uint8_t *bytes = pattern(2 * MIB, 3), *got = mem_alloc(MIB);
    set_all(&f->cluster, SERVER_WELL, 700);
    write_it(h, 0, bytes, SMALL);
    struct syncing syncing = {.file = h};
    pthread_t thread;
    pthread_create(&thread, NULL, sync_main, &syncing);
    AWAIT(puts_seen(&f->cluster) > 0);
    end_session(f, &f->a);
    write_it(h, MIB, bytes + MIB, MIB);
    pthread_join(thread, NULL);
    assert_int_equal(syncing.result, ERR_IO);
    set_all(&f->cluster, SERVER_WELL, 0);
    assert_int_equal(read_it(h, MIB, got, MIB), MIB);
    assert_memory_equal(got, bytes + MIB, MIB);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    memset(bytes, 0, MIB);
    expect_file(&f->b, open_file_ino(h), bytes, 2 * MIB);
    file_close(h);
    free(bytes);
    free(got);
    fixture_end(f);
}

static void a_truncation_that_fails_tells_what_it_has_dropped(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "truncated");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "kept", 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    write_it(h, 0, "lost", 4);
    cluster_end_session(&f->cluster, meta_client_session(f->a.meta));
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_SIZE}};
    struct meta_reply reply;
    assert_int_equal(file_truncate(f->a.files, &command, NULL, &reply), ERR_SESSION_EXPIRED);
    assert_int_equal(file_fsync(h, NULL), ERR_IO);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(atomic_load(&f->a.stale), 1);
    expect_file(&f->b, ino, (const uint8_t *)"kept", 4);
    file_close(h);
    fixture_end(f);
}

/* Mapped pages are dropped by who hears of the change: by nobody else, when that can't be asked about in time. */
static void a_change_that_cannot_be_asked_about_is_not_forgotten(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    const int64_t soft_ns = 300 * NS_PER_MS;
    struct mount soft = {.meta = cluster_connect(&f->cluster, soft_ns)};
    struct file_options options = {.on_stale = mount_on_stale, .context = &soft};
    soft.blocks = block_client_new(soft.meta, soft_ns);
    soft.files = open_files_new(soft.meta, soft.blocks, &options);
    struct open_file *writer = create_it(&f->b, "mapped"), *h = open_it(&soft, open_file_ino(writer), O_RDONLY);
    write_it(writer, 0, "new", 3);
    assert_int_equal(file_fsync(writer, NULL), ERR_OK);
    atomic_store(&f->cluster.meta_silent, 1);
    unsigned dropped = atomic_load(&f->cluster.dropped);
    file_notice(soft.files, &(struct meta_notice){META_NOTICE_CHANGED, open_file_ino(writer)});
    AWAIT(atomic_load(&f->cluster.dropped) > dropped);
    struct meta_query query = {.op = META_QUERY_STATFS};
    struct meta_query_reply reply;
    struct arena arena = {0};
    assert_int_equal(meta_client_query(soft.meta, &query, NULL, &arena, &reply), ERR_TIMEOUT); /* ends after theirs */
    assert_int_equal(atomic_load(&soft.stale), 0);
    atomic_store(&f->cluster.meta_silent, 0);
    AWAIT(atomic_load(&soft.stale) > 0);
    arena_free(&arena);
    file_close(h);
    file_close(writer);
    mount_close(&soft);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_in_hand_outlive_the_failure_of_others),
        cmocka_unit_test(pages_with_lost_bytes_go),
        cmocka_unit_test(what_is_written_in_the_next_session_is_kept),
        cmocka_unit_test(a_truncation_that_fails_tells_what_it_has_dropped),
        cmocka_unit_test(a_change_that_cannot_be_asked_about_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
