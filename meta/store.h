/* store.h: the rows, and one apply as a transaction over them. Internal to meta/.
 *
 * Reads see the transaction's own writes; iteration does not (a command reads a range before it changes
 * it). One thread. */
#pragma once

#include <rocksdb/c.h>

#include "base/arena.h"
#include "base/map.h"
#include "meta/meta.h"
#include "meta/recent.h"
#include "meta/schema.h"
#include "meta/written.h"

/* Rows that an operation touches at most: the rest is for the session, its replies and the indexes. */
#define STORE_OPERATION_ROWS (LIMIT_COMMAND_ROWS - LIMIT_REPLY_WINDOW - 16u)

/* One change of a row by the command under way. */
struct store_change {
    enum row_change change;
    struct slice key, value; /* in the arena of the apply */
    int64_t count;
};

struct touch_list {
    uint64_t *inos;
    size_t count, capacity;
};

struct meta {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_compactionfilter_t *filter;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read, *read_persisted;
    rocksdb_flushoptions_t *flush;
    const rocksdb_snapshot_t *snapshot; /* of a view: what it reads; NULL: the newest */

    struct row_meta state;      /* as of the last apply */
    struct row_cluster cluster; /* zero until META_INIT */
    bool initialised;
    uint32_t level, level_max; /* of the state; of the program: level <= level_max */

    /* No dead contents below this id are queued: looking for them begins here, not among the tombstones of those that
     * were reaped. Not replicated. */
    uint64_t garbage_from;

    uint64_t chains[META_CHAINS_KEPT]; /* the first 8 bytes of the chain hash, by index % META_CHAINS_KEPT, */
    uint64_t chains_from;              /* from this index on */
    bool flush_waits;                  /* tests: what a flush leaves behind does not depend on threads */

    struct recent recent;      /* what was applied and is not in RocksDB yet; never of a view */
    rocksdb_writebatch_t *out; /* on its way there */
    unsigned open_ranges;
    struct map_bytes inline_known; /* by block id (inline_block.c); empty in a view */

    /* The apply under way. */
    rocksdb_writebatch_t *batch;  /* the chain hash is over its bytes */
    struct store_change *changes; /* what is in the batch */
    size_t change_count, change_capacity;
    struct written written; /* the same but for counts, by key */
    struct row_meta next;   /* becomes state when the batch is written */
    struct row_cluster next_cluster;
    bool cluster_changed;
    uint32_t next_level;
    unsigned rows;             /* touched so far: at most LIMIT_COMMAND_ROWS */
    struct schema_key counted; /* the row of the last store_count, and by how much it is to change yet */
    int64_t count_change;
    /* The session that the command is of, while it lives: read once, written once, since most commands change it. */
    uint64_t own_id; /* 0: none */
    struct row_session own, own_before;
    /* Tickets of those whose turn has come; what is over waits for who asks next. */
    uint64_t grants[META_GRANTS_KEPT];
    unsigned grant_count;
    struct arena arena;   /* of the apply */
    struct bytes scratch; /* encodes one value at a time */
    int64_t time_ns;

    struct touch_list seen, wrote; /* by the last apply or query */

    /* The key/value space. No key expires before these times: looking begins here, not among the tombstones of those
     * that have expired before, and is not done before it can find something. Not replicated. */
    int64_t kv_expiry_from_ns, kv_expiry_ns;
    struct meta_kv_event *kv_events; /* of the last apply; in the arena */
    unsigned kv_event_count;
};

/* ---- what was touched (meta_touched) ---- */
void touch_begin(struct meta *m);
void touch_free(struct meta *m);
void touch_seen(struct meta *m, uint64_t ino);
void touch_wrote(struct meta *m, uint64_t ino);

/* ---- rows; values of gets are in the arena of the apply ---- */

enum err store_get(struct meta *m, const struct schema_key *key, struct slice *ret, bool *ret_found) MUST_USE;
/* Outside an apply; the value goes into the arena. */
enum err store_read(struct meta *m, const struct schema_key *key, struct arena *a, struct slice *ret,
                    bool *ret_found) MUST_USE;
/* What m->scratch holds becomes the row. */
void store_put_scratch(struct meta *m, const struct schema_key *key);
void store_delete(struct meta *m, const struct schema_key *key);
/* The same four for keys that are no schema_key. */
enum err store_get_at(struct meta *m, struct slice key, struct slice *ret, bool *ret_found) MUST_USE;
enum err store_read_at(struct meta *m, struct slice key, struct arena *a, struct slice *ret, bool *ret_found) MUST_USE;
void store_put_scratch_at(struct meta *m, struct slice key);
void store_delete_at(struct meta *m, struct slice key);
/* The count in the row changes by this much. Such rows are not read in an apply. */
void store_count(struct meta *m, const struct schema_key *key, int64_t change);
/* What was put and deleted so far is not. */
void store_clear(struct meta *m);
/* What was put, deleted and counted is the state from now on; after an error it is not. No range may be open. */
enum err store_commit(struct meta *m) MUST_USE;
/* What was committed is in RocksDB from now on. No range may be open. */
enum err store_write_out(struct meta *m) MUST_USE;
/* Changes of one count that follow each other are written as one, or not at all: the last of them here. */
void store_count_settle(struct meta *m);

