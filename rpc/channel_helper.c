#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "rpc/channel_internal.h"

#define HELPER_TICK_MS 100 /* how exactly abandoned calls keep their deadlines */
#define HELPER_TIMER 0u    /* in place of a connection's serial */
#define RETRY_NS (100 * NS_PER_MS)

static struct {
    pthread_once_t once;
    int epoll_fd, timer_fd;
    atomic_bool timer_set;
    pthread_mutex_t lock;
    struct map_u64 conns; /* serial -> connection, with a reference; protected by lock */
} helper = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static struct channel_conn *helper_find(uint64_t serial)
{
    pthread_mutex_lock(&helper.lock);
    struct channel_conn *conn = map_u64_get(&helper.conns, serial);
    if (conn)
        conn_ref(conn);
    pthread_mutex_unlock(&helper.lock);
    return conn;
}

static void helper_serve(struct channel_conn *conn, unsigned events)
{
    struct rpc_channel *c = conn->channel;
    struct channel_done done;
    channel_done_init(&done);
    pthread_mutex_lock(&c->lock);
    conn->armed = 0; /* it fires once */
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        conn_write_queue(conn, &done);
    bool reads = !conn->broken && !conn->reading && (events & (EPOLLIN | EPOLLHUP | EPOLLERR));
    if (reads) {
        conn->reading = true;
        pthread_mutex_unlock(&c->lock);
        conn_receive(conn, NULL);
        pthread_mutex_lock(&c->lock);
        conn_hand_over(conn);
    } else {
        helper_update(conn);
    }
    pthread_mutex_unlock(&c->lock);
    channel_done_run(&done);
}

static void conn_expire(struct channel_conn *conn, int64_t now, bool *more)
{
    struct channel_done done;
    channel_done_init(&done);
    pthread_mutex_lock(&conn->channel->lock);
    list_for_each_safe (node, &conn->background) {
        struct rpc_call *call = container_of(node, struct rpc_call, node);
        if (call->deadline_ns <= now)
            call_end(call, ERR_TIMEOUT, NULL, &done);
        else if (call->deadline_ns != INT64_MAX)
            *more = true;
    }
    if (conn->armed)
        helper_update(conn);
    pthread_mutex_unlock(&conn->channel->lock);
    channel_done_run(&done);
}

static void helper_tick(void)
{
    uint64_t expirations;
    (void)!read(helper.timer_fd, &expirations, sizeof expirations);
    atomic_store(&helper.timer_set, false);

    pthread_mutex_lock(&helper.lock);
    size_t count = 0, at = 0;
    struct channel_conn **conns = mem_alloc((helper.conns.count + 1) * sizeof *conns);
    uint64_t serial;
    void *value;
    while (map_u64_next(&helper.conns, &at, &serial, &value)) {
        conns[count++] = value;
        conn_ref(value);
    }
    pthread_mutex_unlock(&helper.lock);

    bool more = false;
    int64_t now = clock_boot_ns();
    for (size_t i = 0; i < count; i++) {
        conn_expire(conns[i], now, &more);
        conn_unref(conns[i]);
    }
    free(conns);
    if (more)
        helper_expect_deadline();
}

static void *helper_main(void *unused)
{
    (void)unused;
    for (;;) {
        struct epoll_event event;
        int count = epoll_wait(helper.epoll_fd, &event, 1, -1);
        CHECK(count >= 0 || errno == EINTR);
        if (count <= 0)
            continue;
        if (event.data.u64 == HELPER_TIMER) {
            helper_tick();
            continue;
        }
        struct channel_conn *conn = helper_find(event.data.u64);
        if (conn) {
            helper_serve(conn, event.events);
            conn_unref(conn);
        }
    }
    return NULL;
}

/* Where the process has no descriptor left now, it will: others are closed. */
static void helper_open(void)
{
    helper.epoll_fd = helper.timer_fd = -1;
    for (;;) {
        if (helper.epoll_fd < 0)
            helper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (helper.timer_fd < 0)
            helper.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (helper.epoll_fd >= 0 && helper.timer_fd >= 0)
            return;
        CHECK(errno == EMFILE || errno == ENFILE || errno == ENOMEM);
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
}

static void helper_start(void)
{
    helper_open();
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = HELPER_TIMER};
    CHECK(epoll_ctl(helper.epoll_fd, EPOLL_CTL_ADD, helper.timer_fd, &event) == 0);

    /* Signals are for the program's own threads. */
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    thread_start(&thread, helper_main, NULL);
    CHECK(pthread_detach(thread) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

void helper_update(struct channel_conn *conn)
{
    unsigned events = 0;
    if (conn->broken)
        return;
    if (!conn->reading && !list_empty(&conn->background))
        events |= EPOLLIN;
    if (conn->helper_writes)
        events |= EPOLLOUT;
    /* It must know of every connection with abandoned calls, to watch their deadlines. */
    if (events == conn->armed && (conn->helper_knows || list_empty(&conn->background)))
        return;
    pthread_once(&helper.once, helper_start);
    bool add = !conn->helper_knows;
    if (add) {
        conn->helper_knows = true;
        conn_ref(conn);
        pthread_mutex_lock(&helper.lock);
        map_u64_put(&helper.conns, conn->serial, conn);
        pthread_mutex_unlock(&helper.lock);
    }
    /* Without events it still tells of HUP, unless EPOLLONESHOT has disarmed it; both are harmless. */
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.u64 = conn->serial};
    CHECK(epoll_ctl(helper.epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, conn->fd, &event) == 0);
    conn->armed = events;
}

void helper_forget(struct channel_conn *conn)
{
    if (!conn->helper_knows)
        return;
    conn->helper_knows = false;
    CHECK(epoll_ctl(helper.epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL) == 0);
    pthread_mutex_lock(&helper.lock);
    map_u64_remove(&helper.conns, conn->serial);
    pthread_mutex_unlock(&helper.lock);
    unsigned refs = atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel);
    CHECK(refs > 1); /* the breaker's */
}

void helper_expect_deadline(void)
{
    pthread_once(&helper.once, helper_start);
    if (atomic_exchange(&helper.timer_set, true))
        return;
    struct itimerspec when = {.it_value = {.tv_nsec = HELPER_TICK_MS * NS_PER_MS}};
    CHECK(timerfd_settime(helper.timer_fd, 0, &when, NULL) == 0);
}
