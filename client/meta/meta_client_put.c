/* Unconditional puts of keys that are done when enough voters have them in their durability logs: one round trip. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/meta_client_internal.h"
#include "client/moment.h"
#include "proto/methods.h"
#include "proto/wire_durable.h"

#define LOG_MODULE "meta-client"
#include "base/log.h"

#define REACH_TRY_NS NS_PER_S /* for a voter to answer anything at all */
#define REACH_AGAIN_NS (500 * NS_PER_MS)

struct early_put {
    struct meta_client *client;
    struct rpc_call *calls[1 + ROUTE_MEMBERS]; /* first the ordinary one, then those to the voters; NULL: over */
    struct durability_acks acks;
};

/* An ordinary request whose caller has gone on. The number stays taken until its answer: what is told to the metastore
 * as received has a place in the log. */
struct behind {
    struct meta_client *client;
    struct meta_command command; /* its number only */
    struct bytes message;
};

static void behind_free(struct behind *b)
{
    struct meta_client *c = b->client;
    bytes_free(&b->message);
    free(b);
    pthread_mutex_lock(&c->lock);
    c->behind--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void behind_finished(void *context, enum err status, struct slice message)
{
    struct behind *b = context;
    struct meta_client *c = b->client;
    struct meta_reply reply = {.status = status};
    struct arena arena = {0};
    struct err_text why;
    if (status == ERR_OK && wire_meta_reply_decode(message, &arena, &reply, &why) != ERR_OK)
        reply.status = ERR_TIMEOUT;
    arena_free(&arena);
    if (reply.status == ERR_OK)
        meta_session_finish(c, b->command.session, b->command.seq);
    else
        meta_session_leave(c, &b->command, bytes_slice(&b->message), false);
    behind_free(b);
}

static void go_on_behind(struct meta_client *c, struct rpc_call *call, const struct meta_command *command,
                         struct slice message)
{
    struct behind *b = MEM_NEW(struct behind);
    b->client = c;
    b->command = (struct meta_command){.op = command->op, .session = command->session, .seq = command->seq};
    bytes_append(&b->message, message);
    pthread_mutex_lock(&c->lock);
    c->behind++;
    pthread_mutex_unlock(&c->lock);
    if (call)
        rpc_call_abandon(call, behind_finished, b);
    else
        behind_finished(b, ERR_TIMEOUT, SLICE(NULL, 0));
}

void meta_put_wait_behind(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->behind > 0)
        moment_wait_for(&c->changed, &c->lock, NS_PER_S);
    pthread_mutex_unlock(&c->lock);
}

/* ---- connections ----
 *
 * Nobody who puts waits for a connection to be made: a thread makes those to all members, and only members that have
 * answered there are asked for an early word. */

static void reach(struct meta_client *c, struct rpc_channel *channel, atomic_bool *reached)
{
    struct rpc_call *call = NULL;
    struct slice message, payload;
    int64_t deadline_ns = clock_boot_ns() + REACH_TRY_NS;
    enum err e = rpc_channel_call(channel, METHOD_META_DURABLE, SLICE(NULL, 0), NULL, 0, deadline_ns, c->stop, &call,
                                  &message, &payload);
    if (!call) {
        log_debug("%s: %s", rpc_channel_address(channel), err_message(e));
        return;
    }
    rpc_call_free(call); /* a refusal, of course: what matters is that somebody is there */
    atomic_store(reached, true);
}

static void *reach_all(void *context)
{
    struct meta_client *c = context;
    for (unsigned round = 1;; round++) {
        struct rpc_channel *channels[ROUTE_MEMBERS];
        size_t leader, count = meta_route_channels(&c->route, channels, &leader);
        for (size_t i = 0; i < count && !rpc_cancel_fired(c->stop); i++)
            if (!atomic_load(&c->voter_reached[i]))
                reach(c, channels[i], &c->voter_reached[i]);
        pthread_mutex_lock(&c->lock);
        c->reach_rounds = round;
        pthread_cond_broadcast(&c->changed);
        int64_t again_ns = clock_boot_ns() + REACH_AGAIN_NS;
        while (!c->stopping && clock_boot_ns() < again_ns)
            moment_wait_for(&c->changed, &c->lock, again_ns - clock_boot_ns());
        bool stopping = c->stopping;
        pthread_mutex_unlock(&c->lock);
        if (stopping)
            return NULL;
    }
}

void meta_client_put_prepare(struct meta_client *c, int64_t timeout_ns)
{
    int64_t give_up_ns = clock_boot_ns() + timeout_ns;
    pthread_mutex_lock(&c->lock);
    if (!c->reach_running && !c->stopping)
        c->reach_running = pthread_create(&c->reach_thread, NULL, reach_all, c) == 0; /* else puts are ordinary ones */
    while (c->reach_running && c->reach_rounds == 0 && clock_boot_ns() < give_up_ns)
        moment_wait_for(&c->changed, &c->lock, give_up_ns - clock_boot_ns());
    pthread_mutex_unlock(&c->lock);
}

