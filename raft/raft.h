/* raft.h: the consensus core, as a deterministic library. Events go in, updates come out; no I/O, no clock, no thread,
 * no global; the only randomness is a seeded stream in the struct. Source: Ongaro, "Consensus: Bridging Theory and
 * Practice" (2014); section numbers below refer to it.
 *
 * The driver owns time, disk and network. It calls raft_step with one event and then carries out the update:
 *
 *   1. If `truncate` is set, the log on disk is cut so that its last index is truncate_after, before anything that is
 *      written later. Hard state (term, vote) and `entries` are persisted, in that order, asynchronously if wanted, but
 *      strictly in the order of the updates. When they are safe the driver sends RAFT_EVENT_PERSISTED.
 *   2. `messages` without `after_persist` are sent at once, in parallel with the driver's own write. Those with
 *      `after_persist` are sent when everything that this and earlier updates gave to persist is safe (a vote, an
 *      acknowledgement: thesis 3.8, P8).
 *   3. `committed` entries are applied in order; when that is done, RAFT_EVENT_APPLIED. They are never beyond what is
 *      durable in this member's own log.
 *   4. `reads` are answered: for status ERR_OK, when the state has been applied up to `index`.
 *   5. The driver calls again with RAFT_EVENT_TICK not later than deadline_ns.
 *
 * All pointers in an update are valid until the next raft_step or raft_close. Data in events is copied when it is kept.
 * Times are int64 nanoseconds of CLOCK_BOOTTIME and never go back. Not thread-safe: one thread owns a struct raft.
 *
 * Invariants (CHECKed): compacted <= applied <= committed <= last; persisted <= last; a leader never overwrites its own
 * entries; a truncation never reaches below committed (P9).
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

struct raft;

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
const char *raft_role_name(enum raft_role role);

enum raft_entry_type { RAFT_ENTRY_NOOP = 1, RAFT_ENTRY_COMMAND = 2, RAFT_ENTRY_CONFIG = 3 };

struct raft_entry {
    uint64_t index, term;
    enum raft_entry_type type;
    struct slice data; /* <= LIMIT_COMMAND_BYTES */
};

/* Who takes part. Static in this version of the core; joint consensus extends it with the incoming set. */
struct raft_config {
    uint32_t voters[LIMIT_NODES], learners[LIMIT_NODES]; /* node ids, > 0 */
    unsigned voter_count, learner_count;
};

enum raft_election { RAFT_ELECTION_AUTO, RAFT_ELECTION_MANUAL };
enum raft_reads { RAFT_READS_LEASE, RAFT_READS_READINDEX };

struct raft_options {
    uint32_t id;
    struct raft_config config;
    enum raft_election
        election; /* MANUAL: no timers, no pre-vote, check-quorum, stickiness or lease (thesis 3.10 by hand) */
    enum raft_reads reads;
    int64_t election_timeout_ns; /* minimum; the real one is drawn from [t, 2t) */
    int64_t heartbeat_ns;        /* < election_timeout_ns / 3 */
    int64_t lease_drift_ns;      /* margin taken off the lease for clock drift */
    uint64_t seed;
    size_t cache_bytes; /* applied entries kept in memory for followers that lag a little */
};

/* What the driver found on disk. */
struct raft_hard_state {
    uint64_t term;
    uint32_t vote; /* 0: none in this term */
};
struct raft_restart {
    struct raft_hard_state hard;
    uint64_t compacted_index, compacted_term; /* the entry just before the first one in the log; 0, 0 at the start */
    uint64_t last_index;                      /* compacted_index when the log is empty */
    uint64_t applied_index;                   /* of the state machine; >= compacted_index */
    bool fresh; /* first start of this member: no vote can have been given or lease granted before, so it may vote at
                   once */
};

/* Reading entries that are durable but no longer in the core's memory. Synchronous; called from inside raft_step. An
 * error makes the core skip that follower until it is next fed. */
struct raft_storage {
    void *context;
    /* Entries from `from`, at most max_count and about max_bytes (at least one); data lives until the next call. */
    enum err (*read)(void *context, uint64_t from, unsigned max_count, size_t max_bytes, struct raft_entry *ret_entries,
                     unsigned *ret_count);
    /* The term of a durable entry; called for compacted_index <= index <= last persisted. */
    enum err (*term)(void *context, uint64_t index, uint64_t *ret_term);
};

enum raft_message_type {
    RAFT_MSG_PREVOTE = 1,
    RAFT_MSG_PREVOTE_REPLY,
    RAFT_MSG_VOTE,
    RAFT_MSG_VOTE_REPLY,
    RAFT_MSG_APPEND, /* entries, or none: heartbeat */
    RAFT_MSG_APPEND_REPLY,
    RAFT_MSG_TIMEOUT_NOW, /* transfer, thesis 3.10 */
    RAFT_MSG_SNAPSHOT,
    RAFT_MSG_SNAPSHOT_REPLY /* reserved for streamed snapshots */
};
#define RAFT_MSG_LAST RAFT_MSG_SNAPSHOT_REPLY

