/* The server against raw sockets: good requests, every kind of bad one, limits, and connections that vanish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "fixture.h"
#include "raw.h"

static struct fixture server;

struct client {
    int fd;
    struct frame_parser parser;
};

static void client_open(struct client *c)
{
    struct frame f;
    c->fd = raw_connect(server.port);
    frame_parser_init(&c->parser);
    raw_send_frame(c->fd, FRAME_HELLO, 0, 0, slice_str("client"), SLICE(NULL, 0));
    assert_true(raw_receive(c->fd, &c->parser, &f));
    assert_int_equal(f.header.type, FRAME_HELLO);
    assert_true(slice_equal(f.message, slice_str("server")));
}

static void client_close(struct client *c)
{
    close(c->fd);
    frame_parser_close(&c->parser);
}

static void client_ask(struct client *c, uint64_t id, uint16_t method, struct slice message)
{
    raw_send_frame(c->fd, FRAME_REQUEST, id, method, message, SLICE(NULL, 0));
}

static void client_expect(struct client *c, uint64_t id, enum err status, struct slice message)
{
    struct frame f;
    assert_true(raw_receive(c->fd, &c->parser, &f));
    assert_int_equal(f.header.type, FRAME_RESPONSE);
    assert_true(f.header.id == id);
    assert_int_equal(f.header.status, status);
    assert_true(slice_equal(f.message, message));
}

static void client_expect_closed(struct client *c)
{
    struct frame f;
    assert_false(raw_receive(c->fd, &c->parser, &f));
}

static int setup(void **state)
{
    (void)state;
    fixture_start(&server, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&server);
    return 0;
}

static void test_request(void **state)
{
    (void)state;
    struct client c;
    client_open(&c);
    client_ask(&c, 7, FIXTURE_ECHO, slice_str("hello"));
    client_expect(&c, 7, ERR_OK, slice_str("hello"));
    client_ask(&c, 8, FIXTURE_FAIL, SLICE(NULL, 0));
    client_expect(&c, 8, ERR_EXIST, slice_str("detail"));
    client_ask(&c, UINT64_MAX, 999, SLICE(NULL, 0));
    client_expect(&c, UINT64_MAX, ERR_NO_METHOD, SLICE(NULL, 0));
    raw_send_frame(c.fd, FRAME_ONEWAY, 0, FIXTURE_NOTE, slice_str("12345678"), SLICE(NULL, 0));
    raw_send_frame(c.fd, FRAME_CANCEL, 7, 0, SLICE(NULL, 0), SLICE(NULL, 0));
    raw_send_frame(c.fd, FRAME_PING, 77, 0, SLICE(NULL, 0), SLICE(NULL, 0));
    struct frame f;
    assert_true(raw_receive(c.fd, &c.parser, &f));
    assert_int_equal(f.header.type, FRAME_PONG);
    assert_true(f.header.id == 77);
    assert_int_equal(atomic_load(&server.note_count), 1);
    assert_int_equal(atomic_load(&server.reply_count), 3);
    assert_int_equal(atomic_load(&server.failed_count), 2);
    client_close(&c);
    AWAIT(atomic_load(&server.close_count) == 1);
}

static void test_pipelined_requests(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct client c;
    struct bytes all = {0};
    client_open(&c);
    for (uint64_t id = 0; id < COUNT; id++) {
        uint8_t message[8];
        put_u64be(message, id * 3);
        struct bytes one = raw_frame(FRAME_REQUEST, id, FIXTURE_ECHO, SLICE(message, 8), SLICE(NULL, 0));
        bytes_append(&all, bytes_slice(&one));
        bytes_free(&one);
    }
    assert_true(raw_send(c.fd, bytes_slice(&all)));
    for (uint64_t id = 0; id < COUNT; id++) {
        uint8_t message[8];
        put_u64be(message, id * 3);
        client_expect(&c, id, ERR_OK, SLICE(message, 8));
    }
    bytes_free(&all);
    client_close(&c);
}

/* Another client gets its answer: the loop has had time to do what it would do. */
static void let_server_go_round(void)
{
    struct client c;
    for (uint64_t i = 0; i < 10; i++) {
        client_open(&c);
        client_ask(&c, i, FIXTURE_ECHO, SLICE(NULL, 0));
        client_expect(&c, i, ERR_OK, SLICE(NULL, 0));
        client_close(&c);
    }
}

