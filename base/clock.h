/* clock.h: the clocks. int64 nanoseconds. Pure modules never call these; they are handed the time. */
#pragma once

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: goes on in suspend, never steps */
int64_t clock_cpu_ns(void);  /* CLOCK_PROCESS_CPUTIME_ID: what all threads of this process have run */
int64_t clock_wall_ns(void); /* CLOCK_REALTIME: for mtime and log lines only */
