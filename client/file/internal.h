/* internal.h: open inodes and what the files of this folder share. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/map.h"
#include "client/block/block_cache.h"
#include "client/file/dirty.h"
#include "client/file/extent_upkeep.h"
#include "client/file/file.h"
#include "client/file/inline_mover.h"
#include "client/file/layout.h"

#define FILE_WORKERS 3u
#define FILE_PUTS_PER_INODE 16u  /* whole chunks on their way; then the writer waits */
#define FILE_PREFETCH_QUEUE 256u /* read-ahead jobs that wait; more are dropped */
#define FILE_IDLE_INODES 1024u   /* closed inodes that are remembered */
#define FILE_DIRTY_AGE_NS (5 * NS_PER_S)
#define FILE_EAGER_AGE_NS (10 * NS_PER_MS) /* of what somebody else is looking at */
#define FILE_EAGER_NS (3 * NS_PER_S)
#define FILE_STAGED_NS (250 * NS_PER_MS) /* how long a piece of an append waits for the next */

/* A chunk that was written whole: on its way to the block servers, or there but not committed. */
struct full_chunk {
    struct list_node node; /* in the inode's full list, by age */
    struct list_node job;  /* in the workers' queue */
    struct file_inode *inode;
    uint64_t index;
    struct block_buffer
        *block;        /* set once it is hashed; kept until the commit has ended, which may have to put again */
    uint8_t *data;     /* before it is hashed */
    bool queued, done; /* done: the put has ended, well if result is ERR_OK */
    uint64_t epoch;    /* with which it was put */
    enum err result;
};

/* A truncation under the inode's turn, and what it takes away when it happens. */
struct truncation {
    uint64_t session, seq; /* of its command */
    bool to_nothing;
    bool set_aside; /* the committing sets hold what was dirty before it */
    bool staged;    /* what is staged was so before it */
};

/* Everything below is protected by the inode's lock unless it says otherwise. */
struct file_inode {
    struct open_files *files;
    uint64_t ino;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct meta_attr attr;       /* as last told by the metastore */
    struct layout layout;        /* of attr.version */
    uint64_t size;               /* as seen here: with what is not committed */
    int64_t mtime_ns;            /* of the last write here; valid while something is dirty */
    struct dirty_set dirty;      /* newest */
    struct dirty_set committing; /* being committed; older than dirty */
    struct list full;            /* struct full_chunk, oldest first; newer than committing, older than dirty */
    struct list full_committing; /* those of the commit under way; oldest of all */
    unsigned puts;               /* full chunks whose put has not ended */
    uint8_t *staged;             /* NULL, or the first piece of an append that may go on (append.c) */
    size_t staged_size;
    bool staged_kills;           /* as kill_set_id */
    uint64_t staged_session;     /* in which it was written */
    uint64_t staged_end;         /* where the kernel believes that the next piece goes */
    struct open_file *staged_by; /* NULL when that handle is closed */
    int64_t staged_since_ns;
    bool turn_taken;               /* a commit or truncation is under way */
    struct truncation left;        /* its caller had to leave, and it still has the turn; seq 0: none */
    struct block_tracker *tracker; /* made at the first full chunk; NULL before */
    int64_t dirty_since_ns;        /* 0: nothing is dirty */
    uint64_t session;              /* in which the oldest of dirty and full was written, and is to be committed */
    uint64_t session_committing;   /* the same of what is being committed */
    /* Something in there was written by someone who must not leave a program set-user-ID: in what is dirty and full,
     * and in what is being committed. */
    bool kill_set_id, kill_committing;
    enum err error; /* of a background commit, for handles that haven't seen it */
    unsigned error_count;
    int64_t read_ns;       /* of a read that is being told; 0: none is */
    int64_t read_ctime_ns; /* the time of change of what was read */
    int64_t told_read_ns;  /* when one was told last, */
    int64_t told_ctime_ns; /* of the inode with this time of change */
    bool orphan;           /* unlinked: nobody can open it any more who hasn't */
    unsigned opens;        /* handles that are open: those of `handles` whose open has ended well */
    uint64_t changes;      /* how often another mount has changed it or where its bytes are, as far as was told */
    uint64_t changes_seen; /* attr and layout are of after so many: with fewer they are to be asked for */
    bool refresh;          /* the flusher is to do so: it is open here */
    bool refresh_job, commit_job; /* of the flusher: one is waiting or under way */
    int64_t eager_until_ns;       /* somebody looks at it: what is written is committed within moments until then */
    unsigned writers;             /* handles that can write */

    /* Protected by the table's lock. */
    unsigned handles, users; /* users: threads inside a call, background work included */
    struct list_node idle;   /* in the table's idle list when there are neither and nothing is dirty */
};

struct open_file {
    struct list_node node; /* in the table's list; protected by its lock */
    struct file_inode *inode;
    int flags;
    unsigned errors_seen;               /* protected by the inode's lock */
    bool wrote;                         /* protected by the inode's lock */
    atomic_bool refused;                /* its locks were lost */
    uint64_t expected_offset, ahead_to; /* sequential reading; protected by the inode's lock */
};

