/* file_table.c: open inodes: opening, closing, what is known of them, unlinks. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/file_internal.h"
#include "client/moment.h"

#define LOG_MODULE "file"
#include "base/log.h"

#define KERNEL_VERSIONS_MAX 65536u
#define DEFAULT_CACHE_BYTES ((size_t)256 * MIB)
#define DEFAULT_DIRTY_BYTES ((size_t)256 * MIB)
#define DEFAULT_READAHEAD_BYTES ((size_t)8 * MIB)

struct open_files *open_files_new(struct meta_client *meta, struct block_client *blocks,
                                  const struct file_options *options)
{
    struct open_files *t = MEM_NEW(struct open_files);
    t->meta = meta;
    t->blocks = blocks;
    t->options = *options;
    if (t->options.cache_bytes == 0)
        t->options.cache_bytes = DEFAULT_CACHE_BYTES;
    if (t->options.dirty_bytes == 0)
        t->options.dirty_bytes = DEFAULT_DIRTY_BYTES;
    if (t->options.readahead_bytes == 0)
        t->options.readahead_bytes = DEFAULT_READAHEAD_BYTES;
    t->cache = block_cache_new(blocks, t->options.cache_bytes);
    t->stop = rpc_cancel_new();
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&t->unlinks);
    list_init(&t->idle);
    list_init(&t->open);
    work_start(t);
    flush_start(t);
    return t;
}

static void inode_free(struct file_inode *i)
{
    dirty_clear(&i->dirty);
    dirty_clear(&i->committing);
    for (struct list_node *n; (n = list_pop_front(&i->full));)
        full_chunk_free(container_of(n, struct full_chunk, node));
    layout_free(&i->layout);
    block_tracker_free(i->tracker);
    pthread_cond_destroy(&i->changed);
    pthread_mutex_destroy(&i->lock);
    free(i);
}

/* Fires a cancel at a time, unless it is told before that this is over. */
struct alarm {
    struct rpc_cancel *cancel;
    int64_t at_ns;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over; /* protected by lock */
    pthread_t thread;
};

static void *alarm_main(void *p)
{
    struct alarm *a = p;
    pthread_mutex_lock(&a->lock);
    while (!a->over && clock_boot_ns() < a->at_ns) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t at = (int64_t)until.tv_sec * NS_PER_S + until.tv_nsec + (a->at_ns - clock_boot_ns());
        until = (struct timespec){.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
        pthread_cond_timedwait(&a->ended, &a->lock, &until);
    }
    bool over = a->over;
    pthread_mutex_unlock(&a->lock);
    if (!over)
        rpc_cancel_fire(a->cancel);
    return NULL;
}

static void alarm_set(struct alarm *a, struct rpc_cancel *cancel, int64_t timeout_ns)
{
    *a = (struct alarm){.cancel = cancel, .at_ns = clock_boot_ns() + timeout_ns};
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->ended, &attr);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_create(&a->thread, NULL, alarm_main, a) == 0);
}

static void alarm_end(struct alarm *a)
{
    pthread_mutex_lock(&a->lock);
    a->over = true;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->ended);
    pthread_mutex_destroy(&a->lock);
}

void open_files_free(struct open_files *t, int64_t timeout_ns)
{
    if (!t)
        return;
    struct alarm alarm;
    alarm_set(&alarm, t->stop, timeout_ns);
    flush_stop(t); /* what it has in hand ends when `stop` fires */
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&t->inodes, &at, &ino, &value)) {
        struct file_inode *i = value;
        pthread_mutex_lock(&i->lock);
        bool dirty = inode_is_dirty(i);
        pthread_mutex_unlock(&i->lock);
        if (dirty && inode_commit(i, t->stop) != ERR_OK)
            log_error("inode %llu: written data could not be committed and is lost", (unsigned long long)ino);
    }
    alarm_end(&alarm);
    rpc_cancel_fire(t->stop);
    work_stop(t);
    /* Handles that the kernel did not get round to release. */
    for (struct list_node *n; (n = list_pop_front(&t->open));)
        free(container_of(n, struct open_file, node));
    at = 0;
    while (map_u64_next(&t->inodes, &at, &ino, &value))
        inode_free(value);
    map_u64_free(&t->inodes);
    map_u64_free(&t->kernel_versions);
    block_cache_free(t->cache);
    rpc_cancel_free(t->stop);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

