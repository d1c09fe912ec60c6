/* block_servers.h: the block servers as connections, and in which order to try them for a block. Private to client/. */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "client/block/block_client.h"

struct block_server {
    uint32_t id;
    struct rpc_channel *channel;
    /* 0: it is well. Else it failed, is tried last, and is asked from this time on whether it is well again. */
    atomic_int_fast64_t suspect_until_ns;
    atomic_bool full; /* it failed for want of room: it answers all the same */
    atomic_bool probing;
    atomic_int_fast64_t answered_ns;    /* when it last did what it was asked */
    atomic_uint_fast64_t pending_bytes; /* of puts that it has not answered */
    atomic_uint_fast64_t room_bytes;    /* how many of these there may be: few after a failure, more with each answer */
    atomic_int_fast64_t slow_until_ns;  /* another one overtook it lately: read last until then */
    atomic_int_fast64_t slow_for_ns;    /* for how long that was; twice as long the next time in a row */
    atomic_int_fast64_t told_ns;        /* when it was last told of a bad copy */
    atomic_int_fast64_t told_short_ns;  /* when it was last told that it has blocks which an owner lacks */
    atomic_bool short_owed;             /* it is to be told so by whoever may block */
    atomic_uint *left;                  /* of its client */
};

struct block_client {
    struct meta_client *meta;
    int64_t soft_timeout_ns;
    int64_t made_ns;
    atomic_int_fast64_t small_map_ns; /* when a map with too few servers was last asked for again */
    pthread_mutex_t lock;
    struct block_server **servers;   /* all ever seen; protected by lock, entries live as long as the client */
    size_t server_count;             /* protected by lock */
    struct block_client_space space; /* protected by lock */
    int64_t space_ns;                /* when it was asked for; protected by lock */
    atomic_uint left;                /* abandoned calls whose end has not been told yet */
};

/* A choice of servers for one block, best first. */
struct block_route {
    struct block_server *servers[LIMIT_BLOCK_SERVERS];
    unsigned count, replicas, majority; /* replicas <= count unless count is 0 */
    unsigned well;                      /* the first so many have not failed lately */
    unsigned passed_over;               /* owners of the block that are not among these */
};
/* How many to send a block to at first: one that failed lately (its socket may be full, which holds up the sender) only
 * when there is no majority without it. */
unsigned block_route_width(const struct block_route *r);
/* No majority is possible without servers that have no room. */
bool block_route_is_full(const struct block_route *r, unsigned full);
/* For a read, of those that are well: owners on this machine first, and those that are slow last. */
void block_route_by_speed(struct block_route *r);
void block_route_for(struct block_client *c, const struct sha256 *id, struct block_route *ret);
/* Others were asked since it took too long: it is read last for a while. */
void block_server_overtaken(struct block_server *s);
/* It has answered a read in time. */
void block_server_in_time(struct block_server *s);
/* The same for a put: waits while those that it would go to have more than their room_bytes unanswered. A sender is
 * never blocked by a full socket that way, which would hold up what it has sent to others; one that answers nothing
 * meanwhile is suspected. */
enum err block_route_for_put(struct block_client *c, const struct sha256 *id, struct rpc_cancel *cancel,
                             struct block_route *ret) MUST_USE;
void block_server_suspect(struct block_server *s, enum err why);
/* How many bytes can have so many copies, each on another server, where these have so much room. Pure. */
uint64_t block_space_writable(const uint64_t *room, unsigned count, unsigned copies);
/* It did what it was asked. */
void block_server_answered(struct block_server *s);
/* Tells it that its copy of the block is bad, or missing where one should be; others had a good one. It may be too soon
 * after the last time: then nothing is said, and a later reader or the server's scrub will find it. */
void block_server_tell_bad(struct block_server *s, const struct sha256 *id);
/* Tells it that it has taken blocks which not all of their owners got: nothing else may ever make it look for them. */
void block_server_tell_short(struct block_server *s);
/* Lets go of a call of so many bytes; when it fails, the server is suspected, and the holder (NULL: none) is one that
 * has what an owner lacks. */
void block_server_leave(struct block_server *s, struct rpc_call *call, size_t put_bytes, struct block_server *holder);

/* Sends blocks (at most RPC_PAYLOAD_SLICES, LIMIT_FRAME_PAYLOAD_BYTES in all) to one server, with an epoch of
 * collection (meta_client_epoch). */
struct rpc_call *block_put_start(struct block_server *s, struct block_buffer *const *blocks, size_t count, bool durable,
                                 uint64_t epoch, int64_t deadline_ns, struct rpc_cancel *cancel);
size_t block_put_bytes(struct block_buffer *const *blocks, size_t count);
/* Of an ended put (with its size) or sync call (0). Also tells how the server is. */
enum err block_put_ended(struct block_server *s, size_t put_bytes, enum err status, struct slice message,
                         uint64_t *ret_boot_id) MUST_USE;
enum err block_ack_of(enum err status, struct slice message, uint64_t *ret_boot_id) MUST_USE;

/* Waiting between attempts; ERR_CANCELLED, or ERR_TIMEOUT after the soft time-out since begun_ns. */
enum err block_backoff(struct block_client *c, unsigned attempt, int64_t begun_ns, struct rpc_cancel *cancel) MUST_USE;

#define BLOCK_TRY_NS (3 * NS_PER_S)      /* one request to one server */
#define BLOCK_HEDGE_NS (100 * NS_PER_MS) /* after this long the next server is asked too */
#define BLOCK_PENDING_BYTES (2u * MIB)   /* a socket takes at least about so much while nobody reads (tcp_wmem) */
