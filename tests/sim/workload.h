/* workload.h: what the clients do: names of one directory, appends to one file, the group of another and a key as
 * registers; and the histories of it (tests/lin/lin.h). */
#pragma once

#include "tests/lin/lin.h"
#include "tests/sim/client.h"

void workload_init(struct world *w);
void workload_free(struct world *w);
void workload_begin(struct world *w, struct client *c);
/* Nothing new is asked for. */
void workload_stop(struct world *w);
/* The end of the run: the outcome of this one is not known. */
void workload_abandon(struct world *w, struct operation *o);
/* Ends the process when a history is not linearizable. */
void workload_check(struct world *w);
