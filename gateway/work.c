#include "gateway/work.h"

#include <pthread.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

#define STACK_BYTES (1 * MIB) /* reserved, not used: a survey of a full cluster stands on it */

struct work_pool {
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct list queue;     /* protected by lock, as are the following */
    unsigned queued, idle; /* idle: threads that wait for work */
    unsigned thread_count;
    bool stopping;
    unsigned threads_max, queue_max;
    pthread_t threads[];
};

struct work_pool *work_pool_new(unsigned threads_max, unsigned queue_max)
{
    struct work_pool *p = mem_zalloc(sizeof *p + threads_max * sizeof p->threads[0]);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wanted, NULL);
    list_init(&p->queue);
    p->threads_max = threads_max, p->queue_max = queue_max;
    return p;
}

static void *worker_main(void *context)
{
    struct work_pool *p = context;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct list_node *n = list_pop_front(&p->queue);
        if (n) {
            p->queued--;
            pthread_mutex_unlock(&p->lock);
            struct work *w = container_of(n, struct work, node);
            w->run(w);
            pthread_mutex_lock(&p->lock);
        } else if (p->stopping) {
            break;
        } else {
            p->idle++;
            pthread_cond_wait(&p->wanted, &p->lock);
            p->idle--;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void work_pool_free(struct work_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->wanted);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    CHECK(list_empty(&p->queue));
    pthread_cond_destroy(&p->wanted);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* With the lock. */
static void start_thread(struct work_pool *p)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (pthread_create(&p->threads[p->thread_count], &attr, worker_main, p) == 0)
        p->thread_count++;
    pthread_attr_destroy(&attr);
}

bool work_pool_put(struct work_pool *p, struct work *w)
{
    pthread_mutex_lock(&p->lock);
    if (p->queued >= p->idle && p->thread_count < p->threads_max)
        start_thread(p);
    bool taken = !p->stopping && p->queued < p->queue_max && p->thread_count > 0;
    if (taken) {
        list_push_back(&p->queue, &w->node);
        p->queued++;
        pthread_cond_signal(&p->wanted);
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}
