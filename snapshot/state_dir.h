/* state_dir.h: which directory holds the replicated state, so that a whole new state takes the place of the old one in
 * one atomic step.
 *
 *   BASE/state      small file: the number of the current directory; while a snapshot's log reset is due, also the
 *                   snapshot's index and term
 *   BASE/meta-N/    the state
 *   BASE/incoming/  a snapshot that is being received (snapshot/sink.h)
 *   BASE/outgoing-* snapshots that are being sent
 *
 * Installing: the complete, synced new directory is renamed to meta-(N+1), then the small file is replaced. A crash
 * before that leaves the old state, one behind it the new one with `reset_due`: then the log is still the old one, and
 * whoever opens both resets it to (index, term) unless it begins there or later already. One thread. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct state_dir {
    char base[PATH_MAX];
    char path[PATH_MAX]; /* of the current state */
    uint64_t number;
    bool reset_due;
    uint64_t index, term; /* of the snapshot, while reset_due */
};

/* Reads the small file, or makes the first one and an empty directory (the state in it is for meta_open to make). What
 * a crash left over is removed: other meta-*, outgoing-*; incoming stays. ERR_CORRUPT when the small file is damaged,
 * or says a directory that is not there or without a state, or is missing while there is a meta-*. */
enum err state_dir_open(const char *base, struct state_dir *ret, struct err_text *why) MUST_USE;
/* The state in `path`, a directory below BASE, becomes the current one; durable when it returns. Neither is open. The
 * old directory is removed. On an error *d is unchanged, and either state may be found at the next open. */
enum err state_dir_install(struct state_dir *d, const char *path, uint64_t index, uint64_t term,
                           struct err_text *why) MUST_USE;
/* The log has been reset: forgets reset_due. */
enum err state_dir_settle(struct state_dir *d, struct err_text *why) MUST_USE;
/* Removes a directory with the files in it (no deeper ones). A missing one is fine. */
enum err state_dir_remove(const char *path) MUST_USE;
