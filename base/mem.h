/* mem.h: memory that is there or the process ends, and scope-bound release.
 * Use mem_* only for sizes that the program bounds itself; a size off the wire is checked against its limit first. */
#pragma once

#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX */

void *mem_alloc(size_t size);  /* uninitialised; never NULL */
void *mem_zalloc(size_t size); /* zeroed */
void *mem_realloc(void *p, size_t size);
void *mem_dup(const void *p, size_t size);
char *mem_strdup(const char *s);

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

static inline void mem_free_at(void *p)
{
    free(*(void **)p);
}
#define _cleanup_(function) __attribute__((cleanup(function)))
#define _cleanup_free_ _cleanup_(mem_free_at)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
