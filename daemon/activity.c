#include "daemon/activity.h"

#include "base/clock.h"

void activity_add(struct activity *a, unsigned method, enum err status, int64_t took_ns)
{
    if (method >= WIRE_ADMIN_METHODS)
        return;
    a->methods[method].count++;
    a->methods[method].failed += status != ERR_OK;
    a->methods[method].took_ns += (uint64_t)took_ns;
}

void activity_tell(const struct activity *a, struct arena *arena, struct wire_admin_activity *ret)
{
    struct wire_admin_work *work = arena_alloc(arena, WIRE_ADMIN_METHODS * sizeof *work);
    ret->work = work;
    for (unsigned i = 1; i < WIRE_ADMIN_METHODS; i++)
        if (a->methods[i].count > 0)
            work[ret->work_count++] = (struct wire_admin_work){.method = i,
                                                               .count = a->methods[i].count,
                                                               .failed = a->methods[i].failed,
                                                               .took_us = a->methods[i].took_ns / NS_PER_US};
}