/* For rocksdb_options_set_merge_operator, which takes it over, and _set_compaction_filter, which does not. */
rocksdb_mergeoperator_t *count_rows_merge_operator(void);
rocksdb_compactionfilter_t *count_rows_filter(void);

/* Rows of the written state between two keys, in order. Both bounds are given to RocksDB: without them a scan that
 * finds nothing walks over the tombstones of everything that was deleted around it. Must not be moved while open. */
struct store_range {
    struct meta *m;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
    struct schema_key lower, upper; /* [lower, upper) */
    /* Of the recent rows [begin, end) are in the range. Forwards `at` is the next one that has not been passed,
     * backwards the one behind it. */
    size_t begin, at, end;
    bool backwards, is_recent; /* is_recent: it is at a recent row; else at the iterator's */
    struct bytes sum;          /* of a count that changed recently */
};
/* At the first row of [lower, upper). */
void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *lower,
                      const struct schema_key *upper);
/* The same; the bounds are borrowed as long as it is open. */
void store_range_open_at(struct meta *m, struct store_range *r, struct slice lower, struct slice upper);
/* At the first row at or behind `from` whose key begins with the first prefix_size bytes of it. */
void store_range_open_prefix(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size);
/* At the last row of [lower, upper), for store_range_previous. */
void store_range_open_last(struct meta *m, struct store_range *r, const struct schema_key *lower,
                           const struct schema_key *upper);
/* At no row yet, for who seeks. */
void store_range_open_unplaced(struct meta *m, struct store_range *r, const struct schema_key *lower,
                               const struct schema_key *upper);
/* Goes to the first row at or behind `at`. */
void store_range_seek(struct store_range *r, const struct schema_key *at);
/* False at the end; then store_range_close tells whether an error ended it. */
bool store_range_get(const struct store_range *r, struct slice *ret_key, struct slice *ret_value);
void store_range_next(struct store_range *r);
void store_range_previous(struct store_range *r);
enum err store_range_close(struct store_range *r) MUST_USE;

/* ---- inodes (inode.c) ---- */

/* ERR_STALE when there is none. */
enum err inode_get(struct meta *m, uint64_t ino, struct row_inode *ret) MUST_USE;
enum err inode_read(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret) MUST_USE;
/* The same for an answer that nobody will believe for long: it doesn't count as seen. */
enum err inode_peek(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret) MUST_USE;
/* The same for one that a row names, so that it must be there: ERR_CORRUPT. */
enum err inode_get_named(struct meta *m, uint64_t ino, struct row_inode *ret) MUST_USE;
enum err inode_read_named(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret) MUST_USE;
/* Sets the time of access if it is due and the inode is still as it was read (META_READS). False: it is not touched. */
bool inode_was_read(struct meta *m, struct row_inode *i, int64_t ns, int64_t ctime_ns) MUST_USE;
/* As inode_get, and it must be a directory: ERR_NOTDIR. */
enum err inode_get_directory(struct meta *m, uint64_t ino, struct row_inode *ret) MUST_USE;
void inode_put(struct meta *m, const struct row_inode *i);
/* Takes an id; a new inode with the time of the command. Counted. */
void inode_make(struct meta *m, uint32_t mode, uint32_t uid, uint32_t gid, struct row_inode *ret);
/* One link less (not of a directory's), which was this name. With the last one a regular file becomes an orphan,
 * anything else goes. */
enum err inode_drop_link(struct meta *m, struct row_inode *i, uint64_t parent, struct slice name,
                         bool *ret_orphaned) MUST_USE;
/* The row goes and its extended attributes with it, its contents are queued for reaping. */
enum err inode_remove(struct meta *m, const struct row_inode *i) MUST_USE;
/* Contents of the inode become none: a new content id, the old one is queued. */
void inode_drop_contents(struct meta *m, struct row_inode *i);

/* ---- names (dentry.c) ---- */

uint64_t dentry_cookie(const struct row_cluster *cluster, struct slice name);
enum err dentry_get(struct meta *m, uint64_t parent, struct slice name, struct row_dentry *ret,
                    bool *ret_found) MUST_USE;
