#include "client/moment.h"

#include <time.h>

#include "base/clock.h"

#define MOMENT_NS (20 * NS_PER_MS)

enum err moment_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct rpc_cancel *cancel)
{
    if (cancel && rpc_cancel_fired(cancel))
        return ERR_CANCELLED;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += MOMENT_NS;
    if (until.tv_nsec >= NS_PER_S)
        until.tv_sec++, until.tv_nsec -= NS_PER_S;
    pthread_cond_timedwait(changed, lock, &until);
    return ERR_OK;
}
