/* sim.h: a whole cluster of the real consensus core in one thread, with time, network, disk and faults made from one
 * seed.
 *
 * The simulated driver keeps the contract of raft/raft.h as loosely as it allows: writes end late, a crash keeps any
 * prefix of what was under way, messages are lost, doubled, reordered and delayed, clocks drift, members stop, pause
 * and come back; members are added, promoted, demoted, removed and lose their disks, logs are compacted past those who
 * need them, and snapshots come late, twice or too old. After every step the invariants of checks.c must hold. The
 * first that doesn't ends the process with the seed and the command that replays it. Times are nanoseconds of simulated
 * time from 0; one world exists at a time.
 */
#pragma once

#include "base/prng.h"
#include "raft/raft.h"

#define SIM_NODES_MAX 7u
#define SIM_DATA_BYTES 24u
#define SIM_MS INT64_C(1000000)
#define SIM_ELECTION_NS (150 * SIM_MS)
/* The lease's margin bears clocks that run up to 5 % off, to either side: 0.9 / 0.95 < 1 / 1.05. */
#define SIM_LEASE_DRIFT_NS (SIM_ELECTION_NS / 10)
#define SIM_DRIFT_PPM_MAX 50000
#define SIM_HEAL_NS (15000 * SIM_MS)       /* in which a healed cluster must commit something everywhere */
#define SIM_READ_ANSWER_NS (2000 * SIM_MS) /* in which a healed cluster must answer every read */

struct sim_entry {
    uint64_t term;
    enum raft_entry_type type;
    uint32_t size;
    uint8_t data[SIM_DATA_BYTES]; /* of a configuration: the number under which the world keeps it */
};

struct sim_log { /* entries 1..last */
    struct sim_entry *entries;
    uint64_t last, capacity;
};

/* What one update gave to the disk. */
struct sim_write {
    struct sim_write *next;
    bool reset, truncate, hard_changed;
    uint64_t reset_index, truncate_after;
    struct raft_hard_state hard;
    struct raft_entry *entries;
    unsigned entry_count;
    struct sim_message **messages; /* that wait for it */
    unsigned message_count;
};

struct sim_message {
    struct raft_message m;
    uint32_t from_identity, to_identity; /* whose disks they were when it was sent */
    struct raft_entry entries[];         /* their data follows in the same allocation */
};

struct sim_machine {
    uint64_t applied, applied_term, hash, value;
    uint64_t config, config_index; /* its number, and the index of its entry */
};

struct sim_snapshot {
    uint32_t from, to_identity;
    struct sim_machine machine;
};

struct sim_read {
    uint64_t id, required; /* the answer must hold every entry up to here */
    uint64_t index;        /* answered by the core, waits for the state machine; 0: not yet */
    uint32_t node;
    int64_t asked_ns;
};

struct sim_node {
    uint32_t id;
    uint32_t identity; /* of its disk; another one when it was lost; never 0 */
    struct raft *raft; /* NULL: down */
    unsigned incarnation;
    bool ever_started;
    bool suspended; /* crashed as SurfStore's tests do it: deaf and dumb, with its memory */
    int64_t paused_until_ns;
    int64_t clock_offset_ns, clock_ppm;
    int64_t deadline_ns, tick_at_ns; /* on its own clock; on the world's: the earliest tick queued */
    enum raft_role role;
    uint64_t term, committed;
    uint64_t first_config;     /* before there is one in its log, by number */
    struct raft_config config; /* in effect; while a step is checked, as it was before */
    int64_t offer_after_ns[SIM_NODES_MAX + 1];

    struct sim_log shadow; /* as the core believes it: durable and under way */
    struct sim_log durable;
    struct raft_hard_state durable_hard;
    struct sim_log lost; /* what was on the disk that it lost last */
    uint32_t lost_identity;
    uint64_t compacted, durable_compacted;
    bool reset_due;                         /* a snapshot is installed, and the log is not emptied for it yet */
    struct sim_write *writes, **writes_end; /* oldest first */
    unsigned write_count, writing;          /* the first `writing` are under way */

    struct sim_machine machine, checkpoint; /* in memory; durable */
    uint64_t apply_to;
};

enum sim_event_type {
    SIM_MESSAGE,
    SIM_TICK,
    SIM_WRITTEN,
    SIM_APPLY,
    SIM_RESTART,
    SIM_RESUME,
    SIM_CRASH,
    SIM_ISOLATE,
    SIM_CAMPAIGN,
    SIM_OFFER,   /* a snapshot has come */
    SIM_MEMBERS, /* somebody wants other members */
    SIM_CLIENT,
    SIM_FAULT,
    SIM_CONDUCT /* manual elections */
};

struct sim_event {
    int64_t at_ns;
    uint64_t order;
    enum sim_event_type type;
    uint32_t node; /* 0: the world */
    unsigned incarnation;
    struct sim_message *message;   /* or NULL */
    struct sim_snapshot *snapshot; /* or NULL */
};

/* How bad this seed's world is; chances are per 1000. */
struct sim_temper {
    unsigned loss, duplicate, cut, slow;
    int64_t delay_ns, slow_ns, write_ns, apply_ns;
    int64_t fault_every_ns, client_every_ns;
    unsigned coup;         /* of the faults: a leader is cut off while others prepare to replace it */
    unsigned leader_crash; /* of a node that has just won */
    unsigned voter_crash;  /* of a node that has just voted */
    unsigned reappoint;    /* in manual mode, while there is a leader */
    unsigned checkpoint;
    int64_t members_every_ns; /* 0: they stay */
    unsigned rash;            /* of leaders that have just won: they are asked for other members at once */
    unsigned compact;         /* after applying something */
    unsigned rude;            /* of compactions: past members that need the log */
    unsigned follow;          /* of reads: at any member */
    int64_t offer_ns;         /* a snapshot's way */
};

