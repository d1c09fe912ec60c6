#include "proto/pack.h"

#include <inttypes.h>

#include "meta/types.h"

/* What unpacking may take: so many bytes per byte of input, which covers everything that is really sent (the densest
 * are one-byte varints to u64 and directory entries, at 8 to 12), and room for the longest lists of nearly empty
 * messages. */
#define UNPACK_BASE_BYTES (512 * KIB)
#define UNPACK_FACTOR 32u

struct unpack_memory {
    struct arena *arena;
    size_t left;
};

static void *unpack_alloc(void *context, size_t size)
{
    struct unpack_memory *memory = context;
    size_t cost = size + 16; /* the arena rounds up */
    if (size > memory->left || cost > memory->left)
        return NULL;
    memory->left -= cost;
    return arena_alloc(memory->arena, size);
}

static void unpack_free(void *context, void *p)
{
    (void)context, (void)p; /* the arena's owner releases all of it */
}

struct slice wire_pack(const ProtobufCMessage *message, struct arena *a)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    CHECK(size <= LIMIT_FRAME_MESSAGE_BYTES);
    uint8_t *to = arena_alloc(a, size);
    CHECK(protobuf_c_message_pack(message, to) == size);
    return SLICE(to, size);
}

enum err wire_unpack(const ProtobufCMessageDescriptor *descriptor, const char *what, struct slice s, size_t max_bytes,
                     struct arena *a, ProtobufCMessage **ret, struct err_text *why)
{
    if (s.size > max_bytes)
        return err_explain(why, ERR_PROTOCOL, "%s of %zu bytes: must be at most %zu", what, s.size, max_bytes);
    struct unpack_memory memory = {.arena = a, .left = UNPACK_BASE_BYTES + s.size * UNPACK_FACTOR};
    ProtobufCAllocator allocator = {.alloc = unpack_alloc, .free = unpack_free, .allocator_data = &memory};
    static const uint8_t nothing[1];
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, &allocator, s.size, s.size ? s.data : nothing);
    if (!m)
        return err_explain(why, ERR_PROTOCOL, "%s of %zu bytes can't be read", what, s.size);
    *ret = m;
    return ERR_OK;
}

enum err wire_refuse(const char *field, uint64_t value, const char *must_be, struct err_text *why)
{
    return err_explain(why, ERR_PROTOCOL, "%s is %" PRIu64 ": must be %s", field, value, must_be);
}

enum err wire_check_range(const char *field, uint64_t value, uint64_t low, uint64_t high, struct err_text *why)
{
    if (value >= low && value <= high)
        return ERR_OK;
    return err_explain(why, ERR_PROTOCOL, "%s is %" PRIu64 ": must be %" PRIu64 " to %" PRIu64, field, value, low,
                       high);
}

enum err wire_check_size(const char *field, struct slice s, size_t low, size_t high, struct err_text *why)
{
    if (s.size >= low && s.size <= high)
        return ERR_OK;
    return err_explain(why, ERR_PROTOCOL, "%s has %zu bytes: must be %zu to %zu", field, s.size, low, high);
}

enum err wire_check_count(const char *field, size_t count, size_t low, size_t high, struct err_text *why)
{
    if (count >= low && count <= high)
        return ERR_OK;
    return err_explain(why, ERR_PROTOCOL, "%s has %zu elements: must be %zu to %zu", field, count, low, high);
}

bool wire_name_valid(struct slice s)
{
    if (s.size == 0 || s.size > LIMIT_NAME_BYTES || memchr(s.data, '/', s.size) || memchr(s.data, 0, s.size))
        return false;
    return !(s.data[0] == '.' && (s.size == 1 || (s.size == 2 && s.data[1] == '.')));
}

enum err wire_check_name(const char *field, struct slice s, struct err_text *why)
{
    if (wire_name_valid(s))
        return ERR_OK;
    TRY(wire_check_size(field, s, 1, LIMIT_NAME_BYTES, why));
    return err_explain(why, ERR_PROTOCOL,
                       "%s is \"%.*s\" (%zu bytes): must have no '/' or NUL and not be \".\" or \"..\"", field,
                       (int)MIN(s.size, 100u), (const char *)s.data, s.size);
}

bool wire_xattr_name_valid(struct slice s)
{
    return s.size > 0 && s.size <= LIMIT_XATTR_NAME_BYTES && !memchr(s.data, 0, s.size);
}

enum err wire_check_xattr_name(const char *field, struct slice s, struct err_text *why)
{
    if (wire_xattr_name_valid(s))
        return ERR_OK;
    TRY(wire_check_size(field, s, 1, LIMIT_XATTR_NAME_BYTES, why));
    return err_explain(why, ERR_PROTOCOL, "%s has a NUL in its %zu bytes", field, s.size);
}

bool wire_address_valid(struct slice s)
{
    if (s.size == 0 || s.size > LIMIT_ADDRESS_BYTES)
        return false;
    for (size_t i = 0; i < s.size; i++)
        if (s.data[i] <= ' ' || s.data[i] > '~')
            return false;
    return true;
}

enum err wire_check_zone(const char *field, struct slice s, struct err_text *why)
{
    if (meta_zone_valid(s))
        return ERR_OK;
    TRY(wire_check_size(field, s, 0, LIMIT_ZONE_BYTES, why));
    return err_explain(why, ERR_PROTOCOL, "%s is not of letters, digits and \"._-\"", field);
}

enum err wire_check_address(const char *field, struct slice s, struct err_text *why)
{
    if (wire_address_valid(s))
        return ERR_OK;
    TRY(wire_check_size(field, s, 1, LIMIT_ADDRESS_BYTES, why));
    return err_explain(why, ERR_PROTOCOL, "%s is \"%.*s\": must be printable ASCII without spaces", field,
                       (int)MIN(s.size, 100u), (const char *)s.data);
}
