/* meta.h: the replicated state machine on RocksDB. Deterministic: the same commands at the same indexes give the same
 * rows, replies and chain hash on every replica. Key table: meta/schema.h.
 *
 * Every apply is one write batch that carries the applied index, WAL off: after a crash the state is that of some
 * earlier applied index, and the raft log from there on is applied again. Nothing below meta_flushed_index is needed
 * again.
 *
 * One thread at a time. Operating errors of an apply (disk, corruption) are returned by the function and are final for
 * the node; outcomes of the operation (NOENT, ...) are in reply->status.
 */
#pragma once

#include "base/arena.h"
#include "meta/types.h"

struct meta;

struct meta_options {
    const char *path;
    size_t cache_bytes;        /* block cache; 0: 32 MiB */
    size_t write_buffer_bytes; /* 0: 16 MiB */
};

enum err meta_open(const struct meta_options *options, struct meta **ret, struct err_text *why) MUST_USE;
void meta_close(struct meta *m);

/* index must be meta_applied_index + 1. A command at or below the applied index must not be given. */
enum err meta_apply(struct meta *m, uint64_t index, const struct meta_command *command,
                    struct meta_reply *ret) MUST_USE;
/* An entry that changes nothing (no-op, configuration): only the index moves. */
enum err meta_apply_nothing(struct meta *m, uint64_t index) MUST_USE;

uint64_t meta_applied_index(const struct meta *m);
/* What survives a crash at this moment; <= applied. */
enum err meta_flushed_index(struct meta *m, uint64_t *ret) MUST_USE;
/* Starts a flush in the background, so that the flushed index moves and the log can be cut. */
enum err meta_flush(struct meta *m, bool wait) MUST_USE;
void meta_chain_hash(const struct meta *m, struct sha256 *ret); /* at the applied index */

/* ret's arrays live in the arena. The return value is for operating errors; outcomes are in ret->status. */
enum err meta_query(struct meta *m, const struct meta_query *query, struct arena *arena,
                    struct meta_query_reply *ret) MUST_USE;

bool meta_initialised(const struct meta *m); /* META_INIT has been applied */
/* The next dead contents to reap, if any: the leader proposes META_REAP for it. */
bool meta_reap_pending(struct meta *m, uint64_t *ret_content_id);
/* SHA-256 over all rows in key order: for tests and for comparing replicas. Slow. */
enum err meta_state_hash(struct meta *m, struct sha256 *ret) MUST_USE;
/* Whether the rows agree with one another: names and inodes, links, sizes, extents, reference counts, orphans,
 * sessions, totals. ERR_CORRUPT with the first contradiction in why. Slow, and takes memory by the number of inodes and
 * extents: for tests and for fsck. */
enum err meta_verify(struct meta *m, struct err_text *why) MUST_USE;
/* One line for people: "create parent=1 name=\"x\" mode=100644 session=7/12". Always terminated. */
void meta_command_describe(const struct meta_command *c, char *to, size_t size);
