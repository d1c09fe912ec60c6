/* terminate.h: SIGTERM, SIGINT and SIGHUP. All threads have them blocked; one thread waits for them. While the mount
 * starts they end the process; while it serves they end the serving loop, and operations that wait for the cluster are
 * cancelled after a grace of 2 s. */
#pragma once

#include <stdint.h>

struct mount;

/* Before any other thread is started. */
void terminate_init(void);
/* Around the loop, on the thread that runs it. */
void terminate_serve(struct mount *m);
void terminate_served(void);
/* When the first signal came (clock_boot_ns); 0: none has. */
int64_t terminate_asked_ns(void);
