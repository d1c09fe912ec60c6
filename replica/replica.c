/* Opening and closing one member: its files agree with one another, or it does not start. */
#include "replica/replica.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "replica"
#include "base/check.h"
#include "base/log.h"
#include "meta/level.h"
#include "replica/internal.h"

#define REBUILD_HINT "; if the others have it all, surfd --rebuild makes this member anew from them"

/* What the log and the state say of each other. */
static enum err check_restart(const struct replica *r, const struct raft_restart *restart, struct err_text *why)
{
    uint64_t applied = restart->applied_index;
    /* A member that knows its cluster has applied at least the first entry. */
    if (restart->last_index == 0 && r->options.known_cluster)
        return err_explain(why, ERR_CORRUPT,
                           "%.100s/log is empty, but this node had one: its entries and votes are lost" REBUILD_HINT,
                           r->data_path);
    if (applied < restart->compacted_index)
        return err_explain(why, ERR_CORRUPT,
                           "%.60s has applied up to entry %" PRIu64 ", but its log begins behind %" PRIu64
                           ": entries in between are lost" REBUILD_HINT,
                           r->data_path, applied, restart->compacted_index);
    if (restart->last_index < applied)
        return err_explain(why, ERR_CORRUPT,
                           "%.60s: the log ends at entry %" PRIu64 ", but the state has applied up to %" PRIu64
                           ": the log has lost entries" REBUILD_HINT,
                           r->data_path, restart->last_index, applied);
    return ERR_OK;
}

static enum err open_meta(struct replica *r, struct err_text *why)
{
    const struct replica_options *o = &r->options;
    TRY(state_dir_open(r->data_path, &r->state_dir, why));
    struct meta_options options = {.path = r->state_dir.path,
                                   .cache_bytes = o->meta_cache_bytes,
                                   .write_buffer_bytes = o->meta_write_buffer_bytes,
                                   .level_max = o->level_max,
                                   .lose_unflushed = o->lose_unflushed};
    return meta_open(&options, &r->meta, why);
}

static enum err open_log(struct replica *r, struct raft_restart *restart, struct err_text *why)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/log", PATH_MAX - 16, r->data_path);
    struct raftlog_options options = {
        .files = r->options.files, .path = path, .segment_bytes = r->options.segment_bytes};
    memcpy(options.identity, r->options.identity, sizeof options.identity);
    TRY(raftlog_open(&options, &r->log, restart, why));
    restart->applied_index = meta_applied_index(r->meta);
    return ERR_OK;
}

/* A snapshot was installed and then the power failed before the log was emptied. */
static enum err finish_reset(struct replica *r, struct raft_restart *restart, struct err_text *why)
{
    struct state_dir *d = &r->state_dir;
    if (!d->reset_due)
        return ERR_OK;
    if (restart->compacted_index < d->index) {
        struct raftlog_batch batch = {.reset = true, .reset_index = d->index, .reset_term = d->term};
        if (restart->hard.term < d->term) {
            restart->hard = (struct raft_hard_state){.term = d->term};
            batch.hard_state_changed = true;
            batch.hard = restart->hard;
        }
        log_info("the log is emptied for the snapshot of entry %" PRIu64 " that was installed", d->index);
        enum err e = raftlog_write(r->log, &batch);
        if (e != ERR_OK)
            return err_explain(why, e, "%.100s/log can't be written: %s", r->data_path, err_message(e));
        restart->compacted_index = restart->last_index = d->index;
        restart->compacted_term = d->term;
    }
    return state_dir_settle(d, why);
}

static enum err load_config(struct replica *r, struct raft_restart *restart, struct err_text *why)
{
    struct arena arena = {0};
    struct slice encoded;
    enum err e = meta_config(r->meta, &arena, &encoded, &restart->config_index);
    if (e == ERR_OK && restart->config_index == 0)
        restart->config = r->options.bootstrap;
    else if (e == ERR_OK)
        e = raft_config_decode(encoded, &restart->config);
    arena_free(&arena);
    return e == ERR_OK ? ERR_OK
                       : err_explain(why, e, "%.100s: the members in the state can't be read: %s" REBUILD_HINT,
                                     r->data_path, err_message(e));
}

