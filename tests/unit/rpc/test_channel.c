/* Channels: calls from one and many threads, deadlines, cancel, servers that die or talk nonsense, full sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "channel_tests.h"
#include "knock_pump.h"

static void test_call(void **state)
{
    struct rpc_call *k;
    struct slice reply, payload;
    assert_string_equal(rpc_channel_address(*state), server.address.text);
    assert_int_equal(rpc_channel_call(*state, FIXTURE_ECHO, slice_str("hello"), &SLICE("raw", 3), 1, in_ms(20000), NULL,
                                      &k, &reply, &payload),
                     ERR_OK);
    assert_true(slice_equal(reply, slice_str("hello")));
    assert_true(slice_equal(payload, slice_str("raw")));
    rpc_call_free(k);
    assert_int_equal(
        rpc_channel_call(*state, FIXTURE_FAIL, SLICE(NULL, 0), NULL, 0, INT64_MAX, NULL, &k, &reply, &payload),
        ERR_EXIST);
    assert_true(slice_equal(reply, slice_str("detail")));
    assert_non_null(k);
    rpc_call_free(k);
}

static void test_sizes_and_gathering(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 32704, 65536, 100000, 1 << 20, 4 << 20};
    uint8_t *data = mem_alloc(LIMIT_FRAME_PAYLOAD_BYTES);
    for (size_t i = 0; i < LIMIT_FRAME_PAYLOAD_BYTES; i++)
        data[i] = fixture_byte(i);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (size_t parts = 1; parts <= RPC_PAYLOAD_SLICES; parts += 63) {
            struct slice slices[RPC_PAYLOAD_SLICES];
            for (size_t k = 0; k < parts; k++) {
                size_t from = sizes[i] * k / parts, to = sizes[i] * (k + 1) / parts;
                slices[k] = SLICE(data + from, to - from);
            }
            struct rpc_call *k;
            struct slice reply, payload;
            assert_int_equal(rpc_channel_call(*state, FIXTURE_ECHO, SLICE(data, sizes[i] / 2), slices, parts,
                                              in_ms(20000), NULL, &k, &reply, &payload),
                             ERR_OK);
            assert_true(slice_equal(reply, SLICE(data, sizes[i] / 2)));
            assert_true(slice_equal(payload, SLICE(data, sizes[i])));
            rpc_call_free(k);
        }
    }
    struct slice over[2] = {SLICE(data, LIMIT_FRAME_PAYLOAD_BYTES), SLICE(data, 1)};
    struct rpc_call *k;
    struct slice reply, payload;
    assert_int_equal(
        rpc_channel_call(*state, FIXTURE_ECHO, SLICE(NULL, 0), over, 2, in_ms(20000), NULL, &k, &reply, &payload),
        ERR_TOO_BIG);
    assert_null(k);
    assert_int_equal(call(*state, FIXTURE_ECHO, SLICE(data, LIMIT_FRAME_MESSAGE_BYTES + 1), in_ms(20000), NULL),
                     ERR_TOO_BIG);
    assert_int_equal(echo(*state), ERR_OK);
    free(data);
}

struct crowd {
    struct rpc_channel *channel;
    uint64_t seed;
    unsigned calls, wrong;
};

static void *crowd_member(void *context)
{
    struct crowd *w = context;
    struct prng p;
    prng_seed(&p, w->seed);
    uint8_t *data = mem_alloc(300000);
    for (unsigned i = 0; i < w->calls; i++) {
        size_t size = prng_below(&p, prng_below(&p, 20) == 0 ? 300000 : 300);
        for (size_t k = 0; k < size; k += 61)
            data[k] = (uint8_t)prng_next(&p);
        struct rpc_call *k;
        struct slice reply, payload, out = SLICE(data, size);
        enum err e = rpc_channel_call(w->channel, FIXTURE_ECHO, SLICE(data, size / 3), &out, 1, in_ms(20000), NULL, &k,
                                      &reply, &payload);
        bool good = e == ERR_OK && slice_equal(payload, out) && slice_equal(reply, SLICE(data, size / 3));
        w->wrong += !good;
        rpc_call_free(k);
    }
    free(data);
    return NULL;
}

static void test_many_threads(void **state)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    struct crowd crowd[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){*state, 60 + i, 300, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd[i].wrong, 0);
    }
}

static void test_deadline(void **state)
{
    int64_t begun = clock_boot_ns();
    assert_int_equal(call(*state, FIXTURE_HOLD, SLICE(NULL, 0), in_ms(60), NULL), ERR_TIMEOUT);
    assert_true(clock_boot_ns() - begun >= 60 * NS_PER_MS);
    assert_int_equal(call(*state, FIXTURE_ECHO, SLICE(NULL, 0), clock_boot_ns(), NULL), ERR_TIMEOUT);
    /* Its answer comes all the same, and is for nobody. */
    assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
    assert_int_equal(echo(*state), ERR_OK);
}

