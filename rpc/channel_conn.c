#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel_internal.h"
#include "rpc/loopback.h"
#include "rpc/trace.h"

#define LOG_MODULE "rpc"
#include "base/log.h"

#define RECEIVE_ROUNDS 16 /* reads in a row before the reader looks whether it has its own answer */

void conn_ref(struct channel_conn *conn)
{
    atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
}

void conn_unref(struct channel_conn *conn)
{
    if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) != 1)
        return;
    CHECK(conn->calls.count == 0 && list_empty(&conn->waiters));
    close(conn->fd);
    conn->pump->ops->free(conn->pump);
    frame_parser_close(&conn->parser);
    bytes_free(&conn->wire_in);
    bytes_free(&conn->queue);
    map_u64_free(&conn->calls);
    channel_unref(conn->channel);
    free(conn);
}

void conn_break(struct channel_conn *conn, enum err status, const struct channel_waiter *self,
                struct channel_done *done)
{
    if (conn->broken)
        return;
    struct rpc_channel *c = conn->channel;
    conn->broken = true;
    helper_forget(conn);
    shutdown(conn->fd, SHUT_RDWR); /* wakes who sleeps on it */
    size_t at = 0;
    uint64_t id;
    void *call;
    while (map_u64_next(&conn->calls, &at, &id, &call))
        call_end(call, status, self, done);
    list_for_each (node, &conn->turns)
        waiter_signal(container_of(node, struct channel_turn, node)->waiter);
    bytes_free(&conn->queue);
    if (c->conn == conn) {
        c->conn = NULL;
        unsigned refs = atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel);
        CHECK(refs > 1); /* the caller's */
    }
}

static struct channel_conn *conn_new(struct rpc_channel *c, int fd)
{
    static atomic_uint_fast64_t serials;
    struct channel_conn *conn = MEM_NEW(struct channel_conn);
    atomic_init(&conn->refs, 1);
    channel_ref(c);
    conn->channel = c;
    conn->fd = fd;
    conn->serial = atomic_fetch_add(&serials, 1) + 1;
    conn->last_start_ns = clock_boot_ns();
    conn->pump = rpc_pump_make(&c->pumps, false);
    conn->transparent = conn->pump->transparent;
    frame_parser_init(&conn->parser);
    list_init(&conn->waiters);
    list_init(&conn->turns);
    list_init(&conn->background);
    return conn;
}

/* Connecting to a port of this machine that nobody listens on can connect the socket to itself. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_size = sizeof here, there_size = sizeof there;
    return getsockname(fd, (struct sockaddr *)&here, &here_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_size) == 0 && here_size == there_size &&
           memcmp(&here, &there, here_size) == 0;
}

static enum err socket_await(int fd, short events, int64_t deadline_ns, struct channel_waiter *w)
{
    for (;;) {
        TRY(waiter_sleep(w, fd, events, deadline_ns));
        struct pollfd now = {.fd = fd, .events = events};
        if (poll(&now, 1, 0) > 0)
            return ERR_OK;
    }
}

static enum err socket_connect(int fd, const struct sockaddr_storage *to, socklen_t size, int64_t deadline_ns,
                               struct channel_waiter *w, struct err_text *why)
{
    int on = 1, keepalive_s = 30, timeout_ms = CHANNEL_USER_TIMEOUT_MS, failed = 0;
    socklen_t failed_size = sizeof failed;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_s, sizeof keepalive_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    if (connect(fd, (const struct sockaddr *)to, size) != 0) {
        if (errno != EINPROGRESS && errno != EINTR)
            return err_explain(why, ERR_UNREACHABLE, "%s", strerror(errno));
        TRY(socket_await(fd, POLLOUT, deadline_ns, w));
        CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &failed_size) == 0);
    }
    rpc_loopback_tune(fd);
    if (failed || is_connected_to_itself(fd))
        return err_explain(why, ERR_UNREACHABLE, "%s", strerror(failed ? failed : ECONNREFUSED));
    return ERR_OK;
}

/* Waits for bytes and feeds them to the parser. Only one thread knows of the connection yet. */
static enum err conn_read_once(struct channel_conn *conn, int64_t deadline_ns, struct channel_waiter *w)
{
    TRY(socket_await(conn->fd, POLLIN, deadline_ns, w));
    size_t room;
    if (conn->transparent) {
        uint8_t *to = frame_parser_room(&conn->parser, CHANNEL_READ_BYTES, &room);
        ssize_t got = recv(conn->fd, to, room, MSG_DONTWAIT);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR) ? ERR_OK : ERR_CLOSED;
        frame_parser_fed(&conn->parser, (size_t)got);
        return ERR_OK;
    }
    bytes_reserve(&conn->wire_in, CHANNEL_READ_BYTES);
    ssize_t got = recv(conn->fd, conn->wire_in.data, CHANNEL_READ_BYTES, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR) ? ERR_OK : ERR_CLOSED;
    frame_parser_room(&conn->parser, 0, &room);
    return conn->pump->ops->receive(conn->pump, SLICE(conn->wire_in.data, (size_t)got), &conn->parser.buffer,
                                    &conn->queue);
}

