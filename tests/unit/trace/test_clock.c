/* Vector clocks, as they travel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "rpc/frame.h"
#include "trace/clock.h"

static uint64_t events(const struct trace_clock *c, const char *host)
{
    for (unsigned i = 0; i < c->count; i++)
        if (strcmp(c->hosts[i].name, host) == 0)
            return c->hosts[i].events;
    return 0;
}

static void send(const struct trace_clock *from, struct trace_clock *to)
{
    struct bytes b = {0};
    trace_clock_encode(from, &b);
    assert_int_equal(trace_clock_merge(to, bytes_slice(&b)), ERR_OK);
    bytes_free(&b);
}

static void test_what_is_heard_is_known(void **state)
{
    (void)state;
    struct trace_clock a, b, c;
    trace_clock_init(&a, "a");
    trace_clock_init(&b, "b");
    trace_clock_init(&c, "c");
    trace_clock_tick(&a), trace_clock_tick(&a);
    send(&a, &b);
    trace_clock_tick(&b);
    send(&b, &c);
    assert_int_equal(events(&c, "a"), 2);
    assert_int_equal(events(&c, "b"), 1);
    trace_clock_tick(&a);
    send(&c, &a); /* old news of itself */
    assert_int_equal(events(&a, "a"), 3);
    struct trace_clock liar;
    trace_clock_init(&liar, "a");
    liar.hosts[0].events = 99;
    send(&liar, &a); /* nobody knows more of its events than it does */
    assert_int_equal(events(&a, "a"), 3);
}

static void test_more_hosts_than_fit(void **state)
{
    (void)state;
    struct trace_clock own, other;
    trace_clock_init(&own, "own");
    for (unsigned i = 0; i < 2 * TRACE_HOSTS; i++) {
        char name[TRACE_HOST_BYTES + 1];
        snprintf(name, sizeof name, "%0*u", (int)TRACE_HOST_BYTES, i);
        trace_clock_init(&other, name);
        trace_clock_tick(&other);
        send(&other, &own);
    }
    assert_int_equal(own.count, TRACE_HOSTS);
    struct bytes b = {0};
    trace_clock_encode(&own, &b);
    assert_true(b.size <= FRAME_CLOCK_BYTES);
    bytes_free(&b);
}

static void test_what_is_no_clock_changes_nothing(void **state)
{
    (void)state;
    struct prng p;
    struct trace_clock other, own, before;
    struct bytes good = {0};
    trace_clock_init(&other, "other");
    trace_clock_tick(&other);
    trace_clock_encode(&other, &good);
    trace_clock_init(&own, "own");
    before = own;
    for (size_t size = 0; size < good.size; size++)
        assert_int_equal(trace_clock_merge(&own, SLICE(good.data, size)), ERR_PROTOCOL);
    prng_seed(&p, 1);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t noise[64];
        size_t size = prng_below(&p, sizeof noise);
        for (size_t k = 0; k < size; k++)
            noise[k] = (uint8_t)(k < 3 ? prng_below(&p, 3) : prng_next(&p));
        if (trace_clock_merge(&own, SLICE(noise, size)) == ERR_OK)
            own = before; /* a lucky one */
        assert_memory_equal(&own, &before, sizeof own);
    }
    static const char *const names[] = {"", "a b", "a\n", "ä", "a/b"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        assert_false(trace_host_valid(slice_str(names[i])));
    bytes_free(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_heard_is_known),
        cmocka_unit_test(test_more_hosts_than_fit),
        cmocka_unit_test(test_what_is_no_clock_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
