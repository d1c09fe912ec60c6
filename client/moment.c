#include "client/moment.h"

#include <time.h>

#include "base/clock.h"

#define MOMENT_NS (20 * NS_PER_MS)

void moment_cond_init(pthread_cond_t *changed)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void moment_wait_for(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at = (int64_t)until.tv_sec * NS_PER_S + until.tv_nsec + ns;
    until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    pthread_cond_timedwait(changed, lock, &until);
}

enum err moment_wait(pthread_cond_t *changed, pthread_mutex_t *lock, struct rpc_cancel *cancel)
{
    if (cancel && rpc_cancel_fired(cancel))
        return ERR_CANCELLED;
    moment_wait_for(changed, lock, MOMENT_NS);
    return ERR_OK;
}
