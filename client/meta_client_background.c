/* The metadata client's one thread: keepalives, a new session after an expiry, outcomes of commands whose callers have
 * left, and the cluster map. */
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/meta_client_internal.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define LOG_MODULE "session"
#include "base/log.h"

static enum err keepalive(struct meta_client *c, uint64_t session, struct wire_keepalive_reply *ret)
{
    struct arena arena = {0};
    struct meta_request request = {.method = METHOD_META_KEEPALIVE,
                                   .message =
                                       wire_keepalive_encode(&(struct wire_keepalive){.session = session}, &arena),
                                   .give_up_ns = clock_boot_ns() + META_KEEPALIVE_TRY_NS,
                                   .cancel = c->stop};
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
        rpc_call_free(call);
    }
    arena_free(&arena);
    return e;
}

static void keep_alive(struct meta_client *c, uint64_t session)
{
    struct wire_keepalive_reply reply;
    enum err e = keepalive(c, session, &reply);
    if (e == ERR_SESSION_EXPIRED) {
        meta_session_expired(c, session);
        return;
    }
    if (e != ERR_OK) {
        log_debug("keepalive: %s", err_message(e));
        return;
    }
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
        c->options.on_expired(c->options.context);
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
    if (e == ERR_OK && c->options.on_resolved)
        c->options.on_resolved(c->options.context, u->op, &reply);
    return true;
}

static void free_unresolved(struct unresolved_command *u)
{
    bytes_free(&u->message);
    free(u);
}

/* Goes through the list until it is empty or the metastore doesn't answer. */
static void resolve_all(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    for (struct list_node *n; !c->stopping && (n = list_pop_front(&c->unresolved));) {
        struct unresolved_command *u = container_of(n, struct unresolved_command, node);
        bool over = u->session != c->session;
        pthread_mutex_unlock(&c->lock);
        if (!over)
            over = resolve(c, u);
        if (over)
            free_unresolved(u);
        pthread_mutex_lock(&c->lock);
        if (!over) {
            list_push_front(&c->unresolved, &u->node);
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
}

/* With the lock held, until `at` (clock_boot_ns) or a change. */
static void wait_until(struct meta_client *c, int64_t at)
{
    int64_t left = at - clock_boot_ns();
    if (left <= 0)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    left += until.tv_sec * NS_PER_S + until.tv_nsec;
    until = (struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
    pthread_cond_timedwait(&c->changed, &c->lock, &until);
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
    CHECK(pthread_create(&c->thread, NULL, background, c) == 0);
    c->thread_running = true;
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
    for (struct list_node *n; (n = list_pop_front(&c->unresolved));)
        free_unresolved(container_of(n, struct unresolved_command, node));
}
