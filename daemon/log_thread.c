#include "daemon/log_thread.h"

#include <pthread.h>
#include <string.h>

#define LOG_MODULE "log"
#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

/* One push. The entries and their data follow the struct in the same allocation. */
struct job {
    struct list_node link;
    uint64_t sequence;
    bool reset, truncate, hard_state_changed;
    uint64_t reset_index, reset_term;
    uint64_t truncate_after;
    struct raft_hard_state hard;
    unsigned entry_count;
    size_t data_bytes;
    struct raft_entry entries[];
};

struct log_thread {
    struct raftlog *raftlog;
    uv_async_t async;
    void (*done)(void *context, const struct log_thread_result *result);
    void *context;
    uint64_t pushed; /* loop thread only */
    pthread_t thread;

    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t wake;
    struct list queue;
    uint64_t compact_index; /* 0: nothing asked for */
    bool stop;
    struct log_thread_result result;
};

/* What a write merges; owned by the thread. */
struct merge {
    struct raftlog_batch batch;
    struct raft_entry *entries;
    unsigned capacity;
    struct list jobs;
    uint64_t sequence;
    size_t bytes;
};

static void merge_add(struct merge *m, struct job *j)
{
    if (j->truncate) {
        unsigned keep = 0;
        while (keep < m->batch.entry_count && m->entries[keep].index <= j->truncate_after)
            keep++;
        m->batch.entry_count = keep;
        /* With entries of this write still in front of the cut, the disk is not concerned. */
        if (keep == 0) {
            m->batch.truncate_after =
                m->batch.truncate ? MIN(m->batch.truncate_after, j->truncate_after) : j->truncate_after;
            m->batch.truncate = true;
        }
    }
    if (j->reset) {
        m->batch.reset = true;
        m->batch.reset_index = j->reset_index, m->batch.reset_term = j->reset_term;
    }
    if (j->hard_state_changed) {
        m->batch.hard_state_changed = true;
        m->batch.hard = j->hard;
    }
    if (m->batch.entry_count + j->entry_count > m->capacity) {
        m->capacity = MAX(2 * m->capacity, m->batch.entry_count + j->entry_count);
        m->entries = mem_realloc(m->entries, m->capacity * sizeof *m->entries);
    }
    if (j->entry_count > 0)
        memcpy(m->entries + m->batch.entry_count, j->entries, j->entry_count * sizeof *j->entries);
    m->batch.entry_count += j->entry_count;
    m->bytes += j->data_bytes;
    m->sequence = j->sequence;
    list_push_back(&m->jobs, &j->link);
}

/* Takes as much of the queue as fits into one write. The lock is held. */
static void merge_take(struct merge *m, struct list *queue)
{
    struct raft_entry *entries = m->entries;
    *m = (struct merge){.entries = entries, .capacity = m->capacity};
    list_init(&m->jobs);
    while (!list_empty(queue)) {
        struct job *j = container_of(list_first(queue), struct job, link);
        /* A reset has a write of its own, but for what follows it without cutting anything. */
        if (!list_empty(&m->jobs) && (j->reset || (m->batch.reset && j->truncate)))
            break;
        if (!list_empty(&m->jobs) && (m->bytes + j->data_bytes > LIMIT_RAFT_BATCH_BYTES ||
                                      m->batch.entry_count + j->entry_count > LIMIT_RAFT_BATCH_ENTRIES))
            break;
        list_remove(&j->link);
        merge_add(m, j);
    }
    m->batch.entries = m->entries;
}

static void merge_release(struct merge *m)
{
    for (struct list_node *node; (node = list_pop_front(&m->jobs));)
        free(container_of(node, struct job, link));
}

/* The lock is held. */
static void note_written(struct log_thread_result *r, const struct merge *m)
{
    r->sequence = m->sequence;
    if (m->batch.hard_state_changed)
        r->hard = m->batch.hard;
    if (m->batch.entry_count > 0) {
        const struct raft_entry *last = &m->entries[m->batch.entry_count - 1];
        r->index = last->index, r->term = last->term;
    } else if (m->batch.reset) {
        r->index = r->term = 0;
    } else if (m->batch.truncate && r->index > m->batch.truncate_after) {
        r->index = r->term = 0;
    }
}

