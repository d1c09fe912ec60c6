/* node.h: one running surfd: what its parts share. Internal to daemon/; everything here belongs to the loop's thread.
 *
 *   node.c            starting and stopping
 *   node_raft.c       the driver: events into raft, updates carried out
 *   node_apply.c      committed entries into the state machine, answers to who waits for them
 *   node_propose.c    commands on their way through the log, linearizable reads
 *   node_members.c    the other members: connections, hellos, raft messages
 *   node_leader.c     what the leader does by itself: first entry of a cluster, sessions, reaping, compaction of every
 * member node_chaos.c      crash, restore, faults, leadership on demand service*.c        requests block_reporter.c
 * this block server's reports
 *
 * How a command runs: service_meta.c queues a proposal; when the loop has read what there was to read, all that is
 * queued goes to raft as one event. The update's entries go to the log thread and to the followers at the same time.
 * When a majority has them, node_apply.c applies them and `done` answers the request.
 */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "blockstore/store.h"
#include "daemon/block_registry.h"
#include "daemon/config.h"
#include "daemon/datadir.h"
#include "daemon/log_thread.h"
#include "daemon/sessions.h"
#include "meta/meta.h"
#include "proto/wire_block.h"
#include "proto/wire_common.h"
#include "raftlog/raftlog.h"
#include "rpc/peer.h"
#include "rpc/server.h"

#define NODE_HEARTBEAT_NS (100 * NS_PER_MS)
#define NODE_ELECTION_TIMEOUT_NS (500 * NS_PER_MS)
#define NODE_LEASE_DRIFT_NS (50 * NS_PER_MS)
#define NODE_RAFT_CACHE_BYTES (16 * MIB)
#define NODE_APPLY_SLICE_NS (5 * NS_PER_MS) /* applying yields to the loop after this */
#define NODE_LOG_COMPACT_BYTES (64 * MIB)   /* the log is compacted when it is larger, */
#define NODE_LOG_COMPACT_ENTRIES 100000u    /* or has more entries */
#define NODE_LOG_COMPACT_STEP 20000u        /* fewer entries are not worth a flush of the state */
#define NODE_LEADER_WAIT_NS (5 * NS_PER_S)  /* for one that is asked to become leader */
#define NODE_LEADER_WAITERS 16u
#define NODE_STOP_NS (5 * NS_PER_S)            /* a clean stop takes no longer */
#define NODE_BLOCK_BYTES_IN_FLIGHT (512 * MIB) /* block requests that wait for a worker thread or run on one */

struct node;

/* A command on its way through the log. Lives until done is called, exactly once; done must not step raft. */
struct proposal {
    struct list_node link;
    uint64_t index, term; /* 0, 0 until it has been given to raft */
    struct slice data;    /* the encoded command */
    /* status ERR_OK: applied, reply is its outcome. Else the outcome is unknown, and repeating it is up to the caller.
     */
    void (*done)(struct node *n, struct proposal *p, enum err status, const struct meta_reply *reply);
    void *context;
};

/* A linearizable read on its way. As for proposals: done is called exactly once and must not step raft. */
struct read {
    struct list_node link; /* while it waits for the state to reach index */
    uint64_t id, index;
    void (*done)(struct node *n, struct read *r, enum err status);
    void *context;
};

/* What this node does to become leader; the steps are explained in node_lead.c. */
enum lead_stage { LEAD_CONNECT, LEAD_ASKING, LEAD_WAITING, LEAD_CAMPAIGNED };

/* Committed entries that are still to be applied. */
struct apply_backlog {
    struct arena arena;
    struct raft_entry *entries;
    unsigned at, count;
};

/* A metastore member, this node included. */
struct member {
    struct node *node;
    uint32_t id;
    struct rpc_address address;
    struct rpc_peer *peer;  /* NULL: this node */
    bool refused;           /* its last hello was, and that has been logged */
    unsigned inbound;       /* connections that it has to us */
    int64_t reconnected_ns; /* when its coming back last cut our back-off short */
};

struct node {
    struct config config;
    uv_loop_t *loop;
    struct datadir *dir;
    struct rpc_server *server;
    int64_t started_ns;
    bool crashed, stopping;
    struct err_text fault; /* why this node is out of service for good; empty: it isn't */
    int exit_code;
    struct arena hello_arena; /* of the hello that server and peers send */

    /* metastore role */
    struct meta *meta;
    struct raftlog *raftlog;
    struct raft *raft;
    struct log_thread *log_thread;
    struct member members[LIMIT_NODES];
    unsigned member_count;
    uint32_t unreachable[LIMIT_NODES]; /* whose raft messages are ignored */
    unsigned unreachable_count;

