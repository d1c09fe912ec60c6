/* invalidate.h: tells the kernel to drop an inode's pages, from a thread that holds no request: the kernel may wait for
 * pages that a request is about to fill. Thread-safe.
 *
 * The kernel takes attributes in an answer only if nothing of the inode was invalidated since it asked (fuse's
 * attr_version), and otherwise reads on by what it believed before: up to the old size, from the old pages. So dropping
 * is not for what the next read(2) finds, which asks for attributes and drops the pages by itself; it is for who has
 * mapped them, and waits for a moment in which no answer is likely to be on its way, or until a reader has done it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/map.h"
#include "fusefs/fuse.h"

#define INVALIDATOR_ANSWERS 1024u

struct invalidator {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct map_u64
        pending; /* inode -> when it was last asked for (clock_boot_ns), as a pointer; bounded by the open ones */
    uint64_t under_way;  /* an inode, 0: none */
    bool asking;         /* whether it is needed */
    pthread_cond_t done; /* with that */
    bool stopping;
    struct fuse_session *session;
    bool (*is_needed)(void *context, uint64_t ino); /* may be NULL; called without the lock, right before */
    void *context;
    pthread_t thread;

    pthread_mutex_t answers_lock;
    struct invalidator_answers {
        uint64_t ino;
        unsigned asked;             /* questions that have no answer yet */
        int64_t at_ns;              /* of the last answer */
    } answers[INVALIDATOR_ANSWERS]; /* by ino % INVALIDATOR_ANSWERS: of one that is pushed out nothing is known */
};

/* Starts the thread. */
void invalidator_init(struct invalidator *v, bool (*is_needed)(void *context, uint64_t ino), void *context);
/* Before this, and with NULL, what is asked for waits; when it returns from that, is_needed isn't called any more. */
void invalidator_set_session(struct invalidator *v, struct fuse_session *session);
/* Soon: when attributes of it have not been answered for a moment, and after a second in any case. */
void invalidator_add(struct invalidator *v, uint64_t ino);
/* The kernel has asked for attributes of it, and has been answered. */
void invalidator_asked(struct invalidator *v, uint64_t ino);
void invalidator_answered(struct invalidator *v, uint64_t ino);
/* It has been told others than before, of after asked_ns: what had been asked for until then is not needed any more. */
void invalidator_told(struct invalidator *v, uint64_t ino, int64_t asked_ns);
/* Now, and waits until it is done, at most until then (clock_boot_ns). False: it is not. */
bool invalidator_drop(struct invalidator *v, uint64_t ino, int64_t until_ns);
/* Waits for one that is under way, as long. */
void invalidator_settle(struct invalidator *v, uint64_t ino, int64_t until_ns);
/* False: the thread is stuck in the kernel; v and the session must stay as they are. */
bool invalidator_close(struct invalidator *v);