/* Blocks that are read ahead, as one job. */
struct prefetch {
    struct list_node job;
    unsigned count;
    struct sha256 ids[];
};

/* Between a lookup and the open that it is for: on a busy machine a moment may be long. Space that is given back waits
 * for it. */
#define FILE_LOOKED_UP_NS NS_PER_S
#define LOOKED_UP_MAX 1024u

struct looked_up {
    uint64_t ino; /* 0: none */
    int64_t until_ns;
};

#define FLUSH_THREADS 4u /* of each lane */

/* Jobs of the flusher, by what they may have to wait for. */
enum flush_lane_kind {
    FLUSH_META,   /* the metastore */
    FLUSH_BLOCKS, /* block servers too */
    FLUSH_LANES
};
struct flush_lane {
    struct open_files *files;
    struct list jobs; /* struct flush_job; this and all below are protected by flush_lock */
    unsigned waiting; /* jobs in there */
    unsigned idle;    /* threads that wait for one */
    unsigned thread_count;
    pthread_cond_t there;
    pthread_t threads[FLUSH_THREADS];
};

#define READ_NOTES_MAX 1024u /* reads that the metastore is to be told of; more are dropped */

struct open_files {
    struct meta_client *meta;
    struct block_client *blocks;
    struct block_cache *cache;
    struct inline_mover *mover;
    struct extent_upkeep *upkeep; /* NULL: this mount merges nothing */
    struct file_options options;
    struct rpc_cancel *stop; /* fired when the table is closed and time is up */
    struct rpc_cancel *now;  /* has fired: for what must not wait */

    pthread_mutex_t lock; /* lock order: this before an inode's */
    pthread_cond_t changed;
    struct map_u64 inodes; /* ino -> struct file_inode */
    struct list open;      /* struct open_file */
    struct list idle;      /* oldest first */
    unsigned idle_count, open_count;
    struct list creates; /* struct file_create, under way, oldest first */
    struct looked_up
        looked_up[LOOKED_UP_MAX];   /* by ino % LOOKED_UP_MAX: one that is pushed out is gone when unlinked */
    uint64_t serial;                /* orders creates and notices of unlinked inodes */
    struct map_u64 orphans;         /* ino -> serial of its notice, as a pointer; closed_orphans takes them out */
    struct map_u64 kernel_versions; /* ino -> version + 1 that the kernel's pages are of */

    pthread_mutex_t work_lock;
    pthread_cond_t work_there;
    struct list puts, prefetches;
    unsigned prefetch_count;
    bool stopping; /* protected by work_lock */
    pthread_t workers[FILE_WORKERS];

    pthread_mutex_t notes_lock; /* protects the next five */
    pthread_cond_t notes_there;
    struct meta_read notes[READ_NOTES_MAX]; /* a ring */
    unsigned note_first, note_count;
    bool notes_stopping;
    pthread_t teller;

    pthread_mutex_t flush_lock;
    pthread_cond_t flush_wanted;
    bool flush_eager;                               /* the next round is due soon */
    bool flush_idle, flush_pending, flush_stopping; /* idle: it waits without a time-out; protected by flush_lock */
    pthread_t flusher;
    struct flush_lane lanes[FLUSH_LANES];
    bool lanes_closing; /* no job comes any more; protected by flush_lock */

    atomic_uint_fast64_t dirty_bytes, commits;
};

/* ---- table.c ---- */
/* A user's reference; NULL when the inode isn't known here. */
struct file_inode *inode_find(struct open_files *t, uint64_t ino);
struct file_inode *inode_use(struct open_files *t, uint64_t ino); /* the same, made when it isn't known */
void inode_leave(struct file_inode *i);
bool inode_is_dirty(const struct file_inode *i);
/* So much is dirty in this mount that it is to be committed now: before writers have to do so themselves. */
static inline bool inode_is_pressed(const struct file_inode *i)
{
    return atomic_load(&i->files->dirty_bytes) > i->files->options.dirty_bytes / 2;
}

/* ---- inline.c ---- */
/* Whether a commit may bring these blocks along instead of waiting for block servers. Then ret is for the command. */
bool inline_fits(struct open_files *t, struct block_buffer *const *blocks, unsigned count,
                 struct slice ret[LIMIT_INLINE_BLOCKS]);
/* A commit did, and this came of it. */
void inline_committed(struct open_files *t, struct block_buffer *const *blocks, unsigned count,
                      const struct meta_attr *attr);
/* What came along with extents. */
void inline_learn(struct open_files *t, const struct meta_query_reply *reply);

/* ---- versions.c ---- */
bool inode_is_stale(const struct file_inode *i);     /* another mount has changed it since; under the lock */
uint64_t inode_size_now(const struct file_inode *i); /* as committed and with what is dirty */
/* The state after so many changes of this mount, which put these extents: what is known of the file's others stays
 * known, if nobody else has changed it meanwhile. */