struct raft_message {
    enum raft_message_type type;
    uint32_t from, to;
    uint64_t term;
    uint64_t index; /* VOTE, PREVOTE: candidate's last index. APPEND: previous index. APPEND_REPLY: match, or on
                       reject the follower's hint to go on at */
    uint64_t
        log_term;    /* term of the entry at `index` (for a rejecting reply: the conflicting term, 0: log too short) */
    uint64_t commit; /* APPEND: leader's commit. APPEND_REPLY: follower's last index */
    uint64_t round;  /* APPEND: the leader's round; echoed by the reply; for ReadIndex and the lease */
    uint64_t compactable; /* APPEND: what every member has: followers compact up to here */
    bool reject;
    bool force;         /* VOTE of a transfer or of SetLeader: stickiness doesn't apply */
    bool after_persist; /* not on the wire: see the top */
    const struct raft_entry *entries;
    unsigned entry_count;
};

enum raft_event_type {
    RAFT_EVENT_TICK,      /* time only */
    RAFT_EVENT_MESSAGE,   /* message */
    RAFT_EVENT_PROPOSE,   /* entries to append: type and data; index and term are ignored and given in the update */
    RAFT_EVENT_READ,      /* read.id: a linearizable read; answered in some update's reads, exactly once */
    RAFT_EVENT_PERSISTED, /* persisted: everything up to this entry and hard state is durable */
    RAFT_EVENT_APPLIED,   /* applied */
    RAFT_EVENT_CAMPAIGN,  /* SetLeader: become leader with votes for term+1, or nothing if it is leader already */
    RAFT_EVENT_TRANSFER,  /* target: hand leadership over (leader only); given up after one election time-out */
    RAFT_EVENT_HEARTBEAT, /* one round of appends now (leader only; the manual mode's SendHeartbeat) */
    RAFT_EVENT_STEP_DOWN, /* become a follower without a known leader (crash, restore, disk fault); reads fail */
    RAFT_EVENT_COMPACTED  /* compacted: the log before and with this index is gone from the storage */
};

struct raft_event {
    enum raft_event_type type;
    int64_t now_ns;
    union {
        const struct raft_message *message; /* already validated: from is a member, to is us */
        struct {
            const struct raft_entry *entries;
            unsigned count;
        } propose;
        struct {
            uint64_t id;
        } read;
        struct {
            uint64_t index, term;        /* the last durable entry (0, 0: only hard state) */
            struct raft_hard_state hard; /* the last durable hard state */
        } persisted;
        struct {
            uint64_t index;
        } applied;
        struct {
            uint32_t target;
        } transfer;
        struct {
            uint64_t index;
        } compacted;
    };
};

struct raft_read_result {
    uint64_t id;
    enum err status; /* ERR_OK, or NOT_LEADER / NO_LEADER when leadership was lost or is not confirmed */
    uint64_t index;  /* the state must be applied up to here before the read is answered */
};

struct raft_update {
    bool truncate;
    uint64_t truncate_after;
    bool hard_state_changed;
    struct raft_hard_state hard;
    const struct raft_entry *entries; /* to persist, consecutive */
    unsigned entry_count;
    const struct raft_message *messages;
    unsigned message_count;
    const struct raft_entry *committed; /* newly; consecutive; bounded per update, more follows after APPLIED */
    unsigned committed_count;
    const struct raft_read_result *reads;
    unsigned read_count;
    bool role_changed; /* role, term or leader differ from the last update */
    int64_t deadline_ns;
    /* For PROPOSE: ERR_OK and the index and term of the first entry, or NOT_LEADER, BUSY_NOW (uncommitted limit, or a
     * transfer is under way), TOO_BIG. For CAMPAIGN, TRANSFER, HEARTBEAT: ERR_OK, NOT_LEADER, NO_NODE, NOT_POSSIBLE. */
    enum err status;
    uint64_t proposed_index, proposed_term;
};

/* ERR_CONFIG with why for impossible options (id not a member, heartbeat too long, ...). */
enum err raft_open(const struct raft_options *options, const struct raft_restart *restart,
                   const struct raft_storage *storage, int64_t now_ns, struct raft **ret,
                   struct err_text *why) MUST_USE;
void raft_close(struct raft *r);

/* Never fails: operating errors are in update->status and reads[].status. */
void raft_step(struct raft *r, const struct raft_event *event, struct raft_update *update);

struct raft_progress { /* of one other member, as the leader sees it */
    uint32_t id;
    uint64_t match, next;
    bool active, learner; /* active: heard from within an election time-out */
    int64_t last_heard_ns;
};
struct raft_status {
    uint32_t id, leader; /* leader 0: unknown */
    enum raft_role role;
    uint64_t term;
    uint32_t vote;
    uint64_t compacted, applied, committed, persisted, last;
    int64_t lease_until_ns; /* leader; 0: none */
    bool term_committed;    /* leader: an entry of its own term is committed, so it may serve */
    unsigned progress_count;
    struct raft_progress progress[LIMIT_NODES];
};
void raft_status(const struct raft *r, struct raft_status *ret);
/* The log may be compacted up to here: min of applied and what every member has (leader: the slowest member's match;
 * follower: what the leader last said is on every member). */
uint64_t raft_compactable(const struct raft *r);
