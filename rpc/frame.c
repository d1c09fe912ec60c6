#include "rpc/frame.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"

#define FRAME_MAGIC UINT32_C(0x53555246) /* "SURF" */
#define FRAME_CHECKED_SIZE 28u           /* bytes of the header that the checksum covers */

/* An empty parser gives back memory over this; a frame from this on is worth moving instead of copying. */
#define PARSER_KEEP_BYTES (256 * KIB)
#define PARSER_TAKE_BYTES (32 * KIB)
/* How much further the buffer of a long frame grows: this many times what has arrived of it. */
#define PARSER_GROWTH 3u

static uint32_t header_checksum(const uint8_t *header, struct slice message)
{
    uint64_t seed = checksum64(SLICE(header, FRAME_CHECKED_SIZE), 0);
    return (uint32_t)checksum64(message, seed);
}

void frame_header_encode(const struct frame_header *h, struct slice message, uint8_t out[FRAME_HEADER_SIZE])
{
    CHECK(message.size == h->message_size);
    put_u32be(out, FRAME_MAGIC);
    out[4] = FRAME_VERSION;
    out[5] = (uint8_t)h->type;
    put_u16be(out + 6, h->flags);
    put_u64be(out + 8, h->id);
    put_u16be(out + 16, h->method);
    put_u16be(out + 18, h->status);
    put_u32be(out + 20, h->message_size);
    put_u32be(out + 24, h->payload_size);
    put_u32be(out + 28, header_checksum(out, message));
}

void frame_parser_init(struct frame_parser *p)
{
    *p = (struct frame_parser){0};
}

void frame_parser_close(struct frame_parser *p)
{
    bytes_free(&p->buffer);
    frame_parser_init(p);
}

/* Of a long frame so much is left. What is there is copied when the buffer grows: so it grows seldom, never for the
 * last few bytes, and not by more than is needed, since it may be kept as a block's memory. */
static void grow(struct bytes *b, size_t left, size_t want)
{
    size_t room = b->capacity - b->size, more = MAX(want, PARSER_GROWTH * b->size);
    if (room < MIN(left, want))
        bytes_reserve_exactly(b, left <= more + want ? left : more);
}

uint8_t *frame_parser_room(struct frame_parser *p, size_t want, size_t *ret_room)
{
    struct bytes *b = &p->buffer;
    if (p->consumed == b->size) {
        if (b->capacity > PARSER_KEEP_BYTES)
            bytes_free(b);
        b->size = 0;
    } else if (p->consumed > 0) {
        /* Every complete frame was given out, so what moves is part of one frame, and moves once. */
        memmove(b->data, b->data + p->consumed, b->size - p->consumed);
        b->size -= p->consumed;
    }
    p->consumed = 0;
    bool is_long = p->frame_size > b->size && p->frame_size >= PARSER_TAKE_BYTES;
    if (is_long)
        grow(b, p->frame_size - b->size, want);
    else
        bytes_reserve(b, want);
    /* Not into the frame behind a long one: frame_parser_take would have to copy that. */
    *ret_room = MIN(b->capacity - b->size, is_long ? p->frame_size - b->size : SIZE_MAX);
    return b->data ? b->data + b->size : NULL;
}

void frame_parser_fed(struct frame_parser *p, size_t size)
{
    CHECK(size <= p->buffer.capacity - p->buffer.size);
    p->buffer.size += size;
}

static bool type_is_bare(unsigned type)
{
    return type == FRAME_CANCEL || type == FRAME_PING || type == FRAME_PONG;
}

