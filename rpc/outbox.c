#include "rpc/outbox.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

#define OUTBOX_COPY_BYTES (4 * KIB)    /* what is shorter is copied: a buffer of its own costs more */
#define OUTBOX_SHARED_BYTES (64 * KIB) /* a shared segment that is as long is not appended to */
#define OUTBOX_KEEP_BYTES (128 * KIB)  /* capacity of the segment that an empty outbox keeps */

static struct bytes *push_segment(struct rpc_outbox *o, bool shared)
{
    if (o->count == o->capacity) {
        o->capacity = MAX(o->capacity * 2, (size_t)4);
        o->segments = mem_realloc(o->segments, o->capacity * sizeof *o->segments);
    }
    struct rpc_segment *segment = &o->segments[o->count++];
    *segment = (struct rpc_segment){.shared = shared};
    return &segment->bytes;
}

struct bytes *rpc_outbox_tail(struct rpc_outbox *o)
{
    if (o->count > o->first) {
        struct rpc_segment *last = &o->segments[o->count - 1];
        if (last->shared && last->bytes.size < OUTBOX_SHARED_BYTES)
            return &last->bytes;
    }
    return push_segment(o, true);
}

void rpc_outbox_append(struct rpc_outbox *o, struct slice s)
{
    bytes_append(rpc_outbox_tail(o), s);
    o->size += s.size;
}

void rpc_outbox_move(struct rpc_outbox *o, struct bytes *bytes)
{
    if (bytes->size < OUTBOX_COPY_BYTES) {
        rpc_outbox_append(o, bytes_slice(bytes));
        bytes_free(bytes);
        return;
    }
    *push_segment(o, false) = *bytes;
    o->size += bytes->size;
    *bytes = (struct bytes){0};
}

unsigned rpc_outbox_buffers(const struct rpc_outbox *o, uv_buf_t *buffers, unsigned capacity)
{
    unsigned count = 0;
    size_t offset = o->offset;
    for (size_t i = o->first; i < o->count && count < capacity; i++) {
        const struct bytes *b = &o->segments[i].bytes;
        if (b->size > offset)
            buffers[count++] = (uv_buf_t){.base = (char *)b->data + offset, .len = b->size - offset};
        offset = 0;
    }
    return count;
}

void rpc_outbox_sent(struct rpc_outbox *o, size_t size)
{
    CHECK(size <= o->size);
    o->size -= size;
    if (o->size == 0) {
        rpc_outbox_clear(o);
        return;
    }
    while (size > 0) {
        struct bytes *b = &o->segments[o->first].bytes;
        size_t left = b->size - o->offset;
        if (size < left) {
            o->offset += size;
            return;
        }
        size -= left;
        bytes_free(b);
        o->first++;
        o->offset = 0;
    }
}

void rpc_outbox_clear(struct rpc_outbox *o)
{
    struct bytes kept = {0};
    for (size_t i = o->first; i < o->count; i++) {
        struct rpc_segment *s = &o->segments[i];
        if (s->shared && !kept.data && s->bytes.capacity <= OUTBOX_KEEP_BYTES)
            kept = s->bytes;
        else
            bytes_free(&s->bytes);
    }
    o->first = o->count = o->offset = o->size = 0;
    if (kept.data) {
        kept.size = 0;
        *push_segment(o, true) = kept;
    }
}

void rpc_outbox_free(struct rpc_outbox *o)
{
    for (size_t i = o->first; i < o->count; i++)
        bytes_free(&o->segments[i].bytes);
    free(o->segments);
    *o = (struct rpc_outbox){0};
}
