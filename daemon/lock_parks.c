/* Questions for locks that are waited for. Those whose answer would be "not yet" are put off until the lock is given,
 * or for a while: a mount learns of its turn without asking all the time, and asks anew, whomever it finds, when this
 * node or its connection goes. */
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "daemon/node.h"

#define PARK_NS (500 * NS_PER_MS) /* well below what a client gives a member to answer (ROUTE_TRY_NS) */

/* In the request's arena. */
struct park {
    struct list_node node; /* by until_ns */
    struct rpc_request *request;
    uint64_t ticket;
    int64_t until_ns;
};

static void arm(struct node *n)
{
    struct list_node *first = list_first(&n->parks);
    if (!first) {
        uv_timer_stop(&n->park_timer);
        return;
    }
    int64_t left = container_of(first, struct park, node)->until_ns - clock_boot_ns();
    uint64_t left_ms = left > 0 ? (uint64_t)(left / NS_PER_MS) + 1 : 0;
    uv_timer_start(&n->park_timer, lock_parks_on_timer, left_ms, 0);
}

static void unpark(struct node *n, struct park *p)
{
    list_remove(&p->node);
    if (map_u64_get(&n->parked, p->ticket) == p)
        map_u64_remove(&n->parked, p->ticket);
}

/* Looks once more; whatever there is to say is said. */
void lock_parks_on_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    int64_t now_ns = clock_boot_ns();
    for (struct list_node *first; (first = list_first(&n->parks));) {
        struct park *p = container_of(first, struct park, node);
        if (p->until_ns > now_ns)
            break;
        unpark(n, p);
        service_meta_query_again(n, p->request);
    }
    arm(n);
}

/* To be looked at as soon as the loop comes round. */
static void is_due(struct node *n, struct park *p)
{
    p->until_ns = 0;
    list_remove(&p->node);
    list_push_front(&n->parks, &p->node);
    arm(n);
}

void lock_parks_add(struct node *n, struct rpc_request *request, uint64_t ticket)
{
    struct park *p = arena_zalloc(&request->arena, sizeof *p), *older;
    *p = (struct park){.request = request, .ticket = ticket, .until_ns = clock_boot_ns() + PARK_NS};
    list_node_init(&p->node);
    /* Whoever asks for the same lock again has given up on the first answer. */
    if ((older = map_u64_get(&n->parked, ticket)))
        is_due(n, older);
    list_push_back(&n->parks, &p->node);
    map_u64_put(&n->parked, ticket, p);
    if (list_first(&n->parks) == &p->node)
        arm(n);
}

void lock_parks_applied(struct node *n)
{
    unsigned count;
    const uint64_t *tickets = meta_lock_grants(replica_meta(n->replica), &count);
    for (unsigned i = 0; i < count && n->parked.count > 0; i++) {
        struct park *p = map_u64_get(&n->parked, tickets[i]);
        if (p)
            is_due(n, p);
    }
}

void lock_parks_open(struct node *n)
{
    list_init(&n->parks);
    uv_timer_init(n->loop, &n->park_timer);
    n->park_timer.data = n;
}

void lock_parks_close(struct node *n)
{
    for (struct list_node *first; (first = list_first(&n->parks));) {
        struct park *p = container_of(first, struct park, node);
        unpark(n, p);
        service_refuse(n, p->request, ERR_SHUTDOWN, NULL);
    }
    map_u64_free(&n->parked);
    uv_close((uv_handle_t *)&n->park_timer, NULL);
}
