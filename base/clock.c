#include "base/clock.h"

#include <time.h>

#include "base/check.h"

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    CHECK(clock_gettime(id, &t) == 0);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_boot_ns(void)
{
    return clock_ns(CLOCK_BOOTTIME);
}

int64_t clock_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t clock_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}
