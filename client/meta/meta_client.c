#include "client/meta/meta_client.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/meta_client_internal.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define LOG_MODULE "meta-client"
#include "base/log.h"
#include "client/moment.h"
#include "trace/command.h"

static struct meta_client *new_client(const struct meta_client_options *options)
{
    struct meta_client *c = MEM_NEW(struct meta_client);
    c->options = *options;
    c->options.servers = NULL;
    c->options.export_name = mem_strdup(options->export_name);
    c->options.client_name = mem_strdup(options->client_name);
    pthread_mutex_init(&c->lock, NULL);
    moment_cond_init(&c->changed);
    list_init(&c->unresolved);
    list_init(&c->outcomes);
    session_window_init(&c->window);
    cluster_map_init(&c->map);
    c->stop = rpc_cancel_new();
    c->lease_stop = rpc_cancel_new();
    meta_route_init(&c->route, options->servers, options->server_count, options->client_name);
    if (options->read_from_any) {
        meta_route_init(&c->query_route, options->servers, options->server_count, options->client_name);
        meta_route_begin_anywhere(&c->query_route);
    }
    return c;
}

static void free_client(struct meta_client *c)
{
    union {
        const char *constant;
        char *changeable;
    } export = {c->options.export_name}, client = {c->options.client_name};
    meta_route_close(&c->route); /* which ends what is under way */
    meta_put_wait_behind(c);
    meta_unresolved_drop(c);
    if (c->options.read_from_any)
        meta_route_close(&c->query_route);
    cluster_map_close(&c->map);
    rpc_cancel_free(c->stop);
    rpc_cancel_free(c->lease_stop);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(export.changeable);
    free(client.changeable);
    free(c);
}

static enum err explain_open(struct meta_client *c, enum err e, struct err_text *why)
{
    char waited[200];
    switch (e) {
    case ERR_NO_EXPORT:
        return err_explain(why, e, "there is no export \"%s\"", c->options.export_name);
    case ERR_TIMEOUT:
        meta_route_describe(&c->route, waited, sizeof waited);
        return err_explain(why, e, "gave up after %.1f s of %s", (double)c->options.open_timeout_ns / 1e9, waited);
    default:
        return err_explain(why, e, "the metastore refuses: %s", err_message(e));
    }
}

enum err meta_client_open(const struct meta_client_options *options, struct meta_client **ret,
                          struct meta_attr *ret_root, struct err_text *why)
{
    CHECK(options->server_count >= 1 && options->server_count <= LIMIT_NODES);
    struct meta_client *c = new_client(options);
    struct meta_request request = {.give_up_ns = clock_boot_ns() + options->open_timeout_ns,
                                   .waiting = options->on_waiting,
                                   .context = options->context};
    struct meta_attr root;
    enum err e = meta_session_open(c, &request, &root);
    if (e == ERR_OK) {
        /* The mount's own patience begins when it is open. */
        c->options.soft_timeout_ns = MAX(request.give_up_ns - clock_boot_ns(), NS_PER_MS);
        e = meta_client_map_refresh(c, NULL);
        c->options.soft_timeout_ns = options->soft_timeout_ns;
    }
    if (e != ERR_OK) {
        e = explain_open(c, e, why);
        meta_session_end(c);
        free_client(c);
        return e;
    }
    meta_background_start(c);
    if (options->on_notice)
        meta_lease_start(c);
    *ret_root = root;
    *ret = c;
    return ERR_OK;
}

void meta_client_stop_leases(struct meta_client *c)
{
    meta_lease_stop(c);
}

void meta_client_close(struct meta_client *c)
{
    if (!c)
        return;
    meta_lease_stop(c);
    meta_background_stop(c);
    meta_put_stop(c);
    meta_session_end(c);
    free_client(c);
}

/* A refusal inside a reply that left no trace: the same command may be tried again under its number. */
static bool is_refusal(enum err status)
{
    return status == ERR_AGAIN || err_class(status) == ERR_CLASS_WAIT || err_class(status) == ERR_CLASS_LEADER;
}

