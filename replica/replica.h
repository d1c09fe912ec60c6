/* replica.h: one member of the metastore without threads, sockets or a clock: raft, its log, the replicated state, the
 * commands and reads on their way, the leader's own duties, snapshots, membership, and the comparison of states.
 * Whoever runs it (daemon/, tests/sim/) owns time, disk, network and threads through struct replica_env.
 *
 *   message.h     what members say to each other
 *   replica.c     opening and closing; the files of one member agree with one another or it does not start
 *   driver.c      events into raft, updates carried out in the order that raft.h asks for
 *   apply.c       committed entries into the state
 *   propose.c     commands and linearizable reads on their way
 *   duties.c      the leader's own commands: first entry, sessions that end, dead contents
 *   compact.c     when the log is cut
 *   snapshot.c    snapshots, both ways
 *   members.c     membership changes, identities, who is removed
 *   divergence.c  applied states compared
 *
 * Threads: all functions but replica_work.run are for one thread, and are not to be called from inside env functions
 * or `done` callbacks unless it is said there. Callbacks come from inside replica_* calls.
 *
 * A member is in service, suspended (crashed on request or short of disk space: keeps its state, says and hears
 * nothing) or faulted (for good: a disk error, a state that differs). */
#pragma once

#include "base/list.h"
#include "meta/meta.h"
#include "raft/raft.h"
#include "raftlog/raftlog.h"
#include "replica/message.h"

struct replica;

/* ---- who runs it ---- */

/* Work that would hold the loop up: run is called on any thread, then done on the loop, both once. */
struct replica_work {
    void (*run)(struct replica_work *w);
    void (*done)(struct replica_work *w);
    void *owner; /* of the env, while it has the work */
};

struct replica_env {
    void *context;
    int64_t (*boot_ns)(void *context); /* CLOCK_BOOTTIME; never goes back */
    int64_t (*wall_ns)(void *context);
    void (*random)(void *context, void *to, size_t size);
    /* Sends, or loses it. The message is copied or encoded before it returns. Its receiver may not be a member that is
     * known here (an answer to whoever asked). */
    void (*send)(void *context, const struct replica_message *m);
    /* Makes what the update gives to persist durable (raftlog_write on replica_log), strictly in order, then calls
     * replica_persisted. Copies what it needs. Numbers count up from 1. */
    void (*persist)(void *context, uint64_t number, const struct raft_update *u);
    /* raftlog_compact, in order with persist; then replica_compacted. */
    void (*compact)(void *context, uint64_t index);
    void (*work)(void *context, struct replica_work *w);
    /* replica_turn shall be called soon, when what there is to read has been read. */
    void (*wake)(void *context);
    /* role, term or leader differ from before (replica_status). In the middle of a step. */
    void (*role_changed)(void *context);
    /* An entry of the leader's own term has been applied: it may serve. */
    void (*leader_ready)(void *context);
    /* The configuration in effect. In the middle of a step. */
    void (*config_changed)(void *context, const struct raft_config *config);
    /* A command has been applied here; reply is its outcome. In the middle of a step. */
    void (*applied)(void *context, const struct meta_command *command, const struct meta_reply *reply);
    /* The cluster's id became known. An error is a fault. */
    enum err (*cluster_id)(void *context, const uint8_t id[16], struct err_text *why);
    /* Out of service for good; text says why. Once. In the middle of a step. */
    void (*fault)(void *context, const char *text);
};

struct replica_options {
    uint32_t id;
    uint8_t identity[16];           /* of the data directory */
    const char *data;               /* the data directory: log/, state, meta-N/, incoming/, outgoing-N/ */
    const struct file_table *files; /* of the log */
    /* The configuration of a cluster that is started for the first time: the same on all its members. count 0: this
     * member waits to be added. Not looked at once the log has one. */
    struct raft_config bootstrap;
    bool known_cluster; /* the data directory has learned a cluster's id: an empty log is then a loss */
    enum raft_election election;
    enum raft_reads reads;
    int64_t election_timeout_ns, heartbeat_ns, lease_drift_ns;
    int64_t session_timeout_ns;
    uint64_t log_bytes, log_entries; /* the log is cut when it is larger than one of them */
    uint64_t log_keep_entries;       /* that many applied ones stay for followers that are a little behind */
    uint64_t segment_bytes;          /* 0: the log's default */
    size_t raft_cache_bytes;
    size_t meta_cache_bytes, meta_write_buffer_bytes; /* 0: the state's defaults */
    bool lose_unflushed;                              /* tests: see meta_options */
    int64_t apply_slice_ns;                           /* applying yields to the loop after this */
};

/* ERR_CORRUPT when the parts of the data directory contradict each other or are damaged; nothing is changed then. */
enum err replica_open(const struct replica_options *options, const struct replica_env *env, struct replica **ret,
                      struct err_text *why) MUST_USE;
/* Commands and reads under way end with SHUTDOWN; nothing more is sent, written or asked of the env. */
void replica_stop(struct replica *r);
/* flush: also the state, so that the next start is quick. NULL is fine. Nothing may be under way in env->persist or
 * env->work any more. */
