/* The leader's puts that are acknowledged ahead of their order: from when they are taken until they are applied. */
#include <string.h>

#define LOG_MODULE "durability"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

#define HELD_ASKS_MAX 256u /* of one put */

struct pending_put {
    struct list_node link;
    struct replica_proposal proposal;
    struct replica *replica;
    struct arena arena;
    struct meta_command command; /* in the arena */
    struct list joined;          /* struct replica_proposal: the same request, asked for in the ordinary way */
    struct list readers;         /* struct replica_query, by read.link */
    struct list asks;            /* struct held_ask */
    unsigned ask_count;
};

struct held_ask {
    struct list_node link;
    struct raft_message message;
};

static struct pending_put *find(const struct replica *r, uint64_t session, uint64_t seq)
{
    list_for_each (node, &r->durable.pending) {
        struct pending_put *p = container_of(node, struct pending_put, link);
        if (p->command.seq == seq && p->command.session == session)
            return p;
    }
    return NULL;
}

static void move_all(struct list *from, struct list *to)
{
    for (struct list_node *node; (node = list_pop_front(from));)
        list_push_back(to, node);
}

/* Applied, or not in the order any more. Perhaps in the middle of a step: who has waited goes on with the next turn. */
static void pending_done(struct replica_proposal *proposal, enum err status, const struct meta_reply *reply)
{
    struct pending_put *p = container_of(proposal, struct pending_put, proposal);
    struct replica *r = p->replica;
    list_remove(&p->link);
    if (status == ERR_OK)
        durable_ordered(r, p->command.session, p->command.seq);
    for (struct list_node *node; (node = list_pop_front(&p->joined));) {
        struct replica_proposal *joined = container_of(node, struct replica_proposal, link);
        joined->done(joined, status, reply);
    }
    move_all(&p->readers, &r->durable.ready);
    move_all(&p->asks, &r->durable.ready_asks);
    arena_free(&p->arena);
    free(p);
    r->env.wake(r->env.context);
}

void pending_add(struct replica *r, struct slice command)
{
    struct err_text why;
    struct pending_put *p = MEM_NEW(struct pending_put);
    p->replica = r;
    list_init(&p->joined);
    list_init(&p->readers);
    list_init(&p->asks);
    CHECK(wire_meta_command_decode(arena_slice(&p->arena, command), &p->arena, &p->command, &why) == ERR_OK);
    p->command.time_ns = replica_command_time_ns(r);
    p->proposal.data = wire_meta_command_encode(&p->command, &p->arena);
    p->proposal.done = pending_done;
    list_push_back(&r->durable.pending, &p->link);
    replica_propose(r, &p->proposal);
}

bool pending_is_ordered(const struct replica *r, uint64_t session, uint64_t seq)
{
    const struct pending_put *p = find(r, session, seq);
    return p && p->proposal.index != 0;
}

bool replica_durable_join(struct replica *r, uint64_t session, uint64_t seq, struct replica_proposal *proposal)
{
    struct pending_put *p = find(r, session, seq);
    if (!p)
        return false;
    proposal->index = proposal->term = 0;
    list_push_back(&p->joined, &proposal->link);
    return true;
}

/* ---- who waits ---- */

static bool puts_key(const struct pending_put *p, const struct meta_query *q)
{
    for (unsigned i = 0; i < p->command.kv.count; i++) {
        struct slice key = p->command.kv.changes[i].key;
        if (q->op == META_QUERY_KV_LIST && key.size >= q->prefix.size &&
            slice_equal(slice_sub(key, 0, q->prefix.size), q->prefix))
            return true;
        for (unsigned j = 0; q->op == META_QUERY_KV_GET && j < q->key_count; j++)
            if (slice_equal(key, q->keys[j]))
                return true;
    }
    return false;
}

/* They are applied in their order: the newest of those that matter is the last. */
static struct pending_put *newest(const struct replica *r, const struct meta_query *q)
{
    const struct list *pending = &r->durable.pending;
    for (struct list_node *node = pending->head.prev; node != &pending->head; node = node->prev) {
        struct pending_put *p = container_of(node, struct pending_put, link);
        if (!q || puts_key(p, q))
            return p;
    }
    return NULL;
}

bool pending_holds_query(struct replica *r, struct replica_query *q)
{
    if (r->role != RAFT_LEADER || (q->query.op != META_QUERY_KV_GET && q->query.op != META_QUERY_KV_LIST))
        return false;
    if (r->durable.recovery != RECOVERY_DONE) {
        visible_query_end(q, ERR_NO_LEADER);
        return true;
    }
    struct pending_put *p = newest(r, &q->query);
    if (!p || PLANTED(DURABILITY_READ_PASSES))
        return false;
    list_node_init(&q->read.link);
    list_push_back(&p->readers, &q->read.link);
    return true;
}

bool pending_holds_ask(struct replica *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER || m->type != RAFT_MSG_READ)
        return false;
    if (r->durable.recovery != RECOVERY_DONE)
        return true;
    struct pending_put *p = newest(r, NULL);
    if (!p || PLANTED(DURABILITY_READ_PASSES))
        return false;
    if (p->ask_count == HELD_ASKS_MAX)
        return true;
    struct held_ask *ask = MEM_NEW(struct held_ask);
    ask->message = *m;
    ask->message.entries = NULL;
    ask->message.entry_count = 0;
    list_push_back(&p->asks, &ask->link);
    p->ask_count++;
    return true;
}

/* Who has waited asks raft now. When leadership was lost meanwhile the answer is that. */
void pending_turn(struct replica *r)
{
    struct durable *a = &r->durable;
    for (struct list_node *node; (node = list_pop_front(&a->ready));) {
        struct replica_query *q = container_of(node, struct replica_query, read.link);
        if (r->closing || (r->role == RAFT_LEADER && a->recovery != RECOVERY_DONE))
            visible_query_end(q, r->closing ? ERR_SHUTDOWN : ERR_NO_LEADER);
        else
            replica_read(r, &q->read, q->query.any_member);
    }
    for (struct list_node *node; (node = list_pop_front(&a->ready_asks));) {
        struct held_ask *ask = container_of(node, struct held_ask, link);
        struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &ask->message};
        if (replica_in_service(r) && a->recovery == RECOVERY_DONE)
            (void)!driver_step(r, &event);
        free(ask);
    }
}