static enum err header_decode(const uint8_t *at, size_t size_limit, struct frame_header *ret, struct err_text *why)
{
    unsigned type = at[5];
    struct frame_header h = {
        .flags = get_u16be(at + 6),
        .id = get_u64be(at + 8),
        .method = get_u16be(at + 16),
        .status = get_u16be(at + 18),
        .message_size = get_u32be(at + 20),
        .payload_size = get_u32be(at + 24),
    };
    if (at[4] != FRAME_VERSION)
        return err_explain(why, ERR_PROTOCOL, "frame version %u, not %u", at[4], FRAME_VERSION);
    if (type < FRAME_HELLO || type > FRAME_PONG)
        return err_explain(why, ERR_PROTOCOL, "frame type %u is not known", type);
    h.type = (enum frame_type)type;
    if (h.flags & ~FRAME_HAS_CLOCK || (h.flags && (type_is_bare(type) || type == FRAME_HELLO)))
        return err_explain(why, ERR_PROTOCOL, "frame flags 0x%x are not known in a frame of type %u", h.flags, type);
    if (h.status != 0 && h.type != FRAME_RESPONSE)
        return err_explain(why, ERR_PROTOCOL, "status %u in a frame of type %u", h.status, type);
    if (h.message_size > LIMIT_FRAME_MESSAGE_BYTES)
        return err_explain(why, ERR_TOO_BIG, "message of %u bytes, over %u", h.message_size, LIMIT_FRAME_MESSAGE_BYTES);
    if (h.payload_size > LIMIT_FRAME_PAYLOAD_BYTES)
        return err_explain(why, ERR_TOO_BIG, "payload of %u bytes, over %u", h.payload_size, LIMIT_FRAME_PAYLOAD_BYTES);
    if ((type_is_bare(type) && h.message_size > 0) ||
        ((type_is_bare(type) || type == FRAME_HELLO) && h.payload_size > 0))
        return err_explain(why, ERR_PROTOCOL, "message of %u and payload of %u bytes in a frame of type %u",
                           h.message_size, h.payload_size, type);
    size_t size = FRAME_HEADER_SIZE + (size_t)h.message_size + h.payload_size;
    if (size_limit != 0 && size > size_limit)
        return err_explain(why, ERR_TOO_BIG, "frame of %zu bytes, over %zu", size, size_limit);
    *ret = h;
    return ERR_OK;
}

/* Takes the clock off the message. */
static enum err split_clock(struct frame *f, struct err_text *why)
{
    if (!(f->header.flags & FRAME_HAS_CLOCK))
        return ERR_OK;
    size_t size = f->message.size >= 2 ? get_u16be(f->message.data) : SIZE_MAX;
    if (size > FRAME_CLOCK_BYTES || size > f->message.size - 2)
        return err_explain(why, ERR_PROTOCOL, "clock of %zu bytes in a message of %zu", size, f->message.size);
    f->clock = slice_sub(f->message, 2, size);
    f->message = slice_sub(f->message, 2 + size, f->message.size - 2 - size);
    f->header.message_size = (uint32_t)f->message.size;
    return ERR_OK;
}

enum err frame_parser_next(struct frame_parser *p, struct frame *ret, bool *ret_ready, struct err_text *why)
{
    *ret_ready = false;
    size_t have = p->buffer.size - p->consumed;
    if (have < 4)
        return ERR_OK;
    const uint8_t *at = p->buffer.data + p->consumed;
    if (get_u32be(at) != FRAME_MAGIC)
        return memcmp(at, "HTTP", 4) == 0
                   ? err_explain(why, ERR_PROTOCOL, "that is a server of HTTP")
                   : err_explain(why, ERR_PROTOCOL, "no frame: starts with 0x%08x", get_u32be(at));
    if (have < FRAME_HEADER_SIZE)
        return ERR_OK;
    struct frame_header header;
    TRY(header_decode(at, p->size_limit, &header, why));
    p->frame_size = FRAME_HEADER_SIZE + (size_t)header.message_size + header.payload_size;
    if (have < FRAME_HEADER_SIZE + (size_t)header.message_size)
        return ERR_OK;
    struct slice message = SLICE(at + FRAME_HEADER_SIZE, header.message_size);
    if (!p->verified) {
        uint32_t expected = header_checksum(at, message);
        if (get_u32be(at + FRAME_CHECKED_SIZE) != expected)
            return err_explain(why, ERR_PROTOCOL, "frame checksum 0x%08x, not 0x%08x",
                               get_u32be(at + FRAME_CHECKED_SIZE), expected);
        p->verified = true;
    }
    if (have < p->frame_size)
        return ERR_OK;
    *ret = (struct frame){
        .header = header, .message = message, .payload = SLICE(message.data + message.size, header.payload_size)};
    TRY(split_clock(ret, why));
    p->consumed += p->frame_size;
    p->frame_size = 0;
    p->verified = false;
    *ret_ready = true;
    return ERR_OK;
}

bool frame_parser_take(struct frame_parser *p, const struct frame *f, struct bytes *ret)
{
    size_t size = f->message.size + f->payload.size;
    CHECK(p->frame_size == 0 && p->consumed >= FRAME_HEADER_SIZE + size &&
          f->message.data == p->buffer.data + p->consumed - size);
    struct slice tail = SLICE(p->buffer.data + p->consumed, p->buffer.size - p->consumed);
    if (size < PARSER_TAKE_BYTES || tail.size > size)
        return false;
    struct bytes rest = {0};
    bytes_append(&rest, tail);
    *ret = p->buffer;
    p->buffer = rest;
    p->consumed = 0;
    return true;
}
