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
    uint32_t level_max;        /* what this program knows (meta/level.h); 0: META_LEVEL_MAX. Tests have others */
    bool lose_unflushed;       /* tests: a close keeps only what a crash at that moment would keep; its files follow
                                  from what was applied and flushed alone */
};

/* ERR_LEVEL, with why: the state is of a higher level than level_max. */
enum err meta_open(const struct meta_options *options, struct meta **ret, struct err_text *why) MUST_USE;
void meta_close(struct meta *m);

/* index must be meta_applied_index + 1, term that of the entry. ERR_LEVEL, and nothing is applied: the command is of a
 * higher level than level_max. */
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
/* What was applied so far is with RocksDB from now on, in memory; the newest rows are kept from it for a while, many
 * to a batch (meta/recent.h). For meta_checkpoint; what else needs it does it by itself. */
enum err meta_write_out(struct meta *m) MUST_USE;
/* Starts a flush in the background, so that the flushed index moves and the log can be cut. */
enum err meta_flush(struct meta *m, bool wait) MUST_USE;
void meta_chain_hash(const struct meta *m, struct sha256 *ret); /* at the applied index */
/* The first 8 bytes (big-endian) of the chain hash as of an entry that was among the last META_CHAINS_KEPT applied by
 * this process, or the one that it was opened with. False: not known any more, or not yet. */
#define META_CHAINS_KEPT 16384u
bool meta_chain_at(const struct meta *m, uint64_t index, uint64_t *ret);

/* ---- snapshots ---- */

/* A copy of the state as of the last meta_write_out or a later index, by hard links, in a directory that must not
 * exist. Also flushes. For any thread, while the owner goes on applying. ERR_IO, ERR_NOSPC, ERR_EXIST with why; then
 * nothing of it is left. */
enum err meta_checkpoint(struct meta *m, const char *path, struct err_text *why) MUST_USE;
/* What a state that nobody has open holds: read from inside, nothing is changed. ERR_CORRUPT, ERR_IO, ERR_NOT_FOUND
 * with why. Any thread. */
struct meta_snapshot_info {
    uint32_t level;       /* when it is over META_LEVEL_MAX nothing else is known */
    uint64_t index, term; /* of the last applied entry */
    uint64_t config_index;
    struct slice config; /* in the arena; empty: none */
};
enum err meta_inspect(const char *path, struct arena *arena, struct meta_snapshot_info *ret,
                      struct err_text *why) MUST_USE;

/* ret's arrays live in the arena. The return value is for operating errors; outcomes are in ret->status. */
enum err meta_query(struct meta *m, const struct meta_query *query, struct arena *arena,
                    struct meta_query_reply *ret) MUST_USE;

/* Locks that were waited for and have been given by the last apply: their tickets. Valid until the next one. There may
 * be more of them than are told. */
#define META_GRANTS_KEPT 512u
const uint64_t *meta_lock_grants(const struct meta *m, unsigned *ret_count);
/* Inodes that the last apply or query looked at, and those that an apply wrote, one may be there twice; of a request
 * that was answered from its kept reply, none. Valid until the next apply or query. */
struct meta_touched {
    const uint64_t *seen, *wrote;
    size_t seen_count, wrote_count;
};
void meta_touched(const struct meta *m, struct meta_touched *ret);

/* What the last apply has done to keys, in its order. Keys are borrowed from the command or until the next apply. */
const struct meta_kv_event *meta_kv_events(const struct meta *m, unsigned *ret_count);
/* When the next key expires, by the time in the log; INT64_MAX: none does. While that is later than now_ns, it may be
 * too early: this is how looking for it costs nothing. */
enum err meta_kv_expiry(struct meta *m, int64_t now_ns, int64_t *ret_ns) MUST_USE;
int64_t meta_log_time_ns(const struct meta *m); /* of the last applied entry */

/* Where an inode is, in the applied state: one of its names, which is empty when there is none, it is not known, or
 * there is no such inode. */
struct meta_place {
    uint64_t parent;
    struct slice name; /* in the arena */
};
enum err meta_place(struct meta *m, uint64_t ino, struct arena *arena, struct meta_place *ret) MUST_USE;
/* What a session has called itself; empty: it has ended. */
enum err meta_session_client(struct meta *m, uint64_t session, struct arena *arena, struct slice *ret) MUST_USE;

