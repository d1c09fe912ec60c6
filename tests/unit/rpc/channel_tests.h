/* channel_tests.h: what the tests of channels share: one server, one channel to it as the tests' state. */
#pragma once

#include <stdio.h>

#include "base/prng.h"
#include "fixture.h"
#include "raw.h"
#include "rpc/channel.h"

static struct fixture server;

static inline struct rpc_channel *channel_to(const struct rpc_address *a)
{
    struct rpc_channel_options options = {
        .address = *a, .hello = slice_str("client"), .connect_timeout_ns = 5 * NS_PER_S};
    return rpc_channel_new(&options);
}

static inline struct rpc_address address_of_port(uint16_t port)
{
    char text[32];
    struct rpc_address a;
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(rpc_address_parse(text, &a, NULL), ERR_OK);
    return a;
}

static inline int64_t in_ms(int64_t ms)
{
    return clock_boot_ns() + ms * NS_PER_MS;
}

static inline enum err call(struct rpc_channel *c, uint16_t method, struct slice message, int64_t deadline_ns,
                            struct rpc_cancel *cancel)
{
    struct rpc_call *k;
    struct slice reply, payload;
    enum err e = rpc_channel_call(c, method, message, NULL, 0, deadline_ns, cancel, &k, &reply, &payload);
    rpc_call_free(k);
    return e;
}

static inline enum err echo(struct rpc_channel *c)
{
    return call(c, FIXTURE_ECHO, slice_str("x"), in_ms(20000), NULL);
}

static inline int setup(void **state)
{
    fixture_start(&server, 0);
    *state = channel_to(&server.address);
    return 0;
}

static inline int teardown(void **state)
{
    rpc_channel_free(*state);
    fixture_stop(&server);
    return 0;
}

struct canceller {
    struct rpc_cancel *cancel;
    atomic_uint *after; /* fires once it is not zero; NULL: at once */
};

static inline void *cancel_later(void *context)
{
    struct canceller *c = context;
    while (c->after && atomic_load(c->after) == 0)
        sched_yield();
    rpc_cancel_fire(c->cancel);
    return NULL;
}
