/* extent.h: extent arithmetic, pure. Arrays are in file order and don't overlap. */
#pragma once

#include "meta/types.h"

/* What is left of `old` when the bytes [from, to) are taken away: up to two extents (a head and a tail), which name the
 * same block at shifted offsets. Returns how many; 0 when all of it is covered. */
unsigned extent_subtract(const struct meta_extent *old, uint64_t from, uint64_t to, struct meta_extent ret[2]);
/* True when b continues a in the file and in the block (or both are holes), and *ret is their union. */
bool extent_merge(const struct meta_extent *a, const struct meta_extent *b, struct meta_extent *ret);
/* In range, not empty, within the block; `why` for people. */
enum err extent_validate(const struct meta_extent *e, struct err_text *why) MUST_USE;
/* All valid, in order, not overlapping. */
enum err extent_validate_list(const struct meta_extent *list, unsigned count, struct err_text *why) MUST_USE;
