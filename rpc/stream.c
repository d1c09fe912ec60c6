#include "rpc/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/loopback.h"
#include "rpc/trace.h"

#define STREAM_BUFFERS 64u /* gathered in one write */

static struct rpc_stream *stream_of(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

static void ignore_sigpipe(void)
{
    struct sigaction now;
    CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
    if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
        CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

void rpc_ignore_sigpipe(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ignore_sigpipe);
}

enum err rpc_err_from_uv(int status)
{
    if (status >= 0)
        return ERR_OK;
    return status == UV_EOF ? ERR_CLOSED : err_from_errno(-status);
}

void rpc_stream_init(struct rpc_stream *s, uv_loop_t *loop, const struct rpc_stream_callbacks *callbacks,
                     struct rpc_pump *pump)
{
    *s = (struct rpc_stream){.callbacks = callbacks, .pump = pump};
    CHECK(uv_tcp_init(loop, &s->tcp) == 0);
    s->tcp.data = s;
    frame_parser_init(&s->parser);
    s->parser.size_limit = RPC_HELLO_BYTES;
}

static void stream_end(struct rpc_stream *s, enum err e, const struct err_text *why)
{
    if (s->ended || s->closing)
        return;
    s->ended = true;
    uv_read_stop((uv_stream_t *)&s->tcp);
    s->callbacks->on_end(s, e, why);
}

static void stream_process(struct rpc_stream *s)
{
    struct err_text why = {""};
    struct frame frame;
    bool ready = true, any = false;
    while (ready && !s->closing && !s->ended && !s->paused) {
        enum err e = frame_parser_next(&s->parser, &frame, &ready, &why);
        if (e == ERR_OK && ready) {
            any = true;
            rpc_trace_receive(&frame);
            e = s->callbacks->on_frame(s, &frame, &why);
        }
        if (e != ERR_OK) {
            stream_end(s, e, &why);
            return;
        }
    }
    if (s->callbacks->on_begun && s->parser.frame_size > 0 && !s->paused && !s->closing)
        s->callbacks->on_begun(s, s->parser.frame_size);
    bool inside = s->parser.consumed < s->parser.buffer.size && !s->paused;
    if (!inside)
        s->frame_since_ns = 0;
    else if (any || s->frame_since_ns == 0)
        s->frame_since_ns = clock_boot_ns();
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    struct rpc_stream *s = stream_of(handle);
    size_t room;
    if (s->pump->transparent) {
        ret->base = (char *)frame_parser_room(&s->parser, RPC_READ_BYTES, &room);
        ret->len = room;
    } else {
        bytes_reserve(&s->wire_in, RPC_READ_BYTES);
        *ret = (uv_buf_t){.base = (char *)s->wire_in.data, .len = RPC_READ_BYTES};
    }
}

static enum err stream_take_in(struct rpc_stream *s, size_t size)
{
    if (s->pump->transparent) {
        frame_parser_fed(&s->parser, size);
        return ERR_OK;
    }
    size_t room;
    frame_parser_room(&s->parser, 0, &room);
    struct bytes *wire = rpc_outbox_tail(&s->queued);
    size_t before = wire->size;
    enum err e = s->pump->ops->receive(s->pump, SLICE(s->wire_in.data, size), &s->parser.buffer, wire);
    s->queued.size += wire->size - before;
    return e;
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buffer)
{
    (void)buffer;
    struct rpc_stream *s = stream_of(handle);
    if (got == 0 || s->closing)
        return;
    struct err_text why = {""};
    if (got < 0) {
        bool inside = s->parser.consumed < s->parser.buffer.size && !s->paused;
        enum err e = inside ? ERR_PROTOCOL : rpc_err_from_uv((int)got);
        err_explain(&why, e, inside ? "ended in the middle of a frame: %s" : "%s", uv_strerror((int)got));
        stream_end(s, e, &why);
        return;
    }
    s->corked = true;
    enum err e = stream_take_in(s, (size_t)got);
    if (e == ERR_OK)
        stream_process(s);
    else
        stream_end(s, e, &why);
    s->corked = false;
    rpc_stream_flush(s);
}

void rpc_stream_begin(struct rpc_stream *s)
{
    uv_os_fd_t fd;
    unsigned timeout_ms = RPC_USER_TIMEOUT_MS;
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, RPC_KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
        rpc_loopback_tune(fd);
    }
    if (!s->paused)
        CHECK(uv_read_start((uv_stream_t *)&s->tcp, on_room, on_read) == 0);
}

/* A write failed: the socket is dead, and reading says so at once, outside of whoever was writing. */
static void stream_break(struct rpc_stream *s)
{
    s->broken = true;
    rpc_outbox_free(&s->queued);
    if (!s->closing && !s->ended && s->paused)
        uv_read_start((uv_stream_t *)&s->tcp, on_room, on_read);
}

static void on_written(uv_write_t *request, int status)
{
    struct rpc_stream *s = request->data;
    s->writing = false;
    rpc_outbox_clear(&s->sending);
    if (s->closing)
        return;
    if (status < 0) {
        stream_break(s);
        return;
    }
    rpc_stream_flush(s);
    if (s->callbacks->on_drained)
        s->callbacks->on_drained(s);
}

