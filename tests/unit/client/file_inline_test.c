/* Small contents that come with their commit: durable without block servers, readable by everybody from then on, and on
 * the block servers soon after, whoever has to bring them there. */
#include "file_fixture.h"

static const struct file_options inlining = {
    .cache_bytes = 8 * MIB, .dirty_bytes = 64 * MIB, .inline_bytes = LIMIT_INLINE_BYTES};

/* `a` writes inline, `b` to the block servers itself. Both look for what is left behind this often; 0: not in a test's
 * time. */
static struct fixture *start_with(unsigned servers, int64_t look_ns)
{
    struct fixture *f = MEM_NEW(struct fixture);
    struct file_options options = inlining;
    options.inline_look_ns = look_ns;
    cluster_start(&f->cluster, servers);
    mount_open_as(&f->a, &f->cluster, options);
    options.inline_bytes = 0;
    mount_open_as(&f->b, &f->cluster, options);
    return f;
}

static struct fixture *start_looking(int64_t look_ns)
{
    return start_with(3, look_ns);
}

static struct fixture *start(void)
{
    return start_looking(20 * NS_PER_MS);
}

static void set_servers(struct cluster *c, enum server_fault fault)
{
    for (unsigned i = 0; i < c->server_count; i++)
        server_set(&c->servers[i], fault);
}

static unsigned inline_count(struct cluster *c)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_INLINE, .next_block = true};
    struct meta_query_reply reply;
    pthread_mutex_lock(&c->meta_lock);
    assert_int_equal(meta_query(c->meta, &query, &a, &reply), ERR_OK);
    pthread_mutex_unlock(&c->meta_lock);
    unsigned count = reply.inlined_count;
    arena_free(&a);
    return count;
}

static unsigned puts_of(struct cluster *c)
{
    unsigned puts = 0;
    for (unsigned i = 0; i < c->server_count; i++)
        puts += atomic_load(&c->servers[i].puts);
    return puts;
}

static struct sha256 id_of(const void *data, size_t size)
{
    struct sha256 id;
    sha256_of(SLICE(data, size), &id);
    return id;
}

static void it_is_durable_and_seen_without_block_servers(void **state)
{
    (void)state;
    struct fixture *f = start();
    uint8_t bytes[5000], after[300];
    memset(bytes, 'x', sizeof bytes);
    memset(after, 'y', sizeof after);
    set_servers(&f->cluster, SERVER_REFUSES);
    struct open_file *h = create_it(&f->a, "small");
    write_it(h, 0, bytes, sizeof bytes);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(inline_count(&f->cluster), 1);
    expect_file(&f->b, open_file_ino(h), bytes, sizeof bytes);

    /* Overwritten in the middle: two blocks, in three extents. */
    write_it(h, 100, after, sizeof after);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    memcpy(bytes + 100, after, sizeof after);
    assert_int_equal(inline_count(&f->cluster), 2);
    expect_file(&f->b, open_file_ino(h), bytes, sizeof bytes);

    set_servers(&f->cluster, SERVER_WELL);
    AWAIT(inline_count(&f->cluster) == 0);
    struct sha256 id = id_of(after, sizeof after);
    assert_true(cluster_copies(&f->cluster, &id, true) >= 2);
    expect_file(&f->b, open_file_ino(h), bytes, sizeof bytes);
    file_close(h);
    fixture_end(f);
}

static void many_are_moved_together(void **state)
{
    (void)state;
    struct fixture *f = start_looking(0);
    uint8_t bytes[200];
    struct open_file *h = create_it(&f->a, "log");
    unsigned puts = puts_of(&f->cluster);
    for (unsigned i = 0; i < 100; i++) {
        memset(bytes, (int)i, sizeof bytes);
        assert_int_equal(file_write_as(h, 0, bytes, sizeof bytes, FILE_WRITE_APPEND, NULL), ERR_OK);
    }
    AWAIT(inline_count(&f->cluster) == 0);
    assert_true(puts_of(&f->cluster) - puts < 60); /* on three servers */
    uint8_t *all = mem_alloc(100 * sizeof bytes);
    for (unsigned i = 0; i < 100; i++)
        memset(all + i * sizeof bytes, (int)i, sizeof bytes);
    expect_file(&f->b, open_file_ino(h), all, 100 * sizeof bytes);
    free(all);
    file_close(h);
    fixture_end(f);
}

