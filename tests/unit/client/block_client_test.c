/* The block client, its trackers and the block cache against servers that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "client/block/block_cache.h"
#include "client/block/block_servers.h"
#include "cluster.h"

struct fixture {
    struct cluster cluster;
    struct meta_client *meta;
    struct block_client *blocks;
    struct prng prng;
};

static struct fixture *start(unsigned servers, int64_t soft_timeout_ns)
{
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, servers);
    f->meta = cluster_connect(&f->cluster, 0);
    f->blocks = block_client_new(f->meta, soft_timeout_ns);
    prng_seed(&f->prng, 7);
    return f;
}

static void end(struct fixture *f)
{
    block_client_free(f->blocks);
    meta_client_close(f->meta);
    cluster_stop(&f->cluster);
    free(f);
}

static struct block_buffer *random_block(struct fixture *f, size_t size)
{
    uint8_t *data = mem_alloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)prng_next(&f->prng);
    return block_buffer_new(data, size);
}

static void expect_get(struct fixture *f, const struct block_buffer *b)
{
    struct block_buffer *got = NULL;
    assert_int_equal(block_client_get(f->blocks, &b->id, NULL, &got), ERR_OK);
    assert_true(slice_equal(got->data, b->data));
    block_buffer_unref(got);
}

static struct fake_server *server(struct fixture *f, unsigned i)
{
    return &f->cluster.servers[i];
}

static void durable_puts_reach_all_and_share_frames(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_buffer *blocks[200];
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
        blocks[i] = random_block(f, 1 + prng_below(&f->prng, 600));
    assert_int_equal(block_client_put_durable(f->blocks, blocks, ARRAY_SIZE(blocks), NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        AWAIT(cluster_copies(&f->cluster, &blocks[i]->id, true) == 3);
        expect_get(f, blocks[i]);
        block_buffer_unref(blocks[i]);
    }
    assert_true(atomic_load(&server(f, 0)->puts) <= 8);
    end(f);
}

static void one_server_down_costs_no_put(void **state)
{
    (void)state;
    for (unsigned down = 0; down < 3; down++) {
        struct fixture *f = start(3, 0);
        server_set(server(f, down), SERVER_REFUSES);
        for (int i = 0; i < 20; i++) {
            struct block_buffer *b = random_block(f, 4096);
            assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
            assert_int_equal(cluster_copies(&f->cluster, &b->id, true), 2);
            expect_get(f, b);
            block_buffer_unref(b);
        }
        end(f);
    }
}

/* Its copy is on no other server instead, least of all a second time on the one whose address the map gives for it. */
static void a_server_at_the_address_of_another_is_not_asked(void **state)
{
    (void)state;
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, 3);
    cluster_misplace(&f->cluster, 2, 0);
    f->meta = cluster_connect(&f->cluster, 0);
    f->blocks = block_client_new(f->meta, 200 * NS_PER_MS);
    prng_seed(&f->prng, 7);
    struct block_buffer *b = random_block(f, 4096);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
    assert_int_equal(cluster_copies(&f->cluster, &b->id, true), 2);
    expect_get(f, b);
    server_set(server(f, 1), SERVER_REFUSES); /* server 1 alone is no majority, under whichever two names */
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_TIMEOUT);
    block_buffer_unref(b);
    end(f);
}

/* With five servers another one takes the copy of the one that is down. */
static void the_next_in_order_takes_the_copy(void **state)
{
    (void)state;
    struct fixture *f = start(5, 0);
    server_set(server(f, 1), SERVER_REFUSES);
    server_set(server(f, 3), SERVER_REFUSES);
    for (int i = 0; i < 20; i++) {
        struct block_buffer *b = random_block(f, 5000);
        assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
        assert_true(cluster_copies(&f->cluster, &b->id, true) >= 2);
        expect_get(f, b);
        block_buffer_unref(b);
    }
    end(f);
}

