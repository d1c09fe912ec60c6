/* Snapshots, both ways. The leader makes one when a member needs entries that its log does not have any more, and
 * offers it; the member fetches it piece by piece, at its own pace, and goes on where it was after whatever broke off.
 * One snapshot at a time is at hand, for all who need one; memory is that of its manifest and of one piece.
 *
 *   outgoing: NONE --> MAKING (on a worker) --> READY --> NONE, when nobody needs or fetches it
 *   incoming: NONE --> FETCHING --> CHECKING (on a worker) --> COMPLETE --> installed: NONE
 *                         ^            | damaged: asks again
 *                         +------------+
 * A snapshot is installed between two steps of raft: the old state is closed, the new one takes its place in one atomic
 * step (snapshot/state_dir.h), raft empties its log. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "snapshot"
#include "base/check.h"
#include "base/log.h"
#include "replica/internal.h"

#define OFFER_EVERY_NS (200 * NS_PER_MS)
#define FETCH_AGAIN_NS (500 * NS_PER_MS) /* a piece that has not come is asked for again */
#define FETCHING_NS (2 * NS_PER_S)       /* who fetched this long ago is taken to be fetching */
#define KEEP_NS (30 * NS_PER_S)          /* a snapshot that nobody asked for since goes */
#define STALLED_NS (3 * NS_PER_S)        /* without a piece for this long, another offer is taken */

_Static_assert(SNAPSHOT_CHUNK_BYTES <= REPLICA_CHUNK_BYTES && SNAPSHOT_MANIFEST_BYTES_MAX <= REPLICA_MANIFEST_BYTES_MAX,
               "a piece and a manifest fit in a message");

static bool within(int64_t then_ns, int64_t now_ns, int64_t span_ns)
{
    return then_ns != INT64_MIN && now_ns - then_ns < span_ns;
}

/* ---- outgoing ---- */

static void outgoing_run(struct replica_work *work)
{
    struct outgoing *o = container_of(work, struct outgoing, work);
    struct arena arena = {0};
    struct meta_snapshot_info info;
    o->error = meta_checkpoint(o->replica->meta, o->path, &o->why);
    if (o->error == ERR_OK)
        o->error = meta_inspect(o->path, &arena, &info, &o->why);
    if (o->error == ERR_OK) {
        o->index = info.index, o->term = info.term, o->level = info.level;
        o->error = snapshot_source_open(o->path, info.index, info.term, &o->source, &o->why);
    }
    arena_free(&arena);
}

static void outgoing_drop(struct outgoing *o)
{
    snapshot_source_close(o->source);
    o->source = NULL;
    if (o->path[0] && state_dir_remove(o->path) != ERR_OK)
        log_warn("%s can't be removed", o->path);
    o->path[0] = 0;
    o->stage = OUTGOING_NONE;
}

static void outgoing_done(struct replica_work *work)
{
    struct outgoing *o = container_of(work, struct outgoing, work);
    struct replica *r = o->replica;
    o->used_ns = replica_now_ns(r);
    if (o->error != ERR_OK) {
        log_error("a snapshot can't be made: %s", o->why.text);
        outgoing_drop(o);
        return;
    }
    bytes_clear(&o->manifest);
    snapshot_manifest_encode(snapshot_source_manifest(o->source), &o->manifest);
    o->stage = OUTGOING_READY;
    log_info("snapshot of entry %" PRIu64 " made: %" PRIu64 " bytes in %u files", o->index,
             snapshot_manifest_bytes(snapshot_source_manifest(o->source)), snapshot_source_manifest(o->source)->count);
}

static void outgoing_make(struct replica *r)
{
    struct outgoing *o = &r->outgoing;
    r->env.random(r->env.context, &o->id, sizeof o->id);
    o->replica = r;
    if (meta_write_out(r->meta) != ERR_OK) {
        replica_fail(r, "the metadata can't be written for a snapshot");
        return;
    }
    o->work = (struct replica_work){.run = outgoing_run, .done = outgoing_done};
    o->stage = OUTGOING_MAKING;
    o->begun_index = meta_applied_index(r->meta);
    o->index = 0;
    snprintf(o->path, sizeof o->path, "%.*s/outgoing-%016" PRIx64, PATH_MAX - 64, r->data_path, o->id);
    r->env.work(r->env.context, &o->work);
}

