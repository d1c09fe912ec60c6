#include "rpc/channel.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "rpc/channel_internal.h"
#include "rpc/trace.h"

struct rpc_channel *rpc_channel_new(const struct rpc_channel_options *options)
{
    CHECK(FRAME_HEADER_SIZE + options->hello.size <= CHANNEL_HELLO_BYTES);
    struct rpc_channel *c = MEM_NEW(struct rpc_channel);
    atomic_init(&c->refs, 1);
    c->address = options->address;
    bytes_append(&c->hello, options->hello);
    c->on_hello = options->on_hello;
    c->context = options->context;
    c->connect_timeout_ns = options->connect_timeout_ns;
    c->pumps = options->pumps;
    list_init(&c->connect_waiters);
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    return c;
}

void channel_ref(struct rpc_channel *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void channel_unref(struct rpc_channel *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    CHECK(!c->conn);
    pthread_mutex_destroy(&c->lock);
    bytes_free(&c->hello);
    free(c);
}

void rpc_channel_free(struct rpc_channel *c)
{
    if (!c)
        return;
    struct channel_done done;
    channel_done_init(&done);
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    struct channel_conn *conn = c->conn;
    if (conn) {
        conn_ref(conn);
        conn_break(conn, ERR_CLOSED, NULL, &done);
    }
    pthread_mutex_unlock(&c->lock);
    if (conn)
        conn_unref(conn);
    channel_done_run(&done);
    channel_unref(c);
}

const char *rpc_channel_address(const struct rpc_channel *c)
{
    return c->address.text;
}

void rpc_channel_explain(struct rpc_channel *c, enum err e, struct err_text *ret)
{
    pthread_mutex_lock(&c->lock);
    bool told = e != ERR_OK && e == c->connect_result && !c->conn && c->trouble.text[0];
    (void)err_explain(ret, e, "%s%s%.200s", err_message(e), told ? ": " : "", told ? c->trouble.text : "");
    pthread_mutex_unlock(&c->lock);
}

bool rpc_channel_is_local(const struct rpc_channel *c)
{
    return atomic_load_explicit(&c->is_local, memory_order_relaxed);
}

void channel_done_init(struct channel_done *done)
{
    list_init(&done->calls);
}

static void call_release(struct rpc_call *call)
{
    bytes_free(&call->data);
    channel_unref(call->channel);
    free(call);
}

void channel_done_run(struct channel_done *done)
{
    struct list_node *node;
    while ((node = list_pop_front(&done->calls))) {
        struct rpc_call *call = container_of(node, struct rpc_call, node);
        if (call->finished)
            call->finished(call->context, call->status, call->message);
        call_release(call);
    }
}

void call_end(struct rpc_call *call, enum err status, const struct channel_waiter *self, struct channel_done *done)
{
    if (call->conn)
        map_u64_remove(&call->conn->calls, call->id);
    call->conn = NULL;
    call->status = status;
    if (call->abandoned) {
        list_remove(&call->node);
        list_push_back(&done->calls, &call->node);
        return;
    }
    /* Once it has ended, a call that nobody waits for may be freed at any moment. */
    struct channel_entry *entry = call->entry;
    if (entry)
        atomic_store(&entry->waiter->satisfied, true);
    atomic_store_explicit(&call->ended, true, memory_order_release);
    if (entry && entry->waiter != self)
        waiter_signal(entry->waiter);
}

/* Waits until the thread that connects is done; with the lock, which is released meanwhile. */
static enum err channel_await_connect(struct rpc_channel *c, int64_t deadline_ns, struct channel_waiter *w)
{
    struct channel_turn turn = {.waiter = w};
    uint64_t before = c->connects;
    enum err e = ERR_OK;
    list_push_back(&c->connect_waiters, &turn.node);
    while (c->connects == before && e == ERR_OK) {
        pthread_mutex_unlock(&c->lock);
        e = waiter_sleep(w, -1, 0, deadline_ns);
        pthread_mutex_lock(&c->lock);
    }
    list_remove(&turn.node);
    if (c->connects == before)
        return e;
    /* What stopped the other thread alone says nothing of the server. */
    enum err result = c->connect_result;
    return result == ERR_CANCELLED || result == ERR_TIMEOUT ? ERR_OK : result;
}

static enum err channel_connect(struct rpc_channel *c, int64_t deadline_ns, struct channel_waiter *w)
{
    struct channel_conn *conn = NULL;
    struct err_text why;
    c->connecting = true;
    pthread_mutex_unlock(&c->lock);
    enum err e = conn_open(c, deadline_ns, w, &conn, &why);
    pthread_mutex_lock(&c->lock);
    c->trouble = why;
    c->connecting = false;
    if (conn && c->closed) {
        pthread_mutex_unlock(&c->lock);
        conn_unref(conn);
        pthread_mutex_lock(&c->lock);
        conn = NULL;
        e = ERR_CLOSED;
    }
    c->connects++;
    c->connect_result = e;
    c->conn = conn;
    list_for_each (node, &c->connect_waiters)
        waiter_signal(container_of(node, struct channel_turn, node)->waiter);
    return e;
}

/* A connection to use; with the lock. *ret holds a reference. */
static enum err channel_conn_get(struct rpc_channel *c, int64_t now, int64_t deadline_ns, struct channel_waiter *w,
                                 struct channel_done *done, struct channel_conn **ret)
{
    for (;;) {
        if (c->closed)
            return ERR_CLOSED;
        struct channel_conn *conn = c->conn;
        if (conn) {
            conn_ref(conn);
            bool idle = conn->calls.count == 0 && !conn->reading && now - conn->last_start_ns > CHANNEL_IDLE_CHECK_NS;
            if (!idle || !conn_is_stale(conn)) {
                conn->last_start_ns = now;
                *ret = conn;
                return ERR_OK;
            }
            conn_break(conn, ERR_CLOSED, w, done);
            pthread_mutex_unlock(&c->lock);
            conn_unref(conn);
            pthread_mutex_lock(&c->lock);
        } else if (c->connecting) {
            TRY(channel_await_connect(c, deadline_ns, w));
        } else {
            TRY(channel_connect(c, deadline_ns, w));
        }
    }
}

struct request {
    uint8_t header[FRAME_HEADER_SIZE];
    struct bytes traced; /* the message, where a clock goes before it */
    struct iovec parts[2 + RPC_PAYLOAD_SLICES];
    size_t count;
};

static enum err request_make(struct request *r, struct frame_header header, struct slice message,
                             const struct slice *payload, size_t payload_count)
{
    size_t payload_size = 0;
    r->count = 0;
    r->traced = (struct bytes){0};
    if (message.size <= LIMIT_FRAME_MESSAGE_BYTES)
        message = rpc_trace_send(&header, message, &r->traced);
    r->parts[r->count++] = (struct iovec){r->header, sizeof r->header};
    if (message.size > 0)
        r->parts[r->count++] = (struct iovec){(void *)(uintptr_t)message.data, message.size};
    for (size_t i = 0; i < payload_count; i++) {
        if (payload[i].size > LIMIT_FRAME_PAYLOAD_BYTES - payload_size)
            return ERR_TOO_BIG;
        payload_size += payload[i].size;
        if (payload[i].size > 0)
            r->parts[r->count++] = (struct iovec){(void *)(uintptr_t)payload[i].data, payload[i].size};
    }
    if (message.size > LIMIT_FRAME_MESSAGE_BYTES)
        return ERR_TOO_BIG;
    header.message_size = (uint32_t)message.size;
    header.payload_size = (uint32_t)payload_size;
    frame_header_encode(&header, message, r->header);
    return ERR_OK;
}

/* Sends the call's request; whatever goes wrong ends the call. With the lock. Gives the connection that was used, for
 * the caller to drop, or NULL. */
static struct channel_conn *call_send(struct rpc_call *call, uint16_t method, struct slice message,
                                      const struct slice *payload, size_t payload_count, struct channel_waiter *w,
                                      struct channel_done *done)
{
    struct rpc_channel *c = call->channel;
    struct channel_conn *conn = NULL;
    struct request request;
    int64_t now = clock_boot_ns();
    enum err e = now >= call->deadline_ns ? ERR_TIMEOUT : waiter_cancelled(w) ? ERR_CANCELLED : ERR_OK;
    if (e == ERR_OK)
        e = channel_conn_get(c, now, call->deadline_ns, w, done, &conn);
    if (e != ERR_OK) {
        call_end(call, e, w, done);
        return NULL;
    }
    call->id = ++c->next_id;
    e = request_make(&request, (struct frame_header){.type = FRAME_REQUEST, .id = call->id, .method = method}, message,
                     payload, payload_count);
    if (e == ERR_OK) {
        call->conn = conn;
        map_u64_put(&conn->calls, call->id, call);
        e = conn_write(conn, request.parts, request.count, call->deadline_ns, w, done);
    }
    bytes_free(&request.traced);
    if (e != ERR_OK && !atomic_load_explicit(&call->ended, memory_order_relaxed))
        call_end(call, e, w, done);
    return conn;
}

struct rpc_call *rpc_call_start(struct rpc_channel *c, uint16_t method, struct slice message,
                                const struct slice *payload, size_t payload_count, int64_t deadline_ns,
                                struct rpc_cancel *cancel)
{
    CHECK(payload_count <= RPC_PAYLOAD_SLICES);
    struct rpc_call *call = MEM_NEW(struct rpc_call);
    struct channel_waiter waiter;
    struct channel_done done;
    channel_ref(c);
    call->channel = c;
    call->deadline_ns = deadline_ns;
    list_node_init(&call->node);
    channel_done_init(&done);
    waiter_begin(&waiter, cancel);
    pthread_mutex_lock(&c->lock);
    struct channel_conn *conn = call_send(call, method, message, payload, payload_count, &waiter, &done);
    pthread_mutex_unlock(&c->lock);
    if (conn)
        conn_unref(conn);
    waiter_end(&waiter);
    channel_done_run(&done);
    return call;
}

enum err rpc_call_result(const struct rpc_call *call, struct slice *ret_message, struct slice *ret_payload)
{
    CHECK(atomic_load_explicit(&call->ended, memory_order_acquire));
    *ret_message = call->message;
    *ret_payload = call->payload;
    return call->status;
}

void rpc_call_take(struct rpc_call *call, struct bytes *ret)
{
    CHECK(atomic_load_explicit(&call->ended, memory_order_acquire));
    *ret = call->data;
    call->data = (struct bytes){0};
}

void rpc_call_abandon(struct rpc_call *call, void (*finished)(void *context, enum err status, struct slice message),
                      void *context)
{
    struct rpc_channel *c = call->channel;
    bool ended = atomic_load_explicit(&call->ended, memory_order_acquire);
    if (!ended) {
        pthread_mutex_lock(&c->lock);
        ended = atomic_load_explicit(&call->ended, memory_order_acquire);
        if (!ended) {
            call->abandoned = true;
            call->finished = finished;
            call->context = context;
            list_push_back(&call->conn->background, &call->node);
            if (call->deadline_ns != INT64_MAX)
                helper_expect_deadline();
            helper_update(call->conn);
        }
        pthread_mutex_unlock(&c->lock);
    }
    if (ended) {
        if (finished)
            finished(context, call->status, call->message);
        call_release(call);
    }
}

void rpc_call_free(struct rpc_call *call)
{
    if (call)
        rpc_call_abandon(call, NULL, NULL);
}

enum err rpc_channel_call(struct rpc_channel *c, uint16_t method, struct slice message, const struct slice *payload,
                          size_t payload_count, int64_t deadline_ns, struct rpc_cancel *cancel,
                          struct rpc_call **ret_call, struct slice *ret_message, struct slice *ret_payload)
{
    struct rpc_call *call = rpc_call_start(c, method, message, payload, payload_count, deadline_ns, cancel);
    size_t index;
    *ret_call = NULL;
    enum err e = rpc_call_wait_any(&call, 1, deadline_ns, cancel, &index);
    if (atomic_load_explicit(&call->ended, memory_order_acquire)) {
        e = rpc_call_result(call, ret_message, ret_payload);
        if (call->answered) {
            *ret_call = call;
            return e;
        }
    }
    rpc_call_free(call);
    return e;
}
