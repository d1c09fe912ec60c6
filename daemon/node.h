/* node.h: one running surfd: what its parts share. Internal to daemon/; everything here belongs to the loop's thread.
 *
 *   node.c            starting and stopping
 *   node_replica.c    what the metastore member (replica/) is given: time, disk, threads, and its messages
 *   node_members.c    the members: connections, hellos, messages
 *   node_lead.c       leadership on demand
 *   node_rejoin.c     a member that lost its data asks to be taken back
 *   node_registry.c   the leader's registry of block servers
 *   node_space.c      disk space that runs out
 *   node_chaos.c      crash, restore, faults
 *   service*.c        requests
 *   block_reporter.c  this block server's reports
 *   block_keeper*.c   what it does so that its blocks and the other servers' copies stay whole
 *
 * How a command runs: service/meta.c gives a proposal to the replica; when the loop has read what there was to read,
 * all that is queued goes to raft as one event. The update's entries go to the log thread and to the followers at the
 * same time. When a majority has them they are applied, and `done` answers the request. */
#pragma once

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "blockstore/repair.h"
#include "blockstore/store.h"
#include "daemon/activity.h"
#include "daemon/block/block_registry.h"
#include "daemon/config.h"
#include "daemon/datadir.h"
#include "daemon/log_thread.h"
#include "meta/level.h"
#include "proto/wire_block.h"
#include "proto/wire_common.h"
#include "replica/replica.h"
#include "rpc/peer.h"
#include "rpc/server.h"

#define NODE_HEARTBEAT_NS (100 * NS_PER_MS)
#define NODE_ELECTION_TIMEOUT_NS (500 * NS_PER_MS)
#define NODE_LEASE_DRIFT_NS (50 * NS_PER_MS)
#define NODE_RAFT_CACHE_BYTES (16 * MIB)
#define NODE_APPLY_SLICE_NS (5 * NS_PER_MS)
#define NODE_LOG_KEEP_ENTRIES 10000u /* for followers that are a little behind; less when the log is to be short */
/* The log is cut by whole segments, so it is made of some. */
#define NODE_LOG_SEGMENTS 8u
#define NODE_SEGMENT_MIN_BYTES ((uint64_t)128 * KIB)
#define NODE_SEGMENT_MAX_BYTES ((uint64_t)16 * MIB)
#define NODE_LEADER_WAIT_NS (5 * NS_PER_S) /* for one that is asked to become leader */
#define NODE_LEADER_WAITERS 16u
#define NODE_BLOCK_BYTES_IN_FLIGHT (512 * MIB) /* block requests that wait for a worker thread or run on one */
#define NODE_WATCHES_MAX 256u                  /* questions for changes that are held */
/* What this program knows (meta/level.h); tests have one that knows more. */
#define NODE_LEVEL_MAX (META_LEVEL_MAX + PLANTED(LEVEL_NEXT))
#define NODE_SELVES 2u
#define NODE_MEMBERS_MAX (2 * LIMIT_NODES) /* members, and others that speak as if they were */

struct node;

/* What this node does to become leader; the steps are explained in node_lead.c. */
enum lead_stage { LEAD_CONNECT, LEAD_ASKING, LEAD_WAITING, LEAD_CAMPAIGNED };

/* A data directory that speaks to us under a member's id: while a lost disk's place is taken by another it may not be
 * dead, and what it says is not the other's word (P4). */
struct member_self {
    uint8_t identity[16];
    unsigned inbound; /* connections that it has to us; 0: a free place */
};

/* A metastore member, this node included; or one that is not, or not any more, but speaks to us. */
struct member {
    struct node *node;
    uint32_t id;  /* 0: a free place */
    bool current; /* of the configuration in effect */
    struct member_self selves[NODE_SELVES];
    struct rpc_address address;
    struct rpc_peer *peer;  /* NULL: this node */
    bool refused;           /* its last hello was, and that has been logged */
    int64_t reconnected_ns; /* when its coming back last cut our back-off short */
};