static void without_a_majority_puts_wait(void **state)
{
    (void)state;
    struct fixture *f = start(3, 300 * NS_PER_MS);
    server_set(server(f, 0), SERVER_REFUSES);
    server_set(server(f, 1), SERVER_REFUSES);
    struct block_buffer *b = random_block(f, 100), *got;
    int64_t begun = clock_boot_ns();
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_TIMEOUT);
    assert_true(clock_boot_ns() - begun >= 300 * NS_PER_MS);
    server_drop(server(f, 2), &b->id);
    assert_int_equal(block_client_get(f->blocks, &b->id, NULL, &got), ERR_TIMEOUT);
    server_set(server(f, 1), SERVER_WELL);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
    block_buffer_unref(b);
    end(f);
}

static void *fire(void *cancel)
{
    nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
    rpc_cancel_fire(cancel);
    return NULL;
}

static void a_wait_can_be_cancelled(void **state)
{
    (void)state;
    static const enum server_fault faults[] = {SERVER_REFUSES, SERVER_SILENT};
    for (size_t k = 0; k < ARRAY_SIZE(faults); k++) {
        struct fixture *f = start(3, 0);
        struct rpc_cancel *cancel = rpc_cancel_new();
        pthread_t thread;
        for (unsigned i = 0; i < 3; i++)
            server_set(server(f, i), faults[k]);
        struct block_buffer *b = random_block(f, 100);
        pthread_create(&thread, NULL, fire, cancel);
        int64_t begun = clock_boot_ns();
        assert_int_equal(block_client_put_durable(f->blocks, &b, 1, cancel), ERR_CANCELLED);
        assert_true(clock_boot_ns() - begun < 10 * NS_PER_S);
        pthread_join(thread, NULL);
        rpc_cancel_free(cancel);
        block_buffer_unref(b);
        end(f);
    }
}

static void full_servers_say_so(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    server_set(server(f, 0), SERVER_FULL);
    struct block_buffer *b = random_block(f, 100);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
    server_set(server(f, 2), SERVER_FULL);
    block_buffer_unref(b);
    b = random_block(f, 100);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_NOSPC);
    struct block_tracker *t = block_tracker_new(f->blocks);
    assert_int_equal(block_tracker_put(t, b, NULL), ERR_NOSPC);
    block_tracker_free(t);
    block_buffer_unref(b);
    end(f);
}

struct took {
    int64_t longest, all;
};

static struct took put_and_sync(struct fixture *f, struct block_tracker *t)
{
    struct took took = {0};
    int64_t begun = clock_boot_ns();
    for (int i = 0; i < 40; i++) {
        struct block_buffer *b = random_block(f, MIB);
        int64_t before = clock_boot_ns();
        assert_int_equal(block_tracker_put(t, b, NULL), ERR_OK);
        took.longest = MAX(took.longest, clock_boot_ns() - before);
        block_buffer_unref(b);
    }
    assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
    took.all = clock_boot_ns() - begun;
    return took;
}

/* A server that does not even read: its socket fills up. Others are not held up for long, and it is avoided then. What
 * it takes with a server that is well says how busy the machine is. */
static void a_stopped_server_is_avoided(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    struct took usual = put_and_sync(f, t);
    server_set(server(f, 1), SERVER_STOPPED);
    struct took took = put_and_sync(f, t);
    assert_true(took.longest < 2900 * NS_PER_MS + usual.all);
    assert_true(took.all < 10 * NS_PER_S + 3 * usual.all);
    block_tracker_free(t);
    server_set(server(f, 1), SERVER_WELL);
    end(f);
}

static int64_t get_all(struct fixture *f, struct block_buffer **blocks, size_t count)
{
    int64_t begun = clock_boot_ns();
    for (size_t i = 0; i < count; i++)
        expect_get(f, blocks[i]);
    return clock_boot_ns() - begun;
}

