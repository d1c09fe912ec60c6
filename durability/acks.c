/* When a put is durable. */
#include "base/plant.h"
#include "durability/quorum.h"

static bool counts(const struct durability_ack *ack, const struct durability_ack *leader)
{
    if (PLANTED(DURABILITY_TERMS_MIXED))
        return true;
    return ack->term == leader->term && ack->config_index == leader->config_index;
}

static bool is_enough(const struct durability_acks *acks, const struct durability_ack *leader)
{
    unsigned count = 0;
    for (unsigned i = 0; i < acks->count; i++)
        count += counts(&acks->all[i], leader);
    return leader->voters >= 1 && leader->voters <= LIMIT_NODES && count >= durability_needed(leader->voters);
}

bool durability_acks_add(struct durability_acks *acks, const struct durability_ack *ack)
{
    unsigned at = 0;
    while (at < acks->count && acks->all[at].id != ack->id)
        at++;
    if (at == LIMIT_NODES)
        return false;
    acks->count = at == acks->count ? at + 1 : acks->count;
    acks->all[at] = *ack; /* its last word */
    for (unsigned i = 0; i < acks->count; i++)
        if (acks->all[i].leader && is_enough(acks, &acks->all[i]))
            return true;
    return false;
}