static void offer(struct replica *r, struct peer_state *p, int64_t now_ns)
{
    struct outgoing *o = &r->outgoing;
    o->used_ns = now_ns;
    if (within(p->offered_ns, now_ns, OFFER_EVERY_NS) || within(p->fetched_ns, now_ns, FETCHING_NS))
        return;
    p->offered_ns = now_ns;
    struct replica_message m = {.type = REPLICA_OFFER,
                                .to = p->id,
                                .snapshot = o->id,
                                .level = o->level,
                                .manifest = bytes_slice(&o->manifest)};
    driver_send(r, &m);
}

/* Whether anybody needs a snapshot; offers the one at hand where it helps. */
static bool serve_members(struct replica *r, int64_t now_ns)
{
    struct outgoing *o = &r->outgoing;
    struct raft_status status;
    bool needed = false;
    raft_status(r->raft, &status);
    for (unsigned i = 0; i < status.progress_count && r->role == RAFT_LEADER; i++) {
        struct peer_state *p = replica_peer(r, status.progress[i].id);
        if (!p || !status.progress[i].needs_snapshot || !status.progress[i].active)
            continue;
        needed = true;
        if (o->stage == OUTGOING_READY && o->index >= status.compacted)
            offer(r, p, now_ns);
    }
    return needed;
}

static void outgoing_soon(struct replica *r)
{
    struct outgoing *o = &r->outgoing;
    int64_t now_ns = replica_now_ns(r);
    bool needed = serve_members(r, now_ns);
    /* One that does not reach the log any more helps nobody: what follows it is gone. */
    bool useless =
        o->stage == OUTGOING_READY && (o->index < r->compacted_index || (!needed && now_ns - o->used_ns > KEEP_NS));
    if (useless)
        outgoing_drop(o);
    if (needed && o->stage == OUTGOING_NONE)
        outgoing_make(r);
}

static void on_fetch(struct replica *r, const struct replica_message *m)
{
    struct outgoing *o = &r->outgoing;
    struct peer_state *p = replica_peer(r, m->from);
    struct replica_message answer = {
        .type = REPLICA_CHUNK, .to = m->from, .snapshot = m->snapshot, .file = m->file, .offset = m->offset};
    if (o->stage != OUTGOING_READY || m->snapshot != o->id || !p) {
        answer.gone = true;
        driver_send(r, &answer);
        return;
    }
    enum err e = snapshot_source_read(o->source, m->file, m->offset, &o->chunk);
    if (e == ERR_INVAL)
        return; /* nonsense */
    if (e != ERR_OK) {
        replica_fail(r, "a snapshot can't be read: %s", err_message(e));
        return;
    }
    o->used_ns = p->fetched_ns = replica_now_ns(r);
    p->fetched_bytes += o->chunk.size;
    answer.data = bytes_slice(&o->chunk);
    driver_send(r, &answer);
}

uint64_t snapshot_floor(const struct replica *r)
{
    return r->outgoing.stage == OUTGOING_READY  ? r->outgoing.index
           : r->outgoing.stage == OUTGOING_NONE ? UINT64_MAX
                                                : r->outgoing.begun_index;
}

/* ---- incoming ---- */

static void incoming_drop(struct incoming *in)
{
    snapshot_sink_close(in->sink);
    in->sink = NULL;
    in->complete_path = NULL;
    in->stage = INCOMING_NONE;
}

static bool is_wanted(const struct replica *r, const struct snapshot_manifest *m)
{
    return r->role == RAFT_FOLLOWER && raft_wants_snapshot(r->raft, m->index, m->term);
}

static void incoming_run(struct replica_work *work)
{
    struct incoming *in = container_of(work, struct incoming, work);
    in->error = snapshot_sink_finish(in->sink, &in->complete_path, &in->why);
}

static void ask(struct replica *r);

static void incoming_done(struct replica_work *work)
{
    struct incoming *in = container_of(work, struct incoming, work);
    struct replica *r = in->replica;
    if (in->error == ERR_CORRUPT) {
        log_warn("what came of a snapshot is damaged and is fetched again: %s", in->why.text);
        in->stage = INCOMING_FETCHING;
        ask(r);
    } else if (in->error != ERR_OK) {
        replica_fail(r, "a snapshot can't be written: %s", in->why.text);
        incoming_drop(in);
    } else {
        in->stage = INCOMING_COMPLETE;
        r->env.wake(r->env.context); /* installed outside of any step */
    }
}