static void test_cancel_wakes(void **state)
{
    for (int round = 0; round < 20; round++) {
        struct rpc_cancel *cancel = rpc_cancel_new();
        struct canceller c = {cancel, &server.held_count};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, &c), 0);
        assert_int_equal(call(*state, FIXTURE_HOLD, SLICE(NULL, 0), in_ms(20000), cancel), ERR_CANCELLED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(rpc_cancel_fired(cancel));
        assert_int_equal(call(*state, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), cancel), ERR_CANCELLED);
        rpc_cancel_free(cancel);
        assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
    }
}

static void expect_explained(struct rpc_channel *c, enum err e, const char *expected)
{
    struct err_text why;
    rpc_channel_explain(c, e, &why);
    if (!strstr(why.text, err_message(e)) || !strstr(why.text, expected))
        fail_msg("\"%s\" doesn't tell \"%s\"", why.text, expected);
}

static void test_refused_then_up_then_gone(void **state)
{
    (void)state;
    uint16_t port;
    close(raw_listen(&port));
    struct rpc_address a = address_of_port(port);
    struct rpc_channel *c = channel_to(&a);
    int64_t begun = clock_boot_ns();
    for (int i = 0; i < 3; i++)
        assert_int_equal(echo(c), ERR_UNREACHABLE);
    expect_explained(c, ERR_UNREACHABLE, "refused");
    assert_true(clock_boot_ns() - begun < 10 * NS_PER_S);
    for (int round = 0; round < 3; round++) {
        static struct fixture late;
        fixture_start(&late, port);
        assert_int_equal(echo(c), ERR_OK);
        fixture_stop(&late);
        enum err e = echo(c);
        assert_true(e == ERR_CLOSED || e == ERR_UNREACHABLE);
        assert_int_equal(echo(c), ERR_UNREACHABLE);
    }
    rpc_channel_free(c);
}

static void test_idle_connection_is_renewed(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_start(&f, 0);
    uint16_t port = f.port;
    struct rpc_channel *c = channel_to(&f.address);
    assert_int_equal(echo(c), ERR_OK);
    fixture_stop(&f);
    fixture_start(&f, port);
    /* Once the connection is old enough to be looked at, no call is lost to it. */
    int64_t until = in_ms(150);
    AWAIT(clock_boot_ns() > until);
    assert_int_equal(echo(c), ERR_OK);
    rpc_channel_free(c);
    fixture_stop(&f);
}

static void *hold_until_closed(void *context)
{
    enum err e = call(context, FIXTURE_HOLD, SLICE(NULL, 0), in_ms(20000), NULL);
    return (void *)(intptr_t)e;
}

static void test_server_dies_under_calls(void **state)
{
    enum { THREADS = 6 };
    for (int round = 0; round < 5; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, hold_until_closed, *state), 0);
        AWAIT(atomic_load(&server.held_count) == THREADS);
        int64_t begun = clock_boot_ns();
        fixture_drop(&server);
        for (int i = 0; i < THREADS; i++) {
            void *result;
            assert_int_equal(pthread_join(threads[i], &result), 0);
            assert_int_equal((intptr_t)result, ERR_CLOSED);
        }
        assert_true(clock_boot_ns() - begun < 5 * NS_PER_S);
        assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
    }
    assert_int_equal(call(*state, FIXTURE_DROP, SLICE(NULL, 0), in_ms(20000), NULL), ERR_CLOSED);
}

