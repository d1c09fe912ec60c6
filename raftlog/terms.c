#include "raftlog/terms.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void term_runs_push(struct term_runs *t, uint64_t index, uint64_t term)
{
    if (t->count > 0 && t->runs[t->count - 1].term == term)
        return;
    CHECK(t->count == 0 || (t->runs[t->count - 1].term < term && t->runs[t->count - 1].first_index < index));
    if (t->count == t->room) {
        t->room = MAX(t->room * 2, (size_t)16);
        t->runs = mem_realloc(t->runs, t->room * sizeof *t->runs);
    }
    t->runs[t->count++] = (struct term_run){.first_index = index, .term = term};
}

/* How many runs begin at or before the index. */
static size_t runs_to(const struct term_runs *t, uint64_t index)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->runs[middle].first_index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t term_runs_at(const struct term_runs *t, uint64_t index)
{
    size_t n = runs_to(t, index);
    return n > 0 ? t->runs[n - 1].term : 0;
}

void term_runs_cut(struct term_runs *t, uint64_t after)
{
    t->count = runs_to(t, after);
}

void term_runs_compact(struct term_runs *t, uint64_t before)
{
    size_t n = runs_to(t, before);
    if (n < 2)
        return;
    memmove(t->runs, t->runs + n - 1, (t->count - n + 1) * sizeof *t->runs);
    t->count -= n - 1;
}

void term_runs_free(struct term_runs *t)
{
    free(t->runs);
    *t = (struct term_runs){0};
}
