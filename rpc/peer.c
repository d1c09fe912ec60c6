#include "rpc/peer.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "rpc/lookup.h"
#include "rpc/stream.h"

#define LOG_MODULE "rpc"
#include "base/log.h"

#define PEER_BACKOFF_MIN_MS 10
#define PEER_BACKOFF_MAX_MS 1000
#define PEER_PROVEN_NS NS_PER_S      /* a connection that held for so long ends the back-off */
#define PEER_CONNECT_TIMEOUT_MS 3000 /* for the connection and both HELLOs */

/*  IDLE --use--> RESOLVING --> CONNECTING --> GREETING --HELLO--> UP
 *   ^               |              |             |              |
 *   |               +------- failed or broken ---+--------------+--> WAITING --back-off--> RESOLVING
 *   +------ rpc_peer_disconnect, from anywhere                                                           */
enum peer_state { PEER_IDLE, PEER_RESOLVING, PEER_CONNECTING, PEER_GREETING, PEER_UP, PEER_WAITING };

/* One attempt to connect and the connection that comes of it; outlives the peer until libuv has let go of it. */
struct peer_link {
    struct rpc_stream stream;
    uv_connect_t connect;
    struct rpc_peer *peer; /* NULL once it was given up */
};

/* Waits for a name; outlives the peer until its handle is closed. */
struct peer_lookup {
    struct rpc_lookup_turn turn;
    uv_async_t ended;
    struct rpc_peer *peer;
};

struct peer_call {
    struct list_node node; /* in peer->calls or peer->ended */
    uint64_t id;
    uint16_t method;
    bool sent;
    int64_t deadline_ns;
    struct bytes message, payload; /* until it is sent */
    enum err status;               /* once it has ended */
    rpc_peer_done done;
    void *context;
};

struct rpc_peer {
    uv_loop_t *loop;
    struct rpc_address address;
    struct bytes hello;
    enum err (*on_hello)(void *context, struct slice hello, struct err_text *why);
    void *context;
    struct rpc_pump_factory pumps;

    enum peer_state state;
    struct peer_link *link;     /* in CONNECTING, GREETING and UP */
    struct peer_lookup *lookup; /* in RESOLVING */
    unsigned backoff_ms;
    int64_t up_since_ns;
    bool failure_logged;
    uint64_t dropped;

    uint64_t next_id;
    struct map_u64 by_id;
    struct list calls;   /* that have not ended, in the order of their start */
    struct list ended;   /* whose callback is due */
    size_t unsent_bytes; /* of calls that wait for the connection */

    uv_timer_t timer;     /* WAITING: the next attempt; RESOLVING to GREETING: gives up the attempt */
    uv_timer_t deadlines; /* the earliest deadline of a call */
    int64_t deadlines_ns; /* what that timer is set for; INT64_MAX: not set */
    uv_timer_t soon;      /* runs the callbacks in `ended` */
    unsigned handles;     /* timers that are not closed yet */
    bool freed;
    unsigned busy; /* callbacks of the user that are running; the struct stays meanwhile */
};

static void peer_connect(struct rpc_peer *p);

static void peer_release(struct rpc_peer *p)
{
    if (p->freed && p->handles == 0 && p->busy == 0)
        free(p);
}

static void call_finish(struct rpc_peer *p, struct peer_call *call, const struct rpc_response *response)
{
    rpc_peer_done done = call->done;
    void *context = call->context;
    bytes_free(&call->message);
    bytes_free(&call->payload);
    free(call);
    p->busy++;
    done(context, response);
    p->busy--;
}

static void peer_run_ended(struct rpc_peer *p)
{
    struct list_node *node;
    while ((node = list_pop_front(&p->ended))) {
        struct peer_call *call = container_of(node, struct peer_call, node);
        struct rpc_response response = {.status = call->status};
        call_finish(p, call, &response);
    }
}

static void on_soon(uv_timer_t *timer)
{
    struct rpc_peer *p = timer->data;
    p->busy++;
    peer_run_ended(p);
    p->busy--;
    peer_release(p);
}

static void call_forget_bytes(struct rpc_peer *p, struct peer_call *call)
{
    if (!call->sent)
        p->unsent_bytes -= call->message.size + call->payload.size;
    bytes_free(&call->message);
    bytes_free(&call->payload);
}

