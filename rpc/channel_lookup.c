/* Names of hosts become addresses. The C library's look-up can't be broken off and takes as long as name servers let
 * it, which is for ever if they take questions and answer none: so it runs on a thread of its own, and who has waited
 * long enough, or is interrupted, leaves it there. One thread per name, and CHANNEL_LOOKUPS at most. */
#include <signal.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel_internal.h"

#define LOOKUP_KEPT_NS (10 * NS_PER_S)   /* of an answer that came when nobody waited any more */
#define LOOKUP_STACK_BYTES (1024u * KIB) /* modules that look names up are of all kinds */

struct lookup {
    struct list_node node;
    struct rpc_address address;
    /* Protected by the list's lock. */
    struct list waiters; /* struct channel_turn */
    bool ended;          /* what follows is fixed then */
    int64_t ended_ns;
    enum err result;
    struct sockaddr_storage to;
    socklen_t size;
    struct err_text why;
};

static struct {
    pthread_mutex_t lock;
    struct list lookups; /* protected by lock; those that have not ended are their threads' too */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .lookups = {{&names.lookups.head, &names.lookups.head}}};

static void *lookup_main(void *context)
{
    struct lookup *l = context;
    struct sockaddr_storage to;
    socklen_t size = 0;
    struct err_text why = {""};
    enum err e = rpc_address_resolve(&l->address, &to, &size, &why);
    pthread_mutex_lock(&names.lock);
    l->ended = true;
    l->ended_ns = clock_boot_ns();
    l->result = e;
    l->why = why;
    if (e == ERR_OK)
        l->to = to, l->size = size;
    list_for_each (node, &l->waiters)
        waiter_signal(container_of(node, struct channel_turn, node)->waiter);
    pthread_mutex_unlock(&names.lock);
    return NULL;
}

static bool lookup_start(struct lookup *l)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, LOOKUP_STACK_BYTES) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int failed = pthread_create(&thread, &attributes, lookup_main, l);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    pthread_attr_destroy(&attributes);
    return failed == 0;
}

static void lookup_free(struct lookup *l)
{
    list_remove(&l->node);
    free(l);
}

/* The one that is under way, or has just ended, or a new one; with the lock. */
static enum err lookup_get(const struct rpc_address *a, struct lookup **ret, struct err_text *why)
{
    int64_t now = clock_boot_ns();
    unsigned under_way = 0;
    *ret = NULL;
    list_for_each_safe (node, &names.lookups) {
        struct lookup *l = container_of(node, struct lookup, node);
        under_way += !l->ended;
        if (l->ended && list_empty(&l->waiters) && now - l->ended_ns > LOOKUP_KEPT_NS)
            lookup_free(l);
        else if (l->address.port == a->port && strcmp(l->address.host, a->host) == 0)
            *ret = l;
    }
    if (*ret)
        return ERR_OK;
    if (under_way >= CHANNEL_LOOKUPS)
        return err_explain(why, ERR_UNREACHABLE, "%u names are being looked up, and don't come to an end", under_way);
    struct lookup *l = MEM_NEW(struct lookup);
    l->address = *a;
    list_init(&l->waiters);
    list_push_back(&names.lookups, &l->node);
    if (!lookup_start(l)) {
        lookup_free(l);
        return err_explain(why, ERR_UNREACHABLE, "there is no thread to look \"%.100s\" up", a->host);
    }
    *ret = l;
    return ERR_OK;
}

enum err channel_lookup(const struct rpc_address *a, int64_t deadline_ns, struct channel_waiter *w,
                        struct sockaddr_storage *ret, socklen_t *ret_size, struct err_text *why)
{
    if (rpc_address_numeric(a, ret, ret_size))
        return ERR_OK;
    struct channel_turn turn = {.waiter = w};
    struct lookup *l;
    pthread_mutex_lock(&names.lock);
    enum err e = lookup_get(a, &l, why);
    if (e != ERR_OK) {
        pthread_mutex_unlock(&names.lock);
        return e;
    }
    list_push_back(&l->waiters, &turn.node);
    while (!l->ended && e == ERR_OK) {
        pthread_mutex_unlock(&names.lock);
        e = waiter_sleep(w, -1, 0, deadline_ns);
        pthread_mutex_lock(&names.lock);
    }
    list_remove(&turn.node);
    if (l->ended) {
        e = l->result == ERR_OK ? ERR_OK : err_explain(why, ERR_UNREACHABLE, "%s", l->why.text);
        if (e == ERR_OK)
            *ret = l->to, *ret_size = l->size;
        if (list_empty(&l->waiters))
            lookup_free(l);
    }
    pthread_mutex_unlock(&names.lock);
    return e;
}
