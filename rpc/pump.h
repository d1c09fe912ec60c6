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
    /* Bytes that shall go out: appends what the socket must send. During a handshake it may keep them, and let them
     * follow in `wire` of a later receive. The first bytes of a client are its HELLO, which starts a handshake. */
    enum err (*send)(struct rpc_pump *p, struct slice plain, struct bytes *wire);
    void (*free)(struct rpc_pump *p);
};

struct rpc_pump {
    const struct rpc_pump_ops *ops;
    bool transparent; /* bytes are the same on both sides: callers may skip it and spare the copy */
};

struct rpc_pump *rpc_pump_plain(void);

/* Makes the pump of each new connection of a server, peer or channel. Zero-initialised it makes plain ones. */
struct rpc_pump_factory {
    /* `accepts`: ours is the side that was connected to. Never NULL. Called on the thread that has the connection. */
    struct rpc_pump *(*make)(void *context, bool accepts);
    void *context;
};
struct rpc_pump *rpc_pump_make(const struct rpc_pump_factory *f, bool accepts);
