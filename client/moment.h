/* moment.h: waiting on a condition in steps short enough that a cancel is noticed. */
#pragma once

#include <pthread.h>

#include "base/err.h"
#include "rpc/channel.h"

/* With the lock held; the condition's clock must be CLOCK_MONOTONIC. Returns ERR_OK after a signal or a moment (20 ms),
 * so the caller looks again; ERR_CANCELLED when cancel (NULL is allowed) has fired. */
enum err moment_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct rpc_cancel *cancel) MUST_USE;