struct node {
    struct config config;
    uv_loop_t *loop;
    struct datadir *dir;
    struct rpc_server *server;
    int64_t started_ns;
    atomic_bool crashed; /* written by the loop's thread, gateways look at it */
    int64_t crashed_ns;  /* when it was last set */
    bool stopping;
    /* Not NULL: called in place of node_stop when a signal asks for it; calls that when it is ready. */
    void (*on_stop_asked)(void *context);
    void *stop_context;
    bool blocks_full;         /* blocks are only read, so that there is room left for the metadata */
    struct err_text no_space; /* why it has stepped aside for want of disk space; empty: it has not */
    struct err_text fault;    /* why this node is out of service for good; empty: it isn't */
    int exit_code;
    struct activity activity;
    struct arena hello_arena; /* of the hello that server and peers send */

    /* metastore role */
    struct replica *replica; /* NULL: a block server only */
    struct log_thread *log_thread;
    struct member members[NODE_MEMBERS_MAX];
    uint32_t unreachable[LIMIT_NODES]; /* whose messages are ignored */
    unsigned unreachable_count;
    enum raft_role role;     /* these as of the replica's last word; without a replica nobody leads */
    _Atomic uint32_t leader; /* as crashed */
    bool leader_ready;
    int64_t timer_ns; /* when the timer fires: not later than the replica's deadline; 0: it does not run */
    uv_timer_t timer;
    struct arena send_arena;
    unsigned work_count; /* the replica's, on worker threads */
    uv_idle_t idle;      /* active while something waits for the next turn */
    uv_check_t check;
    uv_prepare_t prepare;

    uv_timer_t second_timer, leader_timer, hold_timer, drop_timer, stop_timer;
    uint64_t seconds;         /* ticks of second_timer */
    struct list leader_waits; /* struct leader_wait */
    unsigned leader_wait_count;
    enum lead_stage lead_stage;
    int64_t lead_until_ns; /* of the stage */
    uint64_t lead_index;   /* the leader's log ends here: wait for it */
    uv_timer_t change_timer;
    struct list change_waits; /* of service/members.c */
    unsigned change_wait_count;
    struct list parks;     /* of lock_parks.c, oldest first */
    struct map_u64 parked; /* the same, by ticket */
    uv_timer_t park_timer;
    struct map_u64 notices; /* session -> its held query, of service/notices.c */
    bool notices_due;       /* some of them can be answered */
    uv_timer_t notices_timer;
    struct state_check *state_check; /* of service/check.c; NULL: none was asked for */
    struct list watches;             /* of service/changes.c, oldest first */
    unsigned watch_count;            /* <= NODE_WATCHES_MAX */
    bool watches_due;                /* there may be something to tell */
    uv_timer_t watch_timer;
    bool rejoin_asked, rejoin_looked; /* looked: what the members know of its former self */
    unsigned rejoin_at;

    /* block role */
    struct block_store *blocks;
    size_t block_bytes_in_flight;
    unsigned block_moves;   /* puts and gets under way, for each of which there is memory of a block's size */
    int64_t blocks_used_ns; /* when there was one last; 0: not since memory was given back for the last time */
    unsigned trims;         /* how often it was given back since then */
    bool trim_running;
    uv_work_t trim_work;
    struct block_store_stat block_stat; /* as of the last report */
    struct block_registry registry;     /* of the leader */
    char registry_complaint[256];       /* the last one that was logged */
    struct polled_server *polled[LIMIT_BLOCK_SERVERS];
    struct block_reporter *reporter;
    struct block_keeper *keeper; /* NULL: not open */

    uv_signal_t sigterm, sigint;
    uint32_t successor; /* to whom a clean stop hands the leadership */
    int64_t stop_ns;    /* when the clean stop gives up waiting for another leader */
};

/* node.c */
/* Everything is opened but nothing runs before the caller runs the loop. On an error the node is to be closed too. */
enum err node_open(struct node *n, uv_loop_t *loop, const struct config *config, struct err_text *why) MUST_USE;
/* A clean stop; the loop ends when it is done. */
void node_stop(struct node *n);
/* Releases everything; runs the loop until all handles are closed. */
void node_close(struct node *n);
const char *node_own_address(const struct node *n);
/* Neither crashed, nor stepped aside, nor faulted, nor stopping. */
bool node_in_service(const struct node *n);