bool inode_is_dirty(const struct file_inode *i)
{
    return !dirty_empty(&i->dirty) || !list_empty(&i->full) || !dirty_empty(&i->committing) ||
           !list_empty(&i->full_committing);
}

/* ---- the table; functions with `_locked` run under its lock ---- */

static struct file_inode *make_locked(struct open_files *t, uint64_t ino)
{
    struct file_inode *i = MEM_NEW(struct file_inode);
    i->files = t;
    i->ino = ino;
    pthread_mutex_init(&i->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&i->changed, &attr);
    pthread_condattr_destroy(&attr);
    dirty_init(&i->dirty);
    dirty_init(&i->committing);
    list_init(&i->full);
    list_init(&i->full_committing);
    list_node_init(&i->idle);
    map_u64_put(&t->inodes, ino, i);
    return i;
}

static void leave_idle_locked(struct open_files *t, struct file_inode *i)
{
    if (list_linked(&i->idle)) {
        list_remove(&i->idle);
        t->idle_count--;
    }
}

static void drop_locked(struct open_files *t, struct file_inode *i)
{
    leave_idle_locked(t, i);
    map_u64_remove(&t->inodes, i->ino);
    inode_free(i);
}

struct file_inode *inode_find(struct open_files *t, uint64_t ino)
{
    pthread_mutex_lock(&t->lock);
    struct file_inode *i = map_u64_get(&t->inodes, ino);
    if (i) {
        leave_idle_locked(t, i);
        i->users++;
    }
    pthread_mutex_unlock(&t->lock);
    return i;
}

void inode_leave(struct file_inode *i)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    CHECK(i->users > 0);
    i->users--;
    bool unused = i->users == 0 && i->handles == 0, dirty = false, orphan = false;
    if (unused) {
        pthread_mutex_lock(&i->lock);
        dirty = inode_is_dirty(i);
        orphan = i->orphan;
        pthread_mutex_unlock(&i->lock);
    }
    /* What is dirty stays for the flusher. */
    if (unused && !dirty) {
        if (orphan) {
            drop_locked(t, i);
        } else {
            list_push_back(&t->idle, &i->idle);
            t->idle_count++;
            while (t->idle_count > FILE_IDLE_INODES)
                drop_locked(t, container_of(list_first(&t->idle), struct file_inode, idle));
        }
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- versions ---- */

/* What the kernel's pages were of; 0: not known. From now on they are of `version`. */
static bool exchange_kernel_version(struct open_files *t, uint64_t ino, uint64_t version, uint64_t *ret_old)
{
    pthread_mutex_lock(&t->lock);
    uintptr_t old = (uintptr_t)map_u64_get(&t->kernel_versions, ino);
    if (!old && t->kernel_versions.count >= KERNEL_VERSIONS_MAX)
        map_u64_free(&t->kernel_versions); /* forgetting costs a re-read at most */
    map_u64_put(&t->kernel_versions, ino, (void *)(uintptr_t)(version + 1));
    pthread_mutex_unlock(&t->lock);
    *ret_old = old ? old - 1 : 0;
    return old != 0;
}

void inode_own_change(struct file_inode *i, uint64_t before, unsigned changes, uint64_t version)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    uintptr_t old = (uintptr_t)map_u64_get(&t->kernel_versions, i->ino);
    bool undisturbed = old == before + 1 && version == before + changes;
    if (undisturbed)
        map_u64_put(&t->kernel_versions, i->ino, (void *)(uintptr_t)(version + 1));
    else
        map_u64_remove(&t->kernel_versions, i->ino);
    pthread_mutex_unlock(&t->lock);
    if (old && !undisturbed && t->options.on_stale)
        t->options.on_stale(t->options.context, i->ino);
}