void inode_take_changes(struct file_inode *i, const struct meta_attr *attr, unsigned changes,
                        const struct meta_extent *extents, unsigned count);
void inode_take_attr(struct file_inode *i, const struct meta_attr *attr); /* a newer state, as told by the metastore */
/* After so many changes of this mount, the last of which took the file to `version`: the kernel's pages are right if
 * they were of `before` and nobody else has changed it since; otherwise on_stale. Without locks held. */
void inode_own_change(struct file_inode *i, uint64_t before, unsigned changes, uint64_t version);

/* What was written is lost, and the kernel has it in its pages: they go. Without locks held. */
void inode_pages_are_wrong(struct file_inode *i);

/* What the kernel's pages were of; false: not known. From now on they are of `version`. */
bool exchange_kernel_version(struct open_files *t, uint64_t ino, uint64_t version, uint64_t *ret_old);
/* Attributes and extents, as the metastore has them now. */
enum err inode_refresh(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* The same for an open. */
enum err inode_ask_open(struct file_inode *i, bool writer, struct rpc_cancel *cancel) MUST_USE;
/* Whether what is here of it is what the metastore would answer. */
bool inode_is_current(struct file_inode *i);
/* Whether the kernel's pages are of what is here, as far as is known. Without locks held. */
bool inode_pages_are_current(struct file_inode *i);

/* ---- read.c ---- */
/* The extents from this offset on, as many as come in one answer. */
enum err inode_learn_layout(struct file_inode *i, uint64_t from, struct rpc_cancel *cancel) MUST_USE;

/* ---- atime.c ---- */
void atime_start(struct open_files *t);
void atime_stop(struct open_files *t); /* tells what it can until `stop` fires */
/* A read through this handle; under the inode's lock. */
void atime_note(struct open_file *h);
bool atime_is_due(const struct open_file *h);

/* ---- append.c ---- */
enum err file_append(struct open_file *h, uint64_t offset, const uint8_t *from, size_t size, bool kill_set_id,
                     struct rpc_cancel *cancel) MUST_USE;
/* What is staged is placed: at once when it is known that no second piece can come (the kernel has one write of an
 * inode under way), else it is given a moment. An error is also kept for the handles. */
enum err inode_append_staged(struct file_inode *i, bool at_once, struct rpc_cancel *cancel) MUST_USE;
void inode_drop_staged(struct file_inode *i); /* under the lock, with the turn */

/* ---- commit.c ---- */
enum err inode_commit(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* The turn: one commit or truncation at a time. ERR_CANCELLED; ERR_TIMEOUT when a truncation that was left doesn't end
 * within the soft time-out. Under the lock, which is let go of while it waits. */
enum err inode_take_turn(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
void inode_end_turn(struct file_inode *i);
/* Under the lock, with the turn. ERR_CANCELLED: nothing was dropped. */
enum err inode_drop_dirty(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* The same for a change that will take it away, if it happens: it is set aside until inode_drop_aside or
 * inode_put_back. There must be something dirty besides what is staged. */
enum err inode_set_aside(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
void inode_drop_aside(struct file_inode *i);
void inode_put_back(struct file_inode *i);
/* Under the lock: what is not committed goes; nobody will ever read it. When it was cancelled some may be left. */
void inode_discard(struct file_inode *i, struct rpc_cancel *cancel);
/* Under the lock: written data is lost; the handles are told, once each. */
void inode_note_error(struct file_inode *i, enum err e);
void full_chunk_free(struct full_chunk *f);
/* Under the lock: waits for a change, at most a moment, so that a cancel is noticed. */
enum err inode_wait(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;
/* Puts a full chunk's block; on a worker's or the committing thread. */
void full_chunk_put(struct full_chunk *f, struct rpc_cancel *cancel);

/* ---- work.c ---- */
void work_start(struct open_files *t);
void work_stop(struct open_files *t);
void work_put(struct open_files *t, struct full_chunk *f);
/* Takes it back if no worker has begun it. */
bool work_take_back(struct open_files *t, struct full_chunk *f);
/* At most LIMIT_BLOCKS_PER_FRAME, which are fetched together. */
void work_prefetch(struct open_files *t, const struct sha256 *ids, unsigned count);

/* ---- truncate.c ---- */
/* Ends a truncation that was left, if its outcome is known by now. Without locks held. */
void inode_settle(struct file_inode *i);
/* Until there is none that was left: one may have happened, or not. Without locks held. */
enum err inode_await_settled(struct file_inode *i, struct rpc_cancel *cancel) MUST_USE;

/* ---- flush.c ---- */
void flush_start(struct open_files *t);
/* Commits what is dirty, as far as that can be done before `stop` fires. Nobody writes any more. */
void flush_stop(struct open_files *t);
void flush_wake(struct open_files *t); /* something became dirty */
void flush_soon(struct open_files *t); /* something is to be committed, or asked for, within moments */