bool meta_initialised(const struct meta *m); /* META_INIT has been applied */
uint32_t meta_level(const struct meta *m);   /* of the applied state: what the cluster may use */
/* How far the collection of blocks is (blockstore/collect.h). */
struct meta_collection {
    uint64_t epoch;          /* 0: there is no cluster yet */
    uint64_t released;       /* how often an extent has let go of its block */
    uint64_t released_epoch; /* when one did so last; 0: never */
};
void meta_collection(const struct meta *m, struct meta_collection *ret);
/* The next dead contents to reap, if any: the leader proposes META_REAP for it. */
bool meta_reap_pending(struct meta *m, uint64_t *ret_content_id);
/* Whether a session's request needs no answer any more: it has its reply, which may be forgotten already, or the
 * session has ended. */
enum err meta_request_is_over(struct meta *m, uint64_t session, uint64_t seq, bool *ret) MUST_USE;
/* Unlinked inodes that are kept since they may be open, by number from `from` on: up to max. */
enum err meta_orphans(struct meta *m, uint64_t from, uint64_t *inos, unsigned max, unsigned *ret_count) MUST_USE;
/* SHA-256 over all rows in key order: for tests and for comparing replicas. Slow. */
enum err meta_state_hash(struct meta *m, struct sha256 *ret) MUST_USE;

/* ---- whether the state is sound ---- */

/* The state as of its applied index, for another thread to query and check while the owner goes on applying. To be
 * opened by the owner's thread, and closed before m is, by any. */
struct meta *meta_view_open(struct meta *m);
void meta_view_close(struct meta *view);

#define META_PROBLEMS_KEPT 32u
struct meta_check {
    bool (*on_row)(
        void *context); /* for each row that is read; true: the check ends with CANCELLED. NULL: it never does */
    void *context;
    uint64_t inodes, hashes; /* how many are held in memory at once; 0: so many that it takes some 64 MiB */
};
struct meta_report {
    uint64_t index;             /* of the state that was checked */
    struct sha256 chain, state; /* its chain hash, and that of all rows (meta_state_hash) */
    uint64_t inodes, bytes, names, extents, blocks, orphans, sessions, dead; /* dead: contents that wait to be reaped */
    uint64_t keys, kv_bytes;                                                 /* of the key/value space */
    enum err unread; /* a table could not be read to its end, and what follows was not looked at */
    uint64_t problem_count;
    struct err_text problems[META_PROBLEMS_KEPT]; /* the first ones */
};
/* Whether the rows agree with one another: names and inodes, directories and the root, links, sizes, extents, reference
 * counts, orphans, extended attributes, locks, sessions, keys, totals. ERR_OK: *ret says what was found. Memory is
 * bounded whatever the number of inodes and extents; the tables are read once more for each such number that does not
 * fit at once. */
enum err meta_check(struct meta *m, struct meta_check *check, struct meta_report *ret) MUST_USE;
/* The same for tests: ERR_CORRUPT with the first contradiction in why. */
enum err meta_verify(struct meta *m, struct err_text *why) MUST_USE;

/* Which of the blocks that extents name, and whose bytes are not in the metadata, come behind *after and not behind
 * *upto, in order: at most max. *ret_through: all up to it have been looked at; it is *upto at the end. Bounded work,
 * whatever the number of rows. */
enum err meta_server_blocks(struct meta *m, const struct sha256 *after, const struct sha256 *upto, unsigned max,
                            struct sha256 *ret, unsigned *ret_count, struct sha256 *ret_through) MUST_USE;
/* Whether that is so of these. */
enum err meta_are_server_blocks(struct meta *m, const struct sha256 *blocks, unsigned count, bool *ret) MUST_USE;
/* The files that name any of these blocks, up to max: reads all extents and inodes. Dead contents have no file. */
#define META_BLOCK_USES_MAX 256u
struct meta_block_use {
    unsigned block; /* index of the one that was asked for */
    uint64_t ino, offset;
    struct slice path; /* in the arena; empty: not known, or unlinked */
};
enum err meta_block_uses(struct meta *m, struct meta_check *check, const struct sha256 *blocks, unsigned count,
                         unsigned max, struct arena *arena, struct meta_block_use *ret, unsigned *ret_count) MUST_USE;
/* A page of the tree. Of a view or of the state itself; bounded work and memory, whatever the tree. NOENT: no such
 * path. INVAL: `after` is not below it. CANCELLED. */
enum err meta_files(struct meta *m, struct meta_check *check, const struct meta_files_query *query, struct arena *arena,
                    struct meta_files *ret) MUST_USE;
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
