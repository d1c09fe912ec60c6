/* log.h: the log as the core sees it: the newest entries in memory, older ones through raft_storage. Private to raft/.
 *
 *   compacted < first <= last + 1        memory holds [first, last]; [compacted + 1, first - 1] is read from the
 * storage compacted <= applied <= last persisted <= last, given <= last     given: handed to the driver to be written
 *
 * What isn't applied or isn't durable is always in memory, except entries that were found on disk at the start. Entries
 * lie in one array without gaps, so a run of them is a pointer and a count; such a pointer lives until the next append,
 * truncation or eviction. */
#pragma once

#include "base/arena.h"
#include "raft/raft.h"

struct raft_log {
    struct raft_storage storage;
    uint64_t compacted, compacted_term;
    uint64_t first;       /* index of the first entry in memory; last + 1 when there is none */
    uint64_t before_term; /* term of the entry at first - 1 */
    uint64_t last, last_term;
    uint64_t applied, persisted, given;
    struct raft_entry *array; /* memory: array[at .. at + last - first] */
    size_t at, capacity;
    size_t bytes;       /* of the entries in memory */
    size_t open_bytes;  /* of those that aren't applied */
    size_t cache_bytes; /* applied, durable entries are dropped from memory while bytes is over this */
};

enum err raft_log_open(struct raft_log *l, const struct raft_restart *restart, const struct raft_storage *storage,
                       size_t cache_bytes, struct err_text *why) MUST_USE;
void raft_log_close(struct raft_log *l);

/* ERR_NOT_FOUND outside of [compacted, last]; otherwise what the storage says. */
enum err raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *ret_term) MUST_USE;
/* An entry in memory: first <= index <= last. */
const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index);
/* How many entries from `from`, which is in memory, up to `to` fit in a batch; at least one. */
unsigned raft_log_run(const struct raft_log *l, uint64_t from, uint64_t to);
/* Entries that are no longer in memory: a batch from `from`, not beyond `to` < first. The array comes from the arena,
 * the data is the storage's until its next read. */
enum err raft_log_read(const struct raft_log *l, uint64_t from, uint64_t to, struct arena *arena,
                       const struct raft_entry **ret_entries, unsigned *ret_count) MUST_USE;
/* The first (last) index in [low, high] whose term is `term` or greater (or less); terms never fall along a log.
 * high + 1 (low - 1) when there is none. */
enum err raft_log_first_from_term(const struct raft_log *l, uint64_t term, uint64_t low, uint64_t high,
                                  uint64_t *ret_index) MUST_USE;
enum err raft_log_last_to_term(const struct raft_log *l, uint64_t term, uint64_t low, uint64_t high,
                               uint64_t *ret_index) MUST_USE;

/* Copies the data. The index is last + 1. */
void raft_log_append(struct raft_log *l, uint64_t term, enum raft_entry_type type, struct slice data);
/* Makes `after`, whose term is after_term, the last entry. Not below applied. */
void raft_log_truncate(struct raft_log *l, uint64_t after, uint64_t after_term);
void raft_log_applied(struct raft_log *l, uint64_t index);
/* Empty, as if compacted up to an entry that it need not hold; all that is said of it is durable and applied. */
void raft_log_reset(struct raft_log *l, uint64_t index, uint64_t term);
void raft_log_compact(struct raft_log *l, uint64_t index, uint64_t term);
/* Drops from memory what is applied, durable and over cache_bytes. */
void raft_log_evict(struct raft_log *l);
