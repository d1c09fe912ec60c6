/* trace.h: clocks that travel with messages, for processes that write traces (trace/trace.h). A process without a
 * tracer sends none and skips over those that it gets, at the cost of one comparison. */
#pragma once

#include "rpc/frame.h"

struct rpc_tracer {
    /* Appends at most FRAME_CLOCK_BYTES of what shall go with a message that is just being sent. Any thread. */
    void (*send)(struct bytes *clock);
    /* What came with a message, before anybody is given that message. From the network: any bytes. Any thread. */
    void (*receive)(struct slice clock);
};

/* Before the first connection; stays for good. */
void rpc_set_tracer(const struct rpc_tracer *tracer);

/* The message as it travels: itself, or with a clock before it, in *copy, and then with the flag in *header. */
struct slice rpc_trace_send(struct frame_header *header, struct slice message, struct bytes *copy);
void rpc_trace_receive(const struct frame *frame);
