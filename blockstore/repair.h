/* repair.h: what a block server does with a batch of its own blocks so that each has its copies where they belong: whom
 * it asks, what it makes of the answers, which copies it sends whom, and which of its own it may remove. Pure: the
 * caller lists, asks, reads, sends and removes, and says what came of it. One thread at a time.
 *
 *   repair_batch_begin        the caller has filled in ids, touched and count
 *   repair_batch_question     for each server that can be asked: which of its blocks it has (HAS); then ..._answer
 *   repair_batch_decide       when all have answered or failed to
 *   repair_batch_vet          until it gives none: which of these do files name? then ..._vetted
 *   repair_batch_frame        until it gives none: copies that go to the same servers
 *   repair_batch_strays       then what is left over here:
 *   repair_batch_sure         until it gives none: a `sure` question to all owners of some strays; for each answer
 *                             ..._sure_answer; then ..._sure_end tells which may be removed
 *
 * The map's version is the same from begin to end (another map waits), who is well may change in between.
 *
 * Why nothing is lost by the removal of strays. (1) Who counts a copy, a client whose put was acknowledged here, counts
 * on a majority of `replicas` durable copies; when this one goes there are `replicas` of them on the owners, whatever
 * order put, answer and removal came in. A put that finds the copy before it goes is such a count too (its touch has
 * risen, see collect_stray_limit), one that comes after it writes anew. (2) Two servers can't each remove theirs
 * because the other has one: an owner answers with the version of the map by which it owns the block, and that must be
 * ours. While it goes by that version it never takes its own copy for a stray, since its own place in the map's order
 * doesn't depend on who is well. It takes another map only when none of its removals is under way, and before one that
 * it began by another map could go unseen it answers without a version (repair_mark). So removals by one map see what
 * those by other maps have left. (3) A server that is given an old disk, or loses what it had synced, is beyond this:
 * that is what the other copies are for. */
#pragma once

#include "blockstore/strays.h"
#include "blockstore/upkeep.h"

#define REPAIR_VET_MAX 256u  /* in one question for names: it is answered between other requests */
#define REPAIR_FRAME_MAX 64u /* blocks on their way to others at once */
#define REPAIR_SURE_MAX 16u  /* in one question that a removal rests on: each is read */

struct repair_batch {
    const struct upkeep_map *map; /* of the server whose blocks these are */
    unsigned capacity;
    struct sha256 *ids;
    uint64_t *touched; /* of each: when it was touched last (blockstore/touch.h) */
    unsigned count;

    uint64_t *owners, *answered, *have, *push; /* of each block: sets of servers */
    uint64_t unsure;                           /* blocks of this batch about which something could not be found out */

    unsigned vet_next, vetted[REPAIR_VET_MAX], vetted_count;

    unsigned next; /* first that may have to be copied */
    unsigned frame[REPAIR_FRAME_MAX], frame_count;
    uint64_t frame_to, frame_touched;

    unsigned *strays, stray_count, stray_next;
    unsigned sure[REPAIR_SURE_MAX], sure_yes[REPAIR_SURE_MAX], sure_count;
    uint64_t sure_owners, sure_answered, sure_touched;
};

void repair_batch_init(struct repair_batch *b, const struct upkeep_map *map, unsigned capacity);
void repair_batch_free(struct repair_batch *b);

void repair_batch_begin(struct repair_batch *b);
/* Of the batch, those that this server owns; room for `capacity`. How many: with none there is nothing to ask. */
unsigned repair_batch_question(const struct repair_batch *b, unsigned server, struct sha256 *ret_ids);
/* False: it is no answer to that question. */
bool repair_batch_answer(struct repair_batch *b, unsigned server, const uint8_t *present, unsigned count);
/* told: a client has said that blocks here lack copies, and perhaps to nobody else: not only the own duty is done. */
void repair_batch_decide(struct repair_batch *b, bool told);

/* The next of those that are to be copied, to ask whether files name them: what is garbage must not come back by being
 * copied. Room for REPAIR_VET_MAX. 0: all were asked about. */
unsigned repair_batch_vet(struct repair_batch *b, struct sha256 *ret_ids);
/* epoch: of the state that the answer is of. referenced NULL: there is none, and nothing of it is copied. */
void repair_batch_vetted(struct repair_batch *b, const uint8_t *referenced, uint64_t epoch);

/* The next copies in one frame: to the same servers (frame_to), touched last at the same time (frame_touched); indexes
 * in `frame`. False: there are no more. What the caller has dealt with it takes out by repair_batch_copied. */
bool repair_batch_frame(struct repair_batch *b);
void repair_batch_copied(struct repair_batch *b, unsigned index);
/* Blocks that are to be copied still. */
unsigned repair_batch_left(const struct repair_batch *b);

/* Of the strays those that have been known as such for age_ns are left. */
void repair_batch_strays(struct repair_batch *b, struct strays *strays, int64_t now_ns, int64_t age_ns);
/* The next strays with the same owners (sure_owners) and the same touch, which the question carries (sure_touched).
 * How many; room for REPAIR_SURE_MAX. */
unsigned repair_batch_sure(struct repair_batch *b, struct sha256 *ret_ids);
void repair_batch_sure_answer(struct repair_batch *b, unsigned server, uint64_t map_version, const uint8_t *present,
                              unsigned count);
/* Those of which every owner was sure may go, if they are not touched later than sure_touched (collect_stray_limit). */
unsigned repair_batch_sure_end(struct repair_batch *b, struct sha256 *ret_ids);

/* What a sure answer rests on: by which map, and that no copy was on its way out while it was given. */
struct repair_removals {
    uint64_t begun; /* so far */
    bool under_way; /* one is */
};
struct repair_mark {
    uint64_t map_version, removals;
};
struct repair_mark repair_mark_of(const struct repair_removals *r, uint64_t map_version);
/* The version that an answer carries whose question came at the mark; 0: it is no sure answer. */
uint64_t repair_mark_version(const struct repair_removals *r, uint64_t map_version, struct repair_mark mark);
