#include "client/kv/kv_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "client/moment.h"

#define UNDER_WAY_DEFAULT 16u
#define ROOM_DEFAULT 1024u

enum operation_kind { OPERATION_CHANGE, OPERATION_GET, OPERATION_LIST };

/* An operation, and later its completion: it is one piece of memory all the way. */
struct operation {
    struct kv_completion completion; /* first: what the taker has and frees */
    struct list_node node;           /* in kv_queue.waiting, then in kv_queue.done */
    struct arena arena;              /* of what was asked for, and of the answer */
    enum operation_kind kind;
    unsigned count, max_count;
    bool with_values;
    struct meta_kv_change *changes;
    struct slice *keys; /* GET: the keys; LIST: prefix, after */
};

struct kv_queue {
    struct meta_client *client;
    unsigned room, thread_count;
    struct rpc_cancel *stop; /* fired when closing */
    int fd;                  /* eventfd: written when `done` gets its first one, read when it loses its last one */

    pthread_mutex_t lock;   /* protects all below; held over no call */
    pthread_cond_t changed; /* something was done, or the queue closes */
    pthread_cond_t asked;   /* something waits, or the queue closes */
    struct list waiting, done;
    unsigned unfinished, untaken; /* submitted, and not done or not taken yet */
    uint64_t last_id;
    bool closing;
    pthread_t threads[KV_QUEUE_UNDER_WAY_MAX];
};

void kv_completion_free(struct kv_completion *c)
{
    if (!c)
        return;
    struct operation *o = container_of(c, struct operation, completion);
    arena_free(&o->arena);
    free(o);
}

/* ---- the workers ---- */

static void run(struct kv_queue *q, struct operation *o)
{
    struct kv_completion *c = &o->completion;
    struct kv_page page = {.count = 0};
    switch (o->kind) {
    case OPERATION_CHANGE:
        c->status = kv_change(q->client, o->changes, o->count, q->stop, &c->changed);
        break;
    case OPERATION_GET:
        c->entries = arena_zalloc(&o->arena, (o->count + (size_t)1) * sizeof *c->entries);
        c->status = kv_get_many(q->client, o->keys, o->count, q->stop, &o->arena, c->entries);
        c->count = c->status == ERR_OK ? o->count : 0;
        break;
    case OPERATION_LIST:
        c->status = kv_list(q->client, o->keys[0], o->keys[1], o->max_count, o->with_values, q->stop, &o->arena, &page);
        c->entries = page.entries, c->count = page.count, c->last = page.last, c->end = page.end;
        break;
    }
}

/* With the lock held. */
static void finish(struct kv_queue *q, struct operation *o)
{
    const uint64_t one = 1;
    if (list_empty(&q->done))
        CHECK(write(q->fd, &one, sizeof one) == sizeof one);
    list_push_back(&q->done, &o->node);
    q->unfinished--;
    pthread_cond_broadcast(&q->changed);
}