void replica_close(struct replica *r, bool flush);

/* ---- what happens ---- */

int64_t replica_deadline_ns(const struct replica *r); /* call replica_tick not later; INT64_MAX: never */
void replica_tick(struct replica *r);
void replica_turn(struct replica *r);
/* From a member, or from whoever says that it is one: from is what its connection has proven to be, identity what it
 * said of its data directory. */
void replica_receive(struct replica *r, const struct replica_message *m, const uint8_t identity[16]);

struct replica_log_result {
    uint64_t number;      /* everything up to this one is durable */
    uint64_t index, term; /* the last durable entry; 0, 0: nothing to say about entries */
    struct raft_hard_state hard;
    enum err error; /* final */
};
void replica_persisted(struct replica *r, const struct replica_log_result *result);
void replica_compacted(struct replica *r, uint64_t index);
struct raftlog *replica_log(struct replica *r);

/* ---- commands and reads ---- */

/* A command on its way through the log. Lives until done is called, exactly once; done must not call the replica. */
struct replica_proposal {
    struct list_node link;
    uint64_t index, term; /* 0, 0 until it has been given to raft */
    struct slice data;    /* the encoded command */
    /* status ERR_OK: applied, reply is its outcome. Else the outcome is unknown, and repeating it is up to the caller.
     */
    void (*done)(struct replica_proposal *p, enum err status, const struct meta_reply *reply);
    void *context;
};
void replica_propose(struct replica *r, struct replica_proposal *p);
/* To be stamped on a command; never goes back. */
int64_t replica_command_time_ns(struct replica *r);

/* A linearizable read. As for proposals. forward: a follower asks the leader for the index to wait for and answers from
 * its own state; otherwise NOT_LEADER there. */
struct replica_read {
    struct list_node link;
    uint64_t id, index;
    void (*done)(struct replica_read *read, enum err status);
    void *context;
};
void replica_read(struct replica *r, struct replica_read *read, bool forward);
struct meta *replica_meta(struct replica *r);

/* The leader's memory of sessions. False: not known (or not the leader). */
bool replica_session_touch(struct replica *r, uint64_t session);
int64_t replica_session_silent_ns(const struct replica *r, uint64_t session); /* -1: not known */
/* A command of the leader's own: stamps, encodes, queues. */
void replica_propose_own(struct replica *r, const struct meta_command *c,
                         void (*done)(void *context, enum err status, const struct meta_reply *reply), void *context);

/* ---- administration ---- */

enum err replica_campaign(struct replica *r);
enum err replica_transfer(struct replica *r, uint32_t to);
enum err replica_heartbeat(struct replica *r);
/* Gives what is queued to raft now, so that a transfer comes behind it. */
void replica_flush_proposals(struct replica *r);
void replica_hold_proposals(struct replica *r, bool hold);
void replica_suspend(struct replica *r); /* steps down; commands and reads fail with CRASHED */
void replica_resume(struct replica *r);
void replica_fail(struct replica *r, const char *format, ...) PRINTF_LIKE(2, 3);

enum replica_change_kind {
    REPLICA_MEMBER_ADD,     /* as a learner */
    REPLICA_MEMBER_PROMOTE, /* learner to voter, when it has caught up */
    REPLICA_MEMBER_DEMOTE,  /* voter to learner */
    REPLICA_MEMBER_REMOVE,
    REPLICA_MEMBER_REJOIN /* the same id with a new identity and no data: the one with the old identity is removed;
                             asked once more, the new one is added as a learner */
};
struct replica_change {
    enum replica_change_kind kind;
    uint32_t id;
    const char *address;  /* ADD, REJOIN */
    uint8_t identity[16]; /* ADD (zero: learned when it is first heard), REJOIN */
};
/* ERR_OK: proposed; it is over when no change is pending in replica_status and the configuration shows it. Else nothing
 * has changed and why says the reason: NOT_LEADER, NO_LEADER, BUSY_NOW (another change is not over), EXIST (id or
 * address is in use, or nothing to do), NO_NODE, NOT_POSSIBLE (would lose the quorum; has not caught up; the last
 * voter), INVAL. */
enum err replica_change_members(struct replica *r, const struct replica_change *change, struct err_text *why) MUST_USE;

struct replica_snapshot_status { /* one that is being sent or received */
    uint32_t peer;
    uint64_t index, bytes, total_bytes;
};
struct replica_status {
    struct raft_status raft;
    bool leader_ready, suspended, removed; /* removed: the configuration does not have this member any more */
    const char *fault;                     /* empty: none */
    uint64_t flushed_index, log_bytes;
    unsigned log_segments;
    struct replica_snapshot_status sending[LIMIT_NODES], receiving; /* receiving.total_bytes 0: none */
    unsigned sending_count;
    uint64_t snapshots_sent, snapshots_installed;
    uint64_t hashes_compared; /* of other members' states with this leader's */
};
void replica_status(struct replica *r, struct replica_status *ret);
const struct raft_config *replica_config(const struct replica *r);
