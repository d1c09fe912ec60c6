/* quorum.h: how many durability logs make a put durable, and what those of a majority prove. Pure, thread-safe.
 *
 * Source: Ganesan et al., "Exploiting Nil-Externality for Fast Replicated Storage" (Skyros, SOSP 2021), for 2f + 1
 * voters: f + ceil(f/2) + 1 acknowledgements; recovery reads f + 1 logs and keeps what ceil(f/2) + 1 of them have.
 * Here for any number n of voters, from what is needed: a recovery reads a majority m. What it keeps is in so many of
 * these (k) that no second set of k of them is without it: 2k > m. And what was acknowledged must be in k of any
 * majority: a + m - n >= k. For odd n these are the numbers of the paper. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

/* m: the logs that a recovery reads. */
static inline unsigned durability_majority(unsigned voters)
{
    return voters / 2 + 1;
}
/* k: of these, those that have what is kept. */
static inline unsigned durability_kept(unsigned voters)
{
    return durability_majority(voters) / 2 + 1;
}
/* a: acknowledgements that make a put durable; 3 of 3, 4 of 5, 6 of 7. */
static inline unsigned durability_needed(unsigned voters)
{
    return voters - durability_majority(voters) + durability_kept(voters);
}
/* Whether a log may hold one put of a key only. Where fewer than all logs that are read must have what is kept, the
 * orders of several logs may contradict each other in a circle, and nothing in them tells which of the puts in it was
 * acknowledged before another began (ARCHITECTURE.md). With one put of a key in each log two of them can't both be
 * kept. */
static inline bool durability_exclusive(unsigned voters)
{
    return durability_kept(voters) < durability_majority(voters);
}

/* What a voter says of a put that is on its disk. */
struct durability_ack {
    uint32_t id;
    uint64_t term;         /* in which it was taken, and which was still the voter's when it was on disk */
    uint64_t config_index; /* of the configuration that both are of */
    unsigned voters;       /* of that configuration, which is committed and not joint */
    bool leader;           /* of that term: it has also put it into its order */
};

/* Acknowledgements of one put, until they are enough. Zero-initialised: none yet. */
struct durability_acks {
    struct durability_ack all[LIMIT_NODES];
    unsigned count;
};
/* True: the put is durable. Those of different terms or configurations prove nothing together. */
bool durability_acks_add(struct durability_acks *acks, const struct durability_ack *ack);
