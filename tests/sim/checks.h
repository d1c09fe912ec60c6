/* checks.h: what must hold whatever goes wrong, looked at after every event; and what must hold in the end. */
#pragma once

#include "tests/sim/member.h"

void checks_init(struct world *w);
void checks_free(struct world *w);

/* One leader per term. */
void checks_role(struct world *w, const struct member *m);
/* The states of all members are equal at equal indexes. */
void checks_sends(struct world *w, const struct member *m, const struct replica_message *message);
/* ... and a numbered command takes effect once, and never behind the end of its session. */
void checks_applied(struct world *w, struct member *m, const struct meta_command *command,
                    const struct meta_reply *reply);
/* Work of the member is about to be done, or has just been, which may be a copy of its state: of what has been applied
 * by the first of these moments, or of what has been written out since. */
void checks_copied(struct world *w, struct member *m);
/* It may just have installed one: all rows are those of the member that made it. */
void checks_installed(struct world *w, struct member *m);
/* What a client was told is what the log has. */
void checks_acknowledged(struct world *w, uint64_t session, uint64_t seq, const struct meta_reply *reply);
/* A client was told that it is durable, before it has a place in the log: it has one in the end. */
void checks_durable(struct world *w, uint64_t session, uint64_t seq);
void checks_cluster_id(struct world *w, const struct member *m, const uint8_t id[16]);
/* Only a member whose disk was made to fail may go out of service, or be refused at its start. */
void checks_fault(struct world *w, const struct member *m, const char *text);
void checks_refused(struct world *w, const struct member *m, const char *text);
void checks_started(struct world *w, const struct member *m);
void checks_wiped(struct world *w, const struct member *m);
/* Nothing is applied that is not durable; applied and term don't go back within a life. */
void checks_member(struct world *w, struct member *m);

/* All that is up has caught up, and every client has been served since the healing. */
bool checks_recovered(struct world *w);
_Noreturn void checks_explain_stuck(struct world *w);
/* All the rest: histories, states and their consistency. */
void checks_end(struct world *w);
