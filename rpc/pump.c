#include "rpc/pump.h"

static enum err plain_receive(struct rpc_pump *p, struct slice wire_in, struct bytes *plain, struct bytes *wire)
{
    (void)p, (void)wire;
    bytes_append(plain, wire_in);
    return ERR_OK;
}

static enum err plain_send(struct rpc_pump *p, struct slice plain, struct bytes *wire)
{
    (void)p;
    bytes_append(wire, plain);
    return ERR_OK;
}

static void plain_free(struct rpc_pump *p)
{
    (void)p;
}

struct rpc_pump *rpc_pump_plain(void)
{
    static const struct rpc_pump_ops ops = {plain_receive, plain_send, plain_free};
    static struct rpc_pump pump = {&ops, true}; /* without state, so that one serves all connections */
    return &pump;
}

struct rpc_pump *rpc_pump_make(const struct rpc_pump_factory *f, bool accepts)
{
    return f->make ? f->make(f->context, accepts) : rpc_pump_plain();
}
