/* commit.c: what is dirty becomes blocks, and then part of the file.
 *
 * A commit has the inode's turn from its beginning to its end. It takes what is dirty then; writes go on into fresh
 * chunks meanwhile and belong to the next commit. If it can't be finished now (cancelled), everything goes back under
 * what was written since. */
#include "base/check.h"
#include "base/mem.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define LOG_MODULE "file"
#include "base/log.h"

enum err inode_wait(struct file_inode *i, struct rpc_cancel *cancel)
{
    return moment_wait(&i->changed, &i->lock, cancel);
}

enum err inode_take_turn(struct file_inode *i, struct rpc_cancel *cancel)
{
    int64_t begun_ns = clock_boot_ns(), soft_ns = meta_client_soft_timeout_ns(i->files->meta);
    while (i->turn_taken) {
        if (i->left.seq != 0) {
            pthread_mutex_unlock(&i->lock);
            inode_settle(i);
            pthread_mutex_lock(&i->lock);
        }
        if (i->left.seq != 0 && soft_ns > 0 && clock_boot_ns() - begun_ns > soft_ns)
            return ERR_TIMEOUT;
        if (i->turn_taken)
            TRY(inode_wait(i, cancel));
    }
    i->turn_taken = true;
    return ERR_OK;
}

void inode_end_turn(struct file_inode *i)
{
    CHECK(i->turn_taken);
    i->turn_taken = false;
    pthread_cond_broadcast(&i->changed);
    if (i->eager_until_ns > 0 && inode_is_dirty(i) && clock_boot_ns() < i->eager_until_ns)
        flush_soon(i->files);
}

void full_chunk_put(struct full_chunk *f, struct rpc_cancel *cancel)
{
    struct file_inode *i = f->inode;
    struct block_buffer *block;
    pthread_mutex_lock(&i->lock);
    block = f->block ? block_buffer_ref(f->block) : NULL;
    uint8_t *data = f->data;
    pthread_mutex_unlock(&i->lock);
    uint64_t epoch = meta_client_epoch(i->files->meta);
    if (!block) {
        block = block_buffer_new(data, CHUNK_BYTES); /* takes the data over; readers use it until f->block is set */
        pthread_mutex_lock(&i->lock);
        f->block = block_buffer_ref(block);
        f->data = NULL;
        pthread_mutex_unlock(&i->lock);
    }
    enum err e = block_tracker_put(i->tracker, block, cancel);
    if (e == ERR_OK)
        block_cache_insert(i->files->cache, block);
    pthread_mutex_lock(&i->lock);
    f->result = e;
    f->epoch = epoch;
    f->done = true;
    f->queued = false;
    CHECK(i->puts > 0);
    i->puts--;
    pthread_cond_broadcast(&i->changed);
    pthread_mutex_unlock(&i->lock);
    block_buffer_unref(block);
}

/* ---- what a commit names ---- */

struct plan {
    struct meta_extent *extents;
    struct block_buffer **sources; /* of each extent; borrowed from `blocks`, or from a full chunk */
    unsigned count, capacity;
    uint64_t epoch;               /* lowest with which one of them was put */
    struct block_buffer **blocks; /* those that are still to be put */
    unsigned block_count, block_capacity;
    uint64_t end;
};

static void plan_free(struct plan *p)
{
    for (unsigned n = 0; n < p->block_count; n++)
        block_buffer_unref(p->blocks[n]);
    free(p->blocks);
    free(p->sources);
    free(p->extents);
}

static void plan_add(struct plan *p, uint64_t offset, uint64_t length, struct block_buffer *block,
                     uint32_t block_offset)
{
    if (p->count == p->capacity) {
        p->capacity = MAX(2 * p->capacity, 8u);
        p->extents = mem_realloc(p->extents, p->capacity * sizeof *p->extents);
        p->sources = mem_realloc(p->sources, p->capacity * sizeof(struct block_buffer *));
    }
    p->sources[p->count] = block;
    p->extents[p->count++] =
        (struct meta_extent){.file_offset = offset, .length = length, .block = block->id, .block_offset = block_offset};
    p->end = MAX(p->end, offset + length);
}

