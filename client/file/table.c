/* table.c: open inodes: opening, closing, what is known of them, unlinks. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define LOG_MODULE "file"
#include "base/log.h"

/* What is read from the kernel's pages is not seen here. For the first read after a change they are dropped, unless
 * there are so many that reading them again costs more than to take the open for the read. */
#define REREAD_BYTES LIMIT_BLOCK_BYTES
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
    t->cache = block_cache_new(blocks, t->options.disk, t->options.cache_bytes);
    t->stop = rpc_cancel_new();
    t->now = rpc_cancel_new();
    rpc_cancel_fire(t->now);
    pthread_mutex_init(&t->lock, NULL);
    moment_cond_init(&t->changed);
    list_init(&t->creates);
    list_init(&t->idle);
    list_init(&t->open);
    t->mover = inline_mover_new(meta, blocks, t->stop, t->options.inline_look_ns);
    work_start(t);
    flush_start(t);
    atime_start(t);
    if (t->options.merge_after_ns > 0)
        t->upkeep = extent_upkeep_new(t, t->options.merge_after_ns);
    return t;
}

static void inode_free(struct file_inode *i)
{
    free(i->staged);
    dirty_clear(&i->dirty);
    dirty_clear(&i->committing);
    for (struct list_node *n; (n = list_pop_front(&i->full)) || (n = list_pop_front(&i->full_committing));)
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
    while (!a->over && clock_boot_ns() < a->at_ns)
        moment_wait_for(&a->ended, &a->lock, a->at_ns - clock_boot_ns());
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
    moment_cond_init(&a->ended);
    thread_start(&a->thread, alarm_main, a);
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
    extent_upkeep_free(t->upkeep);
    flush_stop(t); /* what it has in hand ends when `stop` fires */
    size_t at = 0;
    uint64_t ino;
    void *value;
    while (map_u64_next(&t->inodes, &at, &ino, &value)) {
        struct file_inode *i = value;
        pthread_mutex_lock(&i->lock);
        bool dirty = inode_is_dirty(i);
        pthread_mutex_unlock(&i->lock);
        if (dirty)
            log_error("inode %llu: written data could not be committed and is lost", (unsigned long long)ino);
    }
    atime_stop(t);
    inline_mover_free(t->mover);
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
    map_u64_free(&t->orphans);
    block_cache_free(t->cache);
    rpc_cancel_free(t->stop);
    rpc_cancel_free(t->now);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

bool inode_is_dirty(const struct file_inode *i)
{
    return !dirty_empty(&i->dirty) || !list_empty(&i->full) || !dirty_empty(&i->committing) ||
           !list_empty(&i->full_committing) || i->staged;
}

/* ---- the table; functions with `_locked` run under its lock ---- */

static struct file_inode *make_locked(struct open_files *t, uint64_t ino)
{
    struct file_inode *i = MEM_NEW(struct file_inode);
    i->files = t;
    i->ino = ino;
    pthread_mutex_init(&i->lock, NULL);
    moment_cond_init(&i->changed);
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

struct file_inode *inode_use(struct open_files *t, uint64_t ino)
{
    pthread_mutex_lock(&t->lock);
    struct file_inode *i = map_u64_get(&t->inodes, ino);
    if (!i)
        i = make_locked(t, ino);
    leave_idle_locked(t, i);
    i->users++;
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
        dirty = inode_is_dirty(i) || i->left.seq != 0;
        orphan = i->orphan;
        pthread_mutex_unlock(&i->lock);
    }
    /* What is dirty, or not known yet, stays for the flusher. */
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

/* ---- open and close ---- */

static void on_orphaned(struct open_files *t, uint64_t ino);

void file_notice(struct open_files *t, const struct meta_notice *notice)
{
    if (notice->kind == META_NOTICE_ORPHANED) {
        on_orphaned(t, notice->ino);
        return;
    }
    struct file_inode *i = inode_find(t, notice->ino);
    if (!i)
        return;
    if (notice->kind == META_NOTICE_REWRITTEN) {
        pthread_mutex_lock(&i->lock);
        i->changes++; /* the next read asks; nobody else has written or looks at it */
        pthread_mutex_unlock(&i->lock);
        inode_leave(i);
        return;
    }
    pthread_mutex_lock(&t->lock);
    bool is_open = i->handles > 0;
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_lock(&i->lock);
    if (notice->kind == META_NOTICE_CHANGED)
        i->changes++, i->refresh = is_open;
    i->eager_until_ns = clock_boot_ns() + FILE_EAGER_NS;
    pthread_mutex_unlock(&i->lock);
    inode_leave(i);
    if (is_open)
        flush_soon(t);
}

/* A reference for an open. From here on it counts as open. */
static struct file_inode *enter(struct open_files *t, uint64_t ino)
{
    struct file_inode *i = inode_use(t, ino);
    pthread_mutex_lock(&t->lock);
    t->open_count += i->handles++ == 0;
    pthread_mutex_unlock(&t->lock);
    return i;
}

void inode_discard(struct file_inode *i, struct rpc_cancel *cancel)
{
    if (!inode_is_dirty(i) || inode_take_turn(i, cancel) != ERR_OK)
        return;
    enum err e = inode_drop_dirty(i, cancel);
    if (e != ERR_OK)
        log_debug("inode %llu: %s", (unsigned long long)i->ino, err_message(e));
    inode_end_turn(i);
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
    if (i->orphan)
        inode_discard(i, t->now);
    bool left = i->orphan && inode_is_dirty(i); /* block servers have it in hand, and may not answer */
    pthread_mutex_unlock(&i->lock);
    if (left)
        flush_soon(t);
}

/* May it be about to be opened? Until then the leader isn't told that it isn't open here. Under the table's lock. */
static bool is_looked_up(const struct open_files *t, uint64_t ino)
{
    const struct looked_up *l = &t->looked_up[ino % LOOKED_UP_MAX];
    return l->ino == ino && clock_boot_ns() < l->until_ns;
}

enum err file_open(struct open_files *t, uint64_t ino, int flags, const struct meta_attr *fresh,
                   struct rpc_cancel *cancel, struct open_file **ret, bool *ret_keep_cache)
{
    struct file_inode *i = enter(t, ino);
    bool writer = (flags & O_ACCMODE) != O_RDONLY;
    enum err e = ERR_OK;
    if (fresh) {
        pthread_mutex_lock(&i->lock);
        inode_take_attr(i, fresh);
        if (fresh->size == 0 && i->attr.version == fresh->version)
            layout_learn(&i->layout, 0, UINT64_MAX, NULL, 0);
        pthread_mutex_unlock(&i->lock);
    } else if (writer || !inode_is_current(i)) {
        e = inode_ask_open(i, writer, cancel);
    }
    /* An unlinked one only where it is open already, or about to be: this mount may have told the leader that it isn't.
     * It counts as open since enter(), so what holds now holds on. */
    pthread_mutex_lock(&t->lock);
    bool looked_up = is_looked_up(t, ino);
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_lock(&i->lock);
    if (e == ERR_OK && !fresh && i->attr.nlink == 0 && i->opens == 0 && !looked_up)
        e = ERR_STALE;
    i->opens += e == ERR_OK;
    pthread_mutex_unlock(&i->lock);
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
    i->writers += writer;
    uint64_t version = i->attr.version, size = i->attr.size;
    bool atime = (flags & O_ACCMODE) != O_WRONLY && atime_is_due(h);
    pthread_mutex_unlock(&i->lock);
    uint64_t old;
    bool keep = exchange_kernel_version(t, ino, version, &old) && old == version;
    if (keep && atime && size <= REREAD_BYTES) {
        keep = false;
    } else if (keep && atime) {
        pthread_mutex_lock(&i->lock);
        atime_note(h);
        pthread_mutex_unlock(&i->lock);
    }
    *ret_keep_cache = keep;
    *ret = h;
    return ERR_OK;
}

void file_close(struct open_file *h)
{
    struct file_inode *i = h->inode;
    pthread_mutex_lock(&i->lock);
    bool dirty = inode_is_dirty(i);
    i->writers -= (h->flags & O_ACCMODE) != O_RDONLY;
    i->opens--;
    if (i->staged_by == h)
        i->staged_by = NULL;
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

void open_file_attr(const struct open_file *h, struct meta_attr *ret)
{
    struct file_inode *i = h->inode;
    pthread_mutex_lock(&i->lock);
    *ret = i->attr;
    pthread_mutex_unlock(&i->lock);
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
    if (attr->ctime_ns == i->read_ctime_ns)
        attr->atime_ns = MAX(attr->atime_ns, i->read_ns);
    if (inode_is_dirty(i)) {
        attr->size = MAX(attr->size, i->size);
        attr->mtime_ns = i->mtime_ns;
        attr->ctime_ns = MAX(attr->ctime_ns, i->mtime_ns);
        if (i->kill_set_id || i->kill_committing)
            attr->mode &= ~(uint32_t)(attr->mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
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

/* ---- unlinked inodes ---- */

void file_create_begin(struct open_files *t, struct file_create *c)
{
    list_node_init(&c->node);
    pthread_mutex_lock(&t->lock);
    c->serial = ++t->serial;
    list_push_back(&t->creates, &c->node);
    pthread_mutex_unlock(&t->lock);
}

void file_create_end(struct open_files *t, struct file_create *c)
{
    pthread_mutex_lock(&t->lock);
    list_remove(&c->node);
    pthread_mutex_unlock(&t->lock);
}

void file_looked_up(struct open_files *t, struct file_create *c, uint64_t ino)
{
    pthread_mutex_lock(&t->lock);
    list_remove(&c->node);
    t->looked_up[ino % LOOKED_UP_MAX] = (struct looked_up){.ino = ino, .until_ns = clock_boot_ns() + FILE_LOOKED_UP_NS};
    pthread_mutex_unlock(&t->lock);
}

static void on_orphaned(struct open_files *t, uint64_t ino)
{
    struct file_inode *i = inode_find(t, ino);
    if (i) {
        pthread_mutex_lock(&i->lock);
        i->orphan = true;
        bool dirty = inode_is_dirty(i);
        pthread_mutex_unlock(&i->lock);
        inode_leave(i);
        if (dirty)
            flush_wake(t);
    }
    pthread_mutex_lock(&t->lock);
    map_u64_put(&t->orphans, ino, (void *)(uintptr_t)++t->serial);
    pthread_mutex_unlock(&t->lock);
}

unsigned file_closed_orphans(struct open_files *t, uint64_t *inos, unsigned max)
{
    unsigned count = 0;
    size_t at = 0;
    uint64_t ino;
    void *value;
    pthread_mutex_lock(&t->lock);
    struct list_node *oldest = list_first(&t->creates);
    uint64_t create = oldest ? container_of(oldest, struct file_create, node)->serial : UINT64_MAX;
    while (count < max && map_u64_next(&t->orphans, &at, &ino, &value)) {
        const struct file_inode *i = map_u64_get(&t->inodes, ino);
        if (create > (uintptr_t)value && (!i || i->handles == 0) && !is_looked_up(t, ino))
            inos[count++] = ino;
    }
    for (unsigned n = 0; n < count; n++)
        map_u64_remove(&t->orphans, inos[n]);
    pthread_mutex_unlock(&t->lock);
    return count;
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
    if (t->options.disk)
        disk_cache_stats(t->options.disk, &ret->disk);
    if (t->upkeep)
        extent_upkeep_stats(t->upkeep, &ret->upkeep);
}
