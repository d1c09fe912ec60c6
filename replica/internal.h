/* internal.h: the state of one member and what the files of replica/ share. Private to replica/. */
#pragma once

#include <limits.h>

#include "base/map.h"
#include "replica/change_ring.h"
#include "replica/durable.h"
#include "replica/kv_ring.h"
#include "replica/orphans.h"
#include "replica/replica.h"
#include "replica/sessions.h"
#include "snapshot/sink.h"
#include "snapshot/state_dir.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* Committed entries that are still to be applied. */
struct apply_backlog {
    struct arena arena;
    struct raft_entry *entries;
    unsigned at, count;
};

/* What is known of another member beside what raft knows. */
struct peer_state {
    uint32_t id; /* 0: free */
    /* The leader compares what the member tells of its state (divergence.c). */
    uint64_t told_applied, told_chain; /* not compared yet, since this leader isn't that far; 0: none */
    uint64_t compared_index,
        differs_index; /* of the newest that was; of the first one that was found to differ, or 0 */
    int64_t differs_ns;
    /* What its program knows, as it said last, to the leader of this term (level.c). */
    uint32_t told_level;
    uint64_t told_level_term;
    uint8_t heard_identity[16]; /* in its last message */
    bool durable;               /* it has said that it has a durability log */
    bool foreign;               /* another identity than the configuration says; that was logged */
    /* A snapshot on its way to it. */
    int64_t offered_ns, fetched_ns; /* INT64_MIN: never */
    uint64_t fetched_bytes;
};

/* What a session calls itself, kept so that not every command asks for it. */
#define CHANGE_CLIENTS 64u
struct change_client {
    uint64_t session; /* 0: none */
    uint8_t size;
    uint8_t text[255];
};

/* The snapshot that this member has at hand for others (snapshot.c). */
enum outgoing_stage { OUTGOING_NONE, OUTGOING_MAKING, OUTGOING_READY };
struct outgoing {
    enum outgoing_stage stage;
    struct replica_work work;
    struct replica *replica;
    uint64_t id, index, term;
    uint64_t begun_index; /* applied when it was begun: it is of this entry or of a later one */
    uint32_t level;       /* of the state in it */
    char path[PATH_MAX];
    struct snapshot_source *source;
    struct bytes manifest, chunk;
    enum err error; /* of the work */
    struct err_text why;
    int64_t used_ns; /* when it was last made, offered or fetched */
};

/* The snapshot that this member receives. */
enum incoming_stage { INCOMING_NONE, INCOMING_FETCHING, INCOMING_CHECKING, INCOMING_COMPLETE };
struct incoming {
    enum incoming_stage stage;
    struct replica_work work;
    struct replica *replica;
    uint64_t id;
    uint32_t from;
    struct snapshot_sink *sink;
    char path[PATH_MAX];       /* of the sink */
    const char *complete_path; /* what is to be installed */
    enum err error;
    struct err_text why;
    int64_t asked_ns, heard_ns;
};

struct replica {
    struct replica_options options; /* `data` points to data_path */
    struct replica_env env;
    char data_path[PATH_MAX];
    struct state_dir state_dir;
    struct meta *meta;
    struct raftlog *log;
    struct raft *raft;
    bool suspended, closing;
    struct err_text fault; /* empty: none */
    uint64_t removed_at;   /* index of the configuration that this member is told not to be in; 0: none */

    /* driver.c */
    bool stepping;       /* inside raft_step or its update */
    enum raft_role role; /* these three as of the last update */
    uint64_t term;
    uint32_t leader;
    int64_t raft_deadline_ns;
    uint64_t persist_given, persist_done;
    struct list held_messages; /* struct held_message: wait for persistence */
    struct bytes read_buffer;  /* of raft's reads of the log */
    struct apply_backlog backlog;
    uint64_t applied_to_report; /* an APPLIED event that waits for the next turn; 0: none */
    struct arena apply_arena;

