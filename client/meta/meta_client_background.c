/* The metadata client's one thread: keepalives, a new session after an expiry, outcomes of commands whose callers have
 * left, and the cluster map. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/meta/meta_client_internal.h"
#include "client/moment.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define LOG_MODULE "session"
#include "base/log.h"

enum err meta_keepalive(struct meta_client *c, const struct wire_keepalive *asked, struct rpc_cancel *cancel,
                        struct wire_keepalive_reply *ret)
{
    struct arena arena = {0};
    struct meta_request request = {.method = METHOD_META_KEEPALIVE,
                                   .message = wire_keepalive_encode(asked, &arena),
                                   .give_up_ns = clock_boot_ns() + META_KEEPALIVE_TRY_NS,
                                   .cancel = cancel};
    struct rpc_call *call;
    struct slice message;
    enum err e = meta_route_call(&c->route, &request, &call, &message);
    if (e == ERR_OK) {
        struct err_text why;
        e = wire_keepalive_reply_decode(message, &arena, ret, &why);
        if (e != ERR_OK)
            log_warn("keepalive reply: %s", why.text);
        else
            meta_route_learn(&c->route, &ret->members);
        if (e == ERR_OK && c->options.read_from_any)
            meta_route_learn(&c->query_route, &ret->members);
        rpc_call_free(call);
    }
    arena_free(&arena);
    return e;
}

static void keep_alive(struct meta_client *c, uint64_t session)
{
    struct wire_keepalive_reply reply;
    pthread_mutex_lock(&c->lock);
    struct wire_keepalive asked = {.session = session, .attachment = c->attachment};
    pthread_mutex_unlock(&c->lock);
    int64_t sent_ns = clock_boot_ns();
    enum err e = meta_keepalive(c, &asked, c->stop, &reply);
    if (e == ERR_OK && c->options.known && asked.attachment != 0 && reply.attachment == asked.attachment)
        known_renew(c->options.known, asked.attachment, sent_ns + META_LEASE_TERM_NS);
    if (e == ERR_SESSION_EXPIRED) {
        meta_session_expired(c, session);
        return;
    }
    if (e != ERR_OK) {
        log_debug("keepalive: %s", err_message(e));
        return;
    }
    meta_epoch_told(c, reply.members.epoch);
    const struct cluster_map *map = cluster_map_get(&c->map);
    bool changed = map->version != reply.map_version;
    cluster_map_release(&c->map, map);
    if (changed) {
        e = meta_client_map_refresh(c, c->stop);
        if (e != ERR_OK && e != ERR_CANCELLED)
            log_warn("cluster map: %s", err_message(e));
    }
}

static void reopen(struct meta_client *c, uint64_t expired)
{
    if (expired && c->options.on_expired)
        c->options.on_expired(c->options.context, expired);
    struct meta_attr root;
    struct meta_request request = {.give_up_ns = clock_boot_ns() + META_REOPEN_TRY_NS, .cancel = c->stop};
    enum err e = meta_session_open(c, &request, &root);
    if (e == ERR_OK) {
        log_info("session %llu is open", (unsigned long long)meta_client_session(c));
    } else if (e != ERR_CANCELLED) {
        log_warn("a new session could not be opened: %s", err_message(e));
        if (meta_route_pause(ROUTE_BACKOFF_MAX_NS, c->stop) != ERR_OK)
            return;
    }
}

static void tell_resolved(struct meta_client *c, const struct unresolved_command *u, const struct meta_reply *reply)
{
    struct arena arena = {0};
    struct meta_command command;
    struct err_text why;
    enum err e = wire_meta_command_decode(bytes_slice(&u->message), &arena, &command, &why);
    CHECK(e == ERR_OK); /* it is our own */
    c->options.on_resolved(c->options.context, &command, reply);
    arena_free(&arena);
}

/* One try for one command. False: the metastore can't be asked now. */
static bool resolve(struct meta_client *c, struct unresolved_command *u)
{
    struct meta_request request = {.method = METHOD_META_CALL,
                                   .message = bytes_slice(&u->message),
                                   .give_up_ns = clock_boot_ns() + META_RESOLVE_TRY_NS,
                                   .cancel = c->stop};
    struct meta_reply reply;
    enum err e = meta_client_repeat(c, &request, &reply);
    if (e == ERR_TIMEOUT || e == ERR_CANCELLED)
        return false;
    if (e == ERR_SESSION_EXPIRED)
        meta_session_expired(c, u->session);
    else
        meta_session_finish(c, u->session, u->seq);
    log_info("command %llu (operation %d), whose caller had left, has ended: %s", (unsigned long long)u->seq,
             (int)u->op, err_message(e == ERR_OK ? reply.status : e));
    if (e != ERR_OK)
        reply = (struct meta_reply){.status = e};
    u->result = e;
    u->reply = reply;
    if (e != ERR_SESSION_EXPIRED && c->options.on_resolved)
        tell_resolved(c, u, &reply);
    return true;
}

