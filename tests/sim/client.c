#include "tests/sim/client.h"

#include <string.h>

#include "proto/wire_meta.h"
#include "tests/sim/checks.h"
#include "tests/sim/faults.h"
#include "tests/sim/workload.h"

#define KEEPALIVE_NS (2 * NS_PER_S / 3) /* as META_KEEPALIVE_NS */
#define KEEPALIVE_TRY_NS (600 * NS_PER_MS)
#define FORWARD_TRIES 3u /* then the leader is asked */

enum call_purpose { CALL_OPEN, CALL_KEEPALIVE, CALL_OPERATION, CALL_BEHIND };

struct call {
    struct list_node link;
    struct client *client;
    enum call_purpose purpose;
    enum request_kind kind;
    uint64_t number, try;
    uint64_t session, seq; /* of a command */
    struct bytes message;
    struct operation *operation; /* NULL: it has been told (BEHIND) */
    struct durability_acks acks;
    struct route_patience patience;
    bool forward;
    size_t asked;
};

struct call_event {
    struct event event;
    struct client *client;
    uint64_t number, try;
};

static uint32_t endpoint(const struct client *c)
{
    return WORLD_MEMBERS + c->index;
}

static struct call *find_call(struct client *c, uint64_t number, uint64_t try)
{
    list_for_each (node, &c->calls) {
        struct call *call = container_of(node, struct call, link);
        if (call->number == number && call->try == try)
            return call;
    }
    return NULL;
}

static void free_call(struct call *call)
{
    if (list_linked(&call->link))
        list_remove(&call->link);
    if (call->purpose == CALL_OPERATION)
        call->client->busy--;
    if (call->purpose == CALL_BEHIND)
        call->client->behind--;
    bytes_free(&call->message);
    free(call);
}

static void later(struct world *w, struct call *call, int64_t delay_ns, void (*run)(struct world *w, struct event *e))
{
    struct call_event *e = MEM_NEW(struct call_event);
    e->event = (struct event){.member = WORLD_NOBODY, .run = run};
    e->client = call->client, e->number = call->number, e->try = call->try;
    world_after(w, delay_ns, &e->event);
}

static void open_session(struct world *w, struct client *c);
static void on_failed(struct world *w, struct call *call, enum err e, uint32_t leader);

static void on_timeout(struct world *w, struct event *event)
{
    struct call_event *e = container_of(event, struct call_event, event);
    struct call *call = find_call(e->client, e->number, e->try);
    if (call)
        on_failed(w, call, ERR_TIMEOUT, WORLD_NOBODY);
}

static void ask(struct world *w, struct call *call)
{
    struct client *c = call->client;
    /* Some requests are those of somebody who has just come and knows nothing: they go to any member, also to one that
     * led long ago and does not know better. */
    bool anybody = call->forward || (call->try == 0 && world_chance(w, w->plan.stray_percent));
    call->try++;
    call->asked = anybody ? prng_below(&w->prng, w->member_count) : c->route.current;
    struct packet p = {.kind = call->kind,
                       .member = (uint32_t)call->asked,
                       .client = c->index,
                       .operation = call->number,
                       .try = call->try,
                       .forward = call->forward,
                       .session = call->session,
                       .message = bytes_slice(&call->message)};
    network_request(w, &p);
    later(w, call, call->purpose == CALL_KEEPALIVE ? KEEPALIVE_TRY_NS : call->patience.try_ns, on_timeout);
}

static void on_pause_over(struct world *w, struct event *event)
{
    struct call_event *e = container_of(event, struct call_event, event);
    struct call *call = find_call(e->client, e->number, e->try);
    if (call)
        ask(w, call);
}

static struct call *new_call(struct client *c, enum call_purpose purpose, enum request_kind kind, struct slice message)
{
    struct call *call = MEM_NEW(struct call);
    call->client = c;
    call->purpose = purpose;
    call->kind = kind;
    call->number = ++c->last_call;
    bytes_append(&call->message, message);
    route_patience_init(&call->patience);
    list_push_back(&c->calls, &call->link);
    if (purpose == CALL_OPERATION)
        c->busy++;
    return call;
}

