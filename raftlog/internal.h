/* internal.h: the log's state, shared by open, recovery, writing and reading. Private to raftlog/. */
#pragma once

#include <pthread.h>

#include "raftlog/format.h"
#include "raftlog/raftlog.h"
#include "raftlog/segment.h"
#include "raftlog/terms.h"

#define HARD_NAME "hard"
#define MARKER_NAME "marker"
#define HARD_BYTES (IDENTITY_BYTES + 12u)

/* The next segment, being made of zeros before it is needed. */
struct spare {
    struct file_table_file *file; /* NULL: none */
    uint64_t number;
    uint64_t bytes; /* zeros so far */
    bool named;     /* its directory entry is durable */
    bool refused;   /* the disk was full; the next attempt is when the segment is needed */
};

struct raftlog {
    const struct file_table *files;
    struct file_table_dir *dir;
    char *path;
    uint8_t identity[IDENTITY_BYTES];
    uint64_t seed;
    uint64_t segment_bytes;

    pthread_mutex_t lock; /* guards what follows for readers; only the writer changes it, so the writer reads without */
    struct segment **segments; /* by number, without gaps; the last is the one that is written */
    unsigned segment_count, segment_room;
    struct term_runs terms;
    uint64_t compacted_index, compacted_term, last_index, last_term;
    struct raft_hard_state hard;
    uint64_t spare_bytes;
    uint64_t writes;
    uint64_t cuts; /* truncations so far: a read that one overtook begins again */

    /* The writer's own. */
    struct file_table_file *marker_file;
    struct marker marker; /* as last stored */
    struct spare spare;
    struct bytes buffer;
    enum err failed; /* the error that ended it, or ERR_OK */
};

/* Reads the directory, judges it, and only then repairs what may be repaired. Fills everything but the options. */
enum err raftlog_recover(struct raftlog *l, struct err_text *why) MUST_USE;

/* Stores the marker in the older slot, with or without a sync. */
enum err raftlog_marker_store(struct raftlog *l, bool sync) MUST_USE;
/* Stores it in both slots, synced: what it replaces must not come back when the slot of a later one is damaged. */
enum err raftlog_marker_settle(struct raftlog *l) MUST_USE;
enum err raftlog_hard_store(struct raftlog *l, const struct raft_hard_state *hard) MUST_USE;
/* Makes the next segment at least that large, a piece at a time or all at once. */
enum err raftlog_spare_grow(struct raftlog *l, uint64_t bytes) MUST_USE;
enum err raftlog_spare_drop(struct raftlog *l) MUST_USE;
/* Zeros over [from, to) of a file. */
enum err raftlog_zero(struct raftlog *l, struct file_table_file *file, uint64_t from, uint64_t to) MUST_USE;
void raftlog_add_segment(struct raftlog *l, struct segment *s);
