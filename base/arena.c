#include "base/arena.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define ARENA_ALIGN 16u
#define ARENA_CHUNK_MIN 4096u
#define ARENA_CHUNK_MAX (1024u * 1024u)

struct arena_chunk {
    struct arena_chunk *next; /* older */
    size_t used, capacity;
    _Alignas(16) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
    CHECK(size <= SIZE_MAX / 4);
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_chunk *chunk = a->chunks;
    if (!chunk || chunk->capacity - chunk->used < size) {
        size_t capacity = chunk ? MIN(chunk->capacity * 2, (size_t)ARENA_CHUNK_MAX) : ARENA_CHUNK_MIN;
        capacity = MAX(capacity, size);
        chunk = mem_alloc(sizeof *chunk + capacity);
        *chunk = (struct arena_chunk){.next = a->chunks, .capacity = capacity};
        a->chunks = chunk;
    }
    void *p = chunk->data + chunk->used;
    chunk->used += size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

struct slice arena_slice(struct arena *a, struct slice s)
{
    if (s.size == 0)
        return SLICE(NULL, 0);
    return SLICE(memcpy(arena_alloc(a, s.size), s.data, s.size), s.size);
}

char *arena_str(struct arena *a, struct slice s)
{
    char *text = arena_alloc(a, s.size + 1);
    if (s.size > 0)
        memcpy(text, s.data, s.size);
    text[s.size] = 0;
    return text;
}

size_t arena_size(const struct arena *a)
{
    size_t size = 0;
    for (const struct arena_chunk *c = a->chunks; c; c = c->next)
        size += c->used;
    return size;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks;
    if (!chunk)
        return;
    while (chunk->next) {
        struct arena_chunk *older = chunk->next;
        free(chunk);
        chunk = older;
    }
    chunk->used = 0;
    a->chunks = chunk;
}

void arena_free(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
}