static void test_requests_under_way_are_limited(void **state)
{
    (void)state;
    enum { COUNT = LIMIT_REQUESTS_PER_CONNECTION + 500 };
    struct client c;
    client_open(&c);
    unsigned before = atomic_load(&server.request_count);
    for (uint64_t id = 0; id < COUNT; id++)
        client_ask(&c, id, FIXTURE_HOLD, SLICE(NULL, 0));
    AWAIT(atomic_load(&server.held_count) == LIMIT_REQUESTS_PER_CONNECTION);
    let_server_go_round();
    assert_int_equal(atomic_load(&server.held_count), LIMIT_REQUESTS_PER_CONNECTION);
    fixture_release(&server);
    AWAIT(atomic_load(&server.request_count) - before == COUNT + 10); /* let_server_go_round made 10 */
    AWAIT(atomic_load(&server.held_count) == 500);
    fixture_release(&server);
    static bool seen[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct frame f;
        assert_true(raw_receive(c.fd, &c.parser, &f));
        assert_true(f.header.id < COUNT && !seen[f.header.id]);
        seen[f.header.id] = true;
    }
    client_close(&c);
}

static void test_backlog_of_replies_is_limited(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    struct client c;
    uint8_t size[4];
    put_u32be(size, MIB);
    client_open(&c);
    unsigned before = atomic_load(&server.request_count);
    for (uint64_t id = 0; id < COUNT; id++)
        client_ask(&c, id, FIXTURE_BIG, SLICE(size, 4));
    let_server_go_round();
    unsigned served = atomic_load(&server.request_count) - before - 10;
    assert_in_range(served, 1, 40); /* 16 MiB of ours and what the sockets hold */
    for (uint64_t id = 0; id < COUNT; id++) {
        struct frame f;
        assert_true(raw_receive(c.fd, &c.parser, &f));
        assert_true(f.header.id == id);
        assert_int_equal(f.payload.size, MIB);
        for (size_t i = 0; i < MIB; i += 997)
            assert_int_equal(f.payload.data[i], fixture_byte(i));
    }
    client_close(&c);
}

static void test_random_bytes_close(void **state)
{
    (void)state;
    struct prng p;
    uint8_t *noise = mem_alloc(MIB);
    prng_seed(&p, 51);
    for (size_t i = 0; i < MIB; i++)
        noise[i] = (uint8_t)prng_next(&p);
    struct client c = {.fd = raw_connect(server.port)};
    (void)raw_send(c.fd, SLICE(noise, MIB));
    char byte[256];
    while (recv(c.fd, byte, sizeof byte, 0) > 0)
        ;
    close(c.fd);
    client_open(&c);
    (void)raw_send(c.fd, SLICE(noise, MIB));
    client_expect_closed(&c);
    client_close(&c);
    free(noise);
    let_server_go_round();
}