static void plan_add_range(struct plan *p, const struct dirty_chunk *c, struct range r)
{
    if (p->block_count == p->block_capacity) {
        p->block_capacity = MAX(2 * p->block_capacity, 8u);
        p->blocks = mem_realloc(p->blocks, p->block_capacity * sizeof(struct block_buffer *));
    }
    struct block_buffer *block = block_buffer_new(mem_dup(c->data + r.from, r.to - r.from), r.to - r.from);
    p->blocks[p->block_count++] = block;
    plan_add(p, c->index * CHUNK_BYTES + r.from, r.to - r.from, block, 0);
}

static int by_index(const void *a, const void *b)
{
    uint64_t x = (*(struct full_chunk *const *)a)->index, y = (*(struct full_chunk *const *)b)->index;
    return (x > y) - (x < y);
}

/* The newest full chunk of each index, in file order; *ret is to be freed. */
static unsigned newest_full(struct file_inode *i, struct full_chunk ***ret)
{
    struct full_chunk **list = NULL;
    unsigned count = 0, capacity = 0;
    struct map_u64 seen = {0};
    for (struct list_node *n = i->full_committing.head.prev; n != &i->full_committing.head; n = n->prev) {
        struct full_chunk *f = container_of(n, struct full_chunk, node);
        if (map_u64_put(&seen, f->index, f))
            continue;
        if (count == capacity) {
            capacity = MAX(2 * capacity, 16u);
            list = mem_realloc(list, capacity * sizeof(struct full_chunk *));
        }
        list[count++] = f;
    }
    map_u64_free(&seen);
    if (count > 1)
        qsort(list, count, sizeof(struct full_chunk *), by_index);
    *ret = list;
    return count;
}

/* The parts of a whole block that no newer range covers. */
static void plan_add_full(struct plan *p, const struct full_chunk *f, const struct dirty_chunk *over)
{
    struct ranges left = {0};
    uint64_t base = f->index * CHUNK_BYTES;
    ranges_add(&left, 0, CHUNK_BYTES);
    p->epoch = MIN(p->epoch, f->epoch);
    for (unsigned n = 0; over && n < over->ranges.count; n++)
        ranges_remove(&left, over->ranges.list[n].from, over->ranges.list[n].to);
    unsigned at = 0, range = 0;
    while (at < left.count || (over && range < over->ranges.count)) {
        if (at < left.count &&
            (!over || range == over->ranges.count || left.list[at].from < over->ranges.list[range].from)) {
            plan_add(p, base + left.list[at].from, left.list[at].to - left.list[at].from, f->block,
                     (uint32_t)left.list[at].from);
            at++;
        } else {
            plan_add_range(p, over, over->ranges.list[range++]);
        }
    }
    ranges_free(&left);
}

/* Extents in file order for the full chunks and the ranges over them. The committing sets don't change under the turn.
 */
static void plan_make(struct file_inode *i, struct plan *p)
{
    struct full_chunk **full;
    unsigned full_count = newest_full(i, &full), at = 0;
    list_for_each (n, &i->committing.chunks) {
        const struct dirty_chunk *c = container_of(n, struct dirty_chunk, node);
        for (; at < full_count && full[at]->index < c->index; at++)
            plan_add_full(p, full[at], NULL);
        if (at < full_count && full[at]->index == c->index) {
            plan_add_full(p, full[at++], c);
            continue;
        }
        for (unsigned r = 0; r < c->ranges.count; r++)
            plan_add_range(p, c, c->ranges.list[r]);
    }
    for (; at < full_count; at++)
        plan_add_full(p, full[at], NULL);
    free(full);
}

/* ---- steps ---- */

/* Waits for the puts of the full chunks; those that nobody has begun are done here. */
static enum err finish_puts(struct file_inode *i, struct rpc_cancel *cancel)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&i->lock);
    list_for_each (n, &i->full_committing) {
        struct full_chunk *f = container_of(n, struct full_chunk, node);
        while (e == ERR_OK && !(f->done && f->result == ERR_OK)) {
            if (f->done || work_take_back(i->files, f)) {
                if (f->done)
                    i->puts++; /* a put that failed is tried again */
                f->done = false;
                pthread_mutex_unlock(&i->lock);
                full_chunk_put(f, cancel);
                pthread_mutex_lock(&i->lock);
                e = f->result;
            } else {
                e = inode_wait(i, cancel);
            }
        }
        if (e != ERR_OK)
            break;
    }
    pthread_mutex_unlock(&i->lock);
    return e;
}

