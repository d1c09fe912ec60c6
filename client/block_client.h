/* block_client.h: blocks to and from the replicated block servers.
 *
 * put: each block goes to the first `replicas` servers in its rendezvous order (blockstore/placement.h); when one of them
 * is down the next in order takes the copy. Returns when a majority of the replicas has it (durable, or received for a
 * later sync); the others finish in the background. get: the servers in order, the next one when one is down, lacks the
 * block or gives bytes whose SHA-256 is not the id (logged); a slow server is overtaken by asking the next after 100 ms.
 * A server that failed is tried last for 1 s.
 *
 * With fewer reachable servers than a majority of the replicas, both wait and repeat until cancel or the soft time-out.
 * Thread-safe; no thread of its own. */
#pragma once

#include "base/hash.h"
#include "client/meta_client.h"

struct block_client;

struct block_client *block_client_new(struct meta_client *meta, int64_t soft_timeout_ns);
void block_client_free(struct block_client *c);

struct block_put_item {
    struct sha256 id;
    struct slice data;
};
/* All of them durable on a majority when it returns ERR_OK. Chooses by size: small ones as durable puts, many or large
 * ones as unsynced puts and one sync per server (with the boot id checked in between). */
enum err block_client_put_durable(struct block_client *c, const struct block_put_item *items, size_t count,
                                  struct rpc_cancel *cancel) MUST_USE;
/* For streams: a put that is received by a majority, made durable by a later block_client_sync of the same tracker.
 * The tracker remembers which servers took what under which boot id, and puts again what a restart may have lost: so
 * the data of unsynced blocks must stay readable through `data` until the sync (the tracker keeps a reference). */
struct block_tracker;
struct block_tracker *block_tracker_new(struct block_client *c);
void block_tracker_free(struct block_tracker *t);
/* Takes ownership of *data (moved from). At most 64 MiB may be unsynced in a tracker: then it syncs by itself. */
enum err block_tracker_put(struct block_tracker *t, const struct sha256 *id, struct bytes *data,
                           struct rpc_cancel *cancel) MUST_USE;
enum err block_tracker_sync(struct block_tracker *t, struct rpc_cancel *cancel) MUST_USE;

/* The whole block, verified; *ret is appended to nothing: its old content is replaced. ERR_NOT_FOUND when every reachable
 * server lacks it. */
enum err block_client_get(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                          struct bytes *ret) MUST_USE;

struct block_client_space {
    uint64_t total, free; /* bytes as a user can count on them: sums over the servers, divided by the replicas */
};
/* Cached for 2 s. */
enum err block_client_space(struct block_client *c, struct rpc_cancel *cancel, struct block_client_space *ret) MUST_USE;
