#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel_internal.h"

#define WAIT_STACK_CONNS 16 /* connections in one wait without memory from the heap */
#define LOOK_AROUND_NS (20 * NS_PER_MS)

struct rpc_cancel *rpc_cancel_new(void)
{
    struct rpc_cancel *c = MEM_NEW(struct rpc_cancel);
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    list_init(&c->waiters);
    return c;
}

void rpc_cancel_fire(struct rpc_cancel *c)
{
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->fired, true);
    list_for_each (node, &c->waiters)
        waiter_signal(container_of(node, struct channel_waiter, cancel_node));
    pthread_mutex_unlock(&c->lock);
}

bool rpc_cancel_fired(const struct rpc_cancel *c)
{
    return atomic_load(&c->fired);
}

void rpc_cancel_free(struct rpc_cancel *c)
{
    if (!c)
        return;
    CHECK(list_empty(&c->waiters));
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Each thread has one eventfd for all its waits, made at the first. A signal that comes when a wait is over just makes
 * the next one look around once more. While the process has no descriptor left for one, a wait looks around now and
 * then. */
static pthread_once_t event_once = PTHREAD_ONCE_INIT;
static pthread_key_t event_key;

static void event_close(void *value)
{
    close((int)(intptr_t)value - 1);
}

static void event_init(void)
{
    CHECK(pthread_key_create(&event_key, event_close) == 0);
}

static int event_of_thread(void)
{
    pthread_once(&event_once, event_init);
    intptr_t value = (intptr_t)pthread_getspecific(event_key);
    if (value == 0) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -1;
        value = (intptr_t)fd + 1; /* NULL means none */
        CHECK(pthread_setspecific(event_key, (void *)value) == 0);
    }
    return (int)value - 1;
}

void waiter_begin(struct channel_waiter *w, struct rpc_cancel *cancel)
{
    w->event_fd = event_of_thread();
    atomic_init(&w->satisfied, false);
    w->cancel = cancel;
    if (cancel) {
        pthread_mutex_lock(&cancel->lock);
        list_push_back(&cancel->waiters, &w->cancel_node);
        pthread_mutex_unlock(&cancel->lock);
    }
}

void waiter_end(struct channel_waiter *w)
{
    if (w->cancel) {
        pthread_mutex_lock(&w->cancel->lock);
        list_remove(&w->cancel_node);
        pthread_mutex_unlock(&w->cancel->lock);
    }
}

bool waiter_cancelled(const struct channel_waiter *w)
{
    return w->cancel && rpc_cancel_fired(w->cancel);
}

void waiter_signal(const struct channel_waiter *w)
{
    uint64_t one = 1;
    if (w->event_fd < 0)
        return;
    CHECK(write(w->event_fd, &one, sizeof one) == sizeof one || errno == EAGAIN);
}

