/* activity.h: what a node was asked, how often, and how long it had it. Only counted when a gateway shows it. Loop's
 * thread. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "proto/wire_admin.h"

struct activity {
    struct {
        uint64_t count, failed, took_ns;
    } methods[WIRE_ADMIN_METHODS]; /* by number; above that none is counted */
};

void activity_add(struct activity *a, unsigned method, enum err status, int64_t took_ns);
/* Only those that were asked; in the arena. */
void activity_tell(const struct activity *a, struct arena *arena, struct wire_admin_activity *ret);
