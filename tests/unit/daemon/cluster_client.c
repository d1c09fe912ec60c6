#include "cluster_client.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/prng.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define TRY_NS (3 * NS_PER_S)
#define GIVE_UP_NS (60 * NS_PER_S)
#define PAUSE_US 5000u

static enum err on_hello(void *context, struct slice hello, struct err_text *why)
{
    (void)context, (void)hello, (void)why;
    return ERR_OK;
}

/* Node after node until one of them answers. *ret_call is to be freed. */
static struct rpc_call *ask(struct cluster_client *c, unsigned method, struct slice message, struct slice *ret)
{
    int64_t begun = clock_boot_ns();
    for (;;) {
        struct rpc_call *call = NULL;
        struct slice reply, payload;
        enum err e = rpc_channel_call(c->channels[c->leader], (uint16_t)method, message, NULL, 0,
                                      clock_boot_ns() + TRY_NS, NULL, &call, &reply, &payload);
        if (e == ERR_OK) {
            *ret = reply;
            return call;
        }
        struct wire_error error = {0};
        if (call) {
            wire_error_decode(reply, &c->arena, &error);
            rpc_call_free(call);
        }
        c->retries++;
        if (e == ERR_NOT_LEADER && error.leader_id >= 1 && error.leader_id <= c->count) {
            c->leader = error.leader_id;
            continue;
        }
        if (clock_boot_ns() - begun > GIVE_UP_NS) {
            fprintf(stderr, "no answer to method %u in a minute: %s %.*s\n", method, err_name(e), (int)error.text.size,
                    (const char *)error.text.data);
            CHECK(!"an answer");
        }
        c->leader = c->leader % c->count + 1;
        usleep(PAUSE_US);
    }
}

void cluster_client_call(struct cluster_client *c, struct meta_command *command, struct meta_reply *ret)
{
    struct err_text why;
    struct slice reply;
    arena_reset(&c->arena);
    command->session = c->session;
    if (c->session != 0) {
        command->acked = c->seq;
        command->seq = ++c->seq;
    }
    struct rpc_call *call = ask(c, METHOD_META_CALL, wire_meta_command_encode(command, &c->arena), &reply);
    CHECK(wire_meta_reply_decode(reply, &c->arena, ret, &why) == ERR_OK);
    rpc_call_free(call);
}

void cluster_client_query(struct cluster_client *c, struct meta_query *query, struct meta_query_reply *ret)
{
    struct err_text why;
    struct slice reply;
    arena_reset(&c->arena);
    query->session = c->session;
    struct rpc_call *call = ask(c, METHOD_META_QUERY, wire_meta_query_encode(query, &c->arena), &reply);
    reply = arena_slice(&c->arena, reply);
    rpc_call_free(call);
    CHECK(wire_meta_query_reply_decode(reply, &c->arena, ret, &why) == ERR_OK);
}

void cluster_client_keepalive(struct cluster_client *c)
{
    struct slice reply;
    struct wire_keepalive keepalive = {.session = c->session};
    arena_reset(&c->arena);
    rpc_call_free(ask(c, METHOD_META_KEEPALIVE, wire_keepalive_encode(&keepalive, &c->arena), &reply));
}

void cluster_client_init(struct cluster_client *c, const uint16_t *ports, unsigned count)
{
    struct err_text why;
    *c = (struct cluster_client){.count = count, .leader = 1};
    struct wire_hello hello = {.role = WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("cluster_run")};
    struct rpc_channel_options options = {.on_hello = on_hello, .connect_timeout_ns = NS_PER_S};
    options.hello = wire_hello_encode(&hello, &c->arena);
    for (unsigned id = 1; id <= count; id++) {
        char text[32];
        snprintf(text, sizeof text, "127.0.0.1:%u", ports[id]);
        CHECK(rpc_address_parse(text, &options.address, &why) == ERR_OK);
        c->channels[id] = rpc_channel_new(&options);
    }
}

void cluster_client_open(struct cluster_client *c, const uint16_t *ports, unsigned count)
{
    cluster_client_init(c, ports, count);
    struct meta_command open = {.op = META_SESSION_OPEN};
    struct meta_reply reply;
    open.session_open.export = slice_str(META_EXPORT_DEFAULT);
    open.session_open.client = slice_str("cluster_run");
    random_bytes(open.session_open.nonce, sizeof open.session_open.nonce);
    cluster_client_call(c, &open, &reply);
    CHECK(reply.status == ERR_OK);
    c->session = reply.session;
}

void cluster_client_close(struct cluster_client *c)
{
    for (unsigned id = 1; id <= c->count; id++)
        rpc_channel_free(c->channels[id]);
    arena_free(&c->arena);
}

enum err cluster_client_once(struct cluster_client *c, unsigned node, unsigned method, struct slice message,
                             struct slice payload, struct slice *ret_message, struct slice *ret_payload)
{
    struct rpc_call *call = NULL;
    struct slice reply = {0}, data = {0};
    enum err e = rpc_channel_call(c->channels[node], (uint16_t)method, message, &payload, 1,
                                  clock_boot_ns() + 10 * NS_PER_S, NULL, &call, &reply, &data);
    if (call) {
        *ret_message = arena_slice(&c->arena, reply);
        *ret_payload = arena_slice(&c->arena, data);
        rpc_call_free(call);
    }
    return e;
}

enum err cluster_client_admin(struct cluster_client *c, unsigned node, unsigned method, struct slice message)
{
    enum err e = ERR_CLOSED;
    /* The connection to a node that was crashed is gone, which the first use of it finds out. */
    for (int attempt = 0; attempt < 2 && e == ERR_CLOSED; attempt++) {
        struct rpc_call *call = NULL;
        struct slice reply, payload;
        e = rpc_channel_call(c->channels[node], (uint16_t)method, message, NULL, 0, clock_boot_ns() + 10 * NS_PER_S,
                             NULL, &call, &reply, &payload);
        if (call)
            rpc_call_free(call);
    }
    return e;
}

enum err cluster_client_state(struct cluster_client *c, unsigned node, unsigned log_entries,
                              struct wire_admin_state *ret)
{
    struct rpc_call *call = NULL;
    struct slice reply, payload;
    struct err_text why;
    struct wire_admin_state_query query = {.log_entries = log_entries};
    arena_reset(&c->arena);
    enum err e =
        rpc_channel_call(c->channels[node], METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, &c->arena), NULL,
                         0, clock_boot_ns() + TRY_NS, NULL, &call, &reply, &payload);
    if (e == ERR_OK) {
        reply = arena_slice(&c->arena, reply);
        CHECK(wire_admin_state_decode(reply, &c->arena, ret, &why) == ERR_OK);
    }
    if (call)
        rpc_call_free(call);
    return e;
}