/* polls[0] is the waiter's eventfd. */
static enum err waiter_poll(struct channel_waiter *w, struct pollfd *polls, size_t count, int64_t deadline_ns)
{
    if (waiter_cancelled(w))
        return ERR_CANCELLED;
    struct timespec timeout, *limit = NULL;
    if (deadline_ns != INT64_MAX || w->event_fd < 0) {
        int64_t left = deadline_ns - clock_boot_ns();
        if (left <= 0)
            return ERR_TIMEOUT;
        if (w->event_fd < 0)
            left = MIN(left, LOOK_AROUND_NS);
        timeout = (struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        limit = &timeout;
    }
    polls[0] = (struct pollfd){.fd = w->event_fd, .events = POLLIN};
    int ready = ppoll(polls, count, limit, NULL);
    CHECK(ready >= 0 || errno == EINTR);
    if (ready < 0)
        for (size_t i = 0; i < count; i++)
            polls[i].revents = 0;
    if (polls[0].revents) {
        uint64_t drained;
        CHECK(read(w->event_fd, &drained, sizeof drained) == sizeof drained || errno == EAGAIN);
    }
    return ERR_OK;
}

enum err waiter_sleep(struct channel_waiter *w, int fd, short events, int64_t deadline_ns)
{
    struct pollfd polls[2];
    polls[1] = (struct pollfd){.fd = fd, .events = events};
    return waiter_poll(w, polls, fd < 0 ? 1 : 2, deadline_ns);
}

void entry_join(struct channel_entry *entry, struct channel_conn *conn, struct channel_waiter *w)
{
    conn_ref(conn);
    entry->waiter = w;
    entry->conn = conn;
    atomic_init(&entry->reads, !conn->reading);
    conn->reading = true;
    list_push_back(&conn->waiters, &entry->node);
    if (conn->armed)
        helper_update(conn);
}

void conn_hand_over(struct channel_conn *conn)
{
    conn->reading = false;
    list_for_each (node, &conn->waiters) {
        struct channel_entry *next = container_of(node, struct channel_entry, node);
        if (!atomic_load(&next->waiter->satisfied)) {
            conn->reading = true;
            atomic_store_explicit(&next->reads, true, memory_order_release);
            waiter_signal(next->waiter);
            return;
        }
    }
    helper_update(conn);
}

void entry_leave(struct channel_entry *entry)
{
    list_remove(&entry->node);
    if (atomic_load_explicit(&entry->reads, memory_order_relaxed))
        conn_hand_over(entry->conn);
}

enum err waiter_step(struct channel_waiter *w, struct channel_entry *entries, size_t count,
                     const struct channel_conn *writable, int64_t deadline_ns)
{
    struct pollfd on_stack[1 + WAIT_STACK_CONNS];
    struct pollfd *polls = count <= WAIT_STACK_CONNS ? on_stack : mem_alloc((1 + count) * sizeof *polls);
    for (size_t i = 0; i < count; i++) {
        short events = entries[i].conn == writable ? POLLOUT : 0;
        if (atomic_load_explicit(&entries[i].reads, memory_order_acquire))
            events |= POLLIN;
        polls[1 + i] = (struct pollfd){.fd = events ? entries[i].conn->fd : -1, .events = events};
    }
    enum err e = waiter_poll(w, polls, 1 + count, deadline_ns);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        if ((polls[1 + i].events & POLLIN) && (polls[1 + i].revents & (POLLIN | POLLHUP | POLLERR)))
            conn_receive(entries[i].conn, w);
    if (polls != on_stack)
        free(polls);
    return e;
}

/* A thread's wait for some calls: a place at each of the connections that they are on. */
struct wait {
    struct channel_waiter waiter;
    struct channel_entry on_stack[WAIT_STACK_CONNS], *entries;
    size_t count;
    struct rpc_call *const *calls;
    size_t call_count;
};

static bool wait_find_ended(const struct wait *w, size_t *ret_index)
{
    for (size_t i = 0; i < w->call_count; i++) {
        if (w->calls[i] && atomic_load_explicit(&w->calls[i]->ended, memory_order_acquire)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static void wait_join(struct wait *w)
{
    for (size_t i = 0; i < w->call_count; i++) {
        struct rpc_call *call = w->calls[i];
        if (!call)
            continue;
        pthread_mutex_lock(&call->channel->lock);
        if (!atomic_load_explicit(&call->ended, memory_order_relaxed)) {
            size_t at = 0;
            while (at < w->count && w->entries[at].conn != call->conn)
                at++;
            if (at == w->count)
                entry_join(&w->entries[w->count++], call->conn, &w->waiter);
            call->entry = &w->entries[at];
        }
        pthread_mutex_unlock(&call->channel->lock);
    }
}

static void wait_leave(struct wait *w)
{
    for (size_t at = 0; at < w->count; at++) {
        struct channel_conn *conn = w->entries[at].conn;
        struct rpc_channel *channel = conn->channel;
        pthread_mutex_lock(&channel->lock);
        for (size_t i = 0; i < w->call_count; i++)
            if (w->calls[i] && w->calls[i]->entry == &w->entries[at])
                w->calls[i]->entry = NULL;
        entry_leave(&w->entries[at]);
        pthread_mutex_unlock(&channel->lock);
        conn_unref(conn);
    }
}

/* Ends those calls whose own deadline has passed; gives the earliest one of the others, at most `deadline_ns`. */
static int64_t wait_expire(struct wait *w, int64_t deadline_ns, struct channel_done *done)
{
    int64_t now = 0;
    for (size_t i = 0; i < w->call_count; i++) {
        struct rpc_call *call = w->calls[i];
        if (!call || call->deadline_ns > deadline_ns)
            continue;
        if (now == 0)
            now = clock_boot_ns();
        if (call->deadline_ns > now) {
            deadline_ns = call->deadline_ns;
            continue;
        }
        pthread_mutex_lock(&call->channel->lock);
        if (!atomic_load_explicit(&call->ended, memory_order_relaxed))
            call_end(call, ERR_TIMEOUT, &w->waiter, done);
        pthread_mutex_unlock(&call->channel->lock);
    }
    return deadline_ns;
}

enum err rpc_call_wait_any(struct rpc_call *const *calls, size_t count, int64_t deadline_ns, struct rpc_cancel *cancel,
                           size_t *ret_index)
{
    struct wait w = {.calls = calls, .call_count = count};
    if (wait_find_ended(&w, ret_index))
        return ERR_OK;
    struct channel_done done;
    channel_done_init(&done);
    w.entries = count <= WAIT_STACK_CONNS ? w.on_stack : mem_alloc(count * sizeof *w.entries);
    waiter_begin(&w.waiter, cancel);
    wait_join(&w);
    enum err e = ERR_OK;
    while (!wait_find_ended(&w, ret_index)) {
        int64_t next_ns = wait_expire(&w, deadline_ns, &done);
        if (wait_find_ended(&w, ret_index))
            break;
        e = waiter_step(&w.waiter, w.entries, w.count, NULL, next_ns);
        if (e == ERR_TIMEOUT && next_ns == deadline_ns) {
            wait_expire(&w, deadline_ns, &done);
            e = wait_find_ended(&w, ret_index) ? ERR_OK : ERR_TIMEOUT;
            break;
        }
        if (e == ERR_CANCELLED)
            break;
        e = ERR_OK; /* a call's own deadline is handled in the next round */
    }
    wait_leave(&w);
    waiter_end(&w.waiter);
    if (w.entries != w.on_stack)
        free(w.entries);
    channel_done_run(&done);
    return e;
}
