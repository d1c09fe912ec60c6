#include "gateway/session.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define LOG_MODULE "gateway"
#include "base/log.h"

#define OPEN_TIMEOUT_NS (3 * NS_PER_S) /* below GATEWAY_PATIENCE_NS: who waits for the opener hears of its end */
#define CLOSE_TIMEOUT_NS (2 * NS_PER_S)
#define CACHE_BYTES (32 * MIB)
#define READAHEAD_BYTES (2 * MIB)
#define INODES_MAX 10000u

struct gateway_session {
    struct gateway_options options;
    struct rpc_address asked[LIMIT_NODES]; /* this node first */
    size_t asked_count;
    struct rpc_cancel *cancel;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct surf *surf; /* protected by lock, stays until the end once it is there; so do the following */
    bool opening, stopping;
    unsigned attempts; /* that have ended */
    struct err_text failure;
};

struct gateway_session *gateway_session_new(const struct gateway_options *options)
{
    struct gateway_session *s = MEM_NEW(struct gateway_session);
    s->options = *options;
    s->cancel = rpc_cancel_new();
    s->asked[s->asked_count++] = options->own;
    for (size_t i = 0; i < options->server_count && s->asked_count < LIMIT_NODES; i++)
        if (strcmp(options->servers[i].text, options->own.text) != 0)
            s->asked[s->asked_count++] = options->servers[i];
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

void gateway_session_free(struct gateway_session *s)
{
    if (!s)
        return;
    surf_close_export(s->surf, CLOSE_TIMEOUT_NS);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    rpc_cancel_free(s->cancel);
    free(s);
}

static enum err open_surf(const struct gateway_session *s, struct surf **ret, struct err_text *why)
{
    char host[64] = "", name[128];
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s:gateway of node %u", host, s->options.node_id);
    struct surf_options surf = {.servers = s->options.servers,
                                .server_count = s->options.server_count,
                                .export_name = "default",
                                .client_name = name,
                                .mount_timeout_ns = OPEN_TIMEOUT_NS,
                                .soft_timeout_ns = GATEWAY_PATIENCE_NS,
                                .tells_not_done = true,
                                .cache_bytes = CACHE_BYTES,
                                .readahead_bytes = READAHEAD_BYTES,
                                .inodes_max = INODES_MAX};
    return surf_open_export(&surf, ret, why);
}

/* With the lock, which is let go meanwhile. */
static void open_now(struct gateway_session *s)
{
    struct surf *surf = NULL;
    struct err_text why = {""};
    s->opening = true;
    pthread_mutex_unlock(&s->lock);
    enum err e = open_surf(s, &surf, &why);
    pthread_mutex_lock(&s->lock);
    s->opening = false;
    s->attempts++;
    if (e == ERR_OK) {
        s->surf = surf;
    } else {
        s->failure = why;
        log_warn("no session with the cluster: %s", why.text);
    }
    pthread_cond_broadcast(&s->changed);
}

enum err gateway_session_get(struct gateway_session *s, struct surf **ret, struct err_text *why)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += GATEWAY_PATIENCE_NS / NS_PER_S;
    pthread_mutex_lock(&s->lock);
    unsigned attempts = s->attempts;
    bool late = false;
    while (!s->surf && !s->stopping && s->attempts == attempts && !late) {
        if (s->opening)
            late = pthread_cond_timedwait(&s->changed, &s->lock, &until) != 0;
        else
            open_now(s);
    }
    enum err e = s->stopping ? ERR_CANCELLED : s->surf ? ERR_OK : ERR_TIMEOUT;
    if (e == ERR_OK)
        *ret = s->surf;
    else
        (void)err_explain(why, e, "%s", s->stopping ? "this node is stopping" : s->failure.text);
    pthread_mutex_unlock(&s->lock);
    return e;
}

struct rpc_cancel *gateway_session_cancel(struct gateway_session *s)
{
    return s->cancel;
}

void gateway_session_stop(struct gateway_session *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    rpc_cancel_fire(s->cancel);
}

struct asker gateway_session_asker(const struct gateway_session *s, struct arena *arena)
{
    return (struct asker){.servers = s->asked,
                          .server_count = s->asked_count,
                          .timeout_ns = GATEWAY_PATIENCE_NS,
                          .name = "gateway",
                          .arena = arena};
}

const struct gateway_options *gateway_session_options(const struct gateway_session *s)
{
    return &s->options;
}
