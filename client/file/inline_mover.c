#include "client/file/inline_mover.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/moment.h"

#define LOG_MODULE "inline"
#include "base/log.h"

#define QUEUE_BYTES_MAX (4u * MIB)
#define QUEUE_BLOCKS_MAX 2048u
#define BATCH_BYTES (1u * MIB)
#define BATCH_DELAY_NS (500 * NS_PER_MS) /* more of them gather meanwhile */
#define RETRY_NS (1 * NS_PER_S)
#define DEFAULT_LOOK_NS (10 * NS_PER_S)

struct waiting {
    struct list_node node; /* in the queue, oldest first */
    struct block_buffer *block;
    uint64_t ino, version;
};

struct inline_mover {
    struct meta_client *meta;
    struct block_client *blocks;
    struct rpc_cancel *stop;
    struct rpc_cancel *leaving; /* fires first: what others have left behind is not waited for */
    int64_t look_ns;
    pthread_t thread;

    pthread_mutex_t lock; /* protects all up to the next comment */
    pthread_cond_t wanted;
    struct list queue;
    size_t bytes; /* of the queue */
    unsigned count;
    int64_t since_ns; /* when it was empty last */
    bool stopping;

    /* The thread's own: what it saw when it looked last, behind `looked_behind`. */
    struct sha256 looked_behind;
    struct meta_inline_block seen[LIMIT_MOVED_BLOCKS];
    unsigned seen_count;
};

/* Some of the queue, in the order of their commits. */
struct batch {
    struct waiting *items[LIMIT_MOVED_BLOCKS];
    unsigned count;
};

static void waiting_free(struct waiting *w)
{
    block_buffer_unref(w->block);
    free(w);
}

static enum err tell_moved(struct inline_mover *m, const struct meta_inline_block *blocks, unsigned count,
                           struct rpc_cancel *cancel)
{
    struct meta_command command = {.op = META_MOVED, .moved = {.blocks = blocks, .count = count}};
    struct meta_reply reply;
    TRY(meta_client_call(m->meta, &command, cancel, &reply));
    return reply.status;
}

static enum err move(struct inline_mover *m, struct block_buffer *const *blocks, const struct meta_inline_block *named,
                     unsigned count, struct rpc_cancel *cancel)
{
    if (count == 0)
        return ERR_OK;
    TRY(block_client_put_batch(m->blocks, blocks, count, cancel));
    return tell_moved(m, named, count, cancel);
}

/* ---- what this mount has committed ---- */

static enum err move_batch(struct inline_mover *m, const struct batch *b)
{
    struct block_buffer *blocks[LIMIT_MOVED_BLOCKS];
    struct meta_inline_block named[LIMIT_MOVED_BLOCKS];
    for (unsigned i = 0; i < b->count; i++) {
        const struct waiting *w = b->items[i];
        blocks[i] = w->block;
        named[i] = (struct meta_inline_block){.id = w->block->id, .ino = w->ino, .version = w->version};
    }
    return move(m, blocks, named, b->count, m->stop);
}

/* With the lock. */
static void take_batch(struct inline_mover *m, struct batch *ret)
{
    ret->count = 0;
    while (ret->count < LIMIT_MOVED_BLOCKS && !list_empty(&m->queue))
        ret->items[ret->count++] = container_of(list_pop_front(&m->queue), struct waiting, node);
}

/* With the lock. What has not been moved keeps its place; the queue's size counts it until then. */
static void end_batch(struct inline_mover *m, struct batch *b, bool moved)
{
    for (unsigned i = b->count; i > 0; i--) {
        struct waiting *w = b->items[i - 1];
        if (!moved) {
            list_push_front(&m->queue, &w->node);
            continue;
        }
        m->bytes -= w->block->data.size;
        m->count--;
        waiting_free(w);
    }
    if (b->count > 0)
        m->since_ns = clock_boot_ns();
}

static bool is_due(const struct inline_mover *m)
{
    return m->count > 0 && (m->stopping || m->bytes >= BATCH_BYTES || m->count >= LIMIT_MOVED_BLOCKS ||
                            clock_boot_ns() - m->since_ns >= BATCH_DELAY_NS);
}

/* ---- what others have left behind ---- */

static bool was_seen(const struct inline_mover *m, const struct meta_inline_block *b)
{
    for (unsigned i = 0; i < m->seen_count; i++)
        if (sha256_equal(&m->seen[i].id, &b->id))
            return m->seen[i].ino == b->ino && m->seen[i].version == b->version;
    return false;
}

static enum err move_seen(struct inline_mover *m, const struct meta_query_reply *reply)
{
    struct block_buffer *blocks[LIMIT_MOVED_BLOCKS];
    struct meta_inline_block named[LIMIT_MOVED_BLOCKS];
    unsigned count = 0;
    for (unsigned i = 0; i < reply->inlined_count; i++) {
        const struct meta_inline_block *b = &reply->inlined[i];
        if (!was_seen(m, b))
            continue;
        blocks[count] = block_buffer_new(mem_dup(b->data.data, b->data.size), b->data.size);
        named[count++] = (struct meta_inline_block){.id = b->id, .ino = b->ino, .version = b->version};
    }
    enum err e = move(m, blocks, named, count, m->leaving);
    if (count > 0 && e == ERR_OK)
        log_info("%u small blocks that somebody has left in the metadata were moved", count);
    for (unsigned i = 0; i < count; i++)
        block_buffer_unref(blocks[i]);
    return e;
}

