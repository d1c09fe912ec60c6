#include "blockstore/barrier.h"

#include "base/check.h"

void barrier_init(struct barrier *b)
{
    *b = (struct barrier){.outcome = ERR_OK};
    CHECK(pthread_mutex_init(&b->lock, NULL) == 0 && pthread_cond_init(&b->finish, NULL) == 0);
}

void barrier_close(struct barrier *b)
{
    pthread_cond_destroy(&b->finish);
    pthread_mutex_destroy(&b->lock);
}

static bool puts_clean(const struct barrier_puts *p)
{
    return p->under_way == 0 && p->synced == p->done;
}

bool barrier_put_begin(struct barrier *b, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    bool logged = !b->flush_next && puts_clean(&b->unlogged) && b->logged_bytes + bytes <= BARRIER_LOGGED_BYTES;
    if (logged)
        b->logged_bytes += bytes;
    (logged ? &b->logged : &b->unlogged)->under_way++;
    pthread_mutex_unlock(&b->lock);
    return logged;
}

void barrier_put_end(struct barrier *b, bool logged)
{
    pthread_mutex_lock(&b->lock);
    struct barrier_puts *p = logged ? &b->logged : &b->unlogged;
    p->under_way--;
    p->done++; /* one that failed counts too: a part of it may be there */
    pthread_mutex_unlock(&b->lock);
}

bool barrier_is_clean(struct barrier *b)
{
    pthread_mutex_lock(&b->lock);
    bool clean = puts_clean(&b->logged) && puts_clean(&b->unlogged);
    pthread_mutex_unlock(&b->lock);
    return clean;
}

/* Called with the lock, which is released in between. */
static void run_one(struct barrier *b, enum err (*run)(void *arg, bool flush), void *arg)
{
    uint64_t logged = b->logged.done, unlogged = b->unlogged.done, run_number = ++b->started;
    bool flush = b->flush_next || !puts_clean(&b->unlogged);
    b->running = true;
    b->logged_bytes = 0;
    pthread_mutex_unlock(&b->lock);
    enum err e = run(arg, flush);
    pthread_mutex_lock(&b->lock);
    b->running = false;
    b->finished = run_number;
    b->outcome = e;
    b->flush_next = e != ERR_OK;
    if (e == ERR_OK) {
        b->logged.synced = logged;
        if (flush)
            b->unlogged.synced = unlogged;
    }
    pthread_cond_broadcast(&b->finish);
}

enum err barrier_sync(struct barrier *b, enum err (*run)(void *arg, bool flush), void *arg)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&b->lock);
    if (b->flush_next || !puts_clean(&b->logged) || !puts_clean(&b->unlogged)) {
        /* A run that is under way may have begun before our rows; the next one is ours. If a later one than ours is the
         * last by the time that we look, its outcome serves: it covers all that ours did. */
        uint64_t ours = b->started + 1;
        while (b->finished < ours) {
            if (b->running)
                pthread_cond_wait(&b->finish, &b->lock);
            else
                run_one(b, run, arg);
        }
        e = b->outcome;
    }
    pthread_mutex_unlock(&b->lock);
    return e;
}
