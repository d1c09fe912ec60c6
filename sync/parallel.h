/* parallel.h: the same for each of several things, some at a time. */
#pragma once

#include <stddef.h>

#define SYNC_THREADS_MAX 16u

/* Calls run(context, i) once for each i below count, on up to `threads` threads (the caller's is one of them), in order
 * of their beginnings. Returns when all have ended. Fewer threads do when there can't be as many. */
void sync_parallel(unsigned threads, size_t count, void (*run)(void *context, size_t i), void *context);
