/* err.h: the one error type of the project.
 *
 * A function that can fail in operation returns `enum err`; nothing but ERR_OK is success, and the result must be used.
 * Out-parameters named ret_* are written only on success. Programmer errors are not returned, they hit CHECK (check.h).
 * The numbers travel on the wire and must never be reused; add new ones at the end of their group. errno exists only
 * at the edge: functions that call the system convert at once with err_from_errno, and fusefs/ converts back with
 * err_to_errno.
 *
 * The class says what a caller does with an error:
 *   NONE     success
 *   FINAL    the outcome of the operation itself; trying again gives the same
 *   RETRY    nothing happened, or exactly-once makes it safe; try again here
 *   LEADER   ask another node, the one in the hint if there is one
 *   WAIT     the cluster can't answer now; wait and try again
 *   GIVE_UP  this connection, session, file or node is unusable; trying again can't help
 */
#pragma once

#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

/* clang-format off */
#define ERR_LIST(X)                                                                       \
    X(OK,              0, NONE,    "success")                                             \
    /* outcomes of file operations; the text is strerror's sense */                       \
    X(PERM,            1, FINAL,   "operation not permitted")                             \
    X(NOENT,           2, FINAL,   "no such file or directory")                           \
    X(EXIST,           3, FINAL,   "file exists")                                         \
    X(NOTDIR,          4, FINAL,   "not a directory")                                     \
    X(ISDIR,           5, FINAL,   "is a directory")                                      \
    X(NOTEMPTY,        6, FINAL,   "directory not empty")                                 \
    X(INVAL,           7, FINAL,   "invalid argument")                                    \
    X(NAMETOOLONG,     8, FINAL,   "name too long")                                       \
    X(NOSPC,           9, FINAL,   "no space left")                                       \
    X(FBIG,           10, FINAL,   "file too large")                                      \
    X(MLINK,          11, FINAL,   "too many links")                                      \
    X(XDEV,           12, FINAL,   "not on the same export")                              \
    X(ACCES,          13, FINAL,   "permission denied")                                   \
    X(STALE,          14, FINAL,   "inode no longer exists")                              \
    X(NODATA,         15, FINAL,   "no such attribute")                                   \
    X(RANGE,          16, FINAL,   "result too large for the buffer")                     \
    X(ROFS,           17, FINAL,   "read-only")                                           \
    X(NOTSUP,         18, FINAL,   "not supported")                                       \
    X(BUSY,           19, FINAL,   "busy")                                                \
    X(BADF,           20, FINAL,   "not open for this")                                   \
    X(LOOP,           21, FINAL,   "too many symbolic links")                             \
    X(INTR,           22, FINAL,   "interrupted")                                         \
    X(DEADLK,         23, FINAL,   "would deadlock")                                      \
    X(IO,             24, FINAL,   "input/output error")                                  \
    X(VERSION,        25, FINAL,   "file has another version than expected")              \
    X(SPLIT,          26, FINAL,   "command touches too many rows, split it")             \
    X(PARTIAL,        27, RETRY,   "a bounded part was done, repeat to go on")            \
    X(WOULD_BLOCK,    30, FINAL,   "locked by another process")                           \
    X(NOLCK,          31, FINAL,   "too many locks")                                      \
    X(WRONG_TYPE,      33, FINAL,   "value is of another type")                            \
    /* consensus */                                                                       \
    X(NOT_LEADER,     40, LEADER,  "this node is not the leader")                         \
    X(NO_LEADER,      41, WAIT,    "the cluster has no leader now")                       \
    X(CRASHED,        42, LEADER,  "node is crashed")                                     \
    X(AGAIN,          43, RETRY,   "state changed meanwhile, try again")                  \
    X(BUSY_NOW,       44, WAIT,    "too many requests in flight")                         \
    X(NOT_POSSIBLE,   45, FINAL,   "not possible now")                                    \
    X(NOT_DONE,       47, FINAL,   "not done: no majority of the nodes could be asked in time") \
    X(STALE_EPOCH,    46, RETRY,   "block epoch is too old, put the blocks again")        \
    X(LEVEL,          48, FINAL,   "not supported by the cluster's level yet")            \
    /* sessions and identity */                                                           \
    X(SESSION_EXPIRED,60, GIVE_UP, "session has expired")                                 \
    X(SEQUENCE,       61, GIVE_UP, "request number outside the reply window")             \
    X(NO_EXPORT,      62, GIVE_UP, "no such export")                                      \
    X(WRONG_CLUSTER,  63, GIVE_UP, "belongs to another cluster")                          \
    X(WRONG_NODE,     64, GIVE_UP, "belongs to another node")                             \
    X(NO_NODE,        65, FINAL,   "no such node")                                        \
    X(DETACHED,       66, FINAL,   "the lease is over, what was kept is not believed")    \
    /* transport */                                                                       \
    X(UNREACHABLE,    80, LEADER,  "can't reach the node")                                \
    X(CLOSED,         81, LEADER,  "connection closed")                                   \
    X(TIMEOUT,        82, LEADER,  "timed out")                                           \
    X(CANCELLED,      83, FINAL,   "cancelled")                                           \
    X(PROTOCOL,       84, GIVE_UP, "malformed message")                                   \
    X(TOO_BIG,        85, FINAL,   "message over its limit")                              \
    X(NO_METHOD,      86, GIVE_UP, "method not known here")                               \
    X(ADDRESS,        87, FINAL,   "bad address")                                         \
    /* storage and the rest */                                                            \
    X(CORRUPT,       100, FINAL,   "data is corrupt")                                     \
    X(NOT_FOUND,     101, FINAL,   "not found")                                           \
    X(LOCKED,        102, FINAL,   "in use by another process")                           \
    X(NOMEM,         103, FINAL,   "out of memory")                                       \
    X(SHUTDOWN,      104, LEADER,  "shutting down")                                       \
    X(CONFIG,        105, FINAL,   "bad configuration")                                   \
    X(EXISTS_IN_USE, 106, FINAL,   "address in use")                                      \
    X(BLOCKS,        107, WAIT,    "too few block servers reachable")
/* clang-format on */

enum err_class {
    ERR_CLASS_NONE,
    ERR_CLASS_FINAL,
    ERR_CLASS_RETRY,
    ERR_CLASS_LEADER,
    ERR_CLASS_WAIT,
    ERR_CLASS_GIVE_UP
};

enum err {
#define X(name, number, class, text) ERR_##name = number,
    ERR_LIST(X)
#undef X
};

/* A sentence for people that says what was wrong and with what value; always terminated, "" when there is none. */
struct err_text {
    char text[256];
};

enum err_class err_class(enum err e);
const char *err_name(enum err e); /* "NOT_LEADER"; "UNKNOWN" for a number that is not listed */
const char *err_message(enum err e);
/* A number off the wire; one that is not listed becomes ERR_IO. */
enum err err_from_wire(unsigned number);
enum err err_from_errno(int errnum);
int err_to_errno(enum err e);
/* Fills `why` (NULL is allowed) and returns e, so that a failing function can say `return err_explain(...)`. */
enum err err_explain(struct err_text *why, enum err e, const char *format, ...) PRINTF_LIKE(3, 4);

/* Return early with any error of an `enum err` expression. */
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        enum err try_result_ = (expression);                                                                           \
        if (try_result_ != ERR_OK)                                                                                     \
            return try_result_;                                                                                        \
    } while (0)
