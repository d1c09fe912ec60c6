#include "raft/log.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* What an entry takes in memory; the struct is counted so that a flood of empty entries is bounded too. */
static size_t entry_bytes(const struct raft_entry *e)
{
    return sizeof *e + e->data.size;
}

enum err raft_log_open(struct raft_log *l, const struct raft_restart *restart, const struct raft_storage *storage,
                       size_t cache_bytes, struct err_text *why)
{
    if (restart->applied_index < restart->compacted_index || restart->last_index < restart->applied_index)
        return err_explain(why, ERR_CORRUPT, "log [%llu, %llu] does not hold applied index %llu",
                           (unsigned long long)restart->compacted_index, (unsigned long long)restart->last_index,
                           (unsigned long long)restart->applied_index);
    *l = (struct raft_log){
        .storage = *storage,
        .compacted = restart->compacted_index,
        .compacted_term = restart->compacted_term,
        .first = restart->last_index + 1,
        .last = restart->last_index,
        .applied = restart->applied_index,
        .persisted = restart->last_index,
        .given = restart->last_index,
        .cache_bytes = cache_bytes,
        .last_term = restart->compacted_term,
    };
    if (l->last > l->compacted) {
        enum err e = storage->term(storage->context, l->last, &l->last_term);
        if (e != ERR_OK)
            return err_explain(why, e, "can't read the term of log entry %llu: %s", (unsigned long long)l->last,
                               err_message(e));
    }
    l->before_term = l->last_term;
    if (l->last_term > restart->hard.term)
        return err_explain(why, ERR_CORRUPT, "log ends in term %llu, but the stored term is %llu",
                           (unsigned long long)l->last_term, (unsigned long long)restart->hard.term);
    return ERR_OK;
}

static void drop_data(const struct raft_entry *e)
{
    void *data;
    memcpy(&data, &e->data.data, sizeof data); /* the slice is read-only for everybody but its owner, which is us */
    free(data);
}

void raft_log_close(struct raft_log *l)
{
    for (uint64_t i = l->first; i <= l->last && l->array; i++)
        drop_data(raft_log_at(l, i));
    free(l->array);
    *l = (struct raft_log){0};
}

const struct raft_entry *raft_log_at(const struct raft_log *l, uint64_t index)
{
    CHECK(index >= l->first && index <= l->last);
    return &l->array[l->at + (index - l->first)];
}

enum err raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *ret_term)
{
    if (index < l->compacted || index > l->last)
        return ERR_NOT_FOUND;
    if (index == l->last)
        *ret_term = l->last_term;
    else if (index >= l->first)
        *ret_term = raft_log_at(l, index)->term;
    else if (index == l->first - 1)
        *ret_term = l->before_term;
    else if (index == l->compacted)
        *ret_term = l->compacted_term;
    else
        return l->storage.term(l->storage.context, index, ret_term);
    return ERR_OK;
}

unsigned raft_log_run(const struct raft_log *l, uint64_t from, uint64_t to)
{
    const struct raft_entry *e = raft_log_at(l, from);
    size_t bytes = e->data.size;
    unsigned count = 1;
    CHECK(to <= l->last);
    while (from + count <= to && count < LIMIT_RAFT_BATCH_ENTRIES) {
        bytes += e[count].data.size;
        if (bytes > LIMIT_RAFT_BATCH_BYTES)
            break;
        count++;
    }
    return count;
}

enum err raft_log_read(const struct raft_log *l, uint64_t from, uint64_t to, struct arena *arena,
                       const struct raft_entry **ret_entries, unsigned *ret_count)
{
    CHECK(from > l->compacted && from <= to && to < l->first);
    unsigned max = (unsigned)MIN(to - from + 1, (uint64_t)LIMIT_RAFT_BATCH_ENTRIES), count = 0;
    struct raft_entry *entries = arena_alloc(arena, max * sizeof *entries);
    TRY(l->storage.read(l->storage.context, from, max, LIMIT_RAFT_BATCH_BYTES, entries, &count));
    if (count == 0 || count > max)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < count; i++)
        if (entries[i].index != from + i)
            return ERR_CORRUPT;
    *ret_entries = entries;
    *ret_count = count;
    return ERR_OK;
}

