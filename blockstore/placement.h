/* placement.h: which servers keep a block: rendezvous hashing (Thaler, Ravishankar 1998), weighted by capacity. Pure.
 *
 * Each server has a score for each block; the block belongs to the servers with the highest ones. A server that leaves
 * moves only its own blocks, and one that joins takes only what is then its own. A server's share is its part of the
 * weights: the score is weight / -log2(u), u the hash of (block, server) as a number in (0, 1), compared exactly in
 * integers, so that every client and server on every machine orders alike. */
#pragma once

#include "base/hash.h"

struct placement_server {
    uint32_t id;     /* identity: a changed address moves nothing */
    uint64_t weight; /* capacity in any unit, below 2^56; 0 counts as 1 */
};

/* Fills ret_order with the indexes of all `count` servers (at most LIMIT_BLOCK_SERVERS), the first owner first. Ids
 * differ. */
void placement_order(const struct placement_server *servers, unsigned count, const struct sha256 *block,
                     unsigned *ret_order);