void dentry_put(struct meta *m, uint64_t parent, struct slice name, const struct row_inode *child);
void dentry_delete(struct meta *m, uint64_t parent, struct slice name);
/* Parent's size, times (and nlink for subdirectories) after an entry has come or gone; puts it. */
void dentry_parent_changed(struct meta *m, struct row_inode *parent, int entries, int subdirectories);

/* ---- privileges of programs (privilege.c) ---- */

/* The bits that make a program run as its owner or group go. Without group execution the set-group-ID bit means
 * mandatory locking and stays. */
void privilege_kill_set_id(struct meta_attr *a);
/* Capabilities that a program has go with any change of its contents or owner. The caller puts the inode. */
enum err privilege_kill_capability(struct meta *m, struct row_inode *i) MUST_USE;

/* ---- extended attributes (xattr.c) ---- */

enum err xattr_get(struct meta *m, uint64_t ino, struct slice name, struct slice *ret, bool *ret_found) MUST_USE;
/* The row, and in *i their number and the bytes of their names; the caller puts the inode. NOSPC beyond the limits,
 * which is an outcome here. was_there: what xattr_get found. */
enum err xattr_put(struct meta *m, struct row_inode *i, struct slice name, struct slice value, bool was_there) MUST_USE;
void xattr_delete(struct meta *m, struct row_inode *i, struct slice name);
/* All rows of the inode, which goes. None of them may have been written by this command. */
enum err xattr_delete_all(struct meta *m, const struct row_inode *i) MUST_USE;

/* ---- sessions and replies (session.c) ---- */

enum err session_get(struct meta *m, uint64_t id, struct row_session *ret, bool *ret_found) MUST_USE;
void session_put(struct meta *m, uint64_t id, const struct row_session *s);
void session_delete(struct meta *m, uint64_t id);
/* The command is of this session; its row is written by session_end_apply. */
enum err session_begin(struct meta *m, uint64_t id, bool *ret_found) MUST_USE;
void session_end_apply(struct meta *m);

/* ---- unlinked inodes that may be open somewhere (orphan.c) ---- */

void orphan_add(struct meta *m, uint64_t ino);
/* The inode goes. One that is no orphan stays. SPLIT when that would be too many rows; nothing is changed then. */
enum err orphan_release(struct meta *m, uint64_t ino) MUST_USE;

/* ---- contents (content.c) ---- */

/* At the first extent that ends behind `from`. The range holds all that begin before `to`, and perhaps more. */
/* How many extents name the block. Below zero: a fault of ours. The arena is for reading. */
enum err content_count(struct meta *m, const struct sha256 *block, struct arena *a, int64_t *ret) MUST_USE;
void content_range_open(struct meta *m, struct store_range *range, uint64_t content_id, uint64_t from, uint64_t to);

/* Bytes of contents replaced, range by range in file order. Between begin and end the rows change only through the
 * cutter, which holds back two extents in file order: the last one of the new contents, which what follows may continue
 * (then they become one), and what is left behind the last range of the old extent that was cut there. allocated gains
 * and loses what the rows do. */
#define CONTENT_SHORT_BYTES (128 * KIB) /* an extent that is longer may lie anywhere */
struct content_cutter {
    struct meta *m;
    uint64_t content_id;
    uint64_t *allocated;
    uint64_t size;            /* of the file before; the caller's to set where `fragments` matters */
    struct store_range range; /* over all that the ranges may touch; none when it is_empty */
    bool is_empty;            /* no extents before */
    bool has_pending, has_rest, has_removed;
    bool fragments;                   /* something short was put among other blocks of the file */
    struct meta_extent pending, rest; /* in no row at the moment */
    uint64_t removed_up_to;           /* offset of the last written extent that was taken out */
};
/* All ranges will lie in [from, to). */
void content_begin(struct content_cutter *c, struct meta *m, uint64_t content_id, uint64_t from, uint64_t to,
                   uint64_t *allocated);
/* The bytes of e are cut out of what was there, and e takes their place (a hole: nothing does). ERR_SPLIT when the
 * operation would touch too many rows. */
enum err content_replace(struct content_cutter *c, const struct meta_extent *e) MUST_USE;
/* Always to be called; after an error nothing of what was done may be kept. */
enum err content_end(struct content_cutter *c) MUST_USE;
/* Removes at most `max` extents from the end that lie (wholly or partly) at or behind `from`. None reach behind
 * `end`. allocated NULL: neither it nor the total counts. *ret_end: where the contents may now extend to; `from` when
 * all of it is done. */
enum err content_trim(struct meta *m, uint64_t content_id, uint64_t from, uint64_t end, unsigned max,
                      uint64_t *allocated, uint64_t *ret_end) MUST_USE;

/* ---- files that commits have fragmented (fragmented.c) ---- */

