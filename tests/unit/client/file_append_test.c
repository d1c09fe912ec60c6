/* Appends of several writers, and one that comes in two pieces and is broken off. */
#include <pthread.h>

#include "file_fixture.h"

#define APPENDS 40
#define RECORD 100

struct appender {
    struct mount *mount;
    uint64_t ino;
    char tag;
    enum err failure;
};

static void *append_main(void *p)
{
    struct appender *a = p;
    struct open_file *h;
    bool keep;
    a->failure = file_open(a->mount->files, a->ino, O_WRONLY | O_APPEND, NULL, NULL, &h, &keep);
    for (int i = 0; a->failure == ERR_OK && i < APPENDS; i++) {
        uint8_t record[RECORD];
        memset(record, a->tag, sizeof record);
        record[1] = (uint8_t)i;
        a->failure = file_write(h, 0, record, sizeof record, NULL);
    }
    if (a->failure == ERR_OK)
        file_close(h);
    return NULL;
}

static void appended_records_are_whole_and_in_order(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "log");
    struct appender appenders[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        appenders[i] =
            (struct appender){.mount = i % 2 ? &f->a : &f->b, .ino = open_file_ino(h), .tag = (char)('A' + i)};
        pthread_create(&threads[i], NULL, append_main, &appenders[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(appenders[i].failure, ERR_OK);
    }
    struct open_file *r = open_it(&f->b, open_file_ino(h), O_RDONLY);
    uint8_t *all = mem_alloc(5 * APPENDS * RECORD);
    assert_int_equal(read_it(r, 0, all, 5 * APPENDS * RECORD), 4 * APPENDS * RECORD);
    int next[4] = {0};
    for (int k = 0; k < 4 * APPENDS; k++) {
        const uint8_t *record = all + k * RECORD;
        int who = record[0] - 'A';
        assert_in_range(who, 0, 3);
        assert_int_equal(record[1], next[who]++);
        for (int b = 2; b < RECORD; b++)
            assert_int_equal(record[b], record[0]);
    }
    free(all);
    file_close(r);
    file_close(h);
    fixture_end(f);
}

#define STAGED (LIMIT_BLOCK_BYTES - 100)

static enum err append_broken_off(struct open_file *h, uint64_t offset, const void *from, size_t size)
{
    struct rpc_cancel *cancel = rpc_cancel_new();
    pthread_t thread;
    pthread_create(&thread, NULL, fire_soon, cancel);
    enum err e = file_write_as(h, offset, from, size, FILE_WRITE_APPEND, cancel);
    pthread_join(thread, NULL);
    rpc_cancel_free(cancel);
    return e;
}

struct breaking_off {
    struct cluster *cluster;
    unsigned commits; /* more have come */
    struct rpc_cancel *cancel;
};

static void *fire_when_asked(void *p)
{
    struct breaking_off *b = p;
    while (atomic_load(&b->cluster->commits) <= b->commits)
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    rpc_cancel_fire(b->cancel);
    return NULL;
}

/* It is placed, but its caller has left when that is said. */
static enum err append_without_an_answer(struct cluster *c, struct open_file *h, uint64_t offset, const void *from,
                                         size_t size)
{
    struct breaking_off b = {.cluster = c, .commits = atomic_load(&c->commits), .cancel = rpc_cancel_new()};
    pthread_t thread;
    atomic_store(&c->commit_delay_ms, 500);
    pthread_create(&thread, NULL, fire_when_asked, &b);
    enum err e = file_write_as(h, offset, from, size, FILE_WRITE_APPEND, b.cancel);
    pthread_join(thread, NULL);
    atomic_store(&c->commit_delay_ms, 0);
    rpc_cancel_free(b.cancel);
    return e;
}

static void await_size(struct mount *m, uint64_t ino, uint64_t size)
{
    struct open_file *h = open_it(m, ino, O_RDONLY);
    uint8_t byte;
    AWAIT(({
        assert_int_equal(file_refresh(h, NULL, NULL), ERR_OK);
        read_it(h, size - 1, &byte, 1) == 1;
    }));
    file_close(h);
}

/* The first of two pieces of one append was answered. When the second is broken off before anybody was asked to place
 * them, the first is there all the same, once. */
static void the_first_piece_of_an_append_outlives_the_second(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *made = create_it(&f->a, "log"), *h = open_it(&f->a, open_file_ino(made), O_WRONLY | O_APPEND);
    uint8_t *bytes = mem_alloc(LIMIT_BLOCK_BYTES);
    memset(bytes, 'x', LIMIT_BLOCK_BYTES);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_REFUSES);
    write_it(h, 0, bytes, STAGED);
    assert_int_equal(append_broken_off(h, STAGED, bytes, 100), ERR_CANCELLED);
    assert_int_equal(fsync_broken_off(h), ERR_CANCELLED);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_WELL);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, STAGED);
    free(bytes);
    file_close(h);
    file_close(made);
    fixture_end(f);
}

/* Broken off while it is placed, it may be there or not: whoever asks is told so, and it doesn't come twice. */
static void a_first_piece_that_may_be_lost_is_reported(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *made = create_it(&f->a, "log"), *h = open_it(&f->a, open_file_ino(made), O_WRONLY | O_APPEND);
    uint8_t *bytes = mem_alloc(LIMIT_BLOCK_BYTES);
    memset(bytes, 'x', LIMIT_BLOCK_BYTES);
    write_it(h, 0, bytes, STAGED);
    assert_int_equal(append_without_an_answer(&f->cluster, h, STAGED, bytes, 100), ERR_CANCELLED);
    assert_int_not_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    await_size(&f->b, open_file_ino(h), LIMIT_BLOCK_BYTES);
    expect_file(&f->b, open_file_ino(h), bytes, LIMIT_BLOCK_BYTES);
    free(bytes);
    file_close(h);
    file_close(made);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_records_are_whole_and_in_order),
        cmocka_unit_test(the_first_piece_of_an_append_outlives_the_second),
        cmocka_unit_test(a_first_piece_that_may_be_lost_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
