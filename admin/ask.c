#include "admin/admin.h"

#include "base/clock.h"

#define CONNECT_TIMEOUT_NS (1 * NS_PER_S)

static enum err accept_hello(void *context, struct slice hello, struct err_text *why)
{
    struct admin *a = context;
    struct wire_hello h;
    return wire_hello_decode(hello, &a->arena, &h, why);
}

enum err admin_ask(struct admin *a, const char *address, unsigned method, struct slice message, int64_t timeout_ns,
                   struct slice *ret_message, struct err_text *why)
{
    struct wire_hello hello = {.role = WIRE_ROLE_ADMIN,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .name = slice_str("surfctl")};
    struct rpc_channel_options options = {.hello = wire_hello_encode(&hello, &a->arena),
                                          .on_hello = accept_hello,
                                          .context = a,
                                          .connect_timeout_ns =
                                              timeout_ns < CONNECT_TIMEOUT_NS ? timeout_ns : CONNECT_TIMEOUT_NS};
    TRY(rpc_address_parse(address, &options.address, why));
    struct rpc_channel *channel = rpc_channel_new(&options);
    struct rpc_call *call = NULL;
    struct slice answer = {NULL, 0}, payload;
    enum err e = rpc_channel_call(channel, (uint16_t)method, message, NULL, 0, clock_boot_ns() + timeout_ns, NULL,
                                  &call, &answer, &payload);
    if (e == ERR_OK) {
        *ret_message = arena_slice(&a->arena, answer);
    } else {
        struct wire_error detail = {0};
        if (call)
            wire_error_decode(answer, &a->arena, &detail);
        if (detail.text.size > 0)
            e = err_explain(why, e, "%s: %.*s", address, (int)detail.text.size, (const char *)detail.text.data);
        else
            e = err_explain(why, e, "%s: %s", address, err_message(e));
    }
    if (call)
        rpc_call_free(call);
    rpc_channel_free(channel);
    return e;
}

enum err admin_ask_state(struct admin *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                         struct wire_admin_state *ret, struct err_text *why)
{
    struct wire_admin_state_query query = {.log_entries = log_entries};
    struct slice message;
    TRY(admin_ask(a, address, METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, &a->arena), timeout_ns,
                  &message, why));
    return wire_admin_state_decode(message, &a->arena, ret, why);
}
