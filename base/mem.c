#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void *must(void *p, size_t size)
{
    if (!p && size > 0) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return must(malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return must(calloc(1, size ? size : 1), size);
}

void *mem_realloc(void *p, size_t size)
{
    return must(realloc(p, size ? size : 1), size);
}

void *mem_dup(const void *p, size_t size)
{
    void *copy = mem_alloc(size);
    if (size > 0)
        memcpy(copy, p, size);
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s) + 1);
}
