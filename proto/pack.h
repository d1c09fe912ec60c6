/* pack.h: what every wire_*.c is made of: protobuf-c in and out of an arena, and the checks that they share. Private to
 * proto/.
 *
 * Memory is bounded three times: a message kind has a size limit, unpacking has a budget that is proportional to the
 * message's size, and counts are checked against base/limits.h. Nesting is bounded by the schema: no message contains
 * its own kind. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

/* A message without lists: nothing legal comes near it. */
#define WIRE_SMALL_BYTES (16 * KIB)
_Static_assert(WIRE_SMALL_BYTES <= LIMIT_FRAME_MESSAGE_BYTES, "a small message fits in a frame");

struct slice wire_pack(const ProtobufCMessage *message, struct arena *a);
/* `what` names the message in why. ERR_TOO_BIG is never returned: what is over max_bytes is malformed. */
enum err wire_unpack(const ProtobufCMessageDescriptor *descriptor, const char *what, struct slice s, size_t max_bytes,
                     struct arena *a, ProtobufCMessage **ret, struct err_text *why) MUST_USE;

/* For a generated type: WIRE_UNPACK(Surf__Hello, surf__hello, "hello", ...) declares nothing, it sets *m or returns. */
#define WIRE_UNPACK(message_type, lower, what, s, max_bytes, arena, m)                                                 \
    message_type *m;                                                                                                   \
    do {                                                                                                               \
        ProtobufCMessage *unpacked_;                                                                                   \
        TRY(wire_unpack(&lower##__descriptor, what, s, max_bytes, arena, &unpacked_, why));                            \
        m = (message_type *)(void *)unpacked_;                                                                         \
    } while (0)

static inline struct slice wire_slice(ProtobufCBinaryData b)
{
    return SLICE(b.data, b.len);
}
static inline ProtobufCBinaryData wire_binary(const void *data, size_t size)
{
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}
static inline ProtobufCBinaryData wire_binary_of(struct slice s)
{
    return wire_binary(s.data, s.size);
}
/* Text that only people read is cut to what the other side accepts, rather than refused. */
static inline ProtobufCBinaryData wire_binary_cut(struct slice s, size_t max_bytes)
{
    return wire_binary(s.data, MIN(s.size, max_bytes));
}
/* Arrays that protobuf-c only reads, but declares as writable. */
static inline void *wire_unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

/* Checks: ERR_OK, or ERR_PROTOCOL with the field and its value in why. */
enum err wire_refuse(const char *field, uint64_t value, const char *must_be, struct err_text *why);
/* low <= value <= high. */
enum err wire_check_range(const char *field, uint64_t value, uint64_t low, uint64_t high,
                          struct err_text *why) MUST_USE;
/* ERR_LEVEL when a newer program has made this: its op is above op_last, or it has fields, at any depth, that this
 * program doesn't know. What would be left of it without them is something else than what was meant. */
enum err wire_check_known(const ProtobufCMessage *m, const char *field, uint64_t op, uint64_t op_last,
                          struct err_text *why) MUST_USE;
/* The number of bytes. */
enum err wire_check_size(const char *field, struct slice s, size_t low, size_t high, struct err_text *why) MUST_USE;
/* The number of elements. */
enum err wire_check_count(const char *field, size_t count, size_t low, size_t high, struct err_text *why) MUST_USE;
/* A file name: 1..LIMIT_NAME_BYTES, no '/', no NUL, not "." or "..". */
enum err wire_check_name(const char *field, struct slice s, struct err_text *why) MUST_USE;
/* HOST:PORT as far as this folder cares: 1..LIMIT_ADDRESS_BYTES of printable ASCII without a space. */
enum err wire_check_address(const char *field, struct slice s, struct err_text *why) MUST_USE;
enum err wire_check_zone(const char *field, struct slice s, struct err_text *why) MUST_USE; /* meta_zone_valid */
/* Of an extended attribute: 1..LIMIT_XATTR_NAME_BYTES, no NUL. */
enum err wire_check_xattr_name(const char *field, struct slice s, struct err_text *why) MUST_USE;
bool wire_xattr_name_valid(struct slice s);
bool wire_name_valid(struct slice s);
bool wire_address_valid(struct slice s);
