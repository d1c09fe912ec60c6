/* collect.h: garbage collection of blocks: what a block server may remove, and when it looks. Pure.
 *
 * A block is garbage when no extent names it. Which are named, the metastore knows (counts, in its `r` rows); but a
 * client puts blocks first and names them in a commit later, so a block that is not named yet must be told from one
 * that is not named any more. Clocks can't do that: a mount that is stopped for an hour may commit when it goes on.
 *
 * The log holds an epoch, which the leader raises now and then; every answer of the metastore tells the epoch of the
 * state that it is of.
 *
 *   (put)     A put, and a question whether a block is there (HAS), carries the largest epoch e that the client has
 *             heard; the server notes it as the block's touch, if it is later, before it looks whether the block is
 *             there, and never while it is removing it.
 *   (commit)  A commit names the lowest e of the blocks that it names. Applied to a state of epoch E it is refused when
 *             e < E - 1; the client then puts again.
 *   (collect) A server asks which blocks are named. The answer is of a state of epoch Q, perhaps an old one. It removes
 *             a block that was not named there and whose touch is below Q - 1 at the moment of the removal.
 *
 * No named block is missing on a server that acknowledged it. Let a commit with epoch e name a block at a state of
 * epoch E, e >= E - 1, and let the server remove the block by an answer of epoch Q. If the answer is of the commit's
 * state or a later one, the block was named when it was given, or had been let go of in between, and then another
 * commit must name it again. Else Q <= E, since epochs only rise. If the server noted the put's touch before the
 * removal, the touch was e >= E - 1 >= Q - 1, and nothing was removed. If after, then after the removal as a whole: the
 * put found the block absent and stored it, or the HAS said so. Clones and cuts name only what is named in the same
 * state, so they need no epoch.
 *
 * A restart forgets touches. Afterwards every block counts as touched in the epoch of a linearizable read that began
 * after the start, which no put of before can have exceeded; until there is one, nothing is removed.
 *
 * Repair carries the touch of the copy that it copies, and copies nothing that could be removed here: a copy is
 * protected like its original, and no garbage goes round in circles by being copied, since copies never make touches
 * later. A server that removes a copy which belongs elsewhere asks the owners with its own touch, and removes it only
 * if that has not risen since: so who counts on this copy can count on theirs. A question without an epoch is no touch.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* By an answer of this epoch a block may go that was touched last before the limit. */
uint64_t collect_limit(uint64_t answer_epoch);

/* A copy that belongs elsewhere may go below this limit, when all owners have been asked with this touch of it. */
uint64_t collect_stray_limit(uint64_t asked_touch);

struct collect_news {
    uint64_t epoch, released; /* as far as is known (META_QUERY_BLOCK_REFS) */
};
struct collect_past {
    uint64_t epoch, released; /* when the last whole collection began; 0: there was none */
    uint64_t waiting;         /* blocks that it found unnamed, and touched too lately */
    int64_t ended_ns;
};
/* Whether to look now. With `interval` since the last time it is looked anyway: for what a client has put and never
 * committed. */
bool collect_is_due(const struct collect_past *past, const struct collect_news *news, int64_t now_ns,
                    int64_t interval_ns);
