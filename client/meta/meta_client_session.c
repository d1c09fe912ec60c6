#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "client/meta/meta_client_internal.h"
#include "client/moment.h"
#include "proto/methods.h"
#include "proto/wire_meta.h"

#define LOG_MODULE "session"
#include "base/log.h"

#define WAIT_STEP_NS (20 * NS_PER_MS) /* how often a wait for room looks at its cancel */

enum err meta_session_open(struct meta_client *c, const struct meta_request *request, struct meta_attr *ret_root)
{
    struct arena arena = {0};
    struct slice client = slice_str(c->options.client_name);
    struct meta_command command = {.op = META_SESSION_OPEN};
    command.session_open.export = slice_str(c->options.export_name);
    command.session_open.client = SLICE(client.data, MIN(client.size, (size_t)255));
    command.session_open.attaches = c->options.on_notice != NULL;
    random_bytes(command.session_open.nonce, sizeof command.session_open.nonce);

    struct meta_request open = *request;
    open.method = METHOD_META_CALL;
    open.message = wire_meta_command_encode(&command, &arena);
    struct meta_reply reply;
    enum err e = meta_client_repeat(c, &open, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK && (reply.session == 0 || !reply.has_attr))
        e = ERR_PROTOCOL;
    if (e == ERR_OK) {
        atomic_store(&c->export_options, reply.export_options); /* before anything is done in this session */
        pthread_mutex_lock(&c->lock);
        c->session = c->last_session = reply.session;
        session_window_init(&c->window);
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        *ret_root = reply.attr;
    }
    arena_free(&arena);
    return e;
}

void meta_session_end(struct meta_client *c)
{
    uint64_t session = meta_client_session(c);
    if (session == 0)
        return;
    /* Not one of the session's numbered commands: its reply would have to be kept by what it removes. */
    struct meta_command command = {.op = META_SESSION_END, .session_end.session = session};
    struct arena arena = {0};
    struct meta_request request = {.method = METHOD_META_CALL,
                                   .message = wire_meta_command_encode(&command, &arena),
                                   .give_up_ns = clock_boot_ns() + META_CLOSE_NS};
    struct meta_reply reply;
    enum err e;
    do {
        e = meta_client_repeat(c, &request, &reply);
    } while (e == ERR_OK && reply.status == ERR_OK && reply.more);
    if (e != ERR_OK)
        log_info("session %llu was not ended (%s); it expires by itself", (unsigned long long)session, err_message(e));
    arena_free(&arena);
}

enum err meta_session_begin(struct meta_client *c, struct meta_command *command, int64_t give_up_ns,
                            const struct rpc_cancel *cancel)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&c->lock);
    while (c->session == 0 || !session_window_has_room(&c->window)) {
        if (command->session != 0 && c->session != command->session)
            e = ERR_SESSION_EXPIRED;
        else if (cancel && rpc_cancel_fired(cancel))
            e = ERR_CANCELLED;
        else if (c->stopping)
            e = ERR_SESSION_EXPIRED;
        else if (give_up_ns && clock_boot_ns() >= give_up_ns)
            e = ERR_TIMEOUT;
        if (e != ERR_OK)
            break;
        moment_wait_for(&c->changed, &c->lock, WAIT_STEP_NS);
    }
    if (e == ERR_OK && command->session != 0 && c->session != command->session)
        e = ERR_SESSION_EXPIRED;
    if (e == ERR_OK) {
        command->session = c->session;
        command->seq = session_window_take(&c->window);
        command->acked = session_window_acked(&c->window);
    }
    pthread_mutex_unlock(&c->lock);
    return e;
}

/* With the lock held. */
static void finish_locked(struct meta_client *c, uint64_t session, uint64_t seq)
{
    if (c->session != session)
        return;
    bool had_room = session_window_has_room(&c->window);
    session_window_finish(&c->window, seq);
    if (!had_room)
        pthread_cond_broadcast(&c->changed);
}

void meta_session_finish(struct meta_client *c, uint64_t session, uint64_t seq)
{
    pthread_mutex_lock(&c->lock);
    finish_locked(c, session, seq);
    pthread_mutex_unlock(&c->lock);
}

void meta_session_leave(struct meta_client *c, const struct meta_command *command, struct slice message, bool kept)
{
    struct unresolved_command *u = MEM_NEW(struct unresolved_command);
    u->session = command->session;
    u->seq = command->seq;
    u->op = command->op;
    u->kept = kept;
    if (c->options.known)
        known_uncertain(c->options.known, command);
    bytes_append(&u->message, message);
    pthread_mutex_lock(&c->lock);
    list_push_back(&c->unresolved, &u->node);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void meta_session_expired(struct meta_client *c, uint64_t session)
{
    pthread_mutex_lock(&c->lock);
    if (session != 0 && c->session == session) {
        log_error("session %llu has expired: what it had not committed is lost", (unsigned long long)session);
        c->session = 0;
        c->expired = session;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
}

uint64_t meta_client_session(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t session = c->session;
    pthread_mutex_unlock(&c->lock);
    return session;
}

uint64_t meta_client_last_session(struct meta_client *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t session = c->last_session;
    pthread_mutex_unlock(&c->lock);
    return session;
}
