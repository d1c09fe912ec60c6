/* Files that have nothing to do with one that can't be committed now, since its block servers don't answer: what is
 * written of them is committed, and what others have written of them is asked for. */
#include "file_fixture.h"

#define HUNG 12u                  /* files: more than the flusher has threads */
#define LARGE ((size_t)100 * KIB) /* more than a commit brings along */

static const struct file_options inlining = {
    .cache_bytes = 8 * MIB, .dirty_bytes = 64 * MIB, .inline_bytes = LIMIT_INLINE_BYTES};

static void servers_set(struct cluster *c, enum server_fault fault)
{
    for (unsigned i = 0; i < c->server_count; i++)
        server_set(&c->servers[i], fault);
}

static unsigned refused(const struct cluster *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->server_count; i++)
        count += atomic_load(&c->servers[i].refused);
    return count;
}

/* Closed without a flush, so that it is the flusher's. */
static void leave_behind(struct mount *m, unsigned number, size_t size)
{
    char name[32];
    uint8_t *bytes = mem_alloc(size);
    memset(bytes, (int)number, size);
    memcpy(bytes, &number, sizeof number); /* or two would be one block */
    snprintf(name, sizeof name, "hung-%u", number);
    struct open_file *h = create_it(m, name);
    write_it(h, 0, bytes, size);
    file_close(h);
    free(bytes);
}

static struct fixture *start_hung(unsigned files)
{
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, 3);
    mount_open_as(&f->a, &f->cluster, inlining);
    mount_open_as(&f->b, &f->cluster, inlining);
    servers_set(&f->cluster, SERVER_REFUSES);
    for (unsigned n = 0; n < files; n++)
        leave_behind(&f->a, n, LARGE);
    if (files > 0)
        AWAIT(refused(&f->cluster) > 0);
    return f;
}

static void end_hung(struct fixture *f)
{
    servers_set(&f->cluster, SERVER_WELL);
    fixture_end(f);
}

static uint64_t size_on(struct mount *m, uint64_t ino)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = ino};
    struct meta_query_reply reply;
    assert_int_equal(meta_client_query(m->meta, &query, NULL, &arena, &reply), ERR_OK);
    arena_free(&arena);
    return reply.attr.size;
}

static void small_contents_are_committed(void **state)
{
    (void)state;
    struct fixture *f = start_hung(HUNG);
    struct open_file *h = create_it(&f->a, "small");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "abc", 3);
    file_close(h);
    AWAIT(size_on(&f->b, ino) == 3);
    end_hung(f);
}

static void expect_refreshed(struct fixture *f)
{
    struct open_file *theirs = create_it(&f->b, "changed"), *h = open_it(&f->a, open_file_ino(theirs), O_RDONLY);
    struct meta_attr attr = {0};
    write_it(theirs, 0, "new", 3);
    assert_int_equal(file_fsync(theirs, NULL), ERR_OK);
    file_notice(f->a.files, &(struct meta_notice){META_NOTICE_CHANGED, open_file_ino(h)});
    AWAIT((open_file_attr(h, &attr), attr.size == 3));
    file_close(h);
    file_close(theirs);
}

static void changes_of_others_are_asked_for(void **state)
{
    (void)state;
    struct fixture *f = start_hung(HUNG);
    expect_refreshed(f);
    end_hung(f);
}

/* Small contents wait for block servers too when there are too many that have come with their commits. */
static void too_much_of_what_is_small_keeps_nobody(void **state)
{
    (void)state;
    const unsigned fit = 4 * MIB / LIMIT_INLINE_BYTES; /* client/file/inline_mover.c */
    struct fixture *f = start_hung(0);
    for (unsigned n = 0; n < fit + 2 * HUNG; n++)
        leave_behind(&f->a, n, LIMIT_INLINE_BYTES);
    struct file_stats stats;
    AWAIT((file_stats(f->a.files, &stats), stats.commits + HUNG >= fit));
    expect_refreshed(f);
    end_hung(f);
}

static void a_mount_that_ends_commits_what_it_can(void **state)
{
    (void)state;
    struct fixture *f = start_hung(HUNG);
    struct open_file *h = create_it(&f->a, "last");
    uint64_t ino = open_file_ino(h);
    write_it(h, 0, "abc", 3);
    open_files_free(f->a.files, NS_PER_S);
    assert_int_equal(size_on(&f->b, ino), 3);
    f->a.files = NULL;
    end_hung(f);
}

/* Its last close doesn't wait for a worker that waits for block servers. */
static void an_unlinked_file_is_closed(void **state)
{
    (void)state;
    struct fixture *f = start_hung(1);
    struct open_file *h = create_it(&f->a, "unlinked");
    uint8_t *bytes = mem_zalloc(MIB);
    unsigned before = refused(&f->cluster);
    write_it(h, 0, bytes, MIB); /* a whole chunk: a worker has it in hand */
    AWAIT(refused(&f->cluster) > before);
    file_notice(f->a.files, &(struct meta_notice){META_NOTICE_ORPHANED, open_file_ino(h)});
    file_close(h);
    servers_set(&f->cluster, SERVER_WELL);
    struct file_stats stats;
    AWAIT((file_stats(f->a.files, &stats), stats.dirty_bytes == 0));
    free(bytes);
    end_hung(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_contents_are_committed),
        cmocka_unit_test(changes_of_others_are_asked_for),
        cmocka_unit_test(too_much_of_what_is_small_keeps_nobody),
        cmocka_unit_test(a_mount_that_ends_commits_what_it_can),
        cmocka_unit_test(an_unlinked_file_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