/* Leaves the rest to libuv, which tells when it is out. */
static void stream_write_rest(struct rpc_stream *s)
{
    struct rpc_outbox spare = s->sending;
    s->sending = s->queued;
    s->queued = spare;
    unsigned capacity = (unsigned)(s->sending.count - s->sending.first);
    uv_buf_t *buffers = mem_alloc(capacity * sizeof *buffers);
    unsigned count = rpc_outbox_buffers(&s->sending, buffers, capacity);
    s->write.data = s;
    s->writing = true;
    int status = uv_write(&s->write, (uv_stream_t *)&s->tcp, buffers, count, on_written);
    free(buffers);
    if (status < 0) {
        s->writing = false;
        rpc_outbox_clear(&s->sending);
        stream_break(s);
    }
}

void rpc_stream_flush(struct rpc_stream *s)
{
    if (s->corked || s->writing || s->closing || s->broken)
        return;
    while (s->queued.size > 0) {
        uv_buf_t buffers[STREAM_BUFFERS];
        unsigned count = rpc_outbox_buffers(&s->queued, buffers, STREAM_BUFFERS);
        size_t want = 0;
        for (unsigned i = 0; i < count; i++)
            want += buffers[i].len;
        int wrote = uv_try_write((uv_stream_t *)&s->tcp, buffers, count);
        if (wrote < 0 && wrote != UV_EAGAIN) {
            stream_break(s);
            return;
        }
        if (wrote > 0)
            rpc_outbox_sent(&s->queued, (size_t)wrote);
        if (wrote < 0 || (size_t)wrote < want) {
            stream_write_rest(s);
            return;
        }
    }
}

static void stream_queue_copy(struct rpc_stream *s, struct slice plain)
{
    if (s->pump->transparent) {
        rpc_outbox_append(&s->queued, plain);
        return;
    }
    struct bytes *wire = rpc_outbox_tail(&s->queued);
    size_t before = wire->size;
    if (s->pump->ops->send(s->pump, plain, wire) != ERR_OK)
        stream_break(s);
    else
        s->queued.size += wire->size - before;
}

void rpc_stream_queue(struct rpc_stream *s, struct frame_header header, struct slice message, struct bytes *payload)
{
    uint8_t head[FRAME_HEADER_SIZE];
    header.payload_size = payload ? (uint32_t)payload->size : 0;
    if (!s->closing && !s->broken) {
        _cleanup_(bytes_free) struct bytes traced = {0};
        message = rpc_trace_send(&header, message, &traced);
        header.message_size = (uint32_t)message.size;
        frame_header_encode(&header, message, head);
        stream_queue_copy(s, SLICE(head, sizeof head));
        if (message.size > 0)
            stream_queue_copy(s, message);
        if (payload && s->pump->transparent)
            rpc_outbox_move(&s->queued, payload);
        else if (payload && payload->size > 0 && !s->broken)
            stream_queue_copy(s, bytes_slice(payload));
    }
    if (payload)
        bytes_free(payload);
}

void rpc_stream_send(struct rpc_stream *s, struct frame_header header, struct slice message, struct slice payload)
{
    if (s->closing || s->broken)
        return;
    uint8_t head[FRAME_HEADER_SIZE];
    _cleanup_(bytes_free) struct bytes traced = {0};
    message = rpc_trace_send(&header, message, &traced);
    header.message_size = (uint32_t)message.size;
    header.payload_size = (uint32_t)payload.size;
    frame_header_encode(&header, message, head);
    struct slice parts[3] = {SLICE(head, sizeof head), message, payload};
    size_t sent = 0;
    if (s->pump->transparent && !s->writing && !s->corked && s->queued.size == 0) {
        uv_buf_t buffers[3];
        unsigned count = 0;
        for (int i = 0; i < 3; i++)
            if (parts[i].size > 0)
                buffers[count++] = (uv_buf_t){.base = (char *)(uintptr_t)parts[i].data, .len = parts[i].size};
        int wrote = uv_try_write((uv_stream_t *)&s->tcp, buffers, count);
        if (wrote < 0 && wrote != UV_EAGAIN) {
            stream_break(s);
            return;
        }
        sent = wrote > 0 ? (size_t)wrote : 0;
    }
    for (int i = 0; i < 3; i++) {
        size_t skip = MIN(sent, parts[i].size);
        sent -= skip;
        if (parts[i].size > skip)
            stream_queue_copy(s, slice_sub(parts[i], skip, parts[i].size - skip));
    }
    rpc_stream_flush(s);
}

size_t rpc_stream_backlog(const struct rpc_stream *s)
{
    return s->queued.size + s->sending.size;
}

void rpc_stream_pause(struct rpc_stream *s)
{
    if (s->paused || s->closing)
        return;
    s->paused = true;
    s->frame_since_ns = 0;
    if (!s->broken)
        uv_read_stop((uv_stream_t *)&s->tcp);
}

void rpc_stream_resume(struct rpc_stream *s)
{
    if (!s->paused || s->closing || s->ended)
        return;
    s->paused = false;
    s->corked = true;
    stream_process(s);
    s->corked = false;
    rpc_stream_flush(s);
    if (!s->paused && !s->closing && !s->ended)
        uv_read_start((uv_stream_t *)&s->tcp, on_room, on_read); /* UV_EALREADY when stream_break did it */
}

static void on_closed(uv_handle_t *handle)
{
    struct rpc_stream *s = stream_of(handle);
    frame_parser_close(&s->parser);
    bytes_free(&s->wire_in);
    rpc_outbox_free(&s->queued);
    rpc_outbox_free(&s->sending);
    s->pump->ops->free(s->pump);
    s->callbacks->on_closed(s);
}

void rpc_stream_close(struct rpc_stream *s)
{
    if (s->closing)
        return;
    s->closing = true;
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}