/* Asks for the next piece, or has all of them checked. */
static void ask(struct replica *r)
{
    struct incoming *in = &r->incoming;
    struct replica_message m = {.type = REPLICA_FETCH, .to = in->from, .snapshot = in->id};
    if (in->stage != INCOMING_FETCHING || !replica_in_service(r))
        return;
    if (snapshot_sink_next(in->sink, &m.file, &m.offset)) {
        in->asked_ns = replica_now_ns(r);
        driver_send(r, &m);
        return;
    }
    in->stage = INCOMING_CHECKING;
    in->replica = r;
    in->work = (struct replica_work){.run = incoming_run, .done = incoming_done};
    r->env.work(r->env.context, &in->work);
}

static void on_offer(struct replica *r, const struct replica_message *m)
{
    struct incoming *in = &r->incoming;
    struct snapshot_manifest manifest;
    int64_t now_ns = replica_now_ns(r);
    bool busy = in->stage == INCOMING_CHECKING || in->stage == INCOMING_COMPLETE ||
                (in->stage == INCOMING_FETCHING && within(in->heard_ns, now_ns, STALLED_NS));
    if (busy)
        return;
    if (snapshot_manifest_decode(m->manifest, &manifest) != ERR_OK) {
        log_warn("member %u offers a snapshot whose manifest can't be read", m->from);
        return;
    }
    bool wanted = is_wanted(r, &manifest);
    uint64_t index = manifest.index, bytes = snapshot_manifest_bytes(&manifest);
    snapshot_manifest_free(&manifest);
    if (!wanted)
        return;
    if (m->level > r->options.level_max) {
        replica_fail(r,
                     "member %u offers a state of level %u, this program knows up to level %u: a newer surfd is needed",
                     m->from, m->level, r->options.level_max);
        return;
    }
    struct err_text why;
    incoming_drop(in);
    snprintf(in->path, sizeof in->path, "%.*s/incoming", PATH_MAX - 16, r->data_path);
    enum err e = snapshot_sink_open(in->path, m->manifest, &in->sink, &why);
    if (e != ERR_OK) {
        replica_fail(r, "a snapshot can't be written: %s", why.text);
        return;
    }
    log_info("fetching a snapshot of entry %" PRIu64 ", %" PRIu64 " bytes, from member %u; %" PRIu64
             " are here already",
             index, bytes, m->from, snapshot_sink_bytes(in->sink));
    in->stage = INCOMING_FETCHING;
    in->id = m->snapshot;
    in->from = m->from;
    in->heard_ns = now_ns;
    ask(r);
}

static void on_chunk(struct replica *r, const struct replica_message *m)
{
    struct incoming *in = &r->incoming;
    if (in->stage != INCOMING_FETCHING || m->snapshot != in->id)
        return;
    if (m->gone) {
        incoming_drop(in);
        return;
    }
    uint32_t file;
    uint64_t offset;
    if (!snapshot_sink_next(in->sink, &file, &offset) || file != m->file || offset != m->offset)
        return; /* late or doubled: the answer to the last question is what counts */
    enum err e = snapshot_sink_write(in->sink, m->file, m->offset, m->data);
    if (e == ERR_INVAL) {
        log_warn("member %u sends a piece of a snapshot that does not fit", m->from);
    } else if (e != ERR_OK) {
        replica_fail(r, "a snapshot can't be written: %s", err_message(e));
    } else {
        in->heard_ns = replica_now_ns(r);
        ask(r);
    }
}

void snapshot_receive(struct replica *r, const struct replica_message *m)
{
    if (m->type == REPLICA_FETCH)
        on_fetch(r, m);
    else if (m->type == REPLICA_OFFER)
        on_offer(r, m);
    else
        on_chunk(r, m);
}

/* ---- installing ---- */

static enum err open_state(struct replica *r, struct err_text *why)
{
    struct meta_options options = {.path = r->state_dir.path,
                                   .cache_bytes = r->options.meta_cache_bytes,
                                   .write_buffer_bytes = r->options.meta_write_buffer_bytes,
                                   .level_max = r->options.level_max,
                                   .lose_unflushed = r->options.lose_unflushed};
    return meta_open(&options, &r->meta, why);
}

