/* The lease thread: begins an attachment, and waits for the leader's notices as long as it lasts. */
#include "base/clock.h"
#include "base/thread.h"
#include "client/meta/meta_client_internal.h"
#include "proto/methods.h"

#define LOG_MODULE "lease"
#include "base/log.h"

#define NOTICES_TRY_NS (2 * NS_PER_S) /* the leader holds the request for 0.5 s */

static void set_attachment(struct meta_client *c, uint64_t attachment)
{
    pthread_mutex_lock(&c->lock);
    c->attachment = attachment;
    pthread_mutex_unlock(&c->lock);
}

static void detach(struct meta_client *c)
{
    set_attachment(c, 0); /* first: it must not be renewed any more */
    if (c->options.known)
        known_detach(c->options.known);
}

/* Nothing is kept here. */
static void attach(struct meta_client *c, uint64_t session, uint64_t number)
{
    struct wire_keepalive asked = {.session = session, .attach = number, .keeps = c->options.known != NULL};
    struct wire_keepalive_reply reply;
    int64_t sent_ns = clock_boot_ns();
    enum err e = meta_keepalive(c, &asked, c->lease_stop, &reply);
    if (e == ERR_SESSION_EXPIRED)
        meta_session_expired(c, session);
    if (e == ERR_OK && reply.attachment != 0) {
        if (c->options.known)
            known_attach(c->options.known, reply.attachment, sent_ns + META_LEASE_TERM_NS);
        set_attachment(c, reply.attachment);
        log_debug("attached, until %lld ms from now",
                  (long long)((sent_ns + META_LEASE_TERM_NS - clock_boot_ns()) / NS_PER_MS));
        return;
    }
    (void)!meta_route_pause(ROUTE_BACKOFF_MIN_NS, c->lease_stop);
}

static void heed(struct meta_client *c, const struct wire_notices *notices)
{
    if (c->options.known)
        known_heed(c->options.known, notices->list, notices->count, notices->seq);
    for (unsigned i = 0; i < notices->count; i++)
        c->options.on_notice(c->options.context, &notices->list[i]);
}

/* One question for notices. False: the attachment is over. */
static bool wait_for_notices(struct meta_client *c, uint64_t session, uint64_t attachment, uint64_t *acknowledged)
{
    struct arena arena = {0};
    uint64_t released[WIRE_NOTICES];
    struct wire_notices_query query = {
        .session = session, .attachment = attachment, .acknowledged = *acknowledged, .released = released};
    query.released_count = c->options.closed_orphans(c->options.context, released, WIRE_NOTICES);
    struct meta_request request = {.method = METHOD_META_NOTICES,
                                   .message = wire_notices_query_encode(&query, &arena),
                                   .give_up_ns = clock_boot_ns() + NOTICES_TRY_NS,
                                   .cancel = c->lease_stop,
                                   .held = true};
    struct rpc_call *call;
    struct slice message;
    struct wire_notices notices;
    struct err_text why;
    enum err e = meta_route_call(&c->route, &request, &call, &message);
    if (e == ERR_OK) {
        e = wire_notices_decode(message, &arena, &notices, &why);
        rpc_call_free(call);
        if (e == ERR_OK && notices.seq != *acknowledged + notices.count)
            e = err_explain(&why, ERR_PROTOCOL, "notices end at %llu", (unsigned long long)notices.seq);
        if (e != ERR_OK)
            log_error("notices can't be read: %s", why.text);
    }
    if (e == ERR_OK) {
        heed(c, &notices);
        *acknowledged = notices.seq;
    } else if (e != ERR_CANCELLED) {
        log_debug("no notices any more: %s", err_message(e));
    }
    arena_free(&arena);
    return e == ERR_OK;
}

static void *lease_main(void *context)
{
    struct meta_client *c = context;
    uint64_t of_session = 0, acknowledged = 0, attempts = 0;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        while (c->session == 0 && !c->lease_stopping)
            pthread_cond_wait(&c->changed, &c->lock);
        uint64_t session = c->session, attachment = c->attachment;
        bool stopping = c->lease_stopping;
        pthread_mutex_unlock(&c->lock);
        if (stopping)
            break;
        if (attachment != 0 && (session != of_session || !wait_for_notices(c, session, attachment, &acknowledged))) {
            detach(c);
        } else if (attachment == 0) {
            of_session = session;
            acknowledged = 0;
            attach(c, session, ++attempts);
        }
    }
    detach(c);
    return NULL;
}

void meta_lease_start(struct meta_client *c)
{
    thread_start(&c->lease_thread, lease_main, c);
    c->lease_thread_running = true;
}

void meta_lease_stop(struct meta_client *c)
{
    if (!c->lease_thread_running)
        return;
    pthread_mutex_lock(&c->lock);
    c->lease_stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    rpc_cancel_fire(c->lease_stop);
    pthread_join(c->lease_thread, NULL);
    c->lease_thread_running = false;
}