/* Its callback comes from the loop, soon. */
static void call_end(struct rpc_peer *p, struct peer_call *call, enum err status)
{
    call_forget_bytes(p, call);
    map_u64_remove(&p->by_id, call->id);
    list_remove(&call->node);
    call->status = status;
    list_push_back(&p->ended, &call->node);
    if (!p->freed)
        uv_timer_start(&p->soon, on_soon, 0, 0);
}

static void peer_end_calls(struct rpc_peer *p, enum err status, bool only_sent)
{
    list_for_each_safe (node, &p->calls) {
        struct peer_call *call = container_of(node, struct peer_call, node);
        if (call->sent || !only_sent)
            call_end(p, call, status);
    }
}

static void on_deadlines(uv_timer_t *timer)
{
    struct rpc_peer *p = timer->data;
    int64_t now = clock_boot_ns(), next = INT64_MAX;
    list_for_each_safe (node, &p->calls) {
        struct peer_call *call = container_of(node, struct peer_call, node);
        if (call->deadline_ns > now) {
            next = MIN(next, call->deadline_ns);
            continue;
        }
        if (call->sent && p->state == PEER_UP)
            rpc_stream_send(&p->link->stream, (struct frame_header){.type = FRAME_CANCEL, .id = call->id},
                            SLICE(NULL, 0), SLICE(NULL, 0));
        call_end(p, call, call->sent ? ERR_TIMEOUT : ERR_UNREACHABLE);
    }
    p->deadlines_ns = next;
    if (next != INT64_MAX)
        uv_timer_start(&p->deadlines, on_deadlines, (uint64_t)((next - now) / NS_PER_MS + 1), 0);
}

static void peer_expect_deadline(struct rpc_peer *p, int64_t deadline_ns)
{
    if (deadline_ns >= p->deadlines_ns)
        return;
    int64_t left = deadline_ns - clock_boot_ns();
    p->deadlines_ns = deadline_ns;
    uv_update_time(p->loop);
    uv_timer_start(&p->deadlines, on_deadlines, left > 0 ? (uint64_t)(left / NS_PER_MS + 1) : 0, 0);
}

static void call_send(struct rpc_peer *p, struct peer_call *call, struct slice message, struct slice payload)
{
    struct frame_header header = {.type = FRAME_REQUEST, .id = call->id, .method = call->method};
    call->sent = true;
    rpc_stream_send(&p->link->stream, header, message, payload);
}

static void on_lookup_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* ERR_TIMEOUT: it is left to itself. */
static enum err peer_lookup_end(struct rpc_peer *p, struct sockaddr_storage *ret, socklen_t *ret_size,
                                struct err_text *why)
{
    struct peer_lookup *lookup = p->lookup;
    p->lookup = NULL;
    enum err e = rpc_lookup_leave(&lookup->turn, ret, ret_size, why); /* from now on nobody touches the handle */
    uv_close((uv_handle_t *)&lookup->ended, on_lookup_closed);
    return e;
}

/* Gives up what there is of a connection, without a word to anybody. */
static void peer_unlink(struct rpc_peer *p)
{
    if (p->link) {
        p->link->peer = NULL;
        rpc_stream_close(&p->link->stream);
        p->link = NULL;
    }
    if (p->lookup) {
        struct sockaddr_storage unused;
        socklen_t unused_size;
        struct err_text why;
        (void)!peer_lookup_end(p, &unused, &unused_size, &why);
    }
    if (!p->freed)
        uv_timer_stop(&p->timer);
}

static void on_retry(uv_timer_t *timer)
{
    peer_connect(timer->data);
}

static void peer_failed(struct rpc_peer *p, enum err e, const char *why)
{
    if (p->state == PEER_UP && clock_boot_ns() - p->up_since_ns >= PEER_PROVEN_NS)
        p->backoff_ms = PEER_BACKOFF_MIN_MS;
    if (p->state == PEER_UP)
        log_info("connection to %s ended: %s", p->address.text, why);
    else if (!p->failure_logged)
        log_info("can't connect to %s: %s; trying again", p->address.text, why);
    p->failure_logged = true;
    peer_unlink(p);
    p->state = PEER_WAITING;
    uv_timer_start(&p->timer, on_retry, p->backoff_ms, 0);
    p->backoff_ms = MIN(p->backoff_ms * 2, (unsigned)PEER_BACKOFF_MAX_MS);
    peer_end_calls(p, e == ERR_PROTOCOL || e == ERR_TOO_BIG ? ERR_PROTOCOL : ERR_CLOSED, true);
}

