/* layout.h: the known part of a file's extents: a window [from, to) of the file in which every extent is known; what
 * none covers is a hole. Pure; one thread at a time. Zero-initialised knows nothing. */
#pragma once

#include "meta/types.h"

struct layout {
    uint64_t from, to;           /* the window; empty when from == to */
    struct meta_extent *extents; /* by file offset, not overlapping; they may reach out of the window */
    unsigned count, capacity;
};
void layout_free(struct layout *l);
/* Knows nothing any more. */
void layout_forget(struct layout *l);
/* An answer: these are all extents of [from, to). Widens the window when it continues it, else replaces it. */
void layout_learn(struct layout *l, uint64_t from, uint64_t to, const struct meta_extent *extents, unsigned count);
bool layout_knows(const struct layout *l, uint64_t from, uint64_t to);
/* Own committed contents: these bytes are now named so. Outside the window it is ignored. */
void layout_replace(struct layout *l, const struct meta_extent *e);
/* The first extent that ends behind `offset`; its index, or count. */
unsigned layout_find(const struct layout *l, uint64_t offset);
