#include "rpc/lookup.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define LOOKUP_KEPT_NS (10 * NS_PER_S)   /* of an answer that came when nobody waited any more */
#define LOOKUP_STACK_BYTES (1024u * KIB) /* modules that look names up are of all kinds */

struct rpc_lookup {
    struct list_node node;
    struct rpc_address address;
    /* Protected by the list's lock. */
    struct list waiters; /* struct rpc_lookup_turn */
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

static struct rpc_lookup_turn *turn_of(struct list_node *node)
{
    return container_of(node, struct rpc_lookup_turn, node);
}

static void *lookup_main(void *context)
{
    struct rpc_lookup *l = context;
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
        turn_of(node)->ended(turn_of(node));
    pthread_mutex_unlock(&names.lock);
    return NULL;
}

static bool lookup_start(struct rpc_lookup *l)
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

static void lookup_free(struct rpc_lookup *l)
{
    list_remove(&l->node);
    free(l);
}

/* The one that is under way, or has just ended, or a new one; with the lock. */
static enum err lookup_get(const struct rpc_address *a, struct rpc_lookup **ret, struct err_text *why)
{
    int64_t now = clock_boot_ns();
    unsigned under_way = 0;
    *ret = NULL;
    list_for_each_safe (node, &names.lookups) {
        struct rpc_lookup *l = container_of(node, struct rpc_lookup, node);
        under_way += !l->ended;
        if (l->ended && list_empty(&l->waiters) && now - l->ended_ns > LOOKUP_KEPT_NS)
            lookup_free(l);
        else if (l->address.port == a->port && strcmp(l->address.host, a->host) == 0)
            *ret = l;
    }
    if (*ret)
        return ERR_OK;
    if (under_way >= RPC_LOOKUPS)
        return err_explain(why, ERR_UNREACHABLE, "%u names are being looked up, and don't come to an end", under_way);
    struct rpc_lookup *l = MEM_NEW(struct rpc_lookup);
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

enum err rpc_lookup_join(const struct rpc_address *a, struct rpc_lookup_turn *turn, struct err_text *why)
{
    pthread_mutex_lock(&names.lock);
    enum err e = lookup_get(a, &turn->lookup, why);
    if (e == ERR_OK)
        list_push_back(&turn->lookup->waiters, &turn->node);
    pthread_mutex_unlock(&names.lock);
    return e;
}

bool rpc_lookup_has_ended(const struct rpc_lookup_turn *turn)
{
    pthread_mutex_lock(&names.lock);
    bool ended = turn->lookup->ended;
    pthread_mutex_unlock(&names.lock);
    return ended;
}

enum err rpc_lookup_leave(struct rpc_lookup_turn *turn, struct sockaddr_storage *ret, socklen_t *ret_size,
                          struct err_text *why)
{
    enum err e = ERR_TIMEOUT;
    pthread_mutex_lock(&names.lock);
    struct rpc_lookup *l = turn->lookup;
    list_remove(&turn->node);
    turn->lookup = NULL;
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