static void test_freeing_ends_calls(void **state)
{
    (void)state;
    struct rpc_channel *c = channel_to(&server.address);
    struct rpc_call *k = rpc_call_start(c, FIXTURE_HOLD, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL);
    AWAIT(atomic_load(&server.held_count) == 1);
    rpc_channel_free(c);
    size_t index = 9;
    struct slice reply, payload;
    assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(20000), NULL, &index), ERR_OK);
    assert_int_equal(index, 0);
    assert_int_equal(rpc_call_result(k, &reply, &payload), ERR_CLOSED);
    rpc_call_free(k);
    assert_int_equal(call(*state, FIXTURE_RELEASE, SLICE(NULL, 0), in_ms(20000), NULL), ERR_OK);
}

/* A server of the test's own. */
struct raw_server {
    int listener, fd;
    struct rpc_address address;
    struct frame_parser parser;
};

static void raw_server_open(struct raw_server *s)
{
    uint16_t port;
    *s = (struct raw_server){.listener = raw_listen(&port), .fd = -1};
    s->address = address_of_port(port);
}

static void raw_server_accept(struct raw_server *s)
{
    struct frame f;
    s->fd = accept(s->listener, NULL, NULL);
    assert_true(s->fd >= 0);
    raw_set_nodelay(s->fd);
    raw_send_frame(s->fd, FRAME_HELLO, 0, 0, slice_str("raw"), SLICE(NULL, 0));
    assert_true(raw_receive(s->fd, &s->parser, &f));
    assert_int_equal(f.header.type, FRAME_HELLO);
}

static void raw_server_close(struct raw_server *s)
{
    close(s->fd);
    close(s->listener);
    frame_parser_close(&s->parser);
}

static void *accept_and_take_one(void *context)
{
    struct raw_server *s = context;
    struct frame f;
    raw_server_accept(s);
    assert_true(raw_receive(s->fd, &s->parser, &f));
    return (void *)(uintptr_t)f.header.id;
}

static void test_silent_server(void **state)
{
    (void)state;
    struct raw_server s;
    raw_server_open(&s); /* the kernel accepts, nobody says HELLO */
    struct rpc_channel_options options = {
        .address = s.address, .hello = slice_str("client"), .connect_timeout_ns = 500 * NS_PER_MS};
    struct rpc_channel *c = rpc_channel_new(&options);
    int64_t begun = clock_boot_ns();
    assert_int_equal(call(c, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20000), NULL), ERR_UNREACHABLE);
    expect_explained(c, ERR_UNREACHABLE, "says nothing");
    assert_in_range(clock_boot_ns() - begun, 500 * NS_PER_MS, 10 * NS_PER_S);
    assert_int_equal(call(c, FIXTURE_ECHO, SLICE(NULL, 0), in_ms(20), NULL), ERR_TIMEOUT);
    rpc_channel_free(c);
    raw_server_close(&s);
}

static void test_server_that_talks_nonsense(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct raw_server s;
        pthread_t thread;
        void *id;
        raw_server_open(&s);
        struct rpc_channel *c = channel_to(&s.address);
        assert_int_equal(pthread_create(&thread, NULL, accept_and_take_one, &s), 0);
        struct rpc_call *k = rpc_call_start(c, FIXTURE_ECHO, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL);
        assert_int_equal(pthread_join(thread, &id), 0);
        struct bytes b = raw_frame(FRAME_RESPONSE, (uintptr_t)id, FIXTURE_ECHO, slice_str("m"), SLICE(NULL, 0));
        if (round == 0)
            b.data[0] = 'X';
        else if (round == 1)
            b.data[FRAME_HEADER_SIZE] ^= 1;
        else if (round == 2)
            b.data[5] = FRAME_REQUEST,
            frame_header_encode(&(struct frame_header){.type = FRAME_REQUEST, .message_size = 1}, slice_str("m"),
                                b.data);
        else
            put_u32be(b.data + 24, UINT32_MAX);
        assert_true(raw_send(s.fd, bytes_slice(&b)));
        size_t index;
        struct slice reply, payload;
        assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(20000), NULL, &index), ERR_OK);
        enum err e = rpc_call_result(k, &reply, &payload);
        assert_int_equal(e, ERR_PROTOCOL);
        rpc_call_free(k);
        bytes_free(&b);
        rpc_channel_free(c);
        raw_server_close(&s);
    }
}