/* node_replica.c */
enum err node_replica_open(struct node *n, struct err_text *why) MUST_USE;
/* Its own state of the metastore goes on: it is a member. One that was removed keeps what it had, and hears of nothing
 * any more. */
bool node_has_state(const struct node *n);
void node_replica_stop(struct node *n);  /* before the loop runs dry */
void node_replica_close(struct node *n); /* after */
/* To be called behind whatever calls the replica from a timer: its deadline may be another one. */
void node_replica_arm(struct node *n);

/* node_members.c */
void node_members_open(struct node *n);
void node_members_close(struct node *n);
/* The members are these from now on. */
void node_members_set(struct node *n, const struct raft_config *config);
void node_members_learn(struct node *n, const struct wire_members *members);
void node_members_describe(const struct node *n, struct wire_members *ret); /* addresses are borrowed */
/* Begins to connect to those that are not: what is sent to them meanwhile is lost, and without timers not repeated. */
void node_members_connect(struct node *n);
bool node_members_connected(const struct node *n);       /* all of them */
struct member *node_member(struct node *n, uint32_t id); /* NULL: not known */
/* One that another node has named, for a node without a state that says who is a member. NULL: there is no place left,
 * or the address is none. */
struct member *node_member_told(struct node *n, uint32_t id, struct slice address);
/* Counting from *at, 0 at first: the next member that has a connection. NULL: no more. */
struct member *node_member_next(struct node *n, unsigned *at);
struct slice node_hello(struct node *n); /* what this node says of itself; until the next call */
void node_update_hello(struct node *n);
/* Version and cluster; ret's slices are not kept. */
enum err node_check_hello(const struct node *n, struct slice hello, struct wire_hello *ret,
                          struct err_text *why) MUST_USE;
enum err node_on_hello(void *node, struct slice hello, uint64_t *ret_tag, struct err_text *why) MUST_USE;
/* Members, block servers that report, and administration: clients that take all connections don't keep these out. */
bool node_is_important(void *node, uint64_t tag);
void node_on_close(void *node, uint64_t tag);
/* Of a connection: the id of the node that it has said to be, 0: none; and that node's data directory. NULL: no member
 * is known by that id, or it has come with too many of them. */
uint32_t node_of_tag(uint64_t tag);
const uint8_t *node_identity_of_tag(struct node *n, uint64_t tag);
void node_send(void *node, const struct replica_message *m);
void node_receive(struct node *n, struct rpc_request *request);
bool node_is_unreachable(const struct node *n, uint32_t id);
void node_ignore(struct node *n, const uint32_t *ids, unsigned count);

/* node_rejoin.c */
void node_rejoin_second(struct node *n);

/* node_space.c */
void node_space_second(struct node *n);
/* So many bytes of the disk are not for blocks. */
uint64_t node_space_kept(const struct node *n);
/* node_memory.c */
void node_memory_second(struct node *n);
void node_memory_used(struct node *n);

/* ---- node_trace.c ---- */

void node_trace_message(const struct replica_message *m, bool sent);
void node_trace_role(const struct node *n, uint64_t term);

/* node_chaos.c */
void node_chaos_open(struct node *n);
void node_chaos_close(struct node *n);
void node_crash(struct node *n);
void node_restore(struct node *n);
/* The replica is in service or suspended, as crash and disk space say. */
void node_service_changed(struct node *n);
/* Out of service for good, and soon the process ends. */
void node_fault(void *node, const char *text);

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
/* The same of a command that is in the log of this node, and may still come to be committed. */
void service_fail(struct node *n, struct rpc_request *request, enum err status);
/* NOT_LEADER or NO_LEADER, whichever holds now. */
enum err service_not_leader(const struct node *n);
bool service_has_role(struct node *n, struct rpc_request *request, unsigned role);

