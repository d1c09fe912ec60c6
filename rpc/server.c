#include "rpc/server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "rpc/budget.h"
#include "rpc/stream.h"

#define LOG_MODULE "rpc"
#include "base/log.h"

#define SERVER_LISTEN_BACKLOG 1024
#define SERVER_SWEEP_MS 1000                /* how often stalled connections are looked for */
#define SERVER_INCOMPLETE_NS (1 * NS_PER_S) /* a frame that has not come for so long may have to go */
#define SERVER_KEPT_SHARE 8u                /* of the connections: for new ones, and for important ones */

/* What a connection counts as. */
enum conn_kind {
    CONN_NEW, /* its HELLO has not come */
    CONN_IMPORTANT,
    CONN_ORDINARY,
    CONN_CLOSING, /* its descriptor is closed */
    CONN_KINDS
};

struct rpc_server {
    uv_tcp_t listener;
    uv_timer_t sweep;
    uv_prepare_t prepare; /* both flush `dirty`, so that nothing stays unsent while the loop sleeps */
    uv_check_t check;
    unsigned handles; /* of the four that are not closed yet */
    bool closing;
    uint16_t port;
    int64_t hello_timeout_ns, frame_timeout_ns;
    size_t incomplete_most; /* bytes */
    struct rpc_pump_factory pumps;
    struct bytes hello;
    struct rpc_server_callbacks callbacks;
    struct rpc_budget *budget;
    size_t backlog, backlog_most;         /* unsent replies of ordinary connections, as counted last */
    struct list conns[CONN_KINDS], dirty; /* each with the oldest first */
    struct list waiting;                  /* paused since the budget is short */
    unsigned counts[CONN_KINDS], most[CONN_CLOSING];
    /* Lines about who was one too many, who was closed for a reason of its own, and that the budget is short. */
    struct log_pace refused, ended, shortage;
    void (*done)(void *context);
    void *done_context;
};

struct rpc_conn {
    struct rpc_stream stream;
    struct rpc_server *server;
    struct list_node node, dirty_node, waiting_node;
    struct list requests; /* that were handed on and are not answered; ONEWAY too */
    unsigned request_count;
    size_t request_bytes;
    size_t backlog;      /* as it is counted in the server's */
    enum conn_kind kind; /* the list that it is in */
    bool greeted;        /* its HELLO was accepted */
    uint64_t tag;
    int64_t opened_ns;
    char peer[INET6_ADDRSTRLEN + 8];
};

/* A request and its memory: a short one's bytes follow the struct, a long one's are those of the parser. */
struct server_request {
    struct rpc_request request;
    struct list_node node;
    struct bytes owned;
    size_t bytes;
    struct rpc_budget *budget; /* that they are taken from; NULL: none */
    int64_t begun_ns;          /* only when somebody wants to know how long it takes */
    uint8_t body[];
};

static struct rpc_conn *conn_of(struct rpc_stream *s)
{
    return container_of(s, struct rpc_conn, stream);
}

static struct server_request *server_request_of(struct rpc_request *r)
{
    return container_of(r, struct server_request, request);
}

static bool conn_is_over_limit(const struct rpc_conn *c)
{
    bool share = c->kind == CONN_ORDINARY && rpc_server_backlog_full(c->server);
    return c->request_count >= LIMIT_REQUESTS_PER_CONNECTION || c->request_bytes >= RPC_SERVER_REQUEST_BYTES ||
           rpc_stream_backlog(&c->stream) >= (share ? RPC_SERVER_SMALL_BYTES : RPC_SERVER_BACKLOG_BYTES);
}

static void conn_count_backlog(struct rpc_conn *c)
{
    size_t now = c->kind == CONN_ORDINARY ? rpc_stream_backlog(&c->stream) : 0;
    c->server->backlog += now - c->backlog;
    c->backlog = now;
}

/* frame_size: of the frame that is being read; 0: none is. */
static bool conn_must_wait(const struct rpc_conn *c, size_t frame_size)
{
    return c->kind == CONN_ORDINARY && c->server->budget->is_short &&
           (c->request_bytes >= RPC_SERVER_SMALL_BYTES || frame_size >= RPC_SERVER_SMALL_BYTES);
}

