/* by_hand.h: protobuf messages written field by field, since encoders CHECK their bounds, and what decoders say of
 * them. For one file of tests each: what is here is its own. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/fuzz/wire/samples.h"

static struct prng p;
static struct arena a;
static struct err_text why;

static inline int setup(void **state)
{
    (void)state;
    prng_seed(&p, 7);
    why.text[0] = 0;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    arena_free(&a);
    return 0;
}

/* ---- protobuf by hand ---- */

static struct bytes out;

static inline void varint(uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        bytes_u8(&out, (uint8_t)(v | 0x80));
    bytes_u8(&out, (uint8_t)v);
}
static inline void number(unsigned field, uint64_t v)
{
    varint(field << 3);
    varint(v);
}
static inline void blob(unsigned field, struct slice s)
{
    varint(field << 3 | 2);
    varint(s.size);
    bytes_append(&out, s);
}
/* What was written, as a message; the next one starts afresh. */
static inline struct slice written(void)
{
    struct slice s = arena_slice(&a, bytes_slice(&out));
    bytes_free(&out);
    return s;
}
static inline struct slice filled(size_t size, char with)
{
    return SLICE(memset(arena_alloc(&a, size), with, size), size);
}

static inline void accepted(enum err e)
{
    if (e != ERR_OK)
        fail_msg("refused: %s", why.text);
}
static inline void refused_as(enum err expected, enum err e, const char *field, const char *value)
{
    if (e != expected)
        fail_msg("%s, not %s: %s", err_name(e), err_name(expected), why.text);
    if (!strstr(why.text, field) || !strstr(why.text, value))
        fail_msg("\"%s\" does not say %s and %s", why.text, field, value);
}
/* Also, that the reason names both. */
static inline void refused(enum err e, const char *field, const char *value)
{
    refused_as(ERR_PROTOCOL, e, field, value);
}
static inline void newer(enum err e, const char *field, const char *value)
{
    refused_as(ERR_LEVEL, e, field, value);
}