/* The commands of one commit. Each names the version that it expects: one that was broken off, and is still being
 * resolved in the background, can then not take effect after a later one and bring back older bytes. */
struct sending {
    struct rpc_cancel *cancel;
    const struct slice *inlined; /* blocks that come along: then it is one command, or none */
    unsigned inlined_count;
    uint64_t session;
    int64_t mtime_ns;
    bool kill_set_id;
    uint64_t version;      /* that the file has, as far as is known */
    unsigned commands;     /* that took effect */
    struct meta_attr attr; /* after the last of them */
};

/* Extents of a plan that go in one command. */
struct part {
    const struct meta_extent *extents;
    struct block_buffer **sources;
    unsigned count;
    uint64_t epoch;
    bool put_again; /* as a whole, since it was stale */
};

static struct part part_of(const struct part *p, unsigned from, unsigned count)
{
    return (struct part){.extents = p->extents + from, .sources = p->sources + from, .count = count, .epoch = p->epoch};
}

static enum err send_part(struct file_inode *i, struct sending *s, struct part p);

static enum err send_halves(struct file_inode *i, struct sending *s, const struct part *p)
{
    TRY(send_part(i, s, part_of(p, 0, p->count / 2)));
    return send_part(i, s, part_of(p, p->count / 2, p->count - p->count / 2));
}

/* Its blocks were put too long ago. They are put again, and when even that took too long, fewer at a time. */
static enum err send_again(struct file_inode *i, struct sending *s, struct part *p)
{
    if (p->put_again && p->count > 1)
        return send_halves(i, s, p);
    p->epoch = meta_client_epoch(i->files->meta);
    p->put_again = true;
    log_info("inode %llu: %u blocks are put again, since epoch %llu", (unsigned long long)i->ino, p->count,
             (unsigned long long)p->epoch);
    TRY(block_client_put_durable(i->files->blocks, p->sources, p->count, s->cancel));
    return send_part(i, s, *p);
}

static enum err send_part(struct file_inode *i, struct sending *s, struct part p)
{
    const struct meta_extent *extents = p.extents;
    unsigned count = p.count;
    const struct meta_extent *last = &extents[count - 1];
    struct meta_command command = {.op = META_COMMIT,
                                   .session = s->session,
                                   .commit = {.ino = i->ino,
                                              .extents = extents,
                                              .extent_count = count,
                                              .size_at_least = last->file_offset + last->length,
                                              .has_expected_version = true,
                                              .expected_version = s->version,
                                              .has_mtime = true,
                                              .mtime_ns = s->mtime_ns,
                                              .kill_set_id = s->kill_set_id,
                                              .inlined = s->inlined,
                                              .inlined_count = s->inlined_count,
                                              .epoch = p.epoch}};
    struct meta_reply reply;
    TRY(meta_client_call(i->files->meta, &command, s->cancel, &reply));
    while (reply.status == ERR_VERSION && reply.has_attr) {
        /* Others have written too, or an earlier try of ours took effect after all. */
        command.commit.expected_version = s->version = reply.attr.version;
        TRY(meta_client_call(i->files->meta, &command, s->cancel, &reply));
    }
    if (reply.status == ERR_STALE_EPOCH)
        return send_again(i, s, &p);
    bool may_split = reply.status == ERR_SPLIT && s->inlined_count == 0;
    if (may_split && count > 1)
        return send_halves(i, s, &p);
    if (may_split && last->length > 1) {
        /* One run of bytes over very many small extents: in two parts of the same block. */
        struct meta_extent halves[2] = {*last, *last};
        halves[0].length = last->length / 2;
        halves[1].length -= halves[0].length;
        halves[1].file_offset += halves[0].length;
        halves[1].block_offset += (uint32_t)halves[0].length;
        struct part first = p, second = p;
        first.extents = &halves[0];
        second.extents = &halves[1];
        TRY(send_part(i, s, first));
        return send_part(i, s, second);
    }
    TRY(reply.status);
    s->attr = reply.attr;
    s->version = reply.attr.version;
    s->commands++;
    return ERR_OK;
}