static void conn_wait(struct rpc_conn *c)
{
    struct rpc_server *s = c->server;
    rpc_stream_pause(&c->stream);
    if (!list_linked(&c->waiting_node) && !c->stream.closing)
        list_push_back(&s->waiting, &c->waiting_node);
    if (log_pace_allows(&s->shortage, clock_boot_ns()))
        log_warn("requests of clients take %zu MiB: large ones are not read for a moment", s->budget->bytes / MIB);
}

static void conn_resume(struct rpc_conn *c)
{
    if (!c->stream.paused || conn_is_over_limit(c))
        return;
    if (conn_must_wait(c, c->stream.parser.frame_size)) {
        conn_wait(c);
        return;
    }
    list_remove(&c->waiting_node);
    rpc_stream_resume(&c->stream);
}

static void conn_mark_dirty(struct rpc_conn *c)
{
    if (!list_linked(&c->dirty_node) && !c->stream.closing)
        list_push_back(&c->server->dirty, &c->dirty_node);
}

static void server_flush(struct rpc_server *s)
{
    struct list_node *node;
    while ((node = list_pop_front(&s->dirty))) {
        struct rpc_conn *c = container_of(node, struct rpc_conn, dirty_node);
        rpc_stream_flush(&c->stream);
        conn_count_backlog(c);
        conn_resume(c);
    }
    /* Who takes all that has become free makes the rest wait on. */
    while (!s->budget->is_short && (node = list_pop_front(&s->waiting)))
        conn_resume(container_of(node, struct rpc_conn, waiting_node));
}

static void on_prepare(uv_prepare_t *handle)
{
    server_flush(handle->data);
}

static void on_check(uv_check_t *handle)
{
    server_flush(handle->data);
}

static void conn_become(struct rpc_conn *c, enum conn_kind kind)
{
    struct rpc_server *s = c->server;
    list_remove(&c->node);
    s->counts[c->kind]--;
    c->kind = kind;
    list_push_back(&s->conns[kind], &c->node);
    s->counts[kind]++;
}

static void conn_close(struct rpc_conn *c)
{
    if (c->stream.closing)
        return;
    conn_become(c, CONN_CLOSING);
    conn_count_backlog(c);
    struct list_node *node;
    while ((node = list_pop_front(&c->requests))) {
        struct rpc_request *r = &container_of(node, struct server_request, node)->request;
        r->conn = NULL;
        r->gone = true;
    }
    list_remove(&c->dirty_node);
    list_remove(&c->waiting_node);
    rpc_stream_close(&c->stream);
}

static void conn_hand_on(struct rpc_conn *c, const struct frame *frame)
{
    struct bytes owned = {0};
    bool taken = frame_parser_take(&c->stream.parser, frame, &owned);
    size_t body = taken ? 0 : frame->message.size + frame->payload.size;
    struct server_request *r = mem_alloc(sizeof *r + body);
    *r = (struct server_request){
        .request = {.conn = c,
                    .id = frame->header.id,
                    .method = frame->header.method,
                    .oneway = frame->header.type == FRAME_ONEWAY,
                    .message = frame->message,
                    .payload = frame->payload,
                    .conn_tag = c->tag},
        .owned = owned,
        .bytes = sizeof *r + frame->message.size + frame->payload.size,
        .budget = c->kind == CONN_ORDINARY ? c->server->budget : NULL,
    };
    if (!taken) {
        if (body > 0)
            memcpy(r->body, frame->message.data, body); /* the payload follows the message */
        r->request.message.data = r->body;
        r->request.payload.data = r->body + frame->message.size;
    }
    if (c->server->callbacks.on_reply)
        r->begun_ns = clock_boot_ns();
    list_push_back(&c->requests, &r->node);
    c->request_count++;
    c->request_bytes += r->bytes;
    if (r->budget)
        rpc_budget_take(r->budget, r->bytes);
    if (conn_is_over_limit(c))
        rpc_stream_pause(&c->stream);
    else if (conn_must_wait(c, 0))
        conn_wait(c);
    c->server->callbacks.on_request(c->server->callbacks.context, &r->request);
}

/* Important ones may also have what the others leave. */
static bool conn_has_place(const struct rpc_server *s, enum conn_kind kind)
{
    unsigned most = s->most[CONN_ORDINARY] + s->most[CONN_IMPORTANT];
    return s->counts[CONN_ORDINARY] + s->counts[CONN_IMPORTANT] < most &&
           (kind == CONN_IMPORTANT || s->counts[CONN_ORDINARY] < s->most[CONN_ORDINARY]);
}

