/* Commands on their way through the log, and linearizable reads. */
#define LOG_MODULE "node"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"

int64_t node_command_time_ns(struct node *n)
{
    n->last_time_ns = MAX(n->last_time_ns + 1, clock_wall_ns());
    return n->last_time_ns;
}

void node_propose(struct node *n, struct proposal *p)
{
    p->index = p->term = 0;
    list_push_back(&n->queued, &p->link);
    n->queued_count++;
    node_wake(n);
}

/* Between raft_step and the rest of its update: entries of this event may not be committed before they are known here.
 */
void node_proposals_given(struct node *n, const struct raft_update *u, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct proposal *p = container_of(list_pop_front(&n->queued), struct proposal, link);
        n->queued_count--;
        if (u->status == ERR_OK) {
            p->index = u->proposed_index + i, p->term = u->proposed_term;
            list_push_back(&n->proposed, &p->link);
        } else {
            p->done(n, p, u->status, NULL);
        }
    }
}

void node_flush_proposals(struct node *n)
{
    struct raft_entry entries[256];
    while (!list_empty(&n->queued) && !n->fault.text[0] && !n->proposals_held) {
        struct raft_event e = {.type = RAFT_EVENT_PROPOSE, .propose = {.entries = entries}};
        size_t bytes = 0;
        list_for_each (node, &n->queued) {
            const struct proposal *p = container_of(node, struct proposal, link);
            bytes += p->data.size;
            if (e.propose.count == ARRAY_SIZE(entries) || (e.propose.count > 0 && bytes > LIMIT_RAFT_BATCH_BYTES))
                break;
            entries[e.propose.count++] = (struct raft_entry){.type = RAFT_ENTRY_COMMAND, .data = p->data};
        }
        (void)!node_step(n, &e);
    }
}

void node_proposal_applied(struct node *n, const struct raft_entry *e, const struct meta_reply *reply)
{
    while (!list_empty(&n->proposed)) {
        struct proposal *p = container_of(list_first(&n->proposed), struct proposal, link);
        if (p->index > e->index)
            return;
        list_remove(&p->link);
        if (p->index == e->index && p->term == e->term) {
            p->done(n, p, ERR_OK, reply);
            return;
        }
        p->done(n, p, ERR_AGAIN, NULL); /* another leader's entry is in its place */
    }
}

void node_fail_proposals(struct node *n, enum err status)
{
    struct list *lists[] = {&n->proposed, &n->queued};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct list_node *node; (node = list_pop_front(lists[i]));) {
            struct proposal *p = container_of(node, struct proposal, link);
            p->done(n, p, status, NULL);
        }
    n->queued_count = 0;
}

void node_read(struct node *n, struct read *r)
{
    r->id = ++n->last_read_id;
    list_node_init(&r->link);
    map_u64_put(&n->reads, r->id, r);
    struct raft_event e = {.type = RAFT_EVENT_READ, .read.id = r->id};
    (void)!node_step(n, &e);
}

void node_reads_released(struct node *n, const struct raft_read_result *results, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct read *r = map_u64_remove(&n->reads, results[i].id);
        if (!r)
            continue; /* failed here meanwhile */
        if (results[i].status != ERR_OK) {
            r->done(n, r, results[i].status);
        } else if (results[i].index <= meta_applied_index(n->meta)) {
            r->done(n, r, ERR_OK);
        } else {
            r->index = results[i].index;
            struct list_node *at = &n->waiting_reads.head; /* in order of index; almost always the end */
            while (at->prev != &n->waiting_reads.head && container_of(at->prev, struct read, link)->index > r->index)
                at = at->prev;
            list_insert_before(at, &r->link);
        }
    }
}

void node_reads_applied(struct node *n)
{
    while (!list_empty(&n->waiting_reads)) {
        struct read *r = container_of(list_first(&n->waiting_reads), struct read, link);
        if (r->index > meta_applied_index(n->meta))
            return;
        list_remove(&r->link);
        r->done(n, r, n->fault.text[0] ? ERR_IO : ERR_OK);
    }
}

void node_fail_reads(struct node *n, enum err status)
{
    for (struct list_node *node; (node = list_pop_front(&n->waiting_reads));) {
        struct read *r = container_of(node, struct read, link);
        r->done(n, r, status);
    }
    size_t at = 0;
    uint64_t id;
    void *value;
    while (map_u64_next(&n->reads, &at, &id, &value)) {
        map_u64_remove(&n->reads, id);
        struct read *r = value;
        r->done(n, r, status);
    }
}

struct own_proposal {
    struct proposal proposal;
    struct arena arena;
    void (*done)(struct node *n, void *context, enum err status, const struct meta_reply *reply);
    void *context;
};

static void own_proposal_done(struct node *n, struct proposal *p, enum err status, const struct meta_reply *reply)
{
    struct own_proposal *own = container_of(p, struct own_proposal, proposal);
    own->done(n, own->context, status, reply);
    arena_free(&own->arena);
    free(own);
}

void node_propose_own(struct node *n, const struct meta_command *c,
                      void (*done)(struct node *n, void *context, enum err status, const struct meta_reply *reply),
                      void *context)
{
    struct own_proposal *own = MEM_NEW(struct own_proposal);
    struct meta_command stamped = *c;
    stamped.time_ns = node_command_time_ns(n);
    own->proposal.data = wire_meta_command_encode(&stamped, &own->arena);
    own->proposal.done = own_proposal_done;
    own->done = done, own->context = context;
    node_propose(n, &own->proposal);
}
