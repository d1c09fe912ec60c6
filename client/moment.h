/* moment.h: waiting on a condition for a while, or in steps short enough that a cancel is noticed. */
#pragma once

#include <pthread.h>

#include "base/err.h"
#include "rpc/channel.h"

/* Its waits are by CLOCK_MONOTONIC, as the functions below need it. */
void moment_cond_init(pthread_cond_t *changed);
/* With the lock held: returns after a signal or after so long. */
void moment_wait_for(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t ns);
/* With the lock held: ERR_OK after a signal or a moment (20 ms), so the caller looks again; ERR_CANCELLED when cancel
 * (NULL is allowed) has fired. */
enum err moment_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct rpc_cancel *cancel) MUST_USE;