static enum err open_parts(struct replica *r, struct err_text *why)
{
    struct raft_restart restart;
    TRY(divergence_check_mark(r, why));
    TRY(open_meta(r, why));
    TRY(open_log(r, &restart, why));
    TRY(finish_reset(r, &restart, why));
    TRY(check_restart(r, &restart, why));
    TRY(load_config(r, &restart, why));
    TRY(driver_open(r, &restart, why));
    return durable_open(r, why);
}

enum err replica_open(const struct replica_options *options, const struct replica_env *env, struct replica **ret,
                      struct err_text *why)
{
    struct replica *r = MEM_NEW(struct replica);
    r->options = *options;
    r->env = *env;
    snprintf(r->data_path, sizeof r->data_path, "%s", options->data);
    r->options.data = r->data_path;
    if (r->options.level_max == 0)
        r->options.level_max = META_LEVEL_MAX;
    list_init(&r->held_messages);
    list_init(&r->queued);
    list_init(&r->proposed);
    list_init(&r->waiting_reads);
    list_init(&r->looks);
    list_init(&r->durable.waiting);
    list_init(&r->durable.pending);
    list_init(&r->durable.ready);
    list_init(&r->durable.ready_asks);
    visible_open(r);
    r->changes = change_ring_new(CHANGE_RING_BYTES);
    r->kv_ring = kv_ring_new(KV_RING_BYTES);
    enum err e = open_parts(r, why);
    if (e != ERR_OK) {
        replica_close(r, false);
        return e;
    }
    changes_reset(r);
    kv_events_reset(r);
    duties_open(r);
    *ret = r;
    return ERR_OK;
}

void replica_stop(struct replica *r)
{
    r->closing = true;
    propose_fail(r, ERR_SHUTDOWN);
    reads_fail(r, ERR_SHUTDOWN);
    durable_fail(r, ERR_SHUTDOWN);
    visible_stop(r);
    (void)look_end(r);
}

void replica_close(struct replica *r, bool flush)
{
    if (!r)
        return;
    replica_stop(r);
    duties_close(r);
    snapshot_close(r);
    driver_close(r);
    durable_close(r);
    if (r->meta && flush && !r->fault.text[0] && meta_flush(r->meta, true) != ERR_OK)
        log_warn("the state could not be flushed; the log has it");
    raftlog_close(r->log);
    meta_close(r->meta);
    map_u64_free(&r->reads);
    visible_close(r);
    change_ring_free(r->changes);
    kv_ring_free(r->kv_ring);
    free(r);
}

/* ---- time ---- */

int64_t replica_deadline_ns(const struct replica *r)
{
    if (!replica_in_service(r))
        return INT64_MAX;
    int64_t duties = duties_deadline_ns(r);
    return r->removed_at != 0 ? duties : MIN(r->raft_deadline_ns, duties);
}

void replica_tick(struct replica *r)
{
    if (!replica_in_service(r))
        return;
    /* Who was removed doesn't ask for votes any more; a leader that takes it back is heard all the same. */
    if (r->removed_at == 0 && replica_now_ns(r) >= r->raft_deadline_ns) {
        struct raft_event tick = {.type = RAFT_EVENT_TICK};
        (void)!driver_step(r, &tick);
    }
    if (replica_in_service(r))
        duties_tick(r);
}

void replica_turn(struct replica *r)
{
    driver_turn(r);
    durable_turn(r);
    visible_turn(r);
    snapshot_install_if_complete(r);
}

/* ---- service ---- */

static void step_down(struct replica *r)
{
    struct raft_event e = {.type = RAFT_EVENT_STEP_DOWN};
    if (!r->fault.text[0])
        (void)!driver_step(r, &e);
}

