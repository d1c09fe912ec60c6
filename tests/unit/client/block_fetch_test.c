/* Many blocks that are fetched together, against servers that fail. */
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
#include "cluster.h"

#define SERVERS 3u
#define BLOCKS_MAX 300u

struct fixture {
    struct cluster cluster;
    struct meta_client *meta;
    struct block_client *blocks;
    struct prng prng;
    struct block_buffer *put[BLOCKS_MAX];
    struct sha256 ids[BLOCKS_MAX];
    unsigned count;
    unsigned came[BLOCKS_MAX]; /* how often each was given */
};

/* `count` blocks of up to `size` bytes, on all servers. */
static struct fixture *start(unsigned count, size_t size)
{
    struct fixture *f = MEM_NEW(struct fixture);
    cluster_start(&f->cluster, SERVERS);
    f->meta = cluster_connect(&f->cluster, 0);
    f->blocks = block_client_new(f->meta, 0);
    prng_seed(&f->prng, 7);
    f->count = count;
    for (unsigned n = 0; n < count; n++) {
        size_t length = 16 + prng_below(&f->prng, size - 15);
        uint8_t *data = mem_alloc(length);
        for (size_t i = 0; i < length; i++)
            data[i] = (uint8_t)prng_next(&f->prng);
        f->put[n] = block_buffer_new(data, length);
        f->ids[n] = f->put[n]->id;
    }
    assert_int_equal(block_client_put_durable(f->blocks, f->put, count, NULL), ERR_OK);
    for (unsigned n = 0; n < count; n++)
        AWAIT(cluster_copies(&f->cluster, &f->ids[n], true) == SERVERS);
    return f;
}

static void end(struct fixture *f)
{
    for (unsigned n = 0; n < f->count; n++)
        block_buffer_unref(f->put[n]);
    block_client_free(f->blocks);
    meta_client_close(f->meta);
    cluster_stop(&f->cluster);
    free(f);
}

static unsigned gets(struct fixture *f)
{
    unsigned sum = 0;
    for (unsigned s = 0; s < SERVERS; s++)
        sum += atomic_load(&f->cluster.servers[s].gets);
    return sum;
}

static void take(void *context, size_t index, struct block_buffer *block)
{
    struct fixture *f = context;
    assert_true(index < f->count);
    assert_true(slice_equal(block->data, f->put[index]->data));
    f->came[index]++;
}

static enum err get_all(struct fixture *f, struct rpc_cancel *cancel)
{
    memset(f->came, 0, sizeof f->came);
    return block_client_get_many(f->blocks, f->ids, f->count, cancel, take, f);
}

static void expect_all(struct fixture *f)
{
    assert_int_equal(get_all(f, NULL), ERR_OK);
    for (unsigned n = 0; n < f->count; n++)
        assert_int_equal(f->came[n], 1);
}

/* On a machine that is too slow to answer in time others are asked, too: so it is tried until it isn't. */
static unsigned least_gets(struct fixture *f, unsigned enough)
{
    unsigned least = UINT32_MAX;
    for (int64_t until_ns = clock_boot_ns() + 10 * NS_PER_S; least > enough && clock_boot_ns() < until_ns;) {
        unsigned before = gets(f);
        expect_all(f);
        least = MIN(least, gets(f) - before);
    }
    return least;
}

static void small_blocks_share_requests(void **state)
{
    (void)state;
    struct fixture *f = start(BLOCKS_MAX, 2000);
    assert_true(least_gets(f, SERVERS) <= SERVERS);
    end(f);
}

/* What does not fit into one answer is asked for again. */
static void large_blocks_come_too(void **state)
{
    (void)state;
    struct fixture *f = start(12, MIB);
    assert_true(least_gets(f, f->count) <= f->count);
    end(f);
}

static void one_server_fails(void **state)
{
    (void)state;
    static const enum server_fault faults[] = {SERVER_REFUSES, SERVER_LACKS, SERVER_LIES, SERVER_SILENT,
                                               SERVER_STOPPED};
    struct fixture *f = start(100, 20000);
    for (size_t k = 0; k < ARRAY_SIZE(faults); k++)
        for (unsigned bad = 0; bad < SERVERS; bad++) {
            server_set(&f->cluster.servers[bad], faults[k]);
            expect_all(f);
            server_set(&f->cluster.servers[bad], SERVER_WELL);
        }
    end(f);
}

/* Only what one server has of its own comes from it. */
static void each_server_has_some(void **state)
{
    (void)state;
    struct fixture *f = start(90, 5000);
    for (unsigned n = 0; n < f->count; n++)
        for (unsigned s = 0; s < SERVERS; s++)
            if (n % SERVERS != s)
                server_drop(&f->cluster.servers[s], &f->ids[n]);
    expect_all(f);
    end(f);
}

static void one_that_is_nowhere_keeps_no_other_back(void **state)
{
    (void)state;
    struct fixture *f = start(50, 5000);
    for (unsigned s = 0; s < SERVERS; s++)
        server_drop(&f->cluster.servers[s], &f->ids[f->count - 1]);
    assert_int_equal(get_all(f, NULL), ERR_NOT_FOUND);
    for (unsigned n = 0; n < f->count; n++)
        assert_int_equal(f->came[n], n + 1 < f->count);
    end(f);
}

