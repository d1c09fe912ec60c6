/* pump.h: what stands between a socket's bytes and frames. The plain pump passes them through; a TLS pump puts
 * OpenSSL's memory BIOs here, and no caller of server.h, peer.h or channel.h notices. One pump per connection, one
 * thread at a time. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct rpc_pump;

struct rpc_pump_ops {
    /* Bytes that the socket gave: appends what they decode to, to `plain`, and anything to send now (handshake), to
     * `wire`. */
    enum err (*receive)(struct rpc_pump *p, struct slice wire_in, struct bytes *plain, struct bytes *wire);
    /* Bytes that shall go out: appends what the socket must send. */
    enum err (*send)(struct rpc_pump *p, struct slice plain, struct bytes *wire);
    void (*free)(struct rpc_pump *p);
};

struct rpc_pump {
    const struct rpc_pump_ops *ops;
    bool transparent; /* bytes are the same on both sides: callers may skip it and spare the copy */
};

struct rpc_pump *rpc_pump_plain(void);