static void reads_find_another_copy(void **state)
{
    (void)state;
    static const enum server_fault faults[] = {SERVER_REFUSES, SERVER_LACKS, SERVER_LIES, SERVER_SILENT,
                                               SERVER_STOPPED};
    for (size_t k = 0; k < ARRAY_SIZE(faults); k++) {
        struct fixture *f = start(3, 0);
        struct block_buffer *blocks[6];
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
            blocks[i] = random_block(f, 1 + prng_below(&f->prng, MIB));
            assert_int_equal(block_client_put_durable(f->blocks, &blocks[i], 1, NULL), ERR_OK);
            AWAIT(cluster_copies(&f->cluster, &blocks[i]->id, true) == 3);
        }
        int64_t usual = get_all(f, blocks, ARRAY_SIZE(blocks));
        for (unsigned bad = 0; bad < 3; bad++) {
            server_set(server(f, bad), faults[k]);
            assert_true(get_all(f, blocks, ARRAY_SIZE(blocks)) < 2 * NS_PER_S + 3 * usual);
            server_set(server(f, bad), SERVER_WELL);
        }
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
            block_buffer_unref(blocks[i]);
        end(f);
    }
}

static void a_block_that_is_nowhere(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_buffer *b = random_block(f, 100), *got;
    assert_int_equal(block_client_get(f->blocks, &b->id, NULL, &got), ERR_NOT_FOUND);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
    AWAIT(cluster_copies(&f->cluster, &b->id, true) == 3);
    for (unsigned i = 0; i < 3; i++)
        server_set(server(f, i), SERVER_LIES);
    assert_int_equal(block_client_get(f->blocks, &b->id, NULL, &got), ERR_NOT_FOUND);
    block_buffer_unref(b);
    end(f);
}

static void tracked_blocks_are_durable_after_a_sync(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    struct block_buffer *blocks[8];
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        blocks[i] = random_block(f, 200000);
        assert_int_equal(block_tracker_put(t, blocks[i], NULL), ERR_OK);
        assert_int_equal(cluster_copies(&f->cluster, &blocks[i]->id, true), 0);
    }
    assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
        assert_true(cluster_copies(&f->cluster, &blocks[i]->id, true) >= 2);
        block_buffer_unref(blocks[i]);
    }
    unsigned syncs = atomic_load(&server(f, 0)->syncs);
    assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
    assert_int_equal(atomic_load(&server(f, 0)->syncs), syncs);
    block_tracker_free(t);
    end(f);
}

/* What a restart between put and sync has lost is put again. */
static void a_restart_between_put_and_sync(void **state)
{
    (void)state;
    for (unsigned restarts = 1; restarts <= 3; restarts++) {
        struct fixture *f = start(3, 0);
        struct block_tracker *t = block_tracker_new(f->blocks);
        struct block_buffer *b = random_block(f, 300000);
        assert_int_equal(block_tracker_put(t, b, NULL), ERR_OK);
        AWAIT(cluster_copies(&f->cluster, &b->id, false) == 3);
        for (unsigned i = 0; i < restarts; i++)
            server_restart(server(f, i));
        assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
        assert_true(cluster_copies(&f->cluster, &b->id, true) >= 2);
        block_tracker_free(t);
        block_buffer_unref(b);
        end(f);
    }
}

/* A copy whose acknowledgement comes while a sync runs was not necessarily there when the sync began. */
static void a_copy_that_comes_during_a_sync_does_not_count(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    struct block_buffer *first = random_block(f, 1000), *second = random_block(f, 1000);
    assert_int_equal(block_tracker_put(t, first, NULL), ERR_OK);
    AWAIT(cluster_copies(&f->cluster, &first->id, false) == 3);
    /* The second block is with servers 0 and 1; 2 gets to it only after the sync has come. And 0 loses it. */
    atomic_store(&server(f, 2)->put_delay_ms, 100);
    assert_int_equal(block_tracker_put(t, second, NULL), ERR_OK);
    server_restart(server(f, 0));
    atomic_store(&server(f, 2)->sync_delay_ms, 300);
    assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
    assert_true(cluster_copies(&f->cluster, &second->id, true) >= 2);
    assert_true(cluster_copies(&f->cluster, &first->id, true) >= 2);
    block_tracker_free(t);
    block_buffer_unref(first);
    block_buffer_unref(second);
    end(f);
}

