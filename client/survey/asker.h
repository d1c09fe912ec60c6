/* asker.h: questions to single nodes in the words of administration, for surfctl and for the gateways of a node.
 *
 * A struct asker is the caller's and says where answers live; one thread at a time uses one (and its arena). */
#pragma once

#include "base/arena.h"
#include "proto/methods.h"
#include "proto/wire_admin.h"
#include "rpc/address.h"
#include "rpc/channel.h"

struct asker {
    const struct rpc_address *servers; /* who is asked first: at most LIMIT_NODES */
    size_t server_count;
    int64_t timeout_ns; /* for what is asked as a whole */
    const char *name;   /* what it says it is, for people */
    struct arena *arena;
};

/* A connection to one address, for several requests. NULL: it is no address. */
struct rpc_channel *asker_channel(const struct asker *a, const char *address, int64_t timeout_ns, struct err_text *why);
/* One request. On ERR_OK *ret_message is in the arena; a refusal's words are in why. */
enum err asker_call(const struct asker *a, struct rpc_channel *channel, unsigned method, struct slice message,
                    int64_t timeout_ns, struct slice *ret_message, struct err_text *why) MUST_USE;
/* One request to one address. On ERR_OK *ret_message is in the arena; a refusal's words are in why. */
enum err asker_ask(const struct asker *a, const char *address, unsigned method, struct slice message,
                   int64_t timeout_ns, struct slice *ret_message, struct err_text *why) MUST_USE;
enum err asker_state(const struct asker *a, const char *address, unsigned log_entries, int64_t timeout_ns,
                     struct wire_admin_state *ret, struct err_text *why) MUST_USE;