void inode_take_attr(struct file_inode *i, const struct meta_attr *attr)
{
    if (attr->version < i->attr.version)
        return; /* an answer that was overtaken */
    if (attr->version != i->attr.version || attr->content_id != i->attr.content_id)
        layout_forget(&i->layout);
    i->attr = *attr;
    i->size = attr->size;
    if (!dirty_empty(&i->dirty))
        i->size = MAX(i->size, dirty_end(&i->dirty));
    if (!dirty_empty(&i->committing))
        i->size = MAX(i->size, dirty_end(&i->committing));
    struct list *lists[] = {&i->full, &i->full_committing};
    for (unsigned l = 0; l < 2; l++)
        list_for_each (n, lists[l]) {
            uint64_t end = (container_of(n, struct full_chunk, node)->index + 1) * CHUNK_BYTES;
            i->size = MAX(i->size, end);
        }
}

/* ---- open and close ---- */

static enum err ask_open(struct file_inode *i, struct rpc_cancel *cancel)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_OPEN, .ino = i->ino, .max_count = 64};
    struct meta_query_reply reply;
    enum err e = meta_client_query(i->files->meta, &query, cancel, &a, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK && !reply.has_attr)
        e = ERR_PROTOCOL;
    if (e == ERR_OK) {
        pthread_mutex_lock(&i->lock);
        inode_take_attr(i, &reply.attr);
        if (reply.attr.version == i->attr.version) {
            uint64_t known = UINT64_MAX;
            if (!reply.end)
                known = reply.extent_count ? reply.extents[reply.extent_count - 1].file_offset +
                                                 reply.extents[reply.extent_count - 1].length
                                           : 0;
            layout_forget(&i->layout);
            layout_learn(&i->layout, 0, known, reply.extents, reply.extent_count);
        }
        pthread_mutex_unlock(&i->lock);
    }
    arena_free(&a);
    return e;
}

struct unlink_under_way {
    struct list_node node;
    pthread_t thread; /* begin and end are called by the same one */
    uint64_t serial;
};

static bool unlinks_before_locked(struct open_files *t, uint64_t serial)
{
    struct list_node *oldest = list_first(&t->unlinks);
    return oldest && container_of(oldest, struct unlink_under_way, node)->serial < serial;
}

/* With the table's lock, which is released meanwhile: waits a moment at most. */
static enum err table_wait(struct open_files *t, struct rpc_cancel *cancel)
{
    return moment_wait(&t->changed, &t->lock, cancel);
}

/* A reference for an open. Unlinks that began before the inode was open here have not named it: their outcome comes
 * first. Those that begin later do. */
static enum err enter(struct open_files *t, uint64_t ino, bool fresh, struct rpc_cancel *cancel,
                      struct file_inode **ret)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&t->lock);
    struct file_inode *i = map_u64_get(&t->inodes, ino);
    if (!i)
        i = make_locked(t, ino);
    leave_idle_locked(t, i);
    i->users++;
    if (i->handles++ == 0) {
        t->open_count++;
        i->entered = ++t->serial;
    }
    while (e == ERR_OK && !fresh && unlinks_before_locked(t, i->entered))
        e = table_wait(t, cancel);
    pthread_mutex_unlock(&t->lock);
    *ret = i;
    return e;
}

static void exit_handle(struct file_inode *i)
{
    struct open_files *t = i->files;
    pthread_mutex_lock(&t->lock);
    CHECK(i->handles > 0);
    i->handles--;
    bool last = i->handles == 0;
    t->open_count -= last;
    pthread_mutex_unlock(&t->lock);
    if (!last)
        return;
    pthread_mutex_lock(&i->lock);
    bool orphan = i->orphan;
    if (orphan && inode_is_dirty(i) && inode_take_turn(i, t->stop) == ERR_OK) {
        enum err e = inode_drop_dirty(i, t->stop); /* nobody will ever read it */
        if (e != ERR_OK)
            log_debug("inode %llu: %s", (unsigned long long)i->ino, err_message(e));
        inode_end_turn(i);
    }
    pthread_mutex_unlock(&i->lock);
    if (orphan)
        flush_release(t, i->ino);
}

