/* Notices to mounts that keep what they were told: each has one request here, which is answered when there are some, or
 * after a moment, so that a connection that is dead is noticed. */
#define LOG_MODULE "service"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"

#define HOLD_NS (500 * NS_PER_MS) /* well below what a client gives one try (client/meta/route_choice.h) */
#define POLL_MS 100u

struct held_query {
    struct rpc_request *request;
    struct wire_notices_query query;
    int64_t until_ns;
    bool due;
};

/* True: it was answered. */
static bool answer(struct node *n, struct rpc_request *request, const struct wire_notices_query *q, bool even_empty)
{
    struct meta_notice list[WIRE_NOTICES];
    struct wire_notices reply = {.list = list};
    enum err e = !node_in_service(n) ? service_state(n) : replica_notices(n->replica, q, &reply);
    if (e == ERR_OK && reply.count == 0 && !even_empty)
        return false;
    if (e == ERR_DETACHED && n->role != RAFT_LEADER)
        e = service_not_leader(n);
    if (e == ERR_OK)
        rpc_reply(request, ERR_OK, wire_notices_encode(&reply, &request->arena), NULL);
    else
        service_refuse(n, request, e, NULL);
    return true;
}

static void let_go(struct node *n, uint64_t session, bool even_empty)
{
    struct held_query *h = map_u64_get(&n->notices, session);
    if (!h || !answer(n, h->request, &h->query, even_empty))
        return;
    map_u64_remove(&n->notices, session);
    free(h);
}

void service_meta_notices(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct wire_notices_query q;
    struct err_text why;
    enum err e = wire_notices_query_decode(request->message, &request->arena, &q, &why);
    if (e != ERR_OK) {
        service_refuse(n, request, e, why.text);
        return;
    }
    service_changes_due(n);     /* what it acknowledges may be told */
    let_go(n, q.session, true); /* an older one, of a connection that is gone */
    /* With a full list of what it releases, it has more to say. */
    if (answer(n, request, &q, q.released_count == WIRE_NOTICES))
        return;
    q.released_count = 0; /* that was heard; the list goes with the message */
    q.released = NULL;
    struct held_query *h = MEM_NEW(struct held_query);
    *h = (struct held_query){.request = request, .query = q, .until_ns = clock_boot_ns() + HOLD_NS};
    map_u64_put(&n->notices, q.session, h);
    if (!uv_is_active((uv_handle_t *)&n->notices_timer))
        uv_timer_start(&n->notices_timer, service_notices_timer, POLL_MS, POLL_MS);
}

void service_noticed(struct node *n, uint64_t session)
{
    struct held_query *h = map_u64_get(&n->notices, session);
    if (h)
        h->due = n->notices_due = true;
}

void service_notices_turn(struct node *n)
{
    if (!n->notices_due)
        return;
    n->notices_due = false;
    size_t at = 0;
    uint64_t session;
    void *value;
    while (map_u64_next(&n->notices, &at, &session, &value))
        if (((struct held_query *)value)->due)
            let_go(n, session, false);
}

void service_notices_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    int64_t now_ns = clock_boot_ns();
    size_t at = 0;
    uint64_t session;
    void *value;
    while (map_u64_next(&n->notices, &at, &session, &value)) {
        struct held_query *h = value;
        if (now_ns >= h->until_ns || h->request->gone || n->role != RAFT_LEADER || !node_in_service(n))
            let_go(n, session, true);
    }
    if (n->notices.count == 0)
        uv_timer_stop(timer);
}

void service_notices_open(struct node *n)
{
    uv_timer_init(n->loop, &n->notices_timer);
    n->notices_timer.data = n;
}

void service_notices_close(struct node *n)
{
    size_t at = 0;
    uint64_t session;
    void *value;
    while (map_u64_next(&n->notices, &at, &session, &value))
        let_go(n, session, true);
    map_u64_free(&n->notices);
    uv_close((uv_handle_t *)&n->notices_timer, NULL);
}
