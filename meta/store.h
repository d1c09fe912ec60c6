/* store.h: the rows, and one apply as a transaction over them. Internal to meta/.
 *
 * Reads see the transaction's own writes; iteration does not (an indexed batch can't iterate over everything, and a
 * command reads a range before it changes it). One thread. */
#pragma once

#include <rocksdb/c.h>

#include "base/arena.h"
#include "meta/meta.h"
#include "meta/schema.h"

/* Rows that an operation touches at most: the rest is for the session, its replies and the indexes. */
#define STORE_OPERATION_ROWS (LIMIT_COMMAND_ROWS - LIMIT_REPLY_WINDOW - 16u)

struct meta {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_compactionfilter_t *filter;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read, *read_persisted;
    rocksdb_flushoptions_t *flush;

    struct row_meta state;      /* as of the last apply */
    struct row_cluster cluster; /* zero until META_INIT */
    bool initialised;

    /* No dead contents below this id are queued: looking for them begins here, not among the tombstones of those that
     * were reaped. Not replicated. */
    uint64_t garbage_from;

    uint64_t chains[META_CHAINS_KEPT]; /* the first 8 bytes of the chain hash, by index % META_CHAINS_KEPT, */
    uint64_t chains_from;              /* from this index on */
    bool flush_waits;                  /* tests: what a flush leaves behind does not depend on threads */

    /* The apply under way. */
    rocksdb_writebatch_wi_t *batch;
    struct row_meta next; /* becomes state when the batch is written */
    struct row_cluster next_cluster;
    bool cluster_changed;
    unsigned rows; /* touched so far: at most LIMIT_COMMAND_ROWS */
    /* The session that the command is of, while it lives: read once, written once, since most commands change it. */
    uint64_t own_id; /* 0: none */
    struct row_session own, own_before;
    struct arena arena;   /* of the apply */
    struct bytes scratch; /* encodes one value at a time */
    int64_t time_ns;
};

/* ---- rows; values of gets are in the arena of the apply ---- */

enum err store_get(struct meta *m, const struct schema_key *key, struct slice *ret, bool *ret_found) MUST_USE;
/* Outside an apply; the value goes into the arena. */
enum err store_read(struct meta *m, const struct schema_key *key, struct arena *a, struct slice *ret,
                    bool *ret_found) MUST_USE;
/* What m->scratch holds becomes the row. */
void store_put_scratch(struct meta *m, const struct schema_key *key);
void store_delete(struct meta *m, const struct schema_key *key);
/* The count in the row changes by this much. Such rows are not read in an apply. */
void store_count(struct meta *m, const struct schema_key *key, int64_t change);

/* For rocksdb_options_set_merge_operator, which takes it over, and _set_compaction_filter, which does not. */
rocksdb_mergeoperator_t *count_rows_merge_operator(void);
rocksdb_compactionfilter_t *count_rows_filter(void);

/* Rows of the written state between two keys, in order. Both bounds are given to RocksDB: without them a scan that
 * finds nothing walks over the tombstones of everything that was deleted around it. Must not be moved while open. */
struct store_range {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
    struct schema_key lower, upper; /* [lower, upper) */
};
/* At the first row of [lower, upper). */
void store_range_open(struct meta *m, struct store_range *r, const struct schema_key *lower,
                      const struct schema_key *upper);
/* At the first row at or behind `from` whose key begins with the first prefix_size bytes of it. */
void store_range_open_prefix(struct meta *m, struct store_range *r, const struct schema_key *from, size_t prefix_size);
/* At the last row of [lower, upper), for store_range_previous. */
void store_range_open_last(struct meta *m, struct store_range *r, const struct schema_key *lower,
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
/* The same for one that a row names, so that it must be there: ERR_CORRUPT. */
enum err inode_get_named(struct meta *m, uint64_t ino, struct row_inode *ret) MUST_USE;
enum err inode_read_named(struct meta *m, uint64_t ino, struct arena *a, struct row_inode *ret) MUST_USE;
/* As inode_get, and it must be a directory: ERR_NOTDIR. */
enum err inode_get_directory(struct meta *m, uint64_t ino, struct row_inode *ret) MUST_USE;
void inode_put(struct meta *m, const struct row_inode *i);
/* Takes an id; a new inode with the time of the command. Counted. */
void inode_make(struct meta *m, uint32_t mode, uint32_t uid, uint32_t gid, struct row_inode *ret);
/* One link less (not of a directory's). The last one makes it an orphan of the session or removes it. */
struct keep_open {
    uint64_t session;
    const uint64_t *inos;
    unsigned count;
    bool unknown;
};
enum err inode_drop_link(struct meta *m, struct row_inode *i, const struct keep_open *keep,
                         bool *ret_orphaned) MUST_USE;
/* The row goes, its contents are queued for reaping. */
void inode_remove(struct meta *m, const struct row_inode *i);
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

/* ---- sessions and replies (session.c) ---- */

enum err session_get(struct meta *m, uint64_t id, struct row_session *ret, bool *ret_found) MUST_USE;
void session_put(struct meta *m, uint64_t id, const struct row_session *s);
void session_delete(struct meta *m, uint64_t id);
/* The command is of this session; its row is written by session_end_apply. */
enum err session_begin(struct meta *m, uint64_t id, bool *ret_found) MUST_USE;
void session_end_apply(struct meta *m);
enum err orphan_add(struct meta *m, uint64_t session, uint64_t ino) MUST_USE;
/* Removes the session's hold; the inode goes when it was the last. A hold that isn't there is fine. */
enum err orphan_release(struct meta *m, struct row_session *s, uint64_t session, uint64_t ino) MUST_USE;
/* Whether this session holds the inode; outside an apply. */
enum err orphan_is_held(struct meta *m, uint64_t session, uint64_t ino, struct arena *a, bool *ret) MUST_USE;

/* ---- contents (content.c) ---- */

/* At the first extent that ends behind `from`. The range holds all that begin before `to`, and perhaps more. */
void content_range_open(struct meta *m, struct store_range *range, uint64_t content_id, uint64_t from, uint64_t to);

/* Bytes of contents replaced, range by range in file order. Between begin and end the rows change only through the
 * cutter, which holds back two extents in file order: the last one of the new contents, which what follows may continue
 * (then they become one), and what is left behind the last range of the old extent that was cut there. allocated gains
 * and loses what the rows do. */
struct content_cutter {
    struct meta *m;
    uint64_t content_id;
    uint64_t *allocated;
    struct store_range range; /* over all that the ranges may touch */
    bool has_pending, has_rest, has_removed;
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