/* One look at some of them. The second look at the same ones moves what is still there, and the next goes on behind
 * them. */
static enum err look(struct inline_mover *m)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_INLINE, .block = m->looked_behind, .next_block = true};
    struct meta_query_reply reply;
    enum err e = meta_client_query(m->meta, &query, m->leaving, &a, &reply);
    if (e == ERR_OK)
        e = reply.status;
    if (e == ERR_OK && m->seen_count > 0) {
        e = move_seen(m, &reply);
        m->seen_count = 0;
        bool end = reply.end || reply.inlined_count == 0;
        m->looked_behind = end ? (struct sha256){{0}} : reply.inlined[reply.inlined_count - 1].id;
    } else if (e == ERR_OK) {
        m->seen_count = reply.inlined_count;
        for (unsigned i = 0; i < reply.inlined_count; i++) {
            m->seen[i] = reply.inlined[i];
            m->seen[i].data = SLICE(NULL, 0); /* the arena's */
        }
        if (m->seen_count == 0)
            m->looked_behind = (struct sha256){{0}};
    }
    arena_free(&a);
    return e;
}

/* ---- the thread ---- */

/* Until there is something to do. False: it is to end, and nothing is left to move. */
static bool await_work(struct inline_mover *m, int64_t look_at_ns, int64_t not_before_ns, struct batch *ret)
{
    pthread_mutex_lock(&m->lock);
    int64_t now = clock_boot_ns();
    while (!m->stopping && now < look_at_ns && (now < not_before_ns || !is_due(m))) {
        int64_t until = m->count > 0 ? MIN(look_at_ns, MAX(m->since_ns + BATCH_DELAY_NS, not_before_ns)) : look_at_ns;
        moment_wait_for(&m->wanted, &m->lock, MAX(until - now, NS_PER_MS));
        now = clock_boot_ns();
    }
    ret->count = 0;
    if (m->stopping || (now >= not_before_ns && is_due(m)))
        take_batch(m, ret);
    bool goes_on = !m->stopping || ret->count > 0;
    pthread_mutex_unlock(&m->lock);
    return goes_on;
}

static void *mover_main(void *p)
{
    struct inline_mover *m = p;
    struct batch batch;
    int64_t look_at_ns = clock_boot_ns() + m->look_ns, not_before_ns = 0;
    while (await_work(m, look_at_ns, not_before_ns, &batch)) {
        enum err e = move_batch(m, &batch);
        if (e != ERR_OK)
            log_debug("inline blocks can't be moved now: %s", err_message(e));
        pthread_mutex_lock(&m->lock);
        end_batch(m, &batch, e == ERR_OK);
        bool stopping = m->stopping;
        pthread_mutex_unlock(&m->lock);
        if (stopping && e != ERR_OK)
            break;
        not_before_ns = e == ERR_OK ? 0 : clock_boot_ns() + RETRY_NS;
        if (!stopping && clock_boot_ns() >= look_at_ns) {
            e = look(m);
            if (e != ERR_OK && e != ERR_CANCELLED)
                log_debug("inline blocks can't be looked for now: %s", err_message(e));
            look_at_ns = clock_boot_ns() + m->look_ns;
        }
    }
    return NULL;
}

struct inline_mover *inline_mover_new(struct meta_client *meta, struct block_client *blocks, struct rpc_cancel *stop,
                                      int64_t look_ns)
{
    struct inline_mover *m = MEM_NEW(struct inline_mover);
    m->meta = meta;
    m->blocks = blocks;
    m->stop = stop;
    m->leaving = rpc_cancel_new();
    m->look_ns = look_ns ? look_ns : DEFAULT_LOOK_NS;
    list_init(&m->queue);
    pthread_mutex_init(&m->lock, NULL);
    moment_cond_init(&m->wanted);
    thread_start(&m->thread, mover_main, m);
    return m;
}

void inline_mover_free(struct inline_mover *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_signal(&m->wanted);
    pthread_mutex_unlock(&m->lock);
    rpc_cancel_fire(m->leaving);
    pthread_join(m->thread, NULL);
    for (struct list_node *n; (n = list_pop_front(&m->queue));)
        waiting_free(container_of(n, struct waiting, node));
    rpc_cancel_free(m->leaving);
    pthread_cond_destroy(&m->wanted);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

bool inline_mover_has_room(struct inline_mover *m, size_t bytes)
{
    pthread_mutex_lock(&m->lock);
    bool room = m->bytes + bytes <= QUEUE_BYTES_MAX && m->count + LIMIT_INLINE_BLOCKS <= QUEUE_BLOCKS_MAX;
    pthread_mutex_unlock(&m->lock);
    return room;
}

void inline_mover_add(struct inline_mover *m, struct block_buffer *block, uint64_t ino, uint64_t version)
{
    struct waiting *w = MEM_NEW(struct waiting);
    w->block = block_buffer_ref(block);
    w->ino = ino;
    w->version = version;
    pthread_mutex_lock(&m->lock);
    bool was_empty = m->count == 0;
    list_push_back(&m->queue, &w->node);
    m->bytes += block->data.size;
    m->count++;
    if (was_empty)
        m->since_ns = clock_boot_ns();
    /* It is woken only where its wait becomes another. */
    if (was_empty || m->bytes >= BATCH_BYTES || m->count == LIMIT_MOVED_BLOCKS)
        pthread_cond_signal(&m->wanted);
    pthread_mutex_unlock(&m->lock);
}
