#include "gateway/http_connections.h"

#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

struct http_connection {
    struct list_node node; /* in one of the lists, oldest first, or in none */
    int fd;
    int64_t since_ns;
};

enum awaited { AWAITED_REQUEST, AWAITED_READER, AWAITED_COUNT };

struct http_connections {
    int64_t timeouts_ns[AWAITED_COUNT];
    pthread_t thread;
    bool threaded; /* without a thread only libmicrohttpd's own time-out is left */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list lists[AWAITED_COUNT]; /* protected by lock, as are the following */
    unsigned count;
    uint64_t expired;
    bool stopping;
};

/* With the lock: a descriptor in the list is open, since a connection is taken out before it is closed. */
static void expire(struct http_connections *t, enum awaited what)
{
    int64_t now_ns = clock_boot_ns();
    for (struct list_node *n; (n = list_first(&t->lists[what]));) {
        struct http_connection *c = container_of(n, struct http_connection, node);
        if (now_ns - c->since_ns < t->timeouts_ns[what])
            break;
        list_remove(n);
        shutdown(c->fd, SHUT_RDWR);
        t->expired++;
    }
}

static void *sweeper_main(void *context)
{
    struct http_connections *t = context;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        for (unsigned what = 0; what < AWAITED_COUNT; what++)
            expire(t, what);
        if (t->count == 0)
            pthread_cond_wait(&t->changed, &t->lock);
        else
            pthread_cond_timedwait(&t->changed, &t->lock, &until);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

struct http_connections *http_connections_new(int64_t request_ns, int64_t answer_ns)
{
    struct http_connections *t = MEM_NEW(struct http_connections);
    t->timeouts_ns[AWAITED_REQUEST] = request_ns;
    t->timeouts_ns[AWAITED_READER] = answer_ns;
    for (unsigned what = 0; what < AWAITED_COUNT; what++)
        list_init(&t->lists[what]);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->threaded = pthread_create(&t->thread, NULL, sweeper_main, t) == 0;
    return t;
}

void http_connections_free(struct http_connections *t)
{
    if (!t)
        return;
    CHECK(t->count == 0);
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (t->threaded)
        pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void await(struct http_connections *t, struct http_connection *c, enum awaited what)
{
    pthread_mutex_lock(&t->lock);
    if (list_linked(&c->node))
        list_remove(&c->node);
    c->since_ns = clock_boot_ns();
    if (what < AWAITED_COUNT)
        list_push_back(&t->lists[what], &c->node);
    pthread_mutex_unlock(&t->lock);
}

void http_connection_await(struct http_connections *t, struct http_connection *c)
{
    await(t, c, AWAITED_REQUEST);
}

void http_connection_sends(struct http_connections *t, struct http_connection *c)
{
    await(t, c, AWAITED_READER);
}

void http_connection_rests(struct http_connections *t, struct http_connection *c)
{
    await(t, c, AWAITED_COUNT);
}

struct http_connection *http_connection_open(struct http_connections *t, int fd)
{
    struct http_connection *c = MEM_NEW(struct http_connection);
    list_node_init(&c->node);
    c->fd = fd;
    pthread_mutex_lock(&t->lock);
    if (t->count++ == 0)
        pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    http_connection_await(t, c);
    return c;
}

void http_connection_close(struct http_connections *t, struct http_connection *c)
{
    pthread_mutex_lock(&t->lock);
    if (list_linked(&c->node))
        list_remove(&c->node);
    t->count--;
    pthread_mutex_unlock(&t->lock);
    free(c);
}

unsigned http_connections_count(struct http_connections *t)
{
    pthread_mutex_lock(&t->lock);
    unsigned count = t->count;
    pthread_mutex_unlock(&t->lock);
    return count;
}

uint64_t http_connections_expired(struct http_connections *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t expired = t->expired;
    pthread_mutex_unlock(&t->lock);
    return expired;
}