struct syncing {
    struct block_tracker *tracker;
    enum err result;
};

static void *sync_it(void *context)
{
    struct syncing *s = context;
    s->result = block_tracker_sync(s->tracker, NULL);
    return NULL;
}

/* The second of two syncs at once covers what the first has taken in hand. */
static void two_syncs_at_once(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    struct block_buffer *b = random_block(f, 1000);
    assert_int_equal(block_tracker_put(t, b, NULL), ERR_OK);
    /* Stopped, the servers take the first sync only when the second one has begun. */
    for (unsigned i = 0; i < 3; i++)
        server_set(server(f, i), SERVER_STOPPED);
    struct syncing first = {.tracker = t}, second = {.tracker = t};
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, sync_it, &first);
    nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
    struct rpc_cancel *cancel = rpc_cancel_new();
    pthread_create(&threads[1], NULL, fire, cancel);
    assert_int_equal(block_tracker_sync(t, cancel), ERR_CANCELLED);
    pthread_join(threads[1], NULL);
    rpc_cancel_free(cancel);
    for (unsigned i = 0; i < 3; i++)
        server_set(server(f, i), SERVER_WELL);
    sync_it(&second);
    assert_int_equal(second.result, ERR_OK);
    assert_true(cluster_copies(&f->cluster, &b->id, true) >= 2);
    pthread_join(threads[0], NULL);
    assert_int_equal(first.result, ERR_OK);
    block_tracker_free(t);
    block_buffer_unref(b);
    end(f);
}