static void test_every_truncation_closes(void **state)
{
    (void)state;
    struct client witness;
    client_open(&witness);
    struct bytes hello = raw_frame(FRAME_HELLO, 0, 0, slice_str("client"), SLICE(NULL, 0));
    struct bytes request = raw_frame(FRAME_REQUEST, 1, FIXTURE_NOTE, slice_str("message"), slice_str("payload"));
    unsigned before = atomic_load(&server.request_count);
    for (size_t cut = 0; cut < hello.size + request.size; cut++) {
        int fd = raw_connect(server.port);
        size_t first = MIN(cut, hello.size);
        assert_true(raw_send(fd, SLICE(hello.data, first)));
        assert_true(raw_send(fd, SLICE(request.data, cut - first)));
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        char byte[256];
        while (recv(fd, byte, sizeof byte, 0) > 0)
            ;
        close(fd);
    }
    assert_int_equal(atomic_load(&server.request_count), before);
    client_ask(&witness, 1, FIXTURE_ECHO, slice_str("still here"));
    client_expect(&witness, 1, ERR_OK, slice_str("still here"));
    client_close(&witness);
    bytes_free(&hello);
    bytes_free(&request);
}

static void test_frames_that_no_client_sends(void **state)
{
    (void)state;
    static const struct {
        bool greet;
        enum frame_type type;
        size_t size;
    } cases[] = {
        {false, FRAME_REQUEST, 0}, {false, FRAME_PING, 0},     {false, FRAME_HELLO, 4096},
        {true, FRAME_HELLO, 0},    {true, FRAME_RESPONSE, 10},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t message[4096] = {0};
        struct client c = {.fd = -1};
        if (cases[i].greet) {
            client_open(&c);
        } else {
            struct frame f;
            c.fd = raw_connect(server.port);
            assert_true(raw_receive(c.fd, &c.parser, &f));
        }
        raw_send_frame(c.fd, cases[i].type, 1, FIXTURE_ECHO, SLICE(message, cases[i].size), SLICE(NULL, 0));
        client_expect_closed(&c);
        client_close(&c);
    }
}

static void test_requests_outlive_their_connection(void **state)
{
    (void)state;
    struct client c, other;
    client_open(&c);
    client_open(&other);
    unsigned closed = atomic_load(&server.close_count);
    for (uint64_t id = 0; id < 20; id++)
        client_ask(&c, id, FIXTURE_HOLD, slice_str("kept"));
    AWAIT(atomic_load(&server.held_count) == 20);
    client_close(&c);
    AWAIT(atomic_load(&server.close_count) == closed + 1);
    client_ask(&other, 1, FIXTURE_RELEASE, SLICE(NULL, 0));
    client_expect(&other, 1, ERR_OK, SLICE(NULL, 0));
    assert_int_equal(atomic_load(&server.held_count), 0);
    client_close(&other);
}

static void test_dropping_connections(void **state)
{
    (void)state;
    struct client c[3];
    for (int i = 0; i < 3; i++)
        client_open(&c[i]);
    client_ask(&c[0], 1, FIXTURE_HOLD, SLICE(NULL, 0));
    AWAIT(atomic_load(&server.held_count) == 1);
    client_ask(&c[1], 1, FIXTURE_DROP, SLICE(NULL, 0));
    for (int i = 0; i < 3; i++) {
        client_expect_closed(&c[i]);
        client_close(&c[i]);
    }
    fixture_release(&server);
    AWAIT(atomic_load(&server.held_count) == 0);
    let_server_go_round();
}

static void test_dropping_those_of_before(void **state)
{
    (void)state;
    struct client old[3], fresh;
    uint8_t now[8];
    for (int i = 0; i < 3; i++)
        client_open(&old[i]);
    put_u64be(now, (uint64_t)clock_boot_ns());
    client_open(&fresh);
    client_ask(&fresh, 1, FIXTURE_DROP_OLD, SLICE(now, 8));
    client_expect(&fresh, 1, ERR_OK, SLICE(NULL, 0));
    for (int i = 0; i < 3; i++) {
        client_expect_closed(&old[i]);
        client_close(&old[i]);
    }
    client_ask(&fresh, 2, FIXTURE_ECHO, slice_str("still there"));
    client_expect(&fresh, 2, ERR_OK, slice_str("still there"));
    client_close(&fresh);
}