/* By the commit that makes this version. */
void fragmented_put(struct meta *m, uint64_t ino, uint64_t version);
/* It is listed no more, unless a later commit than that has fragmented it. */
enum err fragmented_remove(struct meta *m, uint64_t ino, uint64_t version) MUST_USE;
enum err query_fragmented(struct meta *m, const struct meta_query *q, struct arena *a,
                          struct meta_query_reply *r) MUST_USE;

/* ---- blocks whose bytes are in the metadata (inline_block.c) ---- */

/* BUSY: there is no room for it. */
enum err inline_block_put(struct meta *m, uint64_t ino, uint64_t version, struct slice data) MUST_USE;
/* It goes, unless it isn't there any more or another commit has brought it since. */
enum err inline_block_moved(struct meta *m, const struct meta_inline_block *moved) MUST_USE;
/* The row has changed: called for each that is committed. */
void inline_block_committed(struct meta *m, const struct store_change *c);
/* When the state is opened, and closed. */
enum err inline_blocks_load(struct meta *m) MUST_USE;
void inline_blocks_free(struct meta *m);
/* For checks: whether what is kept in memory says the same as the row. */
bool inline_block_is_known(const struct meta *m, const struct meta_inline_block *b);
/* What it counts for in inline_bytes. */
enum err inline_block_is_there(struct meta *m, const struct sha256 *id, bool *ret) MUST_USE; /* for a query */
uint64_t inline_block_cost(const struct meta_inline_block *b);
enum err query_inline(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r) MUST_USE;
/* To an answer with extents. */
enum err inline_blocks_of_extents(struct meta *m, struct arena *a, struct meta_query_reply *r) MUST_USE;

/* ---- key/value space (kv.c) ---- */

/* As good as not there, at this time of the log. */
static inline bool kv_is_expired(const struct row_kv *r, int64_t log_time_ns)
{
    return r->expires_ns > 0 && r->expires_ns <= log_time_ns;
}
/* Expired or not. */
enum err kv_row_get(struct meta *m, struct slice key, struct row_kv *ret, bool *ret_found) MUST_USE;
/* was: what kv_row_get found, or NULL. Both are told to who watches. */
void kv_row_put(struct meta *m, struct slice key, const struct row_kv *was, const struct row_kv *row);
void kv_remove(struct meta *m, struct slice key, const struct row_kv *was, enum meta_kv_event_kind why);
/* Events that the apply may have; before the first one. */
void kv_events_begin(struct meta *m, unsigned max);
/* kv_query.c */
enum err query_kv_get(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r) MUST_USE;
enum err query_kv_list(struct meta *m, const struct meta_query *q, struct arena *a,
                       struct meta_query_reply *r) MUST_USE;

/* ---- operations, one file each. ERR_OK or an operating error; the outcome is in r->status ---- */

typedef enum err (*op_function)(struct meta *m, const struct meta_command *c, struct meta_reply *r);
#define OP(name) enum err op_##name(struct meta *m, const struct meta_command *c, struct meta_reply *r)
OP(init);
OP(session_open);
OP(session_end);
OP(setattr);
OP(create);
OP(mkdir);
OP(mknod);
OP(symlink);
OP(link);
OP(unlink);
OP(rmdir);
OP(rename);
OP(commit);
OP(release);
OP(reap);
OP(block_server);
OP(lock);
OP(lock_cancel);
OP(clone);
OP(moved);
OP(setxattr);
OP(removexattr);
OP(export);
OP(epoch);
OP(kv);
OP(kv_expire);
OP(reads);
OP(rewrite);
OP(set_level);
OP(replicas);
OP(next);

/* op_set_level.c: of an opened state; ERR_LEVEL when it is over level_max, or can't be told. */
enum err level_load(struct meta *m, struct err_text *why) MUST_USE;

/* op_export.c: NO_EXPORT */
enum err export_get(struct meta *m, struct slice name, struct row_export *ret) MUST_USE;

/* What the making operations share: parent, absence of the name, setgid inheritance; puts everything. */
enum err make_entry(struct meta *m, const struct meta_command *c, uint32_t mode, struct meta_reply *r) MUST_USE;

/* An outcome: r->status = e, nothing written. */
static inline enum err outcome(struct meta_reply *r, enum err e)
{
    *r = (struct meta_reply){.status = e};
    return ERR_OK;
}
/* For errors that are outcomes of operations, not of the disk. */
bool is_outcome(enum err e);
/* Return from an operation: outcomes go into the reply. */
#define TRY_OP(expression)                                                                                             \
    do {                                                                                                               \
        enum err op_result_ = (expression);                                                                            \
        if (op_result_ != ERR_OK)                                                                                      \
            return is_outcome(op_result_) ? outcome(r, op_result_) : op_result_;                                       \
    } while (0)
