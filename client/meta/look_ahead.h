/* look_ahead.h: how many entries of a directory a look-up should bring along with the name that it asks for, and which.
 * Pure: the caller gives the time (clock_boot_ns) and locks.
 *
 * Who looks up one name after the other (git status, rsync) would pay a call for each. Who looks up one would pay for
 * what it doesn't want (an entry takes about a tenth of the CPU time of a call), and so would other mounts, which must
 * tell this one of changes of what it was brought. Which of them it is shows only afterwards, so what is brought is
 * paid for: a directory has a credit of entries. It gets LOOK_AHEAD_FIRST when the first name was found, or as many as
 * it has if these are LOOK_AHEAD_SMALL at most, which serves a second one that is asked for soon; then
 * LOOK_AHEAD_PER_USE for each entry that was brought and is used, which has saved a call; and one for LOOK_AHEAD_CALLS
 * names that took a call nevertheless.
 *
 * So who goes by the order of the directory gets LIMIT_LOOK_AHEAD at a time soon; who uses nothing of it is brought one
 * entry for LOOK_AHEAD_CALLS calls, on average; and who goes by another order, as by name, uses more of it the longer
 * that lasts.
 *
 * The entries follow the last ones that were brought, so that none comes twice to who goes by another order than the
 * directory's. When nothing was used of these, somebody goes on elsewhere: then they follow the name.
 *
 * A name that is not there neither begins anything nor costs credit. A directory that was not looked into for
 * LOOK_AHEAD_SOON_NS is forgotten, as is one whose place in the table another one needs. */
#pragma once

#include "base/limits.h"
#include "meta/types.h"

#define LOOK_AHEAD_FIRST 16u
#define LOOK_AHEAD_SMALL 64u
#define LOOK_AHEAD_PER_USE 8u
#define LOOK_AHEAD_CALLS 2u
#define LOOK_AHEAD_SOON_NS INT64_C(1000000000)
#define LOOK_AHEAD_DIRECTORIES 512u /* at the same time; a power of two */

struct look_ahead_directory {
    uint64_t ino;    /* 0: free */
    int64_t last_ns; /* when a name was found in it, or an entry used */
    uint64_t cookie; /* of the last entry that was brought; 0: none was, or it was not told */
    bool used;       /* an entry was, since it was asked for some */
    unsigned credit; /* entries that may be asked for, in parts of LOOK_AHEAD_CALLS; <= LIMIT_LOOK_AHEAD of them */
};

/* Zero-initialised is empty. */
struct look_ahead {
    struct look_ahead_directory directories[LOOK_AHEAD_DIRECTORIES];
};

/* A name of the directory is about to be asked for: how many entries to ask for with it, which are taken off its
 * credit. 0 or at least LOOK_AHEAD_FIRST. *ret_cookie: behind which; 0: behind the name. */
unsigned look_ahead_ask(struct look_ahead *l, uint64_t directory, int64_t now_ns, uint64_t *ret_cookie);
struct look_ahead_answer {
    unsigned asked;   /* as look_ahead_ask has said */
    unsigned brought; /* how many came */
    uint64_t cookie;  /* of the last of these; 0: not told */
    bool found;       /* the name is there */
    uint64_t entries; /* that the directory has, as far as is known; 0: it is not */
};
void look_ahead_answered(struct look_ahead *l, uint64_t directory, const struct look_ahead_answer *a, int64_t now_ns);
/* An entry that was brought has been asked for, for the first time. */
void look_ahead_used(struct look_ahead *l, uint64_t directory, int64_t now_ns);
