/* Open files on a cluster in this process: what they promise, one by one. */
#include "file_fixture.h"

static void what_one_mount_closed_another_one_reads(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    size_t size = 3 * MIB + 12345;
    uint8_t *bytes = mem_alloc(size);
    struct prng prng;
    prng_seed(&prng, 3);
    for (size_t k = 0; k < size; k++)
        bytes[k] = (uint8_t)prng_next(&prng);
    struct open_file *h = create_it(&f->a, "x");
    uint64_t ino = open_file_ino(h);
    for (size_t at = 0; at < size; at += 100000)
        write_it(h, at, bytes + at, MIN(size - at, (size_t)100000));
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    expect_file(&f->b, ino, bytes, size);
    file_close(h);
    expect_file(&f->a, ino, bytes, size);
    free(bytes);
    fixture_end(f);
}

/* create + write 4 KiB + fsync + close: one put to each server and one commit. */
static void a_tiny_file_costs_little(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    uint8_t bytes[4096];
    memset(bytes, 7, sizeof bytes);
    struct open_file *h = create_it(&f->a, "tiny");
    unsigned commands = atomic_load(&f->cluster.commands), queries = atomic_load(&f->cluster.queries);
    write_it(h, 0, bytes, sizeof bytes);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    uint64_t ino = open_file_ino(h);
    file_close(h);
    assert_int_equal(atomic_load(&f->cluster.commands) - commands, 1);
    assert_int_equal(atomic_load(&f->cluster.queries) - queries, 0);
    for (unsigned i = 0; i < 3; i++) {
        AWAIT(atomic_load(&f->cluster.servers[i].puts) == 1);
        assert_int_equal(atomic_load(&f->cluster.servers[i].durable_puts), 1);
        assert_int_equal(atomic_load(&f->cluster.servers[i].syncs), 0);
    }
    expect_file(&f->b, ino, bytes, sizeof bytes);
    fixture_end(f);
}

static void holes_are_zeros_and_reads_end_at_the_end(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "holes");
    uint8_t *bytes = mem_zalloc(5 * MIB);
    memset(bytes + 4 * MIB + 10, 1, 20);
    write_it(h, 4 * MIB + 10, bytes + 4 * MIB + 10, 20);
    uint8_t buffer[100];
    assert_int_equal(read_it(h, 4 * MIB, buffer, sizeof buffer), 30);
    assert_memory_equal(buffer, bytes + 4 * MIB, 30);
    assert_int_equal(read_it(h, 4 * MIB + 30, buffer, sizeof buffer), 0);
    assert_int_equal(read_it(h, 100, buffer, sizeof buffer), sizeof buffer);
    assert_memory_equal(buffer, bytes + 100, sizeof buffer);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, 4 * MIB + 30);
    expect_file(&f->a, open_file_ino(h), bytes, 4 * MIB + 30);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

static void truncate_to(struct mount *m, uint64_t ino, uint64_t size)
{
    struct meta_command command = {.op = META_SETATTR, .setattr = {.ino = ino, .mask = META_SET_SIZE, .size = size}};
    struct meta_reply reply;
    assert_int_equal(file_truncate(m->files, &command, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
}

static void truncation_drops_and_keeps(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "cut");
    uint64_t ino = open_file_ino(h);
    uint8_t *bytes = mem_alloc(3 * MIB);
    memset(bytes, 5, 3 * MIB);
    write_it(h, 0, bytes, 3 * MIB);
    truncate_to(&f->a, ino, 2 * MIB + 100);
    expect_file(&f->b, ino, bytes, 2 * MIB + 100);
    expect_file(&f->a, ino, bytes, 2 * MIB + 100);
    truncate_to(&f->a, ino, 2 * MIB + 200);
    memset(bytes + 2 * MIB + 100, 0, 100);
    expect_file(&f->a, ino, bytes, 2 * MIB + 200);
    write_it(h, 0, bytes, 3 * MIB);
    truncate_to(&f->a, ino, 0);
    unsigned commits = atomic_load(&f->cluster.commits);
    expect_file(&f->a, ino, bytes, 0);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(atomic_load(&f->cluster.commits), commits);
    write_it(h, 10, bytes + 10, 10);
    memset(bytes, 0, 10);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    expect_file(&f->b, ino, bytes, 20);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

static void attributes_include_what_is_not_committed(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "attr");
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = open_file_ino(h)};
    struct meta_query_reply before, after;
    struct arena arena = {0};
    write_it(h, 1000, "abc", 3);
    assert_int_equal(meta_client_query(f->a.meta, &query, NULL, &arena, &before), ERR_OK);
    assert_int_equal(before.attr.size, 0);
    file_overlay_attr(f->a.files, &before.attr);
    assert_int_equal(before.attr.size, 1003);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(meta_client_query(f->a.meta, &query, NULL, &arena, &after), ERR_OK);
    file_overlay_attr(f->a.files, &after.attr);
    assert_int_equal(after.attr.size, 1003);
    assert_int_equal(after.attr.mtime_ns, before.attr.mtime_ns);
    arena_free(&arena);
    file_close(h);
    fixture_end(f);
}