static enum err conn_greet(struct rpc_conn *c, const struct frame *frame, struct err_text *why)
{
    if (frame->header.type != FRAME_HELLO)
        return err_explain(why, ERR_PROTOCOL, "frame of type %d before HELLO", (int)frame->header.type);
    TRY(c->server->callbacks.on_hello(c->server->callbacks.context, frame->message, &c->tag, why));
    c->greeted = true;
    c->stream.parser.size_limit = 0;
    const struct rpc_server_callbacks *callbacks = &c->server->callbacks;
    bool important = callbacks->is_important && callbacks->is_important(callbacks->context, c->tag);
    enum conn_kind kind = important ? CONN_IMPORTANT : CONN_ORDINARY;
    if (!conn_has_place(c->server, kind))
        return err_explain(why, ERR_BUSY_NOW, "there are %u of its kind already", c->server->counts[kind]);
    conn_become(c, kind);
    return ERR_OK;
}

static enum err on_frame(struct rpc_stream *s, const struct frame *frame, struct err_text *why)
{
    struct rpc_conn *c = conn_of(s);
    if (!c->greeted)
        return conn_greet(c, frame, why);
    switch (frame->header.type) {
    case FRAME_REQUEST:
    case FRAME_ONEWAY:
        conn_hand_on(c, frame);
        return ERR_OK;
    case FRAME_PING:
        rpc_stream_queue(s, (struct frame_header){.type = FRAME_PONG, .id = frame->header.id}, SLICE(NULL, 0), NULL);
        return ERR_OK;
    case FRAME_CANCEL: /* a request is finished all the same: handlers are short, or their outcome is needed */
    case FRAME_PONG:
        return ERR_OK;
    default:
        return err_explain(why, ERR_PROTOCOL, "frame of type %d from a client", (int)frame->header.type);
    }
}

static void on_end(struct rpc_stream *s, enum err e, const struct err_text *why)
{
    struct rpc_conn *c = conn_of(s);
    struct rpc_server *server = c->server;
    if (e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_IO)
        log_debug("connection of %s ended: %s", c->peer, why->text);
    else if (log_pace_allows(e == ERR_BUSY_NOW ? &server->refused : &server->ended, clock_boot_ns()))
        log_warn("connection of %s closed: %s: %s", c->peer, err_message(e), why->text);
    conn_close(c);
}

static void on_drained(struct rpc_stream *s)
{
    conn_mark_dirty(conn_of(s));
}

static void on_begun(struct rpc_stream *s, size_t frame_size)
{
    struct rpc_conn *c = conn_of(s);
    if (conn_must_wait(c, frame_size))
        conn_wait(c);
}

static void server_handle_closed(struct rpc_server *s)
{
    for (unsigned kind = 0; kind < CONN_KINDS; kind++)
        if (s->counts[kind] > 0)
            return;
    if (s->handles > 0)
        return;
    void (*done)(void *context) = s->done;
    void *context = s->done_context;
    bytes_free(&s->hello);
    rpc_budget_leave(s->budget);
    free(s);
    if (done)
        done(context);
}

static void on_conn_closed(struct rpc_stream *stream)
{
    struct rpc_conn *c = conn_of(stream);
    struct rpc_server *s = c->server;
    if (c->greeted && s->callbacks.on_close)
        s->callbacks.on_close(s->callbacks.context, c->tag);
    list_remove(&c->node);
    s->counts[c->kind]--;
    free(c);
    server_handle_closed(s);
}

static const struct rpc_stream_callbacks conn_callbacks = {.on_frame = on_frame,
                                                           .on_end = on_end,
                                                           .on_drained = on_drained,
                                                           .on_begun = on_begun,
                                                           .on_closed = on_conn_closed};

