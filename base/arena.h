/* arena.h: memory that is released together. Zero-initialised is empty. Not thread-safe; one owner at a time.
 * Allocations are 16-byte aligned and never NULL. arena_reset keeps the first chunk for the next use. */
#pragma once

#include "base/bytes.h"

struct arena {
    struct arena_chunk *chunks; /* newest first */
};

void *arena_alloc(struct arena *a, size_t size); /* uninitialised */
void *arena_zalloc(struct arena *a, size_t size);
struct slice arena_slice(struct arena *a, struct slice s); /* a copy */
char *arena_str(struct arena *a, struct slice s);          /* a terminated copy */
size_t arena_size(const struct arena *a);                  /* bytes handed out */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);
