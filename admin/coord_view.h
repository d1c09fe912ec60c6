/* coord_view.h: what an outside failure detector believes of the metastore's members, and whom it would make leader
 * (`surfctl coord`, for clusters without election timers). Pure: no clock, no I/O; the caller locks.
 *
 * A member is failed when so many heartbeats in a row were not answered in time. The time-out follows the round trips
 * as TCP's does (RFC 6298): smoothed time plus four times its deviation, doubled by each loss. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/limits.h"

#define COORD_TIMEOUT_FIRST_NS (3000 * NS_PER_MS) /* before anything is known, and the longest */
#define COORD_TIMEOUT_MIN_NS (100 * NS_PER_MS)
#define COORD_CUT_OFF 3u /* so many answers in a row, by which a leader hears no majority: it is of no use */

enum coord_state {
    COORD_UNKNOWN, /* not answered and not failed yet */
    COORD_ALIVE,
    COORD_FAILED
};

/* What a member says of itself. */
struct coord_answer {
    uint64_t term, last_term, last; /* of itself; of its last entry */
    bool leads, in_service;         /* not crashed, no fault, not suspended */
    bool hears_majority;            /* as leader */
};

struct coord_member {
    uint32_t id;
    enum coord_state state;
    unsigned lost;    /* heartbeats in a row */
    unsigned cut_off; /* answers in a row as a leader that hears no majority */
    int64_t smoothed_ns, deviation_ns, timeout_ns;
    struct coord_answer answer; /* the last one */
};

struct coord_view {
    unsigned lost_max; /* 1 or more */
    unsigned version;  /* +1 with every change that a view shows */
    unsigned count;
    struct coord_member members[LIMIT_NODES]; /* by id */
};

/* Of voters with these ids, all unknown. */
void coord_view_init(struct coord_view *v, const uint32_t *ids, unsigned count, unsigned lost_max);
/* NULL: no such member. */
struct coord_member *coord_view_find(struct coord_view *v, uint32_t id);
/* An answer that took so long. One that is not in service counts as a failure at once. */
void coord_view_heard(struct coord_view *v, uint32_t id, int64_t took_ns, const struct coord_answer *answer);
/* No answer within timeout_ns. */
void coord_view_lost(struct coord_view *v, uint32_t id);
/* How many are alive and in service. */
unsigned coord_view_alive(const struct coord_view *v);
bool coord_view_has_majority(const struct coord_view *v);
/* Of the live ones that lead and are not cut off the one of the highest term; NULL: none. */
const struct coord_member *coord_view_leader(const struct coord_view *v);
/* Whether there is something to decide and all is known for it: no leader, a majority lives, nobody is unknown. */
bool coord_view_wants_leader(const struct coord_view *v);
/* Candidates, best first: alive, by the term of the last entry, then its index, then the lower id (S1.6). A leader that
 * is cut off is the last. Returns how many. */
unsigned coord_view_candidates(const struct coord_view *v, const struct coord_member *ret[LIMIT_NODES]);
