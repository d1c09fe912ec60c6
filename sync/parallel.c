#include "sync/parallel.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"

struct parallel {
    atomic_size_t next;
    size_t count;
    void (*run)(void *context, size_t i);
    void *context;
};

static void *work(void *context)
{
    struct parallel *p = context;
    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->count;)
        p->run(p->context, i);
    return NULL;
}

void sync_parallel(unsigned threads, size_t count, void (*run)(void *context, size_t i), void *context)
{
    struct parallel p = {.count = count, .run = run, .context = context};
    pthread_t others[SYNC_THREADS_MAX];
    unsigned started = 0;
    CHECK(threads > 0 && threads <= SYNC_THREADS_MAX);
    while (started + 1 < threads && started + 1 < count && pthread_create(&others[started], NULL, work, &p) == 0)
        started++;
    (void)work(&p);
    for (unsigned i = 0; i < started; i++)
        pthread_join(others[i], NULL);
}
