/* block_keeper.h: what the parts of the keeper share. Internal to daemon/; the loop's thread, but for what a worker
 * does to the fields that are said to be its own.
 *
 *   block_keeper.c        opening, closing, the clock, what is told of it
 *   block_keeper_map.c    the map of the block servers, and who of them answers
 *   block_keeper_walk.c   repair: own blocks, in batches: who lacks a copy is sent one
 *   block_keeper_stray.c  copies that belong elsewhere, at the end of a batch
 *   block_keeper_heal.c   own copies that are bad or suspect: good bytes from another server
 *   block_keeper_scrub.c  reads everything to find those
 *   block_keeper_collect.c  garbage: what no file names any more goes
 *   block_keeper_refs.c   asks the metastore what files name
 *
 * What a server has to do about a block is decided in blockstore/upkeep.h. Nothing is written down: a walk that a crash
 * ends begins anew, since all it does is to add copies, and to remove one only where it isn't needed. */
#pragma once

#include "blockstore/collect.h"
#include "blockstore/repair.h"
#include "blockstore/suspects.h"
#include "blockstore/touch.h"
#include "blockstore/upkeep.h"
#include "daemon/node.h"
#include "rpc/peer.h"

#define KEEPER_TICK_MS 250u
#define KEEPER_PROBE_NS (1 * NS_PER_S)
#define KEEPER_PROBE_DEADLINE_NS (2 * NS_PER_S)
#define KEEPER_ASK_DEADLINE_NS (20 * NS_PER_S)
#define KEEPER_SETTLE_NS (500 * NS_PER_MS) /* between a change and the walk: several come together */
#define KEEPER_SHORT_NS (2 * NS_PER_S)     /* between a client's word and the walk: more such blocks may come */
#define KEEPER_SHORT_WALKS 10u             /* the same, in times of the last walk */
#define KEEPER_NEWS_NS (3 * NS_PER_S)      /* after another map: by then mounts go by it too: they ask every 0.7 s */
#define KEEPER_BATCH 2048u                 /* blocks of a walk that are asked about at once */
#define KEEPER_REFS REPAIR_VET_MAX
#define KEEPER_FRAME_BYTES (2 * MIB)
#define KEEPER_SUSPECTS_PER_S 256u /* that are taken from others */

_Static_assert(KEEPER_BATCH <= LIMIT_HASHES_PER_FRAME, "a batch is asked about in one frame");
_Static_assert(REPAIR_FRAME_MAX <= LIMIT_BLOCKS_PER_FRAME &&
                   KEEPER_FRAME_BYTES <= LIMIT_FRAME_PAYLOAD_BYTES - LIMIT_BLOCK_BYTES,
               "what is gathered fits in a frame");

_Static_assert(KEEPER_REFS <= LIMIT_BLOCK_REFS && KEEPER_REFS <= BLOCK_STORE_COLLECT_MAX, "one answer, one removal");

struct block_keeper;

/* A server of the map. It goes when the map changes, which waits until nobody has calls to it under way but the probe.
 */
struct keeper_server {
    struct block_keeper *keeper;
    unsigned index;        /* in the map */
    uint32_t id;           /* what it must be to be listened to */
    struct rpc_peer *peer; /* NULL: this server */
    bool up, probing;
    bool failed; /* its store takes no blocks any more; it can be asked for those that it has */
    bool full;   /* the same, until it has room again */
    int64_t probed_ns, answered_ns;
    uint64_t boot_id; /* 0: not heard yet */
};

/* A question which of some blocks files name. */
struct keeper_refs {
    struct block_keeper *keeper;
    struct replica_query own;
    struct arena arena;
    bool under_way;
    bool answered; /* by this node's replica, with own_status */
    enum err own_status;
    unsigned member; /* whom to ask next */
    struct sha256 ids[KEEPER_REFS];
    unsigned count;
    void (*done)(struct block_keeper *k);
    /* the answer */
    enum err status;
    uint64_t epoch;
    uint8_t referenced[KEEPER_REFS];
};