enum err meta_client_repeat(struct meta_client *c, const struct meta_request *request, struct meta_reply *ret)
{
    for (;;) {
        struct rpc_call *call;
        struct slice message;
        atomic_fetch_add_explicit(&c->calls, 1, memory_order_relaxed);
        TRY(meta_route_call(&c->route, request, &call, &message));
        struct arena arena = {0};
        struct err_text why = {0};
        struct meta_reply reply = {0};
        enum err e = wire_meta_reply_decode(message, &arena, &reply, &why);
        rpc_call_free(call);
        arena_free(&arena);
        if (e != ERR_OK) {
            log_error("a reply of the metastore can't be read: %s", why.text);
            return e;
        }
        meta_epoch_told(c, reply.epoch);
        if (reply.status == ERR_SESSION_EXPIRED)
            return ERR_SESSION_EXPIRED;
        if (!is_refusal(reply.status)) {
            *ret = reply;
            return ERR_OK;
        }
        TRY(meta_route_pause(ROUTE_BACKOFF_MIN_NS, request->cancel));
    }
}

void meta_epoch_told(struct meta_client *c, uint64_t epoch)
{
    unsigned long long known = atomic_load(&c->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&c->epoch, &known, epoch))
        ;
}

void meta_client_cluster(struct meta_client *c, uint8_t ret_id[16])
{
    meta_route_cluster(&c->route, ret_id);
}

uint64_t meta_client_epoch(struct meta_client *c)
{
    return atomic_load(&c->epoch);
}

uint64_t meta_client_calls(struct meta_client *c)
{
    return atomic_load_explicit(&c->calls, memory_order_relaxed);
}

static int64_t give_up_at(const struct meta_client *c)
{
    return c->options.soft_timeout_ns ? clock_boot_ns() + c->options.soft_timeout_ns : 0;
}

/* What no member has taken needs no resolving: its number is just not used. */
static enum err not_done(const struct meta_client *c, enum err e, bool maybe)
{
    return e == ERR_TIMEOUT && !maybe && c->options.tells_not_done ? ERR_NOT_DONE : e;
}

void meta_client_ended(struct meta_client *c, const struct meta_command *command, struct slice message, enum err e,
                       bool kept)
{
    switch (e) {
    case ERR_CANCELLED:
    case ERR_TIMEOUT:
        meta_session_leave(c, command, message, kept);
        break;
    case ERR_SESSION_EXPIRED:
        meta_session_expired(c, command->session);
        break;
    default:
        meta_session_finish(c, command->session, command->seq);
        break;
    }
}

static enum err call(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel, bool kept,
                     struct meta_reply *ret)
{
    int64_t give_up = give_up_at(c);
    bool maybe = false;
    enum err e = meta_session_begin(c, command, give_up, cancel);
    if (e != ERR_OK)
        return not_done(c, e, maybe);
    struct arena arena = {0};
    struct meta_request request = {.method = METHOD_META_CALL,
                                   .ret_maybe = &maybe,
                                   .message = wire_meta_command_encode(command, &arena),
                                   .give_up_ns = give_up,
                                   .cancel = cancel};
    if (c->options.known)
        known_change_begin(c->options.known, command);
    struct trace_operation traced = {.name = NULL};
    if (trace_on)
        traced = trace_of_command(command);
    trace_operation(&traced, "", NULL);
    e = meta_client_repeat(c, &request, ret);
    e = not_done(c, e, maybe);
    if (e == ERR_OK)
        trace_operation(&traced, "ResultRecvd", ret->status == ERR_OK ? NULL : err_name(ret->status));
    if (e == ERR_OK && c->options.known)
        known_learn_reply(c->options.known, command, ret);
    meta_client_ended(c, command, request.message, e, kept);
    if (c->options.known)
        known_change_end(c->options.known, command);
    arena_free(&arena);
    return e;
}

