/* Channels: waits over several of them, abandoned calls, and all of it at once while the server drops everybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

#include "channel_tests.h"

struct crowd {
    struct rpc_channel *channel;
    uint64_t seed;
    unsigned calls, wrong;
};

static void test_wait_any_over_channels(void **state)
{
    (void)state;
    static struct fixture servers[3];
    struct rpc_channel *channels[3];
    struct rpc_call *calls[4] = {0};
    size_t index = 99;
    for (int i = 0; i < 3; i++) {
        fixture_start(&servers[i], 0);
        channels[i] = channel_to(&servers[i].address);
        calls[i + 1] = rpc_call_start(channels[i], FIXTURE_HOLD, slice_str("h"), NULL, 0, in_ms(20000), NULL);
    }
    assert_int_equal(rpc_call_wait_any(calls, 4, in_ms(20), NULL, &index), ERR_TIMEOUT);
    struct rpc_cancel *cancel = rpc_cancel_new();
    struct canceller canceller = {cancel, NULL};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    assert_int_equal(rpc_call_wait_any(calls, 4, in_ms(20000), cancel, &index), ERR_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rpc_cancel_free(cancel);
    static const int order[] = {1, 2, 0};
    for (int i = 0; i < 3; i++) {
        AWAIT(atomic_load(&servers[order[i]].held_count) == 1);
        if (i < 2)
            fixture_release(&servers[order[i]]);
        else
            fixture_drop(&servers[order[i]]);
        assert_int_equal(rpc_call_wait_any(calls, 4, in_ms(20000), NULL, &index), ERR_OK);
        assert_int_equal(index, order[i] + 1);
        struct slice reply, payload;
        assert_int_equal(rpc_call_result(calls[index], &reply, &payload), i < 2 ? ERR_OK : ERR_CLOSED);
        rpc_call_free(calls[index]);
        calls[index] = NULL;
    }
    for (int i = 0; i < 3; i++) {
        rpc_channel_free(channels[i]);
        fixture_stop(&servers[i]);
    }
}

/* The thread has no descriptor of its own yet, and can't have one. */
static void *wait_without_descriptors(void *channel)
{
    struct rlimit before, now;
    size_t index;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest_free = dup(STDIN_FILENO);
    assert_true(lowest_free >= 0);
    close(lowest_free);
    now = before;
    now.rlim_cur = (rlim_t)lowest_free;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    struct rpc_call *call = rpc_call_start(channel, FIXTURE_HOLD, slice_str("h"), NULL, 0, in_ms(20000), NULL);
    assert_int_equal(rpc_call_wait_any(&call, 1, in_ms(50), NULL, &index), ERR_TIMEOUT);
    struct rpc_cancel *cancel = rpc_cancel_new();
    struct canceller canceller = {cancel, NULL};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    assert_int_equal(rpc_call_wait_any(&call, 1, in_ms(20000), cancel, &index), ERR_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rpc_cancel_free(cancel);
    AWAIT(atomic_load(&server.held_count) == 1);
    fixture_release(&server);
    assert_int_equal(rpc_call_wait_any(&call, 1, INT64_MAX, NULL, &index), ERR_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    rpc_call_free(call);
    return NULL;
}

static void test_waits_without_descriptors(void **state)
{
    pthread_t thread;
    assert_int_equal(echo(*state), ERR_OK); /* it is connected */
    assert_int_equal(pthread_create(&thread, NULL, wait_without_descriptors, *state), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

struct finish {
    atomic_uint calls;
    enum err status;
    bool good;
};

static void on_finished(void *context, enum err status, struct slice message)
{
    struct finish *f = context;
    f->status = status;
    f->good = slice_equal(message, slice_str("background"));
    atomic_fetch_add(&f->calls, 1);
}

static void test_abandoned_call_is_finished(void **state)
{
    struct finish f = {0};
    rpc_call_abandon(rpc_call_start(*state, FIXTURE_HOLD, slice_str("background"), NULL, 0, in_ms(20000), NULL),
                     on_finished, &f);
    AWAIT(atomic_load(&server.held_count) == 1);
    assert_int_equal(atomic_load(&f.calls), 0);
    fixture_release(&server); /* nobody waits: the helper reads */
    AWAIT(atomic_load(&f.calls) == 1);
    assert_int_equal(f.status, ERR_OK);
    assert_true(f.good);
    /* While another call waits, its thread reads for the abandoned one too. */
    rpc_call_abandon(rpc_call_start(*state, FIXTURE_HOLD, slice_str("background"), NULL, 0, in_ms(20000), NULL),
                     on_finished, &f);
    assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
    AWAIT(atomic_load(&f.calls) == 2);
    /* One that has ended already. */
    struct rpc_call *k = rpc_call_start(*state, FIXTURE_ECHO, slice_str("background"), NULL, 0, in_ms(20000), NULL);
    size_t index;
    assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(20000), NULL, &index), ERR_OK);
    rpc_call_abandon(k, on_finished, &f);
    assert_int_equal(atomic_load(&f.calls), 3);
}

static void test_abandoned_calls_keep_their_deadlines(void **state)
{
    struct finish soon = {0}, later = {0};
    int64_t begun = clock_boot_ns();
    rpc_call_abandon(rpc_call_start(*state, FIXTURE_HOLD, SLICE(NULL, 0), NULL, 0, in_ms(250), NULL), on_finished,
                     &later);
    rpc_call_abandon(rpc_call_start(*state, FIXTURE_HOLD, SLICE(NULL, 0), NULL, 0, in_ms(50), NULL), on_finished,
                     &soon);
    AWAIT(atomic_load(&soon.calls) == 1);
    assert_int_equal(soon.status, ERR_TIMEOUT);
    assert_true(clock_boot_ns() - begun >= 50 * NS_PER_MS);
    AWAIT(atomic_load(&later.calls) == 1);
    assert_int_equal(later.status, ERR_TIMEOUT);
    assert_true(clock_boot_ns() - begun >= 250 * NS_PER_MS);
    assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
}

static void test_abandoned_call_of_a_dead_connection(void **state)
{
    struct finish f = {0};
    rpc_call_abandon(rpc_call_start(*state, FIXTURE_HOLD, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL), on_finished,
                     &f);
    AWAIT(atomic_load(&server.held_count) == 1);
    fixture_drop(&server);
    AWAIT(atomic_load(&f.calls) == 1);
    assert_int_equal(f.status, ERR_CLOSED);
    struct rpc_channel *c = channel_to(&server.address);
    rpc_call_abandon(rpc_call_start(c, FIXTURE_HOLD, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL), on_finished, &f);
    rpc_channel_free(c);
    assert_int_equal(atomic_load(&f.calls), 2);
    assert_int_equal(f.status, ERR_CLOSED);
    AWAIT(atomic_load(&server.held_count) == 2);
    assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
}

/* As replicated writes are made: start on all, wait for the majority, let the last one finish by itself. */
struct writer {
    struct rpc_channel **channels;
    atomic_uint *finished, *failed;
    uint64_t seed;
    unsigned writes, wrong;
};

static void on_write_finished(void *context, enum err status, struct slice message)
{
    (void)message;
    struct writer *w = context;
    if (status != ERR_OK)
        atomic_fetch_add(w->failed, 1);
    atomic_fetch_add(w->finished, 1);
}

static void *write_replicated(void *context)
{
    struct writer *w = context;
    struct prng p;
    prng_seed(&p, w->seed);
    uint8_t *data = mem_zalloc(100000);
    for (unsigned i = 0; i < w->writes; i++) {
        struct slice payload = SLICE(data, prng_below(&p, 8) ? 100 : 100000), reply, none;
        struct rpc_call *calls[3];
        memset(data, (int)(i & 255), 100);
        for (int k = 0; k < 3; k++)
            calls[k] = rpc_call_start(w->channels[k], FIXTURE_SUM, SLICE(NULL, 0), &payload, 1, in_ms(20000), NULL);
        for (int done = 0; done < 2; done++) {
            size_t index;
            if (rpc_call_wait_any(calls, 3, in_ms(20000), NULL, &index) != ERR_OK) {
                w->wrong++;
                break;
            }
            enum err e = rpc_call_result(calls[index], &reply, &none);
            w->wrong += e != ERR_OK || reply.size != 8 || get_u64be(reply.data) != (uint64_t)(i & 255) * 100;
            rpc_call_abandon(calls[index], on_write_finished, w);
            calls[index] = NULL;
        }
        for (int k = 0; k < 3; k++)
            if (calls[k])
                rpc_call_abandon(calls[k], on_write_finished, w);
    }
    free(data);
    return NULL;
}

static void test_two_of_three(void **state)
{
    (void)state;
    enum { THREADS = 5, WRITES = 150 };
    static struct fixture servers[3];
    struct rpc_channel *channels[3];
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    atomic_uint finished = 0, failed = 0;
    for (int i = 0; i < 3; i++) {
        fixture_start(&servers[i], 0);
        channels[i] = channel_to(&servers[i].address);
    }
    for (uint64_t i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){channels, &finished, &failed, 70 + i, WRITES, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, write_replicated, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].wrong, 0);
    }
    AWAIT(atomic_load(&finished) == 3 * THREADS * WRITES);
    assert_int_equal(atomic_load(&failed), 0);
    for (int i = 0; i < 3; i++) {
        rpc_channel_free(channels[i]);
        fixture_stop(&servers[i]);
    }
    assert_int_equal(atomic_load(&finished), 3 * THREADS * WRITES);
}

