/* text_server.c: connections of the text protocol. Everything runs on the server's own thread but text_run; a
 * connection with a command at work belongs to both, and stays until that is done. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "gateway/text.h"
#include "gateway/text_run.h"
#include "gateway/work.h"
#include "rpc/address.h"

#define LOG_MODULE "text"
#include "base/log.h"

#define BACKLOG 1024
#define READ_BYTES (64u * KIB) /* one buffer for all: what is read is parsed at once */
#define OTHER_DESCRIPTORS 8192u
#define PARKED_MS 20 /* how often it is looked whether there is a leader, while commands wait for one */
#define TICK_MS 1000 /* and for who is too slow */

struct text_connection {
    struct text_server *server;
    uv_tcp_t socket;
    struct list_node node;
    struct list_node slow;   /* linked while something is awaited of the client, by since_ns */
    struct list_node parked; /* linked while its command waits for a leader */
    int64_t since_ns;        /* the slow thing; or when the command was parked */
    struct text_parser parser;
    struct bytes ahead; /* came while a command was at work */
    bool busy;          /* a command is parked or at work */
    bool working;       /* it is at work: on a thread of the pool, or done there */
    bool reading;
    bool ended;           /* the client has said everything */
    bool ends;            /* so have we, when it is written */
    bool closing, closed; /* the socket */
    unsigned writes;      /* answers that are not in the socket's buffer yet */
    size_t unread_bytes;  /* of these; they count in the server's */
    struct text_command command;
    struct work work;
    struct list_node done; /* in the server's list when the work is */
    struct bytes answer;
};

struct text_server {
    struct gateway_session *session;
    const struct gateway_options *options;
    struct work_pool *workers;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t wake;
    uv_timer_t tick;
    pthread_t thread;
    bool closing;
    struct list connections, slow, parked;
    unsigned count, connections_max;
    int64_t refused_logged_ns; /* that there were too many */
    struct text_budget budget;
    size_t unread_bytes; /* answers that clients have not read, in memory of ours */
    uint8_t buffer[READ_BYTES];

    pthread_mutex_t lock;
    struct list done; /* protected by lock, as is the following */
    bool stopping;
};

struct text_write {
    uv_write_t request;
    struct text_connection *connection;
    struct bytes bytes;
};

static void go_on(struct text_connection *c, struct slice data);
static void on_tick(uv_timer_t *timer);

/* ---- the end of a connection ---- */

static void free_if_over(struct text_connection *c)
{
    struct text_server *s = c->server;
    if (!c->closed || c->working)
        return;
    s->count--;
    list_remove(&c->node);
    text_command_free(&c->command, &s->budget);
    text_parser_free(&c->parser);
    bytes_free(&c->ahead);
    bytes_free(&c->answer);
    free(c);
    if (s->closing && s->count == 0)
        uv_async_send(&s->wake);
}

static void on_closed(uv_handle_t *handle)
{
    struct text_connection *c = handle->data;
    c->closed = true;
    free_if_over(c);
}

static void close_connection(struct text_connection *c)
{
    if (c->closing)
        return;
    c->closing = true;
    c->server->unread_bytes -= c->unread_bytes; /* they go before the loop waits again */
    if (list_linked(&c->slow))
        list_remove(&c->slow);
    if (list_linked(&c->parked))
        list_remove(&c->parked);
    uv_close((uv_handle_t *)&c->socket, on_closed);
}

/* Who has begun something has a bounded time for it. */
static void watch_pace(struct text_connection *c)
{
    bool awaited = !c->closing && (c->writes > 0 || (!c->busy && text_parser_is_inside(&c->parser)));
    if (awaited == list_linked(&c->slow))
        return;
    if (awaited) {
        c->since_ns = clock_boot_ns();
        list_push_back(&c->server->slow, &c->slow);
    } else {
        list_remove(&c->slow);
    }
}

/* ---- answers ---- */

static void on_written(uv_write_t *request, int status)
{
    struct text_write *w = container_of(request, struct text_write, request);
    struct text_connection *c = w->connection;
    size_t size = w->bytes.size;
    bytes_free(&w->bytes);
    free(w);
    c->writes--;
    if (c->closing)
        return;
    c->unread_bytes -= size;
    c->server->unread_bytes -= size;
    if (status != 0 || (c->ends && c->writes == 0)) {
        close_connection(c);
        return;
    }
    go_on(c, SLICE(NULL, 0));
}

