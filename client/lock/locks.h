/* locks.h: advisory locks of this mount's processes, flock and fcntl, as the whole cluster sees them.
 *
 * Contents are coherent over them: before a lock is given to its caller, what this mount knows of the file is brought
 * up to date and stale pages of the kernel go; before one is given up, what was written is committed.
 *
 * Locks end with their session. I/O through the handles of whoever held one is then refused with IO until they are
 * closed, since others may hold the lock by now; what was written and not committed is lost, with IO at the next fsync
 * or close, as for every file.
 *
 * Operations of one owner on one file are one after the other, waiting excepted. One whose caller had to leave without
 * its outcome is undone in the background, and those that come after it wait for that. An owner that already holds
 * locks on the file keeps what such an operation got, until it unlocks or closes: taking it away could take away more.
 *
 * Thread-safe; one background thread. */
#pragma once

#include "client/file/file.h"

struct locks;

struct locks *locks_new(struct meta_client *meta, struct open_files *files);
/* No operation is under way any more, and none comes. Locks that are left end with the session. */
void locks_stop(struct locks *l);
/* When neither locks_expired nor locks_resolved will be called any more. */
void locks_free(struct locks *l);

/* The first lock in the way of this one; type UNLOCK when none is. pid 0: of another mount. */
enum err locks_test(struct locks *l, uint64_t ino, const struct meta_lock *lock, struct rpc_cancel *cancel,
                    struct meta_lock *ret) MUST_USE;
/* Takes, changes, gives up. WOULD_BLOCK, NOLCK, DEADLK (wait), IO: a lock of this owner was lost; CANCELLED: it has not
 * been got. The handle is how the caller reaches the file. */
enum err locks_set(struct locks *l, struct open_file *h, const struct meta_lock *lock, bool wait,
                   struct rpc_cancel *cancel) MUST_USE;
/* A process has closed a descriptor of the file: its fcntl locks go, whichever descriptors it took them through. What
 * it wrote has been flushed. CANCELLED, TIMEOUT: they go in the background, when what was written is committed. */
enum err locks_close(struct locks *l, struct open_file *h, uint64_t owner, struct rpc_cancel *cancel) MUST_USE;
/* The handle is about to be closed: what was taken through it, and is still held, goes with it. In the background. */
void locks_release(struct locks *l, struct open_file *h);
/* Whether a process of this mount has, or had a moment ago, a lock on the file. */
bool locks_any(struct locks *l, uint64_t ino);

/* For meta_client's on_expired, and on_resolved of META_LOCK. */
void locks_expired(struct locks *l, uint64_t session);
void locks_resolved(struct locks *l, const struct meta_command *command, const struct meta_reply *reply);
