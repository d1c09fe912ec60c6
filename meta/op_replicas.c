/* op_replicas.c: how many copies each block shall have. It is a part of the map of the block servers: with another
 * version of that, clients put by the new number, and the servers make the copies that lack or remove those that are
 * too many (daemon/block). */
#include "meta/store.h"

OP(replicas)
{
    if (c->replicas.count != m->next_cluster.replicas) {
        m->next_cluster.replicas = c->replicas.count;
        m->next_cluster.map_version++;
        m->cluster_changed = true;
    }
    return outcome(r, ERR_OK);
}
