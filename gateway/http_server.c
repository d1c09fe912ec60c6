/* http_server.c: connections and the way of a request: read, judged, handed to a worker, answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "gateway/http_counters.h"
#include "gateway/http_events.h"
#include "gateway/http_guard.h"
#include "gateway/http_text.h"

#define LOG_MODULE "http"
#include "base/log.h"

#define BACKLOG 512
#define DESCRIPTORS_SHARE 4u /* of the process's, one in so many may be a connection here */
#define CONNECTIONS_MIN 16u

const char *http_header(struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

enum err http_argument(struct http_request *r, const char *name, struct slice *ret)
{
    const char *value = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &size) !=
        MHD_YES)
        return ERR_NOT_FOUND;
    return http_text_decode(SLICE(value, value ? size : 0), &r->arena, ret);
}

bool http_hold(struct http_request *r, size_t bytes)
{
    if (atomic_fetch_add(&r->server->held_bytes, bytes) + bytes > HTTP_HELD_BYTES) {
        atomic_fetch_sub(&r->server->held_bytes, bytes);
        return false;
    }
    r->held_bytes += bytes;
    return true;
}

bool http_suspend(struct http_server *s, struct MHD_Connection *connection)
{
    pthread_mutex_lock(&s->lock);
    bool goes_on = !s->stopping;
    if (goes_on) {
        s->suspended++;
        MHD_suspend_connection(connection);
    }
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

void http_resume(struct http_server *s, struct MHD_Connection *connection)
{
    MHD_resume_connection(connection);
    pthread_mutex_lock(&s->lock);
    if (--s->suspended == 0)
        pthread_cond_signal(&s->resumed);
    pthread_mutex_unlock(&s->lock);
}

static void run_work(struct work *w)
{
    struct http_request *r = container_of(w, struct http_request, work);
    r->route->run(r);
    CHECK(r->response);
    r->state = HTTP_ANSWERED;
    http_resume(r->server, r->connection);
}

/* False: it is with a worker now. */
static bool serve(struct http_request *r)
{
    struct http_server *s = r->server;
    if (r->response)
        return true;
    if (r->route->service && atomic_load(s->options->crashed)) {
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "This node is crashed, as surfctl crash does it");
    } else if (r->route->workers == HTTP_AT_ONCE) {
        r->route->run(r);
    } else if (!http_suspend(s, r->connection)) {
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "This node is stopping");
    } else {
        r->work.run = run_work;
        if (work_pool_put(s->workers[r->route->workers], &r->work))
            return false;
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "Too many requests are waiting already");
        r->state = HTTP_ANSWERED;
        http_resume(s, r->connection);
        return false;
    }
    return true;
}

static struct http_request *begin(struct http_server *s, struct MHD_Connection *connection, const char *url,
                                  const char *method)
{
    struct http_request *r = MEM_NEW(struct http_request);
    r->server = s;
    r->connection = connection;
    r->begun_ns = clock_boot_ns();
    r->client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (http_connections_count(s->connections) > s->connections_max) {
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "There are more than %u connections", s->connections_max);
        http_answer_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
        return r;
    }
    http_route_find(r, arena_str(&r->arena, slice_str(url)), method);
    if (!r->response)
        (void)http_guard_allows(r);
    return r;
}

/* Whether the answer can't wait until the body has been read: it won't be, or comes only when we say so. */
static bool answers_before_body(struct http_request *r)
{
    const char *length = http_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!r->response && length && strtoull(length, NULL, 10) > HTTP_BODY_BYTES)
        http_answer_text(r, MHD_HTTP_CONTENT_TOO_LARGE, "A request may have %u bytes", HTTP_BODY_BYTES);
    return r->response && length &&
           (strtoull(length, NULL, 10) > HTTP_REFUSED_BYTES || http_header(r, MHD_HTTP_HEADER_EXPECT));
}

