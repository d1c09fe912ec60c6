#include "base/thread.h"

#include <errno.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"

#define LOG_MODULE "thread"
#include "base/log.h"

#define RETRY_NS (100 * NS_PER_MS)

void thread_start(pthread_t *ret, void *(*run)(void *context), void *context)
{
    for (unsigned tries = 0;; tries++) {
        int error = pthread_create(ret, NULL, run, context);
        if (error == 0)
            return;
        CHECK(error == EAGAIN);
        if (tries == 0)
            log_error("the machine lets no more threads begin here: waiting until it does");
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
}
