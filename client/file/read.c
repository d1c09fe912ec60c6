/* read.c: own uncommitted bytes first, then blocks by the known extents, zeros where there is nothing. */
#include <fcntl.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "client/file/internal.h"

#define SEQUENTIAL_SLACK (4 * (uint64_t)MIB) /* the kernel's own read-ahead reorders requests by about this much */
#define SMALL_BYTES (64u * KIB)              /* of an extent: its block is fetched together with others */
#define LAYOUT_ATTEMPTS 2                    /* with a fresh layout after a block was found nowhere */

/* A read being put together: what the caller's buffer still lacks, as pieces of blocks. */
struct reading {
    uint64_t offset, end;
    uint8_t *buffer;
    struct meta_extent *pieces;
    unsigned count, capacity;
    struct block_buffer *lent; /* has all of it, from lent_offset on; the buffer then has nothing */
    size_t lent_offset;
};

static void add_piece(struct reading *r, const struct meta_extent *e)
{
    if (r->count == r->capacity) {
        r->capacity = MAX(2 * r->capacity, 16u);
        r->pieces = mem_realloc(r->pieces, r->capacity * sizeof *r->pieces);
    }
    r->pieces[r->count++] = *e;
}

/* Copies from full chunks, which stay in memory until they are committed, what is still missing. */
static void read_full(struct reading *r, const struct list *list, struct ranges *missing)
{
    for (struct list_node *n = list->head.prev; n != &list->head && missing->count > 0; n = n->prev) {
        const struct full_chunk *f = container_of(n, struct full_chunk, node);
        const uint8_t *data = f->data ? f->data : f->block->data.data;
        uint64_t base = f->index * CHUNK_BYTES;
        for (unsigned m = 0; m < missing->count; m++) {
            uint64_t from = MAX(base, missing->list[m].from), to = MIN(base + CHUNK_BYTES, missing->list[m].to);
            if (from < to)
                memcpy(r->buffer + (from - r->offset), data + (from - base), to - from);
        }
        ranges_remove(missing, base, base + CHUNK_BYTES);
    }
}

enum err inode_learn_layout(struct file_inode *i, uint64_t from, struct rpc_cancel *cancel)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_LAYOUT, .ino = i->ino, .offset = from, .length = UINT64_MAX};
    struct meta_query_reply reply;
    enum err e = meta_client_query(i->files->meta, &query, cancel, &a, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK) {
        uint64_t known = UINT64_MAX;
        inline_learn(i->files, &reply);
        if (!reply.end && reply.extent_count > 0)
            known = reply.extents[reply.extent_count - 1].file_offset + reply.extents[reply.extent_count - 1].length;
        pthread_mutex_lock(&i->lock);
        if (reply.has_attr) /* the layout may be of a newer version */
            inode_take_attr(i, &reply.attr);
        if (!reply.has_attr || reply.attr.version == i->attr.version)
            layout_learn(&i->layout, from, known, reply.extents, reply.extent_count);
        pthread_mutex_unlock(&i->lock);
    }
    arena_free(&a);
    return e;
}

/* What extents say of [from, to): pieces, and zeros in between. */
static void plan_base(struct reading *r, const struct layout *l, uint64_t from, uint64_t to)
{
    uint64_t at = from;
    for (unsigned n = layout_find(l, from); n < l->count && l->extents[n].file_offset < to; n++) {
        const struct meta_extent *e = &l->extents[n];
        uint64_t f = MAX(from, e->file_offset), t = MIN(to, e->file_offset + e->length);
        if (meta_extent_is_hole(e))
            continue;
        memset(r->buffer + (at - r->offset), 0, f - at);
        at = t;
        struct meta_extent piece = meta_extent_part(e, f, t);
        add_piece(r, &piece);
    }
    memset(r->buffer + (at - r->offset), 0, to - at);
}

/* Under the lock: copies what is here, plans the rest. False when the layout is not known there: *ret_need says where.
 */
static bool plan(struct file_inode *i, struct reading *r, uint64_t *ret_need)
{
    struct ranges missing = {0};
    bool known = true;
    r->count = 0;
    ranges_add(&missing, r->offset, r->end);
    dirty_read(&i->dirty, r->offset, r->buffer, &missing);
    /* Newest first: chunks that were filled since the commit began, then what it has taken: ranges over full chunks. */
    read_full(r, &i->full, &missing);
    dirty_read(&i->committing, r->offset, r->buffer, &missing);
    read_full(r, &i->full_committing, &missing);
    for (unsigned m = 0; m < missing.count && known; m++) {
        struct range gap = missing.list[m];
        uint64_t to = MIN(gap.to, MAX(i->attr.size, gap.from)); /* behind the committed size there is nothing */
        if (to > gap.from && !layout_knows(&i->layout, gap.from, to)) {
            known = false;
            *ret_need = layout_known_to(&i->layout, gap.from);
        } else {
            plan_base(r, &i->layout, gap.from, gap.to);
        }
    }
    ranges_free(&missing);
    return known;
}

/* Of the next pieces the small ones' blocks, together. */
static void fetch_ahead(struct file_inode *i, const struct reading *r, unsigned first, struct rpc_cancel *cancel)
{
    struct sha256 ids[LIMIT_BLOCKS_PER_FRAME];
    unsigned count = 0;
    for (unsigned n = first; n < MIN(r->count, first + LIMIT_BLOCKS_PER_FRAME); n++)
        if (r->pieces[n].length < SMALL_BYTES)
            ids[count++] = r->pieces[n].block;
    if (count > 1)
        block_cache_fetch(i->files->cache, ids, count, cancel);
}