/* ---- the session ---- */

static void expired(struct world *w, struct client *c, uint64_t session)
{
    if (session == 0 || c->session != session)
        return;
    trace(w, endpoint(c), "session %llu has expired", (unsigned long long)session);
    w->counts.expired++;
    c->session = 0;
    open_session(w, c);
}

static void open_session(struct world *w, struct client *c)
{
    if (c->opening || w->over)
        return;
    struct arena arena = {0};
    struct meta_command command = {.op = META_SESSION_OPEN};
    command.session_open.export = slice_str(META_EXPORT_DEFAULT);
    command.session_open.client = slice_str("sim");
    put_u64be(command.session_open.nonce, prng_next(&w->prng));
    put_u64be(command.session_open.nonce + 8, prng_next(&w->prng));
    c->opening = true;
    ask(w, new_call(c, CALL_OPEN, REQUEST_COMMAND, wire_meta_command_encode(&command, &arena)));
    arena_free(&arena);
}

static void opened(struct world *w, struct client *c, const struct meta_reply *reply)
{
    c->opening = false;
    if (reply->status != ERR_OK || reply->session == 0)
        world_fail(w, "client %u: a session can't be opened: %s", c->index + 1, err_name(reply->status));
    c->session = reply->session;
    session_window_init(&c->window);
    trace(w, endpoint(c), "session %llu is open", (unsigned long long)c->session);
}

static void keep_alive(struct world *w, struct event *event)
{
    struct call_event *e = container_of(event, struct call_event, event);
    struct client *c = e->client;
    if (c->session != 0 && !w->over) {
        struct call *call = new_call(c, CALL_KEEPALIVE, REQUEST_KEEPALIVE, SLICE(NULL, 0));
        call->session = c->session;
        ask(w, call);
    }
    struct call_event *next = MEM_NEW(struct call_event);
    next->event = (struct event){.member = WORLD_NOBODY, .run = keep_alive};
    next->client = c;
    world_after(w, KEEPALIVE_NS, &next->event);
}

/* ---- outcomes ---- */

/* The call ends with an error of its own: the outcome is not known, and will not be. */
static void give_up(struct world *w, struct call *call, enum err e)
{
    struct client *c = call->client;
    uint64_t session = call->session;
    enum call_purpose purpose = call->purpose;
    struct operation *o = call->operation;
    bool command = call->kind == REQUEST_COMMAND;
    if (purpose == CALL_OPEN)
        c->opening = false;
    free_call(call);
    if (e == ERR_SESSION_EXPIRED)
        expired(w, c, session);
    else if (purpose != CALL_KEEPALIVE)
        world_fail(w, "client %u: a request ends with %s", c->index + 1, err_name(e));
    if (purpose == CALL_OPERATION && command)
        o->command_done(w, o, e, NULL);
}

static void on_failed(struct world *w, struct call *call, enum err e, uint32_t leader)
{
    struct client *c = call->client;
    bool answered = e != ERR_TIMEOUT && e != ERR_UNREACHABLE;
    enum route_verdict verdict = ROUTE_LATER;
    if (!call->forward || (answered && err_class(e) != ERR_CLASS_LEADER && err_class(e) != ERR_CLASS_WAIT)) {
        struct route_failure failure = {.asked = call->asked,
                                        .error = e,
                                        .answered = answered,
                                        .detailed = answered,
                                        .leader = leader == WORLD_NOBODY ? ROUTE_NOBODY : leader};
        verdict = route_choice_failed(&c->route, &failure, w->now_ns);
    }
    trace(w, endpoint(c), "call %llu at %zu: %s", (unsigned long long)call->number, call->asked + 1, err_name(e));
    if (verdict == ROUTE_END) {
        give_up(w, call, e);
        return;
    }
    /* One keepalive is soon followed by the next. */
    if (call->purpose == CALL_KEEPALIVE && call->try >= 2) {
        free_call(call);
        return;
    }
    int64_t pause_ns = route_patience_pause_ns(&call->patience, e, verdict, &w->prng);
    if (call->forward && call->patience.failures >= FORWARD_TRIES)
        call->forward = false;
    call->try++; /* what comes from now on is too late */
    later(w, call, pause_ns, on_pause_over);
}

