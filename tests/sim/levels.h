/* levels.h: members whose programs are of two levels (meta/level.h), and which are replaced while they are in use. The
 * level must rise only when every member knows it, and then a program that doesn't may do nothing but go out of
 * service. Without plan.levels these do nothing, and draw nothing. */
#pragma once

#include "tests/sim/member.h"

void levels_begin(struct world *w);
/* Of a new member: which program it has. */
void levels_choose(struct world *w, struct member *m);
/* It is started anew with the newer program. */
void levels_renew(struct world *w, struct member *m);
/* All that are up have the newer program from now on. */
void levels_heal(struct world *w);
void levels_applied(struct world *w, const struct member *m, const struct meta_command *command,
                    const struct meta_reply *reply);
/* Whether it may go out of service for that. */
bool levels_too_old(struct world *w, const struct member *m);
/* The level has risen, unless somebody is away who has not said that he knows it. */
bool levels_settled(const struct world *w, const struct member *leader);
