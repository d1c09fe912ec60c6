/* The shared sync: what it covers, and that callers share it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "blockstore/barrier.h"

struct runs {
    struct barrier barrier;
    unsigned flushes, log_syncs;
    enum err outcome;
};

static enum err run(void *arg, bool flush)
{
    struct runs *r = arg;
    flush ? r->flushes++ : r->log_syncs++;
    return r->outcome;
}

static void put(struct runs *r, uint64_t bytes, bool expect_logged)
{
    bool logged = barrier_put_begin(&r->barrier, bytes);
    assert_int_equal(logged, expect_logged);
    barrier_put_end(&r->barrier, logged);
}

static void sync_expect(struct runs *r, enum err outcome, unsigned flushes, unsigned log_syncs)
{
    assert_int_equal(barrier_sync(&r->barrier, run, r), outcome);
    assert_int_equal(r->flushes, flushes);
    assert_int_equal(r->log_syncs, log_syncs);
}

static void test_ways(void **state)
{
    (void)state;
    struct runs r = {.outcome = ERR_OK};
    barrier_init(&r.barrier);
    sync_expect(&r, ERR_OK, 0, 0); /* nothing to do */
    put(&r, BARRIER_LOGGED_BYTES / 2, true);
    assert_false(barrier_is_clean(&r.barrier));
    sync_expect(&r, ERR_OK, 0, 1);
    assert_true(barrier_is_clean(&r.barrier));
    put(&r, BARRIER_LOGGED_BYTES, true);
    put(&r, 1, false);
    put(&r, 1, false); /* once the log is left, a flush is needed anyway */
    sync_expect(&r, ERR_OK, 1, 1);
    assert_true(barrier_is_clean(&r.barrier));
    put(&r, 1, true);
    put(&r, BARRIER_LOGGED_BYTES, false);
    put(&r, 1, false);
    sync_expect(&r, ERR_OK, 2, 1);
    sync_expect(&r, ERR_OK, 2, 1);
    barrier_close(&r.barrier);
}

/* A put that is under way can be seen already: then a sync may not be skipped. */
static void test_under_way(void **state)
{
    (void)state;
    struct runs r = {.outcome = ERR_OK};
    barrier_init(&r.barrier);
    bool logged = barrier_put_begin(&r.barrier, 1);
    assert_false(barrier_is_clean(&r.barrier));
    sync_expect(&r, ERR_OK, 0, 1);
    assert_false(barrier_is_clean(&r.barrier)); /* it may have begun before the row was there */
    barrier_put_end(&r.barrier, logged);
    sync_expect(&r, ERR_OK, 0, 2);
    assert_true(barrier_is_clean(&r.barrier));
    assert_true(barrier_put_begin(&r.barrier, BARRIER_LOGGED_BYTES));
    logged = barrier_put_begin(&r.barrier, 1);
    assert_false(logged);
    sync_expect(&r, ERR_OK, 1, 2);
    barrier_put_end(&r.barrier, logged);
    barrier_put_end(&r.barrier, true);
    sync_expect(&r, ERR_OK, 2, 2);
    barrier_close(&r.barrier);
}

/* After a failure nothing is covered, and the log's sync is not asked again for what it failed to sync. */
static void test_failure(void **state)
{
    (void)state;
    struct runs r = {.outcome = ERR_NOSPC};
    barrier_init(&r.barrier);
    put(&r, 1, true);
    sync_expect(&r, ERR_NOSPC, 0, 1);
    assert_false(barrier_is_clean(&r.barrier));
    sync_expect(&r, ERR_NOSPC, 1, 1);
    put(&r, 1, false);
    r.outcome = ERR_OK;
    sync_expect(&r, ERR_OK, 2, 1);
    assert_true(barrier_is_clean(&r.barrier));
    put(&r, 1, true);
    sync_expect(&r, ERR_OK, 2, 2);
    barrier_close(&r.barrier);
}

#define THREADS 4u
#define ROUNDS 2000u

/* What a power cut would leave: `visible` is what was put, `durable` what a run found. */
struct shared {
    struct barrier barrier;
    atomic_uint visible_logged, visible_unlogged;
    atomic_uint durable_logged, durable_unlogged;
    atomic_uint runs, syncs;
};

