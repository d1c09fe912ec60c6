/* etcd, over gRPC: HTTP/2 by nghttp2, and two requests of its API that are small enough to be written by hand
 * (etcd's api/etcdserverpb/rpc.proto: PutRequest key = 1, value = 2; RangeRequest key = 1). */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "bench/raft/driver.h"
#include "rpc/address.h"

struct etcd;

struct connection {
    struct etcd *etcd;
    uv_tcp_t tcp;
    uv_connect_t connect;
    nghttp2_session *session;
    char buffer[65536];
};

struct client {
    struct etcd *etcd;
    struct connection *connection;
    unsigned number;
    uint64_t count;
    uint8_t request[4200]; /* gRPC's prefix and the message */
    size_t size, sent;
    bool ok;
};

struct etcd {
    struct driver *driver;
    struct rpc_address address;
    struct connection connections[CONNECTIONS_MAX];
    unsigned connected;
    struct client *clients;
    uint64_t nonce;
};

struct write {
    uv_write_t request;
    char data[];
};

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request->data);
}

static void send_all(struct connection *c)
{
    const uint8_t *data;
    for (ssize_t size; (size = nghttp2_session_mem_send(c->session, &data)) > 0;) {
        struct write *w = mem_alloc(sizeof *w + (size_t)size);
        w->request.data = w;
        memcpy(w->data, data, (size_t)size);
        uv_buf_t buffer = uv_buf_init(w->data, (unsigned)size);
        CHECK(uv_write(&w->request, (uv_stream_t *)&c->tcp, &buffer, 1, on_written) == 0);
    }
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *context)
{
    (void)session, (void)stream, (void)context;
    struct client *c = source->ptr;
    size_t n = MIN(size, c->size - c->sent);
    memcpy(to, c->request + c->sent, n);
    c->sent += n;
    if (c->sent == c->size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *context)
{
    (void)flags, (void)context;
    struct client *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (c && slice_equal(SLICE(name, name_size), slice_str("grpc-status")))
        c->ok = slice_equal(SLICE(value, value_size), slice_str("0"));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *context)
{
    (void)context;
    struct client *c = nghttp2_session_get_stream_user_data(session, stream);
    if (!c)
        return 0;
    if (!c->ok || error != NGHTTP2_NO_ERROR)
        driver_failed(c->etcd->driver, "a request failed, HTTP/2 error %u", error);
    else
        driver_done(c->etcd->driver, c->number);
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct connection *c = handle->data;
    *ret = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;
    if (size < 0) {
        driver_failed(c->etcd->driver, "the connection has ended");
        return;
    }
    if (nghttp2_session_mem_recv(c->session, (const uint8_t *)buffer->base, (size_t)size) < 0)
        driver_failed(c->etcd->driver, "no HTTP/2");
    send_all(c);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct connection *c = request->data;
    struct etcd *e = c->etcd;
    if (status != 0) {
        driver_failed(e->driver, "%s", uv_strerror(status));
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000};
    CHECK(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &settings, 1) == 0);
    send_all(c);
    if (++e->connected == e->driver->connections)
        driver_ready(e->driver);
}

static void *open_etcd(struct driver *d)
{
    struct etcd *e = MEM_NEW(struct etcd);
    struct err_text why;
    struct sockaddr_in to;
    e->driver = d;
    random_bytes(&e->nonce, sizeof e->nonce);
    if (rpc_address_parse(d->servers, &e->address, &why) != ERR_OK ||
        uv_ip4_addr(e->address.host, (int)e->address.port, &to) != 0) {
        driver_failed(d, "etcd is reached at one numeric address, not %s", d->servers);
        return e;
    }
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    e->clients = mem_zalloc(d->clients * sizeof *e->clients);
    for (unsigned i = 0; i < d->clients; i++)
        e->clients[i] = (struct client){.etcd = e, .connection = &e->connections[i % d->connections], .number = i};
    for (unsigned i = 0; i < d->connections; i++) {
        struct connection *c = &e->connections[i];
        c->etcd = e;
        c->tcp.data = c->connect.data = c;
        uv_tcp_init(&d->loop, &c->tcp);
        CHECK(nghttp2_session_client_new(&c->session, callbacks, c) == 0);
        CHECK(uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *)&to, on_connect) == 0);
    }
    nghttp2_session_callbacks_del(callbacks);
    return e;
}

static void put_field(struct client *c, uint8_t tag, const void *data, size_t size)
{
    c->request[c->size++] = tag;
    for (size_t left = size;; left >>= 7) { /* a varint */
        c->request[c->size++] = (uint8_t)((left & 0x7f) | (left >= 0x80 ? 0x80 : 0));
        if (left < 0x80)
            break;
    }
    memcpy(c->request + c->size, data, size);
    c->size += size;
}

#define HEADER(name, value)                                                                                            \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE \
    }

static void begin(void *context, unsigned number)
{
    struct etcd *e = context;
    struct client *c = &e->clients[number];
    bool get = e->driver->operation == OPERATION_GET;
    char key[48], value[4001];
    c->size = 5;
    c->sent = 0;
    c->ok = false;
    if (get) {
        put_field(c, 0x0a, "bench", 5);
    } else {
        snprintf(key, sizeof key, "b%llx.%x.%llx", (unsigned long long)e->nonce, number,
                 (unsigned long long)++c->count);
        memset(value, 'v', e->driver->value_bytes);
        put_field(c, 0x0a, key, strlen(key));
        put_field(c, 0x12, value, e->driver->value_bytes);
    }
    c->request[0] = 0; /* not compressed */
    put_u32be(c->request + 1, (uint32_t)(c->size - 5));
    nghttp2_nv headers[] = {HEADER(":method", "POST"),
                            HEADER(":scheme", "http"),
                            HEADER(":path", get ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put"),
                            HEADER(":authority", e->address.text),
                            HEADER("content-type", "application/grpc"),
                            HEADER("te", "trailers")};
    nghttp2_data_provider provider = {.source.ptr = c, .read_callback = read_request};
    CHECK(nghttp2_submit_request(c->connection->session, NULL, headers, ARRAY_SIZE(headers), &provider, c) > 0);
    send_all(c->connection);
}

static void close_etcd(void *context)
{
    struct etcd *e = context;
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        if (e->connections[i].session)
            nghttp2_session_del(e->connections[i].session);
    free(e->clients);
    free(e);
}

const struct target target_etcd = {open_etcd, begin, close_etcd};
