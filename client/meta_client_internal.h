/* meta_client_internal.h: what the parts of the metadata client share. meta_client.c makes calls, meta_client_session.c
 * opens, ends and numbers, meta_client_background.c is the background thread. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "client/cluster_map.h"
#include "client/meta_client.h"
#include "client/meta_client_route.h"
#include "client/session_window.h"

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
    struct bytes message;
};

struct meta_client {
    struct meta_client_options options; /* strings are our copies; servers is NULL */
    struct meta_route route;
    struct cluster_map_holder map;

    pthread_mutex_t lock;   /* protects all below; held over no call */
    pthread_cond_t changed; /* something below has */
    uint64_t session;       /* 0: expired, the next one is being opened */
    uint64_t expired;       /* the session whose expiry has not been told yet, or 0 */
    struct session_window window;
    struct list unresolved;
    bool stopping, refreshing;
    uint64_t refreshes; /* of the map, finished well */

    struct rpc_cancel *stop; /* fired when stopping */
    pthread_t thread;
    bool thread_running;
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
/* The caller leaves; the background thread goes on. */
void meta_session_leave(struct meta_client *c, const struct meta_command *command, struct slice message);
void meta_session_expired(struct meta_client *c, uint64_t session);

/* One encoded command until its outcome is known. */
enum err meta_client_repeat(struct meta_client *c, const struct meta_request *request, struct meta_reply *ret) MUST_USE;

void meta_background_start(struct meta_client *c);
void meta_background_stop(struct meta_client *c);
