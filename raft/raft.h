/* raft.h: the consensus core, as a deterministic library. Events go in, updates come out; no I/O, no clock, no thread,
 * no global; the only randomness is a seeded stream in the struct. Source: Ongaro, "Consensus: Bridging Theory and
 * Practice" (2014); section numbers below refer to it.
 *
 * The driver owns time, disk and network. It calls raft_step with one event and then carries out the update:
 *
 *   1. If `reset` is set, the log on disk is emptied (see there). If `truncate` is set, it is cut so that its last
 * index is truncate_after, before anything that is written later. Hard state (term, vote) and `entries` are persisted,
 * in that order, asynchronously if wanted, but strictly in the order of the updates. With a reset the hard state goes
 *      first: the log must not end in a term that is above the stored one. When all is safe the driver sends
 *      RAFT_EVENT_PERSISTED.
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

/* Who takes part. A member is an id and the identity of its data directory: the same id with another identity (a wiped
 * disk) is another member, of which nothing is known (P4). */
struct raft_member {
    uint32_t id;                           /* > 0 */
    uint8_t identity[16];                  /* zero: not known yet, as after the first start of a cluster */
    bool voter;                            /* of the configuration, or while it is joint of the incoming one */
    bool old_voter;                        /* joint: of the outgoing one */
    bool leaving;                          /* joint: neither voter nor learner when the joint phase ends */
    char address[LIMIT_ADDRESS_BYTES + 1]; /* HOST:PORT; not looked at by the core */
};

/* While it is joint (thesis 4.3), elections, commitment, rounds and leases need a majority of the voters and one of the
 * old voters. In the order of the ids. Members that are neither are learners: they get the log and never vote. */
struct raft_config {
    bool joint;
    unsigned count;
    struct raft_member members[LIMIT_NODES];
};

/* The data of a RAFT_ENTRY_CONFIG: also a storage format. */
void raft_config_encode(const struct raft_config *c, struct bytes *to);
/* ERR_CORRUPT for what no encoder wrote: counts, order, an id twice, flags that contradict each other, no voter. An
 * empty configuration (count 0) is that of a member that waits to be added. */
enum err raft_config_decode(struct slice s, struct raft_config *ret) MUST_USE;
const struct raft_member *raft_config_find(const struct raft_config *c, uint32_t id); /* NULL: not in it */

enum raft_election { RAFT_ELECTION_AUTO, RAFT_ELECTION_MANUAL };
enum raft_reads { RAFT_READS_LEASE, RAFT_READS_READINDEX };

struct raft_options {
    uint32_t id;
    uint8_t identity[16]; /* of this member's data directory; zero: not known. A configuration that names another one
                             under this id is about a disk that is lost: this member is not in it */
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
    /* The configuration as of applied_index, and the index of its entry (0: of the first start). Later ones are found
     * in the log by raft_open. */
    struct raft_config config;
    uint64_t config_index;
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
    RAFT_MSG_READ,        /* a follower's read: asks for an index to wait for (ReadIndex, thesis 6.4) */
    RAFT_MSG_READ_REPLY
};
#define RAFT_MSG_LAST RAFT_MSG_READ_REPLY

struct raft_message {
    enum raft_message_type type;
    uint32_t from, to;
    uint64_t term;
    uint64_t index; /* VOTE, PREVOTE: candidate's last index. APPEND: previous index. APPEND_REPLY: match, or on
                       reject the follower's hint to go on at. READ_REPLY: the state must be applied up to here */
    uint64_t
        log_term;    /* term of the entry at `index` (for a rejecting reply: the conflicting term, 0: log too short) */
    uint64_t commit; /* APPEND: leader's commit. APPEND_REPLY: follower's last index */
    uint64_t round;  /* APPEND: the leader's round; echoed by the reply; for ReadIndex and the lease. READ, READ_REPLY:
                        the asker's number of the read */
    uint64_t compactable; /* APPEND: what every member has: followers may compact up to here without hurting anybody */
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
    RAFT_EVENT_READ,      /* read: a linearizable read; answered in some update's reads, exactly once. A follower asks
                             the leader, if read.forward is set */
    RAFT_EVENT_PERSISTED, /* persisted: everything up to this entry and hard state is durable */
    RAFT_EVENT_APPLIED,   /* applied */
    RAFT_EVENT_CAMPAIGN,  /* SetLeader: become leader with votes for term+1, or nothing if it is leader already */
    RAFT_EVENT_TRANSFER,  /* target: hand leadership over (leader only); given up after one election time-out */
    RAFT_EVENT_HEARTBEAT, /* one round of appends now (leader only; the manual mode's SendHeartbeat) */
    RAFT_EVENT_STEP_DOWN, /* become a follower without a known leader (crash, restore, disk fault); reads fail */
    RAFT_EVENT_COMPACTED, /* compacted: the log before and with this index is gone from the storage */
    RAFT_EVENT_CHANGE,    /* change: make this the configuration (leader only; see raft_change) */
    RAFT_EVENT_INSTALLED  /* installed: the state machine is now that of a snapshot (raft_wants_snapshot was true just
                             before). The update resets the log */
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
            uint64_t id; /* of the driver; never used twice */
            bool forward;
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
        struct {
            const struct raft_config *config; /* `joint` and the joint flags are not looked at */
        } change;
        struct {
            uint64_t index, term;
            const struct raft_config *config; /* as of index */
            uint64_t config_index;
        } installed;
    };
};