/* One call of a walk to one server. */
struct walk_call {
    struct block_keeper *keeper;
    unsigned server;
};

struct keeper_walk {
    uv_work_t work;
    bool running, worker, listing;
    bool told; /* a client said that blocks here lack copies, and perhaps to nobody else: not only its own duty is done
                */
    int64_t begun_ns;
    uint64_t number;
    struct sha256 after; /* the worker's while it lists */
    enum err listed;     /* the worker's */
    unsigned position;
    struct repair_batch batch; /* its ids and what they were touched at are the worker's while it lists */
    unsigned calls;            /* under way */
    struct keeper_refs refs;   /* of those that are to be copied */
    struct walk_call slots[LIMIT_BLOCK_SERVERS];

    /* the frame on its way */
    struct bytes payload; /* the worker's while it reads */
    uint32_t frame_sizes[REPAIR_FRAME_MAX];
    unsigned frame_count, frame_read; /* so many are to be read, and were dealt with */
    uint64_t frame_failed;
    bool frame_refused; /* a server that it should have gone to is full */

    /* strays that go */
    struct sha256 leaving[REPAIR_SURE_MAX];
    unsigned leaving_count;
    enum err removed;                       /* the worker's */
    struct block_store_removed strays_gone; /* the same */
    uint64_t strays_removed;                /* so far in this walk */

    uint64_t batch_bytes, batch_stored_bytes; /* of the blocks listed; the worker's while it lists */
    uint64_t bytes, stored_bytes;             /* so far in this walk */
    int64_t net_bytes, net_stored_bytes;      /* what the store had taken, net, when it began */
    uint64_t blocks, failed, unsure;          /* so far in this walk */
    bool retry;                               /* something failed that may succeed soon */
};

struct keeper_heal {
    uv_work_t work;
    bool worker;
    struct suspects suspects;
    struct sha256 id; /* of the one that is being healed */
    unsigned order[LIMIT_BLOCK_SERVERS], order_next;
    bool owner, unanswered;  /* unanswered: a server could not be asked */
    struct keeper_refs refs; /* of one that is absent */
    enum err result;         /* the worker's */
    struct bytes data;       /* the worker's while it replaces */
    int64_t allowance_ns;    /* of suspects that others tell of */
    unsigned allowance;
};

struct keeper_scrub {
    uv_work_t work;
    bool worker, partial; /* partial: this pass began in the middle */
    struct sha256 after;  /* the worker's */
    struct sha256 told;   /* how far it is, for who asks */
    bool at_end;          /* the pass is over, and the next has not begun */
    bool listed_all;      /* the worker's */
    /* The worker's while there is one. */
    bool at_start;
    struct sha256 bad[REPAIR_FRAME_MAX];
    unsigned bad_count, unreadable_count;
    uint64_t read_bytes;

    int64_t next_pass_ns;
    struct upkeep_pace pace;
    uint64_t pass_bytes;
    int64_t looked_ns, looked_cpu_ns; /* when it was looked last how busy this node is, and its CPU time then */
};

struct keeper_collect {
    uv_work_t work, compaction;
    bool running, worker, compacting;
    bool heard;                      /* an answer has come since the start */
    struct collect_news news, begun; /* as far as is known; when this one began */
    struct collect_past past;
    int64_t begun_ns, compact_begun_ns, retry_ns;
    struct keeper_refs refs; /* its ids are the worker's while it lists */
    struct sha256 after;     /* the worker's */
    struct sha256 garbage[KEEPER_REFS];
    unsigned garbage_count;
    uint64_t limit;
    enum err result, compacted;               /* the workers' */
    struct block_store_removed gone;          /* the worker's */
    uint64_t blocks, waiting, removed_blocks; /* so far in this one */
    uint64_t removed_bytes;                   /* since the last compaction */
};

