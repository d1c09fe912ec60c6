/* bytes.h: borrowed and owned runs of bytes, and bounded reading of them.
 *
 * struct slice   borrowed, read-only; valid as long as what it was taken from.
 * struct bytes   owned, growable; zero-initialised is empty. Growth aborts when memory is out (base/mem.h).
 * struct cursor  reads a slice from the front; the first read past the end sets `failed`, after which every read gives
 *                zero, so a decoder checks once, at its end, with cursor_done (nothing left) or cursor_ok.
 * Integers are big-endian unless the name says otherwise. Not thread-safe; share nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const uint8_t *data;
    size_t size; /* bytes */
};

#define SLICE(pointer, length) ((struct slice){(const uint8_t *)(pointer), (length)})
struct slice slice_str(const char *text); /* without the terminating NUL */
bool slice_equal(struct slice a, struct slice b);
int slice_compare(struct slice a, struct slice b);                /* as memcmp, shorter first */
struct slice slice_sub(struct slice s, size_t from, size_t size); /* CHECKs bounds */

struct bytes {
    uint8_t *data;
    size_t size, capacity; /* size <= capacity */
};

void bytes_reserve(struct bytes *b, size_t more); /* room for `more` bytes behind size */
/* The same without reserve for more to come. */
void bytes_reserve_exactly(struct bytes *b, size_t more);
void bytes_append(struct bytes *b, struct slice s);
uint8_t *bytes_extend(struct bytes *b, size_t more); /* grows size, returns the new uninitialised room */
void bytes_clear(struct bytes *b);                   /* size 0, memory kept */
void bytes_free(struct bytes *b);                    /* and zeroes the struct */
struct slice bytes_slice(const struct bytes *b);
void bytes_u8(struct bytes *b, uint8_t v);
void bytes_u16(struct bytes *b, uint16_t v);
void bytes_u32(struct bytes *b, uint32_t v);
void bytes_u64(struct bytes *b, uint64_t v);
void bytes_blob(struct bytes *b, struct slice s); /* u32 length, then the bytes */

struct cursor {
    const uint8_t *at, *end;
    bool failed;
};

struct cursor cursor_of(struct slice s);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
struct slice cursor_take(struct cursor *c, size_t size);
struct slice cursor_blob(struct cursor *c, size_t max_size); /* fails when longer than max_size */
bool cursor_ok(const struct cursor *c);
bool cursor_done(const struct cursor *c); /* ok, and everything was read */

static inline void put_u16be(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
}
static inline void put_u32be(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    __builtin_memcpy(p, &v, 4);
}
static inline void put_u64be(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    __builtin_memcpy(p, &v, 8);
}
static inline uint16_t get_u16be(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t get_u32be(const uint8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t get_u64be(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
