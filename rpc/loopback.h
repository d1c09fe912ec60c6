/* loopback.h: connections that don't leave the machine. */
#pragma once

#include <stdbool.h>

/* A connected socket whose two ends have one address. */
bool rpc_is_loopback(int fd);
/* Of such a socket: there is nothing to be fair to, so the congestion control is
 * the simplest one, whatever the machine's is. BBR paces its packets by what it has measured, with timers, which takes
 * up to half of the rate of blocks (docs/PERFORMANCE.md). Of any other socket, and where it can't be: nothing. */
void rpc_loopback_tune(int fd);
