/* workload.h: a log that is used until a fault stops it, and what may be found afterwards: all that was acknowledged,
 * and of what was under way a prefix or nothing. */
#pragma once

#include "tests/unit/raftlog/fixture.h"

/* What is known when it ends early: the acknowledged state, and the batch or compaction that was under way. */
struct run {
    struct model acknowledged;
    struct raftlog_batch batch;
    struct entry_list list; /* the batch's */
    bool under_way;
    uint64_t compacting; /* index; 0: none under way */
    uint64_t calls;
    enum err failed;  /* what stopped it */
    struct prng prng; /* for steps that are random */
};
void run_free(struct run *r);

/* One batch: r->batch with so many entries of this term behind `after`. */
enum err run_batch(struct run *r, struct raftlog *l, uint64_t after, uint64_t term, unsigned count) MUST_USE;
enum err run_compaction(struct run *r, struct raftlog *l, uint64_t index) MUST_USE;

/* A step of a workload: at most one batch or compaction. */
typedef enum err (*run_step)(struct run *r, struct raftlog *l, unsigned n);
#define RUN_SEGMENT_BYTES 2048u
/* Opens and takes that many steps, opening anew at every twelfth. r->acknowledged is what the disk holds now. */
void run_workload(struct run *r, struct sim_disk *d, run_step step, unsigned steps);

/* Opens what is left: the test fails, saying which case it is, when that is no allowed state. r->acknowledged becomes
 * the state that was found. Then the power goes at once: nothing that an open has reported may go with it. */
void run_check(struct run *r, struct sim_disk *d, const char *what, uint64_t n, uint64_t seed);
