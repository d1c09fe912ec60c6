/* stream.h: a framed TCP connection on a libuv loop; what server.c and peer.c have in common. Loop thread only.
 *
 * Its owner embeds it. rpc_stream_init, a connection is accepted or made on `tcp`, rpc_stream_begin, ...,
 * rpc_stream_close once, on_closed, after which the memory may go. No callback but on_closed comes after
 * rpc_stream_close. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "rpc/frame.h"
#include "rpc/outbox.h"
#include "rpc/pump.h"

#define RPC_READ_BYTES (64u * 1024u) /* room for one read */
#define RPC_HELLO_BYTES (4u * 1024u) /* a HELLO frame, header included */
#define RPC_USER_TIMEOUT_MS 10000u   /* a connection ends when nothing is acknowledged for so long */
#define RPC_KEEPALIVE_S 30u

struct rpc_stream;

struct rpc_stream_callbacks {
    /* A frame; its slices are borrowed from the parser. Not ERR_OK: the stream ends with it. */
    enum err (*on_frame)(struct rpc_stream *s, const struct frame *frame, struct err_text *why);
    /* The other side closed, the connection broke or sent what it must not. At most once, never inline in a call of
     * the functions below but rpc_stream_resume; the owner shall close the stream. */
    void (*on_end)(struct rpc_stream *s, enum err e, const struct err_text *why);
    void (*on_drained)(struct rpc_stream *s); /* a write that had to wait is done; NULL is allowed */
    /* All that was read was worked off, but for the begin of a frame of this size. May pause; NULL is allowed. */
    void (*on_begun)(struct rpc_stream *s, size_t frame_size);
    void (*on_closed)(struct rpc_stream *s);
};

struct rpc_stream {
    uv_tcp_t tcp;
    uv_write_t write;
    const struct rpc_stream_callbacks *callbacks;
    struct rpc_pump *pump;
    struct frame_parser parser;
    struct bytes wire_in; /* room to read into when the pump is not transparent */
    struct rpc_outbox queued, sending;
    bool writing; /* `sending` is with libuv */
    bool corked;  /* a read is being worked off; what is queued goes out at its end */
    bool paused;  /* no reading and no parsing */
    bool broken;  /* a write failed; what is queued is dropped, the read side will report */
    bool closing, ended;
    int64_t frame_since_ns; /* when the incomplete frame in the parser began; 0: none */
};

void rpc_stream_init(struct rpc_stream *s, uv_loop_t *loop, const struct rpc_stream_callbacks *callbacks,
                     struct rpc_pump *pump);
void rpc_stream_begin(struct rpc_stream *s);
/* Queues a frame; *payload (NULL: none) is moved from. It goes out with the next rpc_stream_flush at the latest. */
void rpc_stream_queue(struct rpc_stream *s, struct frame_header header, struct slice message, struct bytes *payload);
/* Writes a frame at once when nothing is queued, and copies what does not fit. */
void rpc_stream_send(struct rpc_stream *s, struct frame_header header, struct slice message, struct slice payload);
void rpc_stream_flush(struct rpc_stream *s);
size_t rpc_stream_backlog(const struct rpc_stream *s); /* bytes */
void rpc_stream_pause(struct rpc_stream *s);
void rpc_stream_resume(struct rpc_stream *s); /* works off what was read before */
void rpc_stream_close(struct rpc_stream *s);

/* Ignores SIGPIPE unless the program has its own handler: libuv writes to sockets without MSG_NOSIGNAL. */
void rpc_ignore_sigpipe(void);
enum err rpc_err_from_uv(int status);
