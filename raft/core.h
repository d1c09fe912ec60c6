/* core.h: the state of a member and what the files of raft/ share. Private to raft/. */
#pragma once

#include "base/arena.h"
#include "base/plant.h"
#include "base/prng.h"
#include "raft/log.h"

#define CORE_ROUNDS_KEPT 64u     /* rounds whose start is remembered, for the lease */
#define CORE_READS_MAX 65536u    /* reads that wait for a round */
#define CORE_MESSAGES_MAX 4096u  /* in one update */
#define CORE_FORWARDED_MAX 2048u /* followers' reads that a leader holds: their answers fit in one update */
#define CORE_STORAGE_BATCHES 2u  /* read from the storage for one member in one step */

/* How a follower is fed. PROBE: where its log agrees with ours is not known; one message at a time. PIPELINE: it is;
 * next runs ahead of match without waiting. */
enum core_feed { CORE_PROBE, CORE_PIPELINE };

struct core_peer {
    uint32_t id;
    uint8_t identity[16];
    bool voter, old_voter; /* of the newest configuration */
    /* Campaign. */
    bool answered, granted;
    /* Leader. match < next. */
    enum core_feed feed;
    bool probe_sent; /* PROBE: wait for the answer or the next heartbeat */
    uint64_t match, next;
    uint64_t commit_told;                           /* the commit index of the last append to it */
    uint64_t inflight[LIMIT_RAFT_INFLIGHT_BATCHES]; /* last index of each batch under way, oldest first; a ring */
    unsigned inflight_at, inflight_count;
    uint64_t acked_round;
    int64_t acked_round_ns; /* when the newest round that it answered began; INT64_MIN: none */
    int64_t heard_ns;
};

struct core_read {
    uint32_t from; /* the follower that asks; 0: our own driver */
    uint64_t id, index;
    uint64_t round; /* confirmed when a quorum has answered this round or a later one; 0: not assigned yet */
};

/* A read of our own driver that a leader was asked for. */
struct core_forward {
    uint64_t id;
    int64_t deadline_ns;
};

/* A configuration of the log, and where its entry is; the first one is as of what is applied, or before. */
struct core_config {
    uint64_t index;
    struct raft_config config;
};

struct raft {
    struct raft_options options;
    struct raft_log log;
    struct prng prng;
    int64_t now_ns;

    struct raft_hard_state hard;         /* in memory */
    struct raft_hard_state hard_given;   /* handed to the driver */
    struct raft_hard_state hard_durable; /* the driver said that it is safe */
    enum raft_role role;
    uint32_t leader;
    struct core_config *configs; /* the last one is in effect; at least one */
    unsigned config_count, config_capacity;
    bool is_voter, is_old_voter; /* this member, by the newest configuration */
    uint64_t committed;
    uint64_t applying;   /* handed out for apply; applied <= applying <= committed */
    uint64_t everywhere; /* what every member has, as far as known */

    struct core_peer peers[LIMIT_NODES]; /* the other members of the newest configuration */
    unsigned peer_count;

    int64_t election_deadline_ns;
    int64_t leader_heard_ns; /* when a leader, of whatever term, was last heard; INT64_MIN: never */
    int64_t no_vote_until_ns;
    bool campaign_forced;

    /* Leader. */
    uint64_t term_start; /* index of this term's no-op */
    uint64_t round;
    int64_t round_ns[CORE_ROUNDS_KEPT];
    int64_t next_heartbeat_ns, quorum_check_ns;
    bool lease_lost;      /* a transfer was begun: no lease for the rest of the term */
    uint32_t transfer_to; /* 0: none */
    int64_t transfer_deadline_ns;
    struct core_read *reads;
    unsigned read_count, read_capacity;
    uint64_t read_round;      /* the round that the first reads wait for; 0: none */
    unsigned forwarded_count; /* of the reads, those of followers */

    /* Follower. */
    struct core_forward *forwards; /* in the order of their deadlines */
    unsigned forward_count, forward_capacity;

