/* channel.h: a connection of a threaded program to one address, shared by all its threads. No thread of its own in the
 * way: the calling thread writes the socket itself and reads it itself when it is the only one that waits, because a
 * hop to another thread costs more than the rest of a call (docs/PERFORMANCE.md).
 *
 * Among the threads that wait on one channel, one is its reader: it polls and reads the socket and completes whichever
 * calls the bytes answer. When it has its own answer it hands the role to another waiter, through that waiter's
 * eventfd. Calls that were started and not (or no longer) waited for are completed by whoever reads next; a
 * process-wide helper thread reads channels on which calls are outstanding and nobody waits.
 *
 * Thread-safe throughout, but of one call only one thread at a time waits, and only one frees. Deadlines are
 * clock_boot_ns times, INT64_MAX for none. Not for use across fork(): open channels in the process that uses them.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "rpc/address.h"
#include "rpc/pump.h"

struct rpc_channel;

/* Breaks waits from another thread (a FUSE interrupt). Once fired it stays fired. */
struct rpc_cancel;
struct rpc_cancel *rpc_cancel_new(void);
void rpc_cancel_fire(struct rpc_cancel *c);
bool rpc_cancel_fired(const struct rpc_cancel *c);
void rpc_cancel_free(struct rpc_cancel *c); /* only when no wait uses it */

struct rpc_channel_options {
    struct rpc_address address;
    struct slice hello; /* copied */
    /* Judges what the server sent; an error ends the calls that wait for the connection. Any calling thread. */
    enum err (*on_hello)(void *context, struct slice hello, struct err_text *why);
    void *context;
    int64_t connect_timeout_ns;
    struct rpc_pump_factory pumps; /* any calling thread */
};

/* Connects lazily: at the first call, and again at the first call after the connection broke. Never fails. */
struct rpc_channel *rpc_channel_new(const struct rpc_channel_options *options);
/* Ends calls under way with ERR_CLOSED. Nobody may be using the channel afterwards. */
void rpc_channel_free(struct rpc_channel *c);
const char *rpc_channel_address(const struct rpc_channel *c);
/* What e, which a call has ended with, means here, for people: of a connection that couldn't be made also why not. */
void rpc_channel_explain(struct rpc_channel *c, enum err e, struct err_text *ret);
/* The last connection did not leave the machine; false before the first. */
bool rpc_channel_is_local(const struct rpc_channel *c);

/* One call; the caller embeds or allocates it. Between rpc_call_start and its end it belongs to the channel. */
struct rpc_call;

/* Up to this many slices are gathered as the payload, without a copy; they must live until rpc_call_start returns. */
#define RPC_PAYLOAD_SLICES 64u
#define RPC_CHANNEL_QUEUE_BYTES (4u * 1024u * 1024u) /* frames that wait for another thread's write */

/* Sends the request (blocking while a connection is made and while the socket's buffer is full, until the deadline or
 * cancel). Errors in connecting or sending end the call at once, they are found by rpc_call_result. Never NULL. A call
 * that is not answered by its deadline ends with ERR_TIMEOUT. */
struct rpc_call *rpc_call_start(struct rpc_channel *c, uint16_t method, struct slice message,
                                const struct slice *payload, size_t payload_count, int64_t deadline_ns,
                                struct rpc_cancel *cancel);

/* Waits until one of the calls that are not NULL has ended, or the deadline, or cancel: ERR_OK and *ret_index, or
 * ERR_TIMEOUT, ERR_CANCELLED (the calls stay under way). Several channels at once are the point of it. */
enum err rpc_call_wait_any(struct rpc_call *const *calls, size_t count, int64_t deadline_ns, struct rpc_cancel *cancel,
                           size_t *ret_index) MUST_USE;
/* Of an ended call: the server's status, or UNREACHABLE, CLOSED, TIMEOUT, CANCELLED, PROTOCOL from here. The slices
 * live until rpc_call_free. */
enum err rpc_call_result(const struct rpc_call *call, struct slice *ret_message, struct slice *ret_payload) MUST_USE;
/* Of an ended call: the memory that its slices point into is the caller's from here on, so that a large answer need not
 * be copied. The slices stay as they are. */
void rpc_call_take(struct rpc_call *call, struct bytes *ret);
/* Lets go of a call, ended or not; one that is under way is finished in the background and its answer dropped, or, when
 * `finished` is not NULL, handed to it (on an unspecified thread; it must not block), exactly once. */
void rpc_call_free(struct rpc_call *call);
void rpc_call_abandon(struct rpc_call *call, void (*finished)(void *context, enum err status, struct slice message),
                      void *context);

/* start + wait + result in one, for the common case. *ret_call is to be freed by the caller after use of the slices;
 * it is set whenever the return value is the server's status (also not ERR_OK, for the error detail in the message),
 * NULL otherwise. */
enum err rpc_channel_call(struct rpc_channel *c, uint16_t method, struct slice message, const struct slice *payload,
                          size_t payload_count, int64_t deadline_ns, struct rpc_cancel *cancel,
                          struct rpc_call **ret_call, struct slice *ret_message, struct slice *ret_payload) MUST_USE;
