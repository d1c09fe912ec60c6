/* Peers on a loop of the test: calls and one-way sends, servers that come late, go and come back, and being freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "fixture.h"
#include "knock_pump.h"
#include "raw.h"
#include "rpc/peer.h"

static uv_loop_t loop;
static uv_timer_t ticker; /* the loop never sleeps for long, so that RUN_UNTIL looks again */

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

#define RUN_UNTIL(condition)                                                                                           \
    do {                                                                                                               \
        int64_t until_ = clock_boot_ns() + 20 * NS_PER_S;                                                              \
        while (!(condition)) {                                                                                         \
            assert_true(clock_boot_ns() < until_);                                                                     \
            uv_run(&loop, UV_RUN_ONCE);                                                                                \
        }                                                                                                              \
    } while (0)

static int setup(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_timer_init(&loop, &ticker), 0);
    return uv_timer_start(&ticker, on_tick, 1, 1);
}

/* Also shows that nothing of a peer is left on the loop. */
static int teardown(void **state)
{
    (void)state;
    RUN_UNTIL(loop.active_handles == 1); /* the ticker's */
    uv_close((uv_handle_t *)&ticker, NULL);
    while (uv_run(&loop, UV_RUN_NOWAIT))
        ;
    return uv_loop_close(&loop);
}

struct answer {
    int calls;
    enum err status;
    size_t message_size, payload_size;
    struct rpc_peer *free_it, *disconnect_it;
};

static void on_done(void *context, const struct rpc_response *response)
{
    struct answer *a = context;
    a->calls++;
    a->status = response->status;
    a->message_size = response->message.size;
    a->payload_size = response->payload.size;
    for (size_t i = 0; i < response->payload.size; i += 101)
        assert_int_equal(response->payload.data[i], fixture_byte(i));
    if (a->disconnect_it)
        rpc_peer_disconnect(a->disconnect_it);
    rpc_peer_free(a->free_it);
}

static int64_t in_ms(int64_t ms)
{
    return clock_boot_ns() + ms * NS_PER_MS;
}

static struct rpc_peer *peer_to(const struct rpc_address *a)
{
    return rpc_peer_new(&loop, a, slice_str("peer"), NULL, NULL);
}

static void start_call(struct rpc_peer *p, uint16_t method, struct slice message, int64_t deadline_ns, struct answer *a)
{
    int before = a->calls;
    rpc_peer_call(p, method, message, SLICE(NULL, 0), deadline_ns, on_done, a);
    assert_int_equal(a->calls, before); /* never inline */
}

static void test_calls_and_notes(void **state)
{
    (void)state;
    struct fixture f;
    struct answer answers[50] = {0}, big = {0};
    fixture_start(&f, 0);
    struct rpc_peer *p = peer_to(&f.address);
    assert_false(rpc_peer_connected(p));
    for (size_t i = 0; i < 25; i++)
        start_call(p, i % 5 ? FIXTURE_ECHO : FIXTURE_FAIL, SLICE("xxxxxxxxxxxxxxxxxxxxxxxxx", i), in_ms(20000),
                   &answers[i]);
    RUN_UNTIL(rpc_peer_connected(p));
    for (size_t i = 25; i < 50; i++)
        start_call(p, i % 5 ? FIXTURE_ECHO : FIXTURE_FAIL, SLICE("xxxxxxxxxxxxxxxxxxxxxxxxx", i - 25), in_ms(20000),
                   &answers[i]);
    uint8_t size[4];
    put_u32be(size, 3 * MIB);
    start_call(p, FIXTURE_BIG, SLICE(size, 4), in_ms(20000), &big);
    RUN_UNTIL(big.calls == 1);
    assert_int_equal(big.payload_size, 3 * MIB);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].status, i % 5 ? ERR_OK : ERR_EXIST);
        assert_int_equal(answers[i].message_size, i % 5 ? i % 25 : 6);
    }
    uint8_t *payload = mem_zalloc(MIB);
    for (uint64_t i = 1; i <= 100; i++) {
        uint8_t number[8];
        put_u64be(number, i);
        rpc_peer_send(p, FIXTURE_NOTE, SLICE(number, 8), SLICE(payload, i % 10 == 0 ? MIB / 4 : i));
    }
    free(payload);
    RUN_UNTIL(atomic_load(&f.note_count) == 100);
    assert_int_equal(atomic_load(&f.last_note), 100);
    assert_int_equal(rpc_peer_dropped(p), 0);
    rpc_peer_free(p);
    fixture_stop(&f);
}

