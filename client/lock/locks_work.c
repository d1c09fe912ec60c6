/* locks_work.c: what nobody waits for, or not for long: waiting that ends, locks that go with a handle. */
#include "base/mem.h"
#include "base/thread.h"
#include "client/lock/locks_internal.h"

#define LOG_MODULE "locks"
#include "base/log.h"

struct lock_job *lock_work_add(struct locks *l, const struct lock_job *job)
{
    struct lock_job *j = MEM_NEW(struct lock_job);
    *j = *job;
    list_node_init(&j->node);
    j->owner->users++;
    j->owner->jobs++;
    list_push_back(&l->jobs, &j->node);
    pthread_cond_broadcast(&l->changed);
    return j;
}

enum err lock_give_up(struct locks *l, const struct lock_owner *o, const struct meta_lock *lock, uint64_t session,
                      struct rpc_cancel *cancel, unsigned *ret_held)
{
    struct meta_command command = {
        .op = META_LOCK, .session = session, .lock = {.ino = o->ino, .lock = *lock, .wait = false}};
    struct meta_reply reply;
    command.lock.lock.type = META_LOCK_UNLOCK;
    enum err e;
    do
        e = file_commit_ino(l->files, o->ino, cancel);
    while (e == ERR_TIMEOUT && cancel == l->stop);
    /* It may still be committed: others who had the lock before that would have written under it in vain. */
    if (e == ERR_CANCELLED || e == ERR_TIMEOUT)
        return e;
    if (e != ERR_OK) /* it is kept for the handles that are open */
        log_debug("inode %llu is unlocked with data that could not be committed", (unsigned long long)o->ino);
    TRY(meta_client_call(l->meta, &command, cancel, &reply));
    *ret_held = reply.held;
    return reply.status;
}

/* Whether the owner has the lock after all. An error: its session is over, and the lock with it, or we stop. */
static enum err cancel_wait(struct locks *l, const struct lock_job *j, bool *ret_has_lock)
{
    struct meta_command command = {
        .op = META_LOCK_CANCEL, .session = j->session, .lock_cancel = {.ticket = j->ticket, .place = j->place}};
    struct meta_reply reply;
    TRY(meta_client_call(l->meta, &command, l->stop, &reply));
    *ret_has_lock = reply.status == ERR_NOT_FOUND;
    return reply.status == ERR_NOT_FOUND ? ERR_OK : reply.status;
}

/* With the lock held, which is released meanwhile. */
static enum err work(struct locks *l, struct lock_job *j)
{
    struct lock_owner *o = j->owner;
    unsigned held = 1;
    enum err e = ERR_OK;
    pthread_mutex_unlock(&l->lock);
    if (j->kind == LOCK_JOB_CANCEL)
        e = cancel_wait(l, j, &j->has_lock);
    pthread_mutex_lock(&l->lock);
    bool undo = j->kind == LOCK_JOB_UNDO || (j->has_lock && !j->awaited);
    if (e == ERR_OK && (j->kind == LOCK_JOB_UNLOCK || (undo && o->session == 0))) {
        pthread_mutex_unlock(&l->lock);
        e = lock_give_up(l, o, &j->lock, j->session, l->stop, &held);
        pthread_mutex_lock(&l->lock);
    }
    if (e == ERR_OK && held == 0)
        lock_owner_holds(o, 0, NULL);
    return e;
}

static void run(struct locks *l, struct lock_job *j)
{
    struct lock_owner *o = j->owner;
    enum err e = work(l, j);
    if (e != ERR_OK)
        log_debug("inode %llu: a lock: %s", (unsigned long long)o->ino, err_message(e));
    o->jobs--;
    j->done = true;
    bool awaited = j->awaited;
    pthread_cond_broadcast(&l->changed);
    lock_owner_leave(l, o);
    if (!awaited)
        free(j);
}

static void *worker(void *context)
{
    struct locks *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        struct list_node *n = list_pop_front(&l->jobs);
        if (n)
            run(l, container_of(n, struct lock_job, node));
        else
            pthread_cond_wait(&l->changed, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void lock_work_start(struct locks *l)
{
    list_init(&l->jobs);
    thread_start(&l->worker, worker, l);
}

void lock_work_stop(struct locks *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    rpc_cancel_fire(l->stop);
    pthread_join(l->worker, NULL);
}

void lock_jobs_free(struct locks *l)
{
    for (struct list_node *n; (n = list_pop_front(&l->jobs));)
        free(container_of(n, struct lock_job, node));
}
