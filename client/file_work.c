/* file_work.c: threads in the background: workers that put whole chunks and read ahead, and the flusher, which commits
 * what has been dirty for long and releases orphans. */
#include "base/check.h"
#include "base/mem.h"
#include "client/file_internal.h"

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
            struct block_buffer *block;
            if (!block_cache_has(t->cache, &job->id) && block_cache_get(t->cache, &job->id, t->stop, &block) == ERR_OK)
                block_buffer_unref(block);
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
        CHECK(pthread_create(&t->workers[n], NULL, worker_main, t) == 0);
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

void work_prefetch(struct open_files *t, const struct sha256 *id)
{
    if (block_cache_has(t->cache, id))
        return;
    struct prefetch *job = MEM_NEW(struct prefetch);
    job->id = *id;
    pthread_mutex_lock(&t->work_lock);
    bool room = t->prefetch_count < FILE_PREFETCH_QUEUE && !t->stopping;
    if (room) {
        t->prefetch_count++;
        list_push_back(&t->prefetches, &job->job);
        pthread_cond_signal(&t->work_there);
    }
    pthread_mutex_unlock(&t->work_lock);
    if (!room)
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
        bool due = dirty && (closed || clock_boot_ns() - i->dirty_since_ns > FILE_DIRTY_AGE_NS);
        pthread_mutex_unlock(&i->lock);
        any = any || dirty;
        if (due && inode_commit(i, t->stop) != ERR_OK)
            any = true; /* the error is kept for the handles, or it is tried again */
        inode_leave(i);
    }
    free(list);
    return any;
}

static void send_releases(struct open_files *t)
{
    uint64_t inos[LIMIT_OPEN_HINTS];
    for (;;) {
        unsigned count = 0;
        pthread_mutex_lock(&t->flush_lock);
        while (t->release_count > 0 && count < LIMIT_OPEN_HINTS)
            inos[count++] = t->releases[--t->release_count];
        pthread_mutex_unlock(&t->flush_lock);
        if (count == 0)
            return;
        struct meta_command command = {.op = META_RELEASE, .release = {.inos = inos, .count = count}};
        struct meta_reply reply;
        /* When it fails for good, the session's end releases them. */
        if (meta_client_call(t->meta, &command, t->stop, &reply) != ERR_OK)
            return;
    }
}

static void wait_for_work(struct open_files *t, bool any)
{
    pthread_mutex_lock(&t->flush_lock);
    if (!t->flush_stopping && t->release_count == 0) {
        if (any || t->flush_pending) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            int64_t at = (int64_t)until.tv_sec * NS_PER_S + until.tv_nsec + FLUSH_PERIOD_NS;
            until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
            pthread_cond_timedwait(&t->flush_wanted, &t->flush_lock, &until);
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
        send_releases(t);
        wait_for_work(t, flush_round(t));
    }
    send_releases(t);
    return NULL;
}

void flush_start(struct open_files *t)
{
    pthread_mutex_init(&t->flush_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->flush_wanted, &attr);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_create(&t->flusher, NULL, flusher_main, t) == 0);
}

void flush_stop(struct open_files *t)
{
    pthread_mutex_lock(&t->flush_lock);
    t->flush_stopping = true;
    pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
    pthread_join(t->flusher, NULL);
    free(t->releases);
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

void flush_release(struct open_files *t, uint64_t ino)
{
    pthread_mutex_lock(&t->flush_lock);
    if (t->release_count == t->release_capacity) {
        t->release_capacity = MAX(2 * t->release_capacity, 16u);
        t->releases = mem_realloc(t->releases, t->release_capacity * sizeof *t->releases);
    }
    t->releases[t->release_count++] = ino;
    pthread_cond_signal(&t->flush_wanted);
    pthread_mutex_unlock(&t->flush_lock);
}
