/* service.h: a client's request at a member, as the daemon serves it: decoded, stamped, proposed or read, answered. */
#pragma once

#include "tests/sim/network.h"

void service_request(struct world *w, struct member *m, const struct packet *p);