enum err meta_client_call(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                          struct meta_reply *ret)
{
    return call(c, command, cancel, false, ret);
}

enum err meta_client_call_kept(struct meta_client *c, struct meta_command *command, struct rpc_cancel *cancel,
                               struct meta_reply *ret)
{
    return call(c, command, cancel, true, ret);
}

enum err meta_client_query(struct meta_client *c, struct meta_query *query, struct rpc_cancel *cancel,
                           struct arena *arena, struct meta_query_reply *ret)
{
    if (query->session == 0)
        query->session = meta_client_session(c);
    query->any_member = c->options.read_from_any;
    struct meta_route *route = query->any_member ? &c->query_route : &c->route;
    struct meta_request request = {.method = METHOD_META_QUERY,
                                   .message = wire_meta_query_encode(query, arena),
                                   .give_up_ns = give_up_at(c),
                                   .cancel = cancel,
                                   .held = query->op == META_QUERY_LOCK_WAIT};
    struct trace_operation traced = {.name = NULL};
    if (trace_on)
        traced = trace_of_query(query, meta_client_calls(c));
    trace_operation(&traced, "", NULL);
    for (;;) {
        struct rpc_call *call;
        struct slice message;
        atomic_fetch_add_explicit(&c->calls, 1, memory_order_relaxed);
        TRY(meta_route_call(route, &request, &call, &message));
        /* What is decoded borrows from the message, which goes with the call. */
        message = arena_slice(arena, message);
        rpc_call_free(call);
        struct err_text why = {0};
        struct meta_query_reply reply = {0};
        enum err e = wire_meta_query_reply_decode(message, arena, &reply, &why);
        if (e != ERR_OK) {
            log_error("an answer of the metastore can't be read: %s", why.text);
            return e;
        }
        meta_epoch_told(c, reply.epoch);
        if (!is_refusal(reply.status)) {
            if (c->options.known)
                known_learn_query(c->options.known, query, &reply);
            *ret = reply;
            trace_operation(&traced, "ResultRecvd", NULL);
            return ERR_OK;
        }
        TRY(meta_route_pause(ROUTE_BACKOFF_MIN_NS, cancel));
    }
}

int64_t meta_client_soft_timeout_ns(const struct meta_client *c)
{
    return c->options.soft_timeout_ns;
}

uint32_t meta_client_export_options(struct meta_client *c)
{
    return atomic_load_explicit(&c->export_options, memory_order_relaxed);
}

const struct cluster_map *meta_client_map_get(struct meta_client *c)
{
    return cluster_map_get(&c->map);
}

void meta_client_map_release(struct meta_client *c, const struct cluster_map *m)
{
    cluster_map_release(&c->map, m);
}

/* One refresh at a time. One that began after we were asked serves us as well. */
enum err meta_client_map_refresh(struct meta_client *c, struct rpc_cancel *cancel)
{
    pthread_mutex_lock(&c->lock);
    uint64_t enough = c->refreshes + (c->refreshing ? 2 : 1);
    while (c->refreshing && c->refreshes < enough) {
        pthread_mutex_unlock(&c->lock);
        TRY(meta_route_pause(5 * NS_PER_MS, cancel));
        pthread_mutex_lock(&c->lock);
    }
    bool served = c->refreshes >= enough;
    if (!served)
        c->refreshing = true;
    pthread_mutex_unlock(&c->lock);
    if (served)
        return ERR_OK;

    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    enum err e = meta_client_query(c, &query, cancel, &arena, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK) {
        meta_route_set_cluster(&c->route, reply.cluster.id);
        if (c->options.read_from_any)
            meta_route_set_cluster(&c->query_route, reply.cluster.id);
        cluster_map_put(&c->map, &reply);
    }
    arena_free(&arena);
    pthread_mutex_lock(&c->lock);
    c->refreshing = false;
    if (e == ERR_OK)
        c->refreshes++;
    pthread_mutex_unlock(&c->lock);
    return e;
}
