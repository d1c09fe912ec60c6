/* append.c: bytes that go to the end of file as it is when they are committed: one block, one command each.
 *
 * A write of up to 1 MiB is not to be interleaved with others, but the kernel may give it to us in two pieces: one
 * request holds 256 pages of the program's memory, which is less than 1 MiB of a buffer that doesn't begin with a page.
 * A piece that may be such a first one is therefore staged: answered, and placed together with the next, which comes at
 * once, or without it when something else is written here, or after a moment. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/file/internal.h"

#define PAGE_BYTES 4096u

struct piece {
    uint8_t *data; /* given away */
    size_t size;
    uint64_t session; /* in which it was written; 0: now */
    bool kill_set_id;
    bool was_staged; /* it holds all that is staged, which goes in the moment when it counts in the size */
};

static enum err ask_to_place(struct file_inode *i, struct meta_command *command, struct rpc_cancel *cancel,
                             struct meta_reply *ret)
{
    TRY(meta_client_call(i->files->meta, command, cancel, ret));
    return ret->status;
}

/* *ret_asked: the metastore was asked to place it, and after an error may have done so, or do it yet. */
static enum err place(struct file_inode *i, const struct piece *p, struct rpc_cancel *cancel, bool *ret_asked)
{
    struct block_buffer *block = block_buffer_new(p->data, p->size);
    struct meta_extent extent = {.length = p->size, .block = block->id};
    struct meta_command command = {.op = META_COMMIT,
                                   .session = p->session,
                                   .commit = {.ino = i->ino,
                                              .extents = &extent,
                                              .extent_count = 1,
                                              .append = true,
                                              .kill_set_id = p->kill_set_id,
                                              .has_mtime = true,
                                              .mtime_ns = clock_wall_ns()}};
    struct meta_reply reply;
    struct slice inlined[LIMIT_INLINE_BLOCKS];
    pthread_mutex_lock(&i->lock);
    uint64_t before = i->attr.version;
    pthread_mutex_unlock(&i->lock);
    enum err e = ERR_BUSY;
    if (inline_fits(i->files, &block, 1, inlined)) {
        command.commit.inlined = inlined;
        command.commit.inlined_count = 1;
        command.commit.epoch = UINT64_MAX;
        e = ask_to_place(i, &command, cancel, &reply);
        if (e == ERR_OK)
            inline_committed(i->files, &block, 1, &reply.attr);
        command.commit.inlined_count = 0;
    }
    /* Not with the command, since the metastore has refused it, or was not asked; or put too long ago: nothing was
     * placed, and it is put again. */
    while (e == ERR_BUSY || e == ERR_STALE_EPOCH) {
        command.seq = 0;
        command.commit.epoch = meta_client_epoch(i->files->meta);
        e = block_client_put_durable(i->files->blocks, &block, 1, cancel);
        if (e == ERR_OK)
            e = ask_to_place(i, &command, cancel, &reply);
    }
    if (e == ERR_OK) {
        block_cache_insert(i->files->cache, block);
        pthread_mutex_lock(&i->lock);
        if (p->was_staged)
            inode_drop_staged(i);
        extent.file_offset = reply.offset;
        inode_take_changes(i, &reply.attr, 1, &extent, 1);
        pthread_mutex_unlock(&i->lock);
        inode_own_change(i, before, 1, reply.attr.version);
        atomic_fetch_add(&i->files->commits, 1);
    }
    block_buffer_unref(block);
    *ret_asked = command.seq != 0;
    return e;
}

static enum err place_now(struct file_inode *i, const uint8_t *from, size_t size, bool kill_set_id,
                          struct rpc_cancel *cancel)
{
    bool asked;
    return place(i, &(struct piece){.data = mem_dup(from, size), .size = size, .kill_set_id = kill_set_id}, cancel,
                 &asked);
}

/* ---- staging; under the lock ---- */

static void stage(struct open_file *h, uint64_t offset, const uint8_t *from, size_t size, bool kill_set_id)
{
    struct file_inode *i = h->inode;
    CHECK(!i->staged);
    i->staged = mem_alloc(LIMIT_BLOCK_BYTES);
    memcpy(i->staged, from, size);
    i->staged_size = size;
    i->staged_kills = kill_set_id;
    i->staged_session = meta_client_last_session(i->files->meta);
    i->staged_end = offset + size;
    i->staged_by = h;
    i->staged_since_ns = clock_boot_ns();
    i->mtime_ns = clock_wall_ns();
    i->size = inode_size_now(i);
    atomic_fetch_add(&i->files->dirty_bytes, size);
}

