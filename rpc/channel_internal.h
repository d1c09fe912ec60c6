/* channel_internal.h: what the channel's files share.
 *
 *   channel.c         channels and calls: start, result, free
 *   channel_conn.c    one connection: made, read, broken
 *   channel_lookup.c  the address of a host's name
 *   channel_write.c   whose turn it is to write, and writing
 *   channel_wait.c    threads that wait: eventfds, cancel, wait_any, the reader's role
 *   channel_helper.c  the thread that reads (and finishes writing) where nobody waits
 *
 * Locks, outer first: channel->lock, then the helper's. None is held over a system call that can block, nor while a
 * callback of the user runs. Two roles are handed around under channel->lock: the reader of a connection owns its
 * parser and receives from its socket; the writer sends on its socket. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/map.h"
#include "rpc/address.h"
#include "rpc/channel.h"
#include "rpc/frame.h"
#include "rpc/pump.h"

#define CHANNEL_READ_BYTES (64u * 1024u)
#define CHANNEL_HELLO_BYTES (4u * 1024u)
#define CHANNEL_USER_TIMEOUT_MS 10000
#define CHANNEL_COPY_BYTES (64u * 1024u) /* a frame up to this is queued when another thread writes */
#define CHANNEL_WRITE_ROUNDS 16          /* a writer sends this often for others before the helper goes on */
#define CHANNEL_IDLE_CHECK_NS (100 * INT64_C(1000000)) /* a connection idle for longer is looked at before use */

struct channel_conn;

/* A thread that sleeps in poll on its eventfd, and on sockets that it reads. Lives on its stack. */
struct channel_waiter {
    int event_fd;
    atomic_bool satisfied;        /* one of its calls has ended: the reader's role is of no use to it */
    struct rpc_cancel *cancel;    /* NULL: none */
    struct list_node cancel_node; /* protected by cancel->lock */
};

/* Its place at one connection. */
struct channel_entry {
    struct list_node node; /* in conn->waiters; protected by the channel's lock */
    struct channel_waiter *waiter;
    struct channel_conn *conn; /* holds a reference */
    atomic_bool reads;         /* has the reader's role; set by whoever hands it over, under the lock */
};

/* Its place in the queue for the writer's role. */
struct channel_turn {
    struct list_node node; /* in conn->turns; protected by the channel's lock */
    struct channel_waiter *waiter;
    bool granted; /* protected by the channel's lock */
};

struct rpc_cancel {
    pthread_mutex_t lock;
    atomic_bool fired;
    struct list waiters; /* protected by lock */
};

struct rpc_channel {
    atomic_uint refs; /* the owner's, one per call, one per connection */
    struct rpc_address address;
    struct bytes hello;
    enum err (*on_hello)(void *context, struct slice hello, struct err_text *why);
    void *context;
    int64_t connect_timeout_ns;
    struct rpc_pump_factory pumps;
    atomic_bool is_local;

    pthread_mutex_t lock;
    /* Protected by lock. */
    struct channel_conn *conn; /* holds a reference; NULL while there is none */
    bool closed;
    bool connecting;             /* a thread is making the connection */
    uint64_t connects;           /* attempts that ended */
    enum err connect_result;     /* of the last one */
    struct err_text trouble;     /* why that failed */
    struct list connect_waiters; /* struct channel_turn */
    uint64_t next_id;
};

struct channel_conn {
    atomic_uint refs;
    struct rpc_channel *channel; /* holds a reference */
    int fd;
    uint64_t serial; /* names it to the helper, never reused */

    struct frame_parser parser; /* the reader's */
    struct bytes wire_in;       /* the reader's; only with a pump that is not transparent */

    bool transparent; /* the pump's */

    /* Protected by the channel's lock. */
    struct rpc_pump *pump;
    bool broken;            /* no calls are on it any more, nobody shall use it */
    bool reading;           /* the reader's role is taken: by the entry that has `reads`, or by the helper */
    bool writing;           /* the writer's role is taken */
    struct list waiters;    /* struct channel_entry */
    struct list turns;      /* struct channel_turn */
    struct bytes queue;     /* what the socket gets next; a frame's rest may be at its front */
    bool helper_writes;     /* nobody else will send the queue */
    struct map_u64 calls;   /* id -> struct rpc_call that has not ended */
    struct list background; /* calls of it that were abandoned */
    bool helper_knows;
    unsigned armed; /* epoll events that the helper is armed for */
    int64_t last_start_ns;
};