static void describe_peer(const uv_tcp_t *tcp, char *text, size_t size)
{
    struct sockaddr_storage address;
    int address_size = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&address, &address_size) == 0) {
        if (address.ss_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const void *)&address;
            inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
            port = ntohs(in6->sin6_port);
        } else {
            const struct sockaddr_in *in = (const void *)&address;
            inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
            port = ntohs(in->sin_port);
        }
    }
    snprintf(text, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

static void complain_of_accept(struct rpc_server *s, int status)
{
    if (log_pace_allows(&s->refused, clock_boot_ns()))
        log_warn("can't accept a connection: %s", uv_strerror(status));
}

/* Who has had the longest time for a HELLO goes first: who means it sends one at once. */
static void make_room_for_new(struct rpc_server *s)
{
    while (s->counts[CONN_NEW] > s->most[CONN_NEW]) {
        struct rpc_conn *oldest = container_of(list_first(&s->conns[CONN_NEW]), struct rpc_conn, node);
        if (log_pace_allows(&s->refused, clock_boot_ns()))
            log_warn("connection of %s closed: there are too many that have not said HELLO", oldest->peer);
        conn_close(oldest);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct rpc_server *s = listener->data;
    if (status < 0) {
        complain_of_accept(s, status);
        return;
    }
    struct rpc_conn *c = MEM_NEW(struct rpc_conn);
    c->server = s;
    c->opened_ns = clock_boot_ns();
    list_init(&c->requests);
    list_node_init(&c->dirty_node);
    list_node_init(&c->waiting_node);
    c->kind = CONN_NEW;
    list_push_back(&s->conns[CONN_NEW], &c->node);
    s->counts[CONN_NEW]++;
    rpc_stream_init(&c->stream, listener->loop, &conn_callbacks, rpc_pump_make(&s->pumps, true));
    status = uv_accept(listener, (uv_stream_t *)&c->stream.tcp);
    if (status < 0) {
        complain_of_accept(s, status);
        conn_close(c);
        return;
    }
    make_room_for_new(s);
    describe_peer(&c->stream.tcp, c->peer, sizeof c->peer);
    rpc_stream_begin(&c->stream);
    rpc_stream_send(&c->stream, (struct frame_header){.type = FRAME_HELLO}, bytes_slice(&s->hello), SLICE(NULL, 0));
}

static void tell_left_out(struct log_pace *pace, int64_t now, const char *what)
{
    unsigned count = log_pace_left_out(pace, now);
    if (count > 0)
        log_warn("%u more connections were %s", count, what);
}

static void sweep_conn(struct rpc_conn *c, int64_t now)
{
    struct rpc_server *s = c->server;
    bool silent = !c->greeted && now - c->opened_ns > s->hello_timeout_ns;
    bool inside = c->stream.frame_since_ns && now - c->stream.frame_since_ns > s->frame_timeout_ns;
    if (!silent && !inside)
        return;
    if (log_pace_allows(&s->ended, now))
        log_warn("connection of %s closed: %s for %" PRId64 " ms", c->peer,
                 silent ? "no HELLO" : "a frame is incomplete",
                 (silent ? s->hello_timeout_ns : s->frame_timeout_ns) / NS_PER_MS);
    conn_close(c);
}

static size_t incomplete_bytes(const struct rpc_conn *c)
{
    return c->stream.frame_since_ns ? c->stream.parser.buffer.size - c->stream.parser.consumed : 0;
}

/* All that is incomplete, and whose has been for longest, and for too long; NULL: nobody's. */
static size_t find_incomplete(const struct rpc_server *s, int64_t before_ns, struct rpc_conn **ret_oldest)
{
    size_t sum = 0;
    *ret_oldest = NULL;
    for (unsigned kind = 0; kind < CONN_CLOSING; kind++)
        list_for_each (node, &s->conns[kind]) {
            struct rpc_conn *c = container_of(node, struct rpc_conn, node);
            size_t bytes = incomplete_bytes(c);
            sum += bytes;
            if (bytes > 0 && c->stream.frame_since_ns < before_ns &&
                (!*ret_oldest || c->stream.frame_since_ns < (*ret_oldest)->stream.frame_since_ns))
                *ret_oldest = c;
        }
    return sum;
}

static void sweep_incomplete(struct rpc_server *s, int64_t now)
{
    struct rpc_conn *oldest;
    while (find_incomplete(s, now - SERVER_INCOMPLETE_NS, &oldest) > s->incomplete_most && oldest) {
        if (log_pace_allows(&s->refused, now))
            log_warn("connection of %s closed: incomplete frames take too much memory", oldest->peer);
        conn_close(oldest);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct rpc_server *s = timer->data;
    int64_t now = clock_boot_ns();
    sweep_incomplete(s, now);
    for (unsigned kind = 0; kind < CONN_CLOSING; kind++)
        list_for_each_safe (node, &s->conns[kind])
            sweep_conn(container_of(node, struct rpc_conn, node), now);
    (void)log_pace_left_out(&s->shortage, now);
    tell_left_out(&s->refused, now, "refused or closed, since there was too much");
    tell_left_out(&s->ended, now, "closed, since they broke the protocol or said nothing");
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct rpc_server *s = handle->data;
    s->handles--;
    server_handle_closed(s);
}

static void server_close_handles(struct rpc_server *s)
{
    s->closing = true;
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    uv_close((uv_handle_t *)&s->sweep, on_listener_closed);
    uv_close((uv_handle_t *)&s->prepare, on_listener_closed);
    uv_close((uv_handle_t *)&s->check, on_listener_closed);
}

static struct rpc_server *server_new(uv_loop_t *loop, struct slice hello, const struct rpc_server_callbacks *callbacks)
{
    struct rpc_server *s = MEM_NEW(struct rpc_server);
    s->callbacks = *callbacks;
    s->hello_timeout_ns = RPC_SERVER_HELLO_TIMEOUT_S * NS_PER_S;
    s->frame_timeout_ns = RPC_SERVER_FRAME_TIMEOUT_S * NS_PER_S;
    for (unsigned kind = 0; kind < CONN_KINDS; kind++)
        list_init(&s->conns[kind]);
    list_init(&s->dirty);
    list_init(&s->waiting);
    s->budget = rpc_budget_new(RPC_SERVER_ALL_REQUESTS_BYTES);
    s->backlog_most = RPC_SERVER_ALL_BACKLOG_BYTES;
    rpc_server_set_connections(s, LIMIT_CONNECTIONS);
    s->incomplete_most = RPC_SERVER_INCOMPLETE_BYTES;
    rpc_server_set_hello(s, hello);
    CHECK(uv_tcp_init(loop, &s->listener) == 0 && uv_timer_init(loop, &s->sweep) == 0);
    CHECK(uv_prepare_init(loop, &s->prepare) == 0 && uv_check_init(loop, &s->check) == 0);
    s->handles = 4;
    s->listener.data = s->sweep.data = s->prepare.data = s->check.data = s;
    return s;
}

static enum err server_bind(struct rpc_server *s, const char *host, uint16_t port, struct err_text *why)
{
    struct rpc_address address = {.port = port};
    struct sockaddr_storage where;
    socklen_t size;
    snprintf(address.host, sizeof address.host, "%s", host);
    TRY(rpc_address_resolve(&address, &where, &size, why));
    int status = uv_tcp_bind(&s->listener, (struct sockaddr *)&where, 0);
    /* A kernel without IPv6: all addresses have another name there. */
    if (status == UV_EAFNOSUPPORT && strcmp(host, "::") == 0)
        return server_bind(s, "0.0.0.0", port, why);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&s->listener, SERVER_LISTEN_BACKLOG, on_connection);
    if (status == UV_EADDRINUSE)
        return err_explain(why, ERR_EXISTS_IN_USE, "port %u of %s is in use", port, host);
    if (status < 0)
        return err_explain(why, rpc_err_from_uv(status), "can't listen on port %u of %s: %s", port, host,
                           uv_strerror(status));
    int bound_size = sizeof where;
    CHECK(uv_tcp_getsockname(&s->listener, (struct sockaddr *)&where, &bound_size) == 0);
    s->port = ntohs(where.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&where)->sin6_port
                                                : ((struct sockaddr_in *)&where)->sin_port);
    return ERR_OK;
}

enum err rpc_server_listen(uv_loop_t *loop, const char *host, uint16_t port, struct slice hello,
                           const struct rpc_server_callbacks *callbacks, struct rpc_server **ret, struct err_text *why)
{
    rpc_ignore_sigpipe();
    struct rpc_server *s = server_new(loop, hello, callbacks);
    enum err e = server_bind(s, host, port, why);
    if (e != ERR_OK) {
        server_close_handles(s);
        return e;
    }
    CHECK(uv_timer_start(&s->sweep, on_sweep, SERVER_SWEEP_MS, SERVER_SWEEP_MS) == 0);
    CHECK(uv_prepare_start(&s->prepare, on_prepare) == 0 && uv_check_start(&s->check, on_check) == 0);
    *ret = s;
    return ERR_OK;
}

uint16_t rpc_server_port(const struct rpc_server *s)
{
    return s->port;
}

void rpc_server_set_hello(struct rpc_server *s, struct slice hello)
{
    CHECK(FRAME_HEADER_SIZE + hello.size <= RPC_HELLO_BYTES);
    bytes_clear(&s->hello);
    bytes_append(&s->hello, hello);
}

void rpc_server_set_pumps(struct rpc_server *s, const struct rpc_pump_factory *f)
{
    s->pumps = *f;
}

void rpc_server_set_connections(struct rpc_server *s, unsigned most)
{
    CHECK(most >= RPC_SERVER_CONNECTIONS_MIN);
    s->most[CONN_NEW] = s->most[CONN_IMPORTANT] = most / SERVER_KEPT_SHARE;
    s->most[CONN_ORDINARY] = most - s->most[CONN_NEW] - s->most[CONN_IMPORTANT];
}

void rpc_server_set_incomplete(struct rpc_server *s, size_t bytes)
{
    s->incomplete_most = bytes;
}

void rpc_server_set_requests(struct rpc_server *s, size_t bytes)
{
    rpc_budget_set(s->budget, bytes);
}

void rpc_server_set_backlog(struct rpc_server *s, size_t bytes)
{
    s->backlog_most = bytes;
}

bool rpc_server_backlog_full(const struct rpc_server *s)
{
    return s->backlog >= s->backlog_most;
}

void rpc_server_set_timeouts(struct rpc_server *s, int64_t hello_ns, int64_t frame_ns)
{
    s->hello_timeout_ns = hello_ns;
    s->frame_timeout_ns = frame_ns;
    uint64_t look_ms = (uint64_t)(MIN(hello_ns, frame_ns) / NS_PER_MS / 4);
    look_ms = MIN(MAX(look_ms, 1u), (uint64_t)SERVER_SWEEP_MS);
    CHECK(uv_timer_start(&s->sweep, on_sweep, look_ms, look_ms) == 0);
}

static void request_free(struct server_request *r)
{
    struct rpc_conn *c = r->request.conn;
    if (c) {
        list_remove(&r->node);
        c->request_count--;
        c->request_bytes -= r->bytes;
        if (!c->stream.corked || c->stream.paused)
            conn_mark_dirty(c);
    }
    if (r->budget)
        rpc_budget_give(r->budget, r->bytes);
    arena_free(&r->request.arena);
    bytes_free(&r->owned);
    free(r);
}

/* A short one in answer to what is being read goes out with that, and needs no count. */
static void conn_queue_reply(struct rpc_conn *c, struct frame_header header, struct slice message,
                             struct bytes *payload)
{
    rpc_stream_queue(&c->stream, header, message, payload);
    if (rpc_stream_backlog(&c->stream) < RPC_SERVER_SMALL_BYTES)
        return;
    conn_count_backlog(c);
    conn_mark_dirty(c);
}

void rpc_reply(struct rpc_request *request, enum err status, struct slice message, struct bytes *payload)
{
    CHECK(!request->oneway);
    CHECK(message.size <= LIMIT_FRAME_MESSAGE_BYTES && (!payload || payload->size <= LIMIT_FRAME_PAYLOAD_BYTES));
    struct frame_header header = {
        .type = FRAME_RESPONSE, .id = request->id, .method = request->method, .status = (uint16_t)status};
    if (request->conn && request->conn->server->callbacks.on_reply) {
        const struct rpc_server_callbacks *callbacks = &request->conn->server->callbacks;
        callbacks->on_reply(callbacks->context, request->method, status,
                            clock_boot_ns() - server_request_of(request)->begun_ns);
    }
    if (request->conn)
        conn_queue_reply(request->conn, header, message, payload);
    else if (payload)
        bytes_free(payload);
    request_free(server_request_of(request));
}

void rpc_release(struct rpc_request *request)
{
    request_free(server_request_of(request));
}

void rpc_server_drop_connections(struct rpc_server *s, int64_t before_ns)
{
    for (unsigned kind = 0; kind < CONN_CLOSING; kind++)
        list_for_each_safe (node, &s->conns[kind]) {
            struct rpc_conn *c = container_of(node, struct rpc_conn, node);
            if (c->opened_ns < before_ns)
                conn_close(c);
        }
}

void rpc_server_close(struct rpc_server *s, void (*done)(void *context), void *context)
{
    CHECK(!s->closing);
    s->done = done;
    s->done_context = context;
    rpc_server_drop_connections(s, INT64_MAX);
    server_close_handles(s);
}