struct block_keeper {
    struct node *node;
    uv_timer_t timer, walk_timer, scrub_timer, heal_timer, refs_timer;
    bool closing;
    struct arena arena;

    struct upkeep_map map;
    struct keeper_server *servers[LIMIT_BLOCK_SERVERS];
    char addresses[LIMIT_BLOCK_SERVERS][LIMIT_ADDRESS_BYTES + 1];
    struct keeper_news { /* another map, which waits until nothing is under way */
        bool waits;
        uint64_t version;
        unsigned replicas, count;
        struct meta_block_server servers[LIMIT_BLOCK_SERVERS];
    } news;
    bool asking_map;

    bool due;             /* a walk is */
    int64_t again_due_ns; /* a walk that begins from then on finds what mounts put by an older map; 0: none is needed */
    int64_t short_due_ns; /* a walk that begins from then on finds what clients told of; 0: nothing was told */
    int64_t due_ns, interval_ns;
    uint64_t last_failed, last_unsure;
    int64_t base_bytes, base_stored_bytes; /* of the blocks here, by the last walk, when the store was opened */
    bool measured;                         /* a walk has met all of them */
    struct strays strays;
    int64_t stray_due_ns; /* 0: none gets old enough */
    struct repair_removals removals;
    struct upkeep_pace pace;
    struct keeper_walk walk;
    struct keeper_heal heal;
    struct keeper_scrub scrub;
    struct keeper_collect collect;
    bool told_failed;              /* that the store takes no blocks any more */
    struct wire_block_upkeep told; /* the numbers that only grow */
};

/* The keeper works: not while the node is out of service. */
bool keeper_active(const struct block_keeper *k);
/* A walk is due, soon or after delay_ns. */
void keeper_walk_due(struct block_keeper *k, int64_t delay_ns, const char *why);

/* The next own ids behind *after (zero: from the first), on a worker. Past ids that can't be listed *after goes on to
 * the next that can be, with *skipped counted up. An error other than CORRUPT ends it. */
enum err keeper_list(struct block_keeper *k, struct sha256 *after, unsigned max, struct sha256 *ret,
                     unsigned *ret_count, unsigned *skipped) MUST_USE;

/* block_keeper_map.c */
void keeper_map_tick(struct block_keeper *k);
void keeper_map_close(struct block_keeper *k);
/* It can keep copies, as far as is known. */
bool keeper_server_is_well(const struct keeper_server *s);
/* It can be asked now. (A call to one without a connection would wait for that.) */
bool keeper_server_ready(struct keeper_server *s);
/* It did not answer a question: it is asked again whether it is well before it gets another. */
void keeper_server_failed(struct keeper_server *s);

/* block_keeper_walk.c */
void keeper_walk_begin(struct block_keeper *k);
void keeper_walk_on_timer(uv_timer_t *timer);
void keeper_walk_next_batch(struct block_keeper *k); /* after the strays */
void keeper_walk_stop(struct block_keeper *k);       /* in the middle: it is due again */
void keeper_walk_free(struct block_keeper *k);

/* block_keeper_stray.c */
void keeper_strays_begin(struct block_keeper *k);
void keeper_strays_end(struct block_keeper *k); /* of a walk */

/* block_keeper_heal.c */
void keeper_heal_go(struct block_keeper *k);
void keeper_heal_on_timer(uv_timer_t *timer);
void keeper_heal_free(struct block_keeper *k);

/* block_keeper_refs.c */
/* Of r->ids; done is told when r->status says how it ended. */
void keeper_refs_ask(struct block_keeper *k, struct keeper_refs *r, void (*done)(struct block_keeper *k));
void keeper_refs_on_timer(uv_timer_t *timer);

/* block_keeper_collect.c */
void keeper_collect_tick(struct block_keeper *k);
void keeper_collect_free(struct block_keeper *k);

/* block_keeper_scrub.c */
void keeper_scrub_open(struct block_keeper *k);
void keeper_scrub_on_timer(uv_timer_t *timer);