/* What the caches believe doesn't depend on it any more. */
static void end_unresolved(struct meta_client *c, struct unresolved_command *u)
{
    struct arena arena = {0};
    struct meta_command command;
    struct err_text why;
    if (c->options.known && wire_meta_command_decode(bytes_slice(&u->message), &arena, &command, &why) == ERR_OK)
        known_certain(c->options.known, &command);
    arena_free(&arena);
    bytes_free(&u->message);
}

bool meta_client_outcome(struct meta_client *c, uint64_t session, uint64_t seq, enum err *ret_result,
                         struct meta_reply *ret)
{
    struct unresolved_command *found = NULL;
    pthread_mutex_lock(&c->lock);
    list_for_each (n, &c->outcomes) {
        struct unresolved_command *u = container_of(n, struct unresolved_command, node);
        if (u->session == session && u->seq == seq)
            found = u;
    }
    if (found)
        list_remove(&found->node);
    pthread_mutex_unlock(&c->lock);
    if (!found)
        return false;
    *ret_result = found->result;
    *ret = found->reply;
    free(found);
    return true;
}

/* Goes through the list until it is empty or the metastore doesn't answer. */
static void resolve_all(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    for (struct list_node *n; !c->stopping && (n = list_pop_front(&c->unresolved));) {
        struct unresolved_command *u = container_of(n, struct unresolved_command, node);
        bool over = u->session != c->session;
        pthread_mutex_unlock(&c->lock);
        if (over)
            u->result = ERR_SESSION_EXPIRED;
        else
            over = resolve(c, u);
        if (over)
            end_unresolved(c, u);
        pthread_mutex_lock(&c->lock);
        if (!over) {
            list_push_front(&c->unresolved, &u->node);
            break;
        }
        if (u->kept)
            list_push_back(&c->outcomes, &u->node);
        else
            free(u);
    }
    pthread_mutex_unlock(&c->lock);
}

/* With the lock held, until `at` (clock_boot_ns) or a change. */
static void wait_until(struct meta_client *c, int64_t at)
{
    int64_t left_ns = at - clock_boot_ns();
    if (left_ns > 0)
        moment_wait_for(&c->changed, &c->lock, left_ns);
}

static void *background(void *context)
{
    struct meta_client *c = context;
    int64_t keepalive_at = clock_boot_ns() + META_KEEPALIVE_NS, resolve_at = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        int64_t now = clock_boot_ns();
        uint64_t session = c->session, expired = c->expired;
        bool waiting = !list_empty(&c->unresolved);
        if (session == 0) {
            c->expired = 0;
            pthread_mutex_unlock(&c->lock);
            reopen(c, expired);
        } else if (now >= keepalive_at) {
            pthread_mutex_unlock(&c->lock);
            keep_alive(c, session);
            keepalive_at = now + META_KEEPALIVE_NS;
        } else if (waiting && now >= resolve_at) {
            pthread_mutex_unlock(&c->lock);
            resolve_all(c);
            resolve_at = clock_boot_ns() + META_RESOLVE_NS;
        } else {
            wait_until(c, waiting ? MIN(keepalive_at, resolve_at) : keepalive_at);
            continue;
        }
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void meta_background_start(struct meta_client *c)
{
    thread_start(&c->thread, background, c);
    c->thread_running = true;
}

void meta_unresolved_drop(struct meta_client *c)
{
    for (struct list_node *n; (n = list_pop_front(&c->unresolved));) {
        struct unresolved_command *u = container_of(n, struct unresolved_command, node);
        end_unresolved(c, u);
        free(u);
    }
    for (struct list_node *n; (n = list_pop_front(&c->outcomes));)
        free(container_of(n, struct unresolved_command, node));
}

void meta_background_stop(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    rpc_cancel_fire(c->stop);
    if (c->thread_running)
        pthread_join(c->thread, NULL);
    c->thread_running = false;
    meta_unresolved_drop(c);
}