static void test_port_in_use(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct rpc_server *s = NULL;
    struct rpc_server_callbacks callbacks = {0};
    struct err_text why = {""};
    char port[8];
    snprintf(port, sizeof port, "%u", server.port);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(rpc_server_listen(&loop, "127.0.0.1", server.port, slice_str("x"), &callbacks, &s, &why),
                     ERR_EXISTS_IN_USE);
    assert_non_null(strstr(why.text, port));
    assert_int_equal(rpc_server_listen(&loop, "no such host", 0, slice_str("x"), &callbacks, &s, &why), ERR_ADDRESS);
    assert_null(s);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_refused_hello(void **state)
{
    (void)state;
    static struct fixture strict;
    fixture_start_refusing(&strict);
    struct client c = {.fd = raw_connect(strict.port)};
    raw_send_frame(c.fd, FRAME_HELLO, 0, 0, slice_str("stranger"), SLICE(NULL, 0));
    struct frame f;
    assert_true(raw_receive(c.fd, &c.parser, &f));
    client_expect_closed(&c);
    client_close(&c);
    assert_int_equal(atomic_load(&strict.close_count), 0);
    fixture_stop(&strict);
}

static void test_stalled_connections_are_closed(void **state)
{
    (void)state;
    static struct fixture hasty;
    fixture_start_hasty(&hasty, 300 * NS_PER_MS, 300 * NS_PER_MS);
    struct frame f;
    struct client silent = {.fd = raw_connect(hasty.port)}, inside = {.fd = raw_connect(hasty.port)},
                  idle = {.fd = raw_connect(hasty.port)};
    int64_t begun = clock_boot_ns();
    raw_send_frame(inside.fd, FRAME_HELLO, 0, 0, slice_str("client"), SLICE(NULL, 0));
    raw_send_frame(idle.fd, FRAME_HELLO, 0, 0, slice_str("client"), SLICE(NULL, 0));
    assert_true(raw_receive(silent.fd, &silent.parser, &f));
    assert_true(raw_receive(inside.fd, &inside.parser, &f));
    assert_true(raw_receive(idle.fd, &idle.parser, &f));
    assert_true(raw_send(inside.fd, slice_str("SURF\1")));
    client_expect_closed(&silent);
    client_expect_closed(&inside);
    assert_true(clock_boot_ns() - begun >= 300 * NS_PER_MS);
    raw_send_frame(idle.fd, FRAME_REQUEST, 1, FIXTURE_ECHO, slice_str("idle is fine"), SLICE(NULL, 0));
    client_expect(&idle, 1, ERR_OK, slice_str("idle is fine"));
    client_close(&silent);
    client_close(&inside);
    client_close(&idle);
    fixture_stop(&hasty);
}

static bool is_taken(struct client *c, uint16_t port, const char *hello)
{
    struct frame f;
    *c = (struct client){.fd = raw_connect(port)};
    frame_parser_init(&c->parser);
    raw_send_frame(c->fd, FRAME_HELLO, 0, 0, slice_str(hello), SLICE(NULL, 0));
    struct bytes ask = raw_frame(FRAME_REQUEST, 1, FIXTURE_ECHO, slice_str("taken?"), SLICE(NULL, 0));
    (void)raw_send(c->fd, bytes_slice(&ask));
    bytes_free(&ask);
    return raw_receive(c->fd, &c->parser, &f) && f.header.type == FRAME_HELLO && raw_receive(c->fd, &c->parser, &f);
}

/* 16 of them: 2 for new ones, 2 for important ones, 12 for the others. */
static void test_places_for_important_connections(void **state)
{
    (void)state;
    enum { ORDINARY = 12, IMPORTANT = 2 };
    static struct fixture small;
    fixture_start_small(&small, RPC_SERVER_CONNECTIONS_MIN);
    struct client c[ORDINARY], important[IMPORTANT], refused;
    for (int i = 0; i < ORDINARY; i++)
        assert_true(is_taken(&c[i], small.port, "client"));
    for (int i = 0; i < 50; i++) {
        assert_false(is_taken(&refused, small.port, "client"));
        client_close(&refused);
    }
    for (int i = 0; i < IMPORTANT; i++)
        assert_true(is_taken(&important[i], small.port, FIXTURE_IMPORTANT));
    assert_false(is_taken(&refused, small.port, FIXTURE_IMPORTANT));
    client_close(&refused);
    for (int i = 0; i < ORDINARY; i++) {
        client_ask(&c[i], 2, FIXTURE_ECHO, slice_str("still there"));
        client_expect(&c[i], 2, ERR_OK, slice_str("still there"));
    }
    /* A place that becomes free is another's. */
    unsigned closed = atomic_load(&small.close_count);
    client_close(&c[0]);
    AWAIT(atomic_load(&small.close_count) == closed + 1);
    assert_true(is_taken(&c[0], small.port, "client"));
    for (int i = 0; i < ORDINARY; i++)
        client_close(&c[i]);
    for (int i = 0; i < IMPORTANT; i++)
        client_close(&important[i]);
    fixture_stop(&small);
}

/* Who opens connections and says nothing keeps nobody out, and has few of them. */
static void test_silent_connections_give_way(void **state)
{
    (void)state;
    enum { SILENT = 200 };
    static struct fixture small;
    fixture_start_small(&small, RPC_SERVER_CONNECTIONS_MIN);
    struct client silent[SILENT], c[3];
    for (int i = 0; i < SILENT; i++) {
        silent[i] = (struct client){.fd = raw_connect(small.port)};
        frame_parser_init(&silent[i].parser);
    }
    for (int i = 0; i < 3; i++)
        assert_true(is_taken(&c[i], small.port, "client"));
    unsigned open = 0;
    for (int i = 0; i < SILENT; i++) {
        /* The server's HELLO may be there before the end; behind it nothing else is. */
        bool is_open = true;
        struct pollfd polled = {.fd = silent[i].fd, .events = POLLIN};
        char bytes[256];
        while (is_open && poll(&polled, 1, 0) > 0)
            is_open = recv(silent[i].fd, bytes, sizeof bytes, 0) > 0;
        open += is_open;
    }
    assert_in_range(open, 0, 2);
    for (int i = 0; i < 3; i++) {
        client_ask(&c[i], 2, FIXTURE_ECHO, slice_str("still there"));
        client_expect(&c[i], 2, ERR_OK, slice_str("still there"));
        client_close(&c[i]);
    }
    for (int i = 0; i < SILENT; i++)
        client_close(&silent[i]);
    fixture_stop(&small);
}

/* Frames that begin and don't end: the oldest go when they take too much. */
static void test_incomplete_frames_are_limited(void **state)
{
    (void)state;
    enum { CLIENTS = 8, SENT = 512 * KIB };
    static struct fixture narrow;
    fixture_start_narrow(&narrow, 3 * SENT);
    struct client c[CLIENTS], other;
    uint8_t *zeros = mem_zalloc(SENT);
    struct frame f;
    assert_true(is_taken(&other, narrow.port, "client"));
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(is_taken(&c[i], narrow.port, "client"));
        struct frame_header h = {.type = FRAME_REQUEST, .id = 2, .method = FIXTURE_SINK, .payload_size = MIB};
        uint8_t head[FRAME_HEADER_SIZE];
        frame_header_encode(&h, SLICE(NULL, 0), head);
        assert_true(raw_send(c[i].fd, SLICE(head, sizeof head)) && raw_send(c[i].fd, SLICE(zeros, SENT)));
    }
    for (int i = 0; i < CLIENTS - 3; i++)
        client_expect_closed(&c[i]);
    /* The others have their time, and who is not in the middle of anything is not meant. */
    for (int i = CLIENTS - 2; i < CLIENTS; i++) {
        assert_true(raw_send(c[i].fd, SLICE(zeros, SENT)));
        assert_true(raw_receive(c[i].fd, &c[i].parser, &f) && f.header.id == 2 && f.header.status == ERR_OK);
    }
    client_ask(&other, 3, FIXTURE_ECHO, slice_str("still there"));
    client_expect(&other, 3, ERR_OK, slice_str("still there"));
    for (int i = 0; i < CLIENTS; i++)
        client_close(&c[i]);
    client_close(&other);
    free(zeros);
    fixture_stop(&narrow);
}

