/* http.h: the HTTP gateway from inside. libmicrohttpd has one thread that reads and writes all connections; what may
 * wait for the cluster is done by two pools of threads, one for keys and files, one for administration, so that a
 * cluster that doesn't answer can still be looked at. A request belongs to one thread at a time: to libmicrohttpd's
 * until its connection is suspended, then to the worker until it is resumed. */
#pragma once

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>

#include "base/arena.h"
#include "gateway/http_connections.h"
#include "gateway/session.h"
#include "gateway/work.h"

#define HTTP_BODY_BYTES (2 * MIB)       /* of a request */
#define HTTP_REFUSED_BYTES (8 * MIB)    /* what is too large is read up to this, so that its sender reads why */
#define HTTP_HEADER_BYTES (32 * KIB)    /* of one connection: its request's headers, and what is being sent */
#define HTTP_HELD_BYTES (128 * MIB)     /* bodies and answers of all connections together */
#define HTTP_CONNECTIONS 2048u          /* fewer when there are not four times as many descriptors */
#define HTTP_CONNECTIONS_TOLD 64u       /* so many more are told that there are too many */
#define HTTP_REQUEST_NS (30 * NS_PER_S) /* in which a whole request has to come */
#define HTTP_ANSWER_NS (60 * NS_PER_S)  /* in which an answer has to be read, or of a long one what is in memory */
#define HTTP_ANSWER_STALL_S 30u         /* an answer of which nobody reads anything for so long is given up */
#define HTTP_DATA_WORKERS 64u
#define HTTP_ADMIN_WORKERS 8u
#define HTTP_QUEUE 4096u
#define HTTP_RETRY_S "1" /* Retry-After */

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_DELETE = 8 };
enum http_workers { HTTP_AT_ONCE, HTTP_DATA, HTTP_ADMIN };
enum http_state { HTTP_BEGUN, HTTP_READING, HTTP_ANSWERED };

struct http_request;

struct http_route {
    const char *path;
    bool below; /* also everything behind path and a slash */
    unsigned methods;
    enum http_workers workers;
    bool service; /* not of a node that is to look dead */
    bool changes; /* the cluster's nodes: not for everybody (http_guard.h) */
    void (*run)(struct http_request *r);
    const char *name; /* in metrics */
};

struct http_server {
    struct gateway_session *session;
    const struct gateway_options *options; /* the session's */
    struct MHD_Daemon *daemon;
    struct work_pool *workers[HTTP_ADMIN + 1]; /* none AT_ONCE */
    struct http_connections *connections;
    unsigned connections_max;
    atomic_size_t held_bytes;
    atomic_uint files_sent; /* under way now */
    struct http_counters *counters;
    struct http_events *events;
    char own_names[2][256]; /* as which the node knows itself */

    pthread_mutex_t lock;
    pthread_cond_t resumed;
    unsigned suspended; /* connections; protected by lock, as is the following */
    bool stopping;      /* nothing is suspended any more */
};

struct http_request {
    struct work work;
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_connection *client;
    const struct http_route *route; /* NULL: there is none, and an answer already */
    enum http_method method;
    enum http_state state;
    const char *path; /* behind the route's path and its slash, encoded as it came; NULL: nothing was there */
    struct bytes body;
    size_t held_bytes; /* that count in the server's */
    struct arena arena;
    unsigned status; /* of the answer */
    struct MHD_Response *response;
    int64_t begun_ns;
};

/* EXISTS_IN_USE, ADDRESS, ... with why */
enum err http_server_open(struct gateway_session *session, struct http_server **ret, struct err_text *why) MUST_USE;
/* The session has been stopped, so that what waits for the cluster ends. NULL is allowed. */
void http_server_close(struct http_server *s);

/* Takes the connection out of libmicrohttpd's hands; only in its thread. False: we are stopping, it has not been. */
bool http_suspend(struct http_server *s, struct MHD_Connection *connection) MUST_USE;
/* Gives it back; the request is not the caller's any more. Any thread. */
void http_resume(struct http_server *s, struct MHD_Connection *connection);
/* Counts memory of a request as held until its end. False: there is too much already. */
bool http_hold(struct http_request *r, size_t bytes) MUST_USE;

const char *http_header(struct http_request *r, const char *name); /* NULL: it has none */
/* An argument behind "?", decoded, in the arena; NOT_FOUND, INVAL. */
enum err http_argument(struct http_request *r, const char *name, struct slice *ret) MUST_USE;

/* ---- the one answer of a request (http_answer.c) ---- */

/* One line of text. */
void http_answer_text(struct http_request *r, unsigned status, const char *format, ...) PRINTF_LIKE(3, 4);
/* Takes the reference. */
void http_answer_json(struct http_request *r, unsigned status, json_t *value);
/* Takes the memory of `body`, which is empty then. */
void http_answer_bytes(struct http_request *r, unsigned status, const char *type, struct bytes *body);
/* Bytes that stay where they are for ever. */
void http_answer_static(struct http_request *r, const char *type, struct slice body);
void http_answer_empty(struct http_request *r, unsigned status);
/* The status that goes with the error, and its words: 503 with Retry-After for what may be possible later, and was not
 * done; 504 for a change of which that is not known. */
void http_answer_error(struct http_request *r, enum err e, const struct err_text *why);
/* Takes the response. NULL: 500. */
void http_answer_response(struct http_request *r, unsigned status, struct MHD_Response *response);
/* To an answer that is there. */
void http_answer_header(struct http_request *r, const char *name, const char *value);

/* ---- who does what (http_route.c) ---- */

/* Finds the route; without one, or without its method, it answers. */
void http_route_find(struct http_request *r, const char *url, const char *method);
extern const struct http_route http_routes[];
extern const unsigned http_route_count;

void http_keys_run(struct http_request *r);
void http_files_run(struct http_request *r);
void http_status_run(struct http_request *r);
void http_health_run(struct http_request *r);
void http_metrics_run(struct http_request *r);
void http_cluster_run(struct http_request *r);
void http_nodes_run(struct http_request *r);
void http_partition_run(struct http_request *r);
void http_heal_run(struct http_request *r);
void http_events_run(struct http_request *r);
void http_page_run(struct http_request *r);