enum err raft_log_first_from_term(const struct raft_log *l, uint64_t term, uint64_t low, uint64_t high,
                                  uint64_t *ret_index)
{
    while (low <= high) {
        uint64_t middle = low + (high - low) / 2, t;
        TRY(raft_log_term(l, middle, &t));
        if (t < term)
            low = middle + 1;
        else if (middle == 0)
            break;
        else
            high = middle - 1;
    }
    *ret_index = low;
    return ERR_OK;
}

enum err raft_log_last_to_term(const struct raft_log *l, uint64_t term, uint64_t low, uint64_t high,
                               uint64_t *ret_index)
{
    uint64_t above;
    TRY(raft_log_first_from_term(l, term + 1, low, high, &above));
    *ret_index = above - 1;
    return ERR_OK;
}

/* Makes room for one more behind the last entry. */
static void make_room(struct raft_log *l)
{
    size_t count = l->last + 1 - l->first;
    if (l->at + count < l->capacity)
        return;
    if (l->at > l->capacity / 2) {
        memmove(l->array, l->array + l->at, count * sizeof *l->array);
        l->at = 0;
        return;
    }
    l->capacity = MAX(l->capacity * 2, (size_t)64);
    l->array = mem_realloc(l->array, l->capacity * sizeof *l->array);
}

void raft_log_append(struct raft_log *l, uint64_t term, enum raft_entry_type type, struct slice data)
{
    CHECK(term >= l->last_term && data.size <= LIMIT_COMMAND_BYTES);
    make_room(l);
    struct raft_entry *e = &l->array[l->at + (l->last + 1 - l->first)];
    *e = (struct raft_entry){.index = l->last + 1, .term = term, .type = type};
    if (data.size > 0)
        e->data = SLICE(mem_dup(data.data, data.size), data.size);
    l->bytes += entry_bytes(e);
    l->open_bytes += entry_bytes(e);
    l->last++;
    l->last_term = term;
}

void raft_log_truncate(struct raft_log *l, uint64_t after, uint64_t after_term)
{
    CHECK(after >= l->applied && after < l->last);
    for (; l->last > after && l->last >= l->first; l->last--) {
        const struct raft_entry *e = raft_log_at(l, l->last);
        l->bytes -= entry_bytes(e);
        l->open_bytes -= entry_bytes(e);
        drop_data(e);
    }
    if (after + 1 < l->first) {
        l->first = after + 1;
        l->before_term = after_term;
        l->at = 0;
    }
    l->last = after;
    l->last_term = after_term;
    l->persisted = MIN(l->persisted, after);
    l->given = MIN(l->given, after);
}

void raft_log_applied(struct raft_log *l, uint64_t index)
{
    CHECK(index >= l->applied && index <= l->persisted);
    for (uint64_t i = MAX(l->applied + 1, l->first); i <= index; i++)
        l->open_bytes -= entry_bytes(raft_log_at(l, i));
    l->applied = index;
}

/* Drops the first entry in memory. */
static void drop_first(struct raft_log *l)
{
    const struct raft_entry *e = raft_log_at(l, l->first);
    l->bytes -= entry_bytes(e);
    l->before_term = e->term;
    drop_data(e);
    l->at++;
    l->first++;
}

void raft_log_reset(struct raft_log *l, uint64_t index, uint64_t term)
{
    for (uint64_t i = l->first; i <= l->last; i++)
        drop_data(raft_log_at(l, i));
    l->at = 0;
    l->bytes = l->open_bytes = 0;
    l->compacted = l->last = l->applied = l->persisted = l->given = index;
    l->compacted_term = l->last_term = l->before_term = term;
    l->first = index + 1;
}

void raft_log_compact(struct raft_log *l, uint64_t index, uint64_t term)
{
    CHECK(index >= l->compacted && index <= l->applied);
    while (l->first <= index)
        drop_first(l);
    l->compacted = index;
    l->compacted_term = term;
}

void raft_log_evict(struct raft_log *l)
{
    while (l->bytes > l->cache_bytes && l->first <= l->applied)
        drop_first(l);
}