static enum err send_all(struct file_inode *i, const struct plan *p, struct sending *s)
{
    const struct part whole = {.extents = p->extents, .sources = p->sources, .count = p->count, .epoch = p->epoch};
    for (unsigned at = 0; at < p->count; at += LIMIT_COMMIT_EXTENTS)
        TRY(send_part(i, s, part_of(&whole, at, MIN(p->count - at, LIMIT_COMMIT_EXTENTS))));
    return ERR_OK;
}

static enum err make_durable(struct file_inode *i, struct plan *p, struct rpc_cancel *cancel)
{
    p->epoch = MIN(p->epoch, meta_client_epoch(i->files->meta));
    if (p->block_count > 0)
        TRY(block_client_put_durable(i->files->blocks, p->blocks, p->block_count, cancel));
    pthread_mutex_lock(&i->lock);
    struct block_tracker *tracker = i->tracker;
    pthread_mutex_unlock(&i->lock);
    return tracker ? block_tracker_sync(tracker, cancel) : ERR_OK;
}

/* Small contents go with the command, and become durable with it. *ret_done false: they can't, and nothing happened. */
static enum err send_inline(struct file_inode *i, const struct plan *p, struct sending *s, bool *ret_done)
{
    struct slice inlined[LIMIT_INLINE_BLOCKS];
    *ret_done = false;
    if (p->count != p->block_count || !inline_fits(i->files, p->blocks, p->block_count, inlined))
        return ERR_OK;
    s->inlined = inlined;
    s->inlined_count = p->block_count;
    const struct part whole = {.extents = p->extents, .sources = p->sources, .count = p->count, .epoch = p->epoch};
    enum err e = send_part(i, s, whole);
    s->inlined_count = 0;
    if (e == ERR_SPLIT || e == ERR_BUSY)
        return ERR_OK;
    *ret_done = true;
    if (e == ERR_OK)
        inline_committed(i->files, p->blocks, p->block_count, &s->attr);
    return e;
}

/* ---- the outcome; under the lock ---- */

void inode_drop_aside(struct file_inode *i)
{
    atomic_fetch_sub(&i->files->dirty_bytes, i->committing.bytes);
    dirty_clear(&i->committing);
    for (struct list_node *n; (n = list_pop_front(&i->full_committing));) {
        struct full_chunk *f = container_of(n, struct full_chunk, node);
        atomic_fetch_sub(&i->files->dirty_bytes, CHUNK_BYTES);
        full_chunk_free(f);
    }
    i->kill_committing = false;
    i->dirty_since_ns = inode_is_dirty(i) ? clock_boot_ns() : 0;
}

static void take_committing(struct file_inode *i)
{
    CHECK(dirty_empty(&i->committing) && list_empty(&i->full_committing));
    i->session_committing = i->session;
    i->kill_committing = i->kill_set_id;
    i->kill_set_id = false;
    i->committing.bytes = i->dirty.bytes;
    for (struct list_node *n; (n = list_pop_front(&i->dirty.chunks));)
        list_push_back(&i->committing.chunks, n);
    i->dirty.bytes = 0;
    for (struct list_node *n; (n = list_pop_front(&i->full));)
        list_push_back(&i->full_committing, n);
}

void inode_put_back(struct file_inode *i)
{
    uint64_t before = i->dirty.bytes + i->committing.bytes;
    i->session = i->session_committing;
    i->kill_set_id = i->kill_set_id || i->kill_committing;
    i->kill_committing = false;
    /* A range of the taken set is older than a chunk that was filled since: what that covers must not come back. */
    list_for_each (n, &i->full) {
        uint64_t index = container_of(n, struct full_chunk, node)->index;
        list_for_each_safe (m, &i->committing.chunks) {
            struct dirty_chunk *c = container_of(m, struct dirty_chunk, node);
            if (c->index == index) {
                dirty_take(&i->committing, c);
                dirty_chunk_free(c);
            }
        }
    }
    dirty_underlay(&i->dirty, &i->committing);
    atomic_fetch_sub(&i->files->dirty_bytes, before - i->dirty.bytes);
    struct list newer;
    list_init(&newer);
    for (struct list_node *n; (n = list_pop_front(&i->full));)
        list_push_back(&newer, n);
    for (struct list_node *n; (n = list_pop_front(&i->full_committing));)
        list_push_back(&i->full, n);
    for (struct list_node *n; (n = list_pop_front(&newer));)
        list_push_back(&i->full, n);
}

