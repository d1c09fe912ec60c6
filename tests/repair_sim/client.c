/* Clients: they put a block on its owners by the map that they know, or ask whether it is there, and when a majority
 * says so they commit it, whenever that is. */
#include <string.h>

#include "base/mem.h"
#include "tests/repair_sim/world.h"

static void send(struct world *w, unsigned client, unsigned slot, enum message_kind kind)
{
    const struct client *c = &w->clients[client];
    message_send(w, (struct message){.kind = kind,
                                     .from = client,
                                     .to = slot,
                                     .number = c->number,
                                     .blocks = {c->block},
                                     .count = 1,
                                     .epoch = c->job_epoch});
}

/* On the first servers in the block's order; now and then one is passed over, because it doesn't seem to be well. */
static void put_all(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    const struct map *m = &w->maps[c->map];
    unsigned order[LIMIT_BLOCK_SERVERS], put = 0;
    c->busy = true;
    c->committing = false;
    c->number = ++w->calls;
    c->job_epoch = c->epoch;
    c->acks = c->relied = 0;
    c->asked = false;
    placement_order(m->servers, m->count, &w->blocks[c->block], order);
    c->replicas = (unsigned)__builtin_popcountll(placement_owners(m->servers, m->count, order, m->replicas));
    for (unsigned i = 0; i < m->count && put < c->replicas; i++) {
        if (chance(w, 15))
            continue;
        send(w, client, m->slots[order[i]], chance(w, 40) ? MESSAGE_CLIENT_HAS : MESSAGE_PUT);
        put++;
    }
}

void client_answered(struct world *w, const struct message *m)
{
    struct client *c = &w->clients[m->from];
    if (!c->busy || c->committing || c->number != m->number)
        return;
    if (m->present[0]) {
        c->acks |= BIT(m->to);
        c->relied |= m->relied ? m->relied : BIT(m->to);
        c->asked = c->asked || m->kind == MESSAGE_CLIENT_HAS;
    } else {
        send(w, m->from, m->to, MESSAGE_PUT);
    }
}

/* A copy that was there before and is bad counts for who only asks for it like any other, until somebody reads it; so
 * with bad luck all are. That is beyond repair. Who puts it can count on it: it is read then. */
static bool has_good_copy(const struct world *w, const struct message *m)
{
    for (unsigned s = 0; s < SERVERS; s++)
        if ((m->relied & BIT(s)) && server_durable(&w->servers[s], m->blocks[0]))
            return true;
    return false;
}

void client_commit_arrives(struct world *w, const struct message *m)
{
    struct client *c = &w->clients[m->from];
    if (m->asked && !has_good_copy(w, m))
        return;
    bool good = metastore_commit(w, m->blocks[0], m->epoch, m->relied);
    seeds_trace("client %u commits block %u of epoch %llu, on %#x: %s", m->from, m->blocks[0],
                (unsigned long long)m->epoch, m->relied, good ? "done" : "stale");
    world_check(w, "a commit");
    if (c->number != m->number || !c->busy)
        return;
    c->epoch = metastore_now(w).epoch;
    if (good)
        c->busy = false;
    else
        put_all(w, m->from);
}

void client_step(struct world *w, unsigned client)
{
    struct client *c = &w->clients[client];
    if (chance(w, 30)) {
        c->epoch = metastore_now(w).epoch;
        c->map = c->map + below(w, w->map_count - c->map);
    } else if (!c->busy) {
        c->block = below(w, w->blocks_used);
        put_all(w, client);
    } else if (chance(w, 4)) {
        c->busy = false; /* it ends; its commit may still be on its way */
    } else if (!c->committing && (unsigned)__builtin_popcount(c->acks) > c->replicas / 2) {
        c->committing = true;
        message_send(w, (struct message){.kind = MESSAGE_COMMIT,
                                         .from = client,
                                         .number = c->number,
                                         .blocks = {c->block},
                                         .count = 1,
                                         .epoch = c->job_epoch,
                                         .relied = c->relied,
                                         .asked = c->asked});
    } else if (!c->committing && chance(w, 20)) {
        const struct map *m = &w->maps[c->map];
        send(w, client, m->slots[below(w, m->count)], MESSAGE_PUT);
    }
}
