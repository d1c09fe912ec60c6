#include "base/mem.h"
#include "rpc/channel_internal.h"
#include "rpc/lookup.h"

struct lookup_wait {
    struct rpc_lookup_turn turn;
    struct channel_waiter *waiter;
};

static void on_ended(struct rpc_lookup_turn *turn)
{
    waiter_signal(container_of(turn, struct lookup_wait, turn)->waiter);
}

enum err channel_lookup(const struct rpc_address *a, int64_t deadline_ns, struct channel_waiter *w,
                        struct sockaddr_storage *ret, socklen_t *ret_size, struct err_text *why)
{
    if (rpc_address_numeric(a, ret, ret_size))
        return ERR_OK;
    struct lookup_wait wait = {.turn.ended = on_ended, .waiter = w};
    TRY(rpc_lookup_join(a, &wait.turn, why));
    enum err e = ERR_OK;
    while (e == ERR_OK && !rpc_lookup_has_ended(&wait.turn))
        e = waiter_sleep(w, -1, 0, deadline_ns);
    /* Who was interrupted in the moment in which it ended has it all the same. */
    enum err result = rpc_lookup_leave(&wait.turn, ret, ret_size, why);
    return result == ERR_TIMEOUT ? e : result;
}
