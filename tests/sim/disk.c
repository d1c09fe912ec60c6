#include "tests/sim/disk.h"

#include <string.h>

#include "base/check.h"
#include "tests/sim/checks.h"

struct log_job {
    struct list_node link;
    uint64_t number;  /* 0: a compaction */
    uint64_t compact; /* index */
    struct raftlog_batch batch;
    struct arena arena;
};

static void job_free(struct log_job *j)
{
    arena_free(&j->arena);
    free(j);
}

void disk_drop(struct member *m)
{
    for (struct list_node *node; (node = list_pop_front(&m->jobs));)
        job_free(container_of(node, struct log_job, link));
    m->disk_busy = false;
}

static void note_written(struct member *m, const struct log_job *j)
{
    struct replica_log_result *r = &m->written;
    const struct raftlog_batch *b = &j->batch;
    r->number = j->number;
    if (b->hard_state_changed)
        r->hard = b->hard;
    if (b->entry_count > 0)
        r->index = b->entries[b->entry_count - 1].index, r->term = b->entries[b->entry_count - 1].term;
    else if (b->reset || (b->truncate && r->index > b->truncate_after))
        r->index = r->term = 0;
}

static void begin(struct member *m);

static void write_batch(struct world *w, struct member *m, const struct log_job *j)
{
    bool cut = m->cut_write_after > 0;
    if (cut)
        m->disk.dead_after = m->disk.calls + m->cut_write_after - 1;
    w->counts.log_writes++;
    enum err e = raftlog_write(replica_log(m->replica), &j->batch);
    if (cut) {
        m->cut_write_after = 0;
        trace(w, m->index, "power goes during write %llu", (unsigned long long)j->number);
        member_crash(w, m, MEMBER_CRASH_POWER);
        return;
    }
    if (e == ERR_OK)
        note_written(m, j);
    else
        m->written.number = j->number, m->written.error = e;
    trace(w, m->index, "wrote %llu: %u entries%s%s%s: %s", (unsigned long long)j->number, j->batch.entry_count,
          j->batch.reset ? ", reset" : "", j->batch.truncate ? ", truncated" : "",
          j->batch.hard_state_changed ? ", term and vote" : "", err_name(e));
    replica_persisted(m->replica, &m->written);
}

static void compact(struct world *w, struct member *m, uint64_t index)
{
    uint64_t compacted;
    enum err e = raftlog_compact(replica_log(m->replica), index, &compacted);
    trace(w, m->index, "log cut at %llu: %s", (unsigned long long)index, err_name(e));
    if (e == ERR_OK) {
        replica_compacted(m->replica, compacted);
        return;
    }
    m->written.error = e;
    replica_persisted(m->replica, &m->written);
}

static void finish(struct world *w, struct event *e)
{
    struct member *m = w->members[e->member];
    struct list_node *node = list_pop_front(&m->jobs);
    m->disk_busy = false;
    if (!node || !m->replica)
        return;
    struct log_job *j = container_of(node, struct log_job, link);
    if (j->number > 0)
        write_batch(w, m, j);
    else
        compact(w, m, j->compact);
    job_free(j);
    if (!m->replica)
        return;
    begin(m);
    member_settle(w, m);
}

/* One at a time, as the log's thread does it. */
static void begin(struct member *m)
{
    struct world *w = m->world;
    if (m->disk_busy || list_empty(&m->jobs))
        return;
    m->disk_busy = true;
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.member = m->index, .life = m->life, .run = finish};
    world_after(w, world_between_ns(w, w->plan.disk_min_ns, w->plan.disk_max_ns), e);
}

static void push(struct member *m, struct log_job *j)
{
    list_push_back(&m->jobs, &j->link);
    begin(m);
}

void disk_persist(struct member *m, uint64_t number, const struct raft_update *u)
{
    struct log_job *j = MEM_NEW(struct log_job);
    j->number = number;
    j->batch = (struct raftlog_batch){.reset = u->reset,
                                      .reset_index = u->reset_index,
                                      .reset_term = u->reset_term,
                                      .truncate = u->truncate,
                                      .truncate_after = u->truncate_after,
                                      .hard_state_changed = u->hard_state_changed,
                                      .hard = u->hard,
                                      .entry_count = u->entry_count};
    struct raft_entry *entries = arena_alloc(&j->arena, MAX(u->entry_count, 1u) * sizeof *entries);
    for (unsigned i = 0; i < u->entry_count; i++) {
        entries[i] = u->entries[i];
        entries[i].data = arena_slice(&j->arena, entries[i].data);
    }
    j->batch.entries = entries;
    push(m, j);
}

void disk_compact(struct member *m, uint64_t index)
{
    struct log_job *j = MEM_NEW(struct log_job);
    j->compact = index;
    push(m, j);
}

/* ---- rot: of the log; what RocksDB has in its files, a seed does not decide ---- */

#define ROT_BITS_MAX 3u

static void turn_bit(struct bytes *b, uint64_t at, unsigned bit)
{
    if (at < b->size)
        b->data[at] ^= (uint8_t)(1u << bit);
}

static unsigned rot_log(struct member *m, struct prng *p)
{
    bool durability = m->world->plan.durability && prng_below(p, 2) == 0;
    struct sim_names *names = durability ? &m->durability_disk.current : &m->disk.current;
    if (names->count == 0)
        return 0;
    struct file_table_file *file = names->all[prng_below(p, names->count)].file;
    if (file->current.size == 0)
        return 0;
    uint64_t at = prng_below(p, file->current.size);
    unsigned bit = (unsigned)prng_below(p, 8);
    turn_bit(&file->current, at, bit);
    turn_bit(&file->durable, at, bit);
    return 1;
}

unsigned disk_rot(struct member *m)
{
    struct prng *p = &m->world->prng;
    unsigned turned = 0;
    for (uint64_t n = 1 + prng_below(p, ROT_BITS_MAX); n > 0; n--)
        turned += rot_log(m, p);
    return turned;
}
