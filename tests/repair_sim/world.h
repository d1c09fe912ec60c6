/* world.h: repair, healing and the removal of strays from one seed: the block servers' decisions as they are
 * (blockstore/repair.h, upkeep.h, placement.h, strays.h, suspects.h, collect.h, touch.h), and around them clients that
 * put by old maps and commit late, servers that stop, start, lose what they had not synced, lose everything, go bad in
 * places, join, are drained, weighed and removed, maps that are heard of at different times, views of who is well that
 * are wrong, messages that are late or lost, and garbage. The metastore is a set of names with an epoch; tests/gc_sim
 * has the real one. Time is the number of steps.
 *
 * Whatever happens, a block that a file names is on every server that its committer may count on, and at least one of
 * these copies is good, as long as the world itself doesn't take the last one. When all is well again every named block
 * comes to be on all its owners, good, and nothing anywhere else. */
#pragma once

#include "base/err.h"
#include "base/prng.h"
#include "blockstore/collect.h"
#include "blockstore/repair.h"
#include "blockstore/suspects.h"
#include "blockstore/touch.h"
#include "tests/support/seeds.h"

#define SERVERS 5u
#define BLOCKS 6u
#define CLIENTS 2u
#define MAPS_MAX 64u
#define HISTORY 16u
#define MESSAGES_MAX 96u

#define BIT(n) (1u << (n))
#define NOBODY SERVERS

/* What a state of the metastore said. */
struct answer {
    uint64_t epoch;
    unsigned named; /* a set of blocks */
};

enum walk_stage { WALK_NONE, WALK_ASKING, WALK_DECIDED, WALK_VETTING, WALK_COPYING, WALK_SURE, WALK_LEAVING };
enum heal_stage { HEAL_NONE, HEAL_NAMED, HEAL_FETCHING };
enum collect_stage { COLLECT_NONE, COLLECT_ASKED, COLLECT_DECIDED, COLLECT_LEAVING };

struct server {
    bool registered, up;
    bool walk_stalls, requests_stall; /* for a while nothing of it goes on */
    unsigned life;                    /* which start; what an older one was asked is not answered */
    unsigned here, bad, synced;       /* sets of blocks: bad and synced are parts of here */
    unsigned mended;                  /* good ones whose synced copy is a bad one, until the next sync */
    unsigned removed;                 /* since the last sync: they may be back after a crash */
    struct touch_table touches;
    unsigned leaver; /* who removes now: 1 the walk, 2 the collection; the other waits */

    struct upkeep_map map;
    unsigned news; /* a map that waits; 0: none */

    struct repair_batch batch;
    struct repair_removals removals;
    struct strays strays;
    enum walk_stage walk;
    bool told;
    unsigned walk_call, walk_calls; /* the number that answers carry; under way */
    struct answer walk_answer;
    unsigned leaving; /* blocks */
    /* Of each block that all owners are asked about: who has it by their word. An owner's own copy may go before this
     * one does, by a later map and the word of others; then they have it. */
    unsigned vouched[BLOCKS];

    struct suspects suspects;
    enum heal_stage heal;
    unsigned heal_block, heal_call, heal_next, heal_order[LIMIT_BLOCK_SERVERS];
    bool heal_owner, heal_unanswered;
    struct answer heal_answer;

    enum collect_stage collect;
    struct answer collect_answer;
    unsigned garbage;
    uint64_t limit;
};

struct client {
    unsigned map, number; /* of the job; answers to an older one count for nothing */
    uint64_t epoch;       /* largest that it has heard */
    bool busy, committing;
    unsigned block, replicas, acks;
    unsigned relied; /* those of the acks whose copies the world has not taken */
    bool asked;      /* one of them has only said that it is there */
    uint64_t job_epoch;
};

enum message_kind {
    MESSAGE_PUT,
    MESSAGE_CLIENT_HAS,
    MESSAGE_HAS,
    MESSAGE_COPY,
    MESSAGE_SURE,
    MESSAGE_GET,
    MESSAGE_COMMIT
};
/* A request goes from stage to stage at its server, with anything in between; the last is the answer on its way. */
enum message_stage { STAGE_SENT, STAGE_MARKED, STAGE_TOUCHED, STAGE_DONE, STAGE_ANSWER };
struct message {
    enum message_kind kind;
    enum message_stage stage;
    unsigned from, to, number; /* from: a server or a client; number: of its question */
    unsigned from_life, life;
    unsigned blocks[REPAIR_SURE_MAX], count;
    uint8_t present[REPAIR_SURE_MAX];
    bool good; /* of GET: the bytes are right */
    uint64_t epoch, map_version;
    struct repair_mark mark;
    unsigned named_times; /* of COPY: of the block, when it was found worth it */
    bool asked;           /* of COMMIT: as of its client */
    unsigned relied;      /* of COMMIT; of a client's question when its copy went since: on whom that is counted */
};

