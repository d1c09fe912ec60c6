/* compare.h: the whole tree of the state machine against the model, and the counts that both imply. */
#pragma once

#include "meta/meta.h"
#include "tests/model/model.h"

/* True when they are the same; else what differs, in why. */
bool compare_attr(const struct meta_attr *attr, const struct model_inode *inode, struct err_text *why);
bool compare_trees(struct meta *meta, const struct model *model, struct err_text *why);
/* After all reaping: every block is counted as often as extents name it. */
bool compare_counts(struct meta *meta, const struct model *model, struct err_text *why);
