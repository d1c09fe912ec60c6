#include "fusefs/invalidate.h"

#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "client/moment.h"

#define CLOSE_S 2
#define QUIET_NS (100 * NS_PER_MS) /* after an answer, until the program that asked is likely to have it */
#define WAIT_NS (1 * NS_PER_S)     /* for such a moment */
#define AT_ONCE ((void *)1)        /* as if it had been asked for long ago */

static bool is_quiet(struct invalidator *v, uint64_t ino, int64_t now_ns)
{
    pthread_mutex_lock(&v->answers_lock);
    const struct invalidator_answers *a = &v->answers[ino % INVALIDATOR_ANSWERS];
    bool busy = a->ino == ino && (a->asked > 0 || now_ns - a->at_ns < QUIET_NS);
    pthread_mutex_unlock(&v->answers_lock);
    return !busy;
}

static bool is_due(struct invalidator *v, uint64_t ino, void *asked)
{
    int64_t now_ns = clock_boot_ns();
    return now_ns - (int64_t)(uintptr_t)asked >= WAIT_NS || is_quiet(v, ino, now_ns);
}

/* One whose time has come, and when it was asked for. */
static bool take_one(struct invalidator *v, uint64_t *ret_ino, void **ret_asked)
{
    size_t at = 0;
    while (map_u64_next(&v->pending, &at, ret_ino, ret_asked)) {
        if (!is_due(v, *ret_ino, *ret_asked))
            continue;
        map_u64_remove(&v->pending, *ret_ino);
        return true;
    }
    return false;
}

static void *invalidate(void *context)
{
    struct invalidator *v = context;
    pthread_mutex_lock(&v->lock);
    while (!v->stopping) {
        uint64_t ino;
        void *asked;
        if (!v->session || !take_one(v, &ino, &asked)) {
            if (v->session && v->pending.count > 0)
                moment_wait_for(&v->changed, &v->lock, QUIET_NS / 10);
            else
                pthread_cond_wait(&v->changed, &v->lock);
            continue;
        }
        struct fuse_session *session = v->session;
        v->under_way = ino;
        v->asking = true;
        pthread_mutex_unlock(&v->lock);
        bool needed = !v->is_needed || v->is_needed(v->context, ino);
        pthread_mutex_lock(&v->lock);
        v->asking = false;
        /* Somebody may have begun to read meanwhile. */
        if (needed && !is_due(v, ino, asked)) {
            needed = false;
            if (!map_u64_get(&v->pending, ino))
                map_u64_put(&v->pending, ino, asked);
        }
        pthread_cond_broadcast(&v->done);
        pthread_mutex_unlock(&v->lock);
        /* An inode that the kernel doesn't know has no pages. */
        if (needed)
            (void)fuse_lowlevel_notify_inval_inode(session, ino, 0, 0);
        pthread_mutex_lock(&v->lock);
        v->under_way = 0;
        pthread_cond_broadcast(&v->done);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

void invalidator_init(struct invalidator *v, bool (*is_needed)(void *context, uint64_t ino), void *context)
{
    v->is_needed = is_needed;
    v->context = context;
    pthread_mutex_init(&v->lock, NULL);
    pthread_mutex_init(&v->answers_lock, NULL);
    moment_cond_init(&v->changed);
    moment_cond_init(&v->done);
    thread_start(&v->thread, invalidate, v);
}

void invalidator_set_session(struct invalidator *v, struct fuse_session *session)
{
    pthread_mutex_lock(&v->lock);
    v->session = session;
    while (!session && v->asking)
        pthread_cond_wait(&v->done, &v->lock);
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

void invalidator_add(struct invalidator *v, uint64_t ino)
{
    pthread_mutex_lock(&v->lock);
    if (map_u64_get(&v->pending, ino) != AT_ONCE)
        map_u64_put(&v->pending, ino, (void *)(uintptr_t)clock_boot_ns());
    pthread_cond_signal(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

void invalidator_asked(struct invalidator *v, uint64_t ino)
{
    pthread_mutex_lock(&v->answers_lock);
    struct invalidator_answers *a = &v->answers[ino % INVALIDATOR_ANSWERS];
    if (a->ino != ino)
        *a = (struct invalidator_answers){.ino = ino};
    a->asked++;
    pthread_mutex_unlock(&v->answers_lock);
}

void invalidator_answered(struct invalidator *v, uint64_t ino)
{
    int64_t now_ns = clock_boot_ns();
    pthread_mutex_lock(&v->answers_lock);
    struct invalidator_answers *a = &v->answers[ino % INVALIDATOR_ANSWERS];
    if (a->ino == ino && a->asked > 0)
        a->asked--;
    if (a->ino == ino)
        a->at_ns = now_ns;
    pthread_mutex_unlock(&v->answers_lock);
}

void invalidator_told(struct invalidator *v, uint64_t ino, int64_t asked_ns)
{
    pthread_mutex_lock(&v->lock);
    void *value = map_u64_get(&v->pending, ino);
    if (value && value != AT_ONCE && (int64_t)(uintptr_t)value < asked_ns)
        map_u64_remove(&v->pending, ino);
    pthread_mutex_unlock(&v->lock);
}

void invalidator_settle(struct invalidator *v, uint64_t ino, int64_t until_ns)
{
    int64_t left_ns;
    pthread_mutex_lock(&v->lock);
    while (v->session && v->under_way == ino && (left_ns = until_ns - clock_boot_ns()) > 0)
        moment_wait_for(&v->done, &v->lock, left_ns);
    pthread_mutex_unlock(&v->lock);
}

bool invalidator_drop(struct invalidator *v, uint64_t ino, int64_t until_ns)
{
    int64_t left_ns = 1;
    pthread_mutex_lock(&v->lock);
    /* One that is under way may have begun too early: it comes behind that. */
    map_u64_put(&v->pending, ino, AT_ONCE);
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
    pthread_mutex_destroy(&v->answers_lock);
    pthread_mutex_destroy(&v->lock);
    return true;
}
