#include <errno.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/mem.h"
#include "rpc/channel_internal.h"

/* What is still to be sent of some parts. The parts themselves are not changed. */
struct outgoing {
    const struct iovec *parts;
    size_t count; /* of parts; those before `at` are sent */
    size_t at;
    size_t offset; /* sent of parts[at] */
};

#define OUTGOING_PARTS (3 + RPC_PAYLOAD_SLICES)

static void outgoing_sent(struct outgoing *o, size_t size)
{
    while (o->at < o->count && size >= o->parts[o->at].iov_len - o->offset) {
        size -= o->parts[o->at].iov_len - o->offset;
        o->at++;
        o->offset = 0;
    }
    o->offset += size;
}

static bool outgoing_begun(const struct outgoing *o)
{
    return o->at > 0 || o->offset > 0;
}

/* The rest of a frame must go out before anything else does, or the other side loses its place. */
static void outgoing_requeue(const struct outgoing *o, struct bytes *queue)
{
    struct bytes all = {0};
    size_t offset = o->offset;
    for (size_t i = o->at; i < o->count; i++) {
        bytes_append(&all, SLICE((const uint8_t *)o->parts[i].iov_base + offset, o->parts[i].iov_len - offset));
        offset = 0;
    }
    bytes_append(&all, bytes_slice(queue));
    bytes_free(queue);
    *queue = all;
}

/* Sleeps until the socket may take more; reads it meanwhile if nobody else does, because a server that can't get rid of
 * its replies stops to read our requests. */
static enum err conn_await_writable(struct channel_conn *conn, int64_t deadline_ns, struct channel_waiter *w)
{
    struct rpc_channel *c = conn->channel;
    struct channel_entry entry;
    pthread_mutex_lock(&c->lock);
    entry_join(&entry, conn, w);
    pthread_mutex_unlock(&c->lock);
    enum err e = waiter_step(w, &entry, 1, conn, deadline_ns);
    pthread_mutex_lock(&c->lock);
    entry_leave(&entry);
    pthread_mutex_unlock(&c->lock);
    conn_unref(conn);
    return e;
}

/* By the writer, without the lock. w NULL: does not wait, ERR_AGAIN instead. ERR_CLOSED: the connection is broken. */
static enum err conn_send(struct channel_conn *conn, struct outgoing *o, int64_t deadline_ns, struct channel_waiter *w)
{
    while (o->at < o->count) {
        struct iovec parts[OUTGOING_PARTS];
        size_t count = o->count - o->at;
        CHECK(count <= OUTGOING_PARTS);
        for (size_t i = 0; i < count; i++)
            parts[i] = o->parts[o->at + i];
        parts[0].iov_base = (uint8_t *)parts[0].iov_base + o->offset;
        parts[0].iov_len -= o->offset;
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(conn->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            outgoing_sent(o, (size_t)sent);
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!w)
                return ERR_AGAIN;
            TRY(conn_await_writable(conn, deadline_ns, w));
        } else if (errno != EINTR)
            return ERR_CLOSED;
    }
    return ERR_OK;
}

/* By the writer, with the lock, which is released meanwhile. Parts that were begun and can't be finished are queued. */
static enum err conn_send_parts(struct channel_conn *conn, const struct iovec *parts, size_t count, int64_t deadline_ns,
                                struct channel_waiter *w, struct channel_done *done)
{
    struct outgoing o = {.parts = parts, .count = count};
    pthread_mutex_unlock(&conn->channel->lock);
    enum err e = conn_send(conn, &o, deadline_ns, w);
    pthread_mutex_lock(&conn->channel->lock);
    if (e == ERR_CLOSED)
        conn_break(conn, ERR_CLOSED, w, done);
    if (conn->broken)
        return ERR_CLOSED;
    if (e != ERR_OK && outgoing_begun(&o))
        outgoing_requeue(&o, &conn->queue);
    return e;
}

