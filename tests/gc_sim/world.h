/* world.h: the collection of garbage from one seed: the metastore's state machine and the block servers' decisions as
 * they are (blockstore/touch.h, collect.h), and around them clients that put, ask, commit late and repeat, servers that
 * restart, answers that lag, copies that are repaired or belong elsewhere, and epochs, in any order. There is no time.
 *
 * Whatever happens, a block that a file names is on every server that acknowledged it to whoever committed it; and in
 * the end all garbage goes. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/prng.h"
#include "blockstore/collect.h"
#include "blockstore/touch.h"
#include "meta/meta.h"
#include "tests/support/seeds.h"

#define OWNERS 3u  /* servers 0 to 2 own every block; */
#define SERVERS 4u /* the last one takes copies while an owner is down */
#define STRAY_SERVER OWNERS
#define MAJORITY 2u
#define CLIENTS 3u
#define FILES 3u
#define BLOCKS 6u
#define SLOTS 4u /* of a file, one block each, or one for several that were rewritten as one */
#define SLOT_BYTES (LIMIT_BLOCK_BYTES / SLOTS)
#define MESSAGES_MAX 64u
#define HISTORY 16u
#define SEQS 1024u /* more than a client numbers in a seed */

#define BIT(n) (1u << (n))

/* What a state said of the blocks: a set of those that files name. */
struct answer {
    uint64_t epoch;
    unsigned named;
};

enum removing { REMOVING_NOTHING, REMOVING_ASKED, REMOVING_DECIDED, REMOVING_SURE, REMOVING_LEAVING };

struct server {
    struct touch_table touches;
    unsigned here; /* which blocks */
    unsigned life;
    enum removing removing;
    struct answer answer;
    unsigned garbage; /* DECIDED: to go; LEAVING: going */
    uint64_t limit;
    /* the stray that is to go */
    unsigned stray, sure, asked_number; /* sure: which owners have said so */
    uint64_t asked_touch;
    bool is_stray;
    struct collect_past past;
};

enum job_stage { JOB_NONE, JOB_PUTTING, JOB_SENT };
struct client {
    uint64_t session, seq, acked;
    uint64_t epoch; /* largest that it has heard */
    enum job_stage stage;
    unsigned number; /* of the job; answers to an older one count for nothing */
    uint64_t job_epoch;
    unsigned blocks, file, slot;
    unsigned acks[BLOCKS]; /* which servers */
    /* When a file is to be rewritten as one block: what it was made of when that was begun. Else there are none. */
    struct meta_extent expected[SLOTS];
    unsigned expected_count;
    bool executed[SEQS]; /* in this seed, by number */
};

enum message_kind { MESSAGE_PUT, MESSAGE_HAS, MESSAGE_COPY, MESSAGE_SURE, MESSAGE_COMMIT };
struct message {
    enum message_kind kind;
    unsigned server, block, client, number;
    uint64_t epoch;
    bool touched; /* the server has noted it, and is to look */
    unsigned life;
    /* COMMIT */
    uint64_t seq;
    unsigned blocks, file, slot, acks[BLOCKS];
    struct meta_extent expected[SLOTS];
    unsigned expected_count;
};

struct world {
    uint64_t seed;
    struct prng prng;
    struct arena arena;

    struct meta *meta; /* one for all seeds */
    uint64_t index, files[FILES];
    struct sha256 blocks[BLOCKS];
    struct answer history[HISTORY];
    unsigned history_count;
    unsigned counted[BLOCKS]; /* servers on which who committed it counts, while it is named */

    struct server servers[SERVERS];
    struct client clients[CLIENTS + 1]; /* the last one truncates and copies, and puts nothing */
    struct message messages[MESSAGES_MAX];
    unsigned message_count, asked;

    uint64_t steps, commits, rewrites, stale, removed, strays, restarts; /* in all seeds */
};

void world_open(struct world *w, const char *path);
void world_close(struct world *w);
void world_run(struct world *w, uint64_t seed);

static inline bool chance(struct world *w, unsigned percent)
{
    return prng_below(&w->prng, 100) < percent;
}

/* ---- state.c: the metastore ---- */
struct meta_reply state_apply(struct world *w, struct meta_command c);
void state_open(struct world *w);
void state_begin(struct world *w); /* a seed */
struct answer state_now(const struct world *w);
/* Of this moment, or of one that is over. */
struct answer state_answer(struct world *w, bool may_lag);
void state_raise_epoch(struct world *w);
void state_truncate(struct world *w, unsigned file);
void state_clone(struct world *w, unsigned from, unsigned to);
/* The extents of a file: at most SLOTS. */
unsigned state_extents(struct world *w, unsigned file, struct meta_extent *ret);
void state_reap(struct world *w);
/* Every named block is where it was acknowledged. */
void state_check(const struct world *w, const char *after);

/* ---- server.c ---- */
void server_restart(struct world *w, unsigned s);
void server_deliver(struct world *w, unsigned at); /* a message; it may stay, for its second half */
void server_collect_step(struct world *w, unsigned s);
void server_collect_wholly(struct world *w, unsigned s, const struct collect_news *news);
void server_stray_step(struct world *w);
void server_repair(struct world *w);

/* ---- client.c ---- */
void client_step(struct world *w, unsigned c);
void client_answered(struct world *w, const struct message *m, bool there);
void client_commit_arrives(struct world *w, const struct message *m);

void message_add(struct world *w, struct message m); /* lost when there are too many */
void message_remove(struct world *w, unsigned at);
