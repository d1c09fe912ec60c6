#include "client/lock/locks.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/lock/locks_internal.h"
#include "client/moment.h"

#define LOG_MODULE "locks"
#include "base/log.h"

#define WAITING_MAX 2048u            /* each holds a thread of the mount */
#define OUTCOME_NS (500 * NS_PER_MS) /* that a caller who is to leave waits to learn whether it has its lock */

struct locks *locks_new(struct meta_client *meta, struct open_files *files)
{
    struct locks *l = MEM_NEW(struct locks);
    l->meta = meta;
    l->files = files;
    l->stop = rpc_cancel_new();
    pthread_mutex_init(&l->lock, NULL);
    moment_cond_init(&l->changed);
    lock_work_start(l);
    return l;
}

void locks_stop(struct locks *l)
{
    lock_work_stop(l);
}

void locks_free(struct locks *l)
{
    lock_jobs_free(l);
    lock_table_free(l);
    rpc_cancel_free(l->stop);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

enum err locks_test(struct locks *l, uint64_t ino, const struct meta_lock *lock, struct rpc_cancel *cancel,
                    struct meta_lock *ret)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_LOCK_TEST, .ino = ino, .lock = *lock};
    struct meta_query_reply reply;
    enum err e = meta_client_query(l->meta, &query, cancel, &arena, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK)
        *ret = reply.lock;
    arena_free(&arena);
    return e;
}

/* ---- taking ---- */

/* An operation that takes a lock. */
struct taking {
    struct locks *locks;
    struct lock_owner *owner;
    struct open_file *handle;
    const struct meta_lock *lock;
    struct rpc_cancel *cancel;
    uint64_t session, ticket;
    uint32_t place;
    struct meta_attr attr; /* of the file when it was got at once */
    bool has_attr;
};

/* Until it is held: CANCELLED, SESSION_EXPIRED. */
static enum err await_grant(struct taking *t)
{
    for (;;) {
        struct arena arena = {0};
        struct meta_query query = {.op = META_QUERY_LOCK_WAIT,
                                   .session = t->session,
                                   .ino = t->owner->ino,
                                   .ticket = t->ticket,
                                   .place = t->place};
        struct meta_query_reply reply;
        enum err e = meta_client_query(t->locks->meta, &query, t->cancel, &arena, &reply);
        if (e == ERR_OK)
            e = reply.status;
        bool waiting = e == ERR_OK && reply.waiting;
        arena_free(&arena);
        if (!waiting)
            return e;
    }
}

/* The caller is to leave. OK when it has got the lock after all; CANCELLED: it has not, or will lose it again. With the
 * lock held. */
static enum err stop_waiting(struct taking *t)
{
    struct locks *l = t->locks;
    struct lock_job *j = lock_work_add(l, &(struct lock_job){.kind = LOCK_JOB_CANCEL,
                                                             .owner = t->owner,
                                                             .lock = *t->lock,
                                                             .session = t->session,
                                                             .ticket = t->ticket,
                                                             .place = t->place,
                                                             .awaited = true});
    int64_t until_ns = clock_boot_ns() + OUTCOME_NS;
    while (!j->done && clock_boot_ns() < until_ns)
        if (moment_wait(&l->changed, &l->lock, NULL) != ERR_OK)
            break;
    if (!j->done) {
        j->awaited = false;
        return ERR_CANCELLED;
    }
    bool has_lock = j->has_lock;
    free(j);
    return has_lock ? ERR_OK : ERR_CANCELLED;
}

/* Its turn has ended before. With the lock held, which is released meanwhile. */
static enum err wait_for_lock(struct taking *t)
{
    struct locks *l = t->locks;
    enum err e = l->waiting < WAITING_MAX ? ERR_OK : ERR_NOLCK;
    l->waiting++;
    if (e == ERR_OK) {
        pthread_mutex_unlock(&l->lock);
        e = await_grant(t);
        pthread_mutex_lock(&l->lock);
    }
    l->waiting--;
    if (e == ERR_CANCELLED || e == ERR_TIMEOUT || e == ERR_NOLCK) {
        enum err stopped = stop_waiting(t);
        return stopped == ERR_CANCELLED ? e : stopped;
    }
    return e;
}