static void a_tracker_bounds_what_is_unsynced(void **state)
{
    (void)state;
    struct fixture *f = start(1, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    for (int i = 0; i < 70; i++) {
        uint8_t *data = mem_zalloc(MIB);
        data[0] = (uint8_t)i;
        struct block_buffer *b = block_buffer_new(data, MIB);
        assert_int_equal(block_tracker_put(t, b, NULL), ERR_OK);
        block_buffer_unref(b);
    }
    assert_true(atomic_load(&server(f, 0)->syncs) >= 1);
    block_tracker_free(t);
    end(f);
}

struct putter {
    struct fixture *fixture;
    struct block_tracker *tracker;
    unsigned seed;
    enum err failure; /* assertions belong to the main thread */
};

static void check(struct putter *p, enum err e)
{
    if (e != ERR_OK)
        p->failure = e;
}

static void *put_many(void *context)
{
    struct putter *p = context;
    struct prng prng;
    prng_seed(&prng, p->seed);
    for (int i = 0; i < 60; i++) {
        size_t size = 1 + prng_below(&prng, 30000);
        uint8_t *data = mem_alloc(size);
        for (size_t k = 0; k < size; k++)
            data[k] = (uint8_t)prng_next(&prng);
        struct block_buffer *b = block_buffer_new(data, size);
        enum err e = i % 3 == 0 ? block_client_put_durable(p->fixture->blocks, &b, 1, NULL)
                                : block_tracker_put(p->tracker, b, NULL);
        check(p, e);
        if (i % 10 == 9)
            check(p, block_tracker_sync(p->tracker, NULL));
        struct block_buffer *got = NULL;
        /* What no sync covers yet may be gone from two servers that restart one after the other: only what is durable
         * must be found. */
        if (p->failure == ERR_OK && i % 3 == 0)
            check(p, block_client_get(p->fixture->blocks, &b->id, NULL, &got));
        if (got && !slice_equal(got->data, b->data))
            check(p, ERR_CORRUPT);
        block_buffer_unref(got);
        block_buffer_unref(b);
    }
    return NULL;
}

/* Many threads, one tracker, and a server that goes and comes back. */
static void many_threads_and_a_flapping_server(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_tracker *t = block_tracker_new(f->blocks);
    struct putter putters[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        putters[i] = (struct putter){.fixture = f, .tracker = t, .seed = i};
        pthread_create(&threads[i], NULL, put_many, &putters[i]);
    }
    for (int i = 0; i < 12; i++) {
        static const enum server_fault faults[] = {SERVER_REFUSES, SERVER_LIES, SERVER_REFUSES, SERVER_FULL};
        unsigned which = (unsigned)i % 3;
        server_set(server(f, which), faults[i % 4]);
        nanosleep(&(struct timespec){.tv_nsec = 20 * NS_PER_MS}, NULL);
        server_restart(server(f, which));
        server_set(server(f, which), SERVER_WELL);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(putters[i].failure, ERR_OK);
    }
    assert_int_equal(block_tracker_sync(t, NULL), ERR_OK);
    block_tracker_free(t);
    end(f);
}

static void space_is_counted_once(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_client_space space;
    assert_int_equal(block_client_space(f->blocks, NULL, &space), ERR_OK);
    assert_int_equal(space.total, 3000);
    assert_int_equal(space.free, 1500);
    assert_int_equal(space.available, 1500);
    end(f);
}

static void space_is_what_can_have_all_copies(void **state)
{
    (void)state;
    static const struct {
        unsigned count, copies;
        uint64_t room[5], writable;
    } cases[] = {
        {3, 3, {100, 100, 100}, 100},
        {3, 3, {100, 7, 100}, 7},
        {3, 3, {100, 0, 100}, 0},
        {3, 2, {100, 0, 100}, 100},
        {3, 2, {100, 100, 100}, 150},
        {3, 2, {1000, 10, 20}, 30},
        {3, 1, {1, 2, 3}, 6},
        {5, 3, {9, 9, 9, 9, 9}, 15},
        {2, 3, {9, 9}, 0},
        {0, 0, {0}, 0},
        {1, 1, {0}, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(block_space_writable(cases[i].room, cases[i].count, cases[i].copies), cases[i].writable);
    uint64_t vast[2] = {UINT64_MAX, UINT64_MAX};
    assert_true(block_space_writable(vast, 2, 2) > UINT64_MAX / 128);
}

static void space_that_servers_keep_is_not_available(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_client_space space;
    for (int i = 0; i < 3; i++)
        atomic_store(&f->cluster.servers[i].disk_kept, 400);
    atomic_store(&f->cluster.servers[1].disk_free, 600);
    assert_int_equal(block_client_space(f->blocks, NULL, &space), ERR_OK);
    assert_int_equal(space.free, 1200);
    assert_int_equal(space.available, 200);
    end(f);
    f = start(3, 0);
    atomic_store(&f->cluster.servers[2].full, true);
    assert_int_equal(block_client_space(f->blocks, NULL, &space), ERR_OK);
    assert_int_equal(space.free, 1500);
    assert_int_equal(space.available, 0);
    end(f);
}

/* Without those that have just refused a put for want of room, all of the others' would count. */
static void space_counts_those_that_refused_for_want_of_room(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_client_space space;
    for (unsigned i = 0; i < 2; i++) {
        server_set(server(f, i), SERVER_FULL);
        atomic_store(&server(f, i)->full, true);
    }
    struct block_buffer *b = random_block(f, 100);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_NOSPC);
    block_buffer_unref(b);
    assert_int_equal(block_client_space(f->blocks, NULL, &space), ERR_OK);
    assert_int_equal(space.total, 3000);
    assert_int_equal(space.available, 0);
    end(f);
}

/* ---- the cache ---- */

static void the_cache_keeps_what_was_used_last(void **state)
{
    (void)state;
    struct fixture *f = start(3, 0);
    struct block_cache *cache = block_cache_new(f->blocks, NULL, 10000);
    struct block_buffer *blocks[4], *got;
    for (int i = 0; i < 4; i++) {
        blocks[i] = random_block(f, 3000);
        assert_int_equal(block_client_put_durable(f->blocks, &blocks[i], 1, NULL), ERR_OK);
    }
    static const int order[] = {0, 1, 2, 0, 3};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        assert_int_equal(block_cache_get(cache, &blocks[order[i]]->id, NULL, &got), ERR_OK);
        assert_true(slice_equal(got->data, blocks[order[i]]->data));
        block_buffer_unref(got);
    }
    assert_true(block_cache_has(cache, &blocks[0]->id));
    assert_false(block_cache_has(cache, &blocks[1]->id));
    assert_true(block_cache_has(cache, &blocks[2]->id));
    assert_true(block_cache_has(cache, &blocks[3]->id));
    struct block_cache_stats stats;
    block_cache_stats(cache, &stats);
    assert_int_equal(stats.bytes, 9000);
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 4);
    for (int i = 0; i < 4; i++)
        block_buffer_unref(blocks[i]);
    block_cache_free(cache);
    end(f);
}

