#include "blockstore/upkeep.h"

#include <string.h>

#define NS_PER_SECOND UINT64_C(1000000000)

enum upkeep_health upkeep_health_of(bool up, int64_t answered_ns, int64_t now_ns, int64_t delay_ns)
{
    if (up)
        return UPKEEP_UP;
    return now_ns - answered_ns >= delay_ns ? UPKEEP_AWAY : UPKEEP_SILENT;
}

void upkeep_owners_of(const struct upkeep_map *m, const struct sha256 *block, struct upkeep_owners *ret)
{
    placement_order(m->servers, m->count, block, ret->order);
    ret->set = placement_owners(m->servers, m->count, ret->order, m->replicas);
    ret->exact = true;
    struct placement_server present[LIMIT_BLOCK_SERVERS];
    for (unsigned i = 0; i < m->count; i++) {
        present[i] = m->servers[i];
        if (m->health[i] != UPKEEP_AWAY)
            continue;
        present[i].last = true;
        if (ret->set & UPKEEP_BIT(i))
            ret->exact = false;
    }
    if (ret->exact)
        return;
    placement_order(present, m->count, block, ret->order);
    ret->set = placement_owners(present, m->count, ret->order, m->replicas);
}

void upkeep_duty_of(const struct upkeep_map *m, const struct upkeep_owners *owners, uint64_t answered, uint64_t have,
                    struct upkeep_duty *ret)
{
    uint64_t self = m->self < m->count ? UPKEEP_BIT(m->self) : 0;
    uint64_t known = answered | self, holders = (answered & have) | self;
    *ret = (struct upkeep_duty){.unsure = owners->set & ~known};
    uint64_t lacking = ret->lacking = owners->set & known & ~holders;
    uint64_t first = self; /* when none of the owners has it */
    for (unsigned i = 0; i < m->count; i++)
        if (UPKEEP_BIT(owners->order[i]) & owners->set & holders) {
            first = UPKEEP_BIT(owners->order[i]);
            break;
        }
    if (first == self)
        ret->push = lacking;
    ret->is_stray = owners->exact && owners->set != 0 && !(owners->set & self) && !ret->unsure && !lacking;
}

void upkeep_pace_spend(struct upkeep_pace *p, uint64_t bytes, int64_t now_ns)
{
    if (p->rate == 0)
        return;
    if (p->ready_ns < now_ns)
        p->ready_ns = now_ns;
    p->ready_ns += (int64_t)((unsigned __int128)bytes * NS_PER_SECOND / p->rate);
}

int64_t upkeep_pace_wait_ns(const struct upkeep_pace *p, int64_t now_ns)
{
    return p->rate != 0 && p->ready_ns > now_ns ? p->ready_ns - now_ns : 0;
}

unsigned upkeep_position(const struct sha256 *id, unsigned whole)
{
    return (unsigned)((uint64_t)get_u16be(id->bytes) * whole / 65536);
}

bool upkeep_skip(struct sha256 *id, unsigned parts)
{
    unsigned part = get_u16be(id->bytes) + parts;
    if (part > UINT16_MAX)
        return false;
    memset(id, 0, sizeof *id);
    put_u16be(id->bytes, (uint16_t)part);
    return true;
}