/* Who announces a value and doesn't send it would otherwise have all that there is for a minute. */
static void make_room_for_value(struct text_server *s, const struct text_connection *wants)
{
    for (struct list_node *n = s->slow.head.next, *next; n != &s->slow.head; n = next) {
        struct text_connection *c = container_of(n, struct text_connection, slow);
        next = n->next;
        if (s->budget.left >= LIMIT_KV_VALUE_BYTES)
            return;
        if (c == wants || c->parser.command.held == 0)
            continue;
        text_parser_free(&c->parser);
        close_connection(c);
    }
}

/* Those that read their answers never have so many. */
static void make_room_for_answer(struct text_server *s, size_t size)
{
    for (struct list_node *n = s->slow.head.next, *next; n != &s->slow.head; n = next) {
        struct text_connection *c = container_of(n, struct text_connection, slow);
        next = n->next;
        if (s->unread_bytes + size <= TEXT_UNREAD_BYTES)
            return;
        if (c->writes > 0)
            close_connection(c);
    }
}

static void answer(struct text_connection *c, struct slice text)
{
    if (c->closing)
        return;
    if (c->writes == 0) {
        uv_buf_t whole = uv_buf_init((char *)(uintptr_t)text.data, (unsigned)text.size);
        int written = uv_try_write((uv_stream_t *)&c->socket, &whole, 1);
        if (written < 0 && written != UV_EAGAIN) {
            close_connection(c);
            return;
        }
        size_t done = written > 0 ? (size_t)written : 0;
        text = slice_sub(text, done, text.size - done);
    }
    if (text.size == 0)
        return;
    make_room_for_answer(c->server, text.size);
    struct text_write *w = MEM_NEW(struct text_write);
    w->connection = c;
    bytes_append(&w->bytes, text);
    uv_buf_t rest = uv_buf_init((char *)w->bytes.data, (unsigned)w->bytes.size);
    c->writes++;
    c->unread_bytes += text.size;
    c->server->unread_bytes += text.size;
    if (uv_write(&w->request, (uv_stream_t *)&c->socket, &rest, 1, on_written) != 0) {
        c->writes--;
        bytes_free(&w->bytes);
        free(w);
        close_connection(c);
    }
}

static void end_after_answers(struct text_connection *c)
{
    c->ends = true;
    if (c->writes == 0)
        close_connection(c);
}

/* ---- commands ---- */

static void run_work(struct work *w)
{
    struct text_connection *c = container_of(w, struct text_connection, work);
    struct text_server *s = c->server;
    text_run(s->session, &c->command, &c->answer);
    pthread_mutex_lock(&s->lock);
    list_push_back(&s->done, &c->done);
    uv_async_send(&s->wake); /* within the lock: once it is taken out the loop may end */
    pthread_mutex_unlock(&s->lock);
}

static void end_command(struct text_connection *c)
{
    c->busy = c->working = false;
    text_command_free(&c->command, &c->server->budget);
    answer(c, bytes_slice(&c->answer));
    bytes_free(&c->answer);
}

static void begin_work(struct text_connection *c)
{
    c->work.run = run_work;
    c->working = true;
    if (work_pool_put(c->server->workers, &c->work))
        return;
    bytes_append(&c->answer, slice_str("ERR_INTERNAL\r\n"));
    end_command(c);
}

/* Answers, hands on, or parks it until there is a leader. */
static void dispatch(struct text_connection *c)
{
    struct text_server *s = c->server;
    uint32_t leader = atomic_load(s->options->leader);
    char text[32];
    bool waits_on = leader == 0 && (!list_linked(&c->parked) || clock_boot_ns() - c->since_ns < GATEWAY_PATIENCE_NS);
    if (!waits_on && list_linked(&c->parked))
        list_remove(&c->parked);
    if (atomic_load(s->options->crashed)) {
        close_connection(c);
    } else if (leader == s->options->node_id) {
        begin_work(c);
    } else if (leader != 0) {
        snprintf(text, sizeof text, "REDIRECT %u\r\n", leader);
        bytes_append(&c->answer, slice_str(text));
        end_command(c);
    } else if (!waits_on) {
        bytes_append(&c->answer, slice_str("ERR_INTERNAL\r\n"));
        end_command(c);
    } else if (!list_linked(&c->parked)) {
        c->since_ns = clock_boot_ns();
        list_push_back(&s->parked, &c->parked);
        uv_timer_start(&s->tick, on_tick, PARKED_MS, 0);
    }
}

/* ---- bytes ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct text_connection *c = handle->data;
    (void)suggested;
    /* What is behind the command that is read now waits in memory: little of it, however much is sent. */
    uint64_t size = TEXT_AHEAD_BYTES + (c->parser.state == TEXT_IN_LINE ? 0 : c->parser.left);
    *ret = uv_buf_init((char *)c->server->buffer, (unsigned)MIN(size, READ_BYTES));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

