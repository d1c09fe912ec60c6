/* Keeping the log short. What goes is in this member's state on disk; who still needs it gets a snapshot instead. While
 * the log is within twice its limits, members that are there but behind are waited for: entries are cheaper to send
 * than a whole state. */
#define LOG_MODULE "compact"
#include "base/log.h"
#include "replica/internal.h"

/* Fewer entries than this part of the limit are not worth a flush of the state. */
#define STEP_PART 5u

static bool is_over(const struct replica *r, const struct raftlog_bounds *b, uint64_t times)
{
    return b->bytes > times * r->options.log_bytes ||
           b->last_index - b->compacted_index > times * r->options.log_entries;
}

/* The slowest of those that a snapshot is not the better way for. */
static uint64_t slowest_member(const struct replica *r)
{
    struct raft_status status;
    raft_status(r->raft, &status);
    uint64_t slowest = UINT64_MAX;
    for (unsigned i = 0; i < status.progress_count; i++)
        if (status.role == RAFT_LEADER && status.progress[i].active && !status.progress[i].needs_snapshot)
            slowest = MIN(slowest, status.progress[i].match);
    return slowest;
}

static uint64_t wanted_index(const struct replica *r, const struct raftlog_bounds *bounds)
{
    uint64_t applied = meta_applied_index(r->meta), index = applied, everywhere = raft_compactable(r->raft);
    index -= MIN(index, r->options.log_keep_entries);
    if (!is_over(r, bounds, 2))
        index = MIN(index, slowest_member(r));
    if (!is_over(r, bounds, 4))
        index = MIN(index, snapshot_floor(r));
    return MIN(MAX(index, everywhere), applied);
}

void compact_second(struct replica *r)
{
    struct raftlog_bounds bounds;
    raftlog_bounds(r->log, &bounds);
    if (!is_over(r, &bounds, 1) || r->reset_number != 0)
        return;
    uint64_t wanted = wanted_index(r, &bounds), flushed;
    uint64_t step = r->options.log_entries / STEP_PART;
    if (wanted <= MAX(bounds.compacted_index, r->compact_asked) || wanted < bounds.compacted_index + step)
        return;
    enum err e = meta_flushed_index(r->meta, &flushed);
    /* The flush runs in the background; a later call finds what it did. */
    if (e == ERR_OK && flushed < wanted && !r->flush_started) {
        r->flush_started = true;
        e = meta_flush(r->meta, false);
    } else if (e == ERR_OK) {
        r->flush_started = false;
        r->compact_asked = MIN(flushed, wanted);
        if (r->compact_asked > bounds.compacted_index)
            r->env.compact(r->env.context, r->compact_asked);
    }
    if (e != ERR_OK)
        replica_fail(r, "the state can't be written to disk: %s", err_message(e));
}
