/* disk.h: what a member's replica gives to its disk: batches of the log, in order, each with a moment of its own. */
#pragma once

#include "tests/sim/member.h"

void disk_persist(struct member *m, uint64_t number, const struct raft_update *u);
void disk_compact(struct member *m, uint64_t index);
/* Turns a few bits of its log; how many. The member is down. */
unsigned disk_rot(struct member *m);
/* What was queued is lost. */
void disk_drop(struct member *m);