static void on_attempt_timeout(uv_timer_t *timer)
{
    peer_failed(timer->data, ERR_UNREACHABLE, "no answer");
}

static struct peer_link *link_of(struct rpc_stream *s)
{
    return container_of(s, struct peer_link, stream);
}

static enum err peer_greeted(struct rpc_peer *p, const struct frame *frame, struct err_text *why)
{
    if (frame->header.type != FRAME_HELLO)
        return err_explain(why, ERR_PROTOCOL, "frame of type %d before HELLO", (int)frame->header.type);
    struct peer_link *link = p->link;
    if (p->on_hello) {
        p->busy++;
        enum err e = p->on_hello(p->context, frame->message, why);
        p->busy--;
        if (p->freed || link != p->link)
            return ERR_OK;
        TRY(e);
    }
    link->stream.parser.size_limit = 0;
    uv_timer_stop(&p->timer);
    p->state = PEER_UP;
    p->up_since_ns = clock_boot_ns();
    p->failure_logged = false;
    log_info("connected to %s", p->address.text);
    list_for_each (node, &p->calls) {
        struct peer_call *call = container_of(node, struct peer_call, node);
        struct bytes message = call->message, payload = call->payload;
        p->unsent_bytes -= message.size + payload.size;
        call->message = call->payload = (struct bytes){0};
        call_send(p, call, bytes_slice(&message), bytes_slice(&payload));
        bytes_free(&message);
        bytes_free(&payload);
    }
    return ERR_OK;
}

static void peer_answered(struct rpc_peer *p, const struct frame *frame)
{
    struct peer_call *call = map_u64_remove(&p->by_id, frame->header.id);
    if (!call)
        return; /* it was given up */
    list_remove(&call->node);
    struct rpc_response response = {err_from_wire(frame->header.status), frame->message, frame->payload};
    call_finish(p, call, &response);
}

static enum err on_frame(struct rpc_stream *s, const struct frame *frame, struct err_text *why)
{
    struct rpc_peer *p = link_of(s)->peer;
    enum err e = ERR_OK;
    if (!p)
        return ERR_OK;
    p->busy++;
    if (p->state == PEER_GREETING)
        e = peer_greeted(p, frame, why);
    else if (frame->header.type == FRAME_RESPONSE)
        peer_answered(p, frame);
    else if (frame->header.type == FRAME_PING)
        rpc_stream_send(s, (struct frame_header){.type = FRAME_PONG, .id = frame->header.id}, SLICE(NULL, 0),
                        SLICE(NULL, 0));
    else if (frame->header.type != FRAME_PONG && frame->header.type != FRAME_ONEWAY)
        e = err_explain(why, ERR_PROTOCOL, "frame of type %d from a server", (int)frame->header.type);
    p->busy--;
    peer_release(p);
    return e;
}

static void on_end(struct rpc_stream *s, enum err e, const struct err_text *why)
{
    struct rpc_peer *p = link_of(s)->peer;
    if (p)
        peer_failed(p, e, why->text[0] ? why->text : err_message(e));
}

static void on_link_closed(struct rpc_stream *s)
{
    free(link_of(s));
}

static const struct rpc_stream_callbacks link_callbacks = {
    .on_frame = on_frame, .on_end = on_end, .on_closed = on_link_closed};