struct raft_read_result {
    uint64_t id;
    enum err status; /* ERR_OK, or NOT_LEADER / NO_LEADER when leadership was lost or is not confirmed */
    uint64_t index;  /* the state must be applied up to here before the read is answered */
};

struct raft_update {
    bool reset; /* the whole log is dropped; the next entry is reset_index + 1, and what is before it has reset_term.
                   Comes before all else that this update persists, and after what earlier ones gave */
    uint64_t reset_index, reset_term;
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
    bool
        config_changed; /* the configuration in effect (raft_config) differs: an entry came, was cut off or installed */
    int64_t deadline_ns;
    /* For PROPOSE: ERR_OK and the index and term of the first entry, or NOT_LEADER, BUSY_NOW (uncommitted limit, or a
     * transfer is under way), TOO_BIG. For CAMPAIGN, TRANSFER, HEARTBEAT: ERR_OK, NOT_LEADER, NO_NODE, NOT_POSSIBLE.
     * For CHANGE: see there. */
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

/* Membership (thesis chapter 4). RAFT_EVENT_CHANGE asks the leader for another configuration. Status:
 *   ERR_OK            appended (proposed_index): a joint configuration when the voters differ, whose end the core
 * appends by itself once it is committed; otherwise the new one at once ERR_NOT_LEADER, ERR_NO_LEADER ERR_BUSY_NOW a
 * change is not committed yet, a transfer is under way, or no entry of this leader's own term is committed (P2)
 *   ERR_INVAL         not a configuration: no voter, an id twice, too many members
 *   ERR_NOT_POSSIBLE  the voters that would be left are, as far as this leader knows, no live majority; or a learner
 *                     that is to become a voter has not caught up
 *   ERR_EXIST         it is this one already
 * A configuration counts from when it is in a log, committed or not, and goes back when its entry is cut off. A leader
 * that is not a voter of the new one leads until that is committed, then asks the best successor to take over and
 * steps down. A member whose identity changes is a new member. Votes and appends are answered whoever sends them: this
 * member's configuration may be an old one. A member without any configuration, or with one that names another
 * identity under its id, gives no votes: its former self may have given them already. */
struct raft_progress { /* of one other member, as the leader sees it */
    uint32_t id;
    uint64_t match, next;
    bool active, learner; /* active: heard from within an election time-out */
    bool needs_snapshot;  /* what it needs next is compacted: the driver sends it a snapshot */
    int64_t last_heard_ns;
};
struct raft_status {
    uint32_t id, leader; /* leader 0: unknown */
    enum raft_role role;
    uint64_t term;
    uint32_t vote;
    uint64_t compacted, applied, committed, persisted, last, last_term; /* last_term: of the entry last */
    int64_t lease_until_ns;                                             /* leader; 0: none */
    bool term_committed;   /* leader: an entry of its own term is committed, so it may serve */
    bool voter;            /* this member is one */
    bool config_pending;   /* the newest configuration is joint or not committed */
    uint64_t config_index; /* of the newest configuration's entry */
    unsigned progress_count;
    struct raft_progress progress[LIMIT_NODES];
};
void raft_status(const struct raft *r, struct raft_status *ret);
/* The configuration in effect: the newest in the log. Valid until the next raft_step. */
const struct raft_config *raft_config(const struct raft *r);
/* Whether a snapshot of this entry would bring this member forward: it is beyond what is committed here, and the log
 * does not hold that entry. Only then it may be installed (RAFT_EVENT_INSTALLED): a follower that has it would lose
 * acknowledged entries behind it. */
bool raft_wants_snapshot(const struct raft *r, uint64_t index, uint64_t term);
/* Up to here nobody needs the log: min of applied and what every member has (leader: the slowest member's match;
 * follower: what the leader last said is on every member). The driver may compact further, up to what is applied and
 * safe in its state machine: then members that are behind get a snapshot. */
uint64_t raft_compactable(const struct raft *r);
