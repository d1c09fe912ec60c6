/* work.c: threads in the background that put whole chunks and read ahead. */
#include "base/mem.h"
#include "base/thread.h"
#include "client/file/internal.h"

static void *worker_main(void *p)
{
    struct open_files *t = p;
    pthread_mutex_lock(&t->work_lock);
    while (!t->stopping) {
        struct list_node *n;
        if ((n = list_pop_front(&t->puts))) {
            pthread_mutex_unlock(&t->work_lock);
            full_chunk_put(container_of(n, struct full_chunk, job), t->stop);
            pthread_mutex_lock(&t->work_lock);
        } else if ((n = list_pop_front(&t->prefetches))) {
            t->prefetch_count--;
            pthread_mutex_unlock(&t->work_lock);
            struct prefetch *job = container_of(n, struct prefetch, job);
            block_cache_fetch(t->cache, job->ids, job->count, t->stop);
            free(job);
            pthread_mutex_lock(&t->work_lock);
        } else {
            pthread_cond_wait(&t->work_there, &t->work_lock);
        }
    }
    pthread_mutex_unlock(&t->work_lock);
    return NULL;
}

void work_start(struct open_files *t)
{
    pthread_mutex_init(&t->work_lock, NULL);
    pthread_cond_init(&t->work_there, NULL);
    list_init(&t->puts);
    list_init(&t->prefetches);
    for (unsigned n = 0; n < FILE_WORKERS; n++)
        thread_start(&t->workers[n], worker_main, t);
}

void work_stop(struct open_files *t)
{
    pthread_mutex_lock(&t->work_lock);
    t->stopping = true;
    pthread_cond_broadcast(&t->work_there);
    pthread_mutex_unlock(&t->work_lock);
    for (unsigned n = 0; n < FILE_WORKERS; n++)
        pthread_join(t->workers[n], NULL);
    for (struct list_node *n; (n = list_pop_front(&t->prefetches));)
        free(container_of(n, struct prefetch, job));
    pthread_cond_destroy(&t->work_there);
    pthread_mutex_destroy(&t->work_lock);
}

void work_put(struct open_files *t, struct full_chunk *f)
{
    pthread_mutex_lock(&t->work_lock);
    list_push_back(&t->puts, &f->job);
    pthread_cond_signal(&t->work_there);
    pthread_mutex_unlock(&t->work_lock);
}

bool work_take_back(struct open_files *t, struct full_chunk *f)
{
    pthread_mutex_lock(&t->work_lock);
    bool waiting = list_linked(&f->job);
    if (waiting)
        list_remove(&f->job);
    pthread_mutex_unlock(&t->work_lock);
    return waiting;
}

void work_prefetch(struct open_files *t, const struct sha256 *ids, unsigned count)
{
    struct prefetch *job = mem_alloc(sizeof *job + count * sizeof job->ids[0]);
    list_node_init(&job->job);
    job->count = 0;
    for (unsigned n = 0; n < count; n++)
        if (!block_cache_has(t->cache, &ids[n]))
            job->ids[job->count++] = ids[n];
    pthread_mutex_lock(&t->work_lock);
    bool taken = job->count > 0 && t->prefetch_count < FILE_PREFETCH_QUEUE && !t->stopping;
    if (taken) {
        t->prefetch_count++;
        list_push_back(&t->prefetches, &job->job);
        pthread_cond_signal(&t->work_there);
    }
    pthread_mutex_unlock(&t->work_lock);
    if (!taken)
        free(job);
}
