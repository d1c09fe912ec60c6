/* fragments.h: which part of a file is worth being rewritten as one block. Pure. */
#pragma once

#include "meta/types.h"

/* A part of at most a block's length, and all that is named in it: extents cut to it. */
struct fragments {
    uint64_t from, to;
    struct meta_extent pieces[LIMIT_REWRITE_EXTENTS];
    unsigned count;
};

/* The first such part of [from, to), which is at most LIMIT_BLOCK_BYTES long, by all the extents that reach into it.
 * False: none is worth it; *ret is undefined. A part pays when it is made of `least_blocks` different ones or more, or
 * when many rows become few. What is rewritten is not found again. */
bool fragments_find(const struct meta_extent *extents, unsigned count, uint64_t from, uint64_t to,
                    unsigned least_blocks, struct fragments *ret);