static void set_reading(struct text_connection *c)
{
    bool reading = !c->closing && !c->ended && !c->ends && c->ahead.size < TEXT_AHEAD_BYTES;
    if (reading == c->reading || c->closing)
        return;
    c->reading = reading;
    if (!reading)
        uv_read_stop((uv_stream_t *)&c->socket);
    else if (uv_read_start((uv_stream_t *)&c->socket, on_alloc, on_read) != 0)
        close_connection(c);
}

static void take_step(struct text_connection *c, enum text_step step)
{
    switch (step) {
    case TEXT_MORE:
        return;
    case TEXT_COMMAND:
        c->command = c->parser.command;
        c->parser.command = (struct text_command){0};
        c->busy = true;
        dispatch(c);
        return;
    case TEXT_BAD:
        answer(c, slice_str("ERR_CMD_ERR\r\n"));
        return;
    case TEXT_FULL:
        answer(c, slice_str("ERR_INTERNAL\r\n"));
        return;
    case TEXT_END:
        answer(c, slice_str("ERR_CMD_ERR\r\n"));
        end_after_answers(c);
        return;
    }
}

/* Executes what has come, up to the first command that takes time, or an answer that isn't read. `data` is behind what
 * was kept. */
static void go_on(struct text_connection *c, struct slice data)
{
    struct bytes kept = c->ahead;
    if (kept.size > 0) {
        bytes_append(&kept, data);
        data = bytes_slice(&kept);
    }
    c->ahead = (struct bytes){0};
    while (data.size > 0 && !c->closing && !c->ends && !c->busy && c->writes == 0) {
        make_room_for_value(c->server, c);
        enum text_step step = text_parser_take(&c->parser, &data);
        if (step != TEXT_MORE && list_linked(&c->slow))
            list_remove(&c->slow); /* it has come, and the next one has a time of its own */
        take_step(c, step);
    }
    if (data.size > 0 && !c->closing && !c->ends)
        bytes_append(&c->ahead, data);
    bytes_free(&kept);
    if (c->ended && !c->busy && !c->closing && c->ahead.size == 0)
        end_after_answers(c);
    watch_pace(c);
    set_reading(c);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct text_connection *c = stream->data;
    if (size < 0 && size != UV_EOF) {
        close_connection(c);
        return;
    }
    /* Who has said everything may still wait for answers. */
    c->ended = size == UV_EOF;
    go_on(c, SLICE(buffer->base, size > 0 ? (size_t)size : 0));
}

/* ---- the server ---- */

/* Once a minute is enough. */
static void log_refused(struct text_server *s)
{
    int64_t now_ns = clock_boot_ns();
    if (s->refused_logged_ns != 0 && now_ns - s->refused_logged_ns < 60 * NS_PER_S)
        return;
    s->refused_logged_ns = now_ns;
    log_warn("connection refused: there are %u already", s->connections_max);
}

/* Of all descriptors the node and the other gateways get half, or as many as they will ever need. */
static unsigned connections_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= TEXT_CONNECTIONS + OTHER_DESCRIPTORS)
        return TEXT_CONNECTIONS;
    return (unsigned)(limit.rlim_cur - MIN(limit.rlim_cur / 2, OTHER_DESCRIPTORS));
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct text_server *s = listener->data;
    if (status != 0)
        return;
    struct text_connection *c = MEM_NEW(struct text_connection);
    c->server = s;
    c->parser.budget = &s->budget;
    list_node_init(&c->slow);
    list_node_init(&c->parked);
    CHECK(uv_tcp_init(&s->loop, &c->socket) == 0);
    c->socket.data = c;
    list_push_back(&s->connections, &c->node);
    s->count++;
    bool accepted = uv_accept(listener, (uv_stream_t *)&c->socket) == 0;
    if (s->count > s->connections_max)
        log_refused(s);
    if (!accepted || s->count > s->connections_max || atomic_load(s->options->crashed)) {
        close_connection(c);
        return;
    }
    uv_tcp_nodelay(&c->socket, 1);
    set_reading(c);
}

static void take_done(struct text_server *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct list_node *n = list_pop_front(&s->done);
        pthread_mutex_unlock(&s->lock);
        if (!n)
            return;
        struct text_connection *c = container_of(n, struct text_connection, done);
        end_command(c);
        if (c->closed)
            free_if_over(c);
        else
            go_on(c, SLICE(NULL, 0));
    }
}