static enum err run_shared(void *arg, bool flush)
{
    struct shared *s = arg;
    for (unsigned i = 0; i < 20; i++)
        sched_yield(); /* so that others come while this runs */
    unsigned logged = atomic_load(&s->visible_logged), unlogged = atomic_load(&s->visible_unlogged);
    atomic_store(&s->durable_logged, logged);
    if (flush)
        atomic_store(&s->durable_unlogged, unlogged);
    atomic_fetch_add(&s->runs, 1);
    return ERR_OK;
}

static void *worker(void *arg)
{
    struct shared *s = arg;
    for (unsigned n = 0; n < ROUNDS; n++) {
        bool logged = barrier_put_begin(&s->barrier, BARRIER_LOGGED_BYTES / 3);
        unsigned mine = atomic_fetch_add(logged ? &s->visible_logged : &s->visible_unlogged, 1) + 1;
        barrier_put_end(&s->barrier, logged);
        /* Also what others have put, and perhaps not ended: it can be seen. */
        unsigned seen_logged = atomic_load(&s->visible_logged), seen_unlogged = atomic_load(&s->visible_unlogged);
        enum err e = barrier_sync(&s->barrier, run_shared, s);
        atomic_fetch_add(&s->syncs, 1);
        unsigned durable = atomic_load(logged ? &s->durable_logged : &s->durable_unlogged);
        if (e != ERR_OK || durable < mine || atomic_load(&s->durable_logged) < seen_logged ||
            atomic_load(&s->durable_unlogged) < seen_unlogged) {
            fprintf(stderr, "a sync returned before what was seen was durable\n");
            abort(); /* cmocka's assertions belong to the main thread */
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct shared s;
    barrier_init(&s.barrier);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, &s), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(barrier_is_clean(&s.barrier));
    assert_int_equal(atomic_load(&s.visible_logged) + atomic_load(&s.visible_unlogged), THREADS * ROUNDS);
    assert_true(atomic_load(&s.runs) <= atomic_load(&s.syncs));
    printf("%u syncs in %u runs\n", atomic_load(&s.syncs), atomic_load(&s.runs));
    barrier_close(&s.barrier);
}

/* One run is held up; those that come meanwhile share the next one. */
struct held {
    struct barrier barrier;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool entered, go; /* protected by lock */
    unsigned runs;    /* protected by lock */
};

static enum err run_held(void *arg, bool flush)
{
    (void)flush;
    struct held *h = arg;
    pthread_mutex_lock(&h->lock);
    h->runs++;
    h->entered = true;
    pthread_cond_broadcast(&h->change);
    while (!h->go)
        pthread_cond_wait(&h->change, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return ERR_OK;
}

static void *sync_held(void *arg)
{
    struct held *h = arg;
    if (barrier_sync(&h->barrier, run_held, h) != ERR_OK)
        abort();
    return NULL;
}

static void test_callers_share(void **state)
{
    (void)state;
    struct held h = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
    barrier_init(&h.barrier);
    pthread_t threads[6];
    barrier_put_end(&h.barrier, barrier_put_begin(&h.barrier, 1));
    assert_int_equal(pthread_create(&threads[0], NULL, sync_held, &h), 0);
    pthread_mutex_lock(&h.lock);
    while (!h.entered)
        pthread_cond_wait(&h.change, &h.lock);
    pthread_mutex_unlock(&h.lock);
    barrier_put_end(&h.barrier, barrier_put_begin(&h.barrier, 1)); /* not covered by the run under way */
    for (unsigned i = 1; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sync_held, &h), 0);
    pthread_mutex_lock(&h.lock);
    h.go = true;
    pthread_cond_broadcast(&h.change);
    pthread_mutex_unlock(&h.lock);
    for (unsigned i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(h.runs, 2);
    assert_true(barrier_is_clean(&h.barrier));
    barrier_close(&h.barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),          cmocka_unit_test(test_under_way), cmocka_unit_test(test_failure),
        cmocka_unit_test(test_callers_share), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
