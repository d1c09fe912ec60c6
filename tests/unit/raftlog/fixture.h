/* fixture.h: what the tests of the log share: entries whose bytes follow from (index, term), and a model of the log. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four before it */
#include <cmocka.h>

#include "raftlog/raftlog.h"
#include "tests/unit/raftlog/sim_files.h"

#define MODEL_ENTRIES_MAX 4096u

/* What a log is expected to hold. */
struct model {
    uint64_t compacted, last;
    uint64_t terms[MODEL_ENTRIES_MAX + 1]; /* by index */
    struct raft_hard_state hard;
};

/* The data of the entry (index, term): 0 to about 300 bytes, now and then some thousand. */
void entry_data(uint64_t index, uint64_t term, struct bytes *ret);

/* A batch of `count` entries behind `after` with this term; owns their data. */
struct entry_list {
    struct raft_entry *entries;
    struct bytes *data;
    unsigned count;
};
void entry_list_make(struct entry_list *l, uint64_t after, uint64_t term, unsigned count);
void entry_list_free(struct entry_list *l);

struct raftlog_options sim_options(struct sim_disk *d, uint64_t segment_bytes);
/* Opens, and fails the test when that fails. */
struct raftlog *must_open(const struct raftlog_options *o, struct raft_restart *ret);

/* Writes and tells the model; the test fails when the write does. term above hard.term: the hard state goes along. */
void must_append(struct raftlog *l, struct model *m, uint64_t term, unsigned count);
void must_truncate_append(struct raftlog *l, struct model *m, uint64_t after, uint64_t term, unsigned count);
void model_apply(struct model *m, const struct raftlog_batch *b);

/* True when the log holds exactly what the model says; `say` prints the first difference. */
bool model_matches(struct raftlog *l, const struct model *m, bool say);
