/* flush.c: in the background, what has been dirty for long is committed, and what another mount has changed of an open
 * file is asked for.
 *
 * The flusher looks through the files twice a second, or sooner when somebody waits for what is written here. What is
 * to be done for one it leaves to others, as a job: that may have to wait for servers that don't answer, for ever, and
 * the other files must not. There are two lanes of jobs, each with threads of its own, since many files may wait for
 * block servers at once: what asks the metastore alone goes on then. */
#include "base/mem.h"
#include "base/thread.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define FLUSH_PERIOD_NS (500 * NS_PER_MS)

/* Has a user's reference to the inode. An inode has one of each kind at most. */
struct flush_job {
    struct list_node node;
    struct file_inode *inode;
    bool refreshes; /* else it commits */
};

/* ---- jobs ---- */

static bool is_stopping(struct open_files *t)
{
    pthread_mutex_lock(&t->flush_lock);
    bool stopping = t->flush_stopping;
    pthread_mutex_unlock(&t->flush_lock);
    return stopping;
}

/* Another mount has changed it. When the metastore could not be asked in time it is asked again. */
static void run_refresh(struct file_inode *i)
{
    struct open_files *t = i->files;
    enum err e = inode_refresh(i, t->stop);
    /* What the kernel has mapped is of before, unless only attributes have changed. */
    if (e == ERR_OK && t->options.on_stale && !inode_pages_are_current(i))
        t->options.on_stale(t->options.context, i->ino);
    pthread_mutex_lock(&i->lock);
    i->refresh_job = false;
    bool changed = i->refresh; /* once more, meanwhile */
    i->refresh = changed || e == ERR_TIMEOUT;
    pthread_mutex_unlock(&i->lock);
    if (changed)
        flush_soon(t);
    else if (e == ERR_TIMEOUT)
        flush_wake(t);
}

/* Nobody can read it any more, and nobody will. */
static bool is_gone(struct file_inode *i)
{
    pthread_mutex_lock(&i->files->lock);
    bool closed = i->handles == 0;
    pthread_mutex_unlock(&i->files->lock);
    pthread_mutex_lock(&i->lock);
    bool gone = closed && i->orphan;
    pthread_mutex_unlock(&i->lock);
    return gone;
}

static void run_commit(struct file_inode *i)
{
    struct open_files *t = i->files;
    for (bool again = true; again;) {
        enum err e = ERR_OK;
        bool gone = is_gone(i);
        if (!gone)
            e = inode_commit(i, t->stop); /* an error is kept for the handles, or it is tried again */
        pthread_mutex_lock(&i->lock);
        if (gone)
            inode_discard(i, t->stop);
        /* What was written since it began is the next round's, but for the last one. */
        again = !gone && e == ERR_OK && inode_is_dirty(i) && is_stopping(t);
        i->commit_job = again;
        pthread_mutex_unlock(&i->lock);
    }
}

/* Whether what is dirty can go with its commit. There is to be room for all that threads of the lane may have in hand:
 * what comes too late for it waits for block servers. Under the lock. */
static bool is_small(const struct file_inode *i)
{
    size_t most = MIN(i->files->options.inline_bytes, (size_t)LIMIT_INLINE_BYTES);
    if (!list_empty(&i->full) || i->staged || i->dirty.bytes > most)
        return false;
    unsigned pieces = 0;
    list_for_each (n, &i->dirty.chunks)
        pieces += container_of(n, struct dirty_chunk, node)->ranges.count;
    return pieces <= LIMIT_INLINE_BLOCKS &&
           inline_mover_has_room(i->files->mover, FLUSH_THREADS * (size_t)LIMIT_INLINE_BYTES);
}

/* Under the lock. */
static enum flush_lane_kind lane_of(const struct file_inode *i)
{
    return is_small(i) ? FLUSH_META : FLUSH_BLOCKS;
}

/* With the flush_lock. A lane has its first thread from the beginning; the others are made when there is work for them,
 * and done without where the machine has no room for one. */
static void put_job(struct flush_lane *l, struct flush_job *job);

/* It was small when it was given to this lane, and may have grown since. Not when the lanes are being closed: the other
 * one may have ended. */