static bool continues_staged(const struct open_file *h, uint64_t offset, size_t size)
{
    const struct file_inode *i = h->inode;
    return i->staged && !i->turn_taken && i->staged_by == h && i->staged_end == offset &&
           size <= LIMIT_BLOCK_BYTES - i->staged_size;
}

void inode_drop_staged(struct file_inode *i)
{
    free(i->staged);
    atomic_fetch_sub(&i->files->dirty_bytes, i->staged_size);
    i->staged = NULL;
    i->staged_size = 0;
    i->staged_by = NULL;
    i->size = inode_size_now(i);
    if (!inode_is_dirty(i))
        i->dirty_since_ns = 0;
    pthread_cond_broadcast(&i->changed);
}

/* What is staged is placed, with what comes behind it. Its writer has been told that it is written: it stays for
 * another try if nobody was asked yet; else, also when that was broken off and it may be there or not, it must not come
 * twice. With the turn, which ends. */
static enum err place_staged(struct file_inode *i, const uint8_t *from, size_t size, bool kill_set_id,
                             struct rpc_cancel *cancel)
{
    struct piece p = {.data = mem_alloc(i->staged_size + size),
                      .size = i->staged_size + size,
                      .session = i->staged_session,
                      .kill_set_id = kill_set_id || i->staged_kills,
                      .was_staged = true};
    bool asked;
    memcpy(p.data, i->staged, i->staged_size);
    if (size > 0)
        memcpy(p.data + i->staged_size, from, size);
    pthread_mutex_unlock(&i->lock);
    enum err e = place(i, &p, cancel, &asked);
    pthread_mutex_lock(&i->lock);
    bool stays = !asked && (e == ERR_CANCELLED || e == ERR_TIMEOUT);
    if (e != ERR_OK && !stays) {
        inode_drop_staged(i);
        inode_note_error(i, e);
    }
    inode_end_turn(i);
    return e;
}

enum err inode_append_staged(struct file_inode *i, bool at_once, struct rpc_cancel *cancel)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&i->lock);
    while (e == ERR_OK && !at_once && i->staged_by && clock_boot_ns() - i->staged_since_ns < FILE_STAGED_NS)
        e = inode_wait(i, cancel);
    bool there = i->staged;
    if (e == ERR_OK && there)
        e = inode_take_turn(i, cancel);
    if (!there || e != ERR_OK || !i->staged) {
        if (there && e == ERR_OK) /* whoever had the turn before has placed it */
            inode_end_turn(i);
        pthread_mutex_unlock(&i->lock);
        return e;
    }
    e = place_staged(i, NULL, 0, false, cancel);
    pthread_mutex_unlock(&i->lock);
    return e;
}

static enum err append(struct open_file *h, uint64_t offset, const uint8_t *from, size_t size, bool kill_set_id,
                       struct rpc_cancel *cancel)
{
    struct file_inode *i = h->inode;
    pthread_mutex_lock(&i->lock);
    if (continues_staged(h, offset, size)) {
        enum err e = inode_take_turn(i, cancel); /* it is free */
        if (e == ERR_OK)
            e = place_staged(i, from, size, kill_set_id, cancel);
        pthread_mutex_unlock(&i->lock);
        return e;
    }
    pthread_mutex_unlock(&i->lock);
    TRY(inode_append_staged(i, true, cancel));
    TRY(inode_commit(i, cancel)); /* what was written before is before it in the file too */
    TRY(inode_await_settled(i, cancel));
    bool may_go_on = size < LIMIT_BLOCK_BYTES && size > LIMIT_BLOCK_BYTES - PAGE_BYTES;
    if (!may_go_on)
        return place_now(i, from, size, kill_set_id, cancel);
    pthread_mutex_lock(&i->lock);
    bool staged = !i->staged;
    if (staged)
        stage(h, offset, from, size, kill_set_id);
    pthread_mutex_unlock(&i->lock);
    if (!staged)
        return place_now(i, from, size, kill_set_id, cancel);
    flush_wake(i->files);
    return ERR_OK;
}

enum err file_append(struct open_file *h, uint64_t offset, const uint8_t *from, size_t size, bool kill_set_id,
                     struct rpc_cancel *cancel)
{
    while (size > 0) {
        size_t piece = MIN(size, (size_t)LIMIT_BLOCK_BYTES);
        TRY(append(h, offset, from, piece, kill_set_id, cancel));
        offset += piece;
        from += piece;
        size -= piece;
    }
    return ERR_OK;
}
