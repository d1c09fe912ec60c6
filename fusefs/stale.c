#include "fusefs/stale.h"

#include <pthread.h>

#include "base/check.h"
#include "base/mem.h"

#define STALE_MAX 1024u

struct stale_queue {
    struct fuse_session *session;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t inos[STALE_MAX]; /* a ring; protected by lock */
    unsigned first, count;    /* protected by lock */
    bool stopping;            /* protected by lock */
    pthread_t thread;
};

static void *stale_main(void *p)
{
    struct stale_queue *q = p;
    pthread_mutex_lock(&q->lock);
    while (!q->stopping) {
        if (q->count == 0) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        uint64_t ino = q->inos[q->first];
        q->first = (q->first + 1) % STALE_MAX;
        q->count--;
        pthread_mutex_unlock(&q->lock);
        /* ENOENT: the kernel has forgotten the inode, and with it its pages. */
        fuse_lowlevel_notify_inval_inode(q->session, ino, 0, 0);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

struct stale_queue *stale_queue_new(struct fuse_session *session)
{
    struct stale_queue *q = MEM_NEW(struct stale_queue);
    q->session = session;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    CHECK(pthread_create(&q->thread, NULL, stale_main, q) == 0);
    return q;
}

void stale_queue_push(struct stale_queue *q, uint64_t ino)
{
    pthread_mutex_lock(&q->lock);
    if (q->count == STALE_MAX) {
        q->first = (q->first + 1) % STALE_MAX;
        q->count--;
    }
    q->inos[(q->first + q->count++) % STALE_MAX] = ino;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void stale_queue_free(struct stale_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}