struct reader {
    struct block_cache *cache;
    const struct block_buffer *expected;
    atomic_uint good;
};

static void *read_it(void *context)
{
    struct reader *r = context;
    struct block_buffer *got = NULL;
    if (block_cache_get(r->cache, &r->expected->id, NULL, &got) == ERR_OK && slice_equal(got->data, r->expected->data))
        atomic_fetch_add(&r->good, 1);
    block_buffer_unref(got);
    return NULL;
}

static void readers_of_one_block_share_a_fetch(void **state)
{
    (void)state;
    struct fixture *f = start(1, 0);
    struct block_cache *cache = block_cache_new(f->blocks, NULL, 10 * MIB);
    struct block_buffer *b = random_block(f, 500000);
    assert_int_equal(block_client_put_durable(f->blocks, &b, 1, NULL), ERR_OK);
    atomic_store(&server(f, 0)->get_delay_ms, 50);
    struct reader reader = {.cache = cache, .expected = b};
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, read_it, &reader);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&reader.good), 8);
    assert_int_equal(atomic_load(&server(f, 0)->gets), 1);
    block_buffer_unref(b);
    block_cache_free(cache);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durable_puts_reach_all_and_share_frames),
        cmocka_unit_test(one_server_down_costs_no_put),
        cmocka_unit_test(a_server_at_the_address_of_another_is_not_asked),
        cmocka_unit_test(the_next_in_order_takes_the_copy),
        cmocka_unit_test(without_a_majority_puts_wait),
        cmocka_unit_test(a_wait_can_be_cancelled),
        cmocka_unit_test(full_servers_say_so),
        cmocka_unit_test(a_stopped_server_is_avoided),
        cmocka_unit_test(reads_find_another_copy),
        cmocka_unit_test(a_block_that_is_nowhere),
        cmocka_unit_test(tracked_blocks_are_durable_after_a_sync),
        cmocka_unit_test(a_restart_between_put_and_sync),
        cmocka_unit_test(a_copy_that_comes_during_a_sync_does_not_count),
        cmocka_unit_test(two_syncs_at_once),
        cmocka_unit_test(a_tracker_bounds_what_is_unsynced),
        cmocka_unit_test(many_threads_and_a_flapping_server),
        cmocka_unit_test(space_is_counted_once),
        cmocka_unit_test(space_is_what_can_have_all_copies),
        cmocka_unit_test(space_that_servers_keep_is_not_available),
        cmocka_unit_test(space_counts_those_that_refused_for_want_of_room),
        cmocka_unit_test(the_cache_keeps_what_was_used_last),
        cmocka_unit_test(readers_of_one_block_share_a_fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