/* Calls, cancels, deadlines and a server that drops everybody now and then, all at once: every call ends. */
static void *storm_member(void *context)
{
    struct crowd *w = context;
    struct prng p;
    prng_seed(&p, w->seed);
    uint8_t *data = mem_zalloc(200000);
    for (unsigned i = 0; i < w->calls; i++) {
        struct rpc_cancel *cancel = rpc_cancel_new();
        struct canceller canceller = {cancel, NULL};
        pthread_t thread;
        bool cancels = prng_below(&p, 4) == 0;
        if (cancels && pthread_create(&thread, NULL, cancel_later, &canceller) != 0)
            abort();
        uint16_t method = prng_below(&p, 3) ? FIXTURE_ECHO : prng_below(&p, 3) ? FIXTURE_HOLD : FIXTURE_RELEASE;
        struct slice payload = SLICE(data, prng_below(&p, 4) ? prng_below(&p, 100) : 200000), reply, bulk;
        struct rpc_call *k;
        enum err e = rpc_channel_call(w->channel, method, SLICE(NULL, 0), &payload, 1,
                                      in_ms((int64_t)prng_below(&p, 20)), cancel, &k, &reply, &bulk);
        w->wrong += e != ERR_OK && e != ERR_TIMEOUT && e != ERR_CANCELLED && e != ERR_CLOSED;
        rpc_call_free(k);
        if (cancels && pthread_join(thread, NULL) != 0)
            abort();
        rpc_cancel_free(cancel);
    }
    free(data);
    return NULL;
}

static void test_storm(void **state)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    struct crowd crowd[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){*state, 80 + i, 100, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, storm_member, &crowd[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        unsigned before = atomic_load(&server.request_count);
        int64_t until = in_ms(100);
        while (atomic_load(&server.request_count) < before + 15 && clock_boot_ns() < until)
            sched_yield();
        fixture_drop(&server);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd[i].wrong, 0);
    }
    fixture_release(&server);
    AWAIT(echo(*state) == ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait_any_over_channels),
        cmocka_unit_test(test_waits_without_descriptors),
        cmocka_unit_test(test_abandoned_call_is_finished),
        cmocka_unit_test(test_abandoned_calls_keep_their_deadlines),
        cmocka_unit_test(test_abandoned_call_of_a_dead_connection),
        cmocka_unit_test(test_two_of_three),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
