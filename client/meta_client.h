/* meta_client.h: this mount's conversation with the metastore: finding the leader, one session, exactly-once calls.
 *
 * A call is repeated under its number until its outcome is known: over leader changes, lost connections and refusals of
 * class RETRY, LEADER and WAIT. It ends without an outcome only when
 *   - it is cancelled (ERR_CANCELLED): a command is then resolved in the background under the same number, so that the
 *     reply window doesn't stand still, and its effects may still happen;
 *   - the session has expired (ERR_SESSION_EXPIRED): the command is never issued again under another session; new calls
 *     go on under a new session, which is opened in the background;
 *   - options.soft_timeout_ns has passed (ERR_TIMEOUT; resolved in the background too).
 * At most LIMIT_REPLY_WINDOW / 2 commands are under way; more wait for room.
 *
 * Thread-safe. One background thread: keepalives (every third of the lease term of 2 s), resolving, refreshing the
 * cluster map.
 */
#pragma once

#include "base/arena.h"
#include "meta/types.h"
#include "rpc/address.h"
#include "rpc/channel.h"

struct meta_client;

struct meta_client_options {
    const struct rpc_address *servers; /* metastore members; those learned from hints are added */
    size_t server_count;
    const char *export_name;
    const char *client_name; /* for people: host:mountpoint */
    int64_t open_timeout_ns; /* for meta_client_open; then ERR_TIMEOUT with why */
    int64_t soft_timeout_ns; /* 0: hard, wait for ever */
    /* Called (background thread) when the session has expired: what was under way has failed, what this session held
     * (unlinked open inodes) is gone. A new session is then opened in the background; new calls wait for it. */
    void (*on_expired)(void *context);
    /* Called (background thread) with the reply of a command whose caller had to leave without it. May be NULL. */
    void (*on_resolved)(void *context, enum meta_op op, const struct meta_reply *reply);
    /* Called during meta_client_open, at most once a second, with what it waits for. */
    void (*on_waiting)(void *context, const char *text);
    void *context;
};

/* Opens the session. ERR_NO_EXPORT, ERR_TIMEOUT, ... with why. *ret_root: attributes of the export's root. */
enum err meta_client_open(const struct meta_client_options *options, struct meta_client **ret,
                          struct meta_attr *ret_root, struct err_text *why) MUST_USE;
/* Ends the session (briefly waits: at most 2 s) and frees. */
void meta_client_close(struct meta_client *c);

/* session, seq and acked of the command are filled in. On ERR_OK ret->status is the outcome. */
enum err meta_client_call(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                          struct meta_reply *ret) MUST_USE;
/* Arrays in ret live in the arena. On ERR_OK ret->status is the outcome. */
enum err meta_client_query(struct meta_client *c, struct meta_query *query, struct rpc_cancel *cancel,
                           struct arena *arena, struct meta_query_reply *ret) MUST_USE;

uint64_t
meta_client_session(struct meta_client *c); /* 0 while the old one has expired and the new one isn't open yet */

/* The block servers, as last learned: an immutable snapshot, shared by reference count. */
struct cluster_map {
    uint64_t version;
    unsigned replicas, server_count;
    struct meta_block_server servers[LIMIT_BLOCK_SERVERS];
};
const struct cluster_map *meta_client_map_get(struct meta_client *c); /* to be released; never NULL after open */
void meta_client_map_release(struct meta_client *c, const struct cluster_map *m);
/* Asks again now; for one who found no usable server. */
enum err meta_client_map_refresh(struct meta_client *c, struct rpc_cancel *cancel) MUST_USE;
