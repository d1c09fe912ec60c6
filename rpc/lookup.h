/* lookup.h: names of hosts become addresses. The C library's look-up can't be broken off and takes as long as name
 * servers let it, which is for ever if they take questions and answer none: so it runs on a thread of its own, and who
 * has waited long enough, is interrupted or ends leaves it there. One thread per name, and RPC_LOOKUPS at most in the
 * process; an answer that comes when nobody waits any more is kept for a moment. Thread-safe. */
#pragma once

#include "base/list.h"
#include "rpc/address.h"

#define RPC_LOOKUPS 16u /* under way at a time */

struct rpc_lookup;

/* Somebody who waits; its owner's memory. */
struct rpc_lookup_turn {
    struct list_node node;
    struct rpc_lookup *lookup;
    /* The look-up has ended: once, from its thread, between join and leave. A lock is held: it only wakes somebody. */
    void (*ended)(struct rpc_lookup_turn *turn);
};

/* Joins the look-up of this name, or begins one. ERR_UNREACHABLE with why: there are too many, or no threads. When it
 * has ended already, `ended` is not called. */
enum err rpc_lookup_join(const struct rpc_address *a, struct rpc_lookup_turn *turn, struct err_text *why) MUST_USE;
bool rpc_lookup_has_ended(const struct rpc_lookup_turn *turn);
/* Once after a join. ERR_TIMEOUT: it has not ended; ERR_UNREACHABLE with why: the name has no address. */
enum err rpc_lookup_leave(struct rpc_lookup_turn *turn, struct sockaddr_storage *ret, socklen_t *ret_size,
                          struct err_text *why) MUST_USE;
