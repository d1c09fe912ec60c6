/* strays.h: since when copies that belong on other servers have been here, as far as there is room; time is given.
 * Pure; one thread at a time. A walk meets all copies once; those that it has not met are forgotten at its end. */
#pragma once

#include <stdint.h>

#include "base/hash.h"
#include "base/map.h"

#define STRAYS_MAX 4096u /* that are remembered; more wait for the next walk */

struct strays {
    struct map_u64 known; /* struct stray, by the first bytes of the id */
    uint64_t walk;        /* the number of the one that goes on */
};

void strays_walk_begin(struct strays *s);
/* The walk has met it: since when it is known to be a stray; now, when that is news or there is no room. */
int64_t strays_meet(struct strays *s, const struct sha256 *id, int64_t now_ns);
/* It has gone, or nearly did. */
void strays_forget(struct strays *s, const struct sha256 *id);
/* Since when the oldest of those that this walk has met is known; INT64_MAX: there are none. */
int64_t strays_walk_end(struct strays *s);
void strays_close(struct strays *s);