    /* driver */
    bool stepping;       /* inside raft_step or its update */
    enum raft_role role; /* these three as of the last update */
    uint64_t term;
    uint32_t leader;
    int64_t deadline_ns, timer_ns; /* raft's wish, and when the timer fires: never later */
    uv_timer_t timer;
    struct apply_backlog backlog;
    uint64_t applied_to_report;            /* an APPLIED event that waits for the next turn of the loop; 0: none */
    uint64_t persist_pushed, persist_done; /* the log thread's numbers */
    struct list held_messages;             /* struct held_message: wait for persistence */
    struct bytes read_buffer;              /* of raft's reads of the log */
    struct arena send_arena, apply_arena;
    uv_idle_t idle; /* active while something waits for the next turn */
    uv_check_t check;

    /* commands and reads under way */
    struct list queued; /* proposals that the next turn gives to raft */
    unsigned queued_count;
    bool proposals_held;       /* for a moment, because another one is about to lead */
    struct list proposed;      /* by index */
    struct map_u64 reads;      /* id -> struct read, with raft */
    struct list waiting_reads; /* by index, confirmed, for the state to catch up */
    uint64_t last_read_id;
    int64_t last_time_ns; /* stamped on a command; never goes back */

    /* leader */
    bool leader_ready; /* an entry of its own term has been applied */
    uint64_t ready_term;
    bool init_proposed, reap_proposed, reap_due;
    struct sessions sessions;
    uv_timer_t second_timer, reap_timer, leader_timer, hold_timer, drop_timer, stop_timer;
    uint64_t seconds;         /* ticks of second_timer */
    struct list leader_waits; /* struct leader_wait */
    unsigned leader_wait_count;
    enum lead_stage lead_stage;
    int64_t lead_until_ns; /* of the stage */
    uint64_t lead_index;   /* the leader's log ends here: wait for it */
    int64_t reap_begun_ns;
    uint64_t compacted_index; /* as last told to raft */
    bool flush_started;       /* a compaction waits for the state to be flushed */

    /* block role */
    struct block_store *blocks;
    size_t block_bytes_in_flight;
    unsigned block_work_count;
    struct block_store_stat block_stat; /* as of the last report */
    struct block_registry registry;     /* of the leader */
    char registry_complaint[256];       /* the last one that was logged */
    struct polled_server *polled[LIMIT_BLOCK_SERVERS];
    struct block_reporter *reporter;

    uv_signal_t sigterm, sigint;
    int64_t stop_ns; /* when the clean stop gives up waiting for another leader */
};

/* node.c */
/* Everything is opened but nothing runs before the caller runs the loop. On an error the node is to be closed too. */
enum err node_open(struct node *n, uv_loop_t *loop, const struct config *config, struct err_text *why) MUST_USE;
/* A clean stop; the loop ends when it is done. */
void node_stop(struct node *n);
/* Releases everything; runs the loop until all handles are closed. */
void node_close(struct node *n);
const char *node_own_address(const struct node *n);

/* node_raft.c */
enum err node_raft_open(struct node *n, struct err_text *why) MUST_USE;
void node_raft_close(struct node *n);
/* One event, and all that follows from it. Returns the status of its update. Not to be called from `done` callbacks. */
enum err node_step(struct node *n, struct raft_event *event);
void node_wake(struct node *n); /* the loop takes another turn without waiting */

/* node_apply.c */
/* Applies in order, at least one, and no more once the time is over; returns how many. */
unsigned node_apply(struct node *n, const struct raft_entry *entries, unsigned count, int64_t until_ns);
/* Copies what one slice of time was not enough for: the update that holds it ends. Raft gives no more before all of it
 * is applied. */
void node_backlog_keep(struct node *n, const struct raft_entry *entries, unsigned count);
bool node_backlog_apply(struct node *n, int64_t until_ns); /* true: nothing is left */
enum err node_learn_cluster_id(struct node *n, const uint8_t id[16]) MUST_USE;