/* An open reader finds what another mount has added as soon as it has been told of the new size. */
static void an_open_reader_follows_attributes(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *w = create_it(&f->a, "log");
    write_it(w, 0, "one", 3);
    assert_int_equal(file_fsync(w, NULL), ERR_OK);
    struct open_file *r = open_it(&f->b, open_file_ino(w), O_RDONLY);
    uint8_t buffer[10];
    assert_int_equal(read_it(r, 0, buffer, sizeof buffer), 3);
    write_it(w, 0, "ONEtwo", 6);
    assert_int_equal(file_fsync(w, NULL), ERR_OK);
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = open_file_ino(w)};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(f->b.meta, &query, NULL, &arena, &reply), ERR_OK);
    file_overlay_attr(f->b.files, &reply.attr);
    assert_int_equal(read_it(r, 0, buffer, sizeof buffer), 6);
    assert_memory_equal(buffer, "ONEtwo", 6);
    arena_free(&arena);
    file_close(r);
    file_close(w);
    fixture_end(f);
}

static void kernel_pages_are_kept_while_nobody_else_writes(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "pages");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "abc", 3);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    write_it(h, 3, "def", 3);
    file_close(h);
    AWAIT(atomic_load(&f->cluster.commits) == 2);
    struct file_stats stats;
    AWAIT((file_stats(f->a.files, &stats), stats.commits == 2));
    assert_true(reopen_keeps(&f->a, ino));
    assert_true(reopen_keeps(&f->a, ino));
    struct open_file *other = open_it(&f->b, ino, O_RDWR);
    write_it(other, 0, "X", 1);
    assert_int_equal(file_flush(other, NULL), ERR_OK);
    file_close(other);
    assert_false(reopen_keeps(&f->a, ino));
    assert_true(reopen_keeps(&f->a, ino));
    assert_int_equal(atomic_load(&f->a.stale), 0);
    fixture_end(f);
}

/* Both mounts have it open and write: each is told that its kernel's pages are wrong, and nothing is lost. */
static void writes_of_another_mount_make_pages_stale(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *a = create_it(&f->a, "both");
    uint64_t ino = open_file_ino(a);
    write_it(a, 0, "aaaaaaaa", 8);
    assert_int_equal(file_flush(a, NULL), ERR_OK);
    struct open_file *b = open_it(&f->b, ino, O_RDWR);
    write_it(b, 2, "bb", 2);
    assert_int_equal(file_flush(b, NULL), ERR_OK);
    write_it(a, 6, "cc", 2);
    assert_int_equal(file_flush(a, NULL), ERR_OK);
    assert_int_equal(atomic_load(&f->a.stale), 1);
    assert_false(reopen_keeps(&f->a, ino));
    expect_file(&f->a, ino, (const uint8_t *)"aabbaacc", 8);
    expect_file(&f->b, ino, (const uint8_t *)"aabbaacc", 8);
    file_close(a);
    file_close(b);
    fixture_end(f);
}