/* Until no worker has one of these in hand any more; what none has begun is taken back. */
static enum err await_workers(struct file_inode *i, const struct list *chunks, struct rpc_cancel *cancel)
{
    for (;;) {
        bool in_hand = false;
        list_for_each (n, chunks) {
            struct full_chunk *f = container_of(n, struct full_chunk, node);
            if (!f->done && work_take_back(i->files, f)) {
                f->queued = false;
                f->done = true;
                f->result = ERR_CANCELLED; /* a commit that comes instead puts it then */
                i->puts--;
            }
            in_hand = in_hand || !f->done;
        }
        if (!in_hand)
            return ERR_OK;
        TRY(inode_wait(i, cancel));
    }
}

enum err inode_set_aside(struct file_inode *i, struct rpc_cancel *cancel)
{
    CHECK(i->turn_taken && (!dirty_empty(&i->dirty) || !list_empty(&i->full)));
    TRY(await_workers(i, &i->full, cancel));
    take_committing(i);
    return ERR_OK;
}

enum err inode_drop_dirty(struct file_inode *i, struct rpc_cancel *cancel)
{
    CHECK(i->turn_taken);
    TRY(await_workers(i, &i->full, cancel));
    if (i->staged)
        inode_drop_staged(i);
    take_committing(i);
    inode_drop_aside(i);
    i->size = i->attr.size;
    return ERR_OK;
}

static bool is_final(enum err e)
{
    return e != ERR_OK && e != ERR_CANCELLED && e != ERR_TIMEOUT;
}

void inode_note_error(struct file_inode *i, enum err e)
{
    i->error = e == ERR_SESSION_EXPIRED || e == ERR_STALE ? ERR_IO : e;
    i->error_count++;
    log_error("inode %llu: written data is lost: %s", (unsigned long long)i->ino, err_message(e));
}

enum err inode_commit(struct file_inode *i, struct rpc_cancel *cancel)
{
    TRY(inode_append_staged(i, false, cancel));
    pthread_mutex_lock(&i->lock);
    bool wanted = inode_is_dirty(i);
    enum err e = wanted ? inode_take_turn(i, cancel) : ERR_OK;
    if (!wanted || e != ERR_OK || !inode_is_dirty(i)) {
        if (wanted &&
            e == ERR_OK) /* whoever had the turn before has committed it; without `wanted` the turn isn't ours */
            inode_end_turn(i);
        pthread_mutex_unlock(&i->lock);
        return e;
    }
    take_committing(i);
    uint64_t before = i->attr.version;
    struct sending s = {.cancel = cancel,
                        .session = i->session_committing,
                        .mtime_ns = i->mtime_ns,
                        .kill_set_id = i->kill_committing,
                        .version = before};
    pthread_mutex_unlock(&i->lock);

    struct plan p = {.epoch = UINT64_MAX};
    e = finish_puts(i, cancel);
    bool done = false;
    if (e == ERR_OK) {
        plan_make(i, &p);
        e = send_inline(i, &p, &s, &done);
    }
    if (e == ERR_OK && !done)
        e = make_durable(i, &p, cancel);
    if (e == ERR_OK && !done)
        e = send_all(i, &p, &s);
    for (unsigned n = 0; e == ERR_OK && n < p.block_count; n++)
        block_cache_insert(i->files->cache, p.blocks[n]);

    pthread_mutex_lock(&i->lock);
    if (is_final(e) && await_workers(i, &i->full_committing, cancel) != ERR_OK)
        e = ERR_CANCELLED; /* it is tried again as a whole */
    if (e == ERR_OK) {
        inode_drop_aside(i);
        inode_take_changes(i, &s.attr, s.commands, p.extents, p.count);
    } else if (is_final(e)) {
        inode_note_error(i, e);
        inode_drop_aside(i);
        layout_forget(&i->layout);
        i->size = inode_size_now(i);
    } else {
        inode_put_back(i);
        layout_forget(&i->layout);
    }
    inode_end_turn(i);
    pthread_mutex_unlock(&i->lock);
    plan_free(&p);
    if (e == ERR_OK) {
        atomic_fetch_add(&i->files->commits, 1);
        inode_own_change(i, before, s.commands, s.attr.version);
    } else if (is_final(e)) {
        inode_pages_are_wrong(i);
    }
    return is_final(e) && e != ERR_NOSPC && e != ERR_FBIG ? ERR_IO : e;
}
