/* upkeep.h: what a block server has to do so that every block has its copies: decided from one block's id, the map of
 * the block servers, who of them is well, and who has the block. Pure: the caller asks, copies and gives the time
 * (clock_boot_ns).
 *
 * A block's owners are the first `replicas` servers in its rendezvous order (blockstore/placement.h), but for those
 * that are drained. One that has been silent for long is away, and the next in order stands in for it. The first of the
 * owners that have the block copies it to those that lack it; if none of them has it, whoever else holds it does. So
 * with one view of who is well each copy is made once, and with different views perhaps twice, which does no harm. */
#pragma once

#include <stdint.h>

#include "base/hash.h"
#include "base/limits.h"
#include "blockstore/placement.h"

/* A set of servers by their index in the map. */
#define UPKEEP_BIT(index) (UINT64_C(1) << (index))
_Static_assert(LIMIT_BLOCK_SERVERS <= 64, "a set of servers is one word");

enum upkeep_health {
    UPKEEP_UP,
    UPKEEP_SILENT, /* it does not answer, but may be back in a moment: its place is kept */
    UPKEEP_AWAY    /* the next in order stands in */
};
enum upkeep_health upkeep_health_of(bool up, int64_t answered_ns, int64_t now_ns, int64_t delay_ns);

struct upkeep_map {
    uint64_t version;
    struct placement_server servers[LIMIT_BLOCK_SERVERS]; /* `last`: drained */
    enum upkeep_health health[LIMIT_BLOCK_SERVERS];       /* of this server itself: UP */
    unsigned count, replicas;
    unsigned self; /* index of this server; `count`: it is not registered */
};

struct upkeep_owners {
    uint64_t set;
    bool exact; /* no server stands in for another: they follow from the map alone, whoever looks */
    unsigned order[LIMIT_BLOCK_SERVERS];
};
void upkeep_owners_of(const struct upkeep_map *m, const struct sha256 *block, struct upkeep_owners *ret);

struct upkeep_duty {
    uint64_t push;    /* to whom this server has to copy the block */
    uint64_t lacking; /* owners that are known not to have it, whose ever duty that is */
    uint64_t unsure;  /* owners of which it isn't known whether they have it */
    bool is_stray;    /* this server is none of the owners, which are exact and all have it */
};
/* The block is here. answered: who could be asked; have: who of them said yes. */
void upkeep_duty_of(const struct upkeep_map *m, const struct upkeep_owners *owners, uint64_t answered, uint64_t have,
                    struct upkeep_duty *ret);

/* Keeps the average below a rate. Zero bytes per second: no limit. */
struct upkeep_pace {
    uint64_t rate;
    int64_t ready_ns;
};
void upkeep_pace_spend(struct upkeep_pace *p, uint64_t bytes, int64_t now_ns);
int64_t upkeep_pace_wait_ns(const struct upkeep_pace *p, int64_t now_ns); /* 0: go on */

/* Where in the order of ids this one lies, in parts of `whole` (at most 65,536). Ids are hashes, evenly spread. */
unsigned upkeep_position(const struct sha256 *id, unsigned whole);
/* To get past ids that can't be listed: so many of 65,536 parts on, to the first id there. False: that is the end. */
bool upkeep_skip(struct sha256 *id, unsigned parts);
