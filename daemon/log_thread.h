/* log_thread.h: the thread that makes raft's log durable, so that the loop waits for no disk that takes its time.
 *
 * log_thread_push takes what one raft update gave to persist. Everything that queued up while one sync was under way
 * goes into the next write (group commit), up to the limits of a raft batch. Results are merged too: `done` is called
 * on the loop with the newest one. The queue is bounded by what raft allows uncommitted and in flight
 * (LIMIT_RAFT_UNCOMMITTED_BYTES).
 *
 * Handing a write to the thread and hearing of its end wakes a sleeping thread twice, which takes as long as a quick
 * disk does. So an entry that comes alone is written by the loop itself, in log_thread_turn, when the thread has
 * nothing to do, the loop has served hardly anybody since the write before, and writes have taken less than a
 * millisecond on average lately. That is what the few others may have to wait for it.
 *
 * After an error nothing is written any more: `done` reports it, once. All functions are for the loop's thread. */
#pragma once

#include <uv.h>

#include "raft/raft.h"
#include "raftlog/raftlog.h"

struct log_thread;

struct log_thread_result {
    uint64_t sequence;    /* everything pushed up to this one is durable */
    uint64_t index, term; /* the last durable entry; 0, 0: nothing to say about entries */
    struct raft_hard_state hard;
    bool compacted; /* since the last result */
    uint64_t compacted_index;
    enum err error; /* final */
};

/* raftlog is borrowed; from now on only this thread writes to it. hard: what is durable now. */
struct log_thread *log_thread_new(uv_loop_t *loop, struct raftlog *raftlog, struct raft_hard_state hard,
                                  void (*done)(void *context, const struct log_thread_result *result), void *context);
/* Copies what it needs. Returns a number that grows by one with each push, from 1. *ret_here: log_thread_turn writes
 * it, so whatever else there is to do had better wait until then. */
uint64_t log_thread_push(struct log_thread *t, const struct raft_update *update, bool *ret_here);
/* Before the loop waits for anything, and before it does what is not urgent. May call `done`. */
void log_thread_turn(struct log_thread *t);
/* Somebody else than another member has been served. */
void log_thread_served(struct log_thread *t);
void log_thread_compact(struct log_thread *t, uint64_t index);
/* Writes what is queued and ends the thread; `done` is not called any more. The memory goes when the loop has closed
 * the handle. */
void log_thread_free(struct log_thread *t);
