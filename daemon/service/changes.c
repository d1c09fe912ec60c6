/* Questions for what changes, in the tree (replica/changes.c) and in the key/value space (replica/kv_events.c): each is
 * held until there is something to tell, or for a moment, so that a connection that is dead is noticed and a leader
 * that is none any more is left. */
#define LOG_MODULE "service"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "daemon/node.h"
#include "proto/wire_kv_events.h"

#define HOLD_NS (500 * NS_PER_MS) /* well below what a client gives one try */
#define POLL_MS 100u              /* who believes something older may also just let its term pass */

/* In the request's arena. */
struct held_question {
    struct list_node node; /* oldest first */
    struct rpc_request *request;
    int64_t until_ns;
    /* True: it was answered. */
    bool (*answer)(struct node *n, struct held_question *h, bool even_empty);
    union { /* goes on with what was looked at and is not asked for */
        struct wire_changes_query changes;
        struct wire_kv_events_query keys;
    };
};

/* An answer's end, whatever was asked for. The message lives in the scratch arena. */
static void tell(struct node *n, struct held_question *h, enum err e, struct slice message)
{
    if (e != ERR_OK)
        service_refuse(n, h->request, e == ERR_NOT_LEADER ? service_not_leader(n) : e, NULL);
    else
        rpc_reply(h->request, ERR_OK, message, NULL);
}

static bool answer_changes(struct node *n, struct held_question *h, bool even_empty)
{
    struct wire_changes_query *q = &h->changes;
    struct wire_changes reply = {0};
    struct arena scratch = {0}; /* a held question is looked at many times */
    enum err e = !node_in_service(n) ? service_state(n) : replica_changes(n->replica, q, &scratch, &reply);
    bool says_something = reply.count > 0 || reply.missed_upto > 0 || q->from_now;
    bool answered = e != ERR_OK || says_something || even_empty;
    if (answered)
        tell(n, h, e, e == ERR_OK ? wire_changes_encode(&reply, &scratch) : SLICE(NULL, 0));
    else
        q->after = reply.through;
    arena_free(&scratch);
    return answered;
}

static bool answer_keys(struct node *n, struct held_question *h, bool even_empty)
{
    struct wire_kv_events_query *q = &h->keys;
    struct wire_kv_events reply = {0};
    struct arena scratch = {0};
    enum err e = !node_in_service(n) ? service_state(n) : replica_kv_events(n->replica, q, &scratch, &reply);
    bool says_something = reply.count > 0 || reply.missed_upto > 0 || q->from_now;
    bool answered = e != ERR_OK || says_something || even_empty;
    if (answered)
        tell(n, h, e, e == ERR_OK ? wire_kv_events_encode(&reply, &scratch) : SLICE(NULL, 0));
    else
        q->after = reply.through;
    arena_free(&scratch);
    return answered;
}

static void let_go(struct node *n, struct held_question *h, bool even_empty)
{
    /* Off the list first: answering may free it. */
    struct list_node *next = h->node.next;
    list_remove(&h->node);
    if (h->answer(n, h, even_empty))
        n->watch_count--;
    else
        list_insert_before(next, &h->node);
}

static void begin(struct node *n, struct held_question *h)
{
    struct rpc_request *request = h->request;
    if (n->watch_count >= NODE_WATCHES_MAX) {
        service_refuse(n, request, ERR_BUSY_NOW, "too many are watching");
        return;
    }
    if (h->answer(n, h, false))
        return;
    h->until_ns = clock_boot_ns() + HOLD_NS;
    list_node_init(&h->node);
    list_push_back(&n->watches, &h->node);
    n->watch_count++;
    if (!uv_is_active((uv_handle_t *)&n->watch_timer))
        uv_timer_start(&n->watch_timer, service_changes_timer, POLL_MS, POLL_MS);
}

void service_meta_changes(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct held_question *h = arena_zalloc(&request->arena, sizeof *h);
    struct err_text why;
    h->request = request;
    h->answer = answer_changes;
    enum err e = wire_changes_query_decode(request->message, &request->arena, &h->changes, &why);
    if (e != ERR_OK)
        service_refuse(n, request, e, why.text);
    else
        begin(n, h);
}

void service_meta_kv_events(struct node *n, struct rpc_request *request)
{
    if (!service_has_role(n, request, WIRE_NODE_META))
        return;
    struct held_question *h = arena_zalloc(&request->arena, sizeof *h);
    struct err_text why;
    h->request = request;
    h->answer = answer_keys;
    enum err e = wire_kv_events_query_decode(request->message, &request->arena, &h->keys, &why);
    if (e != ERR_OK)
        service_refuse(n, request, e, why.text);
    else
        begin(n, h);
}

static void look_at_all(struct node *n)
{
    int64_t now_ns = clock_boot_ns();
    n->watches_due = false;
    list_for_each_safe (node, &n->watches) {
        struct held_question *h = container_of(node, struct held_question, node);
        let_go(n, h, now_ns >= h->until_ns || h->request->gone);
    }
}

void service_changes_due(struct node *n)
{
    n->watches_due = true;
}

void service_changes_turn(struct node *n)
{
    if (n->watches_due && n->watch_count > 0)
        look_at_all(n);
}

void service_changes_timer(uv_timer_t *timer)
{
    struct node *n = timer->data;
    look_at_all(n);
    if (n->watch_count == 0)
        uv_timer_stop(timer);
}

void service_changes_open(struct node *n)
{
    list_init(&n->watches);
    uv_timer_init(n->loop, &n->watch_timer);
    n->watch_timer.data = n;
}

void service_changes_close(struct node *n)
{
    for (struct list_node *first; (first = list_pop_front(&n->watches));) {
        n->watch_count--;
        service_refuse(n, container_of(first, struct held_question, node)->request, ERR_SHUTDOWN, NULL);
    }
    uv_close((uv_handle_t *)&n->watch_timer, NULL);
}