/* Unasked answers, an answer in two pieces, PING. */
static void test_server_that_talks_oddly(void **state)
{
    (void)state;
    struct raw_server s;
    pthread_t thread;
    void *id;
    raw_server_open(&s);
    struct rpc_channel *c = channel_to(&s.address);
    assert_int_equal(pthread_create(&thread, NULL, accept_and_take_one, &s), 0);
    struct rpc_call *k = rpc_call_start(c, FIXTURE_ECHO, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL);
    assert_int_equal(pthread_join(thread, &id), 0);
    raw_send_frame(s.fd, FRAME_RESPONSE, 12345678, 0, slice_str("nobody"), SLICE(NULL, 0));
    raw_send_frame(s.fd, FRAME_PING, 5, 0, SLICE(NULL, 0), SLICE(NULL, 0));
    raw_send_frame(s.fd, FRAME_ONEWAY, 5, 3, slice_str("news"), SLICE(NULL, 0));
    struct bytes b = raw_frame(FRAME_RESPONSE, (uintptr_t)id, FIXTURE_ECHO, slice_str("answer"), SLICE(NULL, 0));
    assert_true(raw_send(s.fd, SLICE(b.data, 35)));
    size_t index;
    assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(30), NULL, &index), ERR_TIMEOUT);
    struct frame f;
    assert_true(raw_receive(s.fd, &s.parser, &f));
    assert_int_equal(f.header.type, FRAME_PONG);
    assert_true(f.header.id == 5);
    assert_true(raw_send(s.fd, SLICE(b.data + 35, b.size - 35)));
    struct slice reply, payload;
    assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(20000), NULL, &index), ERR_OK);
    assert_int_equal(rpc_call_result(k, &reply, &payload), ERR_OK);
    assert_true(slice_equal(reply, slice_str("answer")));
    rpc_call_free(k);
    bytes_free(&b);
    rpc_channel_free(c);
    raw_server_close(&s);
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
    int asked = 0;
    struct rpc_channel_options options = {.address = server.address,
                                          .hello = slice_str("client"),
                                          .on_hello = refuse,
                                          .context = &asked,
                                          .connect_timeout_ns = NS_PER_S};
    struct rpc_channel *c = rpc_channel_new(&options);
    assert_int_equal(echo(c), ERR_WRONG_CLUSTER);
    assert_int_equal(echo(c), ERR_WRONG_CLUSTER);
    assert_int_equal(asked, 2);
    rpc_channel_free(c);
}

static void *call_last(void *channel)
{
    return (void *)(intptr_t)call(channel, FIXTURE_SUM, slice_str("last"), in_ms(20000), NULL);
}