/* node_propose.c */
void node_propose(struct node *n, struct proposal *p);
void node_flush_proposals(struct node *n);
void node_proposals_given(struct node *n, const struct raft_update *u, unsigned count);
void node_proposal_applied(struct node *n, const struct raft_entry *e, const struct meta_reply *reply);
void node_fail_proposals(struct node *n, enum err status);
void node_read(struct node *n, struct read *r);
void node_reads_released(struct node *n, const struct raft_read_result *results, unsigned count);
void node_reads_applied(struct node *n);
void node_fail_reads(struct node *n, enum err status);
int64_t node_command_time_ns(struct node *n);
/* A command of the leader's own: encodes, queues. done gets the context and must not free anything but that. */
void node_propose_own(struct node *n, const struct meta_command *c,
                      void (*done)(struct node *n, void *context, enum err status, const struct meta_reply *reply),
                      void *context);

/* node_members.c */
void node_members_open(struct node *n);
void node_members_close(struct node *n);
/* Begins to connect to those that are not: what is sent to them meanwhile is lost, and without timers not repeated. */
void node_members_connect(struct node *n);
bool node_members_connected(const struct node *n);       /* all of them */
struct member *node_member(struct node *n, uint32_t id); /* NULL: not a member */
struct slice node_hello(struct node *n);                 /* what this node says of itself; until the next call */
void node_update_hello(struct node *n);
/* Version and cluster; ret->name is not kept. */
enum err node_check_hello(const struct node *n, struct slice hello, struct wire_hello *ret,
                          struct err_text *why) MUST_USE;
enum err node_on_hello(void *node, struct slice hello, uint64_t *ret_tag, struct err_text *why) MUST_USE;
void node_on_close(void *node, uint64_t tag);
void node_send(struct node *n, const struct raft_message *m, bool hold);
void node_messages_persisted(struct node *n);
void node_drop_held_messages(struct node *n);
void node_receive(struct node *n, struct rpc_request *request);
bool node_is_unreachable(const struct node *n, uint32_t id);
void node_ignore(struct node *n, const uint32_t *ids, unsigned count);

/* node_leader.c */
void node_leader_open(struct node *n);
void node_leader_close(struct node *n);
void node_role_changed(struct node *n);
void node_leader_applied(struct node *n, const struct raft_entry *e, const struct meta_command *c,
                         const struct meta_reply *reply);
void node_leader_becomes_ready(struct node *n);

/* node_compact.c */
void node_compact(struct node *n); /* every few seconds */

/* node_chaos.c */
void node_chaos_open(struct node *n);
void node_chaos_close(struct node *n);
void node_crash(struct node *n);
void node_restore(struct node *n);
void node_fail(struct node *n, const char *format, ...) PRINTF_LIKE(2, 3);

/* node_lead.c */
void node_lead_open(struct node *n);
void node_lead_close(struct node *n);
void node_lead(struct node *n, struct rpc_request *request);
/* The same request of another member: it asks the leader to make it one. */
void node_hand_over(struct node *n, struct rpc_request *request, uint32_t to);
void node_leader_waits_check(struct node *n);
void node_leader_waits_fail(struct node *n, enum err status);

/* service.c */
void service_on_request(void *node, struct rpc_request *request);
/* ERR_OK, or why this node answers nothing now: CRASHED, IO (fault), SHUTDOWN. */
enum err service_state(const struct node *n);
/* An error reply with a text (NULL: the error's own) and, where it helps, who leads. */
void service_refuse(struct node *n, struct rpc_request *request, enum err status, const char *text);
/* NOT_LEADER or NO_LEADER, whichever holds now. */
enum err service_not_leader(const struct node *n);
bool service_has_role(struct node *n, struct rpc_request *request, unsigned role);

/* service_meta.c, service_block.c, service_admin.c: one request each, which they answer */
void service_meta_call(struct node *n, struct rpc_request *request);
void service_meta_query(struct node *n, struct rpc_request *request);
void service_meta_keepalive(struct node *n, struct rpc_request *request);
void service_block(struct node *n, struct rpc_request *request);
void service_block_report(struct node *n, struct rpc_request *request);
void service_admin(struct node *n, struct rpc_request *request);
/* What METHOD_BLOCK_INFO says. */
void service_block_info(struct node *n, struct wire_block_info *ret);

/* block_reporter.c */
void block_reporter_open(struct node *n);
void block_reporter_close(struct node *n);
void block_reporter_free(struct node *n); /* after the loop has closed its handle */
void block_reporter_now(struct node *n);  /* the leader may be another one */

/* node_registry.c: what keeps the registry up to date */
void node_registry_load(struct node *n);
enum err node_registry_report(struct node *n, const struct wire_block_info *info, const char *address,
                              struct err_text *why) MUST_USE;
void node_registry_poll(struct node *n);
void node_registry_close(struct node *n);
void node_registry_free(struct node *n); /* after the loop has closed what there was */