/* All of it in one block is lent, not copied. */
static enum err fetch(struct file_inode *i, struct reading *r, struct rpc_cancel *cancel)
{
    for (unsigned n = 0; n < r->count; n++) {
        const struct meta_extent *e = &r->pieces[n];
        if (n % LIMIT_BLOCKS_PER_FRAME == 0)
            fetch_ahead(i, r, n, cancel);
        struct block_buffer *block;
        TRY(block_cache_get(i->files->cache, &e->block, cancel, &block));
        bool fits = e->block_offset <= block->data.size && e->length <= block->data.size - e->block_offset;
        if (fits && e->length == r->end - r->offset) {
            r->lent = block;
            r->lent_offset = e->block_offset;
            return ERR_OK;
        }
        if (fits)
            memcpy(r->buffer + (e->file_offset - r->offset), block->data.data + e->block_offset, e->length);
        block_buffer_unref(block);
        if (!fits)
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* Under the lock: what is likely to be read next is fetched by the workers. */
static void read_ahead(struct open_file *h, uint64_t offset, uint64_t end)
{
    struct file_inode *i = h->inode;
    struct open_files *t = i->files;
    bool sequential = offset <= h->expected_offset + SEQUENTIAL_SLACK && end + SEQUENTIAL_SLACK >= h->expected_offset &&
                      h->expected_offset > 0;
    h->expected_offset = MAX(end, sequential ? h->expected_offset : 0);
    if (!sequential) {
        h->ahead_to = end;
        return;
    }
    uint64_t from = MAX(h->ahead_to, end), to = MIN(h->expected_offset + t->options.readahead_bytes, i->attr.size);
    if (from >= to || !layout_knows(&i->layout, from, from + 1))
        return;
    struct sha256 together[LIMIT_BLOCKS_PER_FRAME];
    unsigned count = 0;
    for (unsigned n = layout_find(&i->layout, from); n < i->layout.count && i->layout.extents[n].file_offset < to;
         n++) {
        const struct meta_extent *e = &i->layout.extents[n];
        if (meta_extent_is_hole(e) || (count > 0 && sha256_equal(&e->block, &together[count - 1])))
            continue;
        together[count++] = e->block;
        if (count == LIMIT_BLOCKS_PER_FRAME || e->length >= SMALL_BYTES) {
            work_prefetch(t, together, count);
            count = 0;
        }
    }
    if (count > 0)
        work_prefetch(t, together, count);
    h->ahead_to = to;
}

static enum err read_range(struct open_file *h, struct reading *r, struct rpc_cancel *cancel)
{
    struct file_inode *i = h->inode;
    for (int attempt = 0;; attempt++) {
        uint64_t need = 0;
        pthread_mutex_lock(&i->lock);
        while (!plan(i, r, &need)) {
            pthread_mutex_unlock(&i->lock);
            TRY(inode_learn_layout(i, need, cancel));
            pthread_mutex_lock(&i->lock);
        }
        if (attempt == 0)
            read_ahead(h, r->offset, r->end);
        pthread_mutex_unlock(&i->lock);
        enum err e = fetch(i, r, cancel);
        if (e != ERR_NOT_FOUND && e != ERR_CORRUPT)
            return e;
        if (attempt + 1 == LAYOUT_ATTEMPTS)
            return ERR_IO;
        /* Another mount may have changed the file, and its old blocks are gone: look again. */
        pthread_mutex_lock(&i->lock);
        layout_forget(&i->layout);
        pthread_mutex_unlock(&i->lock);
    }
}

enum err file_read_lent(struct open_file *h, uint64_t offset, void *to, size_t size, struct rpc_cancel *cancel,
                        struct slice *ret, struct block_buffer **ret_lent)
{
    *ret = SLICE(to, 0);
    *ret_lent = NULL;
    struct file_inode *i = h->inode;
    if ((h->flags & O_ACCMODE) == O_WRONLY)
        return ERR_BADF;
    if (atomic_load(&h->refused))
        return ERR_IO;
    TRY(inode_await_settled(i, cancel)); /* what is read is as before it or as after it */
    pthread_mutex_lock(&i->lock);
    bool stale = inode_is_stale(i), staged = i->staged;
    pthread_mutex_unlock(&i->lock);
    if (staged)
        TRY(inode_append_staged(i, false, cancel));
    if (stale)
        TRY(inode_refresh(i, cancel));
    pthread_mutex_lock(&i->lock);
    uint64_t end = i->size;
    pthread_mutex_unlock(&i->lock);
    if (offset >= end || size == 0)
        return ERR_OK;
    struct reading r = {
        .offset = offset, .end = MIN(end, size > UINT64_MAX - offset ? UINT64_MAX : offset + size), .buffer = to};
    enum err e = read_range(h, &r, cancel);
    free(r.pieces);
    TRY(e);
    *ret = SLICE(r.lent ? r.lent->data.data + r.lent_offset : to, r.end - r.offset);
    *ret_lent = r.lent;
    pthread_mutex_lock(&i->lock);
    atime_note(h);
    pthread_mutex_unlock(&i->lock);
    return ERR_OK;
}

enum err file_read(struct open_file *h, uint64_t offset, void *to, size_t size, struct rpc_cancel *cancel,
                   size_t *ret_size)
{
    struct slice got;
    struct block_buffer *lent;
    TRY(file_read_lent(h, offset, to, size, cancel, &got, &lent));
    if (lent)
        memcpy(to, got.data, got.size);
    block_buffer_unref(lent);
    *ret_size = got.size;
    return ERR_OK;
}