static void test_server_comes_late(void **state)
{
    (void)state;
    uint16_t port;
    struct fixture f;
    struct rpc_address a;
    struct answer waits = {0}, hopeless = {0};
    char text[32];
    close(raw_listen(&port));
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    struct rpc_peer *p = peer_to(&a);
    int64_t begun = clock_boot_ns();
    start_call(p, FIXTURE_ECHO, slice_str("early"), in_ms(20000), &waits);
    start_call(p, FIXTURE_ECHO, slice_str("early"), in_ms(60), &hopeless);
    rpc_peer_send(p, FIXTURE_NOTE, slice_str("lost"), SLICE(NULL, 0));
    assert_int_equal(rpc_peer_dropped(p), 1);
    RUN_UNTIL(hopeless.calls == 1);
    assert_int_equal(hopeless.status, ERR_UNREACHABLE);
    assert_true(clock_boot_ns() - begun >= 50 * NS_PER_MS);
    assert_int_equal(waits.calls, 0);
    fixture_start(&f, port);
    RUN_UNTIL(waits.calls == 1);
    assert_int_equal(waits.status, ERR_OK);
    rpc_peer_free(p);
    fixture_stop(&f);
}

static void test_reconnects(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, 0);
    uint16_t port = f.port;
    struct rpc_peer *p = peer_to(&f.address);
    for (int round = 0; round < 5; round++) {
        struct answer held = {0}, next = {0};
        start_call(p, FIXTURE_HOLD, slice_str("h"), in_ms(20000), &held);
        RUN_UNTIL(atomic_load(&f.held_count) == 1);
        if (round % 2) {
            fixture_drop(&f);
        } else {
            fixture_stop(&f);
        }
        RUN_UNTIL(held.calls == 1);
        assert_int_equal(held.status, ERR_CLOSED);
        assert_false(rpc_peer_connected(p));
        start_call(p, FIXTURE_ECHO, slice_str("again"), in_ms(20000), &next);
        if (round % 2)
            fixture_release(&f);
        else
            fixture_start(&f, port);
        RUN_UNTIL(next.calls == 1 && atomic_load(&f.held_count) == 0);
        assert_int_equal(next.status, ERR_OK);
        assert_int_equal(held.calls, 1);
    }
    rpc_peer_free(p);
    fixture_stop(&f);
}

static void test_deadline(void **state)
{
    (void)state;
    struct fixture f;
    struct answer held = {0}, released = {0};
    fixture_start(&f, 0);
    struct rpc_peer *p = peer_to(&f.address);
    RUN_UNTIL((rpc_peer_send(p, FIXTURE_NOTE, SLICE(NULL, 0), SLICE(NULL, 0)), rpc_peer_connected(p)));
    start_call(p, FIXTURE_HOLD, slice_str("h"), in_ms(50), &held);
    RUN_UNTIL(held.calls == 1);
    assert_int_equal(held.status, ERR_TIMEOUT);
    AWAIT(atomic_load(&f.held_count) == 1);
    start_call(p, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), &released); /* the late answer comes before this one */
    RUN_UNTIL(released.calls == 1);
    assert_int_equal(held.calls, 1);
    rpc_peer_free(p);
    fixture_stop(&f);
}

static void test_disconnect_and_free_in_callbacks(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, 0);
    struct rpc_peer *p = peer_to(&f.address);
    struct answer held = {0}, echo = {.disconnect_it = p}, after = {0};
    start_call(p, FIXTURE_HOLD, SLICE(NULL, 0), in_ms(20000), &held);
    start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), &echo);
    RUN_UNTIL(echo.calls == 1);
    RUN_UNTIL(held.calls == 1);
    assert_int_equal(held.status, ERR_CLOSED);
    assert_false(rpc_peer_connected(p));
    struct answer last = {.free_it = p};
    start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), &last);
    start_call(p, FIXTURE_HOLD, SLICE(NULL, 0), in_ms(20000), &after);
    RUN_UNTIL(last.calls == 1);
    assert_int_equal(last.status, ERR_OK);
    assert_int_equal(after.calls, 1); /* ended before rpc_peer_free returned */
    assert_int_equal(after.status, ERR_CLOSED);
    fixture_stop(&f);
}

