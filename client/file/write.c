/* write.c: written bytes gather in chunks; whole ones are on their way while writing goes on. */
#include <fcntl.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/file/internal.h"

void full_chunk_free(struct full_chunk *f)
{
    block_buffer_unref(f->block);
    free(f->data);
    free(f);
}

/* A chunk was written from end to end: it becomes a block. Under the lock. */
static void make_full(struct file_inode *i, struct dirty_chunk *c)
{
    struct open_files *t = i->files;
    dirty_take(&i->dirty, c);
    struct full_chunk *f = MEM_NEW(struct full_chunk);
    f->inode = i;
    f->index = c->index;
    f->data = c->data;
    c->data = NULL;
    dirty_chunk_free(c);
    list_node_init(&f->job);
    list_push_back(&i->full, &f->node);
    if (!i->tracker)
        i->tracker = block_tracker_new(t->blocks);
    i->puts++;
    f->queued = true;
    work_put(t, f);
}

static enum err write_piece(struct file_inode *i, uint64_t offset, const uint8_t *from, size_t size, bool kill_set_id,
                            struct rpc_cancel *cancel)
{
    pthread_mutex_lock(&i->lock);
    enum err e = ERR_OK;
    while (e == ERR_OK && i->puts >= FILE_PUTS_PER_INODE)
        e = inode_wait(i, cancel);
    if (e != ERR_OK) {
        pthread_mutex_unlock(&i->lock);
        return e;
    }
    uint64_t before = i->dirty.bytes;
    bool was_clean = i->dirty_since_ns == 0, first = dirty_empty(&i->dirty) && list_empty(&i->full);
    struct dirty_chunk *c = dirty_write(&i->dirty, offset, from, size);
    atomic_fetch_add(&i->files->dirty_bytes, i->dirty.bytes - before);
    i->size = MAX(i->size, offset + size);
    i->mtime_ns = clock_wall_ns();
    i->kill_set_id = i->kill_set_id || kill_set_id;
    bool eager = clock_boot_ns() < i->eager_until_ns;
    if (was_clean)
        i->dirty_since_ns = clock_boot_ns();
    if (first) /* what is being committed has a session of its own, which may be over */
        i->session = meta_client_last_session(i->files->meta);
    bool full = dirty_chunk_is_full(c);
    if (full)
        make_full(i, c);
    pthread_mutex_unlock(&i->lock);
    if (full && inode_is_pressed(i))
        flush_soon(i->files);
    if (was_clean && eager)
        flush_soon(i->files);
    else if (was_clean)
        flush_wake(i->files);
    return ERR_OK;
}

enum err file_write_as(struct open_file *h, uint64_t offset, const void *from, size_t size, unsigned flags,
                       struct rpc_cancel *cancel)
{
    struct file_inode *i = h->inode;
    bool kill_set_id = flags & FILE_WRITE_KILL_SET_ID;
    if ((h->flags & O_ACCMODE) == O_RDONLY)
        return ERR_BADF;
    if (atomic_load(&h->refused))
        return ERR_IO;
    if (size > META_SIZE_MAX || offset > META_SIZE_MAX - size)
        return ERR_FBIG;
    if (flags & FILE_WRITE_APPEND)
        return file_append(h, offset, from, size, kill_set_id, cancel);
    const uint8_t *at = from;
    TRY(inode_append_staged(i, true, cancel));
    pthread_mutex_lock(&i->lock);
    h->wrote = true;
    pthread_mutex_unlock(&i->lock);
    while (size > 0) {
        size_t piece = MIN(size, (size_t)(CHUNK_BYTES - offset % CHUNK_BYTES));
        TRY(write_piece(i, offset, at, piece, kill_set_id, cancel));
        offset += piece;
        at += piece;
        size -= piece;
    }
    /* Back-pressure: who writes faster than the servers take it commits himself. */
    if (atomic_load(&i->files->dirty_bytes) > i->files->options.dirty_bytes)
        TRY(inode_commit(i, cancel));
    return ERR_OK;
}

enum err file_write(struct open_file *h, uint64_t offset, const void *from, size_t size, struct rpc_cancel *cancel)
{
    return file_write_as(h, offset, from, size, h->flags & O_APPEND ? FILE_WRITE_APPEND : 0, cancel);
}

/* The error of a background commit, once for each handle. Under the lock. */
static enum err take_error(struct open_file *h)
{
    struct file_inode *i = h->inode;
    if (h->errors_seen == i->error_count)
        return ERR_OK;
    h->errors_seen = i->error_count;
    return i->error;
}

static enum err commit_and_report(struct open_file *h, bool skip_orphans, struct rpc_cancel *cancel)
{
    struct file_inode *i = h->inode;
    pthread_mutex_lock(&i->lock);
    bool needed = inode_is_dirty(i) && !(skip_orphans && i->orphan), own = i->staged_by == h;
    enum err e = needed ? ERR_OK : take_error(h);
    pthread_mutex_unlock(&i->lock);
    if (!needed)
        return e;
    e = own ? inode_append_staged(i, true, cancel) : ERR_OK;
    if (e == ERR_OK)
        e = inode_commit(i, cancel);
    pthread_mutex_lock(&i->lock);
    enum err earlier = take_error(h);
    pthread_mutex_unlock(&i->lock);
    return e != ERR_OK ? e : earlier;
}

enum err file_fsync(struct open_file *h, struct rpc_cancel *cancel)
{
    return commit_and_report(h, false, cancel);
}

enum err file_flush(struct open_file *h, struct rpc_cancel *cancel)
{
    /* Nobody can open an unlinked file again: its bytes need not outlive this mount. */
    return commit_and_report(h, true, cancel);
}