/* Connecting to a port of this machine that nobody listens on can connect the socket to itself. */
static bool is_connected_to_itself(const uv_tcp_t *tcp)
{
    struct sockaddr_storage here = {0}, there = {0};
    int here_size = sizeof here, there_size = sizeof there;
    return uv_tcp_getsockname(tcp, (struct sockaddr *)&here, &here_size) == 0 &&
           uv_tcp_getpeername(tcp, (struct sockaddr *)&there, &there_size) == 0 && here_size == there_size &&
           memcmp(&here, &there, (size_t)here_size) == 0;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct peer_link *link = request->data;
    struct rpc_peer *p = link->peer;
    if (!p)
        return;
    if (status == 0 && is_connected_to_itself(&link->stream.tcp))
        status = UV_ECONNREFUSED;
    if (status < 0) {
        peer_failed(p, ERR_UNREACHABLE, uv_strerror(status));
        return;
    }
    p->state = PEER_GREETING;
    rpc_stream_begin(&link->stream);
    rpc_stream_send(&link->stream, (struct frame_header){.type = FRAME_HELLO}, bytes_slice(&p->hello), SLICE(NULL, 0));
}

static void peer_connect_to(struct rpc_peer *p, const struct sockaddr *to)
{
    struct peer_link *link = MEM_NEW(struct peer_link);
    link->peer = p;
    link->connect.data = link;
    rpc_stream_init(&link->stream, p->loop, &link_callbacks, rpc_pump_make(&p->pumps, false));
    p->link = link;
    p->state = PEER_CONNECTING;
    int status = uv_tcp_connect(&link->connect, &link->stream.tcp, to, on_connected);
    if (status < 0)
        peer_failed(p, ERR_UNREACHABLE, uv_strerror(status));
}

static void on_looked_up(uv_async_t *handle)
{
    struct peer_lookup *lookup = handle->data;
    struct rpc_peer *p = lookup->peer;
    struct sockaddr_storage to;
    socklen_t size;
    struct err_text why;
    if (!rpc_lookup_has_ended(&lookup->turn))
        return;
    enum err e = peer_lookup_end(p, &to, &size, &why);
    if (e == ERR_OK)
        peer_connect_to(p, (const struct sockaddr *)&to);
    else
        peer_failed(p, ERR_UNREACHABLE, why.text);
}

/* On the look-up's thread, which may go on for long when this program has ended its loop: that is why it isn't libuv's,
 * which can't be left behind. */
static void on_lookup_ended(struct rpc_lookup_turn *turn)
{
    CHECK(uv_async_send(&container_of(turn, struct peer_lookup, turn)->ended) == 0);
}

static void peer_look_up(struct rpc_peer *p)
{
    struct err_text why;
    struct peer_lookup *lookup = MEM_NEW(struct peer_lookup);
    lookup->peer = p;
    lookup->turn.ended = on_lookup_ended;
    CHECK(uv_async_init(p->loop, &lookup->ended, on_looked_up) == 0);
    lookup->ended.data = lookup;
    p->state = PEER_RESOLVING;
    enum err e = rpc_lookup_join(&p->address, &lookup->turn, &why);
    if (e != ERR_OK) {
        uv_close((uv_handle_t *)&lookup->ended, on_lookup_closed);
        peer_failed(p, e, why.text);
        return;
    }
    p->lookup = lookup;
    if (rpc_lookup_has_ended(&lookup->turn))
        on_lookup_ended(&lookup->turn);
}

static void peer_connect(struct rpc_peer *p)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    uv_timer_start(&p->timer, on_attempt_timeout, PEER_CONNECT_TIMEOUT_MS, 0);
    if (uv_ip4_addr(p->address.host, p->address.port, &in) == 0)
        peer_connect_to(p, (const struct sockaddr *)&in);
    else if (uv_ip6_addr(p->address.host, p->address.port, &in6) == 0)
        peer_connect_to(p, (const struct sockaddr *)&in6);
    else
        peer_look_up(p);
}

struct rpc_peer *rpc_peer_new(uv_loop_t *loop, const struct rpc_address *address, struct slice hello,
                              enum err (*on_hello)(void *context, struct slice hello, struct err_text *why),
                              void *context)
{
    rpc_ignore_sigpipe();
    struct rpc_peer *p = MEM_NEW(struct rpc_peer);
    p->loop = loop;
    p->address = *address;
    p->on_hello = on_hello;
    p->context = context;
    p->backoff_ms = PEER_BACKOFF_MIN_MS;
    p->deadlines_ns = INT64_MAX;
    list_init(&p->calls);
    list_init(&p->ended);
    rpc_peer_set_hello(p, hello);
    CHECK(uv_timer_init(loop, &p->timer) == 0 && uv_timer_init(loop, &p->deadlines) == 0);
    CHECK(uv_timer_init(loop, &p->soon) == 0);
    p->timer.data = p->deadlines.data = p->soon.data = p;
    p->handles = 3;
    return p;
}