static void *fire(void *cancel)
{
    nanosleep(&(struct timespec){.tv_nsec = 150 * NS_PER_MS}, NULL);
    rpc_cancel_fire(cancel);
    return NULL;
}

static void it_can_be_cancelled(void **state)
{
    (void)state;
    struct fixture *f = start(50, 5000);
    struct rpc_cancel *cancel = rpc_cancel_new();
    pthread_t thread;
    for (unsigned s = 0; s < SERVERS; s++)
        server_set(&f->cluster.servers[s], SERVER_SILENT);
    pthread_create(&thread, NULL, fire, cancel);
    assert_int_equal(get_all(f, cancel), ERR_CANCELLED);
    pthread_join(thread, NULL);
    rpc_cancel_free(cancel);
    end(f);
}

/* ---- through the cache ---- */

struct reader {
    struct fixture *fixture;
    struct block_cache *cache;
    unsigned from;
};

static void *read_them(void *context)
{
    struct reader *r = context;
    struct fixture *f = r->fixture;
    block_cache_fetch(r->cache, f->ids + r->from, 100, NULL);
    for (unsigned n = r->from; n < r->from + 100; n++) {
        struct block_buffer *got;
        if (block_cache_get(r->cache, &f->ids[n], NULL, &got) != ERR_OK)
            return NULL;
        bool same = slice_equal(got->data, f->put[n]->data);
        block_buffer_unref(got);
        if (!same)
            return NULL;
    }
    return r;
}

static void readers_of_the_same_share_fetches(void **state)
{
    (void)state;
    struct fixture *f = start(200, 5000);
    struct block_cache *cache = block_cache_new(f->blocks, NULL, 10 * MIB);
    struct reader readers[6];
    pthread_t threads[ARRAY_SIZE(readers)];
    for (unsigned t = 0; t < ARRAY_SIZE(readers); t++) {
        readers[t] = (struct reader){f, cache, 20 * t};
        pthread_create(&threads[t], NULL, read_them, &readers[t]);
    }
    for (unsigned t = 0; t < ARRAY_SIZE(readers); t++) {
        void *good;
        pthread_join(threads[t], &good);
        assert_non_null(good);
    }
    struct block_cache_stats stats;
    block_cache_stats(cache, &stats);
    assert_in_range(stats.misses, 200, 6 * 100 - 1); /* those that came too late were fetched once more */
    block_cache_free(cache);
    end(f);
}

/* What could not be fetched is no longer waited for. */
static void a_fetch_that_fails_leaves_nothing(void **state)
{
    (void)state;
    struct fixture *f = start(20, 5000);
    struct block_cache *cache = block_cache_new(f->blocks, NULL, 10 * MIB);
    struct sha256 *lost = &f->ids[f->count - 1];
    struct block_buffer *got;
    for (unsigned s = 0; s < SERVERS; s++)
        server_drop(&f->cluster.servers[s], lost);
    do /* until it is quick enough */
        block_cache_fetch(cache, f->ids, f->count, NULL);
    while (!block_cache_has(cache, &f->ids[0]));
    assert_false(block_cache_has(cache, lost));
    assert_int_equal(block_cache_get(cache, lost, NULL, &got), ERR_NOT_FOUND);
    block_cache_free(cache);
    end(f);
}

/* One that only a server has that is away would be waited for for ever: the others come nevertheless, and whoever waits
 * for one of them waits no longer. */
static void what_is_away_holds_up_nothing(void **state)
{
    (void)state;
    struct fixture *f = start(20, 5000);
    struct block_cache *cache = block_cache_new(f->blocks, NULL, 10 * MIB);
    server_drop(&f->cluster.servers[1], &f->ids[0]);
    server_drop(&f->cluster.servers[2], &f->ids[0]);
    server_set(&f->cluster.servers[0], SERVER_REFUSES);
    block_cache_fetch(cache, f->ids, f->count, NULL);
    assert_false(block_cache_has(cache, &f->ids[0]));
    for (unsigned n = 1; n < f->count; n++) {
        struct block_buffer *got;
        assert_int_equal(block_cache_get(cache, &f->ids[n], NULL, &got), ERR_OK);
        block_buffer_unref(got);
    }
    server_set(&f->cluster.servers[0], SERVER_WELL);
    block_cache_free(cache);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_blocks_share_requests),
        cmocka_unit_test(large_blocks_come_too),
        cmocka_unit_test(one_server_fails),
        cmocka_unit_test(each_server_has_some),
        cmocka_unit_test(one_that_is_nowhere_keeps_no_other_back),
        cmocka_unit_test(it_can_be_cancelled),
        cmocka_unit_test(readers_of_the_same_share_fetches),
        cmocka_unit_test(a_fetch_that_fails_leaves_nothing),
        cmocka_unit_test(what_is_away_holds_up_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