struct map {
    struct placement_server servers[SERVERS];
    unsigned slots[SERVERS], count, replicas; /* slots: which server it is */
};

struct world {
    uint64_t seed;
    bool quiet;
    int64_t stray_age;
    bool is_rough;        /* processes end and disks fail; else there are only races */
    bool is_restless;     /* maps follow one another quickly, and walks often meet another */
    unsigned blocks_used; /* few meet in more ways */
    struct prng prng;
    int64_t now;

    struct map maps[MAPS_MAX]; /* by version; 0 is none */
    unsigned map_count;
    struct sha256 blocks[BLOCKS];
    struct answer history[HISTORY]; /* the last is now */
    unsigned history_count;
    unsigned counted[BLOCKS]; /* servers on whose copies its committers count, while it is named */
    unsigned named_times[BLOCKS];
    uint64_t count_epoch[BLOCKS]; /* the latest with which it was committed since it has been named */

    struct server servers[SERVERS];
    struct client clients[CLIENTS];
    struct message messages[MESSAGES_MAX];
    unsigned message_count, calls;

    uint64_t steps, commits, copies, strays_removed, healed, collected, crashes, wiped, flipped,
        maps_made; /* in all seeds */
};

void world_open(struct world *w);
void world_close(struct world *w);
void world_run(struct world *w, uint64_t seed);
/* Every named block is where it is counted on. */
void world_check(const struct world *w, const char *after);

static inline unsigned below(struct world *w, unsigned limit)
{
    return (unsigned)prng_below(&w->prng, limit);
}

/* Of what goes wrong or is odd: nothing does when all is to come to rest. */
static inline bool chance(struct world *w, unsigned percent)
{
    return !w->quiet && below(w, 100) < percent;
}

/* ---- metastore.c: names, epochs, maps ---- */
void metastore_begin(struct world *w);
struct answer metastore_now(const struct world *w);
struct answer metastore_answer(struct world *w, bool may_lag);
void metastore_raise_epoch(struct world *w);
/* False: the commit is stale. */
bool metastore_commit(struct world *w, unsigned block, uint64_t epoch, unsigned relied);
void metastore_unname(struct world *w, unsigned block);
void metastore_map_change(struct world *w); /* a server joins, is drained, weighed, put elsewhere or removed */
void metastore_map_end(struct world *w);    /* nobody is drained any more */
/* A server's place in a map; the map's count: it has none. */
unsigned map_index(const struct map *m, unsigned slot);

/* ---- messages.c ---- */
void message_send(struct world *w, struct message m); /* lost at once when there are too many */
void message_step(struct world *w);
bool is_from_client(const struct message *m);
/* As if it had never come, so that who asked hears of a failure. */
void message_lose(struct world *w, unsigned at);

/* ---- walk.c ---- */
bool server_readable(const struct server *s, unsigned block);
bool server_durable(const struct server *s, unsigned block); /* readable, also after a crash */
void server_sync(struct server *s);
void server_remove(struct server *s, unsigned blocks);
void walk_step(struct world *w, unsigned s);
void walk_answered(struct world *w, const struct message *m, bool well);
void walk_forget(struct world *w, unsigned s); /* the process ends */
/* The map in force is another from now on. */
void server_take_map(struct world *w, unsigned s);
unsigned server_slot(const struct world *w, const struct server *s, unsigned index);
unsigned block_number(const struct world *w, const struct sha256 *id);

/* ---- heal.c ---- */
void heal_step(struct world *w, unsigned s);
void heal_answered(struct world *w, const struct message *m, bool well);
void server_scrub(struct world *w, unsigned s, unsigned block);

/* ---- collect.c ---- */
void collect_step(struct world *w, unsigned s);

/* ---- client.c ---- */
void client_step(struct world *w, unsigned c);
void client_answered(struct world *w, const struct message *m);
void client_commit_arrives(struct world *w, const struct message *m);

/* ---- faults.c ---- */
void fault_step(struct world *w);
void server_crash(struct world *w, unsigned s);
void server_start(struct world *w, unsigned s);
/* The world may take this copy: nobody who counts on it would be left with none. */
bool fault_may_take(const struct world *w, unsigned s, unsigned block);