/* What raft is to know of the new state. */
static enum err installed_config(struct replica *r, struct raft_config *ret, uint64_t *ret_index, struct err_text *why)
{
    struct arena arena = {0};
    struct slice encoded;
    enum err e = meta_config(r->meta, &arena, &encoded, ret_index);
    if (e == ERR_OK && *ret_index == 0)
        *ret = r->options.bootstrap;
    else if (e == ERR_OK)
        e = raft_config_decode(encoded, ret);
    arena_free(&arena);
    return e == ERR_OK ? ERR_OK : err_explain(why, e, "the configuration in a snapshot can't be read");
}

/* A worker may be making a snapshot of the old state, or looking at it: that is to end first. */
static bool may_install(struct replica *r)
{
    return r->incoming.stage == INCOMING_COMPLETE && r->outgoing.stage != OUTGOING_MAKING && !r->stepping &&
           r->reset_number == 0 && look_end(r);
}

static void install(struct replica *r)
{
    struct incoming *in = &r->incoming;
    const struct snapshot_manifest *m = snapshot_sink_manifest(in->sink);
    struct raft_event event = {.type = RAFT_EVENT_INSTALLED};
    struct raft_config config;
    struct err_text why = {""};
    if (!is_wanted(r, m)) {
        incoming_drop(in); /* entries came meanwhile, from this leader or another */
        return;
    }
    event.installed.index = m->index, event.installed.term = m->term;
    log_info("installing the snapshot of entry %" PRIu64, m->index);
    meta_plant_keep_name(r->meta, false);
    meta_close(r->meta);
    r->meta = NULL;
    enum err e = state_dir_install(&r->state_dir, in->complete_path, m->index, m->term, &why);
    incoming_drop(in);
    enum err opened = open_state(r, e == ERR_OK ? &why : NULL);
    if (opened == ERR_OK && e == ERR_OK)
        e = installed_config(r, &config, &event.installed.config_index, &why);
    if (opened != ERR_OK || e != ERR_OK) {
        replica_fail(r, "a snapshot can't be installed: %s", why.text);
        return;
    }
    meta_plant_forget_replies(r->meta);
    meta_plant_keep_name(r->meta, true);
    event.installed.config = &config;
    r->backlog.at = r->backlog.count = 0;
    changes_reset(r);
    kv_events_reset(r);
    durable_installed(r);
    r->applied_to_report = 0;
    r->compacted_index = r->compact_asked = event.installed.index;
    r->reset_number = r->persist_given + 1; /* what the step below gives to persist */
    r->snapshots_installed++;
    (void)!driver_step(r, &event);
    CHECK(r->fault.text[0] || r->persist_given >= r->reset_number);
    if (!r->fault.text[0])
        apply_tell_cluster_id(r);
    reads_applied(r);
}

void snapshot_install_if_complete(struct replica *r)
{
    if (replica_in_service(r) && may_install(r))
        install(r);
}

void snapshot_persisted(struct replica *r)
{
    struct err_text why;
    if (r->reset_number == 0 || r->persist_done < r->reset_number || r->fault.text[0])
        return;
    r->reset_number = 0;
    if (state_dir_settle(&r->state_dir, &why) != ERR_OK)
        replica_fail(r, "%s", why.text);
}

void snapshot_soon(struct replica *r)
{
    struct incoming *in = &r->incoming;
    int64_t now_ns = replica_now_ns(r);
    if (!replica_in_service(r))
        return;
    outgoing_soon(r);
    if (in->stage == INCOMING_FETCHING && !is_wanted(r, snapshot_sink_manifest(in->sink)))
        incoming_drop(in);
    else if (in->stage == INCOMING_FETCHING && now_ns - in->asked_ns >= FETCH_AGAIN_NS)
        ask(r);
    else
        snapshot_install_if_complete(r);
}

void snapshot_close(struct replica *r)
{
    CHECK(r->outgoing.stage != OUTGOING_MAKING && r->incoming.stage != INCOMING_CHECKING);
    CHECK(r->look_count == 0);
    outgoing_drop(&r->outgoing);
    bytes_free(&r->outgoing.manifest);
    bytes_free(&r->outgoing.chunk);
    incoming_drop(&r->incoming);
}
