/* lines.c: protocols of one request and one answer at a time on each connection: the text protocol and HTTP. Every
 * client has a connection of its own, to one server: text must be asked of the leader. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/raft/driver.h"

#define ANSWER_BYTES_MAX 16384u
#define KEY_BYTES 64u

struct protocol {
    const char *key; /* that gets ask for: what HTTP puts is a list, which text does not know */
    void (*put)(const char *key, const char *value, struct bytes *request);
    void (*get)(const char *key, struct bytes *request);
    /* The size of the answer that begins here; 0: it is not whole yet. *ret_ok: it is what was hoped for. */
    size_t (*answer_size)(struct slice s, bool *ret_ok);
};

struct connection {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct lines *lines;
    unsigned client;
    uint64_t number;
    bool first_put; /* of the key that gets ask for */
    struct bytes request, answer;
};
struct lines {
    struct driver *driver;
    const struct protocol *protocol;
    char *value;
    unsigned connected;
    struct connection connections[]; /* of each client */
};

/* ---- text ---- */

static void print_to(struct bytes *b, const char *format, ...) PRINTF_LIKE(2, 3);
static void print_to(struct bytes *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bytes_append(b, SLICE(text, (size_t)size));
}

static void text_put(const char *key, const char *value, struct bytes *request)
{
    print_to(request, "set %s 0 %zu\r\n", key, strlen(value));
    bytes_append(request, slice_str(value));
    print_to(request, "\r\n");
}

static void text_get(const char *key, struct bytes *request)
{
    print_to(request, "get %s\r\n", key);
}

static size_t line_size(struct slice s)
{
    const uint8_t *end = s.size ? memchr(s.data, '\n', s.size) : NULL;
    return end ? (size_t)(end - s.data) + 1 : 0;
}

static size_t text_answer_size(struct slice s, bool *ret_ok)
{
    size_t line = line_size(s), value = 0;
    if (line == 0)
        return 0;
    *ret_ok = s.data[0] == 'O' || s.data[0] == 'V';
    if (s.data[0] == 'V')
        value = strtoul((const char *)s.data + sizeof "VALUE", NULL, 10) + 2;
    return line + value <= s.size ? line + value : 0;
}

/* ---- HTTP ---- */

static void http_put(const char *key, const char *value, struct bytes *request)
{
    static const char before[] = "{\"type\":\"PUT\",\"value\":[\"", after[] = "\"]}";
    print_to(
        request,
        "POST /keys/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        key, sizeof before - 1 + strlen(value) + sizeof after - 1);
    print_to(request, "%s", before);
    bytes_append(request, slice_str(value));
    print_to(request, "%s", after);
}

static void http_get(const char *key, struct bytes *request)
{
    print_to(request, "GET /keys/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", key);
}

static size_t http_answer_size(struct slice s, bool *ret_ok)
{
    const char *begin = (const char *)s.data, *end = s.size ? memmem(begin, s.size, "\r\n\r\n", 4) : NULL;
    if (!end)
        return 0;
    size_t head = (size_t)(end - begin) + 4, body = 0;
    const char *length = memmem(begin, head, "Content-Length:", 15);
    if (length)
        body = strtoul(length + 15, NULL, 10);
    *ret_ok = memcmp(begin, "HTTP/1.1 20", 11) == 0;
    return head + body <= s.size ? head + body : 0;
}

static const struct protocol text_protocol = {"bench-text", text_put, text_get, text_answer_size};
static const struct protocol http_protocol = {"bench-http", http_put, http_get, http_answer_size};

/* ---- connections ---- */

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    if (status != 0)
        driver_failed(c->lines->driver, "writing: %s", uv_strerror(status));
}

static void send_request(struct connection *c)
{
    uv_buf_t buffer = {.base = (char *)c->request.data, .len = c->request.size};
    c->write.data = c;
    uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, on_written);
}

static void begin(void *target, unsigned client)
{
    struct lines *l = target;
    struct connection *c = &l->connections[client];
    char key[KEY_BYTES];
    bytes_clear(&c->request);
    if (l->driver->operation == OPERATION_GET) {
        l->protocol->get(l->protocol->key, &c->request);
    } else {
        snprintf(key, sizeof key, "bench-%d-%u-%" PRIu64, (int)getpid(), client, c->number++);
        l->protocol->put(key, l->value, &c->request);
    }
    send_request(c);
}

static void on_answer(struct connection *c, bool ok)
{
    struct lines *l = c->lines;
    if (c->first_put) { /* the key may be there from an earlier run */
        c->first_put = false;
        driver_ready(l->driver);
    } else if (ok) {
        driver_done(l->driver, c->client);
    } else {
        driver_failed(l->driver, "refused: %.*s", (int)MIN(c->answer.size, (size_t)100), (const char *)c->answer.data);
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct connection *c = handle->data;
    bytes_reserve(&c->answer, ANSWER_BYTES_MAX);
    *ret = (uv_buf_t){.base = (char *)c->answer.data + c->answer.size, .len = ANSWER_BYTES_MAX};
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    (void)buffer;
    struct connection *c = stream->data;
    if (got < 0) {
        driver_failed(c->lines->driver, "reading: %s", uv_strerror((int)got));
        return;
    }
    c->answer.size += (size_t)got;
    bool ok = false;
    size_t size = c->lines->protocol->answer_size(bytes_slice(&c->answer), &ok);
    if (size == 0)
        return;
    on_answer(c, ok);
    bytes_clear(&c->answer); /* nobody has asked for more than this one */
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    struct lines *l = c->lines;
    if (status != 0) {
        driver_failed(l->driver, "connecting: %s", uv_strerror(status));
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
    if (++l->connected < l->driver->clients)
        return;
    c->first_put = true;
    l->protocol->put(l->protocol->key, l->value, &c->request);
    send_request(c);
}

static void *open_lines(struct driver *d, const struct protocol *protocol)
{
    struct lines *l = mem_zalloc(sizeof *l + d->clients * sizeof l->connections[0]);
    struct sockaddr_in address;
    *l = (struct lines){.driver = d, .protocol = protocol, .value = mem_zalloc(d->value_bytes + 1)};
    memset(l->value, 'v', d->value_bytes);
    const char *colon = strrchr(d->servers, ':');
    char host[64];
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - d->servers) : 0, d->servers);
    if (!colon || uv_ip4_addr(host, (int)strtoul(colon + 1, NULL, 10), &address) != 0) {
        driver_failed(d, "%s: no address", d->servers);
        return l;
    }
    for (unsigned i = 0; i < d->clients; i++) {
        struct connection *c = &l->connections[i];
        *c = (struct connection){.lines = l, .client = i};
        uv_tcp_init(&d->loop, &c->tcp);
        c->tcp.data = c;
        c->connect.data = c;
        if (uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *)&address, on_connected) != 0)
            driver_failed(d, "%s: can't connect", d->servers);
    }
    return l;
}

static void *open_text(struct driver *d)
{
    return open_lines(d, &text_protocol);
}

static void *open_http(struct driver *d)
{
    return open_lines(d, &http_protocol);
}

static void close_lines(void *target)
{
    struct lines *l = target;
    for (unsigned i = 0; i < l->driver->clients; i++) {
        struct connection *c = &l->connections[i];
        if (c->lines)
            uv_close((uv_handle_t *)&c->tcp, NULL);
        bytes_free(&c->request);
        bytes_free(&c->answer);
    }
    uv_run(&l->driver->loop, UV_RUN_DEFAULT);
    free(l->value);
    free(l);
}

const struct target target_text = {open_text, begin, close_lines};
const struct target target_http = {open_http, begin, close_lines};
