/* thread.h: threads that a program can't do without. */
#pragma once

#include <pthread.h>

/* Starts one. Where the machine has no room for it (EAGAIN: a limit of threads or memory) that is logged and tried
 * again until it has: nothing that has begun ends for that. Where there is a way to do without, pthread_create is
 * better. */
void thread_start(pthread_t *ret, void *(*run)(void *context), void *context);