/* The socket takes it, whether the server reads or not. */
static void send_large(struct client *c, uint64_t id, enum fixture_method method, size_t size)
{
    int room = (int)(2 * size);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    uint8_t *zeros = mem_zalloc(size);
    raw_send_frame(c->fd, FRAME_REQUEST, id, method, SLICE(NULL, 0), SLICE(zeros, size));
    free(zeros);
}

static void expect_large(struct client *c, uint64_t id, size_t size)
{
    struct frame f;
    assert_true(raw_receive(c->fd, &c->parser, &f) && f.header.type == FRAME_RESPONSE && f.header.id == id);
    assert_int_equal(f.payload.size, size);
}

/* Of all clients together so much is taken in, and no more; what is small or important goes on meanwhile. */
static void test_memory_of_requests_is_limited(void **state)
{
    (void)state;
    enum { CLIENTS = 12, SIZE = 100 * KIB, FIT = 4 };
    static struct fixture tight;
    fixture_start_tight(&tight, FIT * SIZE);
    struct client c[CLIENTS], important, other;
    assert_true(is_taken(&important, tight.port, FIXTURE_IMPORTANT) && is_taken(&other, tight.port, "client"));
    for (int i = 0; i < CLIENTS; i++)
        assert_true(is_taken(&c[i], tight.port, "client"));
    for (int i = 0; i < FIT; i++)
        send_large(&c[i], 2, FIXTURE_HOLD, SIZE);
    AWAIT(atomic_load(&tight.held_count) == FIT);
    unsigned before = atomic_load(&tight.request_count);
    for (int i = FIT; i < CLIENTS; i++)
        send_large(&c[i], 2, FIXTURE_HOLD, SIZE);
    for (uint64_t id = 2; id < 50; id++) {
        send_large(&important, id, FIXTURE_ECHO, SIZE);
        expect_large(&important, id, SIZE);
        client_ask(&other, id, FIXTURE_ECHO, slice_str("small"));
        client_expect(&other, id, ERR_OK, slice_str("small"));
    }
    assert_int_equal(atomic_load(&tight.held_count), FIT);
    assert_int_equal(atomic_load(&tight.request_count) - before, 2 * 48);

    /* As they are answered the others come, and none is forgotten. */
    AWAIT((fixture_release(&tight), atomic_load(&tight.request_count) - before == 2 * 48 + CLIENTS - FIT));
    AWAIT((fixture_release(&tight), atomic_load(&tight.held_count) == 0));
    for (int i = 0; i < CLIENTS; i++) {
        expect_large(&c[i], 2, SIZE);
        client_close(&c[i]);
    }
    client_close(&important);
    client_close(&other);
    fixture_stop(&tight);
}

