/* op_epoch.c: the epoch of collection is raised. What it is for: blockstore/collect.h. */
#include "meta/store.h"

OP(epoch)
{
    if (c->epoch.after != m->state.epoch)
        return outcome(r, ERR_AGAIN);
    m->next.epoch++;
    if (c->epoch.look) { /* as if there were garbage as new as can be */
        m->next.released++;
        m->next.released_epoch = m->next.epoch;
    }
    *r = (struct meta_reply){.status = ERR_OK};
    return ERR_OK;
}
