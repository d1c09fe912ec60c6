#include "rpc/trace.h"

#include "base/check.h"
#include "base/limits.h"

static const struct rpc_tracer *tracer;

void rpc_set_tracer(const struct rpc_tracer *t)
{
    tracer = t;
}

struct slice rpc_trace_send(struct frame_header *header, struct slice message, struct bytes *copy)
{
    if (!tracer || header->type == FRAME_HELLO || header->type > FRAME_ONEWAY ||
        message.size > LIMIT_FRAME_MESSAGE_BYTES - FRAME_CLOCK_BYTES - sizeof(uint16_t))
        return message;
    bytes_u16(copy, 0);
    tracer->send(copy);
    size_t size = copy->size - sizeof(uint16_t);
    CHECK(size <= FRAME_CLOCK_BYTES);
    put_u16be(copy->data, (uint16_t)size);
    bytes_append(copy, message);
    header->flags |= FRAME_HAS_CLOCK;
    return bytes_slice(copy);
}

void rpc_trace_receive(const struct frame *frame)
{
    if (tracer && frame->clock.size > 0)
        tracer->receive(frame->clock);
}
