/* peer.h: a connection of a libuv program to one address, kept up by itself. Loop thread only.
 *
 * Connects at the first use and reconnects with back-off (10 ms doubling to 1 s). One-way sends while not connected, or
 * over the backlog limit of 16 MiB, are dropped and counted: callers (raft) repeat anyway. Calls while not connected
 * wait for the connection until their deadline, and then end with ERR_UNREACHABLE; calls that were sent end with
 * ERR_TIMEOUT then, or with ERR_CLOSED when the connection breaks. */
#pragma once

#include <uv.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rpc/address.h"
#include "rpc/pump.h"

#define RPC_PEER_BACKLOG_BYTES (16u * 1024u * 1024u)
#define RPC_PEER_CALLS 4096u /* under way; a call over it ends with ERR_BUSY_NOW */

struct rpc_peer;

struct rpc_response {
    enum err status; /* the server's, or UNREACHABLE, CLOSED, TIMEOUT, PROTOCOL, BUSY_NOW, TOO_BIG from here */
    struct slice message, payload; /* borrowed for the duration of the callback */
};
typedef void (*rpc_peer_done)(void *context, const struct rpc_response *response);

/* hello is copied. on_hello (NULL: any will do) judges what the other side sent; an error closes the connection, is
 * logged, and counts as a failed attempt. */
struct rpc_peer *rpc_peer_new(uv_loop_t *loop, const struct rpc_address *address, struct slice hello,
                              enum err (*on_hello)(void *context, struct slice hello, struct err_text *why),
                              void *context);
void rpc_peer_set_hello(struct rpc_peer *p, struct slice hello);               /* for the next connection */
void rpc_peer_set_pumps(struct rpc_peer *p, const struct rpc_pump_factory *f); /* for the next connection; copied */
bool rpc_peer_connected(const struct rpc_peer *p);                             /* HELLOs were exchanged */
uint64_t rpc_peer_dropped(const struct rpc_peer *p);                           /* one-way sends */
/* message and payload are copied or written before it returns. */
void rpc_peer_send(struct rpc_peer *p, uint16_t method, struct slice message, struct slice payload);
/* done is called exactly once and never inline. deadline on clock_boot_ns. */
void rpc_peer_call(struct rpc_peer *p, uint16_t method, struct slice message, struct slice payload, int64_t deadline_ns,
                   rpc_peer_done done, void *context);
/* Drops the connection; calls under way end with ERR_CLOSED. Reconnects at the next use. */
void rpc_peer_disconnect(struct rpc_peer *p);
/* Ends calls with ERR_CLOSED before it returns, closes, frees; safe at any time on the loop, callbacks included. The
 * loop must go round once more before it is closed. */
void rpc_peer_free(struct rpc_peer *p);
