#include "tests/fuzz/wire/samples.h"

#include "base/mem.h"

static uint64_t any(struct prng *p)
{
    return prng_next(p);
}

void sample_admin_activity(struct prng *p, struct arena *a, unsigned max_count, struct wire_admin_activity *ret)
{
    unsigned count = (unsigned)prng_below(p, MIN(max_count, WIRE_ADMIN_METHODS) + 1);
    struct wire_admin_work *work = arena_alloc(a, count * sizeof *work);
    for (unsigned i = 0; i < count; i++)
        work[i] = (struct wire_admin_work){
            .method = 1 + (uint32_t)prng_below(p, UINT16_MAX), .count = any(p), .failed = any(p), .took_us = any(p)};
    *ret = (struct wire_admin_activity){.work = work,
                                        .work_count = count,
                                        .lease_holders = any(p),
                                        .leased_inodes = any(p),
                                        .changes_waiting = any(p),
                                        .leases_granted = any(p),
                                        .notices = any(p),
                                        .leases_expired = any(p)};
}
