/* frame.h: the frames that both ends exchange. Pure: bytes in, frames out.
 *
 * A frame is a fixed header of 32 bytes, a message (protobuf, opaque here) and a raw payload:
 *
 *    0  u32 magic "SURF"     8  u64 request id          20  u32 message length
 *    4  u8  version = 1     16  u16 method              24  u32 payload length
 *    5  u8  type            18  u16 status (enum err)   28  u32 checksum of bytes 0..27 and the message
 *    6  u16 flags
 *
 * With the flag FRAME_HAS_CLOCK the message of a REQUEST, RESPONSE or ONEWAY begins with a u16 and so many bytes of a
 * clock (trace.h), which the parser takes off.
 *
 * The payload is not in the checksum: what travels there (blocks, raft entries) carries its own. Lengths are bounded by
 * LIMIT_FRAME_MESSAGE_BYTES and LIMIT_FRAME_PAYLOAD_BYTES before any memory is taken.
 *
 * HELLO is the first frame each way; nothing else is valid before it. REQUEST is answered by one RESPONSE with the same
 * id; ids are chosen by the sender of the request and not reused while under way. ONEWAY has no answer. CANCEL names a
 * request whose answer is not wanted any more (the server may still answer). PING is answered by PONG.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define FRAME_HEADER_SIZE 32
#define FRAME_VERSION 1
#define FRAME_HAS_CLOCK 1u /* a flag */
#define FRAME_CLOCK_BYTES 8192u

enum frame_type { FRAME_HELLO = 1, FRAME_REQUEST, FRAME_RESPONSE, FRAME_ONEWAY, FRAME_CANCEL, FRAME_PING, FRAME_PONG };

struct frame_header {
    enum frame_type type;
    uint16_t flags; /* FRAME_HAS_CLOCK; unknown bits are refused */
    uint64_t id;
    uint16_t method;
    uint16_t status; /* enum err, in RESPONSE; else 0 */
    uint32_t message_size, payload_size;
};

struct frame {
    struct frame_header header;
    struct slice message, payload; /* borrowed from the parser until it is fed or asked again */
    struct slice clock;            /* likewise; empty: none */
};

/* Writes the 32 bytes; the checksum covers `message`, whose size must be header->message_size. */
void frame_header_encode(const struct frame_header *header, struct slice message, uint8_t out[FRAME_HEADER_SIZE]);

/* Takes bytes in any pieces and gives whole frames. Memory is bounded by the limits and grows only as bytes arrive:
 * a header that announces a long frame does not allocate it at once. After an error it gives that error for ever.
 * One thread at a time. */
struct frame_parser {
    struct bytes buffer;
    size_t consumed;   /* bytes of buffer that were given out; <= buffer.size */
    size_t frame_size; /* of the frame at `consumed`, header included; 0 while its header is incomplete */
    size_t size_limit; /* frames over this are ERR_TOO_BIG; 0: only the limits above */
    bool verified;     /* the checksum of the frame at `consumed` was found good */
};
void frame_parser_init(struct frame_parser *p);
void frame_parser_close(struct frame_parser *p);
/* Room to read into: at least `want` bytes, or what a long frame lacks. */
uint8_t *frame_parser_room(struct frame_parser *p, size_t want, size_t *ret_room);
void frame_parser_fed(struct frame_parser *p, size_t size);
/* ERR_OK with *ret_ready false: more bytes are needed. ERR_PROTOCOL or ERR_TOO_BIG: close the connection; `why` says
 * what was wrong, with the value. */
enum err frame_parser_next(struct frame_parser *p, struct frame *ret, bool *ret_ready, struct err_text *why) MUST_USE;
/* Of a long frame that frame_parser_next has just given: moves the memory that its slices point into to *ret, so that
 * they stay valid as long as *ret. False when copying is cheaper; nothing was done then. */
bool frame_parser_take(struct frame_parser *p, const struct frame *f, struct bytes *ret);
