#include "tests/sim/network.h"

#include <string.h>

#include "proto/wire_replica.h"
#include "tests/sim/client.h"
#include "tests/sim/member.h"
#include "tests/sim/service.h"

#define BYTES_PER_NS_INVERSE 8 /* about 1 Gbit/s */

/* The moment of arrival, or -1. */
static int64_t arrival_ns(struct world *w, uint32_t from, uint32_t to, size_t size)
{
    const struct link *l = &w->links[from][to];
    if (l->cut || world_chance(w, w->healing ? 0 : w->plan.loss_percent))
        return -1;
    int64_t delay_ns = world_between_ns(w, w->plan.latency_min_ns, w->plan.latency_max_ns);
    if (w->plan.reordering && !w->healing && world_chance(w, 3))
        delay_ns += world_between_ns(w, 0, 20 * w->plan.latency_max_ns);
    return w->now_ns + (delay_ns + (int64_t)size * BYTES_PER_NS_INVERSE) * l->slow;
}

static unsigned copies(struct world *w)
{
    return 1 + (!w->healing && world_chance(w, w->plan.duplicate_percent));
}

/* ---- between members ---- */

struct delivery {
    struct event event;
    uint32_t from;
    uint8_t identity[16];
    struct replica_message message;
    struct arena arena;
};

static void delivery_drop(struct event *e)
{
    struct delivery *d = container_of(e, struct delivery, event);
    arena_free(&d->arena);
    free(d);
}

static void deliver(struct world *w, struct event *e)
{
    struct delivery *d = container_of(e, struct delivery, event);
    if (!w->links[d->from][e->member].cut)
        member_receive(w, w->members[e->member], &d->message, d->identity);
}

/* As on a wire: what is not encoded is lost. */
static void copy_message(struct world *w, struct replica_message *to, const struct replica_message *from,
                         struct arena *arena)
{
    struct slice message, payload;
    struct err_text why = {""};
    wire_replica_encode(from, arena, &message, &payload);
    payload = arena_slice(arena, payload); /* borrowed from the sender, which may be gone when it arrives */
    if (wire_replica_decode(message, payload, arena, to, &why) != ERR_OK)
        world_fail(w, "a message of type %d can't be read: %s", (int)from->type, why.text);
}

static size_t message_size(const struct replica_message *m)
{
    size_t size = 100 + m->manifest.size + m->data.size;
    for (unsigned i = 0; m->type == REPLICA_RAFT && i < m->raft.entry_count; i++)
        size += 20 + m->raft.entries[i].data.size;
    return size;
}

void network_send(struct world *w, const struct replica_message *m, const uint8_t identity[16])
{
    uint32_t from = m->from - 1, to = m->to - 1;
    if (to >= w->member_count)
        return;
    size_t size = message_size(m);
    w->counts.messages++;
    for (unsigned n = copies(w); n > 0; n--) {
        int64_t at_ns = arrival_ns(w, from, to, size);
        if (at_ns < 0)
            continue;
        struct delivery *d = MEM_NEW(struct delivery);
        d->event = (struct event){.member = to, .run = deliver, .drop = delivery_drop};
        d->from = from;
        memcpy(d->identity, identity, sizeof d->identity);
        copy_message(w, &d->message, m, &d->arena);
        world_at(w, at_ns, &d->event);
    }
}

/* ---- with clients ---- */

struct post {
    struct event event;
    struct packet packet;
    struct arena arena;
};

static void post_drop(struct event *e)
{
    struct post *p = container_of(e, struct post, event);
    arena_free(&p->arena);
    free(p);
}

static void arrive_at_member(struct world *w, struct event *e)
{
    struct post *p = container_of(e, struct post, event);
    service_request(w, w->members[p->packet.member], &p->packet);
}

static void arrive_at_client(struct world *w, struct event *e)
{
    struct post *p = container_of(e, struct post, event);
    client_answered(w, w->clients[p->packet.client], &p->packet);
}

static void post(struct world *w, const struct packet *p, bool answer)
{
    uint32_t member = p->member, client = WORLD_MEMBERS + p->client;
    w->counts.messages++;
    for (unsigned n = answer ? 1 : copies(w); n > 0; n--) {
        int64_t at_ns = arrival_ns(w, answer ? member : client, answer ? client : member, p->message.size);
        if (at_ns < 0)
            continue;
        struct post *copy = MEM_NEW(struct post);
        copy->event = (struct event){.member = answer ? WORLD_NOBODY : member,
                                     .run = answer ? arrive_at_client : arrive_at_member,
                                     .drop = post_drop};
        copy->packet = *p;
        copy->packet.message = arena_slice(&copy->arena, p->message);
        world_at(w, at_ns, &copy->event);
    }
}

void network_request(struct world *w, const struct packet *p)
{
    post(w, p, false);
}

void network_answer(struct world *w, const struct packet *p)
{
    post(w, p, true);
}

/* ---- links ---- */

void network_cut(struct world *w, uint32_t from, uint32_t to)
{
    w->links[from][to].cut = true;
}

void network_heal(struct world *w)
{
    for (unsigned i = 0; i < WORLD_ENDPOINTS; i++)
        for (unsigned j = 0; j < WORLD_ENDPOINTS; j++)
            w->links[i][j] = (struct link){.slow = 1};
}