/* A refusal inside a reply that left no trace: the same command may be tried again under its number. */
static bool is_refusal(enum err status)
{
    return status == ERR_AGAIN || err_class(status) == ERR_CLASS_WAIT || err_class(status) == ERR_CLASS_LEADER;
}

static void again(struct world *w, struct call *call)
{
    call->try++;
    later(w, call, ROUTE_BACKOFF_MIN_NS, on_pause_over);
}

static void command_answered(struct world *w, struct call *call, struct slice message)
{
    struct client *c = call->client;
    struct arena arena = {0};
    struct meta_reply reply;
    struct err_text why;
    if (wire_meta_reply_decode(message, &arena, &reply, &why) != ERR_OK)
        world_fail(w, "client %u: a reply can't be read: %s", c->index + 1, why.text);
    arena_free(&arena);
    if (is_refusal(reply.status)) {
        again(w, call);
        return;
    }
    if (reply.status == ERR_SESSION_EXPIRED) {
        give_up(w, call, ERR_SESSION_EXPIRED);
        return;
    }
    if (call->purpose == CALL_OPEN) {
        free_call(call);
        opened(w, c, &reply);
        return;
    }
    struct operation *o = call->operation;
    bool behind = call->purpose == CALL_BEHIND;
    checks_acknowledged(w, call->session, call->seq, &reply);
    if (c->session == call->session)
        session_window_finish(&c->window, call->seq);
    free_call(call);
    if (behind)
        return;
    c->finished++;
    o->command_done(w, o, ERR_OK, &reply);
}

static void query_answered(struct world *w, struct call *call, struct slice message)
{
    struct client *c = call->client;
    struct arena arena = {0};
    struct meta_query_reply reply;
    struct err_text why;
    if (wire_meta_query_reply_decode(message, &arena, &reply, &why) != ERR_OK)
        world_fail(w, "client %u: an answer can't be read: %s", c->index + 1, why.text);
    if (is_refusal(reply.status)) {
        again(w, call);
    } else {
        struct operation *o = call->operation;
        free_call(call);
        c->finished++;
        o->query_done(w, o, &reply);
    }
    arena_free(&arena);
}

/* Its number stays taken until the leader has answered: what is told as finished is in the log. */
static void durable_answered(struct world *w, struct client *c, const struct packet *p)
{
    struct call *call = NULL;
    list_for_each (node, &c->calls) {
        struct call *candidate = container_of(node, struct call, link);
        if (candidate->number == p->operation && candidate->purpose == CALL_OPERATION)
            call = candidate;
    }
    if (!call || p->status != ERR_OK || !durability_acks_add(&call->acks, &p->ack))
        return;
    struct operation *o = call->operation;
    struct meta_reply reply = {.status = ERR_OK};
    trace(w, endpoint(c), "call %llu is durable in term %llu", (unsigned long long)call->number,
          (unsigned long long)p->ack.term);
    w->counts.fast_done++;
    call->purpose = CALL_BEHIND;
    call->operation = NULL;
    c->busy--;
    c->behind++;
    c->finished++;
    checks_durable(w, call->session, call->seq);
    /* Some clients say no more of it: the members see to its order by themselves. */
    if (world_chance(w, 50))
        free_call(call);
    o->command_done(w, o, ERR_OK, &reply);
    faults_durable(w);
}

void client_answered(struct world *w, struct client *c, const struct packet *p)
{
    if (p->kind == REQUEST_DURABLE && !w->over)
        durable_answered(w, c, p);
    struct call *call = p->kind == REQUEST_DURABLE ? NULL : find_call(c, p->operation, p->try);
    if (!call || w->over)
        return;
    if (p->status != ERR_OK)
        on_failed(w, call, p->status, p->leader);
    else if (call->purpose == CALL_KEEPALIVE)
        free_call(call);
    else if (call->kind == REQUEST_COMMAND)
        command_answered(w, call, p->message);
    else
        query_answered(w, call, p->message);
}