static bool pass_on(struct flush_lane *l, struct flush_job *job)
{
    struct open_files *t = l->files;
    pthread_mutex_lock(&job->inode->lock);
    bool wrong = !job->refreshes && l == &t->lanes[FLUSH_META] && !is_small(job->inode);
    pthread_mutex_unlock(&job->inode->lock);
    if (!wrong)
        return false;
    pthread_mutex_lock(&t->flush_lock);
    bool passed = !t->flush_stopping;
    if (passed)
        put_job(&t->lanes[FLUSH_BLOCKS], job);
    pthread_mutex_unlock(&t->flush_lock);
    return passed;
}

static void run_job(struct flush_lane *l, struct flush_job *job)
{
    if (pass_on(l, job))
        return;
    if (job->refreshes)
        run_refresh(job->inode);
    else
        run_commit(job->inode);
    inode_leave(job->inode);
    free(job);
}

static void *lane_main(void *context)
{
    struct flush_lane *l = context;
    struct open_files *t = l->files;
    pthread_mutex_lock(&t->flush_lock);
    for (;;) {
        struct list_node *n = list_pop_front(&l->jobs);
        if (!n && t->lanes_closing)
            break;
        if (!n) {
            l->idle++;
            pthread_cond_wait(&l->there, &t->flush_lock);
            l->idle--;
            continue;
        }
        l->waiting--;
        pthread_mutex_unlock(&t->flush_lock);
        run_job(l, container_of(n, struct flush_job, node));
        pthread_mutex_lock(&t->flush_lock);
    }
    pthread_mutex_unlock(&t->flush_lock);
    return NULL;
}

static void put_job(struct flush_lane *l, struct flush_job *job)
{
    list_push_back(&l->jobs, &job->node);
    l->waiting++;
    if (l->idle < l->waiting && l->thread_count < FLUSH_THREADS &&
        pthread_create(&l->threads[l->thread_count], NULL, lane_main, l) == 0)
        l->thread_count++;
    pthread_cond_signal(&l->there);
}

/* Takes a user's reference over. */
static void give(struct file_inode *i, enum flush_lane_kind kind, bool refreshes)
{
    struct open_files *t = i->files;
    struct flush_job *job = MEM_NEW(struct flush_job);
    job->inode = i;
    job->refreshes = refreshes;
    pthread_mutex_lock(&t->flush_lock);
    put_job(&t->lanes[kind], job);
    pthread_mutex_unlock(&t->flush_lock);
}

/* ---- what there is to do ---- */

/* All inodes that may be dirty, with a user's reference each; to be freed. */
static size_t all_active(struct open_files *t, struct file_inode ***ret)
{
    size_t at = 0, count = 0;
    uint64_t ino;
    void *value;
    pthread_mutex_lock(&t->lock);
    struct file_inode **list = mem_alloc((t->inodes.count - t->idle_count + 1) * sizeof(struct file_inode *));
    while (map_u64_next(&t->inodes, &at, &ino, &value)) {
        struct file_inode *i = value;
        if (!list_linked(&i->idle)) {
            i->users++;
            list[count++] = i;
        }
    }
    pthread_mutex_unlock(&t->lock);
    *ret = list;
    return count;
}

static void use_again(struct file_inode *i)
{
    pthread_mutex_lock(&i->files->lock);
    i->users++;
    pthread_mutex_unlock(&i->files->lock);
}

/* Whether what is dirty is old enough, or was left behind by its last handle. Under the lock. */
static bool is_due(const struct file_inode *i, bool closed, bool eager)
{
    int64_t now_ns = clock_boot_ns();
    if (i->staged)
        return closed || now_ns - i->staged_since_ns >= FILE_STAGED_NS;
    return closed || inode_is_pressed(i) ||
           now_ns - i->dirty_since_ns >= (eager ? FILE_EAGER_AGE_NS : FILE_DIRTY_AGE_NS);
}