/* Requests outlive the server, and what they have taken does. */
static void test_memory_of_requests_that_are_gone(void **state)
{
    (void)state;
    enum { SIZE = 100 * KIB };
    static struct fixture tight;
    fixture_start_tight(&tight, 2 * SIZE);
    struct client first, second;
    assert_true(is_taken(&first, tight.port, "client") && is_taken(&second, tight.port, "client"));
    send_large(&first, 2, FIXTURE_HOLD, SIZE);
    AWAIT(atomic_load(&tight.held_count) == 1);
    unsigned closed = atomic_load(&tight.close_count);
    client_close(&first);
    AWAIT(atomic_load(&tight.close_count) == closed + 1);
    assert_true(is_taken(&first, tight.port, "client"));
    send_large(&first, 2, FIXTURE_HOLD, SIZE);
    AWAIT(atomic_load(&tight.held_count) == 2);
    send_large(&second, 2, FIXTURE_HOLD, SIZE); /* there is none left */
    for (uint64_t id = 0; id < 20; id++) {
        struct client other;
        assert_true(is_taken(&other, tight.port, "client"));
        client_close(&other);
    }
    assert_int_equal(atomic_load(&tight.held_count), 2);
    fixture_stop(&tight);
    client_close(&first);
    client_close(&second);
}