/* ---- operations ---- */

bool client_has_room(const struct client *c)
{
    return c->session != 0 && session_window_has_room(&c->window);
}

static struct call *new_command(struct world *w, struct client *c, struct meta_command *command, struct operation *o)
{
    struct arena arena = {0};
    o->client = c;
    command->session = c->session;
    command->seq = session_window_take(&c->window);
    command->acked = session_window_acked(&c->window);
    struct call *call = new_call(c, CALL_OPERATION, REQUEST_COMMAND, wire_meta_command_encode(command, &arena));
    arena_free(&arena);
    call->operation = o;
    call->session = command->session;
    call->seq = command->seq;
    w->counts.commands++;
    return call;
}

void client_command(struct world *w, struct client *c, struct meta_command *command, struct operation *o)
{
    ask(w, new_command(w, c, command, o));
}

/* One that a member hears of long after the others: perhaps under another leader. */
struct late_put {
    struct event event;
    struct packet packet;
    struct bytes message;
};

static void late_put_drop(struct event *e)
{
    struct late_put *p = container_of(e, struct late_put, event);
    bytes_free(&p->message);
    free(p);
}

static void late_put_due(struct world *w, struct event *e)
{
    struct late_put *p = container_of(e, struct late_put, event);
    p->packet.message = bytes_slice(&p->message);
    if (!w->over)
        network_request(w, &p->packet);
}

static void put_later(struct world *w, const struct packet *packet)
{
    struct late_put *p = MEM_NEW(struct late_put);
    p->event = (struct event){.member = WORLD_NOBODY, .run = late_put_due, .drop = late_put_drop};
    p->packet = *packet;
    bytes_append(&p->message, packet->message);
    world_after(w, world_between_ns(w, 0, 3 * w->plan.election_timeout_ns), &p->event);
}

void client_put_fast(struct world *w, struct client *c, struct meta_command *command, struct operation *o)
{
    struct call *call = new_command(w, c, command, o);
    w->counts.fast_tried++;
    faults_put(w);
    for (uint32_t i = 0; i < w->member_count; i++) {
        struct packet p = {.kind = REQUEST_DURABLE,
                           .member = i,
                           .client = c->index,
                           .operation = call->number,
                           .message = bytes_slice(&call->message)};
        if (world_chance(w, 10))
            put_later(w, &p);
        else
            network_request(w, &p);
    }
    ask(w, call);
}

void client_query(struct world *w, struct client *c, const struct meta_query *query, bool any_member,
                  struct operation *o)
{
    struct arena arena = {0};
    struct meta_query mine = *query;
    o->client = c;
    mine.session = c->session;
    struct call *call = new_call(c, CALL_OPERATION, REQUEST_QUERY, wire_meta_query_encode(&mine, &arena));
    arena_free(&arena);
    call->operation = o;
    call->forward = any_member;
    w->counts.queries++;
    ask(w, call);
}

void client_new(struct world *w)
{
    struct client *c = MEM_NEW(struct client);
    c->world = w;
    c->index = w->client_count;
    list_init(&c->calls);
    route_choice_init(&c->route, w->member_count);
    c->route.current = prng_below(&w->prng, w->plan.members);
    w->clients[w->client_count++] = c;
    open_session(w, c);
    struct call_event *e = MEM_NEW(struct call_event);
    e->event = (struct event){.member = WORLD_NOBODY, .run = keep_alive};
    e->client = c;
    world_after(w, KEEPALIVE_NS, &e->event);
    workload_begin(w, c);
}

void client_free(struct world *w, struct client *c)
{
    for (struct list_node *node; (node = list_first(&c->calls));) {
        struct call *call = container_of(node, struct call, link);
        if (call->operation)
            workload_abandon(w, call->operation);
        free_call(call);
    }
    free(c);
}
