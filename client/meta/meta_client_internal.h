/* meta_client_internal.h: what the parts of the metadata client share. meta_client.c makes calls, meta_client_session.c
 * opens, ends and numbers, meta_client_background.c is the background thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "client/block/cluster_map.h"
#include "client/meta/meta_client.h"
#include "client/meta/meta_client_route.h"
#include "client/meta/session_window.h"
#include "proto/wire_meta.h"

#define META_KEEPALIVE_NS (2 * NS_PER_S / 3) /* a third of the lease term */
#define META_KEEPALIVE_TRY_NS (600 * NS_PER_MS)
#define META_RESOLVE_NS (100 * NS_PER_MS) /* between rounds over commands whose outcome is unknown */
#define META_RESOLVE_TRY_NS (500 * NS_PER_MS)
#define META_REOPEN_TRY_NS (5 * NS_PER_S)
#define META_CLOSE_NS (2 * NS_PER_S)

/* A command whose caller has left; kept until its outcome is known or its session has expired. Bounded by the window.
 */
struct unresolved_command {
    struct list_node node; /* in meta_client.unresolved */
    uint64_t session, seq;
    enum meta_op op;
    struct bytes message; /* the encoded command */
    bool kept;            /* its outcome is for meta_client_outcome: */
    enum err result;      /* ERR_OK: reply is it */
    struct meta_reply reply;
};

struct meta_client {
    struct meta_client_options options; /* strings are our copies; servers is NULL */
    atomic_ullong calls;
    atomic_ullong epoch; /* of collection: the largest that was told */
    atomic_uint export_options;
    struct meta_route route;       /* to the leader */
    struct meta_route query_route; /* of queries, when options.read_from_any */
    struct cluster_map_holder map;
    atomic_bool voter_reached[ROUTE_MEMBERS]; /* by the channels of route: it may be asked for an early word */

    pthread_mutex_t lock;   /* protects all below; held over no call */
    pthread_cond_t changed; /* something below has */
    uint64_t session;       /* 0: expired, the next one is being opened */
    uint64_t last_session;  /* the same, or the one that was before */
    uint64_t expired;       /* the session whose expiry has not been told yet, or 0 */
    struct session_window window;
    struct list unresolved;
    struct list outcomes; /* struct unresolved_command, of those that are kept; no more than callers wait for */
    unsigned behind;      /* requests whose callers have gone on, since the put is durable (meta_client_put.c) */
    bool stopping, refreshing;
    uint64_t refreshes;  /* of the map, finished well */
    uint64_t attachment; /* of the session, 0: none; written by the lease thread only */

    struct rpc_cancel *stop, *lease_stop; /* fired when stopping */
    bool lease_stopping;
    unsigned reach_rounds; /* over all members, since the first early put */
    pthread_t thread, lease_thread, reach_thread;
    bool thread_running, lease_thread_running, reach_running;
};

/* Opens a session under a fresh nonce and makes it the current one. */
enum err meta_session_open(struct meta_client *c, const struct meta_request *request,
                           struct meta_attr *ret_root) MUST_USE;
/* Says goodbye, for at most META_CLOSE_NS; the session then expires by itself. */
void meta_session_end(struct meta_client *c);
/* Fills session, seq and acked; waits for a session and for room in its window. */
enum err meta_session_begin(struct meta_client *c, struct meta_command *command, int64_t give_up_ns,
                            const struct rpc_cancel *cancel) MUST_USE;
/* The outcome is known, or will never be. */
void meta_session_finish(struct meta_client *c, uint64_t session, uint64_t seq);
/* The caller leaves; the background thread goes on. kept: and keeps the outcome for meta_client_outcome. */
void meta_session_leave(struct meta_client *c, const struct meta_command *command, struct slice message, bool kept);
void meta_session_expired(struct meta_client *c, uint64_t session);

/* The caller of a command goes: what becomes of its number follows from how it ended. kept: as above. */
void meta_client_ended(struct meta_client *c, const struct meta_command *command, struct slice message, enum err e,
                       bool kept);
void meta_put_stop(struct meta_client *c); /* `stopping` is set */
void meta_put_wait_behind(struct meta_client *c);
/* No thread of the client runs any more. */
void meta_unresolved_drop(struct meta_client *c);
void meta_epoch_told(struct meta_client *c, uint64_t epoch);
/* One encoded command until its outcome is known. */
enum err meta_client_repeat(struct meta_client *c, const struct meta_request *request, struct meta_reply *ret) MUST_USE;

/* One try: the session is alive; its attachment is renewed, or one begun. */
enum err meta_keepalive(struct meta_client *c, const struct wire_keepalive *asked, struct rpc_cancel *cancel,
                        struct wire_keepalive_reply *ret) MUST_USE;

void meta_lease_start(struct meta_client *c);
void meta_lease_stop(struct meta_client *c);
void meta_background_start(struct meta_client *c);
void meta_background_stop(struct meta_client *c);
