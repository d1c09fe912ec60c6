/* server.h: accepts connections on a libuv loop and hands requests to one handler. Everything here runs on the loop's
 * thread. Payloads and messages are opaque.
 *
 * A connection starts with HELLO each way: `hello` is what we send; `on_hello` judges what the other side sent (an
 * error closes the connection with a logged reason). A malformed frame closes that connection, logs one line with the
 * peer's address and the reason, and touches nothing else. Over LIMIT_REQUESTS_PER_CONNECTION requests under way, or
 * over a write backlog, reading from that connection pauses. Where the requests of all ordinary connections take too
 * much, those that have more than RPC_SERVER_SMALL_BYTES under way, or are sending such a frame, are not read from
 * until a quarter has been answered; small requests go on, so that sessions and leases live, and so do those of
 * important connections, on which what is under way may depend. Where the unsent replies of ordinary connections take
 * too much, each of these is read from only while it has less than RPC_SERVER_SMALL_BYTES of them. A connection that
 * has not sent its whole HELLO after 10 s, or that has stood in the middle of a frame for 30 s, is closed; where
 * incomplete frames take too much memory in all, those that have been incomplete for longest, and for a second at
 * least, go at once.
 *
 * The number of connections is bounded, and so that nobody who opens them keeps the important ones out, each eighth
 * part of the bound is kept for those that have not sent a HELLO yet, of which the oldest gives way to a new one, and
 * for those that `is_important` holds of. Others get what is left, and are closed when that is taken. Of lines that
 * peers cause so, a few are logged, and how many more there were.
 *
 * Replies made while a request is handed on go out together right after it; others before the loop sleeps again.
 * SIGPIPE is ignored from the first server or peer on, unless the program handles it.
 */
#pragma once

#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "rpc/address.h"
#include "rpc/pump.h"

#define RPC_SERVER_BACKLOG_BYTES (16u * MIB)       /* unsent replies of a connection; over it, reading pauses */
#define RPC_SERVER_REQUEST_BYTES (64u * MIB)       /* requests under way of a connection; over it, reading pauses */
#define RPC_SERVER_ALL_REQUESTS_BYTES (512u * MIB) /* of all ordinary connections, also of those that are gone */
#define RPC_SERVER_ALL_BACKLOG_BYTES (1024u * MIB) /* of all ordinary connections */
#define RPC_SERVER_SMALL_BYTES (64u * KIB)
#define RPC_SERVER_HELLO_TIMEOUT_S 10
#define RPC_SERVER_FRAME_TIMEOUT_S 30
#define RPC_SERVER_CONNECTIONS_MIN 16u
#define RPC_SERVER_INCOMPLETE_BYTES (1024u * MIB) /* of incomplete frames, of all connections */

struct rpc_server;
struct rpc_conn;

/* A request is alive until rpc_reply; message and payload are its own until then. If its connection closes first, the
 * request stays valid, `gone` is set, and rpc_reply just releases it. For ONEWAY frames `oneway` is set: the handler
 * calls rpc_release. */
struct rpc_request {
    struct rpc_conn *conn; /* NULL once gone */
    uint64_t id;
    uint16_t method;
    bool oneway, gone;
    struct slice message, payload;
    struct arena arena; /* released with the request */
    uint64_t conn_tag;  /* rpc_conn's tag, as set by on_hello */
    void *user;         /* the handler's own */
};

struct rpc_server_callbacks {
    void *context;
    /* *ret_tag becomes conn_tag of every request of this connection. */
    enum err (*on_hello)(void *context, struct slice hello, uint64_t *ret_tag, struct err_text *why);
    void (*on_request)(void *context, struct rpc_request *request);
    /* NULL is allowed: none is. Right after on_hello: whether the connection has its place also when there are too many
     * of others. */
    bool (*is_important)(void *context, uint64_t conn_tag);
    /* NULL is allowed. Of a connection whose HELLO was accepted, once, after its last request was handed on; also when
     * there was no place for it. */
    void (*on_close)(void *context, uint64_t conn_tag);
    /* NULL is allowed, and costs nothing. Of each request that is answered while its connection is there: how long it
     * was with the handler. */
    void (*on_reply)(void *context, unsigned method, enum err status, int64_t took_ns);
};

/* host "127.0.0.1", "::" etc. ERR_EXISTS_IN_USE when the port is taken; the text says which. Port 0 picks one. */
enum err rpc_server_listen(uv_loop_t *loop, const char *host, uint16_t port, struct slice hello,
                           const struct rpc_server_callbacks *callbacks, struct rpc_server **ret,
                           struct err_text *why) MUST_USE;
uint16_t rpc_server_port(const struct rpc_server *s);
void rpc_server_set_hello(struct rpc_server *s, struct slice hello); /* of connections from now on; copied */
void rpc_server_set_pumps(struct rpc_server *s,
                          const struct rpc_pump_factory *f); /* of connections from now on; copied */
/* How many connections there may be, in place of LIMIT_CONNECTIONS; RPC_SERVER_CONNECTIONS_MIN at least. */
void rpc_server_set_connections(struct rpc_server *s, unsigned most);
void rpc_server_set_incomplete(struct rpc_server *s, size_t bytes); /* in place of RPC_SERVER_INCOMPLETE_BYTES */
void rpc_server_set_requests(struct rpc_server *s, size_t bytes);   /* in place of RPC_SERVER_ALL_REQUESTS_BYTES */
void rpc_server_set_backlog(struct rpc_server *s, size_t bytes);    /* in place of RPC_SERVER_ALL_BACKLOG_BYTES */
/* Unsent replies of ordinary connections are too much: who would make a large one later had better refuse. */
bool rpc_server_backlog_full(const struct rpc_server *s);
/* In place of RPC_SERVER_HELLO_TIMEOUT_S and RPC_SERVER_FRAME_TIMEOUT_S. */
void rpc_server_set_timeouts(struct rpc_server *s, int64_t hello_ns, int64_t frame_ns);
/* Exactly once per request. message is copied; *payload (NULL: none) is moved from and left empty. */
void rpc_reply(struct rpc_request *request, enum err status, struct slice message, struct bytes *payload);
void rpc_release(struct rpc_request *request);
/* Closes all connections that were accepted before this time (clock_boot_ns; as a machine that dies would) but goes on
 * listening; for `crash`, new connections are accepted and their requests handed on as always. Allowed inside of
 * callbacks; on_close comes later. */
void rpc_server_drop_connections(struct rpc_server *s, int64_t before_ns);
/* Stops listening, closes everything, then calls done on the loop and frees s. Requests that were not answered yet stay
 * valid and are released with rpc_reply or rpc_release as always. */
void rpc_server_close(struct rpc_server *s, void (*done)(void *context), void *context);