static void *work(void *context)
{
    struct kv_queue *q = context;
    pthread_mutex_lock(&q->lock);
    while (!q->closing) {
        struct list_node *node = list_pop_front(&q->waiting);
        if (!node) {
            pthread_cond_wait(&q->asked, &q->lock);
            continue;
        }
        struct operation *o = container_of(node, struct operation, node);
        pthread_mutex_unlock(&q->lock);
        run(q, o);
        pthread_mutex_lock(&q->lock);
        finish(q, o);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- submitting ---- */

static enum err submit(struct kv_queue *q, struct operation *o, uint64_t *ret_id)
{
    pthread_mutex_lock(&q->lock);
    bool full = q->untaken == q->room || q->closing;
    if (!full) {
        *ret_id = o->completion.id = ++q->last_id;
        q->unfinished++, q->untaken++;
        list_push_back(&q->waiting, &o->node);
        pthread_cond_signal(&q->asked);
    }
    pthread_mutex_unlock(&q->lock);
    if (full)
        kv_completion_free(&o->completion);
    return full ? ERR_BUSY_NOW : ERR_OK;
}

static struct operation *operation_new(enum operation_kind kind, unsigned count)
{
    struct operation *o = MEM_NEW(struct operation);
    list_node_init(&o->node);
    o->kind = kind;
    o->count = count;
    return o;
}

enum err kv_queue_change(struct kv_queue *q, const struct meta_kv_change *changes, unsigned count, uint64_t *ret_id)
{
    /* One more than there may be is enough to be told so. */
    struct operation *o = operation_new(OPERATION_CHANGE, MIN(count, LIMIT_KV_KEYS + 1));
    o->changes = arena_alloc(&o->arena, (o->count + (size_t)1) * sizeof *o->changes);
    for (unsigned i = 0; i < o->count; i++) {
        o->changes[i] = changes[i];
        o->changes[i].key = arena_slice(&o->arena, changes[i].key);
        o->changes[i].value = arena_slice(&o->arena, changes[i].value);
        o->changes[i].expected_value = arena_slice(&o->arena, changes[i].expected_value);
    }
    return submit(q, o, ret_id);
}

enum err kv_queue_get(struct kv_queue *q, const struct slice *keys, unsigned count, uint64_t *ret_id)
{
    struct operation *o = operation_new(OPERATION_GET, MIN(count, LIMIT_KV_KEYS + 1));
    o->keys = arena_alloc(&o->arena, (o->count + (size_t)1) * sizeof *o->keys);
    for (unsigned i = 0; i < o->count; i++)
        o->keys[i] = arena_slice(&o->arena, keys[i]);
    return submit(q, o, ret_id);
}

enum err kv_queue_list(struct kv_queue *q, struct slice prefix, struct slice after, unsigned max_count,
                       bool with_values, uint64_t *ret_id)
{
    struct operation *o = operation_new(OPERATION_LIST, 2);
    o->keys = arena_alloc(&o->arena, 2 * sizeof *o->keys);
    o->keys[0] = arena_slice(&o->arena, prefix);
    o->keys[1] = arena_slice(&o->arena, after);
    o->max_count = max_count;
    o->with_values = with_values;
    return submit(q, o, ret_id);
}

/* ---- taking ---- */

/* With the lock held, until there is one; NULL after the deadline. */
static struct operation *next_done(struct kv_queue *q, int64_t deadline_ns)
{
    while (list_empty(&q->done)) {
        int64_t left_ns = deadline_ns - clock_boot_ns();
        if (left_ns <= 0)
            return NULL;
        moment_wait_for(&q->changed, &q->lock, left_ns);
    }
    struct list_node *node = list_pop_front(&q->done);
    uint64_t ignored;
    if (list_empty(&q->done))
        CHECK(read(q->fd, &ignored, sizeof ignored) == sizeof ignored);
    q->untaken--;
    return container_of(node, struct operation, node);
}

static int64_t deadline_of(int64_t timeout_ns)
{
    int64_t now_ns = clock_boot_ns();
    return timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
}

enum err kv_queue_take(struct kv_queue *q, int64_t timeout_ns, struct kv_completion **ret)
{
    int64_t deadline_ns = deadline_of(timeout_ns);
    pthread_mutex_lock(&q->lock);
    struct operation *o = next_done(q, deadline_ns);
    pthread_mutex_unlock(&q->lock);
    if (!o)
        return ERR_TIMEOUT;
    *ret = &o->completion;
    return ERR_OK;
}

enum err kv_queue_drain(struct kv_queue *q, int64_t timeout_ns)
{
    int64_t deadline_ns = deadline_of(timeout_ns);
    pthread_mutex_lock(&q->lock);
    for (int64_t left_ns; q->unfinished > 0 && (left_ns = deadline_ns - clock_boot_ns()) > 0;)
        moment_wait_for(&q->changed, &q->lock, left_ns);
    bool drained = q->unfinished == 0;
    pthread_mutex_unlock(&q->lock);
    return drained ? ERR_OK : ERR_TIMEOUT;
}

int kv_queue_fd(const struct kv_queue *q)
{
    return q->fd;
}

/* ---- opening and closing ---- */

static void free_operations(struct list *operations)
{
    for (struct list_node *node; (node = list_pop_front(operations));)
        kv_completion_free(&container_of(node, struct operation, node)->completion);
}

void kv_queue_close(struct kv_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->changed);
    pthread_cond_broadcast(&q->asked);
    pthread_mutex_unlock(&q->lock);
    rpc_cancel_fire(q->stop);
    for (unsigned i = 0; i < q->thread_count; i++)
        pthread_join(q->threads[i], NULL);
    free_operations(&q->waiting);
    free_operations(&q->done);
    rpc_cancel_free(q->stop);
    pthread_cond_destroy(&q->changed);
    pthread_cond_destroy(&q->asked);
    pthread_mutex_destroy(&q->lock);
    if (q->fd >= 0)
        close(q->fd);
    free(q);
}

enum err kv_queue_open(const struct kv_queue_options *options, struct kv_queue **ret)
{
    unsigned threads = options->under_way ? options->under_way : UNDER_WAY_DEFAULT;
    if (threads > KV_QUEUE_UNDER_WAY_MAX || options->room > KV_QUEUE_ROOM_MAX)
        return ERR_INVAL;
    struct kv_queue *q = MEM_NEW(struct kv_queue);
    q->client = options->client;
    q->room = options->room ? options->room : ROOM_DEFAULT;
    q->stop = rpc_cancel_new();
    pthread_mutex_init(&q->lock, NULL);
    moment_cond_init(&q->changed);
    moment_cond_init(&q->asked);
    list_init(&q->waiting);
    list_init(&q->done);
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool works = q->fd >= 0;
    while (works && q->thread_count < threads) {
        works = pthread_create(&q->threads[q->thread_count], NULL, work, q) == 0;
        q->thread_count += works;
    }
    if (!works) {
        kv_queue_close(q);
        return ERR_NOMEM;
    }
    *ret = q;
    return ERR_OK;
}