/* The mount knows of the other one's commit before its own: that is the next version then, and yet not all is well. */
static void a_change_learned_of_early_makes_pages_stale_too(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *a = create_it(&f->a, "early");
    uint64_t ino = open_file_ino(a);
    write_it(a, 0, "aaaa", 4);
    assert_int_equal(file_flush(a, NULL), ERR_OK);
    struct open_file *b = open_it(&f->b, ino, O_RDWR);
    write_it(b, 0, "bb", 2);
    assert_int_equal(file_flush(b, NULL), ERR_OK);
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = ino};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(f->a.meta, &query, NULL, &arena, &reply), ERR_OK);
    file_overlay_attr(f->a.files, &reply.attr);
    write_it(a, 3, "c", 1);
    assert_int_equal(file_flush(a, NULL), ERR_OK);
    assert_int_equal(atomic_load(&f->a.stale), 1);
    assert_false(reopen_keeps(&f->a, ino));
    expect_file(&f->a, ino, (const uint8_t *)"bbac", 4);
    arena_free(&arena);
    file_close(a);
    file_close(b);
    fixture_end(f);
}

static void what_is_left_dirty_at_close_is_committed(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "left");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "left", 4);
    file_close(h);
    AWAIT(atomic_load(&f->cluster.commits) == 1);
    expect_file(&f->b, ino, (const uint8_t *)"left", 4);
    fixture_end(f);
}

static void full_servers_are_reported_once_to_each_handle(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "full"), *other = open_it(&f->a, open_file_ino(h), O_RDWR);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_FULL);
    write_it(h, 0, "lost", 4);
    assert_int_equal(file_fsync(h, NULL), ERR_NOSPC);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    assert_int_equal(file_flush(other, NULL), ERR_NOSPC);
    assert_int_equal(file_flush(other, NULL), ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_WELL);
    write_it(h, 0, "kept", 4);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), (const uint8_t *)"kept", 4);
    file_close(h);
    file_close(other);
    fixture_end(f);
}

/* Blocks that were on their way when servers restarted are there after the fsync. */
static void an_fsync_survives_restarts(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "restart");
    size_t size = 6 * MIB + 100;
    uint8_t *bytes = mem_alloc(size);
    for (size_t k = 0; k < size; k++)
        bytes[k] = (uint8_t)(k * 7 + k / 1000);
    write_it(h, 0, bytes, 4 * MIB);
    for (unsigned i = 0; i < 2; i++)
        server_restart(&f->cluster.servers[i]);
    write_it(h, 4 * MIB, bytes + 4 * MIB, size - 4 * MIB);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        server_restart(&f->cluster.servers[i]);
    expect_file(&f->b, open_file_ino(h), bytes, size);
    file_close(h);
    free(bytes);
    fixture_end(f);
}

static void a_lost_block_is_an_error_not_zeros(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "gone");
    uint8_t bytes[5000];
    struct sha256 id;
    memset(bytes, 9, sizeof bytes);
    write_it(h, 0, bytes, sizeof bytes);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    sha256_of(SLICE(bytes, sizeof bytes), &id);
    AWAIT(cluster_copies(&f->cluster, &id, true) == 3);
    for (unsigned i = 0; i < 3; i++)
        server_drop(&f->cluster.servers[i], &id);
    struct open_file *r = open_it(&f->b, open_file_ino(h), O_RDONLY);
    size_t got;
    assert_int_equal(file_read(r, 0, bytes, sizeof bytes, NULL, &got), ERR_IO);
    file_close(r);
    file_close(h);
    fixture_end(f);
}

/* ---- unlinks ---- */