/* What isn't wanted any more is read and forgotten: who is still sending would not read the answer. */
static void take_body(struct http_request *r, const char *data, size_t size)
{
    if (!r->response && r->body.size + size > HTTP_BODY_BYTES)
        http_answer_text(r, MHD_HTTP_CONTENT_TOO_LARGE, "A request may have %u bytes", HTTP_BODY_BYTES);
    if (!r->response && !http_hold(r, size))
        http_answer_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, "Too much is being received already");
    if (!r->response)
        bytes_append(&r->body, SLICE(data, size));
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_size, void **request)
{
    (void)version;
    struct http_request *r = *request;
    if (!r) {
        r = *request = begin(context, connection, url, method);
        if (!answers_before_body(r))
            return MHD_YES;
    } else if (*data_size > 0) {
        take_body(r, data, *data_size);
        *data_size = 0;
        return MHD_YES;
    } else if (r->state != HTTP_ANSWERED) {
        http_connection_rests(r->server->connections, r->client);
        r->state = HTTP_READING;
        if (!serve(r))
            return MHD_YES;
    }
    http_connection_sends(r->server->connections, r->client);
    return MHD_queue_response(connection, r->status, r->response);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    (void)connection, (void)how;
    struct http_server *s = context;
    struct http_request *r = *request;
    if (!r)
        return;
    http_counters_add(s->counters, r->route, r->status, clock_boot_ns() - r->begun_ns);
    http_connection_await(s->connections, r->client);
    atomic_fetch_sub(&s->held_bytes, r->held_bytes);
    if (r->response)
        MHD_destroy_response(r->response);
    bytes_free(&r->body);
    arena_free(&r->arena);
    free(r);
    *request = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **client,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *client = http_connection_open(s->connections, info->connect_fd);
    } else {
        http_connection_close(s->connections, *client);
    }
}

/* Names are decoded by those who know what may be in them: here %00 would end a name. */
static size_t keep_encoded(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *context, const char *format, va_list args)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    log_debug("%s", text);
}

static enum err listen_on(const struct gateway_http_options *o, int *ret, struct err_text *why)
{
    char port[8];
    snprintf(port, sizeof port, "%u", o->port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(o->host, port, &hints, &found);
    if (failed)
        return err_explain(why, ERR_ADDRESS, "%.100s is not an IP address: %s", o->host, gai_strerror(failed));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;
    if (fd >= 0 && found->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool listens = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int errnum = errno;
    freeaddrinfo(found);
    if (listens) {
        *ret = fd;
        return ERR_OK;
    }
    if (fd >= 0)
        close(fd);
    return err_explain(why, err_from_errno(errnum), "can't listen for HTTP on %.100s port %u: %s", o->host, o->port,
                       strerror(errnum));
}

static unsigned connections_max(void)
{
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0)
        return CONNECTIONS_MIN;
    return (unsigned)MAX(MIN(descriptors.rlim_cur / DESCRIPTORS_SHARE, HTTP_CONNECTIONS), CONNECTIONS_MIN);
}

static struct http_server *server_new(struct gateway_session *session)
{
    struct http_server *s = MEM_NEW(struct http_server);
    s->session = session;
    s->options = gateway_session_options(session);
    s->connections_max = connections_max();
    snprintf(s->own_names[0], sizeof s->own_names[0], "%s", s->options->own.host);
    (void)gethostname(s->own_names[1], sizeof s->own_names[1] - 1);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->resumed, NULL);
    s->workers[HTTP_DATA] = work_pool_new(HTTP_DATA_WORKERS, HTTP_QUEUE);
    s->workers[HTTP_ADMIN] = work_pool_new(HTTP_ADMIN_WORKERS, HTTP_QUEUE);
    s->connections = http_connections_new(HTTP_REQUEST_NS, HTTP_ANSWER_NS);
    s->counters = http_counters_new();
    s->events = http_events_new(s);
    return s;
}

enum err http_server_open(struct gateway_session *session, struct http_server **ret, struct err_text *why)
{
    int fd;
    TRY(listen_on(&gateway_session_options(session)->http, &fd, why));
    struct http_server *s = server_new(session);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, s->connections_max + HTTP_CONNECTIONS_TOLD, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_HEADER_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, HTTP_ANSWER_STALL_S, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded,
        NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        http_server_close(s);
        return err_explain(why, ERR_IO, "libmicrohttpd can't be started");
    }
    *ret = s;
    return ERR_OK;
}

void http_server_close(struct http_server *s)
{
    if (!s)
        return;
    int fd = s->daemon ? MHD_quiesce_daemon(s->daemon) : -1;
    http_events_stop(s->events);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    while (s->suspended > 0)
        pthread_cond_wait(&s->resumed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    if (fd >= 0)
        close(fd);
    work_pool_free(s->workers[HTTP_DATA]);
    work_pool_free(s->workers[HTTP_ADMIN]);
    http_events_free(s->events);
    http_connections_free(s->connections);
    http_counters_free(s->counters);
    pthread_cond_destroy(&s->resumed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
