#include "base/bytes.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct slice slice_str(const char *text)
{
    return SLICE(text, strlen(text));
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int slice_compare(struct slice a, struct slice b)
{
    size_t common = MIN(a.size, b.size);
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

struct slice slice_sub(struct slice s, size_t from, size_t size)
{
    CHECK(from <= s.size && size <= s.size - from);
    return SLICE(s.data ? s.data + from : NULL, size);
}

static void reserve(struct bytes *b, size_t more, size_t at_least)
{
    CHECK(more <= SIZE_MAX / 2 - b->size);
    size_t need = b->size + more;
    if (need <= b->capacity)
        return;
    b->capacity = MAX(at_least, need);
    b->data = mem_realloc(b->data, b->capacity);
}

void bytes_reserve(struct bytes *b, size_t more)
{
    reserve(b, more, MAX(b->capacity * 2, (size_t)64));
}

void bytes_reserve_exactly(struct bytes *b, size_t more)
{
    reserve(b, more, 0);
}

uint8_t *bytes_extend(struct bytes *b, size_t more)
{
    bytes_reserve(b, more);
    uint8_t *room = b->data ? b->data + b->size : NULL;
    b->size += more;
    return room;
}

void bytes_append(struct bytes *b, struct slice s)
{
    if (s.size > 0)
        memcpy(bytes_extend(b, s.size), s.data, s.size);
}

void bytes_clear(struct bytes *b)
{
    b->size = 0;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

struct slice bytes_slice(const struct bytes *b)
{
    return SLICE(b->data, b->size);
}

void bytes_u8(struct bytes *b, uint8_t v)
{
    *bytes_extend(b, 1) = v;
}

void bytes_u16(struct bytes *b, uint16_t v)
{
    put_u16be(bytes_extend(b, 2), v);
}

void bytes_u32(struct bytes *b, uint32_t v)
{
    put_u32be(bytes_extend(b, 4), v);
}

void bytes_u64(struct bytes *b, uint64_t v)
{
    put_u64be(bytes_extend(b, 8), v);
}

void bytes_blob(struct bytes *b, struct slice s)
{
    CHECK(s.size <= UINT32_MAX);
    bytes_u32(b, (uint32_t)s.size);
    bytes_append(b, s);
}

struct cursor cursor_of(struct slice s)
{
    return (struct cursor){.at = s.data, .end = s.data ? s.data + s.size : NULL};
}

/* The next `size` bytes, or NULL and `failed`. */
static const uint8_t *cursor_advance(struct cursor *c, size_t size)
{
    if (c->failed || (size_t)(c->end - c->at) < size) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *at = c->at;
    if (size > 0)
        c->at += size;
    return at;
}

uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *p = cursor_advance(c, 1);
    return p ? p[0] : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
    const uint8_t *p = cursor_advance(c, 2);
    return p ? get_u16be(p) : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
    const uint8_t *p = cursor_advance(c, 4);
    return p ? get_u32be(p) : 0;
}

uint64_t cursor_u64(struct cursor *c)
{
    const uint8_t *p = cursor_advance(c, 8);
    return p ? get_u64be(p) : 0;
}

struct slice cursor_take(struct cursor *c, size_t size)
{
    const uint8_t *p = cursor_advance(c, size);
    return c->failed ? SLICE(NULL, 0) : SLICE(p, size);
}

struct slice cursor_blob(struct cursor *c, size_t max_size)
{
    uint32_t size = cursor_u32(c);
    if (size > max_size)
        c->failed = true;
    return cursor_take(c, size);
}

bool cursor_ok(const struct cursor *c)
{
    return !c->failed;
}

bool cursor_done(const struct cursor *c)
{
    return !c->failed && c->at == c->end;
}
