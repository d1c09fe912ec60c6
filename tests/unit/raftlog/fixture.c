#include "tests/unit/raftlog/fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void entry_data(uint64_t index, uint64_t term, struct bytes *ret)
{
    struct prng p;
    prng_seed(&p, index * 1000003 + term);
    uint64_t kind = prng_below(&p, 50);
    size_t size = (size_t)(kind == 0 ? 5000 + prng_below(&p, 3000) : kind < 5 ? 0 : prng_below(&p, 300));
    bytes_clear(ret);
    uint8_t *at = bytes_extend(ret, size);
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)prng_next(&p);
}

void entry_list_make(struct entry_list *l, uint64_t after, uint64_t term, unsigned count)
{
    l->count = count;
    l->entries = mem_zalloc(count * sizeof *l->entries);
    l->data = mem_zalloc(count * sizeof *l->data);
    for (unsigned i = 0; i < count; i++) {
        uint64_t index = after + 1 + i;
        entry_data(index, term, &l->data[i]);
        l->entries[i] = (struct raft_entry){
            .index = index, .term = term, .type = RAFT_ENTRY_COMMAND, .data = bytes_slice(&l->data[i])};
    }
}

void entry_list_free(struct entry_list *l)
{
    for (unsigned i = 0; i < l->count; i++)
        bytes_free(&l->data[i]);
    free(l->data);
    free(l->entries);
    *l = (struct entry_list){0};
}

struct raftlog_options sim_options(struct sim_disk *d, uint64_t segment_bytes)
{
    return (struct raftlog_options){
        .files = &d->table, .path = "sim", .segment_bytes = segment_bytes, .identity = {1, 2, 3, 4, 5}};
}

struct raftlog *must_open(const struct raftlog_options *o, struct raft_restart *ret)
{
    struct raftlog *l = NULL;
    struct raft_restart restart;
    struct err_text why = {""};
    enum err e = raftlog_open(o, &l, ret ? ret : &restart, &why);
    if (e != ERR_OK)
        fail_msg("open: %s: %s", err_name(e), why.text);
    return l;
}

void model_apply(struct model *m, const struct raftlog_batch *b)
{
    if (b->hard_state_changed)
        m->hard = b->hard;
    if (b->reset) {
        m->compacted = m->last = b->reset_index;
        m->terms[m->last] = b->reset_term;
    }
    if (b->truncate && b->truncate_after < m->last)
        m->last = b->truncate_after;
    for (unsigned i = 0; i < b->entry_count; i++) {
        assert_true(b->entries[i].index <= MODEL_ENTRIES_MAX);
        m->last = b->entries[i].index;
        m->terms[m->last] = b->entries[i].term;
    }
}

static void write_batch(struct raftlog *l, struct model *m, bool truncate, uint64_t after, uint64_t term,
                        unsigned count)
{
    struct entry_list list;
    entry_list_make(&list, truncate ? after : m->last, term, count);
    struct raftlog_batch b = {.truncate = truncate,
                              .truncate_after = after,
                              .hard_state_changed = term > m->hard.term,
                              .hard = {.term = term, .vote = (uint32_t)(term % 3 + 1)},
                              .entries = list.entries,
                              .entry_count = count};
    assert_int_equal(raftlog_write(l, &b), ERR_OK);
    model_apply(m, &b);
    entry_list_free(&list);
}

void must_append(struct raftlog *l, struct model *m, uint64_t term, unsigned count)
{
    write_batch(l, m, false, 0, term, count);
}

void must_truncate_append(struct raftlog *l, struct model *m, uint64_t after, uint64_t term, unsigned count)
{
    write_batch(l, m, true, after, term, count);
}

static bool differs(bool say, const char *what, uint64_t index, uint64_t got, uint64_t expected)
{
    if (say)
        fprintf(stderr, "%s at index %" PRIu64 ": got %" PRIu64 ", expected %" PRIu64 "\n", what, index, got, expected);
    return false;
}

static bool entry_matches(const struct raft_entry *e, uint64_t index, uint64_t term, bool say)
{
    _cleanup_(bytes_free) struct bytes data = {0};
    entry_data(index, term, &data);
    if (e->index != index)
        return differs(say, "index", index, e->index, index);
    if (e->term != term)
        return differs(say, "term", index, e->term, term);
    if (e->type != RAFT_ENTRY_COMMAND)
        return differs(say, "type", index, e->type, RAFT_ENTRY_COMMAND);
    return slice_equal(e->data, bytes_slice(&data)) || differs(say, "data size", index, e->data.size, data.size);
}

bool model_matches(struct raftlog *l, const struct model *m, bool say)
{
    struct raftlog_bounds b;
    raftlog_bounds(l, &b);
    if (b.last_index != m->last)
        return differs(say, "last", m->last, b.last_index, m->last);
    if (b.compacted_index != m->compacted)
        return differs(say, "compacted", m->compacted, b.compacted_index, m->compacted);
    if (b.hard.term != m->hard.term || b.hard.vote != m->hard.vote)
        return differs(say, "hard state's term", m->last, b.hard.term, m->hard.term);
    uint64_t term = 0;
    for (uint64_t i = MAX(m->compacted, 1); i <= m->last; i++)
        if (raftlog_term(l, i, &term) != ERR_OK || term != m->terms[i])
            return differs(say, "raftlog_term", i, term, m->terms[i]);
    if (b.last_term != (m->last ? m->terms[m->last] : 0))
        return differs(say, "last term", m->last, b.last_term, m->terms[m->last]);

    _cleanup_(bytes_free) struct bytes buffer = {0};
    struct raft_entry entries[16];
    for (uint64_t at = m->compacted + 1; at <= m->last;) {
        unsigned count = 0;
        enum err e = raftlog_read(l, at, 16, 4096, &buffer, entries, &count);
        if (e != ERR_OK || count == 0)
            return differs(say, "raftlog_read", at, e, ERR_OK);
        for (unsigned i = 0; i < count; i++, at++)
            if (!entry_matches(&entries[i], at, m->terms[at], say))
                return false;
    }
    return true;
}