    /* propose.c */
    struct list queued; /* proposals that the next turn gives to raft */
    bool proposals_held;
    struct list proposed;      /* by index */
    struct map_u64 reads;      /* id -> struct replica_read, with raft */
    struct list waiting_reads; /* by index, confirmed, for the state to catch up */
    uint64_t last_read_id;
    int64_t last_time_ns;    /* stamped on a command; each is later than the one before (meta_apply sees to it) */
    int64_t last_time_at_ns; /* when that was, by replica_now_ns */

    /* visible.c */
    struct leases *leases;
    struct change_ring *changes;
    struct kv_ring *kv_ring;
    struct change_client change_clients[CHANGE_CLIENTS];
    size_t hidden_count; /* queries and outcomes that have not ended */

    /* duties.c */
    int64_t elected_ns;
    bool leader_ready; /* an entry of its own term has been applied */
    uint64_t ready_term;
    bool init_proposed, reap_proposed, release_proposed;
    int64_t reap_at_ns, reap_begun_ns; /* INT64_MAX: not due */
    int64_t second_at_ns, soon_at_ns;  /* the next of each */
    struct sessions sessions;
    struct orphans *orphans;
    uint64_t orphans_from; /* those of the state from here on are not in `orphans` yet; UINT64_MAX: all are */

    /* epochs.c */
    bool epoch_proposed, epoch_waited_for; /* waited for: a block server has garbage that it can't take yet */
    int64_t epoch_at_ns;                   /* not before */
    uint64_t epoch_hurry;                  /* up to this one somebody waits for them */

    /* expiry.c */
    bool expiry_proposed;
    int64_t expiry_at_ns; /* when to look for keys that expire */

    bool level_proposed; /* level.c */

    /* compact.c */
    uint64_t compacted_index, compact_asked; /* as last told to raft; as last asked of the log */
    bool flush_started;                      /* a compaction waits for the state to be flushed */

    struct durable durable;
    struct peer_state peers[LIMIT_NODES];
    struct outgoing outgoing;
    struct incoming incoming;
    struct list looks; /* under way */
    unsigned look_count;
    uint64_t reset_number; /* persist number of a log reset whose end is to be noted in state_dir; 0: none */
    uint64_t snapshots_sent, snapshots_installed, hashes_compared;
};

static inline bool replica_in_service(const struct replica *r)
{
    return !r->suspended && !r->fault.text[0] && !r->closing;
}
static inline int64_t replica_now_ns(const struct replica *r)
{
    return r->env.boot_ns(r->env.context);
}
/* Of another member; makes a place for a new one, and forgets those that are in no configuration any more. */
struct peer_state *replica_peer(struct replica *r, uint32_t id);

/* ---- driver.c ---- */
enum err driver_open(struct replica *r, const struct raft_restart *restart, struct err_text *why) MUST_USE;
void driver_close(struct replica *r);
/* One event, and all that follows from it. Returns the status of its update. */
enum err driver_step(struct replica *r, struct raft_event *event);
void driver_turn(struct replica *r);
void driver_send(struct replica *r, struct replica_message *m); /* fills from */
void driver_drop_held_messages(struct replica *r);

/* ---- apply.c ---- */
/* Applies in order, at least one, and no more once the time is over; returns how many. */
unsigned apply_entries(struct replica *r, const struct raft_entry *entries, unsigned count, int64_t until_ns);
/* Copies what one slice of time was not enough for: the update that holds it ends. Raft gives no more before all of it
 * is applied. */
void apply_keep(struct replica *r, const struct raft_entry *entries, unsigned count);
bool apply_kept(struct replica *r, int64_t until_ns); /* true: nothing is left */
/* The cluster's id, when the state has one, becomes known outside. */
void apply_tell_cluster_id(struct replica *r);

/* ---- propose.c ---- */
/* What a command would be stamped with now: the time of day. When that is behind the time of the last entry, since
 * another leader's clock was ahead or this one was set back, time goes on from there at half its speed until the two
 * meet: what waits for it waits at most twice as long. */