    /* The update being made. */
    struct arena arena; /* what its pointers lead to */
    struct raft_message *messages;
    unsigned message_count, message_capacity;
    struct raft_read_result *results;
    unsigned result_count, result_capacity;
    bool truncated, reset, config_changed;
    uint64_t truncate_after;
    uint64_t truncate_term; /* when the log was last cut: writes that ended before that term prove nothing any more */
    enum raft_role told_role;
    uint32_t told_leader;
    uint64_t told_term;
};

/* ---- election.c ---- */
void core_reset_election(struct raft *r);
void core_become_follower(struct raft *r, uint64_t term, uint32_t leader);
void core_start_election(struct raft *r);       /* a time-out: pre-vote first */
void core_campaign(struct raft *r, bool force); /* votes for term + 1 */
void core_count_votes(struct raft *r);
/* No vote may be given now, not to ourselves either: a leader that lives is not to be disturbed, and a lease that it
 * may hold is not to be broken. Only a transfer, for which the leader gives its lease up, goes past this. */
bool core_is_bound(const struct raft *r);
void core_on_vote(struct raft *r, const struct raft_message *m);
void core_on_prevote(struct raft *r, const struct raft_message *m);
void core_on_vote_reply(struct raft *r, const struct raft_message *m);
void core_on_prevote_reply(struct raft *r, const struct raft_message *m);

/* ---- replicate.c ---- */
void core_lead(struct raft *r); /* the candidate has won */
void core_feed_peer(struct raft *r, struct core_peer *p);
void core_feed_all(struct raft *r);
void core_tell_commit(struct raft *r, struct core_peer *p); /* unless it has been told */
void core_heartbeat(struct raft *r);                        /* begins a round and sends it to everybody */
void core_read_round(struct raft *r);                       /* the same, but without repeating probes */
void core_advance_commit(struct raft *r);
void core_on_append(struct raft *r, const struct raft_message *m);
void core_on_append_reply(struct raft *r, const struct raft_message *m);
void core_transfer(struct raft *r); /* tells the target when it has caught up */

/* ---- read.c ---- */
void core_read(struct raft *r, uint64_t id, bool forward);
void core_on_read(struct raft *r, const struct raft_message *m);
void core_on_read_reply(struct raft *r, const struct raft_message *m);
void core_expire_forwards(struct raft *r);
void core_release_reads(struct raft *r); /* after rounds were answered or an entry of the term was committed */
void core_fail_reads(struct raft *r);
int64_t core_lease_until(const struct raft *r); /* INT64_MIN: none */

/* ---- raft.c ---- */
struct core_peer *core_find_peer(struct raft *r, uint32_t id);
/* A message to be filled in by the caller; from, to, term are set. */
struct raft_message *core_message(struct raft *r, enum raft_message_type type, uint32_t to);
bool core_is_auto(const struct raft *r);

/* ---- config.c ---- */
const struct core_config *core_newest_config(const struct raft *r);
void core_config_start(struct raft *r, uint64_t index, const struct raft_config *config);
enum err core_config_scan(struct raft *r) MUST_USE; /* what the log has beyond what is applied */
void core_config_appended(struct raft *r, uint64_t index, struct slice data);
void core_config_truncated(struct raft *r, uint64_t after);
void core_config_applied(struct raft *r, uint64_t index);
void core_config_committed(struct raft *r); /* the leader goes on with a change */
enum err core_change(struct raft *r, const struct raft_config *wanted, uint64_t *ret_index) MUST_USE;
/* A majority of the voters, and of the old ones while the configuration is joint; `own` is what we say ourselves. */
bool core_has_quorum(const struct raft *r, bool own, bool (*yes)(const struct raft *, const struct core_peer *));
/* Of the members' values, the largest that a quorum reaches; ours is `own`. 0: there are no voters. */
uint64_t core_quorum_value(const struct raft *r, uint64_t own, uint64_t (*of)(const struct core_peer *p));
bool core_votes(const struct raft *r);
bool core_may_vote(const struct raft *r);
bool core_may_campaign(const struct raft *r);
bool core_is_alone(const struct raft *r); /* the only voter */