/* service/meta.c, service/block.c, service/admin.c: one request each, which they answer */
void service_meta_call(struct node *n, struct rpc_request *request);
void service_meta_query(struct node *n, struct rpc_request *request);
void service_meta_query_again(struct node *n, struct rpc_request *request); /* one of lock_parks.c: an answer at once */
void service_meta_durable(struct node *n, struct rpc_request *request);     /* service/durable.c */
void service_meta_keepalive(struct node *n, struct rpc_request *request);
void service_meta_notices(struct node *n, struct rpc_request *request);
/* There is something for that session: it is told at the end of this turn of the loop. */
void service_noticed(struct node *n, uint64_t session);
void service_notices_turn(struct node *n);
void service_notices_open(struct node *n);
void service_notices_close(struct node *n);
void service_notices_timer(uv_timer_t *timer);
void service_meta_changes(struct node *n, struct rpc_request *request);
void service_meta_kv_events(struct node *n, struct rpc_request *request);
/* There may be something to tell: at the end of this turn of the loop. */
void service_changes_due(struct node *n);
void service_changes_turn(struct node *n);
void service_changes_open(struct node *n);
void service_changes_close(struct node *n);
void service_changes_timer(uv_timer_t *timer);
void service_block(struct node *n, struct rpc_request *request);
void service_block_report(struct node *n, struct rpc_request *request);
void service_admin(struct node *n, struct rpc_request *request);
void service_block_servers(struct node *n, struct rpc_request *request);
void service_replicas(struct node *n, struct rpc_request *request);
void service_exports(struct node *n, struct rpc_request *request);
/* METHOD_ADMIN_COLLECT */
void service_collect(struct node *n, struct rpc_request *request);
void service_members(struct node *n, struct rpc_request *request);
void service_members_open(struct node *n);
void service_members_close(struct node *n);

/* service/files.c */
void service_files(struct node *n, struct rpc_request *request);
/* service/check.c */
void service_check(struct node *n, struct rpc_request *request);
void service_references(struct node *n, struct rpc_request *request);
void service_check_free(struct node *n); /* after the loop has run dry */

/* lock_parks.c: bounded by the requests that connections may have under way */
/* The lock is still waited for: the answer comes when it is given, or after a while. */
void lock_parks_add(struct node *n, struct rpc_request *request, uint64_t ticket);
void lock_parks_applied(struct node *n); /* in the middle of a step */
void lock_parks_on_timer(uv_timer_t *timer);
void lock_parks_open(struct node *n);
void lock_parks_close(struct node *n);

/* What METHOD_BLOCK_INFO says. */
void service_block_info(struct node *n, struct wire_block_info *ret);

/* block_reporter.c */
void block_reporter_open(struct node *n);
void block_reporter_close(struct node *n);
void block_reporter_free(struct node *n); /* after the loop has closed its handle */
void block_reporter_now(struct node *n);  /* the leader may be another one */

/* block_keeper.c */
void block_keeper_open(struct node *n);
void block_keeper_close(struct node *n);
void block_keeper_free(struct node *n); /* after the loop has closed its handles */
void block_keeper_describe(struct node *n, struct wire_block_upkeep *ret);
/* The leader's map of block servers has this version; `from` is connected to it. */
void block_keeper_map_told(struct node *n, uint64_t version, struct rpc_peer *from);
/* How far the collection of blocks is, as the leader says (struct meta_collection). */
void block_keeper_epoch_told(struct node *n, uint64_t epoch, uint64_t released);
/* Somebody found that the copies here of these are bad or absent: they are checked first. */
void block_keeper_suspect(struct node *n, const struct sha256 *ids, unsigned count);
/* A client has put blocks here that it could not put on all of their owners: another than this server may see nothing
 * amiss, so what is here is compared with the others' soon. */
void block_keeper_short(struct node *n);
/* For an answer that copies may be removed on (struct wire_block_present): what the state of affairs is when the
 * question comes, and, when the store has been asked, the version to answer with. */
struct repair_mark block_keeper_mark(const struct node *n);
uint64_t block_keeper_version_since(const struct node *n, struct repair_mark mark);

/* node_registry.c: what keeps the registry up to date */
void node_registry_load(struct node *n);
enum err node_registry_report(struct node *n, const struct wire_block_info *info, const char *address,
                              struct err_text *why) MUST_USE;
void node_registry_poll(struct node *n);
void node_registry_close(struct node *n);
void node_registry_free(struct node *n); /* after the loop has closed what there was */
