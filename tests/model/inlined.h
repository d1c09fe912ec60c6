/* inlined.h: blocks that come along with commits (meta/inline_block.c): which ones a random commit brings, which are
 * then said to be moved, rightly or not, and whether the state machine has those that the model has. */
#pragma once

#include "base/prng.h"
#include "meta/meta.h"
#include "tests/model/model.h"

#define INLINED_AT_ONCE 3u
#define INLINED_BYTES 40u

/* What a command borrows. */
struct inlined_choice {
    uint8_t bytes[INLINED_AT_ONCE][INLINED_BYTES];
    struct slice brought[INLINED_AT_ONCE];
    struct meta_inline_block moved[INLINED_AT_ONCE];
};

void inlined_choose(struct prng *p, struct inlined_choice *to, struct meta_command *commit);
void inlined_choose_moved(const struct model *m, struct prng *p, struct inlined_choice *to, struct meta_command *moved);
/* After the choice was copied, with the command that borrows from it. */
void inlined_own(struct inlined_choice *c, struct meta_command *commit);
void model_moved(struct model *m, const struct meta_inline_block *b);
bool inlined_compare(struct meta *meta, const struct model *model, struct err_text *why);