void rpc_peer_set_hello(struct rpc_peer *p, struct slice hello)
{
    CHECK(FRAME_HEADER_SIZE + hello.size <= RPC_HELLO_BYTES);
    bytes_clear(&p->hello);
    bytes_append(&p->hello, hello);
}

void rpc_peer_set_pumps(struct rpc_peer *p, const struct rpc_pump_factory *f)
{
    p->pumps = *f;
}

bool rpc_peer_connected(const struct rpc_peer *p)
{
    return p->state == PEER_UP;
}

uint64_t rpc_peer_dropped(const struct rpc_peer *p)
{
    return p->dropped;
}

static void peer_use(struct rpc_peer *p)
{
    CHECK(!p->freed);
    if (p->state == PEER_IDLE)
        peer_connect(p);
}

static bool peer_has_room(const struct rpc_peer *p, size_t size)
{
    size_t backlog = p->unsent_bytes + (p->link ? rpc_stream_backlog(&p->link->stream) : 0);
    return backlog + size <= RPC_PEER_BACKLOG_BYTES;
}

static bool fits_a_frame(struct slice message, struct slice payload)
{
    return message.size <= LIMIT_FRAME_MESSAGE_BYTES && payload.size <= LIMIT_FRAME_PAYLOAD_BYTES;
}

void rpc_peer_send(struct rpc_peer *p, uint16_t method, struct slice message, struct slice payload)
{
    peer_use(p);
    if (p->state != PEER_UP || !fits_a_frame(message, payload) || !peer_has_room(p, message.size + payload.size))
        p->dropped++;
    else
        rpc_stream_send(&p->link->stream, (struct frame_header){.type = FRAME_ONEWAY, .method = method}, message,
                        payload);
}

void rpc_peer_call(struct rpc_peer *p, uint16_t method, struct slice message, struct slice payload, int64_t deadline_ns,
                   rpc_peer_done done, void *context)
{
    peer_use(p);
    struct peer_call *call = MEM_NEW(struct peer_call);
    *call = (struct peer_call){
        .id = ++p->next_id, .method = method, .deadline_ns = deadline_ns, .done = done, .context = context};
    bool room = p->by_id.count < RPC_PEER_CALLS && peer_has_room(p, message.size + payload.size);
    list_push_back(&p->calls, &call->node);
    map_u64_put(&p->by_id, call->id, call);
    if (!fits_a_frame(message, payload)) {
        call_end(p, call, ERR_TOO_BIG);
    } else if (!room) {
        call_end(p, call, ERR_BUSY_NOW);
    } else if (p->state == PEER_UP) {
        call_send(p, call, message, payload);
        peer_expect_deadline(p, deadline_ns);
    } else {
        bytes_append(&call->message, message);
        bytes_append(&call->payload, payload);
        p->unsent_bytes += message.size + payload.size;
        peer_expect_deadline(p, deadline_ns);
    }
}

void rpc_peer_disconnect(struct rpc_peer *p)
{
    peer_unlink(p);
    p->state = PEER_IDLE;
    p->backoff_ms = PEER_BACKOFF_MIN_MS;
    peer_end_calls(p, ERR_CLOSED, false);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct rpc_peer *p = handle->data;
    p->handles--;
    peer_release(p);
}

void rpc_peer_free(struct rpc_peer *p)
{
    if (!p)
        return;
    CHECK(!p->freed);
    p->busy++;
    p->freed = true;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
    uv_close((uv_handle_t *)&p->deadlines, on_timer_closed);
    uv_close((uv_handle_t *)&p->soon, on_timer_closed);
    peer_unlink(p);
    peer_end_calls(p, ERR_CLOSED, false);
    peer_run_ended(p);
    map_u64_free(&p->by_id);
    bytes_free(&p->hello);
    p->busy--;
    peer_release(p);
}