enum err file_open(struct open_files *t, uint64_t ino, int flags, const struct meta_attr *fresh,
                   struct rpc_cancel *cancel, struct open_file **ret, bool *ret_keep_cache)
{
    struct file_inode *i;
    enum err e = enter(t, ino, fresh != NULL, cancel, &i);
    if (e == ERR_OK && fresh) {
        pthread_mutex_lock(&i->lock);
        inode_take_attr(i, fresh);
        if (fresh->size == 0 && i->attr.version == fresh->version)
            layout_learn(&i->layout, 0, UINT64_MAX, NULL, 0);
        pthread_mutex_unlock(&i->lock);
    } else if (e == ERR_OK) {
        e = ask_open(i, cancel);
    }
    if (e != ERR_OK) {
        exit_handle(i);
        inode_leave(i);
        return e;
    }
    struct open_file *h = MEM_NEW(struct open_file);
    h->inode = i;
    h->flags = flags;
    pthread_mutex_lock(&t->lock);
    list_push_back(&t->open, &h->node);
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_lock(&i->lock);
    h->errors_seen = i->error_count;
    uint64_t version = i->attr.version;
    pthread_mutex_unlock(&i->lock);
    uint64_t old;
    *ret_keep_cache = exchange_kernel_version(t, ino, version, &old) && old == version;
    *ret = h;
    return ERR_OK;
}

void file_close(struct open_file *h)
{
    struct file_inode *i = h->inode;
    pthread_mutex_lock(&i->lock);
    bool dirty = inode_is_dirty(i);
    pthread_mutex_unlock(&i->lock);
    if (dirty)
        flush_wake(i->files);
    pthread_mutex_lock(&i->files->lock);
    list_remove(&h->node);
    pthread_mutex_unlock(&i->files->lock);
    exit_handle(i);
    inode_leave(i);
    free(h);
}

uint64_t open_file_ino(const struct open_file *h)
{
    return h->inode->ino;
}

/* ---- attributes ---- */

void file_overlay_attr(struct open_files *t, struct meta_attr *attr)
{
    struct file_inode *i = inode_find(t, attr->ino);
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    /* The answer may have been overtaken by a commit of our own. */
    if (i->attr.version > attr->version) {
        attr->size = i->attr.size;
        attr->mtime_ns = i->attr.mtime_ns;
        attr->ctime_ns = MAX(attr->ctime_ns, i->attr.ctime_ns);
        attr->version = i->attr.version;
        attr->allocated = i->attr.allocated;
        attr->content_id = i->attr.content_id;
    } else if (i->attr.version < attr->version) {
        inode_take_attr(i, attr); /* what the kernel learns now, its reads must find */
    }
    if (inode_is_dirty(i)) {
        attr->size = MAX(attr->size, i->size);
        attr->mtime_ns = i->mtime_ns;
        attr->ctime_ns = MAX(attr->ctime_ns, i->mtime_ns);
    }
    pthread_mutex_unlock(&i->lock);
    inode_leave(i);
}

enum err file_commit_ino(struct open_files *t, uint64_t ino, struct rpc_cancel *cancel)
{
    struct file_inode *i = inode_find(t, ino);
    if (!i)
        return ERR_OK;
    enum err e = inode_commit(i, cancel);
    inode_leave(i);
    return e;
}