/* A fresh socket takes a few KiB without waiting. */
static enum err conn_send_out(struct channel_conn *conn)
{
    size_t size = conn->queue.size;
    if (size > 0 && send(conn->fd, conn->queue.data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
        return ERR_CLOSED;
    bytes_clear(&conn->queue);
    return ERR_OK;
}

static enum err conn_greet(struct channel_conn *conn, int64_t deadline_ns, struct channel_waiter *w,
                           struct err_text *why)
{
    struct rpc_channel *c = conn->channel;
    struct slice hello = bytes_slice(&c->hello);
    struct bytes plain = {0};
    struct frame_header header = {.type = FRAME_HELLO, .message_size = (uint32_t)hello.size};
    frame_header_encode(&header, hello, bytes_extend(&plain, FRAME_HEADER_SIZE));
    bytes_append(&plain, hello);
    enum err e = conn->pump->ops->send(conn->pump, bytes_slice(&plain), &conn->queue);
    bytes_free(&plain);
    bool ready = false;
    struct frame frame;
    conn->parser.size_limit = CHANNEL_HELLO_BYTES;
    while (e == ERR_OK && !ready) {
        e = conn_send_out(conn);
        if (e == ERR_OK)
            e = conn_read_once(conn, deadline_ns, w);
        if (e == ERR_OK)
            e = frame_parser_next(&conn->parser, &frame, &ready, why);
    }
    TRY(e);
    if (frame.header.type != FRAME_HELLO)
        return err_explain(why, ERR_PROTOCOL, "frame of type %d before HELLO", (int)frame.header.type);
    conn->parser.size_limit = 0;
    return c->on_hello ? c->on_hello(c->context, frame.message, why) : ERR_OK;
}

enum err conn_open(struct rpc_channel *c, int64_t deadline_ns, struct channel_waiter *w, struct channel_conn **ret,
                   struct err_text *why)
{
    int64_t limit_ns = clock_boot_ns() + c->connect_timeout_ns;
    int64_t until_ns = MIN(deadline_ns, limit_ns);
    struct sockaddr_storage to;
    socklen_t size;
    why->text[0] = 0;
    enum err e = channel_lookup(&c->address, until_ns, w, &to, &size, why);
    if (e == ERR_TIMEOUT && limit_ns <= deadline_ns)
        return err_explain(why, ERR_UNREACHABLE, "no name server says where \"%.100s\" is", c->address.host);
    TRY(e);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_explain(why, ERR_UNREACHABLE, "can't make a socket: %s", strerror(errno));
    struct channel_conn *conn = conn_new(c, fd);
    e = socket_connect(fd, &to, size, until_ns, w, why);
    bool connected = e == ERR_OK;
    if (connected)
        e = conn_greet(conn, until_ns, w, why);
    if (e == ERR_TIMEOUT && limit_ns <= deadline_ns)
        e = err_explain(why, ERR_UNREACHABLE, connected ? "who listens there says nothing" : "no answer");
    if (e == ERR_OK) {
        atomic_store_explicit(&c->is_local, rpc_is_loopback(fd), memory_order_relaxed);
        *ret = conn;
        return ERR_OK;
    }
    if (connected && why->text[0])
        log_warn("%s: %s: %s", c->address.text, err_message(e), why->text);
    conn_unref(conn);
    return e;
}

bool conn_is_stale(struct channel_conn *conn)
{
    uint8_t byte;
    ssize_t got = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void conn_answer(struct channel_conn *conn, const struct frame *frame, const struct channel_waiter *self,
                        struct channel_done *done)
{
    struct rpc_call *call = map_u64_get(&conn->calls, frame->header.id);
    if (!call)
        return; /* it was given up */
    call->answered = true;
    call->message = frame->message;
    call->payload = frame->payload;
    if (!frame_parser_take(&conn->parser, frame, &call->data)) {
        /* The payload follows the message. */
        bytes_append(&call->data, SLICE(frame->message.data, frame->message.size + frame->payload.size));
        call->message.data = call->data.data;
        call->payload.data = call->data.data ? call->data.data + frame->message.size : NULL;
    }
    call_end(call, err_from_wire(frame->header.status), self, done);
}

static enum err conn_pong(struct channel_conn *conn, uint64_t id, struct channel_done *done)
{
    uint8_t pong[FRAME_HEADER_SIZE];
    frame_header_encode(&(struct frame_header){.type = FRAME_PONG, .id = id}, SLICE(NULL, 0), pong);
    if (conn->queue.size > RPC_CHANNEL_QUEUE_BYTES)
        return ERR_TOO_BIG;
    TRY(conn->pump->ops->send(conn->pump, SLICE(pong, sizeof pong), &conn->queue));
    conn_write_queue(conn, done);
    return ERR_OK;
}

/* With the lock. */
static enum err conn_work_off(struct channel_conn *conn, const struct channel_waiter *self, struct channel_done *done,
                              struct err_text *why)
{
    for (;;) {
        struct frame frame;
        bool ready;
        TRY(frame_parser_next(&conn->parser, &frame, &ready, why));
        if (!ready)
            return ERR_OK;
        rpc_trace_receive(&frame);
        switch (frame.header.type) {
        case FRAME_RESPONSE:
            conn_answer(conn, &frame, self, done);
            break;
        case FRAME_PING:
            TRY(conn_pong(conn, frame.header.id, done));
            break;
        case FRAME_ONEWAY: /* nobody here takes it */
        case FRAME_PONG:
            break;
        default:
            return err_explain(why, ERR_PROTOCOL, "frame of type %d from a server", (int)frame.header.type);
        }
    }
}

static enum err conn_take_in(struct channel_conn *conn, size_t size, struct channel_done *done)
{
    if (conn->transparent) {
        frame_parser_fed(&conn->parser, size);
        return ERR_OK;
    }
    size_t room;
    frame_parser_room(&conn->parser, 0, &room);
    TRY(conn->pump->ops->receive(conn->pump, SLICE(conn->wire_in.data, size), &conn->parser.buffer, &conn->queue));
    conn_write_queue(conn, done);
    return ERR_OK;
}

void conn_receive(struct channel_conn *conn, const struct channel_waiter *self)
{
    struct rpc_channel *c = conn->channel;
    bool more = true;
    for (int round = 0; more && round < RECEIVE_ROUNDS; round++) {
        size_t room = CHANNEL_READ_BYTES;
        uint8_t *to;
        if (conn->transparent) {
            to = frame_parser_room(&conn->parser, CHANNEL_READ_BYTES, &room);
        } else {
            bytes_reserve(&conn->wire_in, room);
            to = conn->wire_in.data;
        }
        ssize_t got = recv(conn->fd, to, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        struct channel_done done;
        struct err_text why = {""};
        channel_done_init(&done);
        pthread_mutex_lock(&c->lock);
        enum err e = got > 0 ? conn_take_in(conn, (size_t)got, &done) : ERR_CLOSED;
        if (e == ERR_OK)
            e = conn_work_off(conn, self, &done, &why);
        if (e != ERR_OK)
            conn_break(conn, e == ERR_TOO_BIG ? ERR_PROTOCOL : e, self, &done);
        more = e == ERR_OK && (size_t)got == room;
        pthread_mutex_unlock(&c->lock);
        if (why.text[0])
            log_warn("%s: %s: %s", c->address.text, err_message(e), why.text);
        channel_done_run(&done);
    }
}