/* Gives away what is to be done for it. True when something is still dirty, or not known. */
static bool look_at(struct file_inode *i)
{
    struct open_files *t = i->files;
    inode_settle(i);
    pthread_mutex_lock(&t->lock);
    bool closed = i->handles == 0;
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_lock(&i->lock);
    bool dirty = inode_is_dirty(i), left = i->left.seq != 0;
    /* Who has the turn commits it, or has the turn for long: no thread is to wait for that. */
    bool idle = dirty && !i->commit_job && !i->turn_taken, eager = clock_boot_ns() < i->eager_until_ns;
    bool commit = idle && is_due(i, closed, eager), refresh = i->refresh && !i->refresh_job;
    bool soon = idle && !commit && eager && !i->staged;
    enum flush_lane_kind lane = commit ? lane_of(i) : FLUSH_META;
    i->commit_job = i->commit_job || commit;
    i->refresh_job = i->refresh_job || refresh;
    pthread_mutex_unlock(&i->lock);
    if (soon)
        flush_soon(t);
    if (refresh) {
        use_again(i);
        give(i, FLUSH_META, true);
    }
    if (commit) {
        use_again(i);
        give(i, lane, false);
    }
    return dirty || left;
}

static bool flush_round(struct open_files *t)
{
    bool any = false;
    struct file_inode **list;
    size_t count = all_active(t, &list);
    for (size_t n = 0; n < count; n++) {
        any = look_at(list[n]) || any;
        inode_leave(list[n]);
    }
    free(list);
    return any;
}

/* Everything that is dirty, whoever has the turn, each as its own job. */
static void flush_last_round(struct open_files *t)
{
    struct file_inode **list;
    size_t count = all_active(t, &list);
    for (size_t n = 0; n < count; n++) {
        struct file_inode *i = list[n];
        pthread_mutex_lock(&i->lock);
        bool commit = inode_is_dirty(i) && !i->commit_job;
        enum flush_lane_kind lane = lane_of(i);
        i->commit_job = i->commit_job || commit;
        pthread_mutex_unlock(&i->lock);
        if (commit)
            give(i, lane, false);
        else
            inode_leave(i);
    }
    free(list);
}

/* ---- the thread ---- */

static void wait_for_work(struct open_files *t, bool any)
{
    pthread_mutex_lock(&t->flush_lock);
    if (!t->flush_stopping) {
        if (any || t->flush_pending) {
            int64_t period_ns = t->flush_eager ? FILE_EAGER_AGE_NS : FLUSH_PERIOD_NS;
            t->flush_eager = false;
            moment_wait_for(&t->flush_wanted, &t->flush_lock, period_ns);
        } else {
            t->flush_idle = true;
            pthread_cond_wait(&t->flush_wanted, &t->flush_lock);
            t->flush_idle = false;
        }
    }
    t->flush_pending = false;
    pthread_mutex_unlock(&t->flush_lock);
}

static void *flusher_main(void *p)
{
    struct open_files *t = p;
    while (!is_stopping(t))
        wait_for_work(t, flush_round(t));
    return NULL;
}

void flush_start(struct open_files *t)
{
    pthread_mutex_init(&t->flush_lock, NULL);
    moment_cond_init(&t->flush_wanted);
    for (unsigned n = 0; n < FLUSH_LANES; n++) {
        struct flush_lane *l = &t->lanes[n];
        l->files = t;
        list_init(&l->jobs);
        pthread_cond_init(&l->there, NULL);
        thread_start(&l->threads[l->thread_count++], lane_main, l);
    }
    thread_start(&t->flusher, flusher_main, t);
}

void flush_stop(struct open_files *t)
{
    pthread_mutex_lock(&t->flush_lock);
    t->flush_stopping = true;
    pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
    pthread_join(t->flusher, NULL);
    flush_last_round(t);
    pthread_mutex_lock(&t->flush_lock);
    t->lanes_closing = true;
    for (unsigned n = 0; n < FLUSH_LANES; n++)
        pthread_cond_broadcast(&t->lanes[n].there);
    pthread_mutex_unlock(&t->flush_lock);
    for (unsigned n = 0; n < FLUSH_LANES; n++) {
        for (unsigned k = 0; k < t->lanes[n].thread_count; k++)
            pthread_join(t->lanes[n].threads[k], NULL);
        pthread_cond_destroy(&t->lanes[n].there);
    }
    pthread_cond_destroy(&t->flush_wanted);
    pthread_mutex_destroy(&t->flush_lock);
}

void flush_wake(struct open_files *t)
{
    /* It is woken only from its long sleep: in between it looks twice a second anyway. */
    pthread_mutex_lock(&t->flush_lock);
    t->flush_pending = true;
    if (t->flush_idle)
        pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
}

void flush_soon(struct open_files *t)
{
    pthread_mutex_lock(&t->flush_lock);
    t->flush_pending = t->flush_eager = true;
    pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
}
