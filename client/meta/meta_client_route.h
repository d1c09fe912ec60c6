/* meta_client_route.h: which metastore member is asked, and for how long. One channel per member; the one that answered
 * last is asked first. Thread-safe; no lock is held over a call. */
#pragma once

#include <pthread.h>

#include "base/arena.h"
#include "client/meta/route_choice.h"
#include "proto/wire_common.h"
#include "rpc/address.h"
#include "rpc/channel.h"

struct meta_route {
    pthread_mutex_t lock; /* protects all below; channels once entered stay, and are thread-safe themselves */
    struct rpc_channel *channels[ROUTE_MEMBERS];
    struct rpc_channel *held[ROUTE_MEMBERS]; /* to the same members, for requests that are held there */
    struct route_choice choice;              /* by the same numbers as channels */
    bool has_cluster_id;
    uint8_t cluster_id[16];
    struct prng prng;
    struct arena arena; /* of hello */
    struct slice hello;
};

void meta_route_init(struct meta_route *r, const struct rpc_address *servers, size_t count, const char *client_name);
void meta_route_close(struct meta_route *r);
/* The first request goes to any of the servers, not to the first. */
void meta_route_begin_anywhere(struct meta_route *r);

struct meta_request {
    uint16_t method;
    struct slice message;
    int64_t give_up_ns; /* clock_boot_ns; 0: never */
    struct rpc_cancel *cancel;
    /* The member holds it until there is something to say. Who waits for it would read the answers of all others on the
     * connection, and hand each on to the thread that it is for (rpc/channel.h): it goes over another one. */
    bool held;
    /* NULL, or set when a member may have put the request into the log without saying so. */
    bool *ret_maybe;
    /* NULL, or called after a failed try, at most once a second, with what is waited for. */
    void (*waiting)(void *context, const char *text);
    void *context;
};

/* Asks member after member until one of them has served the request. ERR_OK: *ret_call is to be freed, *ret_message
 * lives in it. Else a FINAL or GIVE_UP status of a server, ERR_CANCELLED or ERR_TIMEOUT, where the request may still
 * take effect. */
enum err meta_route_call(struct meta_route *r, const struct meta_request *request, struct rpc_call **ret_call,
                         struct slice *ret_message) MUST_USE;
/* The channels to all members that are known, which stay, and which of them is asked first. Returns how many. */
size_t meta_route_channels(struct meta_route *r, struct rpc_channel *ret[ROUTE_MEMBERS], size_t *ret_current);
/* These are the members now: those that were not known can be asked from now on. */
void meta_route_learn(struct meta_route *r, const struct wire_members *members);
/* From now on members of another cluster are refused. */
void meta_route_set_cluster(struct meta_route *r, const uint8_t cluster_id[16]);
void meta_route_cluster(struct meta_route *r, uint8_t ret_id[16]); /* zero: not known yet */
/* "waiting for HOST:PORT (why), HOST:PORT (why)"; always terminated. */
void meta_route_describe(struct meta_route *r, char *to, size_t size);
/* Sleeps; ERR_CANCELLED when cancel fires meanwhile. */
enum err meta_route_pause(int64_t duration_ns, const struct rpc_cancel *cancel) MUST_USE;
