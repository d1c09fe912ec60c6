#include "base/clock.h"
#include "base/log.h"
#include "client/kv/kv.h"
#include "client/meta/meta_client_internal.h"
#include "proto/methods.h"
#include "proto/wire_kv_events.h"

enum err kv_watch_next(struct meta_client *c, struct kv_watch *w, struct rpc_cancel *cancel, struct arena *arena,
                       struct kv_events *ret)
{
    if (w->prefix.size > LIMIT_KV_KEY_BYTES)
        return ERR_TOO_BIG;
    struct wire_kv_events_query query = {.prefix = w->prefix, .from_now = w->at == KV_WATCH_NOW};
    query.after = query.from_now ? 0 : w->at;
    int64_t soft_ns = c->options.soft_timeout_ns;
    struct meta_request request = {.method = METHOD_META_KV_EVENTS,
                                   .message = wire_kv_events_query_encode(&query, arena),
                                   .give_up_ns = soft_ns ? clock_boot_ns() + soft_ns : 0,
                                   .cancel = cancel,
                                   .held = true};
    struct rpc_call *call;
    struct slice message;
    struct wire_kv_events events;
    struct err_text why = {""};
    TRY(meta_route_call(&c->route, &request, &call, &message));
    message = arena_slice(arena, message);
    rpc_call_free(call);
    TRY(wire_kv_events_decode(message, arena, &events, &why));
    w->at = events.through;
    *ret = (struct kv_events){.list = events.list, .count = events.count, .missed_upto = events.missed_upto};
    return ERR_OK;
}
