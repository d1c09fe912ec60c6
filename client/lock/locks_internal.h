/* locks_internal.h: what the parts of locks share. locks.c are the operations, locks_table.c knows owners, locks_work.c
 * does what nobody waits for. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "client/lock/locks.h"

/* One owner's locks of one kind on one file. Exists while it may hold some, or somebody uses it. Protected by the lock
 * of struct locks. */
struct lock_owner {
    struct list_node node; /* in the list of its inode */
    uint64_t ino, owner;
    enum meta_lock_kind kind;
    unsigned users;             /* threads and jobs that have it in hand */
    bool active;                /* an operation is under way; others wait */
    unsigned jobs;              /* in the background; others wait */
    unsigned unresolved;        /* commands whose outcome is still to come; others wait */
    uint64_t session;           /* in which it holds locks; 0: it holds none */
    bool lost;                  /* that session has expired */
    struct open_file **handles; /* through which it took them */
    unsigned handle_count, handle_capacity;
};

enum lock_job_kind {
    LOCK_JOB_CANCEL, /* wait no longer */
    LOCK_JOB_UNDO,   /* give up a lock of which the owner does not know, unless it holds others */
    LOCK_JOB_UNLOCK  /* all of it, at a close; what was written is committed before */
};
/* One thing to be done in the background. */
struct lock_job {
    struct list_node node;
    enum lock_job_kind kind;
    struct lock_owner *owner;
    struct meta_lock lock;
    uint64_t session, ticket;
    uint32_t place;
    bool awaited;  /* somebody waits for it, and frees it */
    bool done;     /* then: */
    bool has_lock; /* CANCEL came too late */
};

struct locks {
    struct meta_client *meta;
    struct open_files *files;
    struct rpc_cancel *stop; /* fired when closing */

    pthread_mutex_t lock; /* protects all below; held over no call to the metastore */
    pthread_cond_t changed;
    struct map_u64 inodes; /* ino -> struct list of struct lock_owner */
    struct list jobs;
    unsigned waiting; /* callers that wait for a lock */
    bool stopping;
    pthread_t worker;
};

/* ---- locks_table.c; under the lock ---- */

struct lock_owner *lock_owner_find(struct locks *l, uint64_t ino, enum meta_lock_kind kind, uint64_t owner);
/* A user's reference; made when it is not known. */
struct lock_owner *lock_owner_enter(struct locks *l, uint64_t ino, enum meta_lock_kind kind, uint64_t owner);
void lock_owner_leave(struct locks *l, struct lock_owner *o);
/* The owner's turn: CANCELLED. Then lock_owner_end. */
enum err lock_owner_begin(struct locks *l, struct lock_owner *o, struct rpc_cancel *cancel) MUST_USE;
void lock_owner_end(struct locks *l, struct lock_owner *o);
/* It holds locks in this session, taken through h; or (session 0) none any more. */
void lock_owner_holds(struct lock_owner *o, uint64_t session, struct open_file *h);
/* Its session is over. */
void lock_owner_lose(struct lock_owner *o);
bool lock_owner_has_handle(const struct lock_owner *o, const struct open_file *h);
void lock_owner_forget_handle(struct lock_owner *o, const struct open_file *h);
void lock_table_free(struct locks *l);

/* ---- locks_work.c ---- */

void lock_work_start(struct locks *l);
void lock_work_stop(struct locks *l);
void lock_jobs_free(struct locks *l); /* what is left of them */
/* Under the lock: queues a copy. */
struct lock_job *lock_work_add(struct locks *l, const struct lock_job *job);
/* Gives up the lock's range when what was written before is committed, or lost. Not under the lock. *ret_held: what the
 * owner has left. CANCELLED, TIMEOUT: it may still have it all; with l->stop as `cancel` it goes on until it is done.
 */
enum err lock_give_up(struct locks *l, const struct lock_owner *o, const struct meta_lock *lock, uint64_t session,
                      struct rpc_cancel *cancel, unsigned *ret_held) MUST_USE;
