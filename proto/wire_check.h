/* wire_check.h: what surfctl fsck asks. A member checks its own state on a worker, and is asked again and again how far
 * it is; block ids are asked for in pages. */
#pragma once

#include "meta/types.h"
#include "proto/wire_common.h"

#define WIRE_CHECK_PROBLEMS 32u
#define WIRE_CHECK_USES 256u
#define WIRE_CHECK_PATH_BYTES 4096u

enum wire_check_kind {
    WIRE_CHECK_STATE = 1, /* whether all rows agree */
    WIRE_CHECK_USES_OF    /* which files name these blocks */
};
#define WIRE_CHECK_LAST WIRE_CHECK_USES_OF

struct wire_check_query {
    uint64_t ticket; /* 0: begin one (BUSY_NOW: another is under way); else of the one that is asked about: NOT_FOUND */
    enum wire_check_kind kind;
    const struct sha256 *blocks; /* USES_OF, to begin: up to LIMIT_BLOCKS_PER_FRAME */
    unsigned count;
};

#define WIRE_CHECK_NUMBERS(X)                                                                                          \
    X(index) /* of the state that was checked */                                                                       \
    X(inodes)                                                                                                          \
    X(bytes) /* that extents cover */                                                                                  \
    X(names)                                                                                                           \
    X(extents)                                                                                                         \
    X(blocks) /* different ones that extents name */                                                                   \
    X(orphans)                                                                                                         \
    X(sessions)                                                                                                        \
    X(dead) /* contents that wait to be reaped */                                                                      \
    X(keys) /* of the key/value space, and bytes of them and their values */                                           \
    X(kv_bytes)

struct wire_check_use {
    unsigned block; /* index of the one that was asked for */
    uint64_t ino, offset;
    struct slice path; /* empty: not known, or unlinked */
};
struct wire_check { /* all but the first three: when it runs no more */
    uint64_t ticket, rows;
    bool running;
    bool has_hashes;
    struct sha256 chain, state; /* of two members at one index they are equal */
#define X(name) uint64_t name;
    WIRE_CHECK_NUMBERS(X)
#undef X
    bool unread; /* a table could not be read, and what follows was not looked at */
    uint64_t problem_count;
    const struct slice *problems; /* the first ones, in words */
    unsigned problems_told;
    const struct wire_check_use *uses;
    unsigned use_count;
};

/* Ids in order. METHOD_ADMIN_REFERENCES: of blocks that files name; METHOD_BLOCK_INVENTORY: of those that are here. */
struct wire_ids_query {
    struct sha256 after, upto; /* behind the one and not behind the other */
    unsigned max;              /* 1..LIMIT_HASHES_PER_FRAME */
    const struct sha256 *ids;  /* of REFERENCES, instead of a range: which of these; up to LIMIT_HASHES_PER_FRAME */
    unsigned count;
};
struct wire_ids {
    const struct sha256 *ids; /* <= LIMIT_HASHES_PER_FRAME */
    unsigned count;
    struct sha256 through; /* all up to this one have been looked at */
};

struct slice wire_check_query_encode(const struct wire_check_query *q, struct arena *a);
enum err wire_check_query_decode(struct slice s, struct arena *a, struct wire_check_query *ret,
                                 struct err_text *why) MUST_USE;
struct slice wire_check_encode(const struct wire_check *c, struct arena *a);
enum err wire_check_decode(struct slice s, struct arena *a, struct wire_check *ret, struct err_text *why) MUST_USE;
struct slice wire_ids_query_encode(const struct wire_ids_query *q, struct arena *a);
enum err wire_ids_query_decode(struct slice s, struct arena *a, struct wire_ids_query *ret,
                               struct err_text *why) MUST_USE;
struct slice wire_ids_encode(const struct wire_ids *p, struct arena *a);
enum err wire_ids_decode(struct slice s, struct arena *a, struct wire_ids *ret, struct err_text *why) MUST_USE;
