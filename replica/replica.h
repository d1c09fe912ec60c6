/* replica.h: one member of the metastore without threads, sockets or a clock: raft, its log, the replicated state, the
 * commands and reads on their way, the leader's own duties, snapshots, membership, and the comparison of states.
 * Whoever runs it (daemon/, tests/sim/) owns time, disk, network and threads through struct replica_env.
 *
 *   message.h     what members say to each other
 *   replica.c     opening and closing; the files of one member agree with one another or it does not start
 *   driver.c      events into raft, updates carried out in the order that raft.h asks for
 *   apply.c       committed entries into the state
 *   propose.c     commands and linearizable reads on their way
 *   leases.c      what mounts may believe without asking
 *   visible.c     who is told what, and when
 *   changes.c     what has happened in the tree, for who watches it (change_ring.h: the last of it)
 *   duties.c      the leader's own commands: first entry, sessions that end, dead contents
 *   compact.c     when the log is cut
 *   snapshot.c    snapshots, both ways
 *   members.c     membership changes, identities, who is removed
 *   durable.h     puts that are durable before they are ordered
 *   divergence.c  applied states compared
 *   level.c       what all members' programs know, and may be used
 *
 * Threads: all functions but replica_work.run are for one thread, and are not to be called from inside env functions
 * or `done` callbacks unless it is said there. Callbacks come from inside replica_* calls.
 *
 * A member is in service, suspended (crashed on request or short of disk space: keeps its state, says and hears
 * nothing) or faulted (for good: a disk error, a state that differs). */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "durability/quorum.h"
#include "meta/meta.h"
#include "proto/wire_changes.h"
#include "proto/wire_kv_events.h"
#include "proto/wire_meta.h"
#include "raft/raft.h"
#include "raftlog/raftlog.h"
#include "replica/leases.h"
#include "replica/message.h"

struct replica;

/* ---- who runs it ---- */

/* Work that would hold the loop up: run is called on any thread, then done on the loop, both once. */
struct replica_work {
    void (*run)(struct replica_work *w);
    void (*done)(struct replica_work *w);
    void *owner; /* of the env, while it has the work */
    bool soon;   /* somebody waits for it: one write and one sync */
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
     * replica_persisted. Copies what it needs. Numbers count up from 1. True: this thread does it, before the next
     * replica_turn, so nothing that can wait for that is done now. */
    bool (*persist)(void *context, uint64_t number, const struct raft_update *u);
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
    /* replica_notices has something for this session. In the middle of a step. */
    void (*noticed)(void *context, uint64_t session);
    /* The cluster's id became known. An error is a fault. */
    enum err (*cluster_id)(void *context, const uint8_t id[16], struct err_text *why);
    /* Out of service for good; text says why. Once. In the middle of a step. */
    void (*fault)(void *context, const char *text);
};

/* NONE: no durability log, but what others have in theirs is recovered. HELD: there was one, and what is in it is told;
 * nothing new is taken. */
enum replica_durability { REPLICA_DURABILITY_NONE, REPLICA_DURABILITY_HELD, REPLICA_DURABILITY_ON };
#define REPLICA_DURABILITY_NAME "durability" /* a folder of the data directory */

