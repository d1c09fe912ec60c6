/* Commands on their way through the log, and linearizable reads. */
#define LOG_MODULE "replica"
#include "base/check.h"
#include "base/mem.h"
#include "proto/wire_meta.h"
#include "replica/internal.h"

int64_t propose_time_ns(const struct replica *r)
{
    int64_t passed_ns = MAX(replica_now_ns(r) - r->last_time_at_ns, 0) / 2, slow_ns;
    if (__builtin_add_overflow(r->last_time_ns, passed_ns, &slow_ns))
        slow_ns = INT64_MAX;
    return MAX(slow_ns, r->env.wall_ns(r->env.context));
}

int64_t replica_command_time_ns(struct replica *r)
{
    r->last_time_ns = MAX(propose_time_ns(r), r->last_time_ns + (r->last_time_ns < INT64_MAX));
    r->last_time_at_ns = replica_now_ns(r);
    return r->last_time_ns;
}

void propose_leader_ready(struct replica *r)
{
    r->last_time_ns = MAX(r->last_time_ns, meta_log_time_ns(r->meta));
    r->last_time_at_ns = replica_now_ns(r);
}

void replica_propose(struct replica *r, struct replica_proposal *p)
{
    p->index = p->term = 0;
    list_push_back(&r->queued, &p->link);
    r->env.wake(r->env.context);
}

/* Between raft_step and the rest of its update: entries of this event may not be committed before they are known here.
 */
void propose_given(struct replica *r, const struct raft_update *u, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct replica_proposal *p = container_of(list_pop_front(&r->queued), struct replica_proposal, link);
        if (u->status == ERR_OK && PLANTED(REPLICA_REPLY_BEFORE_COMMIT)) {
            p->done(p, ERR_OK, &(struct meta_reply){.status = ERR_OK});
        } else if (u->status == ERR_OK) {
            p->index = u->proposed_index + i, p->term = u->proposed_term;
            list_push_back(&r->proposed, &p->link);
        } else {
            p->done(p, u->status, NULL);
        }
    }
}

void propose_flush(struct replica *r)
{
    struct raft_entry entries[256];
    while (!list_empty(&r->queued) && !r->fault.text[0] && !r->proposals_held && !gather_holds(r)) {
        struct raft_event e = {.type = RAFT_EVENT_PROPOSE, .propose = {.entries = entries}};
        size_t bytes = 0;
        list_for_each (node, &r->queued) {
            const struct replica_proposal *p = container_of(node, struct replica_proposal, link);
            bytes += p->data.size;
            if (e.propose.count == ARRAY_SIZE(entries) || (e.propose.count > 0 && bytes > LIMIT_RAFT_BATCH_BYTES))
                break;
            entries[e.propose.count++] = (struct raft_entry){.type = RAFT_ENTRY_COMMAND, .data = p->data};
        }
        (void)!driver_step(r, &e);
    }
}

void replica_flush_proposals(struct replica *r)
{
    propose_flush(r);
}

void replica_hold_proposals(struct replica *r, bool hold)
{
    r->proposals_held = hold;
    if (!hold)
        r->env.wake(r->env.context);
}

void propose_applied(struct replica *r, const struct raft_entry *e, const struct meta_command *c,
                     const struct meta_reply *reply)
{
    while (!list_empty(&r->proposed)) {
        struct replica_proposal *p = container_of(list_first(&r->proposed), struct replica_proposal, link);
        if (p->index > e->index)
            return;
        list_remove(&p->link);
        if (p->index == e->index && p->term == e->term) {
            visible_reply(r, p, c, reply);
            return;
        }
        p->done(p, ERR_AGAIN, NULL); /* another leader's entry is in its place */
    }
}

void propose_fail(struct replica *r, enum err status)
{
    struct list *lists[] = {&r->proposed, &r->queued};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct list_node *node; (node = list_pop_front(lists[i]));) {
            struct replica_proposal *p = container_of(node, struct replica_proposal, link);
            p->done(p, status, NULL);
        }
}

/* ---- reads ---- */

void replica_read(struct replica *r, struct replica_read *read, bool forward)
{
    read->id = ++r->last_read_id;
    list_node_init(&read->link);
    if (!replica_in_service(r)) {
        read->done(read, r->fault.text[0] ? ERR_IO : ERR_CRASHED);
        return;
    }
    map_u64_put(&r->reads, read->id, read);
    struct raft_event e = {.type = RAFT_EVENT_READ, .read = {.id = read->id, .forward = forward}};
    (void)!driver_step(r, &e);
}

void reads_released(struct replica *r, const struct raft_read_result *results, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct replica_read *read = map_u64_remove(&r->reads, results[i].id);
        if (!read)
            continue; /* failed here meanwhile */
        if (results[i].status != ERR_OK) {
            read->done(read, results[i].status);
        } else if (results[i].index <= meta_applied_index(r->meta)) {
            read->done(read, ERR_OK);
        } else {
            read->index = results[i].index;
            struct list_node *at = &r->waiting_reads.head; /* in order of index; almost always the end */
            while (at->prev != &r->waiting_reads.head &&
                   container_of(at->prev, struct replica_read, link)->index > read->index)
                at = at->prev;
            list_insert_before(at, &read->link);
        }
    }
}

void reads_applied(struct replica *r)
{
    while (!list_empty(&r->waiting_reads)) {
        struct replica_read *read = container_of(list_first(&r->waiting_reads), struct replica_read, link);
        if (read->index > meta_applied_index(r->meta))
            return;
        list_remove(&read->link);
        read->done(read, r->fault.text[0] ? ERR_IO : ERR_OK);
    }
}

void reads_fail(struct replica *r, enum err status)
{
    for (struct list_node *node; (node = list_pop_front(&r->waiting_reads));) {
        struct replica_read *read = container_of(node, struct replica_read, link);
        read->done(read, status);
    }
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&r->reads, &at, &id, &value)) {
        map_u64_remove(&r->reads, id);
        struct replica_read *read = value;
        read->done(read, status);
    }
}

/* ---- the leader's own ---- */

struct own_proposal {
    struct replica_proposal proposal;
    struct arena arena;
    void (*done)(void *context, enum err status, const struct meta_reply *reply);
};

static void own_proposal_done(struct replica_proposal *p, enum err status, const struct meta_reply *reply)
{
    struct own_proposal *own = container_of(p, struct own_proposal, proposal);
    own->done(p->context, status, reply);
    arena_free(&own->arena);
    free(own);
}

void replica_propose_own(struct replica *r, const struct meta_command *c,
                         void (*done)(void *context, enum err status, const struct meta_reply *reply), void *context)
{
    struct own_proposal *own = MEM_NEW(struct own_proposal);
    struct meta_command stamped = *c;
    stamped.time_ns = replica_command_time_ns(r);
    own->proposal.data = wire_meta_command_encode(&stamped, &own->arena);
    own->proposal.done = own_proposal_done;
    own->proposal.context = context;
    own->done = done;
    replica_propose(r, &own->proposal);
}