/* As the leader's notice says it. */
static void unlink_it(struct mount *m, const char *name, uint64_t *ret_orphan)
{
    struct meta_command command = {.op = META_UNLINK, .unlink = {.parent = META_ROOT_INO, .name = slice_str(name)}};
    struct meta_reply reply;
    assert_int_equal(meta_client_call(m->meta, &command, NULL, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    assert_true(reply.orphaned);
    *ret_orphan = reply.attr.ino;
    file_notice(m->files, &(struct meta_notice){META_NOTICE_ORPHANED, reply.attr.ino});
}

static unsigned closed(struct mount *m)
{
    uint64_t inos[4];
    return file_closed_orphans(m->files, inos, 4);
}

static void an_unlinked_file_is_open_until_its_last_close(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "doomed");
    uint64_t ino = open_file_ino(h), orphan;
    write_it(h, 0, "before", 6);
    assert_int_equal(file_flush(h, NULL), ERR_OK);
    unlink_it(&f->a, "doomed", &orphan);
    assert_int_equal(orphan, ino);
    struct open_file *again = open_it(&f->a, ino, O_RDWR);
    write_it(again, 6, "after", 5);
    assert_int_equal(file_fsync(again, NULL), ERR_OK);
    file_close(h);
    uint8_t buffer[20];
    assert_int_equal(read_it(again, 0, buffer, sizeof buffer), 11);
    assert_memory_equal(buffer, "beforeafter", 11);
    assert_int_equal(closed(&f->a), 0);
    write_it(again, 0, "dirty", 5);
    file_close(again);
    assert_int_equal(closed(&f->a), 1);
    assert_int_equal(closed(&f->a), 0); /* said once */
    struct open_file *none;
    bool keep;
    assert_int_equal(file_open(f->a.files, ino, O_RDONLY, NULL, NULL, &none, &keep), ERR_STALE);
    fixture_end(f);
}

static void only_where_it_is_open_is_an_unlinked_file_opened(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "theirs"), *other;
    uint64_t ino = open_file_ino(h), orphan;
    bool keep;
    unlink_it(&f->b, "theirs", &orphan);
    assert_int_equal(closed(&f->b), 1);
    assert_int_equal(file_open(f->b.files, ino, O_RDWR, NULL, NULL, &other, &keep), ERR_STALE);
    assert_int_equal(file_open(f->a.files, ino, O_RDWR, NULL, NULL, &other, &keep), ERR_OK);
    file_close(other);
    file_close(h);
    fixture_end(f);
}

/* The leader may tell of it before the reply to the create is there. */
static void what_is_being_created_may_be_what_is_unlinked(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct file_create before, after;
    file_create_begin(f->a.files, &before);
    file_notice(f->a.files, &(struct meta_notice){META_NOTICE_ORPHANED, 1234});
    file_create_begin(f->a.files, &after);
    assert_int_equal(closed(&f->a), 0);
    file_create_end(f->a.files, &before);
    assert_int_equal(closed(&f->a), 1);
    file_create_end(f->a.files, &after);
    assert_int_equal(closed(&f->a), 0);
    fixture_end(f);
}

/* open(2) is a lookup and an open: what goes in between could be opened when it was looked up. */
static void what_was_just_looked_up_is_opened_though_it_is_unlinked(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "passing"), *mine;
    uint64_t ino = open_file_ino(h), orphan;
    struct file_create lookup, slow;
    bool keep;
    file_close(h);
    file_create_begin(f->b.files, &slow);
    file_create_begin(f->b.files, &lookup);
    file_looked_up(f->b.files, &lookup, ino);
    file_create_end(f->b.files, &slow);
    unlink_it(&f->b, "passing", &orphan);
    assert_int_equal(closed(&f->b), 0);
    assert_int_equal(file_open(f->b.files, ino, O_RDONLY, NULL, NULL, &mine, &keep), ERR_OK);
    assert_int_equal(file_open(f->a.files, ino, O_RDONLY, NULL, NULL, &h, &keep), ERR_STALE);
    assert_int_equal(closed(&f->b), 0);
    file_close(mine);
    AWAIT(closed(&f->b) == 1); /* in a second */
    assert_int_equal(file_open(f->b.files, ino, O_RDONLY, NULL, NULL, &mine, &keep), ERR_STALE);
    fixture_end(f);
}

/* ---- the cluster does not answer ---- */