/* Each to three others of five servers: a sync of each server is enough for a batch. */
static void many_go_to_many_servers(void **state)
{
    (void)state;
    struct fixture *f = start_with(5, 0);
    uint8_t bytes[100][50];
    struct open_file *h = create_it(&f->a, "f");
    for (unsigned i = 0; i < 100; i++) {
        memset(bytes[i], (int)i, sizeof bytes[i]);
        assert_int_equal(file_write_as(h, 0, bytes[i], sizeof bytes[i], FILE_WRITE_APPEND, NULL), ERR_OK);
    }
    AWAIT(inline_count(&f->cluster) == 0);
    unsigned syncs = 0;
    for (unsigned i = 0; i < 5; i++)
        syncs += atomic_load(&f->cluster.servers[i].syncs) + atomic_load(&f->cluster.servers[i].durable_puts);
    assert_true(syncs <= 50);
    for (unsigned i = 0; i < 100; i++) {
        struct sha256 id = id_of(bytes[i], sizeof bytes[i]);
        assert_true(cluster_copies(&f->cluster, &id, true) >= 2);
    }
    expect_file(&f->b, open_file_ino(h), bytes[0], sizeof bytes);
    file_close(h);
    fixture_end(f);
}

/* What is known of the file says nothing of where its blocks are. */
static void a_reader_that_has_lost_them_asks_again(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct file_options forgetful = inlining;
    forgetful.cache_bytes = 1;
    struct mount m;
    mount_open_as(&m, &f->cluster, forgetful);
    set_servers(&f->cluster, SERVER_REFUSES);
    struct open_file *h = create_it(&f->a, "f");
    uint8_t bytes[3][4096], got[4096];
    for (unsigned i = 0; i < 3; i++) {
        memset(bytes[i], 'a' + (int)i, sizeof bytes[i]);
        write_it(h, i * sizeof bytes[i], bytes[i], sizeof bytes[i]);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
    }
    struct open_file *r = open_it(&m, open_file_ino(h), O_RDONLY);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(read_it(r, i * sizeof got, got, sizeof got), sizeof got);
            assert_memory_equal(got, bytes[i], sizeof got);
        }
    set_servers(&f->cluster, SERVER_WELL);
    AWAIT(inline_count(&f->cluster) == 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(read_it(r, i * sizeof got, got, sizeof got), sizeof got);
        assert_memory_equal(got, bytes[i], sizeof got);
    }
    file_close(r);
    file_close(h);
    mount_close(&m);
    fixture_end(f);
}

