/* cluster.h: members of a cluster moved by hand, for the tests of raft/: every event, write and message goes when the
 * test says so. One clock for all. What the core tells its driver is kept for the test to look at, and printed to `out`
 * when there is one. A failed expectation of the fixture itself is a CHECK. */
#pragma once

#include <stdio.h>

#include "raft/raft.h"

#define CLUSTER_ELECTION_NS INT64_C(150000000)
#define CLUSTER_HEARTBEAT_NS INT64_C(30000000)
#define CLUSTER_DRIFT_NS INT64_C(15000000)
#define CLUSTER_LOG_MAX 4096u
#define CLUSTER_FLIGHT_MAX 1024u
#define CLUSTER_WRITES_MAX 256u
#define CLUSTER_READS_MAX 64u

struct cluster_letter { /* a message under way */
    struct raft_message m;
    struct raft_entry *entries; /* owned, with their data */
    unsigned waits_for;         /* a member's write that must be safe first: its number; 0: on the way */
    bool shelved;               /* on no way until cluster_unshelve */
};

struct cluster_write {
    unsigned number;
    bool reset, truncate, hard_changed;
    uint64_t reset_index, reset_term, truncate_after;
    struct raft_hard_state hard;
    struct raft_entry *entries; /* owned */
    unsigned entry_count;
};

struct cluster_log {
    struct raft_entry entries[CLUSTER_LOG_MAX]; /* by index, from 1; data owned */
    uint64_t last;
};

struct cluster_node {
    uint32_t id;
    uint8_t identity[16]; /* of its disk; zero: it doesn't know */
    struct cluster *cluster;
    struct raft *raft; /* NULL: crashed */
    bool held;         /* writes end only with cluster_persist */
    bool alone;        /* nothing comes in or goes out */
    bool ever_started;
    struct cluster_log disk;
    struct raft_hard_state disk_hard;
    uint64_t compacted, applied, applied_term, storage_reads;
    struct raft_config applied_config; /* as of `applied` */
    uint64_t applied_config_index;
    bool reset_due; /* a snapshot is installed, and the log on disk is still the one from before */
    struct cluster_write writes[CLUSTER_WRITES_MAX];
    unsigned write_count, write_number;
    int64_t deadline_ns;
    /* Of the last event. */
    enum err status;
    uint64_t proposed_index;
    struct raft_read_result reads[CLUSTER_READS_MAX]; /* all answers so far */
    unsigned read_count;
};

struct cluster_snapshot { /* what is known of a state machine's, which has nothing else in it here */
    uint64_t index, term, config_index;
    struct raft_config config;
};

struct cluster {
    struct raft_config config;
    enum raft_election election;
    enum raft_reads reads;
    size_t cache_bytes;
    int64_t now_ns;
    FILE *out; /* or NULL */
    struct cluster_node *nodes;
    unsigned node_count;
    bool cut[LIMIT_NODES + 1][LIMIT_NODES + 1];       /* from, to: nothing gets through */
    struct cluster_letter flight[CLUSTER_FLIGHT_MAX]; /* oldest first */
    unsigned flight_count;
};

/* Members 1 to voters, then the learners; nothing is started. */
void cluster_open(struct cluster *c, unsigned voters, unsigned learners, enum raft_election election,
                  enum raft_reads reads);
uint32_t cluster_add(struct cluster *c); /* one more, with an empty disk and no configuration; not started; its id */
void cluster_close(struct cluster *c);
void cluster_start_all(struct cluster *c);
void cluster_start(struct cluster *c, uint32_t id);
void cluster_crash(struct cluster *c, uint32_t id); /* writes that haven't ended are lost, with what waited for them */
void cluster_wipe(struct cluster *c, uint32_t id);  /* of one that is crashed: its disk, and what it was a member of */
struct cluster_node *cluster_node(struct cluster *c, uint32_t id);
struct raft_status cluster_status(struct cluster *c, uint32_t id);
/* Puts entries on the disk of a member that isn't running, as an earlier life would have left them. */
void cluster_fill(struct cluster *c, uint32_t id, struct raft_hard_state hard, const uint64_t *terms, unsigned count);

/* Events. The result is the update's status. */
enum err cluster_step(struct cluster *c, uint32_t id, struct raft_event event);
enum err cluster_tick(struct cluster *c, uint32_t id);
enum err cluster_timeout(struct cluster *c, uint32_t id); /* the clock goes to the member's deadline, and it ticks */
enum err cluster_campaign(struct cluster *c, uint32_t id);
enum err cluster_propose(struct cluster *c, uint32_t id, const char *text);
enum err cluster_read(struct cluster *c, uint32_t id, uint64_t read);
enum err cluster_read_forward(struct cluster *c, uint32_t id, uint64_t read);
enum err cluster_change(struct cluster *c, uint32_t id, const struct raft_config *config);
enum err cluster_heartbeat(struct cluster *c, uint32_t id);
enum err cluster_transfer(struct cluster *c, uint32_t id, uint32_t target);
enum err cluster_step_down(struct cluster *c, uint32_t id);
enum err cluster_compact(struct cluster *c, uint32_t id, uint64_t index);
void cluster_take_snapshot(struct cluster *c, uint32_t id, struct cluster_snapshot *ret);
bool cluster_install(struct cluster *c, uint32_t id, const struct cluster_snapshot *s); /* false: it isn't wanted */
enum err cluster_receive(struct cluster *c, struct raft_message m);                     /* from, to as in m */
void cluster_persist(struct cluster *c, uint32_t id, unsigned count);                   /* the oldest writes end */
void cluster_advance(struct cluster *c, int64_t ns);                                    /* the clock only */

/* Messages. from, to 0: any. */
void cluster_deliver(struct cluster *c, uint32_t from, uint32_t to); /* what is on the way now, oldest first */
void cluster_settle(struct cluster *c);                              /* until nothing is on the way */
unsigned cluster_drop(struct cluster *c, uint32_t from, uint32_t to);
/* Puts what is on the way now, or a copy of it, aside; until everything that lies there is on the way again. */
void cluster_shelve(struct cluster *c, uint32_t from, uint32_t to);
void cluster_shelve_copies(struct cluster *c, uint32_t from, uint32_t to);
void cluster_unshelve(struct cluster *c);
/* The newest on the way of this type (0: any), or NULL. */
const struct raft_message *cluster_find(const struct cluster *c, enum raft_message_type type, uint32_t from,
                                        uint32_t to);
unsigned cluster_count(const struct cluster *c, enum raft_message_type type, uint32_t from, uint32_t to);
const char *cluster_message_name(enum raft_message_type type);
/* Makes `id` leader, of a cluster that is whole and has messages on no way. */
void cluster_elect(struct cluster *c, uint32_t id);

/* cluster_print.c: in words. */
void cluster_print_update(FILE *out, const struct cluster_node *n, const struct raft_update *u);
void cluster_print_entries(FILE *out, const struct raft_entry *entries, unsigned count);
void cluster_print_config(FILE *out, const struct raft_config *config);
