/* work.c: threads in the background: workers that put whole chunks and read ahead, and the flusher, which commits
 * what has been dirty for long. */
#include "base/mem.h"
#include "base/thread.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define FLUSH_PERIOD_NS (500 * NS_PER_MS)

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

/* ---- the flusher ---- */

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

/* Another mount has changed it. False: the metastore could not be asked in time, and is asked again. */
static bool refresh_open(struct file_inode *i)
{
    struct open_files *t = i->files;
    enum err e = inode_refresh(i, t->stop);
    /* What the kernel has mapped is of before, unless only attributes have changed. */
    if (e == ERR_OK && t->options.on_stale && !inode_pages_are_current(i))
        t->options.on_stale(t->options.context, i->ino);
    if (e != ERR_TIMEOUT)
        return true;
    pthread_mutex_lock(&i->lock);
    i->refresh = true;
    pthread_mutex_unlock(&i->lock);
    return false;
}

/* Commits what is old enough, or was left behind by its last handle. True when something is still dirty. */
static bool flush_round(struct open_files *t)
{
    bool any = false;
    struct file_inode **list;
    size_t count = all_active(t, &list);
    for (size_t n = 0; n < count; n++) {
        struct file_inode *i = list[n];
        pthread_mutex_lock(&t->lock);
        bool closed = i->handles == 0;
        pthread_mutex_unlock(&t->lock);
        pthread_mutex_lock(&i->lock);
        bool dirty = inode_is_dirty(i);
        int64_t now_ns = clock_boot_ns();
        bool eager = now_ns < i->eager_until_ns;
        bool due = dirty && (closed || inode_is_pressed(i) ||
                             now_ns - i->dirty_since_ns >= (eager ? FILE_EAGER_AGE_NS : FILE_DIRTY_AGE_NS));
        if (i->staged)
            due = closed || now_ns - i->staged_since_ns >= FILE_STAGED_NS;
        bool refresh = i->refresh, waits = i->staged;
        if (dirty && closed && i->orphan) {
            inode_discard(i); /* nobody will ever read it */
            due = false;
        }
        pthread_mutex_unlock(&i->lock);
        any = any || dirty;
        if (dirty && eager && !due && !waits)
            flush_soon(t);
        any = (refresh && !refresh_open(i)) || any;
        if (due && inode_commit(i, t->stop) != ERR_OK)
            any = true; /* the error is kept for the handles, or it is tried again */
        inode_leave(i);
    }
    free(list);
    return any;
}

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
    for (;;) {
        pthread_mutex_lock(&t->flush_lock);
        bool stopping = t->flush_stopping;
        pthread_mutex_unlock(&t->flush_lock);
        if (stopping)
            break;
        wait_for_work(t, flush_round(t));
    }
    return NULL;
}

void flush_start(struct open_files *t)
{
    pthread_mutex_init(&t->flush_lock, NULL);
    moment_cond_init(&t->flush_wanted);
    thread_start(&t->flusher, flusher_main, t);
}

void flush_stop(struct open_files *t)
{
    pthread_mutex_lock(&t->flush_lock);
    t->flush_stopping = true;
    pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
    pthread_join(t->flusher, NULL);
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
