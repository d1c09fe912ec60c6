/* outbox.h: frames on their way to a socket, as a list of segments. Short things are gathered in shared segments, long
 * payloads stay in the memory that they came in. Zero-initialised is empty. Not thread-safe. */
#pragma once

#include <uv.h>

#include "base/bytes.h"

struct rpc_outbox {
    struct rpc_segment {
        struct bytes bytes;
        bool shared; /* may be appended to */
    } * segments;
    size_t first, count, capacity; /* segments[first..count) have unsent bytes */
    size_t offset;                 /* bytes of segments[first] that were sent */
    size_t size;                   /* unsent bytes in all */
};

/* The segment to append short things to; whoever appends adds to `size`. */
struct bytes *rpc_outbox_tail(struct rpc_outbox *o);
void rpc_outbox_append(struct rpc_outbox *o, struct slice s);    /* copied */
void rpc_outbox_move(struct rpc_outbox *o, struct bytes *bytes); /* moved, or copied when short; left empty */
/* At most `capacity` buffers from the front. */
unsigned rpc_outbox_buffers(const struct rpc_outbox *o, uv_buf_t *buffers, unsigned capacity);
void rpc_outbox_sent(struct rpc_outbox *o, size_t size);
void rpc_outbox_clear(struct rpc_outbox *o); /* keeps a little memory */
void rpc_outbox_free(struct rpc_outbox *o);