/* The lock has been got: so that reads find what was written under it before. With the lock held, which is released
 * meanwhile. */
static enum err use(struct taking *t)
{
    struct locks *l = t->locks;
    pthread_mutex_unlock(&l->lock);
    enum err e = file_refresh(t->handle, t->has_attr ? &t->attr : NULL, t->cancel);
    pthread_mutex_lock(&l->lock);
    if (meta_client_session(l->meta) != t->session)
        return ERR_SESSION_EXPIRED; /* locks_expired may have been here before */
    if (e == ERR_OK)
        lock_owner_holds(t->owner, t->session, t->handle);
    else
        (void)lock_work_add(
            l, &(struct lock_job){.kind = LOCK_JOB_UNDO, .owner = t->owner, .lock = *t->lock, .session = t->session});
    return e;
}

/* Within the owner's turn, which it ends. With the lock held, which is released meanwhile. */
static enum err take(struct taking *t, bool wait)
{
    struct locks *l = t->locks;
    struct lock_owner *o = t->owner;
    struct meta_command command = {.op = META_LOCK,
                                   .session = o->session, /* what it holds there must be there still */
                                   .lock = {.ino = o->ino, .lock = *t->lock, .wait = wait}};
    struct meta_reply reply = {0};
    /* Before the call: a command that it leaves may be resolved, and told of, before we are back here. */
    o->unresolved++;
    pthread_mutex_unlock(&l->lock);
    enum err e = meta_client_call(l->meta, &command, t->cancel, &reply);
    pthread_mutex_lock(&l->lock);
    bool unresolved = (e == ERR_CANCELLED || e == ERR_TIMEOUT) && command.seq != 0;
    if (!unresolved && o->unresolved > 0) /* with the session's end it is 0 */
        o->unresolved--;
    lock_owner_end(l, o);
    t->session = command.session;
    t->ticket = reply.ticket;
    t->place = reply.place;
    if (e == ERR_OK)
        e = reply.status;
    t->has_attr = e == ERR_OK && t->ticket == 0 && reply.has_attr;
    t->attr = reply.attr;
    if (e == ERR_OK && t->ticket != 0)
        e = wait_for_lock(t);
    return e == ERR_OK ? use(t) : e;
}

static enum err give_up(struct taking *t)
{
    struct locks *l = t->locks;
    struct lock_owner *o = t->owner;
    unsigned held = 0;
    enum err e = ERR_OK;
    if (o->session != 0) {
        uint64_t session = o->session;
        pthread_mutex_unlock(&l->lock);
        e = lock_give_up(l, o, t->lock, session, t->cancel, &held);
        pthread_mutex_lock(&l->lock);
        if (e == ERR_OK && held == 0)
            lock_owner_holds(o, 0, NULL);
        if (e == ERR_CANCELLED || e == ERR_TIMEOUT) /* whatever becomes of it, it must not stay locked for ever */
            (void)lock_work_add(
                l, &(struct lock_job){.kind = LOCK_JOB_UNLOCK, .owner = o, .lock = *t->lock, .session = session});
    }
    lock_owner_end(l, o);
    return e;
}

enum err locks_set(struct locks *l, struct open_file *h, const struct meta_lock *lock, bool wait,
                   struct rpc_cancel *cancel)
{
    uint64_t ino = open_file_ino(h);
    bool takes = lock->type != META_LOCK_UNLOCK;
    pthread_mutex_lock(&l->lock);
    struct lock_owner *o = lock_owner_enter(l, ino, lock->kind, lock->owner);
    struct taking t = {.locks = l, .owner = o, .handle = h, .lock = lock, .cancel = cancel};
    enum err e = lock_owner_begin(l, o, cancel);
    if (e == ERR_OK && o->lost) {
        lock_owner_end(l, o);
        e = takes ? ERR_IO : ERR_OK;
    } else if (e == ERR_OK) {
        e = takes ? take(&t, wait) : give_up(&t);
    }
    lock_owner_leave(l, o);
    pthread_mutex_unlock(&l->lock);
    return e == ERR_SESSION_EXPIRED ? ERR_IO : e;
}