struct replica_options {
    uint32_t id;
    uint8_t identity[16];           /* of the data directory */
    const char *data;               /* the data directory: log/, state, meta-N/, incoming/, outgoing-N/ */
    const struct file_table *files; /* of the log */
    enum replica_durability durability;
    const struct file_table *durability_files; /* NULL: as files */
    /* The configuration of a cluster that is started for the first time: the same on all its members. count 0: this
     * member waits to be added. Not looked at once the log has one. */
    struct raft_config bootstrap;
    bool known_cluster; /* the data directory has learned a cluster's id: an empty log is then a loss */
    enum raft_election election;
    enum raft_reads reads;
    int64_t election_timeout_ns, heartbeat_ns, lease_drift_ns;
    int64_t session_timeout_ns;
    int64_t collect_interval_ns;     /* between epochs of collection; 0: only replica_collect_now raises them */
    uint64_t log_bytes, log_entries; /* the log is cut when it is larger than one of them */
    uint64_t log_keep_entries;       /* that many applied ones stay for followers that are a little behind */
    uint64_t segment_bytes;          /* 0: the log's default */
    size_t raft_cache_bytes;
    size_t meta_cache_bytes, meta_write_buffer_bytes; /* 0: the state's defaults */
    bool lose_unflushed;                              /* tests: see meta_options */
    uint32_t level_max;                               /* see meta_options; 0: META_LEVEL_MAX */
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
/* An unconditional put of keys, as a client encodes it, that a voter takes into its durability log ahead of its order
 * (durable.h). It lives until done is called, exactly once, perhaps at once; done must not call the replica. ERR_OK: it
 * is on disk, and ack is this voter's word; the client has to count (durability/quorum.h). Any error: this voter gives
 * no word on it, and the put may still happen. */
struct replica_durable {
    struct list_node link;
    struct slice command;
    void (*done)(struct replica_durable *d, enum err status);
    void *context;
    struct durability_ack ack;
    /* private */
    uint64_t session, seq, number;
    bool applied;
};
void replica_durable(struct replica *r, struct replica_durable *d);
/* An ordinary request for a put that the leader has taken and not applied yet: false when there is none. Else the
 * proposal ends as replica_propose would end it, without being a second entry. */
bool replica_durable_join(struct replica *r, uint64_t session, uint64_t seq, struct replica_proposal *proposal);
/* Whether this member, as the leader, may propose the command: to be asked before replica_propose. ERR_LEVEL with why:
 * members may have programs that don't know it. */
enum err replica_may_propose(const struct replica *r, const struct meta_command *c, struct err_text *why) MUST_USE;
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

/* A linearizable query of the state, which tells nobody of a change before all mounts believe nothing older (leases.h).
 * Lives until done is called, exactly once; done must not call the replica. */
struct replica_query {
    struct meta_query query; /* any_member: also this one, if it is a follower */
    struct arena *arena;     /* of the reply; may grow by more than one reply */
    void (*done)(struct replica_query *q, enum err status);
    void *context;
    struct meta_query_reply reply; /* when status is ERR_OK */
    /* private */
    struct replica *replica;
    struct replica_read read;
    struct lease_waiter waiter;
};
void replica_query(struct replica *r, struct replica_query *q);

/* A look at the whole applied state as it is now, which a worker takes while this member goes on, crashed or not. So
 * many at a time, else BUSY_NOW. IO, and it is out of service: its newest rows can't be written. When the state is to
 * be closed or replaced, *stop is set, and that waits until run returns. */
#define REPLICA_LOOKS_MAX 8u
struct replica_look {
    void (*run)(struct replica_look *look, struct meta *view); /* on a worker */
    void (*done)(struct replica_look *look);
    atomic_bool *stop;
    /* private */
    struct replica *replica;
    struct list_node link;
    struct replica_work work;
    struct meta *view;
};
enum err replica_look(struct replica *r, struct replica_look *look) MUST_USE;

/* A client's renewal, confirmed as a read is: its attachment, a new one if it has none and wants one, or 0: none. */
uint64_t replica_lease(struct replica *r, const struct wire_keepalive *asked);
/* Heeds what the session says; what it is to be told, up to WIRE_NOTICES, goes to ret->list. DETACHED. */
enum err replica_notices(struct replica *r, const struct wire_notices_query *q, struct wire_notices *ret) MUST_USE;

/* What has happened in the tree after q->after, as far as every mount sees it; from a member's memory of what it has
 * applied, which begins when it is started. ret's lists are in the arena. An answer may have no changes and still be
 * further (through). NOT_LEADER, NO_LEADER; errors of the disk. */
enum err replica_changes(struct replica *r, const struct wire_changes_query *q, struct arena *a,
                         struct wire_changes *ret) MUST_USE;

/* The same for keys. */
enum err replica_kv_events(struct replica *r, const struct wire_kv_events_query *q, struct arena *a,
                           struct wire_kv_events *ret) MUST_USE;

/* The leader's memory of sessions. False: not known (or not the leader). */
bool replica_session_touch(struct replica *r, uint64_t session);
int64_t replica_session_silent_ns(const struct replica *r, uint64_t session); /* -1: not known */
/* A block server has told the leader of garbage that it can't take before the next epoch. */
void replica_garbage_waits(struct replica *r);
/* The block servers are to look for garbage now. The leader raises the epoch twice more, without waiting for the time
 * in between (status.epoch_hurry): by then what was garbage at the call is gone. AGAIN: the epoch rose meanwhile. */
void replica_collect_now(struct replica *r, void (*done)(void *context, enum err status), void *context);
/* A command of the leader's own: stamps, encodes, queues. It must be one that replica_may_propose allows. */
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
    REPLICA_MEMBER_MOVE,  /* to another address, with its data */
    REPLICA_MEMBER_REJOIN /* the same id with a new identity and no data: the one with the old identity is removed;
                             asked once more, the new one is added as a learner */
};
struct replica_change {
    enum replica_change_kind kind;
    uint32_t id;
    const char *address;  /* ADD, MOVE, REJOIN */
    uint8_t identity[16]; /* ADD (zero: learned when it is first heard), REJOIN */
    uint32_t level_max;   /* ADD, REJOIN: what its program knows; 0: not known yet */
};
/* ERR_OK: proposed; it is over when no change is pending in replica_status and the configuration shows it. Else nothing
 * has changed and why says the reason: NOT_LEADER, NO_LEADER, BUSY_NOW (another change is not over), EXIST (id or
 * address is in use, or nothing to do), LEVEL (its program is too old for the cluster), NO_NODE, NOT_POSSIBLE (would
 * lose the quorum; has not caught up; the last voter), INVAL. */
enum err replica_change_members(struct replica *r, const struct replica_change *change, struct err_text *why) MUST_USE;

struct replica_snapshot_status { /* one that is being sent or received */
    uint32_t peer;
    uint64_t index, bytes, total_bytes;
};
struct replica_status {
    struct raft_status raft;
    bool leader_ready, suspended, removed;
    const char *fault; /* empty: none */
    uint64_t flushed_index, log_bytes;
    unsigned log_segments;
    struct replica_snapshot_status sending[LIMIT_NODES], receiving; /* receiving.total_bytes 0: none */
    unsigned sending_count;
    uint64_t snapshots_sent, snapshots_installed;
    /* Puts that this member took into its durability log, acknowledged, and ordered as a new leader; those in it now.
     */
    uint64_t puts_taken, puts_acknowledged, puts_recovered;
    unsigned puts_waiting;
    uint64_t hashes_compared; /* of other members' states with this leader's */
    uint64_t epoch_hurry;     /* the leader raises the epoch of collection up to this one without waiting; 0: none */
};
void replica_status(struct replica *r, struct replica_status *ret);
/* Of the leader; nothing is held elsewhere. */
struct leases_status;
void replica_leases(const struct replica *r, struct leases_status *ret);
const struct raft_config *replica_config(const struct replica *r);
/* The configuration does not have this member any more: its state stays what it is. */
bool replica_is_removed(const struct replica *r);
/* It has been heard with another identity than the configuration says. */
bool replica_member_is_foreign(const struct replica *r, uint32_t id);
