/* file_internal.h: open inodes and what the file_*.c share. Private to client/. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/map.h"
#include "client/block_cache.h"
#include "client/dirty.h"
#include "client/file.h"
#include "client/layout.h"

#define FILE_WORKERS 3u
#define FILE_PUTS_PER_INODE 16u  /* whole chunks on their way; then the writer waits */
#define FILE_PREFETCH_QUEUE 256u /* read-ahead jobs that wait; more are dropped */
#define FILE_IDLE_INODES 1024u   /* closed inodes that are remembered */
#define FILE_DIRTY_AGE_NS (5 * NS_PER_S)

/* A chunk that was written whole: on its way to the block servers, or there but not committed. */
struct full_chunk {
    struct list_node node; /* in the inode's full list, by age */
    struct list_node job;  /* in the workers' queue */
    struct file_inode *inode;
    uint64_t index;
    struct block_buffer *block; /* set once it is hashed; kept until the put has ended, for readers */
    uint8_t *data;              /* before it is hashed */
    struct sha256 id;           /* valid when done */
    bool queued, done;          /* done: the put has ended, well if result is ERR_OK */
    enum err result;
};

/* Everything below is protected by the inode's lock unless it says otherwise. */
struct file_inode {
    struct open_files *files;
    uint64_t ino;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct meta_attr attr;         /* as last told by the metastore */
    struct layout layout;          /* of attr.version */
    uint64_t size;                 /* as seen here: with what is not committed */
    int64_t mtime_ns;              /* of the last write here; valid while something is dirty */
    struct dirty_set dirty;        /* newest */
    struct dirty_set committing;   /* being committed; older than dirty */
    struct list full;              /* struct full_chunk, oldest first; newer than committing, older than dirty */
    struct list full_committing;   /* those of the commit under way; oldest of all */
    unsigned puts;                 /* full chunks whose put has not ended */
    bool turn_taken;               /* a commit or truncation is under way */
    struct block_tracker *tracker; /* made at the first full chunk; NULL before */
    int64_t dirty_since_ns;        /* 0: nothing is dirty */
    enum err error;                /* of a background commit, for handles that haven't seen it */
    unsigned error_count;
    bool orphan; /* unlinked, and kept for this session: to be released */

    /* Protected by the table's lock. */
    unsigned handles, users; /* users: threads inside a call, background work included */
    uint64_t entered;        /* when it was opened first, in the order of serials */
    struct list_node idle;   /* in the table's idle list when there are neither and nothing is dirty */
};

struct open_file {
    struct list_node node; /* in the table's list; protected by its lock */
    struct file_inode *inode;
    int flags;
    unsigned errors_seen;               /* protected by the inode's lock */
    bool wrote;                         /* protected by the inode's lock */
    uint64_t expected_offset, ahead_to; /* sequential reading; protected by the inode's lock */
};

struct prefetch {
    struct list_node job;
    struct sha256 id;
};

struct open_files {
    struct meta_client *meta;
    struct block_client *blocks;
    struct block_cache *cache;
    struct file_options options;
    struct rpc_cancel *stop; /* fired when the table is closed and time is up */

    pthread_mutex_t lock; /* lock order: this before an inode's */
    pthread_cond_t changed;
    struct map_u64 inodes; /* ino -> struct file_inode */
    struct list open;      /* struct open_file */
    struct list idle;      /* oldest first */
    unsigned idle_count, open_count;
    struct list unlinks;            /* under way, oldest first */
    uint64_t serial;                /* orders unlinks and first opens */
    struct map_u64 kernel_versions; /* ino -> version + 1 that the kernel's pages are of */

    pthread_mutex_t work_lock;
    pthread_cond_t work_there;
    struct list puts, prefetches;
    unsigned prefetch_count;
    bool stopping; /* protected by work_lock */
    pthread_t workers[FILE_WORKERS];

    pthread_mutex_t flush_lock;
    pthread_cond_t flush_wanted;
    bool flush_idle, flush_pending, flush_stopping; /* idle: it waits without a time-out; protected by flush_lock */
    uint64_t *releases;                             /* orphans to be released; protected by flush_lock */
    unsigned release_count, release_capacity;
    pthread_t flusher;

    atomic_uint_fast64_t dirty_bytes, commits;
};

/* ---- file_table.c ---- */
/* A user's reference; NULL when the inode isn't known here. */
struct file_inode *inode_find(struct open_files *t, uint64_t ino);
void inode_leave(struct file_inode *i);
bool inode_is_dirty(const struct file_inode *i);
void inode_take_attr(struct file_inode *i, const struct meta_attr *attr); /* a newer state, as told by the metastore */
/* After so many changes of this mount, the last of which took the file to `version`: the kernel's pages are right if
 * they were of `before` and nobody else has changed it since; otherwise on_stale. Without locks held. */
void inode_own_change(struct file_inode *i, uint64_t before, unsigned changes, uint64_t version);

/* ---- file_commit.c ---- */
enum err inode_commit(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* The turn: one commit or truncation at a time. ERR_CANCELLED. Under the lock. */
enum err inode_take_turn(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
void inode_end_turn(struct file_inode *i);
/* Under the lock, with the turn. ERR_CANCELLED: nothing was dropped. */
enum err inode_drop_dirty(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
void full_chunk_free(struct full_chunk *f);
/* Under the lock: waits for a change, at most a moment, so that a cancel is noticed. */
enum err inode_wait(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* Puts a full chunk's block; on a worker's or the committing thread. */
void full_chunk_put(struct full_chunk *f, struct rpc_cancel *cancel);

/* ---- file_work.c ---- */
void work_start(struct open_files *t);
void work_stop(struct open_files *t);
void work_put(struct open_files *t, struct full_chunk *f);
/* Takes it back if no worker has begun it. */
bool work_take_back(struct open_files *t, struct full_chunk *f);
void work_prefetch(struct open_files *t, const struct sha256 *id);
void flush_start(struct open_files *t);
void flush_stop(struct open_files *t);
void flush_wake(struct open_files *t); /* something became dirty */
void flush_release(struct open_files *t, uint64_t ino);