/* ---- closing ---- */

static struct meta_lock everything(const struct lock_owner *o)
{
    return (struct meta_lock){
        .kind = o->kind, .type = META_LOCK_UNLOCK, .start = 0, .end = META_SIZE_MAX, .owner = o->owner};
}

enum err locks_close(struct locks *l, struct open_file *h, uint64_t owner, struct rpc_cancel *cancel)
{
    pthread_mutex_lock(&l->lock);
    struct lock_owner *o = lock_owner_find(l, open_file_ino(h), META_LOCK_POSIX, owner);
    enum err e = ERR_OK;
    if (o) {
        o->users++;
        struct meta_lock lock = everything(o);
        struct taking t = {.locks = l, .owner = o, .handle = h, .lock = &lock, .cancel = cancel};
        e = lock_owner_begin(l, o, cancel);
        if (e == ERR_OK)
            e = give_up(&t);
        else
            (void)lock_work_add(
                l, &(struct lock_job){.kind = LOCK_JOB_UNLOCK, .owner = o, .lock = lock, .session = o->session});
        o->lost = false; /* it has heard of it, from its I/O or from this flush */
        lock_owner_leave(l, o);
    }
    pthread_mutex_unlock(&l->lock);
    return e == ERR_SESSION_EXPIRED ? ERR_OK : e;
}

static void release_owner(struct locks *l, struct lock_owner *o, const struct open_file *h)
{
    if (!lock_owner_has_handle(o, h))
        return;
    lock_owner_forget_handle(o, h);
    if (o->handle_count > 0)
        return;
    o->users++;
    o->lost = false;
    if (o->session != 0)
        (void)lock_work_add(
            l, &(struct lock_job){.kind = LOCK_JOB_UNLOCK, .owner = o, .lock = everything(o), .session = o->session});
    lock_owner_leave(l, o);
}

void locks_release(struct locks *l, struct open_file *h)
{
    pthread_mutex_lock(&l->lock);
    struct list *owners = map_u64_get(&l->inodes, open_file_ino(h));
    struct list_node *end = owners ? &owners->head : NULL;
    /* The list may go with its last owner: then next is the end already. */
    for (struct list_node *n = owners ? end->next : NULL, *next; n != end; n = next) {
        next = n->next;
        release_owner(l, container_of(n, struct lock_owner, node), h);
    }
    pthread_mutex_unlock(&l->lock);
}

bool locks_any(struct locks *l, uint64_t ino)
{
    pthread_mutex_lock(&l->lock);
    bool any = map_u64_get(&l->inodes, ino) != NULL;
    pthread_mutex_unlock(&l->lock);
    return any;
}

/* ---- what the session tells ---- */

void locks_expired(struct locks *l, uint64_t session)
{
    size_t at = 0;
    uint64_t ino;
    void *value;
    pthread_mutex_lock(&l->lock);
    while (map_u64_next(&l->inodes, &at, &ino, &value)) {
        list_for_each (n, (struct list *)value) {
            struct lock_owner *o = container_of(n, struct lock_owner, node);
            o->unresolved = 0;
            if (o->session == session)
                lock_owner_lose(o);
        }
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void locks_resolved(struct locks *l, const struct meta_command *command, const struct meta_reply *reply)
{
    if (command->op != META_LOCK || command->lock.lock.type == META_LOCK_UNLOCK)
        return;
    const struct meta_lock *lock = &command->lock.lock;
    pthread_mutex_lock(&l->lock);
    struct lock_owner *o = lock_owner_find(l, command->lock.ino, lock->kind, lock->owner);
    if (o && o->unresolved > 0) {
        struct lock_job job = {
            .owner = o, .lock = *lock, .session = command->session, .ticket = reply->ticket, .place = reply->place};
        job.kind = reply->ticket != 0 ? LOCK_JOB_CANCEL : LOCK_JOB_UNDO;
        o->users++;
        if (reply->status == ERR_OK)
            (void)lock_work_add(l, &job);
        o->unresolved--;
        lock_owner_leave(l, o);
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
}