void meta_put_stop(struct meta_client *c)
{
    if (c->reach_running)
        pthread_join(c->reach_thread, NULL);
    c->reach_running = false;
}

/* ---- asking ---- */

static void begin(struct early_put *p, struct slice message, struct rpc_cancel *cancel)
{
    struct meta_client *c = p->client;
    struct rpc_channel *channels[ROUTE_MEMBERS];
    size_t leader, count = meta_route_channels(&c->route, channels, &leader);
    int64_t deadline_ns = clock_boot_ns() + ROUTE_TRY_NS;
    /* The leader before all, to put it into its order; the ordinary request is then one for the same entry. */
    for (size_t i = 0; i < count; i++) {
        size_t at = i == 0 ? leader : i <= leader ? i - 1 : i;
        if (atomic_load(&c->voter_reached[at]))
            p->calls[1 + at] = rpc_call_start(channels[at], METHOD_META_DURABLE, message, NULL, 0, deadline_ns, cancel);
        if (i == 0)
            p->calls[0] = rpc_call_start(channels[at], METHOD_META_CALL, message, NULL, 0, deadline_ns, cancel);
    }
}

/* True: the put is durable. */
static bool count_ack(struct early_put *p, size_t at)
{
    struct slice message = {0}, payload = {0};
    struct durability_ack ack;
    struct arena arena = {0};
    struct err_text why;
    enum err e = rpc_call_result(p->calls[at], &message, &payload);
    bool enough = e == ERR_OK && wire_durable_ack_decode(message, &arena, &ack, &why) == ERR_OK &&
                  durability_acks_add(&p->acks, &ack);
    arena_free(&arena);
    if (e == ERR_UNREACHABLE || e == ERR_CLOSED || e == ERR_TIMEOUT)
        atomic_store(&p->client->voter_reached[at - 1], false);
    rpc_call_free(p->calls[at]);
    p->calls[at] = NULL;
    return enough;
}

/* Whether the ordinary answer is one; else the request is to be repeated in the ordinary way. */
static bool take_answer(struct early_put *p, struct meta_reply *ret)
{
    struct slice message = {0}, payload = {0};
    struct arena arena = {0};
    struct err_text why;
    enum err e = rpc_call_result(p->calls[0], &message, &payload);
    bool answered =
        e == ERR_OK && wire_meta_reply_decode(message, &arena, ret, &why) == ERR_OK && ret->status == ERR_OK;
    if (answered)
        meta_epoch_told(p->client, ret->epoch);
    arena_free(&arena);
    rpc_call_free(p->calls[0]);
    p->calls[0] = NULL;
    return answered;
}

enum outcome { EARLY, ANSWERED, REPEAT, LEFT };

static enum outcome await(struct early_put *p, struct rpc_cancel *cancel, struct meta_reply *ret)
{
    for (;;) {
        size_t at;
        enum err e = rpc_call_wait_any(p->calls, ARRAY_SIZE(p->calls), clock_boot_ns() + 2 * ROUTE_TRY_NS, cancel, &at);
        if (e != ERR_OK)
            return e == ERR_CANCELLED ? LEFT : REPEAT;
        if (at > 0 && count_ack(p, at))
            return EARLY;
        if (at == 0)
            return take_answer(p, ret) ? ANSWERED : REPEAT;
    }
}

enum err meta_client_put(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                         struct meta_reply *ret, bool *ret_early)
{
    int64_t give_up_ns = c->options.soft_timeout_ns ? clock_boot_ns() + c->options.soft_timeout_ns : 0;
    struct early_put put = {.client = c};
    struct arena arena = {0};
    *ret = (struct meta_reply){.status = ERR_OK};
    meta_client_put_prepare(c, 0);
    TRY(meta_session_begin(c, command, give_up_ns, cancel));
    struct meta_request request = {.method = METHOD_META_CALL,
                                   .message = wire_meta_command_encode(command, &arena),
                                   .give_up_ns = give_up_ns,
                                   .cancel = cancel};
    atomic_fetch_add_explicit(&c->calls, 1, memory_order_relaxed);
    begin(&put, request.message, cancel);
    enum outcome outcome = await(&put, cancel, ret);
    if (outcome == EARLY) {
        go_on_behind(c, put.calls[0], command, request.message);
        put.calls[0] = NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(put.calls); i++)
        if (put.calls[i])
            rpc_call_free(put.calls[i]);
    enum err e = outcome == LEFT ? ERR_CANCELLED : ERR_OK;
    if (outcome == REPEAT)
        e = meta_client_repeat(c, &request, ret);
    if (outcome != EARLY)
        meta_client_ended(c, command, request.message, e, false);
    *ret_early = outcome == EARLY;
    arena_free(&arena);
    return e;
}
