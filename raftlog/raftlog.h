/* raftlog.h: a raft member's durable part: log entries in segment files, term and vote in a small file, and the marker
 * of the last acknowledged index. Layout and recovery rules: raftlog/format.h.
 *
 * Threads: raftlog_write and raftlog_compact are called by one writer at a time; raftlog_read, raftlog_term and
 * raftlog_bounds by any thread at the same time; a small mutex guards the index of segments. Reads see what the last
 * finished write made durable.
 *
 * Errors: after ERR_IO or ERR_NOSPC from a write or a sync the log is `failed` for good: every later write gives the
 * same error, and the process should say why and end (P8). */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "raft/raft.h"
#include "raftlog/file_table.h"

struct raftlog;

struct raftlog_options {
    const struct file_table *files;
    const char *path;       /* a directory of its own */
    uint64_t segment_bytes; /* preallocated size of a segment; 0: 16 MiB */
    uint8_t identity[16];   /* of this member; a log of another one is refused with ERR_WRONG_NODE */
};

/* Opens or creates. A torn tail that lies beyond the acknowledged marker is cut, with a log line; any other damage is
 * ERR_CORRUPT with file, offset and what was found, and nothing is changed. */
enum err raftlog_open(const struct raftlog_options *options, struct raftlog **ret, struct raft_restart *ret_restart,
                      struct err_text *why) MUST_USE;
void raftlog_close(struct raftlog *l);

/* One batch: what one or several raft updates gave to persist, merged in order. One write and one sync for the entries
 * (plus a replaced small file when hard state changed). On ERR_OK everything in it is durable. */
struct raftlog_batch {
    /* First of all: the log is emptied, as if compacted up to an entry (reset_index, reset_term) that it need not hold.
     * For an installed snapshot. A crash leaves the old log or the empty one. */
    bool reset;
    uint64_t reset_index, reset_term;
    bool truncate;
    uint64_t truncate_after;
    bool hard_state_changed;
    struct raft_hard_state hard;
    const struct raft_entry *entries;
    unsigned entry_count;
};
enum err raftlog_write(struct raftlog *l, const struct raftlog_batch *batch) MUST_USE;
/* Whether that is one write and one sync of the segment at hand, with nothing to be done for the next one. For who
 * writes only. */
bool raftlog_is_short(const struct raftlog *l, const struct raftlog_batch *batch);

/* Entries from `from`: at most max_count, about max_bytes but at least one; their data goes into *buffer (cleared
 * first). ERR_NOT_FOUND when `from` is not in the log; ERR_CORRUPT when a checksum is wrong. */
enum err raftlog_read(struct raftlog *l, uint64_t from, unsigned max_count, size_t max_bytes, struct bytes *buffer,
                      struct raft_entry *ret_entries, unsigned *ret_count) MUST_USE;
enum err raftlog_term(struct raftlog *l, uint64_t index, uint64_t *ret_term) MUST_USE;

struct raftlog_bounds {
    uint64_t compacted_index, compacted_term, last_index, last_term;
    uint64_t bytes; /* on disk */
    unsigned segments;
    uint64_t writes; /* batches with entries, since it was opened: each was one write and one sync */
    struct raft_hard_state hard;
};
void raftlog_bounds(struct raftlog *l, struct raftlog_bounds *ret);

/* Drops whole segments that hold only entries <= index. The new compacted index may be lower than asked for. */
enum err raftlog_compact(struct raftlog *l, uint64_t index, uint64_t *ret_compacted) MUST_USE;

/* Small checksummed files that are replaced atomically (write to a temporary name, sync, rename, sync the directory).
 * Also used for the node's identity. ERR_NOT_FOUND when absent, ERR_CORRUPT when damaged. */
enum err small_file_read(const struct file_table *files, struct file_table_dir *dir, const char *name, size_t max_size,
                         struct bytes *ret, struct err_text *why) MUST_USE;
enum err small_file_write(const struct file_table *files, struct file_table_dir *dir, const char *name,
                          struct slice content) MUST_USE;
