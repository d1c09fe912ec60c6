/* terms.h: the term of every entry of a log, as runs of equal terms. Private to raftlog/. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct term_run {
    uint64_t first_index, term;
};
/* Zero-initialised is empty. Indexes and terms of the runs both rise. */
struct term_runs {
    struct term_run *runs;
    size_t count, room;
};

/* `index` is the one after everything that was pushed before; terms never fall. */
void term_runs_push(struct term_runs *t, uint64_t index, uint64_t term);
/* The term of an index that is not before the first run; 0 when there is none. */
uint64_t term_runs_at(const struct term_runs *t, uint64_t index);
void term_runs_cut(struct term_runs *t, uint64_t after);      /* forgets what is behind it */
void term_runs_compact(struct term_runs *t, uint64_t before); /* forgets what is before it */
void term_runs_free(struct term_runs *t);
