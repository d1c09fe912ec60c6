/* Fuzzes the frame parser. The first byte of the input chooses: bit 0, checksums are made right first, or hardly
 * anything would get past them; bit 1, frames are taken where possible; the rest, in what pieces the bytes arrive. */
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fuzz.h"
#include "rpc/frame.h"

static void make_checksums_right(uint8_t *data, size_t size)
{
    for (size_t at = 0; size - at >= FRAME_HEADER_SIZE;) {
        uint8_t *header = data + at;
        size_t message = get_u32be(header + 20), payload = get_u32be(header + 24), left = size - at - FRAME_HEADER_SIZE;
        if (message > left)
            return;
        uint64_t seed = checksum64(SLICE(header, 28), 0);
        put_u32be(header + 28, (uint32_t)checksum64(SLICE(header + FRAME_HEADER_SIZE, message), seed));
        if (payload > left - message)
            return;
        at += FRAME_HEADER_SIZE + message + payload;
    }
}

/* What is given out is what came in: `at` is where in the input the frame must lie. */
static size_t check_frame(const struct frame *f, struct slice input, size_t at)
{
    uint8_t header[FRAME_HEADER_SIZE];
    size_t before = f->header.flags & FRAME_HAS_CLOCK ? sizeof(uint16_t) + f->clock.size : 0; /* the message */
    size_t size = FRAME_HEADER_SIZE + before + f->message.size + f->payload.size;
    struct frame_header whole = f->header;
    whole.message_size += (uint32_t)before;
    CHECK(f->clock.size <= FRAME_CLOCK_BYTES);
    CHECK(f->message.size == f->header.message_size && f->message.size <= LIMIT_FRAME_MESSAGE_BYTES);
    CHECK(f->payload.size == f->header.payload_size && f->payload.size <= LIMIT_FRAME_PAYLOAD_BYTES);
    CHECK(size <= input.size - at);
    frame_header_encode(&whole, slice_sub(input, at + FRAME_HEADER_SIZE, whole.message_size), header);
    CHECK(memcmp(header, input.data + at, FRAME_HEADER_SIZE) == 0);
    CHECK(slice_equal(f->message, slice_sub(input, at + FRAME_HEADER_SIZE + before, f->message.size)));
    CHECK(slice_equal(f->payload, slice_sub(input, at + size - f->payload.size, f->payload.size)));
    return at + size;
}

static void parse(struct slice input, size_t piece, bool take)
{
    struct frame_parser p;
    size_t given = 0;
    enum err e = ERR_OK;
    frame_parser_init(&p);
    for (size_t fed = 0; fed < input.size && e == ERR_OK;) {
        size_t room, size = MIN(piece, input.size - fed);
        uint8_t *to = frame_parser_room(&p, size, &room);
        CHECK(room > 0);
        size = MIN(size, room);
        memcpy(to, input.data + fed, size);
        frame_parser_fed(&p, size);
        fed += size;
        CHECK(p.buffer.capacity <= 8 * fed + 4096);
        for (bool ready = true; ready && e == ERR_OK;) {
            struct frame f;
            struct err_text why = {""};
            struct bytes owned = {0};
            e = frame_parser_next(&p, &f, &ready, &why);
            CHECK(e == ERR_OK || (!ready && why.text[0]));
            if (!ready)
                break;
            if (take)
                frame_parser_take(&p, &f, &owned);
            given = check_frame(&f, input, given);
            bytes_free(&owned);
        }
    }
    CHECK(e == ERR_OK || e == ERR_PROTOCOL || e == ERR_TOO_BIG);
    frame_parser_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *input = mem_dup(data + 1, size - 1);
    if (data[0] & 1)
        make_checksums_right(input, size - 1);
    parse(SLICE(input, size - 1), 1 + (size_t)(data[0] >> 2) * (data[0] >> 2), data[0] & 2);
    free(input);
    return 0;
}
