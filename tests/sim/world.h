/* world.h: a whole metastore in one thread: members (replica/, as they are), their disks, the network between them and
 * their clients, and what goes wrong. All that happens follows from one seed: events are carried out in the order of
 * simulated time, and whatever is drawn is drawn from the world's stream.
 *
 *   world.c      time: events in order
 *   trace.c      what happens in lines; a hash of it, to compare two runs
 *   network.c    messages between endpoints: members and clients
 *   disk.c       a member's log on a simulated disk, its state in a real directory
 *   member.c     one replica with its clock, its disk and its start and end; struct replica_env
 *   service.c    requests of clients at a member (what daemon/service/meta.c does)
 *   client.c     sessions, requests, repeats: the client's own logic
 *   workload.c   what clients ask for, and what the history of it says
 *   faults.c     what goes wrong, and when it ends
 *   levels.c     with --levels: programs of two levels, replaced one after the other
 *   checks.c     what must hold at any time, and at the end
 *
 * Memory is that of one seed. */
#pragma once

#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/prng.h"

#define WORLD_MEMBERS 7u
#define WORLD_CLIENTS 8u
#define WORLD_ENDPOINTS (WORLD_MEMBERS + WORLD_CLIENTS)
#define WORLD_NOBODY UINT32_MAX

struct world;
struct member;
struct client;
struct checks;
struct workload;

/* What is to happen. Embedded at the front of what it is about; the world frees it by `drop` (free when NULL) after it
 * ran, or when it can't happen any more. */
struct event {
    int64_t at_ns;
    uint64_t order;  /* events of one moment, by their making */
    uint32_t member; /* whose: waits while that one is paused; WORLD_NOBODY */
    uint64_t life;   /* of the member: void when it has crashed since; 0: not bound to it */
    void (*run)(struct world *w, struct event *e);
    void (*drop)(struct event *e);
};

/* What the seed chose. */
struct plan {
    unsigned members, spares, clients; /* voters of the first start; members that wait to be added; clients */
    int64_t faults_ns, heal_ns;        /* how long things go wrong; how long the cluster has to recover afterwards */
    int64_t election_timeout_ns, heartbeat_ns, session_timeout_ns;
    unsigned log_entries;
    bool levels; /* not by the seed: the program was asked for it */
    bool read_index, reordering, memberships, disk_faults, clock_faults, follower_reads;
    bool durability; /* members have durability logs, and some puts of keys are acknowledged ahead of their order */
    unsigned loss_percent, duplicate_percent;
    unsigned stray_percent; /* requests that are not sent where they should */
    int64_t latency_min_ns, latency_max_ns, disk_min_ns, disk_max_ns, fault_every_ns;
};

struct link { /* one way */
    bool cut;
    unsigned slow; /* times the latency; 1 */
};

struct world {
    uint64_t seed;
    struct prng prng;
    struct plan plan;
    int64_t now_ns;
    struct event **heap;
    size_t heap_size, heap_room;
    uint64_t order, steps;
    bool over;          /* nothing new happens: the end of a run */
    bool healing;       /* no new faults */
    bool level_raised;  /* somebody has applied it */
    char directory[64]; /* of the members' states */
    struct link links[WORLD_ENDPOINTS][WORLD_ENDPOINTS];
    struct member *members[WORLD_MEMBERS]; /* by id - 1 */
    struct client *clients[WORLD_CLIENTS];
    unsigned member_count, client_count;
    struct checks *checks;
    struct workload *workload;

    bool trace;
    uint64_t trace_hash;
    FILE *out;

    struct {
        uint64_t messages, commands, queries, elections, crashes, faults, snapshots, changes, expired, log_writes,
            unknown, undecided, rotten_bits, fast_tried, fast_done, recovered, raised, next, too_old;
    } counts;
};

/* ---- world.c ---- */
struct world_result {
    bool failed;
    uint64_t trace_hash, steps;
    int64_t simulated_ns;
};
/* Runs one seed from its first to its last event. A fault found ends the process by world_fail. base: where the
 * members' directories are made, and removed. */
void world_run(struct world *w, uint64_t seed, const char *base, bool levels, bool trace);
void world_at(struct world *w, int64_t at_ns, struct event *e); /* e->run, drop, member and life are set */
void world_after(struct world *w, int64_t delay_ns, struct event *e);
/* Removes what is left of a run. */
void world_free(struct world *w);

static inline bool world_chance(struct world *w, unsigned percent)
{
    return prng_below(&w->prng, 100) < percent;
}
static inline int64_t world_between_ns(struct world *w, int64_t low_ns, int64_t high_ns)
{
    return (int64_t)prng_between(&w->prng, (uint64_t)low_ns, (uint64_t)high_ns);
}

/* ---- trace.c ---- */
#define TRACE_NAME_BYTES 24u
/* One line of what happens; goes into the hash whether it is printed or not. */
void trace(struct world *w, uint32_t endpoint, const char *format, ...) PRINTF_LIKE(3, 4);
/* The world that runs now, for log lines and CHECKs from below. */
void trace_attach(struct world *w);
void trace_whose(uint32_t endpoint); /* log lines from now on are of this one */
/* A promise was broken. Prints it with the seed and how to replay it, and ends the process; with --must-fail that is
 * what is wanted. */
_Noreturn void world_fail(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
/* main.c: what world_fail ends in. */
_Noreturn void program_found(const struct world *w, const char *text);
