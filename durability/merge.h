/* merge.h: one order out of the durability logs of a majority. Pure. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

#define DURABILITY_PUTS_MAX 1024u           /* live ones of a log */
#define DURABILITY_COMMAND_BYTES (64 * KIB) /* of one put; larger ones go the ordinary way */
#define DURABILITY_LIVE_BYTES (960 * KIB)   /* of the live puts of a log, as a copy has them */
#define DURABILITY_PUT_OVERHEAD_BYTES 28u   /* of each, in a copy */

/* An unconditional put that may not have been ordered yet. (session, seq) names it. */
struct durability_put {
    uint64_t term; /* in which it was taken */
    uint64_t session, seq;
    struct slice command; /* encoded */
};

/* What one log holds, in its order. */
struct durability_copy {
    uint64_t settled; /* the newest term of which this member knows that its recovery is complete */
    struct durability_put *puts;
    unsigned count; /* <= DURABILITY_PUTS_MAX */
};

/* A copy as it travels: at most DURABILITY_LIVE_BYTES. */
void durability_copy_encode(const struct durability_copy *c, struct bytes *to);
/* ERR_PROTOCOL for what no encoder wrote. Commands are borrowed from s. */
enum err durability_copy_decode(struct slice s, struct arena *a, struct durability_copy *ret) MUST_USE;

/* What at least `kept` of the copies have, in an order in which a is before b whenever `kept` of the copies have a
 * before b, or a and no b, and b doesn't lead back to a. Of those that lead back to each other the one with the lowest
 * name is first. What was taken before the newest settled term is left out. The order of the copies doesn't matter. The
 * list is in the arena; commands are borrowed. */
unsigned durability_merge(const struct durability_copy *copies, unsigned copy_count, unsigned kept, struct arena *a,
                          struct durability_put **ret);
