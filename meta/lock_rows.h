/* lock_rows.h: advisory locks in rows. A command reads all locks of one kind of one inode, changes the list, and writes
 * what differs. How many there may be keeps that within a command's rows: with L held locks and W that are waited for,
 * giving all W up or on touches at most L + 6 W rows, and L + 3 W is at most LIMIT_FILE_LOCKS. */
#pragma once

#include "meta/lock_list.h"
#include "meta/store.h"

_Static_assert(2 * LIMIT_FILE_LOCKS + 16 <= STORE_OPERATION_ROWS, "all locks of an inode may change in one command");

struct lock_file {
    struct meta *m;
    uint64_t ino;
    enum meta_lock_kind kind;
    struct lock_list before, now;
    uint64_t *sessions; /* whose locks may differ */
    unsigned session_count, session_capacity;
};

/* As of the written state: once per inode and kind in a command. */
enum err lock_file_open(struct lock_file *f, struct meta *m, uint64_t ino, enum meta_lock_kind kind) MUST_USE;
void lock_file_close(struct lock_file *f); /* zero-initialised is fine */
/* Of the locks of this session some will change. */
void lock_file_touch(struct lock_file *f, uint64_t session);
/* Gives to those who wait what nobody hinders any more, in the order in which they came. */
void lock_file_grant(struct lock_file *f);
enum err lock_file_save(struct lock_file *f) MUST_USE;

/* A bounded part of the session's locks goes, and is given on. */
enum err lock_session_end(struct meta *m, uint64_t session, bool *ret_more) MUST_USE;

/* The session's row of a lock that it waits for. */
enum err lock_wait_get(struct meta *m, uint64_t session, uint32_t place, struct row_lock_wait *ret,
                       bool *ret_found) MUST_USE;
/* A place for one more; NOLCK when there are too many. */
enum err lock_wait_place(struct meta *m, uint64_t session, uint32_t *ret) MUST_USE;
/* Whether someone who is in the way of this lock waits, by however many others, for its owner. Looks at a bounded
 * number of them, and says no when there are more. */
enum err lock_would_deadlock(const struct lock_file *f, uint64_t session, const struct meta_lock *lock,
                             bool *ret) MUST_USE;

/* For meta_verify: the rows of all locks agree with one another and with those of the sessions. */
enum err lock_verify(struct meta *m, struct err_text *why) MUST_USE;

enum err query_lock_test(struct meta *m, const struct meta_query *q, struct arena *a,
                         struct meta_query_reply *r) MUST_USE;
enum err query_lock_wait(struct meta *m, const struct meta_query *q, struct arena *a,
                         struct meta_query_reply *r) MUST_USE;
