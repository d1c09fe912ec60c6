#include "fusefs/invalidate.h"

#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "client/moment.h"

#define CLOSE_S 2

static bool take_one(struct map_u64 *pending, uint64_t *ret_ino)
{
    size_t at = 0;
    void *value;
    if (!map_u64_next(pending, &at, ret_ino, &value))
        return false;
    map_u64_remove(pending, *ret_ino);
    return true;
}

static void *invalidate(void *context)
{
    struct invalidator *v = context;
    pthread_mutex_lock(&v->lock);
    while (!v->stopping) {
        uint64_t ino;
        if (!v->session || !take_one(&v->pending, &ino)) {
            pthread_cond_wait(&v->changed, &v->lock);
            continue;
        }
        struct fuse_session *session = v->session;
        v->under_way = ino;
        pthread_mutex_unlock(&v->lock);
        /* An inode that the kernel doesn't know has no pages. */
        (void)fuse_lowlevel_notify_inval_inode(session, ino, 0, 0);
        pthread_mutex_lock(&v->lock);
        v->under_way = 0;
        pthread_cond_broadcast(&v->done);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

void invalidator_init(struct invalidator *v)
{
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    moment_cond_init(&v->done);
    thread_start(&v->thread, invalidate, v);
}

void invalidator_set_session(struct invalidator *v, struct fuse_session *session)
{
    pthread_mutex_lock(&v->lock);
    v->session = session;
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

void invalidator_add(struct invalidator *v, uint64_t ino)
{
    pthread_mutex_lock(&v->lock);
    map_u64_put(&v->pending, ino, v);
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

bool invalidator_drop(struct invalidator *v, uint64_t ino, int64_t until_ns)
{
    int64_t left_ns = 1;
    pthread_mutex_lock(&v->lock);
    /* One that is under way may have begun too early: it comes behind that. */
    map_u64_put(&v->pending, ino, v);
    pthread_cond_signal(&v->changed);
    while (v->session && (v->under_way == ino || map_u64_get(&v->pending, ino)) &&
           (left_ns = until_ns - clock_boot_ns()) > 0)
        moment_wait_for(&v->done, &v->lock, left_ns);
    pthread_mutex_unlock(&v->lock);
    return left_ns > 0;
}

bool invalidator_close(struct invalidator *v)
{
    pthread_mutex_lock(&v->lock);
    v->stopping = true;
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSE_S;
    if (pthread_timedjoin_np(v->thread, NULL, &until) != 0)
        return false;
    map_u64_free(&v->pending);
    pthread_cond_destroy(&v->changed);
    pthread_cond_destroy(&v->done);
    pthread_mutex_destroy(&v->lock);
    return true;
}
