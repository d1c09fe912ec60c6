/* Fragmented files of one mount are merged by another, as far as one process can tell (client/file/extent_upkeep.h). */
#include "file_fixture.h"

#define PAGE 4096u
#define PAGES 256u

struct merge {
    struct cluster cluster;
    struct mount writer, merger;
};

static struct merge *start(void)
{
    struct merge *m = MEM_NEW(struct merge);
    cluster_start(&m->cluster, 3);
    mount_open_as(&m->writer, &m->cluster, (struct file_options){.cache_bytes = 64 * MIB, .dirty_bytes = 64 * MIB});
    mount_open_as(&m->merger, &m->cluster,
                  (struct file_options){.cache_bytes = MIB, .dirty_bytes = 64 * MIB, .merge_after_ns = 20 * NS_PER_MS});
    return m;
}

static void end(struct merge *m)
{
    mount_close(&m->writer);
    mount_close(&m->merger);
    cluster_stop(&m->cluster);
    free(m);
}

static uint64_t merged_parts(struct merge *m)
{
    struct file_stats stats;
    file_stats(m->merger.files, &stats);
    return stats.upkeep.parts;
}

static unsigned extents_of(struct merge *m, uint64_t ino)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_EXTENTS, .ino = ino, .length = UINT64_MAX};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(m->writer.meta, &query, NULL, &a, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    unsigned count = reply.extent_count;
    arena_free(&a);
    return count;
}

static bool is_listed(struct merge *m)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_FRAGMENTED};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(m->writer.meta, &query, NULL, &a, &reply), ERR_OK);
    bool listed = reply.fragmented_count > 0;
    arena_free(&a);
    return listed;
}

static void write_pages(struct open_file *h, uint8_t *shadow, struct prng *p, unsigned count)
{
    uint8_t page[PAGE];
    for (unsigned n = 0; n < count; n++) {
        uint64_t at = prng_below(p, PAGES) * PAGE;
        memset(page, (int)prng_below(p, 256), sizeof page);
        put_u64be(page, prng_next(p));
        memcpy(shadow + at, page, PAGE);
        write_it(h, at, page, PAGE);
    }
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
}

/* A writer that goes on all the time, and readers that know the extents from before. */
static void bytes_stay_what_they_are(void **state)
{
    (void)state;
    struct merge *m = start();
    struct prng p;
    prng_seed(&p, 5);
    struct open_file *h = create_it(&m->writer, "f");
    uint64_t ino = open_file_ino(h);
    uint8_t *shadow = mem_zalloc(PAGES * PAGE);
    write_it(h, 0, shadow, PAGES * PAGE);
    for (unsigned round = 0; round < 10; round++) {
        uint64_t before = merged_parts(m);
        write_pages(h, shadow, &p, 100);
        AWAIT(merged_parts(m) > before);
        expect_file(&m->writer, ino, shadow, PAGES * PAGE);
        expect_file(&m->merger, ino, shadow, PAGES * PAGE);
    }
    AWAIT(extents_of(m, ino) <= 3 && !is_listed(m));
    file_close(h);
    free(shadow);
    end(m);
}

/* Without a server that has them nothing is merged, and nothing is lost. */
static void servers_that_fail_are_waited_for(void **state)
{
    (void)state;
    struct merge *m = start();
    struct prng p;
    prng_seed(&p, 6);
    struct open_file *h = create_it(&m->writer, "f");
    uint64_t ino = open_file_ino(h);
    uint8_t *shadow = mem_zalloc(PAGES * PAGE);
    write_it(h, 0, shadow, PAGES * PAGE);
    for (unsigned s = 0; s < 2; s++)
        server_set(&m->cluster.servers[s], SERVER_LIES);
    write_pages(h, shadow, &p, 200);
    for (unsigned s = 0; s < 3; s++)
        server_set(&m->cluster.servers[s], SERVER_REFUSES);
    unsigned queries = atomic_load(&m->cluster.queries);
    AWAIT(atomic_load(&m->cluster.queries) > queries + 3);
    for (unsigned s = 0; s < 3; s++)
        server_set(&m->cluster.servers[s], SERVER_WELL);
    AWAIT(extents_of(m, ino) <= 3);
    expect_file(&m->merger, ino, shadow, PAGES * PAGE);
    file_close(h);
    free(shadow);
    end(m);
}

/* What stays on the list by mistake: files that are gone. */
static void who_is_gone_is_taken_off_the_list(void **state)
{
    (void)state;
    struct merge *m = start();
    struct prng p;
    prng_seed(&p, 7);
    mount_close(&m->merger);
    struct open_file *h = create_it(&m->writer, "f");
    uint8_t *shadow = mem_zalloc(PAGES * PAGE);
    write_it(h, 0, shadow, PAGES * PAGE);
    write_pages(h, shadow, &p, 100);
    file_close(h);
    assert_true(is_listed(m));
    struct meta_command c = {.op = META_UNLINK, .unlink = {.parent = META_ROOT_INO, .name = slice_str("f")}};
    struct meta_reply reply;
    assert_int_equal(meta_client_call(m->writer.meta, &c, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    mount_open_as(&m->merger, &m->cluster, (struct file_options){.merge_after_ns = 20 * NS_PER_MS});
    AWAIT(!is_listed(m));
    free(shadow);
    end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_stay_what_they_are),
        cmocka_unit_test(servers_that_fail_are_waited_for),
        cmocka_unit_test(who_is_gone_is_taken_off_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