/* A commit that was broken off stays dirty; and when it takes effect late, it does not undo what came after it. */
static void a_broken_off_commit_undoes_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct fixture *f = fixture_start();
        struct open_file *h = create_it(&f->a, "late");
        write_it(h, 0, "old old old", 11);
        atomic_store(&f->cluster.meta_silent, 1);
        assert_int_equal(fsync_broken_off(h), ERR_CANCELLED);
        uint8_t buffer[20];
        assert_int_equal(read_it(h, 0, buffer, sizeof buffer), 11);
        assert_memory_equal(buffer, "old old old", 11);
        write_it(h, 4, "new", 3);
        if (round % 2)
            assert_int_equal(fsync_broken_off(h), ERR_CANCELLED);
        atomic_store(&f->cluster.meta_silent, 0);
        assert_int_equal(file_fsync(h, NULL), ERR_OK);
        /* The background has told the outcome of what was broken off when no command comes any more. */
        unsigned commands;
        do {
            commands = atomic_load(&f->cluster.commands);
            nanosleep(&(struct timespec){.tv_nsec = 300 * NS_PER_MS}, NULL);
        } while (commands != atomic_load(&f->cluster.commands));
        expect_file(&f->b, open_file_ino(h), (const uint8_t *)"old new old", 11);
        expect_file(&f->a, open_file_ino(h), (const uint8_t *)"old new old", 11);
        file_close(h);
        fixture_end(f);
    }
}

/* Without block servers, whole chunks and the rest stay dirty over a commit that was broken off. */
static void nothing_is_lost_when_servers_come_back(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "back");
    size_t size = 3 * MIB + 1000;
    uint8_t *bytes = mem_alloc(size), *got = mem_alloc(size);
    for (size_t k = 0; k < size; k++)
        bytes[k] = (uint8_t)(k / 100);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_REFUSES);
    write_it(h, 0, bytes, size);
    assert_int_equal(fsync_broken_off(h), ERR_CANCELLED);
    memset(bytes + MIB - 10, 255, 20);
    write_it(h, MIB - 10, bytes + MIB - 10, 20);
    assert_int_equal(read_it(h, 0, got, size), size);
    assert_memory_equal(got, bytes, size);
    assert_int_equal(fsync_broken_off(h), ERR_CANCELLED);
    assert_int_equal(read_it(h, 0, got, size), size);
    assert_memory_equal(got, bytes, size);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_WELL);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, size);
    file_close(h);
    free(bytes);
    free(got);
    fixture_end(f);
}

static void the_end_does_not_wait_for_a_cluster_that_is_down(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct mount m;
    mount_open(&m, &f->cluster, MIB, 64 * MIB);
    struct open_file *h = create_it(&m, "end");
    uint8_t *bytes = mem_zalloc(2 * MIB);
    write_it(h, 0, bytes, MIB / 2);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_REFUSES);
    write_it(h, MIB, bytes, MIB);
    file_close(h);
    int64_t begun = clock_boot_ns();
    open_files_free(m.files, 300 * NS_PER_MS);
    assert_in_range(clock_boot_ns() - begun, 0, 10 * NS_PER_S);
    for (unsigned i = 0; i < 3; i++)
        server_set(&f->cluster.servers[i], SERVER_WELL);
    block_client_free(m.blocks);
    meta_client_close(m.meta);
    free(bytes);
    fixture_end(f);
}

struct syncing {
    struct open_file *file;
    struct rpc_cancel *cancel;
    enum err result;
};

static void *sync_main(void *p)
{
    struct syncing *s = p;
    s->result = file_fsync(s->file, s->cancel);
    return NULL;
}

/* Many small writes over whole chunks that are being committed, read in between. */
static void small_writes_over_whole_chunks_during_a_commit(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "over");
    size_t size = 2 * MIB;
    uint8_t *bytes = mem_alloc(size), *got = mem_alloc(size);
    memset(bytes, 1, size);
    write_it(h, 0, bytes, size);
    for (size_t k = 0; k < size; k += 4000) {
        memset(bytes + k, 2, 100);
        write_it(h, k, bytes + k, 100);
    }
    /* The commit has taken all of it and hangs at the metastore. */
    atomic_store(&f->cluster.meta_silent, 1);
    struct syncing syncing = {.file = h, .cancel = rpc_cancel_new()};
    pthread_t thread;
    unsigned syncs = atomic_load(&f->cluster.servers[0].syncs);
    pthread_create(&thread, NULL, sync_main, &syncing);
    AWAIT(atomic_load(&f->cluster.servers[0].syncs) > syncs);
    for (size_t k = 2000; k < size; k += 4000) {
        memset(bytes + k, 3, 100);
        write_it(h, k, bytes + k, 100);
    }
    assert_int_equal(read_it(h, 0, got, size), size);
    assert_memory_equal(got, bytes, size);
    rpc_cancel_fire(syncing.cancel);
    pthread_join(thread, NULL);
    assert_int_equal(syncing.result, ERR_CANCELLED);
    assert_int_equal(read_it(h, 0, got, size), size);
    assert_memory_equal(got, bytes, size);
    atomic_store(&f->cluster.meta_silent, 0);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, size);
    expect_file(&f->a, open_file_ino(h), bytes, size);
    rpc_cancel_free(syncing.cancel);
    file_close(h);
    free(bytes);
    free(got);
    fixture_end(f);
}

