/* node.c: the driver of one member: its disk, its clock, its state machine, and carrying out updates. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/raft_sim/sim.h"

static int64_t local_time(const struct sim *s, const struct sim_node *n)
{
    return n->clock_offset_ns + s->now_ns + s->now_ns / 1000000 * n->clock_ppm +
           s->now_ns % 1000000 * n->clock_ppm / 1000000;
}

/* When the node's clock will show `local_ns`, or a little later. */
static int64_t world_time(const struct sim_node *n, int64_t local_ns)
{
    int64_t local = local_ns - n->clock_offset_ns, rate = 1000000 + n->clock_ppm;
    return local / rate * 1000000 + local % rate * 1000000 / rate + 1000;
}

/* ---- what the core reads ---- */

static struct sim *the_world; /* the storage's context is the node alone */

static enum err storage_read(void *context, uint64_t from, unsigned max_count, size_t max_bytes,
                             struct raft_entry *ret_entries, unsigned *ret_count)
{
    struct sim_node *n = context;
    size_t bytes = 0;
    unsigned count = 0;
    if (from <= n->compacted || from > n->durable.last)
        sim_fail(the_world, "node %u reads entry %llu, but has (%llu, %llu] on disk", n->id, (unsigned long long)from,
                 (unsigned long long)n->compacted, (unsigned long long)n->durable.last);
    for (; count < max_count && from + count <= n->durable.last && (count == 0 || bytes < max_bytes); count++) {
        const struct sim_entry *e = sim_log_at(&n->durable, from + count);
        ret_entries[count] =
            (struct raft_entry){.index = from + count, .term = e->term, .type = e->type, .data = sim_entry_data(e)};
        bytes += ret_entries[count].data.size;
    }
    *ret_count = count;
    return ERR_OK;
}

static enum err storage_term(void *context, uint64_t index, uint64_t *ret_term)
{
    struct sim_node *n = context;
    if (index < n->compacted || index > n->durable.last)
        sim_fail(the_world, "node %u asks for the term of entry %llu, but has [%llu, %llu] on disk", n->id,
                 (unsigned long long)index, (unsigned long long)n->compacted, (unsigned long long)n->durable.last);
    *ret_term = index == 0 ? 0 : sim_log_at(&n->durable, index)->term;
    return ERR_OK;
}

/* ---- disk ---- */

static void start_writing(struct sim *s, struct sim_node *n)
{
    if (n->writing > 0 || n->write_count == 0)
        return;
    n->writing = (unsigned)sim_between(s, 1, n->write_count);
    sim_post(s, s->now_ns + sim_between(s, 10000, s->temper.write_ns), SIM_WRITTEN, n->id, NULL);
}

/* Carries out the first `parts` parts of a write: the reset, the truncation, the hard state, each entry. Before a reset
 * the hard state comes first: its term must not be below that which the log then ends in. */
static unsigned write_parts(struct sim_node *n, const struct sim_write *w, unsigned parts)
{
    unsigned done = 0;
    bool hard_first = w->reset && w->hard_changed;
    if (hard_first && done < parts) {
        n->durable_hard = w->hard;
        done++;
    }
    if (w->reset && done < parts) {
        sim_log_reset(the_world, &n->durable, w->reset_index);
        n->durable_compacted = w->reset_index;
        n->reset_due = false;
        done++;
    }
    if (w->truncate && done < parts) {
        CHECK(n->reset_due || w->truncate_after >= n->checkpoint.applied);
        n->durable.last = MIN(n->durable.last, w->truncate_after);
        done++;
    }
    if (w->hard_changed && !hard_first && done < parts) {
        n->durable_hard = w->hard;
        done++;
    }
    for (unsigned i = 0; i < w->entry_count && done < parts; i++, done++)
        sim_log_set(&n->durable, &w->entries[i]);
    return done;
}

static struct sim_write *pop_write(struct sim_node *n)
{
    struct sim_write *w = n->writes;
    n->writes = w->next;
    n->write_count--;
    if (!n->writes)
        n->writes_end = &n->writes;
    return w;
}

