/* faults.h: what a seed chooses to let go wrong, and the repair of it. At most a minority's data is lost at a time: a
 * member is wiped, or its disk fails, only while all others that vote have theirs, and the next one after the first has
 * become a voter again. */
#pragma once

#include "tests/sim/member.h"

extern bool faults_durability;     /* durability logs in every seed, not only in every third */
void faults_plan(struct world *w); /* draws w->plan */
void faults_begin(struct world *w);
/* No more of it: links and members come back, except for a minority now and then. */
void faults_heal(struct world *w);

/* A client is about to put, ahead of the order: now and then the leader's messages don't reach the other members. */
void faults_put(struct world *w);
/* This member has taken a put ahead of its order: now and then, if it leads, the members change before it is ordered.
 */
void faults_taken(struct world *w, struct member *m);
/* A client has been told of a put that may not be ordered yet: now and then that is the leader's end. */
void faults_durable(struct world *w);

/* The member that leads and knows it, of the highest term; NULL. */
struct member *faults_leader(struct world *w);
/* Whether this member's disk was made to fail. */
bool faults_disk_failed(struct world *w, const struct member *m);
/* No change of members is under way, and nobody is left to be taken back. */
bool faults_settled(struct world *w);