static void test_free_at_any_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, 0);
    for (int rounds = 0; rounds < 12; rounds++) {
        struct rpc_peer *p = peer_to(&f.address);
        struct answer a = {0};
        start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), &a);
        for (int i = 0; i < rounds; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        rpc_peer_free(p);
        assert_int_equal(a.calls, 1);
    }
    struct rpc_address a;
    assert_int_equal(rpc_address_parse("no-such-host.invalid:80", &a, NULL), ERR_OK);
    struct rpc_peer *p = peer_to(&a);
    struct answer looked_up = {0};
    start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), &looked_up);
    rpc_peer_free(p);
    assert_int_equal(looked_up.status, ERR_CLOSED);
    fixture_stop(&f);
}

static void test_names_are_looked_up(void **state)
{
    (void)state;
    struct fixture f;
    struct rpc_address a;
    struct answer answer = {0};
    char text[32];
    fixture_start(&f, 0);
    snprintf(text, sizeof text, "localhost:%u", f.port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    struct rpc_peer *p = peer_to(&a);
    start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), &answer);
    RUN_UNTIL(answer.calls == 1);
    assert_int_equal(answer.status, ERR_OK);
    rpc_peer_free(p);
    fixture_stop(&f);
}

static void test_pump_that_changes_bytes(void **state)
{
    (void)state;
    struct fixture f;
    struct answer answers[20] = {0};
    atomic_int alive = 0;
    uint8_t size[4];
    struct rpc_pump_factory pumps = {knock_pump_make, &alive};
    fixture_start_with_pumps(&f, &pumps);
    struct rpc_peer *p = peer_to(&f.address);
    rpc_peer_set_pumps(p, &pumps);
    for (uint32_t i = 0; i < 20; i++) {
        put_u32be(size, i * 50000);
        start_call(p, FIXTURE_BIG, SLICE(size, 4), in_ms(20000), &answers[i]);
    }
    for (uint32_t i = 0; i < 20; i++) {
        RUN_UNTIL(answers[i].calls == 1);
        assert_int_equal(answers[i].status, ERR_OK);
        assert_int_equal(answers[i].payload_size, i * 50000);
    }
    rpc_peer_free(p);
    fixture_stop(&f);
    RUN_UNTIL(atomic_load(&alive) == 0);
}

static enum err refuse(void *context, struct slice hello, struct err_text *why)
{
    assert_true(slice_equal(hello, slice_str("server")));
    ++*(int *)context;
    return err_explain(why, ERR_WRONG_CLUSTER, "of another cluster");
}

static void test_hello_is_judged(void **state)
{
    (void)state;
    struct fixture f;
    struct answer answer = {0};
    int asked = 0;
    fixture_start(&f, 0);
    struct rpc_peer *p = rpc_peer_new(&loop, &f.address, slice_str("peer"), refuse, &asked);
    start_call(p, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(500), &answer);
    RUN_UNTIL(answer.calls == 1);
    assert_int_equal(answer.status, ERR_UNREACHABLE);
    assert_in_range(asked, 2, 10); /* backs off */
    assert_int_equal(atomic_load(&f.request_count), 0);
    rpc_peer_free(p);
    fixture_stop(&f);
}

/* Against a server that does not read, no more than the limit is kept. */
static void test_backlog_is_limited(void **state)
{
    (void)state;
    uint16_t port;
    int listener = raw_listen(&port);
    struct rpc_address a;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    struct rpc_peer *p = peer_to(&a);
    struct answer answer = {0};
    rpc_peer_send(p, FIXTURE_NOTE, SLICE(NULL, 0), SLICE(NULL, 0));
    uv_run(&loop, UV_RUN_NOWAIT);
    int fd = accept(listener, NULL, NULL);
    raw_send_frame(fd, FRAME_HELLO, 0, 0, slice_str("raw"), SLICE(NULL, 0));
    RUN_UNTIL(rpc_peer_connected(p));
    uint64_t before = rpc_peer_dropped(p);
    uint8_t *payload = mem_zalloc(MIB);
    for (int i = 0; i < 64; i++)
        rpc_peer_send(p, FIXTURE_NOTE, SLICE(NULL, 0), SLICE(payload, MIB));
    assert_in_range(rpc_peer_dropped(p) - before, 30, 48); /* 16 MiB kept, the sockets hold some */
    rpc_peer_call(p, FIXTURE_ECHO, SLICE(NULL, 0), SLICE(payload, MIB), in_ms(20000), on_done, &answer);
    RUN_UNTIL(answer.calls == 1);
    assert_int_equal(answer.status, ERR_BUSY_NOW);
    free(payload);
    rpc_peer_free(p);
    close(fd);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls_and_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_comes_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reconnects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disconnect_and_free_in_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_looked_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pump_that_changes_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello_is_judged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backlog_is_limited, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
