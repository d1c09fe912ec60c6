#include "blockstore/placement.h"

#include <string.h>

#include "base/check.h"
#include "base/limits.h"

#define LOG2_FRACTION_BITS 24u

/* -log2(u / 2^64) in fixed point, at least 1. The fraction comes by repeated squaring: bit after bit of log2. */
static uint64_t minus_log2(uint64_t u)
{
    u |= 1;
    unsigned leading = (unsigned)__builtin_clzll(u);
    uint64_t mantissa = u << leading; /* [2^63, 2^64): 1.0 to 2.0 */
    uint64_t fraction = 0;
    for (unsigned bit = 0; bit < LOG2_FRACTION_BITS; bit++) {
        unsigned __int128 square = (unsigned __int128)mantissa * mantissa; /* 1.0 to 4.0 at 2^126 */
        fraction <<= 1;
        if (square >> 127) {
            fraction |= 1;
            mantissa = (uint64_t)(square >> 64);
        } else {
            mantissa = (uint64_t)(square >> 63);
        }
    }
    uint64_t log2 = ((uint64_t)(63 - leading) << LOG2_FRACTION_BITS) | fraction;
    uint64_t result = ((uint64_t)64 << LOG2_FRACTION_BITS) - log2;
    return result ? result : 1;
}

struct score {
    uint64_t weight, distance; /* weight / distance */
    uint32_t id;
};

static struct score score_of(const struct placement_server *server, const struct sha256 *block)
{
    uint64_t u = checksum64(SLICE(block->bytes, SHA256_SIZE), server->id);
    return (struct score){server->weight ? server->weight : 1, minus_log2(u), server->id};
}

static bool score_above(const struct score *a, const struct score *b)
{
    unsigned __int128 left = (unsigned __int128)a->weight * b->distance;
    unsigned __int128 right = (unsigned __int128)b->weight * a->distance;
    return left != right ? left > right : a->id < b->id;
}

uint64_t placement_zone(const char *name)
{
    if (!name[0])
        return 0;
    uint64_t zone = checksum64(slice_str(name), 0);
    return zone ? zone : 1;
}

/* How many of its zone stand before it. */
static unsigned rank_of(const struct placement_server *servers, const unsigned *order, unsigned at)
{
    const struct placement_server *s = &servers[order[at]];
    if (s->last)
        return LIMIT_BLOCK_SERVERS;
    unsigned rank = 0;
    for (unsigned i = 0; i < at && s->zone != 0; i++)
        rank += servers[order[i]].zone == s->zone && !servers[order[i]].last;
    return rank;
}

static void order_by_rank(const struct placement_server *servers, unsigned count, unsigned *order)
{
    unsigned ranks[LIMIT_BLOCK_SERVERS], sorted[LIMIT_BLOCK_SERVERS], sorted_count = 0;
    for (unsigned i = 0; i < count; i++)
        ranks[i] = rank_of(servers, order, i);
    for (unsigned rank = 0; sorted_count < count; rank++)
        for (unsigned i = 0; i < count; i++)
            if (ranks[i] == rank)
                sorted[sorted_count++] = order[i];
    memcpy(order, sorted, count * sizeof *order);
}

uint64_t placement_owners(const struct placement_server *servers, unsigned count, const unsigned *order,
                          unsigned replicas)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < count && i < replicas && !servers[order[i]].last; i++)
        set |= UINT64_C(1) << order[i];
    return set;
}

void placement_order(const struct placement_server *servers, unsigned count, const struct sha256 *block,
                     unsigned *ret_order)
{
    CHECK(count <= LIMIT_BLOCK_SERVERS);
    struct score scores[LIMIT_BLOCK_SERVERS]; /* in order */
    for (unsigned i = 0; i < count; i++) {
        struct score mine = score_of(&servers[i], block);
        unsigned at = i;
        for (; at > 0 && score_above(&mine, &scores[at - 1]); at--) {
            scores[at] = scores[at - 1];
            ret_order[at] = ret_order[at - 1];
        }
        scores[at] = mine;
        ret_order[at] = i;
    }
    for (unsigned i = 0; i < count; i++)
        if (servers[i].zone != 0 || servers[i].last) {
            order_by_rank(servers, count, ret_order);
            return;
        }
}
