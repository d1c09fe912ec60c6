/* barrier.h: which puts are durable, and the sync that many callers share. Private to blockstore/.
 *
 * A bulk put goes one of two ways. The first few MiB after a sync go through the write-ahead log, without a sync: then
 * a small barrier costs one sync of the log, and doesn't leave a tiny table and blob file behind. What comes after that
 * skips the log, which halves the bytes written, and the barrier flushes the memtable.
 *
 * Thread-safe. A put counts as under way before its rows can be seen, so whoever sees a row that isn't durable also
 * sees that not all is durable. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

#define BARRIER_LOGGED_BYTES (4 * MIB) /* of bulk puts between two barriers that go through the log */

struct barrier_puts {
    uint64_t under_way, done; /* done: so far */
    uint64_t synced;          /* how many of those done a finished barrier covers */
};

struct barrier {
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t finish;
    struct barrier_puts logged, unlogged;
    uint64_t logged_bytes;      /* since the last barrier began */
    uint64_t started, finished; /* runs */
    bool running;
    bool flush_next;  /* the last run failed: what the log holds is not trusted to a second sync of it */
    enum err outcome; /* of the last finished run */
};

void barrier_init(struct barrier *b);
void barrier_close(struct barrier *b);

/* Before and after a bulk put. True: through the log. */
bool barrier_put_begin(struct barrier *b, uint64_t bytes);
void barrier_put_end(struct barrier *b, bool logged);

/* True when everything that can be seen is durable. */
bool barrier_is_clean(struct barrier *b);

/* Makes durable all that can be seen at the call. `run` does it for everybody who waits: with flush the memtable, or
 * else only the log. It is called without the lock, by one thread at a time. */
enum err barrier_sync(struct barrier *b, enum err (*run)(void *arg, bool flush), void *arg) MUST_USE;
