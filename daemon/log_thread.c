#include "daemon/log_thread.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOG_MODULE "log"
#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#define QUICK_NS INT64_C(1000000) /* writes that take longer on average are the thread's */
#define AVERAGED_WRITES 8         /* the last ones weigh most: one that took long sends the next dozens to the thread */
#define SERVED_MAX 3u             /* requests since the write before: whoever serves more has others waiting */

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

/* What a write merges; owned by the thread. */
struct merge {
    struct raftlog_batch batch;
    struct raft_entry *entries;
    unsigned capacity;
    struct list jobs;
    uint64_t sequence;
    size_t bytes;
};

struct log_thread {
    struct raftlog *raftlog;
    void (*done)(void *context, const struct log_thread_result *result);
    void *context;
    pthread_t thread;

    /* The loop's. */
    uint64_t pushed;
    unsigned served;  /* since the last push */
    struct job *here; /* for log_thread_turn; NULL: none */
    uv_poll_t poll;   /* of event_fd */

    int event_fd;         /* libuv's own way to wake a loop spins in it until the other thread is back from doing so */
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t wake;
    struct list queue;
    uint64_t compact_index; /* 0: nothing asked for */
    bool writing;           /* somebody is at the log: the thread or the loop */
    bool stop;
    bool told;          /* the loop will look at the result */
    int64_t average_ns; /* that a write took lately */
    struct log_thread_result result;
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
static void note_written(struct log_thread_result *r, uint64_t sequence, const struct raftlog_batch *batch)
{
    r->sequence = sequence;
    if (batch->hard_state_changed)
        r->hard = batch->hard;
    if (batch->entry_count > 0) {
        const struct raft_entry *last = &batch->entries[batch->entry_count - 1];
        r->index = last->index, r->term = last->term;
    } else if (batch->reset) {
        r->index = r->term = 0;
    } else if (batch->truncate && r->index > batch->truncate_after) {
        r->index = r->term = 0;
    }
}

/* The lock is not held. How long it took is in *ret_ns. */
static enum err write_timed(struct log_thread *t, const struct raftlog_batch *batch, int64_t *ret_ns)
{
    int64_t begun_ns = clock_boot_ns();
    enum err e = raftlog_write(t->raftlog, batch);
    *ret_ns = clock_boot_ns() - begun_ns;
    return e;
}

/* The lock is held. */
static void note_outcome(struct log_thread *t, uint64_t sequence, const struct raftlog_batch *batch, enum err e,
                         int64_t took_ns)
{
    t->average_ns += (took_ns - t->average_ns) / AVERAGED_WRITES;
    if (e == ERR_OK)
        note_written(&t->result, sequence, batch);
    else
        t->result.error = e;
}

static void tell_loop(struct log_thread *t)
{
    const uint64_t one = 1;
    CHECK(write(t->event_fd, &one, sizeof one) == sizeof one);
}

static bool has_work(const struct log_thread *t)
{
    return !list_empty(&t->queue) || t->compact_index != 0;
}

static void *log_thread_main(void *arg)
{
    struct log_thread *t = arg;
    struct merge merge = {0};
    list_init(&merge.jobs);
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (t->writing || (!has_work(t) && !t->stop))
            pthread_cond_wait(&t->wake, &t->lock);
        if (list_empty(&t->queue) && t->stop)
            break;
        bool failed = t->result.error != ERR_OK;
        uint64_t compact_index = t->compact_index, compacted_index = 0;
        t->compact_index = 0;
        merge_take(&merge, &t->queue);
        t->writing = true;
        pthread_mutex_unlock(&t->lock);

        bool wrote = !failed && !list_empty(&merge.jobs), compacted = false;
        int64_t took_ns = 0;
        enum err written = wrote ? write_timed(t, &merge.batch, &took_ns) : ERR_OK, e = written;
        if (e == ERR_OK && !failed && compact_index > 0) {
            e = raftlog_compact(t->raftlog, compact_index, &compacted_index);
            compacted = e == ERR_OK;
        }
        merge_release(&merge);

        pthread_mutex_lock(&t->lock);
        t->writing = false;
        if (wrote)
            note_outcome(t, merge.sequence, &merge.batch, written, took_ns);
        if (e != ERR_OK)
            t->result.error = e;
        if (compacted)
            t->result.compacted = true, t->result.compacted_index = compacted_index;
        bool tell = !failed && !t->told;
        t->told = t->told || tell;
        if (!tell)
            continue;
        /* Without the lock: whom it wakes takes it first of all, and would only go to sleep again. */
        pthread_mutex_unlock(&t->lock);
        tell_loop(t);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    free(merge.entries);
    return NULL;
}

/* The lock is held. */
static struct log_thread_result take_result(struct log_thread *t)
{
    struct log_thread_result result = t->result;
    t->result.compacted = false;
    return result;
}

static void on_told(uv_poll_t *poll, int status, int events)
{
    struct log_thread *t = poll->data;
    uint64_t times;
    (void)status, (void)events;
    if (read(t->event_fd, &times, sizeof times) != sizeof times)
        return;
    pthread_mutex_lock(&t->lock);
    t->told = false;
    struct log_thread_result result = take_result(t);
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
    t->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(t->event_fd >= 0);
    CHECK(uv_poll_init(loop, &t->poll, t->event_fd) == 0 && uv_poll_start(&t->poll, UV_READABLE, on_told) == 0);
    t->poll.data = t;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    thread_start(&t->thread, log_thread_main, t);
    return t;
}

static struct job *job_new(uint64_t sequence, const struct raft_update *u)
{
    size_t data_bytes = 0;
    for (unsigned i = 0; i < u->entry_count; i++)
        data_bytes += u->entries[i].data.size;
    struct job *j = mem_alloc(sizeof *j + u->entry_count * sizeof *j->entries + data_bytes);
    *j = (struct job){.sequence = sequence,
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
    return j;
}

/* The lock is held. */
static void queue_here(struct log_thread *t)
{
    if (t->here)
        list_push_back(&t->queue, &t->here->link);
    t->here = NULL;
}

uint64_t log_thread_push(struct log_thread *t, const struct raft_update *u, bool *ret_here)
{
    struct job *j = job_new(++t->pushed, u);
    bool alone = u->entry_count == 1 && !u->reset && !u->truncate && !u->hard_state_changed && !t->here &&
                 t->served <= SERVED_MAX;
    t->served = 0;
    pthread_mutex_lock(&t->lock);
    *ret_here = alone && !t->writing && !has_work(t) && t->average_ns < QUICK_NS && t->result.error == ERR_OK;
    queue_here(t);
    if (*ret_here)
        t->here = j;
    else
        list_push_back(&t->queue, &j->link);
    pthread_mutex_unlock(&t->lock);
    if (!*ret_here)
        pthread_cond_signal(&t->wake); /* who wakes takes the lock at once, so it had better be free */
    return t->pushed;
}

void log_thread_served(struct log_thread *t)
{
    t->served++;
}

static struct raftlog_batch batch_of(const struct job *j)
{
    return (struct raftlog_batch){.entries = j->entries, .entry_count = j->entry_count};
}

/* The job if the loop may write it; the log is the loop's then. NULL: it is the thread's. */
static struct job *take_here(struct log_thread *t)
{
    struct job *j = t->here;
    struct raftlog_batch batch = batch_of(j);
    pthread_mutex_lock(&t->lock);
    bool mine = !t->writing && !has_work(t) && raftlog_is_short(t->raftlog, &batch);
    if (mine)
        t->writing = true, t->here = NULL;
    else
        queue_here(t);
    pthread_mutex_unlock(&t->lock);
    if (!mine)
        pthread_cond_signal(&t->wake);
    return mine ? j : NULL;
}

void log_thread_turn(struct log_thread *t)
{
    _cleanup_free_ struct job *j = t->here ? take_here(t) : NULL;
    if (!j)
        return;
    struct raftlog_batch batch = batch_of(j);
    int64_t took_ns;
    enum err e = write_timed(t, &batch, &took_ns);
    pthread_mutex_lock(&t->lock);
    t->writing = false;
    note_outcome(t, j->sequence, &batch, e, took_ns);
    struct log_thread_result result = take_result(t);
    pthread_mutex_unlock(&t->lock);
    t->done(t->context, &result);
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
    struct log_thread *t = handle->data;
    close(t->event_fd);
    free(t);
}

void log_thread_free(struct log_thread *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    queue_here(t);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    uv_close((uv_handle_t *)&t->poll, on_closed);
}
