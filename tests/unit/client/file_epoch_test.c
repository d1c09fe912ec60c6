/* Commits that come epochs after their blocks were put, when servers may have taken those for garbage. */
#include "client/file/internal.h"
#include "file_fixture.h"

#define CHUNKS 5u
#define SIZE (CHUNKS * (size_t)CHUNK_BYTES + 12345)

static uint8_t *random_bytes_of(uint64_t seed, size_t size)
{
    struct prng p;
    uint8_t *bytes = mem_alloc(size);
    prng_seed(&p, seed);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)prng_next(&p);
    return bytes;
}

static void id_of_chunk(const uint8_t *bytes, unsigned chunk, struct sha256 *ret)
{
    sha256_of(SLICE(bytes + chunk * (size_t)CHUNK_BYTES, CHUNK_BYTES), ret);
}

/* As a collector does that has met them when nothing named them. */
static void drop_everywhere(struct cluster *c, const uint8_t *bytes)
{
    for (unsigned n = 0; n < CHUNKS; n++) {
        struct sha256 id;
        id_of_chunk(bytes, n, &id);
        AWAIT(cluster_copies(c, &id, false) == 3);
        for (unsigned s = 0; s < c->server_count; s++)
            server_drop(&c->servers[s], &id);
    }
}

static void a_late_commit_puts_again(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct cluster *c = &f->cluster;
    uint8_t *bytes = random_bytes_of(1, SIZE);
    struct open_file *h = create_it(&f->a, "late");
    write_it(h, 0, bytes, SIZE);
    drop_everywhere(c, bytes);
    cluster_raise_epoch(c, 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    for (unsigned n = 0; n < CHUNKS; n++) {
        struct sha256 id;
        id_of_chunk(bytes, n, &id);
        assert_true(cluster_copies(c, &id, true) >= 2);
    }
    expect_file(&f->b, open_file_ino(h), bytes, SIZE);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

static void a_commit_in_time_puts_once(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct cluster *c = &f->cluster;
    uint8_t *bytes = random_bytes_of(2, SIZE);
    struct open_file *h = create_it(&f->a, "timely");
    write_it(h, 0, bytes, SIZE);
    for (unsigned n = 0; n < CHUNKS; n++) {
        struct sha256 id;
        id_of_chunk(bytes, n, &id);
        AWAIT(cluster_copies(c, &id, false) == 3);
    }
    AWAIT(atomic_load(&c->servers[0].put_blocks) == CHUNKS);
    unsigned before = CHUNKS;
    cluster_raise_epoch(c, 1);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    AWAIT(atomic_load(&c->servers[0].put_blocks) > before);               /* the slowest of three is not waited for */
    assert_int_equal(atomic_load(&c->servers[0].put_blocks), before + 1); /* what was no whole chunk */
    expect_file(&f->b, open_file_ino(h), bytes, SIZE);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

/* It has heard of no epoch for long, and puts with the old one. */
static void a_mount_that_is_behind_repeats(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    uint8_t *bytes = random_bytes_of(3, 3000);
    struct open_file *h = create_it(&f->a, "log");
    struct open_file *appender = open_it(&f->a, open_file_ino(h), O_WRONLY | O_APPEND);
    cluster_raise_epoch(&f->cluster, 5);
    write_it(h, 0, bytes, 1000);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    cluster_raise_epoch(&f->cluster, 5);
    write_it(appender, 1000, bytes + 1000, 2000);
    assert_int_equal(file_fsync(appender, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, 3000);
    file_close(h);
    file_close(appender);
    free(bytes);
    fixture_end(f);
}

/* Whole chunks count as dirty until they are committed, since they may have to be put again. */
static void what_is_put_counts_as_dirty(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    uint8_t *bytes = random_bytes_of(4, SIZE);
    struct open_file *h = create_it(&f->a, "counted");
    write_it(h, 0, bytes, SIZE);
    assert_int_equal(atomic_load(&f->a.files->dirty_bytes), SIZE);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(atomic_load(&f->a.files->dirty_bytes), 0);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_commit_puts_again),
        cmocka_unit_test(a_commit_in_time_puts_once),
        cmocka_unit_test(a_mount_that_is_behind_repeats),
        cmocka_unit_test(what_is_put_counts_as_dirty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
