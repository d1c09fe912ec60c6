/* meta_client.h: this mount's conversation with the metastore: finding the leader, one session, exactly-once calls.
 *
 * A call is repeated under its number until its outcome is known: over leader changes, lost connections and refusals of
 * class RETRY, LEADER and WAIT. It ends without an outcome only when
 *   - it is cancelled (ERR_CANCELLED): a command is then resolved in the background under the same number, so that the
 *     reply window doesn't stand still, and its effects may still happen;
 *   - the session has expired (ERR_SESSION_EXPIRED): the command is never issued again under another session; new calls
 *     go on under a new session, which is opened in the background;
 *   - options.soft_timeout_ns has passed (ERR_TIMEOUT; resolved in the background too). With options.tells_not_done
 *     it is ERR_NOT_DONE when every try was refused by who had not put it into the log: then it never happens.
 * At most LIMIT_REPLY_WINDOW / 2 commands are under way; more wait for room.
 *
 * Thread-safe. One background thread: keepalives (every third of the lease term of 2 s), resolving, refreshing the
 * cluster map. With a cache a second one, which waits for notices.
 */
#pragma once

#include "base/arena.h"
#include "client/meta/known.h"
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
    bool tells_not_done;
    /* Queries go to any member, which asks the leader how far it must be (ReadIndex): as right, a little slower, and
     * the leader has less to do. */
    bool read_from_any;
    /* Called (background thread) when the session has expired: what was under way has failed, what this session held
     * (locks, unlinked inodes that are open here) is gone. A new session is then opened in the background; new calls
     * wait for it. */
    void (*on_expired)(void *context, uint64_t session);
    /* Called (background thread) with the reply of a command whose caller had to leave without it. May be NULL. Not
     * called for commands of a session that has expired. */
    void (*on_resolved)(void *context, const struct meta_command *command, const struct meta_reply *reply);
    /* Called during meta_client_open, at most once a second, with what it waits for. */
    void (*on_waiting)(void *context, const char *text);
    void *context;
    struct known *known; /* what is told is kept there, under leases; NULL: nothing is kept. Borrowed */
    /* NULL: the caller opens no files and keeps nothing. Else, on a thread of its own: somebody looks at a file that is
     * open for writing here, or has changed one, or has unlinked it. */
    void (*on_notice)(void *context, const struct meta_notice *notice);
    /* With on_notice: of the unlinked inodes that it has told of, those that are not open here any more and won't be;
     * each is said once. Returns how many, up to max. */
    unsigned (*closed_orphans)(void *context, uint64_t *inos, unsigned max);
};

/* Opens the session. ERR_NO_EXPORT, ERR_TIMEOUT, ... with why. *ret_root: attributes of the export's root. */
enum err meta_client_open(const struct meta_client_options *options, struct meta_client **ret,
                          struct meta_attr *ret_root, struct err_text *why) MUST_USE;
/* Nothing is believed from now on, and no notice is heeded any more: on_notice is not called again. */
void meta_client_stop_leases(struct meta_client *c);
/* Ends the session (briefly waits: at most 2 s) and frees. */
void meta_client_close(struct meta_client *c);

/* session, seq and acked of the command are filled in. On ERR_OK ret->status is the outcome. A command with a session
 * is for that one only: SESSION_EXPIRED when it is not the current one. */
enum err meta_client_call(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                          struct meta_reply *ret) MUST_USE;
/* As meta_client_call, for who has to know how a command ended that was cancelled or timed out: if it has a number then
 * (seq), its outcome is kept until meta_client_outcome has told it. */
enum err meta_client_call_kept(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                               struct meta_reply *ret) MUST_USE;
/* The outcome of such a command: false while it is not known, which may last as long as the metastore can't be reached.
 * *ret_result: ERR_OK, and *ret as of a call; else SESSION_EXPIRED, or what was wrong with the reply. Doesn't wait. */
bool meta_client_outcome(struct meta_client *c, uint64_t session, uint64_t seq, enum err *ret_result,
                         struct meta_reply *ret) MUST_USE;
/* As meta_client_call, for a META_KV of unconditional puts. *ret_early: enough voters have it in their durability logs,
 * which took one round trip; it will happen, and whoever reads the keys from now on sees it, but *ret has no more than
 * the status. Where members have no such logs, or are away, it is the ordinary answer. */
enum err meta_client_put(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                         struct meta_reply *ret, bool *ret_early) MUST_USE;
/* Connects to all members for that, and waits until it was tried with each, or so long. Without it the first puts are
 * ordinary ones. */
void meta_client_put_prepare(struct meta_client *c, int64_t timeout_ns);
/* Arrays in ret live in the arena. On ERR_OK ret->status is the outcome. Without a session it is the current one's. */
enum err meta_client_query(struct meta_client *c, struct meta_query *query, struct rpc_cancel *cancel,
                           struct arena *arena, struct meta_query_reply *ret) MUST_USE;

int64_t meta_client_soft_timeout_ns(const struct meta_client *c); /* 0: calls wait for ever */

/* How often the metastore was asked or told something; what keeps the session and the lease is not counted. */
uint64_t meta_client_calls(struct meta_client *c);
/* The epoch of collection, as far as is known here: what is put carries it, and what is committed names it. Taken
 * before a put, it is none that is newer than what the put carries. */
uint64_t meta_client_epoch(struct meta_client *c);
void meta_client_cluster(struct meta_client *c, uint8_t ret_id[16]);
uint64_t
meta_client_session(struct meta_client *c); /* 0 while the old one has expired and the new one isn't open yet */
uint32_t meta_client_export_options(struct meta_client *c); /* as they were when the last session was opened */
uint64_t meta_client_last_session(struct meta_client *c);   /* the old one meanwhile */

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