static void take_parked(struct text_server *s)
{
    for (struct list_node *n = s->parked.head.next, *next; n != &s->parked.head; n = next) {
        struct text_connection *c = container_of(n, struct text_connection, parked);
        next = n->next;
        dispatch(c);
        if (!c->busy)
            go_on(c, SLICE(NULL, 0));
    }
}

static void close_all(struct text_server *s)
{
    for (struct list_node *n = s->connections.head.next, *next; n != &s->connections.head; n = next) {
        next = n->next;
        close_connection(container_of(n, struct text_connection, node));
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct text_server *s = timer->data;
    int64_t now_ns = clock_boot_ns();
    if (atomic_load(s->options->crashed))
        close_all(s);
    for (struct list_node *n; (n = list_first(&s->slow));) {
        struct text_connection *c = container_of(n, struct text_connection, slow);
        if (now_ns - c->since_ns < TEXT_SLOW_NS)
            break;
        close_connection(c);
    }
    take_parked(s);
    if (!s->closing)
        uv_timer_start(timer, on_tick, list_empty(&s->parked) ? TICK_MS : PARKED_MS, 0);
}

static void on_wake(uv_async_t *wake)
{
    struct text_server *s = wake->data;
    take_done(s);
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    if (!stopping)
        return;
    if (!s->closing) {
        s->closing = true;
        uv_close((uv_handle_t *)&s->listener, NULL);
        uv_close((uv_handle_t *)&s->tick, NULL);
        close_all(s);
    }
    /* What is at work still tells of its end here. */
    if (s->count == 0 && !uv_is_closing((uv_handle_t *)&s->wake))
        uv_close((uv_handle_t *)&s->wake, NULL);
}

static void *server_main(void *context)
{
    struct text_server *s = context;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

static enum err listen_now(struct text_server *s, struct err_text *why)
{
    const struct gateway_text_options *o = &s->options->text;
    struct rpc_address address = {.port = o->port};
    struct sockaddr_storage to;
    socklen_t size;
    snprintf(address.host, sizeof address.host, "%s", o->host);
    TRY(rpc_address_resolve(&address, &to, &size, why));
    int failed = uv_tcp_bind(&s->listener, (struct sockaddr *)&to, 0);
    if (!failed)
        failed = uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    if (failed)
        return err_explain(why, failed == UV_EADDRINUSE ? ERR_EXISTS_IN_USE : ERR_ADDRESS, "text-port %u on %.100s: %s",
                           o->port, o->host, uv_strerror(failed));
    return ERR_OK;
}

static void free_server(struct text_server *s)
{
    CHECK(uv_loop_close(&s->loop) == 0);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

enum err text_server_open(struct gateway_session *session, struct text_server **ret, struct err_text *why)
{
    struct text_server *s = MEM_NEW(struct text_server);
    s->session = session;
    s->options = gateway_session_options(session);
    s->budget.left = TEXT_VALUES_BYTES;
    s->connections_max = connections_max();
    list_init(&s->connections);
    list_init(&s->slow);
    list_init(&s->parked);
    list_init(&s->done);
    pthread_mutex_init(&s->lock, NULL);
    int failed = uv_loop_init(&s->loop);
    if (failed) {
        pthread_mutex_destroy(&s->lock);
        free(s);
        return err_explain(why, ERR_NOMEM, "the text protocol: %s", uv_strerror(failed));
    }
    CHECK(uv_tcp_init(&s->loop, &s->listener) == 0);
    CHECK(uv_timer_init(&s->loop, &s->tick) == 0);
    CHECK(uv_async_init(&s->loop, &s->wake, on_wake) == 0);
    s->listener.data = s->tick.data = s->wake.data = s;
    enum err e = listen_now(s, why);
    if (e == ERR_OK) {
        uv_timer_start(&s->tick, on_tick, TICK_MS, 0);
        s->workers = work_pool_new(TEXT_WORKERS, TEXT_CONNECTIONS);
        if (pthread_create(&s->thread, NULL, server_main, s) != 0)
            e = err_explain(why, ERR_NOMEM, "there is no thread for the text protocol");
    }
    if (e != ERR_OK) {
        uv_close((uv_handle_t *)&s->listener, NULL);
        uv_close((uv_handle_t *)&s->tick, NULL);
        uv_close((uv_handle_t *)&s->wake, NULL);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        work_pool_free(s->workers);
        free_server(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void text_server_close(struct text_server *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
    pthread_join(s->thread, NULL);
    work_pool_free(s->workers);
    free_server(s);
}
