/* block_client.h: blocks to and from the replicated block servers.
 *
 * put: each block goes to the first `replicas` servers in its rendezvous order (blockstore/placement.h); when one of
 * them is down the next in order takes the copy. Returns when a majority of the replicas has it (durable, or received
 * for a later sync); the others finish in the background. get: the servers in order, though an owner on this machine
 * first, the next one when one is down, lacks the block or gives bytes whose SHA-256 is not the id (logged); a slow
 * server is overtaken by asking the next after 100 ms, and then asked last for a second, and twice as long each time
 * that it is too slow again. A server that failed is tried last for 1 s; what it may have unanswered after that begins
 * with little and grows with each answer.
 *
 * With fewer reachable servers than a majority of the replicas, both wait and repeat until cancel or the soft time-out.
 * Thread-safe; no thread of its own. */
#pragma once

#include <stdatomic.h>

#include "base/hash.h"
#include "client/meta/meta_client.h"

struct block_client;

struct block_client *block_client_new(struct meta_client *meta, int64_t soft_timeout_ns);
void block_client_free(struct block_client *c);

/* Bytes of one block, shared and immutable. Reference counts are thread-safe. */
struct block_buffer {
    atomic_uint references;
    struct sha256 id;
    struct slice data;
    void *memory; /* owned; data lies in it */
};
/* Takes `data` (from mem_alloc) over and hashes it. One reference. */
struct block_buffer *block_buffer_new(void *data, size_t size);
/* The same for data that lies somewhere in `memory`, which is taken over. */
struct block_buffer *block_buffer_within(void *memory, struct slice data);
struct block_buffer *block_buffer_ref(struct block_buffer *b);
void block_buffer_unref(struct block_buffer *b); /* NULL is allowed */

/* All of them durable on a majority when it returns ERR_OK: durable puts, many small ones in a frame. */
enum err block_client_put_durable(struct block_client *c, struct block_buffer *const *blocks, size_t count,
                                  struct rpc_cancel *cancel) MUST_USE;
/* The same for many that nobody waits for: with few syncs also where each goes to other servers. */
enum err block_client_put_batch(struct block_client *c, struct block_buffer *const *blocks, size_t count,
                                struct rpc_cancel *cancel) MUST_USE;
/* For streams: a put that is received by a majority, made durable by a later block_tracker_sync. The tracker remembers
 * which servers took what under which boot id, and puts again what a restart may have lost; it keeps a reference to
 * each block until then. At most 64 MiB are unsynced: a put beyond that syncs first. Thread-safe. */
struct block_tracker;
struct block_tracker *block_tracker_new(struct block_client *c);
void block_tracker_free(struct block_tracker *t);
enum err block_tracker_put(struct block_tracker *t, struct block_buffer *block, struct rpc_cancel *cancel) MUST_USE;
enum err block_tracker_sync(struct block_tracker *t, struct rpc_cancel *cancel) MUST_USE;

/* The whole block, verified; one reference. ERR_NOT_FOUND when every server has answered and none has it intact; while
 * some can't be reached it waits for them. */
enum err block_client_get(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                          struct block_buffer **ret) MUST_USE;

/* Many blocks, whose ids differ: small ones share requests. Each is given to `take` as it comes, in any order, on the
 * calling thread; who keeps it takes a reference. ERR_OK when all were; else what is wrong with one that was not. */
enum err block_client_get_many(struct block_client *c, const struct sha256 *ids, size_t count,
                               struct rpc_cancel *cancel,
                               void (*take)(void *context, size_t index, struct block_buffer *block),
                               void *context) MUST_USE;
/* The same without those that two servers each have not brought soon: it waits for none that can't be reached now.
 * ERR_OK, or ERR_CANCELLED. */
enum err block_client_get_together(struct block_client *c, const struct sha256 *ids, size_t count,
                                   struct rpc_cancel *cancel,
                                   void (*take)(void *context, size_t index, struct block_buffer *block),
                                   void *context) MUST_USE;

struct block_client_space {
    uint64_t total, free; /* bytes: sums over the servers, divided by the replicas */
    uint64_t available;   /* that can be written, each with as many copies as there shall be; less than what is free,
                             since   servers keep some of it, and by more when one of them has less room than others */
};
/* Cached for 2 s. */
enum err block_client_space(struct block_client *c, struct rpc_cancel *cancel, struct block_client_space *ret) MUST_USE;