static void free_write(struct sim_write *w)
{
    for (unsigned i = 0; i < w->message_count; i++)
        free(w->messages[i]);
    free(w->messages);
    if (w->entries)
        free(container_of(w->entries, struct sim_message, entries));
    free(w);
}

void sim_written(struct sim *s, struct sim_node *n)
{
    for (; n->writing > 0; n->writing--) {
        struct sim_write *w = pop_write(n);
        write_parts(n, w, UINT32_MAX);
        for (unsigned i = 0; i < w->message_count; i++)
            sim_send(s, w->messages[i]);
        w->message_count = 0;
        free_write(w);
    }
    start_writing(s, n);
    uint64_t last = n->durable.last;
    struct raft_event event = {
        .type = RAFT_EVENT_PERSISTED,
        .persisted = {.index = last, .term = last ? sim_log_at(&n->durable, last)->term : 0, .hard = n->durable_hard}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
}

static void give_to_disk(struct sim *s, struct sim_node *n, const struct raft_update *u)
{
    unsigned waiting = 0;
    for (unsigned i = 0; i < u->message_count; i++)
        waiting += u->messages[i].after_persist;
    bool writes = u->reset || u->truncate || u->hard_state_changed || u->entry_count > 0;
    if (!writes && (waiting == 0 || n->write_count == 0)) {
        for (unsigned i = 0; i < u->message_count; i++)
            if (u->messages[i].after_persist)
                sim_send(s, sim_message_copy(&u->messages[i]));
        return;
    }
    struct sim_write *w = MEM_NEW(struct sim_write);
    w->reset = u->reset;
    w->reset_index = u->reset_index;
    w->truncate = u->truncate;
    w->truncate_after = u->truncate_after;
    w->hard_changed = u->hard_state_changed;
    w->hard = u->hard;
    w->entry_count = u->entry_count;
    if (u->entry_count > 0)
        w->entries =
            sim_message_copy(&(struct raft_message){.entries = u->entries, .entry_count = u->entry_count})->entries;
    w->messages = mem_alloc((waiting + 1) * sizeof *w->messages);
    for (unsigned i = 0; i < u->message_count; i++)
        if (u->messages[i].after_persist)
            w->messages[w->message_count++] = sim_message_copy(&u->messages[i]);
    *n->writes_end = w;
    n->writes_end = &w->next;
    n->write_count++;
    start_writing(s, n);
}

/* ---- state machine and reads ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    struct prng p;
    prng_seed(&p, hash ^ (value * UINT64_C(0x9e3779b97f4a7c15)));
    return prng_next(&p) | 1;
}

static void answer_reads(struct sim *s, struct sim_node *n)
{
    for (unsigned i = 0; i < s->read_count;) {
        struct sim_read *r = &s->reads[i];
        if (r->node == n->id && r->index > 0 && r->index <= n->machine.applied) {
            s->reads_answered++;
            *r = s->reads[--s->read_count];
        } else {
            i++;
        }
    }
}

void sim_apply(struct sim *s, struct sim_node *n)
{
    while (n->machine.applied < n->apply_to) {
        uint64_t index = n->machine.applied + 1;
        if (index > n->durable.last)
            sim_fail(s, "node %u applies entry %llu, which is not on its disk", n->id, (unsigned long long)index);
        const struct sim_entry *e = sim_log_at(&n->durable, index);
        n->machine.hash = mix(mix(mix(n->machine.hash, index), e->term), e->size);
        if (e->type == RAFT_ENTRY_COMMAND) {
            memcpy(&n->machine.value, e->data, sizeof n->machine.value);
            n->machine.hash = mix(n->machine.hash, n->machine.value);
        } else if (e->type == RAFT_ENTRY_CONFIG) {
            memcpy(&n->machine.config, e->data, sizeof n->machine.config);
            n->machine.config_index = index;
            n->machine.hash = mix(n->machine.hash, n->machine.config);
        }
        n->machine.applied = index;
        n->machine.applied_term = e->term;
        check_applied(s, n);
    }
    answer_reads(s, n);
    if (sim_chance(s, s->temper.checkpoint))
        n->checkpoint = n->machine;
    struct raft_event event = {.type = RAFT_EVENT_APPLIED, .applied = {.index = n->machine.applied}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
    if (sim_chance(s, s->temper.compact))
        sim_compact(s, n);
}

static void take_reads(struct sim *s, struct sim_node *n, const struct raft_update *u)
{
    for (unsigned i = 0; i < u->read_count; i++) {
        struct sim_read *r = NULL;
        for (unsigned k = 0; k < s->read_count && !r; k++)
            if (s->reads[k].id == u->reads[i].id && s->reads[k].node == n->id && s->reads[k].index == 0)
                r = &s->reads[k];
        if (!r)
            sim_fail(s, "node %u answers read %llu, which nobody has asked (or it was answered before)", n->id,
                     (unsigned long long)u->reads[i].id);
        if (u->reads[i].status != ERR_OK) {
            *r = s->reads[--s->read_count];
            continue;
        }
        r->index = u->reads[i].index;
        check_read(s, r, n);
    }
    answer_reads(s, n);
}

/* While nobody has come, gone, lost a disk or been sent a snapshot, what the core calls needed by nobody is with
 * everybody. */
static void check_compactable(const struct sim *s, const struct sim_node *n, uint64_t index)
{
    for (uint32_t id = 1; id <= s->node_count; id++)
        if (s->changes + s->snapshots + s->losses == 0 && raft_config_find(sim_config(s->config), id) &&
            s->nodes[id].durable.last < index)
            sim_fail(s, "node %u may compact up to %llu, but node %u has only %llu entries", n->id,
                     (unsigned long long)index, id, (unsigned long long)s->nodes[id].durable.last);
}

void sim_compact(struct sim *s, struct sim_node *n)
{
    uint64_t free = MIN(raft_compactable(n->raft), n->machine.applied);
    check_compactable(s, n, free);
    struct raft_status status;
    raft_status(n->raft, &status);
    uint64_t index = sim_chance(s, s->temper.rude) ? status.applied : free;
    if (index <= n->compacted || n->reset_due)
        return;
    index = (uint64_t)sim_between(s, (int64_t)n->compacted + 1, (int64_t)index);
    n->checkpoint = n->machine;
    n->compacted = n->durable_compacted = index;
    sim_trace(s, n->id, "compacts up to %llu", (unsigned long long)index);
    struct raft_event event = {.type = RAFT_EVENT_COMPACTED, .compacted = {.index = index}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
}

void sim_install(struct sim *s, struct sim_node *n, const struct sim_snapshot *snapshot)
{
    const struct sim_machine *m = &snapshot->machine;
    if (n->reset_due || n->identity != snapshot->to_identity ||
        !raft_wants_snapshot(n->raft, m->applied, m->applied_term))
        return;
    sim_trace(s, n->id, "installs node %u's snapshot of entry %llu", snapshot->from, (unsigned long long)m->applied);
    s->snapshots++;
    n->machine = n->checkpoint = *m;
    n->apply_to = n->compacted = m->applied;
    if (m->config_index == 0)
        n->first_config = m->config;
    n->reset_due = true;
    check_applied(s, n);
    struct raft_event event = {.type = RAFT_EVENT_INSTALLED,
                               .installed = {.index = m->applied,
                                             .term = m->applied_term,
                                             .config = sim_config(m->config),
                                             .config_index = m->config_index}};
    struct raft_update update;
    sim_step(s, n, &event, &update);
    answer_reads(s, n);
}

/* ---- steps ---- */

static void take_committed(struct sim *s, struct sim_node *n, const struct raft_update *u)
{
    for (unsigned i = 0; i < u->committed_count; i++) {
        const struct raft_entry *e = &u->committed[i];
        if (e->index != n->apply_to + 1 || e->index > n->shadow.last)
            sim_fail(s, "node %u is to apply entry %llu after %llu", n->id, (unsigned long long)e->index,
                     (unsigned long long)n->apply_to);
        const struct sim_entry *have = sim_log_at(&n->shadow, e->index);
        if (have->term != e->term || !slice_equal(sim_entry_data(have), e->data))
            sim_fail(s, "node %u is to apply an entry %llu that differs from its log's", n->id,
                     (unsigned long long)e->index);
        n->apply_to = e->index;
    }
    if (u->committed_count > 0)
        sim_post(s, s->now_ns + sim_between(s, 1000, s->temper.apply_ns), SIM_APPLY, n->id, NULL);
}

static void take_log(struct sim *s, struct sim_node *n, const struct raft_update *u)
{
    if (u->reset) {
        if (u->reset_index != n->checkpoint.applied || u->reset_term != n->checkpoint.applied_term)
            sim_fail(s, "node %u empties its log for entry %llu, its state is that of %llu", n->id,
                     (unsigned long long)u->reset_index, (unsigned long long)n->checkpoint.applied);
        sim_log_reset(s, &n->shadow, u->reset_index);
    }
    if (u->truncate) {
        if (u->truncate_after >= n->shadow.last)
            sim_fail(s, "node %u cuts its log at %llu, but it ends at %llu", n->id,
                     (unsigned long long)u->truncate_after, (unsigned long long)n->shadow.last);
        n->shadow.last = u->truncate_after;
    }
    for (unsigned i = 0; i < u->entry_count; i++) {
        sim_log_set(&n->shadow, &u->entries[i]);
        check_given(s, n, &u->entries[i]);
    }
}

void sim_step(struct sim *s, struct sim_node *n, struct raft_event *event, struct raft_update *ret)
{
    event->now_ns = local_time(s, n);
    s->steps++;
    raft_step(n->raft, event, ret);
    take_log(s, n, ret);
    check_step(s, n);
    if (ret->config_changed || ret->truncate)
        check_config(s, n);
    if (ret->config_changed)
        n->config = *raft_config(n->raft);
    for (unsigned i = 0; i < ret->message_count; i++)
        if (!ret->messages[i].after_persist)
            sim_send(s, sim_message_copy(&ret->messages[i]));
    give_to_disk(s, n, ret);
    if (ret->hard_state_changed && ret->hard.vote != 0 && !s->healing && sim_chance(s, s->temper.voter_crash))
        sim_post(s, s->now_ns + sim_between(s, 0, s->temper.write_ns), SIM_CRASH, n->id, NULL);
    take_committed(s, n, ret);
    take_reads(s, n, ret);
    if (n->role == RAFT_LEADER)
        sim_offer_snapshots(s, n);
    n->deadline_ns = ret->deadline_ns;
    if (n->deadline_ns == INT64_MAX)
        return;
    int64_t at = world_time(n, n->deadline_ns);
    if (n->tick_at_ns == 0 || at < n->tick_at_ns) {
        n->tick_at_ns = MAX(at, s->now_ns + 1);
        sim_post(s, n->tick_at_ns, SIM_TICK, n->id, NULL);
    }
}

void sim_tick(struct sim *s, struct sim_node *n)
{
    if (s->now_ns != n->tick_at_ns && n->tick_at_ns > s->now_ns)
        return; /* an earlier one was queued meanwhile, and has queued its successor */
    n->tick_at_ns = 0;
    struct raft_event event = {.type = RAFT_EVENT_TICK};
    struct raft_update update;
    sim_step(s, n, &event, &update);
}

/* ---- start and crash ---- */

/* A snapshot was installed, and the log was not emptied for it before the crash. */
static void finish_reset(const struct sim *s, struct sim_node *n)
{
    if (!n->reset_due)
        return;
    n->reset_due = false;
    sim_log_reset(s, &n->durable, n->checkpoint.applied);
    n->durable_compacted = n->checkpoint.applied;
    if (n->durable_hard.term < n->checkpoint.applied_term)
        n->durable_hard = (struct raft_hard_state){.term = n->checkpoint.applied_term};
}

void sim_start(struct sim *s, struct sim_node *n)
{
    CHECK(!n->raft);
    the_world = s;
    n->incarnation++;
    finish_reset(s, n);
    n->compacted = n->durable_compacted;
    struct raft_options options = {.id = n->id,
                                   .election = s->election,
                                   .reads = s->reads_by,
                                   .election_timeout_ns = SIM_ELECTION_NS,
                                   .heartbeat_ns = SIM_ELECTION_NS / 5,
                                   .lease_drift_ns = SIM_LEASE_DRIFT_NS,
                                   .seed = prng_next(&s->prng),
                                   .cache_bytes = s->cache_bytes};
    put_u32be(options.identity, n->identity);
    struct raft_restart restart = {.hard = n->durable_hard,
                                   .compacted_index = n->compacted,
                                   .compacted_term = n->compacted ? sim_log_at(&n->durable, n->compacted)->term : 0,
                                   .last_index = n->durable.last,
                                   .applied_index = n->checkpoint.applied,
                                   .config = *sim_config(n->checkpoint.config),
                                   .config_index = n->checkpoint.config_index,
                                   .fresh = !n->ever_started};
    struct raft_storage storage = {.context = n, .read = storage_read, .term = storage_term};
    struct err_text why = {0};
    if (raft_open(&options, &restart, &storage, local_time(s, n), &n->raft, &why) != ERR_OK)
        sim_fail(s, "node %u can't start: %s", n->id, why.text);
    n->config = *raft_config(n->raft);
    n->ever_started = true;
    n->machine = n->checkpoint;
    n->apply_to = n->machine.applied;
    n->committed = n->checkpoint.applied;
    n->role = RAFT_FOLLOWER;
    n->term = n->durable_hard.term;
    n->shadow.last = 0;
    for (uint64_t i = 1; i <= n->durable.last; i++) {
        const struct sim_entry *e = sim_log_at(&n->durable, i);
        sim_log_set(&n->shadow,
                    &(struct raft_entry){.index = i, .term = e->term, .type = e->type, .data = sim_entry_data(e)});
    }
    sim_trace(s, n->id, "starts: term %llu vote %u, log (%llu, %llu], applied %llu",
              (unsigned long long)n->durable_hard.term, n->durable_hard.vote, (unsigned long long)n->compacted,
              (unsigned long long)n->durable.last, (unsigned long long)n->machine.applied);
    n->tick_at_ns = 0;
    sim_tick(s, n);
}

void sim_crash(struct sim *s, struct sim_node *n)
{
    CHECK(n->raft);
    s->crashes++;
    /* Any prefix of what the disk was given may be there; the messages that waited for it are not sent. */
    bool none = sim_chance(s, 500);
    unsigned whole = n->write_count > 0 && !none ? (unsigned)sim_between(s, 0, n->write_count) : 0;
    unsigned kept = none ? 1 : 0;
    for (; n->write_count > 0;) {
        struct sim_write *w = pop_write(n);
        if (kept < whole)
            write_parts(n, w, UINT32_MAX);
        else if (kept == whole)
            write_parts(n, w, (unsigned)sim_between(s, 0, w->entry_count + 3));
        kept++;
        free_write(w);
    }
    n->writing = 0;
    raft_close(n->raft);
    n->raft = NULL;
    n->incarnation++;
    n->suspended = false;
    n->paused_until_ns = 0;
    for (unsigned i = 0; i < s->read_count;)
        if (s->reads[i].node == n->id)
            s->reads[i] = s->reads[--s->read_count];
        else
            i++;
    sim_trace(s, n->id, "crashes; term %llu vote %u and %llu entries stay", (unsigned long long)n->durable_hard.term,
              n->durable_hard.vote, (unsigned long long)n->durable.last);
}

void sim_lose_disk(struct sim *s, struct sim_node *n)
{
    CHECK(!n->raft);
    s->losses++;
    struct sim_log lost = n->lost;
    n->lost = n->durable;
    n->lost_identity = n->identity;
    n->durable = lost;
    n->identity = ++s->next_identity;
    n->shadow.last = n->durable.last = 0;
    n->durable_hard = (struct raft_hard_state){0};
    n->compacted = n->durable_compacted = 0;
    n->reset_due = n->ever_started = false;
    n->first_config = s->empty_config;
    n->checkpoint = (struct sim_machine){.config = n->first_config};
    sim_trace(s, n->id, "has lost its disk, and is number %u now", n->identity);
}

void sim_node_close(struct sim_node *n)
{
    while (n->write_count > 0)
        free_write(pop_write(n));
    raft_close(n->raft);
    free(n->shadow.entries);
    free(n->durable.entries);
    free(n->lost.entries);
}
