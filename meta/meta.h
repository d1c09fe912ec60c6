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
#include "base/plant.h"
#include "meta/types.h"

struct meta;

struct meta_options {
    const char *path;
    size_t cache_bytes;        /* block cache; 0: 32 MiB */
    size_t write_buffer_bytes; /* 0: 16 MiB */
    bool lose_unflushed;       /* tests: a close keeps only what a crash at that moment would keep */
};

enum err meta_open(const struct meta_options *options, struct meta **ret, struct err_text *why) MUST_USE;
void meta_close(struct meta *m);

/* index must be meta_applied_index + 1, term that of the entry. */
enum err meta_apply(struct meta *m, uint64_t index, uint64_t term, const struct meta_command *command,
                    struct meta_reply *ret) MUST_USE;
/* An entry that changes nothing (no-op): only the index moves. */
enum err meta_apply_nothing(struct meta *m, uint64_t index, uint64_t term) MUST_USE;
/* An entry with a configuration of the raft group. The state keeps the newest as it is, for restarts and snapshots. */
enum err meta_apply_config(struct meta *m, uint64_t index, uint64_t term, struct slice config) MUST_USE;

uint64_t meta_applied_index(const struct meta *m);
uint64_t meta_applied_term(const struct meta *m); /* of that entry; 0: none */
/* The newest configuration that was applied, and the index of its entry; index 0 and an empty slice: none. */
enum err meta_config(struct meta *m, struct arena *arena, struct slice *ret, uint64_t *ret_index) MUST_USE;
/* What survives a crash at this moment; <= applied. */
enum err meta_flushed_index(struct meta *m, uint64_t *ret) MUST_USE;
/* Starts a flush in the background, so that the flushed index moves and the log can be cut. */
enum err meta_flush(struct meta *m, bool wait) MUST_USE;
void meta_chain_hash(const struct meta *m, struct sha256 *ret); /* at the applied index */
/* The first 8 bytes (big-endian) of the chain hash as of an entry that was among the last META_CHAINS_KEPT applied by
 * this process, or the one that it was opened with. False: not known any more, or not yet. */
#define META_CHAINS_KEPT 16384u
bool meta_chain_at(const struct meta *m, uint64_t index, uint64_t *ret);

/* ---- snapshots ---- */

/* A copy of the state as of its applied index or a later one, by hard links, in a directory that must not exist. Also
 * flushes. For any thread, while the owner goes on applying. ERR_IO, ERR_NOSPC, ERR_EXIST with why; then nothing of it
 * is left. */
enum err meta_checkpoint(struct meta *m, const char *path, struct err_text *why) MUST_USE;
/* What a state that nobody has open holds: read from inside, nothing is changed. ERR_CORRUPT, ERR_IO, ERR_NOT_FOUND
 * with why. Any thread. */
struct meta_snapshot_info {
    uint64_t index, term; /* of the last applied entry */
    uint64_t config_index;
    struct slice config; /* in the arena; empty: none */
};
enum err meta_inspect(const char *path, struct arena *arena, struct meta_snapshot_info *ret,
                      struct err_text *why) MUST_USE;

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

#ifdef SURF_PLANTS
/* Planted bugs of an installed snapshot: it lacks the replies; it keeps a name that the state before it had. */
void meta_plant_forget_replies(struct meta *m);
void meta_plant_keep_name(struct meta *m, bool restore);
#else
#define meta_plant_forget_replies(m) ((void)(m))
#define meta_plant_keep_name(m, restore) ((void)(m))
#endif