/* A mount that is killed leaves them in the metadata: as if it had only committed. */
static void what_is_left_behind_is_moved_by_others(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct meta_attr attr;
    struct meta_reply reply;
    uint64_t ino = cluster_create(f->b.meta, "left", &attr);
    struct slice data = slice_str("left behind");
    struct meta_extent extent = {.length = data.size, .block = id_of(data.data, data.size)};
    struct meta_command command = {
        .op = META_COMMIT,
        .commit = {.ino = ino, .extents = &extent, .extent_count = 1, .inlined = &data, .inlined_count = 1}};
    assert_int_equal(meta_client_call(f->b.meta, &command, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    AWAIT(inline_count(&f->cluster) == 0);
    assert_true(cluster_copies(&f->cluster, &extent.block, true) >= 2);
    expect_file(&f->a, ino, data.data, data.size);
    fixture_end(f);
}

/* While block servers can't be reached, so much is accepted and no more; nothing of it is lost. */
static void what_may_wait_is_bounded(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct open_file *h = create_it(&f->a, "f");
    static uint8_t bytes[LIMIT_INLINE_BYTES];
    set_servers(&f->cluster, SERVER_REFUSES);
    enum err e = ERR_OK;
    unsigned written = 0;
    for (; e == ERR_OK && written < 1000; written++) {
        memset(bytes, (int)written, sizeof bytes);
        write_it(h, (uint64_t)written * sizeof bytes, bytes, sizeof bytes);
        struct rpc_cancel *cancel = rpc_cancel_new();
        pthread_t thread;
        bool last = written >= 256;
        if (last)
            pthread_create(&thread, NULL, fire_soon, cancel);
        e = file_fsync(h, cancel);
        if (last)
            pthread_join(thread, NULL);
        rpc_cancel_free(cancel);
    }
    assert_int_equal(e, ERR_CANCELLED);
    assert_in_range(written, 200, 300);
    set_servers(&f->cluster, SERVER_WELL);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    AWAIT(inline_count(&f->cluster) == 0);
    uint8_t *all = mem_alloc((size_t)written * sizeof bytes);
    for (unsigned i = 0; i < written; i++)
        memset(all + (size_t)i * sizeof bytes, (int)i, sizeof bytes);
    expect_file(&f->b, open_file_ino(h), all, (size_t)written * sizeof bytes);
    free(all);
    file_close(h);
    fixture_end(f);
}

static void an_unmount_moves_them(void **state)
{
    (void)state;
    struct fixture *f = start_looking(0);
    struct mount m;
    struct file_options options = inlining;
    mount_open_as(&m, &f->cluster, options);
    struct open_file *h = create_it(&m, "f");
    write_it(h, 0, "bytes", 5);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    file_close(h);
    mount_close(&m);
    assert_int_equal(inline_count(&f->cluster), 0);
    struct sha256 id = id_of("bytes", 5);
    assert_true(cluster_copies(&f->cluster, &id, true) >= 2);
    fixture_end(f);
}

static void an_unmount_does_not_wait_for_a_look(void **state)
{
    (void)state;
    struct fixture *f = start_looking(0);
    struct mount m;
    struct file_options options = inlining;
    options.inline_look_ns = NS_PER_MS;
    mount_open_as(&m, &f->cluster, options);
    atomic_store(&f->cluster.meta_silent, 1);
    AWAIT(atomic_load(&f->cluster.dropped) > 0);
    int64_t begun = clock_boot_ns();
    open_files_free(m.files, 60 * NS_PER_S);
    assert_true(clock_boot_ns() - begun < 20 * NS_PER_S);
    atomic_store(&f->cluster.meta_silent, 0);
    block_client_free(m.blocks);
    meta_client_close(m.meta);
    fixture_end(f);
}

/* No room in the metastore: the commit goes the long way, and is one all the same. */
static void a_full_metastore_is_gone_round(void **state)
{
    (void)state;
    struct fixture *f = start();
    struct open_file *h = create_it(&f->a, "f"), *log = create_it(&f->a, "log");
    pthread_mutex_lock(&f->cluster.meta_lock);
    static uint8_t bytes[LIMIT_INLINE_BYTES];
    struct meta_reply reply = {.status = ERR_OK};
    for (uint64_t i = 0; reply.status == ERR_OK; i++) {
        put_u64be(bytes, i);
        struct slice data = SLICE(bytes, sizeof bytes);
        struct meta_command command = {.op = META_COMMIT,
                                       .commit = {.ino = open_file_ino(log), .inlined = &data, .inlined_count = 1}};
        assert_int_equal(meta_apply(f->cluster.meta, ++f->cluster.index, 1, &command, &reply), ERR_OK);
    }
    assert_int_equal(reply.status, ERR_BUSY);
    pthread_mutex_unlock(&f->cluster.meta_lock);
    uint8_t record[LIMIT_INLINE_BYTES] = {'r'};
    write_it(h, 0, record, sizeof record);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    record[0] = 's';
    assert_int_equal(file_write_as(h, 0, record, sizeof record, FILE_WRITE_APPEND, NULL), ERR_OK);
    struct open_file *r = open_it(&f->b, open_file_ino(h), O_RDONLY);
    uint8_t got[2 * LIMIT_INLINE_BYTES + 1];
    assert_int_equal(read_it(r, 0, got, sizeof got), 2 * LIMIT_INLINE_BYTES);
    assert_true(got[0] == 'r' && got[LIMIT_INLINE_BYTES] == 's');
    file_close(r);
    file_close(log);
    file_close(h);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_durable_and_seen_without_block_servers),
        cmocka_unit_test(many_are_moved_together),
        cmocka_unit_test(many_go_to_many_servers),
        cmocka_unit_test(a_reader_that_has_lost_them_asks_again),
        cmocka_unit_test(what_is_left_behind_is_moved_by_others),
        cmocka_unit_test(what_may_wait_is_bounded),
        cmocka_unit_test(an_unmount_moves_them),
        cmocka_unit_test(an_unmount_does_not_wait_for_a_look),
        cmocka_unit_test(a_full_metastore_is_gone_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