static void *log_thread_main(void *arg)
{
    struct log_thread *t = arg;
    struct merge merge = {0};
    list_init(&merge.jobs);
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (list_empty(&t->queue) && t->compact_index == 0 && !t->stop)
            pthread_cond_wait(&t->wake, &t->lock);
        if (list_empty(&t->queue) && t->stop)
            break;
        bool failed = t->result.error != ERR_OK;
        uint64_t compact_index = t->compact_index, compacted_index = 0;
        t->compact_index = 0;
        merge_take(&merge, &t->queue);
        pthread_mutex_unlock(&t->lock);

        bool wrote = !failed && !list_empty(&merge.jobs), compacted = false;
        enum err e = wrote ? raftlog_write(t->raftlog, &merge.batch) : ERR_OK;
        if (e == ERR_OK && !failed && compact_index > 0) {
            e = raftlog_compact(t->raftlog, compact_index, &compacted_index);
            compacted = e == ERR_OK;
        }
        merge_release(&merge);

        pthread_mutex_lock(&t->lock);
        if (e != ERR_OK)
            t->result.error = e;
        else if (wrote)
            note_written(&t->result, &merge);
        if (compacted)
            t->result.compacted = true, t->result.compacted_index = compacted_index;
        if (!failed)
            uv_async_send(&t->async);
    }
    pthread_mutex_unlock(&t->lock);
    free(merge.entries);
    return NULL;
}

static void on_async(uv_async_t *async)
{
    struct log_thread *t = async->data;
    pthread_mutex_lock(&t->lock);
    struct log_thread_result result = t->result;
    t->result.compacted = false;
    pthread_mutex_unlock(&t->lock);
    t->done(t->context, &result);
}

struct log_thread *log_thread_new(uv_loop_t *loop, struct raftlog *raftlog, struct raft_hard_state hard,
                                  void (*done)(void *context, const struct log_thread_result *result), void *context)
{
    struct log_thread *t = MEM_NEW(struct log_thread);
    t->raftlog = raftlog;
    t->done = done, t->context = context;
    t->result.hard = hard;
    list_init(&t->queue);
    CHECK(uv_async_init(loop, &t->async, on_async) == 0);
    t->async.data = t;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    CHECK(pthread_create(&t->thread, NULL, log_thread_main, t) == 0);
    return t;
}

uint64_t log_thread_push(struct log_thread *t, const struct raft_update *u)
{
    size_t data_bytes = 0;
    for (unsigned i = 0; i < u->entry_count; i++)
        data_bytes += u->entries[i].data.size;
    struct job *j = mem_alloc(sizeof *j + u->entry_count * sizeof *j->entries + data_bytes);
    *j = (struct job){.sequence = ++t->pushed,
                      .reset = u->reset,
                      .reset_index = u->reset_index,
                      .reset_term = u->reset_term,
                      .truncate = u->truncate,
                      .truncate_after = u->truncate_after,
                      .hard_state_changed = u->hard_state_changed,
                      .hard = u->hard,
                      .entry_count = u->entry_count,
                      .data_bytes = data_bytes};
    uint8_t *at = (uint8_t *)(j->entries + u->entry_count);
    for (unsigned i = 0; i < u->entry_count; i++) {
        j->entries[i] = u->entries[i];
        j->entries[i].data.data = at;
        if (u->entries[i].data.size > 0)
            memcpy(at, u->entries[i].data.data, u->entries[i].data.size);
        at += u->entries[i].data.size;
    }
    pthread_mutex_lock(&t->lock);
    list_push_back(&t->queue, &j->link);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    return t->pushed;
}

void log_thread_compact(struct log_thread *t, uint64_t index)
{
    pthread_mutex_lock(&t->lock);
    t->compact_index = MAX(t->compact_index, index);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void log_thread_free(struct log_thread *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    uv_close((uv_handle_t *)&t->async, on_closed);
}