struct rpc_call {
    struct rpc_channel *channel; /* holds a reference */
    int64_t deadline_ns;
    atomic_bool ended; /* set last: what is below it up to the next line is then fixed */
    bool answered;     /* status is the server's */
    enum err status;
    struct bytes data; /* what message and payload point into */
    struct slice message, payload;
    /* Protected by the channel's lock. */
    struct channel_conn *conn; /* borrowed: a connection outlives its calls' stay in conn->calls */
    uint64_t id;
    struct channel_entry *entry; /* of the thread that waits for it */
    bool abandoned;
    void (*finished)(void *context, enum err status, struct slice message);
    void *context;
    struct list_node node; /* in conn->background, then in a list of struct channel_done */
};

/* Abandoned calls that ended, to be told of and freed when no lock is held. */
struct channel_done {
    struct list calls;
};

/* channel.c */
void channel_ref(struct rpc_channel *c);
void channel_unref(struct rpc_channel *c);
void channel_done_init(struct channel_done *done);
void channel_done_run(struct channel_done *done);
/* Ends a call; the channel's lock is held. The waiter is woken unless it is `self`. */
void call_end(struct rpc_call *call, enum err status, const struct channel_waiter *self, struct channel_done *done);

/* channel_conn.c */
/* Connects and exchanges HELLOs; blocks until the deadline or cancel. Without the lock. */
/* why: a failure's, where there is more to say than the error. */
enum err conn_open(struct rpc_channel *c, int64_t deadline_ns, struct channel_waiter *w, struct channel_conn **ret,
                   struct err_text *why);
void conn_ref(struct channel_conn *conn);
void conn_unref(struct channel_conn *conn); /* never while holding the channel's lock */
/* Takes the connection out of use and ends its calls. With the lock and a reference of the caller's own. */
void conn_break(struct channel_conn *conn, enum err status, const struct channel_waiter *self,
                struct channel_done *done);
/* Reads what is there and ends the calls that it answers. By the reader, without the lock. */
void conn_receive(struct channel_conn *conn, const struct channel_waiter *self);
/* The other side has closed an idle connection. With the lock; the reader's role must be free. */
bool conn_is_stale(struct channel_conn *conn);

/* channel_lookup.c */
/* Where that is, with an address at once, and with a name when it is looked up; blocks until the deadline or cancel,
 * and leaves the look-up (lookup.h) behind then. Without any lock. UNREACHABLE with why, TIMEOUT, CANCELLED. */
enum err channel_lookup(const struct rpc_address *a, int64_t deadline_ns, struct channel_waiter *w,
                        struct sockaddr_storage *ret, socklen_t *ret_size, struct err_text *why) MUST_USE;

/* channel_write.c */
/* Sends a frame, or queues it behind another thread's. With the lock, which it releases and takes again; by then the
 * connection may be broken and the call ended. Not ERR_OK: the call shall end with it. */
enum err conn_write(struct channel_conn *conn, const struct iovec *parts, size_t count, int64_t deadline_ns,
                    struct channel_waiter *w, struct channel_done *done);
/* Sends of the queue what the socket takes, if nobody else does; with the lock, which it may release and take again. */
void conn_write_queue(struct channel_conn *conn, struct channel_done *done);

/* channel_wait.c */
void waiter_begin(struct channel_waiter *w, struct rpc_cancel *cancel);
void waiter_end(struct channel_waiter *w);
bool waiter_cancelled(const struct channel_waiter *w);
void waiter_signal(const struct channel_waiter *w);
/* Sleeps until signalled, cancelled (ERR_CANCELLED), the deadline (ERR_TIMEOUT), or fd has one of the events. */
enum err waiter_sleep(struct channel_waiter *w, int fd, short events, int64_t deadline_ns) MUST_USE;
/* Joins those that wait at conn; with the lock. */
void entry_join(struct channel_entry *entry, struct channel_conn *conn, struct channel_waiter *w);
/* Leaves and hands the reader's role on; with the lock. The reference is the caller's to drop. */
void entry_leave(struct channel_entry *entry);
/* Sleeps as waiter_sleep does, reads where an entry has the role; `writable` NULL or a connection to wait to write on.
 */
enum err waiter_step(struct channel_waiter *w, struct channel_entry *entries, size_t count,
                     const struct channel_conn *writable, int64_t deadline_ns) MUST_USE;
/* Gives the free reader's role to somebody who waits, or to the helper if it is needed. With the lock. */
void conn_hand_over(struct channel_conn *conn);

/* channel_helper.c */
/* Arms or disarms the helper as the connection's state demands; with the lock. */
void helper_update(struct channel_conn *conn);
void helper_forget(struct channel_conn *conn); /* with the lock */
void helper_expect_deadline(void);             /* an abandoned call's deadline is to be watched */
