/* member.h: one member: the real replica, with a clock, a disk and threads that are simulated. Up or down; a crash
 * keeps what its disks would have kept. */
#pragma once

#include "base/list.h"
#include "replica/replica.h"
#include "tests/sim/world.h"
#include "tests/unit/raftlog/sim_files.h"

enum member_crash {
    MEMBER_CRASH_PROCESS, /* the disk has all that was written */
    MEMBER_CRASH_POWER    /* ... only what was synced, and anything of the rest */
};

struct member {
    struct world *world;
    uint32_t index; /* id - 1 */
    uint64_t life;  /* counts up with each end */
    int64_t paused_until_ns;
    struct replica *replica; /* NULL: down */
    bool dying;              /* being closed: nothing of it is heard any more */
    bool faulted;            /* out of service, or refused at its start */
    bool rotten;             /* bits of its disk were turned, and it has not been replaced yet */
    bool disk_fails;         /* its disk was made to fail: until it is a voter again (faults.c) */
    bool stays_down;         /* until the end */
    bool waits;              /* was not of the first configuration, or was wiped: starts without one */
    bool known_cluster;
    bool old; /* an older program than the cluster needs was started on purpose (levels.c) */
    uint32_t level_max;
    char path[128];
    uint8_t identity[16];

    enum raft_role role; /* as last told */
    uint64_t term;
    uint32_t leader;

    /* Its clocks: boot = boot_base + (now - since) * (1 + drift). */
    int64_t since_ns, boot_base_ns, wall_offset_ns;
    int64_t drift_ppm;

    struct sim_disk disk, durability_disk; /* of the log; of the durability log */
    struct list jobs;                      /* struct log_job: not written yet, in order */
    bool disk_busy;
    struct replica_log_result written;
    unsigned cut_write_after; /* the power goes in the next write, after so many calls; 0: it doesn't */
    struct list works;        /* struct member_work */

    bool wake_due;
    int64_t tick_at_ns; /* the earliest that is to come; INT64_MAX */
    uint64_t compacted; /* as last seen */
};

void member_new(struct world *w); /* the next one; started */
void member_free(struct world *w, struct member *m);

/* What the disks hold is read again. A refusal makes it faulted; who == a planted or expected loss decides the rest. */
void member_start(struct world *w, struct member *m);
void member_crash(struct world *w, struct member *m, enum member_crash how);
/* A new data directory with a new identity, down. */
void member_wipe(struct world *w, struct member *m);

void member_receive(struct world *w, struct member *m, const struct replica_message *message,
                    const uint8_t identity[16]);
/* After anything was asked of its replica: what it wants next. */
void member_settle(struct world *w, struct member *m);

bool member_up(const struct member *m); /* and not faulted */
int64_t member_boot_ns(const struct member *m);
/* From now on with another drift; time itself doesn't jump. */
void member_drift(struct member *m, int64_t drift_ppm);
