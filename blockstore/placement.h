/* placement.h: which servers keep a block: rendezvous hashing (Thaler, Ravishankar 1998), weighted by capacity. Pure.
 *
 * Each server has a score for each block; the block belongs to the servers with the highest ones. A server that leaves
 * moves only its own blocks, and one that joins takes only what is then its own. A server's share is its part of the
 * weights: the score is weight / -log2(u), u the hash of (block, server) as a number in (0, 1), compared exactly in
 * integers, so that every client and server on every machine orders alike.
 *
 * Servers of one zone fail together. The order goes through the zones before it takes a second server of any: each
 * server has a rank in its zone, by the score, and the ranks come one after the other. Thus a server that joins or
 * leaves moves blocks within its zone, and between zones what the zone's best score decides. */
#pragma once

#include "base/hash.h"

struct placement_server {
    uint32_t id;     /* identity: a changed address moves nothing */
    uint64_t weight; /* capacity in any unit, below 2^56; 0 counts as 1 */
    uint64_t zone;   /* placement_zone of its name; 0: a zone of its own */
    bool last;       /* it owns nothing, takes no rank, and comes behind all others */
};

uint64_t placement_zone(const char *name); /* "" is 0, and nothing else */

/* Fills ret_order with the indexes of all `count` servers (at most LIMIT_BLOCK_SERVERS), the first owner first. Ids
 * differ. */
void placement_order(const struct placement_server *servers, unsigned count, const struct sha256 *block,
                     unsigned *ret_order);
/* The owners by that order, the first `replicas` that are not `last`: a set of indexes, a bit each. */
uint64_t placement_owners(const struct placement_server *servers, unsigned count, const unsigned *order,
                          unsigned replicas);
