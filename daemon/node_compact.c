/* Keeping the log short. Entries go when they are in this member's state on disk and on every member
 * (raft_compactable), so nobody ever needs what is gone. */
#define LOG_MODULE "compact"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/node.h"

void node_compact(struct node *n)
{
    struct raftlog_bounds bounds;
    raftlog_bounds(n->raftlog, &bounds);
    if (bounds.bytes <= NODE_LOG_COMPACT_BYTES &&
        bounds.last_index - bounds.compacted_index <= NODE_LOG_COMPACT_ENTRIES)
        return;
    uint64_t wanted = raft_compactable(n->raft), flushed;
    if (wanted < bounds.compacted_index + NODE_LOG_COMPACT_STEP)
        return;
    enum err e = meta_flushed_index(n->meta, &flushed);
    /* The flush runs in the background; a later call finds what it did. */
    if (e == ERR_OK && flushed + NODE_LOG_COMPACT_STEP <= wanted && !n->flush_started) {
        n->flush_started = true;
        e = meta_flush(n->meta, false);
    } else if (e == ERR_OK) {
        n->flush_started = false;
        if (MIN(flushed, wanted) > bounds.compacted_index)
            log_thread_compact(n->log_thread, MIN(flushed, wanted));
    }
    if (e != ERR_OK)
        log_warn("the log can't be compacted now: %s", err_message(e));
}