struct sim {
    uint64_t seed;
    struct prng prng;
    bool trace;
    bool check_promises; /* also look into each message for what it promises */
    int64_t now_ns, end_ns;
    bool healing;
    uint32_t trapped; /* the leader of a trap that is half sprung; 0: none */
    struct sim_temper temper;
    uint64_t config, empty_config; /* of the first start, by number */
    uint64_t committed_config;     /* by number */
    int64_t config_ns;             /* when a leader last took on a change */
    uint32_t next_identity;
    enum raft_election election;
    enum raft_reads reads_by;
    size_t cache_bytes;
    struct sim_node nodes[SIM_NODES_MAX + 1]; /* by id, from 1 */
    unsigned node_count;
    bool cut[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1]; /* from, to */

    struct sim_event *events; /* a heap */
    size_t event_count, event_capacity;
    uint64_t event_order;

    struct sim_read *reads;
    unsigned read_count, read_capacity;
    uint64_t next_value, next_read;

    /* What the world knows to be true for ever. */
    struct sim_log committed;
    uint64_t *committed_in; /* by index: the term in which the entry was committed, or a later one; never falls */
    uint64_t committed_in_capacity;
    uint64_t *hash_at; /* of the state with index i applied; 0: nobody was there yet */
    uint64_t hash_capacity;
    struct sim_seen *seen; /* entries by (index, term) */
    size_t seen_count, seen_capacity;
    uint32_t *leader_of; /* by term */
    uint64_t leader_capacity;

    uint64_t steps, commands, reads_answered, elections, crashes, changes, snapshots, losses;
    uint64_t heal_value; /* commands from this number on were proposed after the healing */
};

/* ---- main.c ---- */
_Noreturn void sim_fail(const struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
void sim_trace(const struct sim *s, uint32_t node, const char *format, ...) PRINTF_LIKE(3, 4);

/* ---- world.c: chance, events, network ---- */
unsigned sim_voters(const struct sim *s);
bool sim_chance(struct sim *s, unsigned per_1000);
int64_t sim_between(struct sim *s, int64_t low, int64_t high);
void sim_post(struct sim *s, int64_t at_ns, enum sim_event_type type, uint32_t node, struct sim_message *message);
void sim_post_event(struct sim *s, struct sim_event e); /* order and incarnation are set here */
bool sim_take(struct sim *s, struct sim_event *ret);
struct sim_message *sim_message_copy(const struct raft_message *m);
void sim_send(struct sim *s, struct sim_message *message); /* takes it over */
void sim_log_set(struct sim_log *l, const struct raft_entry *e);
struct sim_entry *sim_log_at(const struct sim_log *l, uint64_t index);
struct slice sim_entry_data(const struct sim_entry *e);
void sim_log_reset(const struct sim *s, struct sim_log *l, uint64_t index); /* as committed up to there */
uint64_t sim_config_number(struct slice encoded);                           /* equal ones have the same */
const struct raft_config *sim_config(uint64_t number);
void sim_configs_close(void);

/* ---- node.c: the driver of one member ---- */
void sim_start(struct sim *s, struct sim_node *n);
void sim_crash(struct sim *s, struct sim_node *n);
void sim_step(struct sim *s, struct sim_node *n, struct raft_event *event, struct raft_update *ret);
void sim_written(struct sim *s, struct sim_node *n);
void sim_apply(struct sim *s, struct sim_node *n);
void sim_tick(struct sim *s, struct sim_node *n);
void sim_compact(struct sim *s, struct sim_node *n);
void sim_install(struct sim *s, struct sim_node *n, const struct sim_snapshot *snapshot);
void sim_lose_disk(struct sim *s, struct sim_node *n); /* of one that is down */
void sim_node_close(struct sim_node *n);

/* ---- members.c: who takes part, and snapshots for those who are behind ---- */
void sim_draw_members(struct sim *s, unsigned voters, unsigned learners);
void sim_change_members(struct sim *s, struct sim_node *leader);
void sim_end_losses(struct sim *s, struct sim_node *leader); /* removes members without their disks */
void sim_lose_some_disk(struct sim *s);
void sim_offer_snapshots(struct sim *s, struct sim_node *leader);
void sim_offer_needlessly(struct sim *s, struct sim_node *from, struct sim_node *to);
bool sim_admits(const struct sim_node *n, const struct sim_message *message);
uint64_t sim_number_of(const struct raft_config *c);
uint32_t sim_identity(const struct raft_member *m);                 /* 0: not known */
bool sim_is_lost(const struct sim *s, const struct raft_member *m); /* its disk is */

/* ---- checks.c ---- */
void check_given(struct sim *s, const struct sim_node *n, const struct raft_entry *e);
void check_step(struct sim *s, struct sim_node *n);
void check_config(struct sim *s, const struct sim_node *n);
void check_applied(struct sim *s, const struct sim_node *n);
void check_promise(const struct sim *s, const struct raft_message *m);
void check_read(struct sim *s, const struct sim_read *r, const struct sim_node *n);
void check_close(struct sim *s);

/* ---- scenario.c: what happens in a seed ---- */
/* Without check_promises a bug must show in what the cluster does, and every seed is one of unrest: the planted bugs
 * are of elections. */
void sim_run(struct sim *s, uint64_t seed, bool trace, bool check_promises);