int64_t propose_time_ns(const struct replica *r);
void propose_leader_ready(struct replica *r);
void propose_given(struct replica *r, const struct raft_update *u, unsigned count);
void propose_applied(struct replica *r, const struct raft_entry *e, const struct meta_command *c,
                     const struct meta_reply *reply);
void propose_fail(struct replica *r, enum err status);
void propose_flush(struct replica *r);
void reads_released(struct replica *r, const struct raft_read_result *results, unsigned count);
void reads_applied(struct replica *r);
void reads_fail(struct replica *r, enum err status);

/* ---- visible.c ---- */
void visible_open(struct replica *r);
void visible_stop(struct replica *r);
void visible_close(struct replica *r);
void visible_turn(struct replica *r);
/* The command has just been applied. */
void visible_applied(struct replica *r, const struct meta_command *c);
/* And this is its outcome, for whoever waits for it: at once, or when it may be told. */
void visible_reply(struct replica *r, struct replica_proposal *p, const struct meta_command *c,
                   const struct meta_reply *reply);

void visible_query_end(struct replica_query *q, enum err status);

/* ---- changes.c ---- */
/* The command has just been applied. */
void changes_applied(struct replica *r, const struct meta_command *c, const struct meta_reply *reply);
/* The state is another one, or has just been opened. */
void changes_reset(struct replica *r);

/* ---- kv_events.c ---- */
void kv_events_applied(struct replica *r); /* a command has just been applied */
void kv_events_reset(struct replica *r);   /* as changes_reset */

/* ---- duties.c ---- */
void duties_open(struct replica *r);
void duties_close(struct replica *r);
void duties_tick(struct replica *r);
int64_t duties_deadline_ns(const struct replica *r);
void duties_role_changed(struct replica *r);
void duties_leader_ready(struct replica *r);
/* Releases what no session has open any more. */
void duties_release(struct replica *r);
void duties_applied(struct replica *r, const struct meta_command *c, const struct meta_reply *reply);

/* ---- epochs.c ---- */
void epochs_leader_ready(struct replica *r);
void epochs_second(struct replica *r);

/* ---- expiry.c ---- */
void expiry_leader_ready(struct replica *r);
void expiry_applied(struct replica *r, const struct meta_command *c);
void expiry_tick(struct replica *r);

/* ---- compact.c ---- */
void compact_second(struct replica *r);

/* ---- snapshot.c ---- */
void snapshot_soon(struct replica *r); /* several times a second */
void snapshot_receive(struct replica *r, const struct replica_message *m);
void snapshot_persisted(struct replica *r);
void snapshot_install_if_complete(struct replica *r); /* outside of any step */
void snapshot_close(struct replica *r);
/* The log behind this is needed by who is receiving the snapshot at hand; UINT64_MAX: nobody. */
uint64_t snapshot_floor(const struct replica *r);

/* ---- members.c ---- */
void members_second(struct replica *r);
/* Whether a message may be taken for what its sender says: an answer counts only from the data directory that the
 * configuration names. */
bool members_admit(struct replica *r, const struct replica_message *m, const uint8_t identity[16]);
void members_removed(struct replica *r, const struct replica_message *m);

/* ---- level.c ---- */
void level_told(struct replica *r, const struct replica_message *m);
void level_leader_ready(struct replica *r);
/* Whether who is to be added knows what the cluster uses. LEVEL, BUSY_NOW, with why. */
enum err level_check_new(const struct replica *r, const struct replica_change *c, struct err_text *why) MUST_USE;
void level_second(struct replica *r);

/* ---- divergence.c ---- */
void divergence_tell(const struct replica *r, struct replica_message *m);
void divergence_told(struct replica *r, const struct replica_message *m);
void divergence_soon(struct replica *r);
void divergence_accused(struct replica *r, const struct replica_message *m);
/* ERR_CORRUPT when this data directory was found to differ before. */
enum err divergence_check_mark(const struct replica *r, struct err_text *why) MUST_USE;

/* ---- look.c ---- */

/* Those under way shall end. True: there are none. */
bool look_end(struct replica *r);