static enum err truncate_open(struct file_inode *i, struct meta_command *setattr, struct rpc_cancel *cancel,
                              struct meta_reply *ret)
{
    if (setattr->setattr.size > 0)
        TRY(inode_commit(i, cancel));
    pthread_mutex_lock(&i->lock);
    enum err e = inode_take_turn(i, cancel);
    if (e != ERR_OK) {
        pthread_mutex_unlock(&i->lock);
        return e;
    }
    if (setattr->setattr.size == 0) {
        e = inode_drop_dirty(i, cancel);
        if (e != ERR_OK) {
            inode_end_turn(i);
            pthread_mutex_unlock(&i->lock);
            return e;
        }
    }
    uint64_t before = i->attr.version;
    pthread_mutex_unlock(&i->lock);
    e = meta_client_call(i->files->meta, setattr, cancel, ret);
    pthread_mutex_lock(&i->lock);
    bool done = e == ERR_OK && (ret->status == ERR_OK || ret->status == ERR_PARTIAL) && ret->has_attr;
    if (done) {
        inode_take_attr(i, &ret->attr);
        if (setattr->setattr.size == 0 && i->attr.version == ret->attr.version)
            layout_learn(&i->layout, 0, UINT64_MAX, NULL, 0);
    } else {
        layout_forget(&i->layout);
        i->size = MAX(i->attr.size, dirty_end(&i->dirty));
    }
    inode_end_turn(i);
    pthread_mutex_unlock(&i->lock);
    if (done)
        inode_own_change(i, before, 1, ret->attr.version);
    return e;
}

enum err file_truncate(struct open_files *t, struct meta_command *setattr, struct rpc_cancel *cancel,
                       struct meta_reply *ret)
{
    struct file_inode *i = inode_find(t, setattr->setattr.ino);
    if (!i)
        return meta_client_call(t->meta, setattr, cancel, ret);
    enum err e = truncate_open(i, setattr, cancel, ret);
    inode_leave(i);
    return e;
}

/* ---- unlinks ---- */

bool file_unlinks_begin(struct open_files *t, uint64_t inos[LIMIT_OPEN_HINTS], unsigned *ret_count)
{
    struct unlink_under_way *u = MEM_NEW(struct unlink_under_way);
    u->thread = pthread_self();
    pthread_mutex_lock(&t->lock);
    u->serial = ++t->serial;
    list_push_back(&t->unlinks, &u->node);
    bool fits = t->open_count <= LIMIT_OPEN_HINTS;
    unsigned count = 0;
    size_t at = 0;
    uint64_t ino;
    void *value;
    /* Mostly few are open: they are worth finding among the idle ones only when there are any. */
    while (fits && count < t->open_count && map_u64_next(&t->inodes, &at, &ino, &value))
        if (((struct file_inode *)value)->handles > 0)
            inos[count++] = ino;
    pthread_mutex_unlock(&t->lock);
    *ret_count = count;
    return fits;
}

void file_unlinks_end(struct open_files *t, uint64_t orphan_ino)
{
    bool release = orphan_ino != 0;
    struct file_inode *i = orphan_ino ? inode_find(t, orphan_ino) : NULL;
    if (i) {
        pthread_mutex_lock(&i->lock);
        i->orphan = true;
        pthread_mutex_unlock(&i->lock);
        pthread_mutex_lock(&t->lock);
        bool is_open = i->handles > 0;
        pthread_mutex_unlock(&t->lock);
        /* Closed meanwhile: then exit_handle has not seen the mark. If it was closed just now, both say so; releasing
         * twice is harmless. */
        release = !is_open;
        inode_leave(i);
    }
    struct unlink_under_way *mine = NULL;
    pthread_mutex_lock(&t->lock);
    list_for_each (n, &t->unlinks) {
        struct unlink_under_way *u = container_of(n, struct unlink_under_way, node);
        if (pthread_equal(u->thread, pthread_self()))
            mine = u;
    }
    CHECK(mine);
    list_remove(&mine->node);
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    free(mine);
    if (release)
        flush_release(t, orphan_ino);
}

void file_stats(struct open_files *t, struct file_stats *ret)
{
    struct block_cache_stats cache;
    block_cache_stats(t->cache, &cache);
    pthread_mutex_lock(&t->lock);
    *ret = (struct file_stats){.cache_bytes = cache.bytes,
                               .dirty_bytes = atomic_load(&t->dirty_bytes),
                               .open_inodes = t->open_count,
                               .cache_hits = cache.hits,
                               .cache_misses = cache.misses,
                               .commits = atomic_load(&t->commits)};
    pthread_mutex_unlock(&t->lock);
}