static enum err conn_send_queue(struct channel_conn *conn, int64_t deadline_ns, struct channel_waiter *w,
                                struct channel_done *done)
{
    struct bytes taken = conn->queue;
    struct iovec part = {taken.data, taken.size};
    struct outgoing o = {.parts = &part, .count = 1};
    conn->queue = (struct bytes){0};
    pthread_mutex_unlock(&conn->channel->lock);
    enum err e = conn_send(conn, &o, deadline_ns, w);
    pthread_mutex_lock(&conn->channel->lock);
    if (e == ERR_CLOSED)
        conn_break(conn, ERR_CLOSED, w, done);
    else if (e != ERR_OK)
        outgoing_requeue(&o, &conn->queue);
    bytes_free(&taken);
    return conn->broken ? ERR_CLOSED : e;
}

/* Gives up the writer's role; what others queued meanwhile is sent first, as far as that goes without waiting. */
static void conn_release_writer(struct channel_conn *conn, struct channel_done *done)
{
    for (int round = 0; conn->queue.size > 0 && list_empty(&conn->turns) && !conn->broken; round++)
        if (round == CHANNEL_WRITE_ROUNDS || conn_send_queue(conn, 0, NULL, done) != ERR_OK)
            break;
    struct list_node *node = conn->broken ? NULL : list_pop_front(&conn->turns);
    if (node) {
        struct channel_turn *turn = container_of(node, struct channel_turn, node);
        turn->granted = true;
        waiter_signal(turn->waiter);
        return;
    }
    conn->writing = false;
    conn->helper_writes = conn->queue.size > 0 && !conn->broken;
    helper_update(conn);
}

static enum err conn_await_turn(struct channel_conn *conn, int64_t deadline_ns, struct channel_waiter *w,
                                struct channel_done *done)
{
    struct channel_turn turn = {.waiter = w};
    enum err e = ERR_OK;
    list_push_back(&conn->turns, &turn.node);
    while (!turn.granted && !conn->broken && e == ERR_OK) {
        pthread_mutex_unlock(&conn->channel->lock);
        e = waiter_sleep(w, -1, 0, deadline_ns);
        pthread_mutex_lock(&conn->channel->lock);
    }
    list_remove(&turn.node);
    if (conn->broken)
        e = ERR_CLOSED;
    if (turn.granted && e != ERR_OK)
        conn_release_writer(conn, done);
    return e;
}

static enum err conn_enqueue(struct channel_conn *conn, const struct iovec *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slice part = SLICE(parts[i].iov_base, parts[i].iov_len);
        if (conn->transparent)
            bytes_append(&conn->queue, part);
        else
            TRY(conn->pump->ops->send(conn->pump, part, &conn->queue));
    }
    return ERR_OK;
}

enum err conn_write(struct channel_conn *conn, const struct iovec *parts, size_t count, int64_t deadline_ns,
                    struct channel_waiter *w, struct channel_done *done)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (conn->writing) {
        if (size <= CHANNEL_COPY_BYTES && conn->queue.size + size <= RPC_CHANNEL_QUEUE_BYTES)
            return conn_enqueue(conn, parts, count);
        TRY(conn_await_turn(conn, deadline_ns, w, done));
    }
    conn->writing = true;
    conn->helper_writes = false;
    enum err e = conn->transparent ? ERR_OK : conn_enqueue(conn, parts, count);
    if (e == ERR_OK && conn->queue.size > 0)
        e = conn_send_queue(conn, deadline_ns, w, done);
    if (e == ERR_OK && conn->transparent)
        e = conn_send_parts(conn, parts, count, deadline_ns, w, done);
    conn_release_writer(conn, done);
    return e;
}

void conn_write_queue(struct channel_conn *conn, struct channel_done *done)
{
    if (conn->writing || conn->broken || conn->queue.size == 0)
        return;
    conn->writing = true;
    conn->helper_writes = false;
    conn_release_writer(conn, done);
}
