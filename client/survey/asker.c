#include "client/survey/asker.h"

#include "base/clock.h"

#define CONNECT_TIMEOUT_NS (1 * NS_PER_S)

static enum err accept_hello(void *context, struct slice hello, struct err_text *why)
{
    (void)context;
    struct arena arena = {0}; /* a channel outlives what it was made with */
    struct wire_hello h;
    enum err e = wire_hello_decode(hello, &arena, &h, why);
    arena_free(&arena);
    return e;
}

struct rpc_channel *asker_channel(const struct asker *a, const char *address, int64_t timeout_ns, struct err_text *why)
{
    struct wire_hello hello = {.role = WIRE_ROLE_ADMIN,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str(a->name)};
    struct rpc_channel_options options = {.hello = wire_hello_encode(&hello, a->arena),
                                          .on_hello = accept_hello,
                                          .connect_timeout_ns =
                                              timeout_ns < CONNECT_TIMEOUT_NS ? timeout_ns : CONNECT_TIMEOUT_NS};
    return rpc_address_parse(address, &options.address, why) == ERR_OK ? rpc_channel_new(&options) : NULL;
}

enum err asker_call(const struct asker *a, struct rpc_channel *channel, unsigned method, struct slice message,
                    int64_t timeout_ns, struct slice *ret_message, struct err_text *why)
{
    struct rpc_call *call = NULL;
    struct slice answer = {NULL, 0}, payload;
    enum err e = rpc_channel_call(channel, (uint16_t)method, message, NULL, 0, clock_boot_ns() + timeout_ns, NULL,
                                  &call, &answer, &payload);
    if (e == ERR_OK) {
        *ret_message = arena_slice(a->arena, answer);
    } else {
        const char *address = rpc_channel_address(channel);
        struct wire_error detail = {0};
        if (call)
            wire_error_decode(answer, a->arena, &detail);
        struct err_text reason;
        rpc_channel_explain(channel, e, &reason);
        if (detail.text.size > 0)
            e = err_explain(why, e, "%s: %.*s", address, (int)detail.text.size, (const char *)detail.text.data);
        else
            e = err_explain(why, e, "%s: %s", address, reason.text);
    }
    if (call)
        rpc_call_free(call);
    return e;
}

enum err asker_ask(const struct asker *a, const char *address, unsigned method, struct slice message,
                   int64_t timeout_ns, struct slice *ret_message, struct err_text *why)
{
    struct rpc_channel *channel = asker_channel(a, address, timeout_ns, why);
    if (!channel)
        return ERR_INVAL;
    enum err e = asker_call(a, channel, method, message, timeout_ns, ret_message, why);
    rpc_channel_free(channel);
    return e;
}

enum err asker_state(const struct asker *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                     struct wire_admin_state *ret, struct err_text *why)
{
    struct wire_admin_state_query query = {.log_entries = log_entries};
    struct slice message;
    TRY(asker_ask(a, address, METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, a->arena), timeout_ns, &message,
                  why));
    return wire_admin_state_decode(message, a->arena, ret, why);
}
