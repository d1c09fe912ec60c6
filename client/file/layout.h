/* layout.h: the known parts of a file's extents: ranges of the file in which every extent is known; what none covers
 * there is a hole. A file that is read at random, or that others have cut into many pieces, is known in several ranges.
 * Pure; one thread at a time. Zero-initialised knows nothing. */
#pragma once

#include "client/file/ranges.h"
#include "meta/types.h"

struct layout {
    struct ranges known;
    struct meta_extent *extents; /* by file offset, not overlapping, no holes, all within what is known */
    unsigned count, capacity;
};
void layout_free(struct layout *l);
/* Knows nothing any more. */
void layout_forget(struct layout *l);
/* An answer: these are all extents of [from, to). They may reach out of it. Where too much is known already, what is
 * far from `from` is forgotten. */
void layout_learn(struct layout *l, uint64_t from, uint64_t to, const struct meta_extent *extents, unsigned count);
bool layout_knows(const struct layout *l, uint64_t from, uint64_t to);
/* How far everything from `from` on is known; `from`: nothing is. */
uint64_t layout_known_to(const struct layout *l, uint64_t from);
/* Own committed contents: their bytes are now named so. In order, not overlapping. Ignored where nothing was known. */
void layout_replace(struct layout *l, const struct meta_extent *extents, unsigned count);
/* The first extent that ends behind `offset`; its index, or count. */
unsigned layout_find(const struct layout *l, uint64_t offset);