static unsigned asked_full;

static bool is_full(struct client *c)
{
    struct frame f;
    asked_full++;
    client_ask(c, 1, FIXTURE_FULL, SLICE(NULL, 0));
    assert_true(raw_receive(c->fd, &c->parser, &f) && f.header.type == FRAME_RESPONSE && f.message.size == 1);
    return f.message.data[0];
}

/* Answers that nobody reads: once there are many, each connection has a few of its own at most. */
static void test_memory_of_replies_is_limited(void **state)
{
    (void)state;
    enum { CLIENTS = 6, COUNT = 40, SMALL = 48, HELD_BY_SOCKETS = 10 /* at most, of one connection */ };
    static struct fixture terse;
    fixture_start_terse(&terse, 2 * MIB);
    struct client c[CLIENTS], reader;
    uint8_t size[4];
    put_u32be(size, MIB);
    assert_true(is_taken(&reader, terse.port, "client"));
    assert_false(is_full(&reader));
    unsigned before = atomic_load(&terse.request_count);
    asked_full = 0;
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(is_taken(&c[i], terse.port, "client"));
        for (uint64_t id = 0; id < COUNT; id++)
            client_ask(&c[i], id, FIXTURE_SOURCE, SLICE(size, 4));
    }
    AWAIT(is_full(&reader));
    /* Who reads is served, and in that time the server does all that it would for the others. */
    for (uint64_t id = 0; id < SMALL; id++) {
        client_ask(&reader, id, FIXTURE_ECHO, slice_str("small"));
        client_expect(&reader, id, ERR_OK, slice_str("small"));
    }
    assert_true(is_full(&reader));
    unsigned served = atomic_load(&terse.request_count) - before - CLIENTS - SMALL - asked_full;
    assert_in_range(served, 2, CLIENTS * (HELD_BY_SOCKETS + 2) + 2); /* 16 more of each without */
    for (int i = 0; i < CLIENTS / 2; i++)
        client_close(&c[i]);
    for (int i = CLIENTS / 2; i < CLIENTS; i++) {
        for (uint64_t id = 0; id < COUNT; id++)
            expect_large(&c[i], id, MIB);
        client_close(&c[i]);
    }
    AWAIT(!is_full(&reader));
    client_close(&reader);
    fixture_stop(&terse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_pipelined_requests),
        cmocka_unit_test(test_requests_under_way_are_limited),
        cmocka_unit_test(test_backlog_of_replies_is_limited),
        cmocka_unit_test(test_random_bytes_close),
        cmocka_unit_test(test_every_truncation_closes),
        cmocka_unit_test(test_frames_that_no_client_sends),
        cmocka_unit_test(test_requests_outlive_their_connection),
        cmocka_unit_test(test_dropping_connections),
        cmocka_unit_test(test_dropping_those_of_before),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_refused_hello),
        cmocka_unit_test(test_stalled_connections_are_closed),
        cmocka_unit_test(test_places_for_important_connections),
        cmocka_unit_test(test_silent_connections_give_way),
        cmocka_unit_test(test_incomplete_frames_are_limited),
        cmocka_unit_test(test_memory_of_requests_is_limited),
        cmocka_unit_test(test_memory_of_requests_that_are_gone),
        cmocka_unit_test(test_memory_of_replies_is_limited),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