/* A server that does not read: writing blocks, and deadline and cancel end it. */
static void test_full_socket(void **state)
{
    (void)state;
    struct raw_server s;
    pthread_t thread;
    void *id;
    uint8_t *data = mem_zalloc(LIMIT_FRAME_PAYLOAD_BYTES);
    struct slice payload = SLICE(data, LIMIT_FRAME_PAYLOAD_BYTES), reply, none;
    struct rpc_call *calls[16] = {0};
    raw_server_open(&s);
    struct rpc_channel *c = channel_to(&s.address);
    assert_int_equal(pthread_create(&thread, NULL, accept_and_take_one, &s), 0);
    rpc_call_free(rpc_call_start(c, FIXTURE_ECHO, SLICE(NULL, 0), NULL, 0, in_ms(20000), NULL));
    assert_int_equal(pthread_join(thread, &id), 0);
    size_t count = 0, index;
    bool full = false;
    while (!full) {
        assert_true(count < 16);
        calls[count] = rpc_call_start(c, FIXTURE_ECHO, SLICE(NULL, 0), &payload, 1, in_ms(100), NULL);
        enum err e = rpc_call_wait_any(&calls[count], 1, in_ms(10), NULL, &index);
        full = e == ERR_OK && rpc_call_result(calls[count], &reply, &none) == ERR_TIMEOUT;
        count++;
    }
    struct rpc_cancel *cancel = rpc_cancel_new();
    struct canceller canceller = {cancel, NULL};
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &canceller), 0);
    struct rpc_call *k = rpc_call_start(c, FIXTURE_ECHO, SLICE(NULL, 0), &payload, 1, in_ms(20000), cancel);
    assert_int_equal(rpc_call_wait_any(&k, 1, in_ms(20000), NULL, &index), ERR_OK);
    assert_int_equal(rpc_call_result(k, &reply, &none), ERR_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rpc_cancel_free(cancel);
    rpc_call_free(k);
    assert_int_equal(call(c, FIXTURE_ECHO, slice_str("later"), in_ms(50), NULL), ERR_TIMEOUT);

    /* Once it reads, it gets whole frames: what was begun was finished, what was not begun was never sent. */
    struct frame f = {0};
    size_t got = 0;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, call_last, c), 0);
    while (raw_receive(s.fd, &s.parser, &f) && f.header.method != FIXTURE_SUM) {
        bool later = slice_equal(f.message, slice_str("later")); /* queued behind the helper's write, perhaps */
        assert_int_equal(f.payload.size, later ? 0 : LIMIT_FRAME_PAYLOAD_BYTES);
        got += !later;
    }
    assert_true(slice_equal(f.message, slice_str("last")));
    /* Of the last one perhaps no byte had gone out; of the cancelled one perhaps some. */
    assert_in_range(got, count - 1, count + 1);
    raw_send_frame(s.fd, FRAME_RESPONSE, f.header.id, 0, SLICE(NULL, 0), SLICE(NULL, 0));
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal((intptr_t)result, ERR_OK);
    for (size_t i = 0; i < count; i++)
        rpc_call_free(calls[i]);
    rpc_channel_free(c);
    raw_server_close(&s);
    free(data);
}

/* More than all buffers hold, both ways, from a thread that waits for nothing yet. */
static void test_writer_reads_when_it_must(void **state)
{
    enum { COUNT = 60 };
    uint8_t *data = mem_zalloc(MIB);
    struct slice out = SLICE(data, MIB), reply, payload;
    struct rpc_call *calls[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        data[i] = (uint8_t)(i + 1);
        calls[i] = rpc_call_start(*state, FIXTURE_ECHO, SLICE(NULL, 0), &out, 1, in_ms(60000), NULL);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t index;
        assert_int_equal(rpc_call_wait_any(&calls[i], 1, in_ms(60000), NULL, &index), ERR_OK);
        assert_int_equal(rpc_call_result(calls[i], &reply, &payload), ERR_OK);
        assert_int_equal(payload.size, MIB);
        assert_int_equal(payload.data[i], i + 1);
        assert_int_equal(payload.data[i + 1], 0);
        rpc_call_free(calls[i]);
    }
    free(data);
}

/* Everything again through a pump that keeps and changes bytes. */
static void test_pump_that_changes_bytes(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    static struct fixture f;
    atomic_int alive = 0;
    struct rpc_pump_factory pumps = {knock_pump_make, &alive};
    fixture_start_with_pumps(&f, &pumps);
    struct rpc_channel_options options = {
        .address = f.address, .hello = slice_str("client"), .connect_timeout_ns = 5 * NS_PER_S, .pumps = pumps};
    struct rpc_channel *c = rpc_channel_new(&options);
    assert_int_equal(echo(c), ERR_OK);
    assert_int_equal(atomic_load(&alive), 2);
    pthread_t threads[THREADS];
    struct crowd crowd[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){c, 90 + i, 100, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &crowd[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd[i].wrong, 0);
    }
    rpc_channel_free(c);
    fixture_stop(&f);
    assert_int_equal(atomic_load(&alive), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_sizes_and_gathering),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancel_wakes),
        cmocka_unit_test(test_refused_then_up_then_gone),
        cmocka_unit_test(test_idle_connection_is_renewed),
        cmocka_unit_test(test_server_dies_under_calls),
        cmocka_unit_test(test_freeing_ends_calls),
        cmocka_unit_test(test_silent_server),
        cmocka_unit_test(test_server_that_talks_nonsense),
        cmocka_unit_test(test_server_that_talks_oddly),
        cmocka_unit_test(test_hello_is_judged),
        cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_writer_reads_when_it_must),
        cmocka_unit_test(test_pump_that_changes_bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