/* A chunk that was written whole while a commit of older ranges of it hangs: those must not come back over it. */
static void a_whole_chunk_over_a_commit_that_is_broken_off(void **state)
{
    (void)state;
    struct fixture *f = fixture_start();
    struct open_file *h = create_it(&f->a, "whole");
    uint8_t *bytes = mem_alloc(MIB), *got = mem_alloc(MIB);
    memset(bytes, 1, MIB);
    write_it(h, 500, bytes, 1000);
    atomic_store(&f->cluster.meta_silent, 1);
    struct syncing syncing = {.file = h, .cancel = rpc_cancel_new()};
    pthread_t thread;
    pthread_create(&thread, NULL, sync_main, &syncing);
    AWAIT(atomic_load(&f->cluster.servers[0].puts) == 1);
    memset(bytes, 2, MIB);
    write_it(h, 0, bytes, MIB);
    memset(bytes + 600, 3, 10);
    write_it(h, 600, bytes + 600, 10);
    rpc_cancel_fire(syncing.cancel);
    pthread_join(thread, NULL);
    assert_int_equal(syncing.result, ERR_CANCELLED);
    assert_int_equal(read_it(h, 0, got, MIB), MIB);
    assert_memory_equal(got, bytes, MIB);
    atomic_store(&f->cluster.meta_silent, 0);
    assert_int_equal(file_fsync(h, NULL), ERR_OK);
    expect_file(&f->b, open_file_ino(h), bytes, MIB);
    rpc_cancel_free(syncing.cancel);
    file_close(h);
    free(bytes);
    free(got);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_mount_closed_another_one_reads),
        cmocka_unit_test(a_tiny_file_costs_little),
        cmocka_unit_test(holes_are_zeros_and_reads_end_at_the_end),
        cmocka_unit_test(truncation_drops_and_keeps),
        cmocka_unit_test(attributes_include_what_is_not_committed),
        cmocka_unit_test(an_open_reader_follows_attributes),
        cmocka_unit_test(kernel_pages_are_kept_while_nobody_else_writes),
        cmocka_unit_test(writes_of_another_mount_make_pages_stale),
        cmocka_unit_test(a_change_learned_of_early_makes_pages_stale_too),
        cmocka_unit_test(what_is_left_dirty_at_close_is_committed),
        cmocka_unit_test(full_servers_are_reported_once_to_each_handle),
        cmocka_unit_test(an_fsync_survives_restarts),
        cmocka_unit_test(a_lost_block_is_an_error_not_zeros),
        cmocka_unit_test(an_unlinked_file_is_open_until_its_last_close),
        cmocka_unit_test(only_where_it_is_open_is_an_unlinked_file_opened),
        cmocka_unit_test(what_is_being_created_may_be_what_is_unlinked),
        cmocka_unit_test(what_was_just_looked_up_is_opened_though_it_is_unlinked),
        cmocka_unit_test(a_broken_off_commit_undoes_nothing),
        cmocka_unit_test(nothing_is_lost_when_servers_come_back),
        cmocka_unit_test(the_end_does_not_wait_for_a_cluster_that_is_down),
        cmocka_unit_test(small_writes_over_whole_chunks_during_a_commit),
        cmocka_unit_test(a_whole_chunk_over_a_commit_that_is_broken_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
