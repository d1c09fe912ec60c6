/* rewrites.h: parts of files that are named as one block (meta/op_rewrite.c), by what is expected there or by what is
 * not. */
#pragma once

#include "base/prng.h"
#include "meta/meta.h"
#include "tests/model/model.h"

#define REWRITE_EXTENTS_MAX 48u

/* A part of this inode, some of it expected wrongly now and then; block is a number that no other has. The extents are
 * in `to`, which the command borrows. */
void rewrite_choose(struct meta *meta, struct prng *p, uint64_t ino, uint32_t block,
                    struct meta_extent to[REWRITE_EXTENTS_MAX], struct meta_command *c);
struct model_outcome model_rewrite(struct model *m, const struct meta_command *c);