void replica_suspend(struct replica *r)
{
    if (r->suspended)
        return;
    step_down(r);
    r->suspended = true;
    propose_fail(r, ERR_CRASHED);
    reads_fail(r, ERR_CRASHED);
    durable_fail(r, ERR_CRASHED);
    driver_drop_held_messages(r);
}

void replica_resume(struct replica *r)
{
    if (!r->suspended)
        return;
    r->suspended = false;
    step_down(r); /* also sets the deadline */
}

void replica_fail(struct replica *r, const char *format, ...)
{
    if (r->fault.text[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(r->fault.text, sizeof r->fault.text, format, args);
    va_end(args);
    r->env.fault(r->env.context, r->fault.text);
}

enum err replica_campaign(struct replica *r)
{
    struct raft_event e = {.type = RAFT_EVENT_CAMPAIGN};
    return driver_step(r, &e);
}

enum err replica_transfer(struct replica *r, uint32_t to)
{
    struct raft_event e = {.type = RAFT_EVENT_TRANSFER, .transfer.target = to};
    return driver_step(r, &e);
}

enum err replica_heartbeat(struct replica *r)
{
    struct raft_event e = {.type = RAFT_EVENT_HEARTBEAT};
    return driver_step(r, &e);
}

/* ---- what it knows ---- */

struct raftlog *replica_log(struct replica *r)
{
    return r->log;
}

struct meta *replica_meta(struct replica *r)
{
    return r->meta;
}

const struct raft_config *replica_config(const struct replica *r)
{
    return raft_config(r->raft);
}

static void snapshot_status(struct replica *r, struct replica_status *ret)
{
    const struct incoming *in = &r->incoming;
    int64_t now_ns = replica_now_ns(r);
    if (in->sink) {
        uint64_t total = snapshot_manifest_bytes(snapshot_sink_manifest(in->sink));
        /* While a worker checks it, how much is there is the worker's. */
        ret->receiving = (struct replica_snapshot_status){
            .peer = in->from,
            .index = snapshot_sink_manifest(in->sink)->index,
            .bytes = in->stage == INCOMING_CHECKING ? total : snapshot_sink_bytes(in->sink),
            .total_bytes = total};
    }
    for (unsigned i = 0; i < LIMIT_NODES && r->outgoing.stage == OUTGOING_READY; i++) {
        const struct peer_state *p = &r->peers[i];
        if (p->id == 0 || p->fetched_ns == INT64_MIN || now_ns - p->fetched_ns > 2 * NS_PER_S)
            continue;
        ret->sending[ret->sending_count++] = (struct replica_snapshot_status){
            .peer = p->id,
            .index = r->outgoing.index,
            .bytes = p->fetched_bytes,
            .total_bytes = snapshot_manifest_bytes(snapshot_source_manifest(r->outgoing.source))};
    }
}

void replica_leases(const struct replica *r, struct leases_status *ret)
{
    leases_status(r->leases, replica_now_ns(r), ret);
}

void replica_status(struct replica *r, struct replica_status *ret)
{
    *ret = (struct replica_status){.leader_ready = r->leader_ready,
                                   .suspended = r->suspended,
                                   .fault = r->fault.text,
                                   .snapshots_sent = r->snapshots_sent,
                                   .snapshots_installed = r->snapshots_installed,
                                   .hashes_compared = r->hashes_compared,
                                   .epoch_hurry = r->epoch_hurry};
    ret->puts_taken = r->durable.taken;
    ret->puts_acknowledged = r->durable.acknowledged;
    ret->puts_recovered = r->durable.recovered;
    ret->puts_waiting = r->durable.log ? durability_log_count(r->durable.log) : 0;
    raft_status(r->raft, &ret->raft);
    ret->removed = replica_is_removed(r);
    struct raftlog_bounds bounds;
    raftlog_bounds(r->log, &bounds);
    ret->log_bytes = bounds.bytes;
    ret->log_segments = bounds.segments;
    if (r->meta && meta_flushed_index(r->meta, &ret->flushed_index) != ERR_OK)
        ret->flushed_index = 0;
    snapshot_status(r, ret);
}
