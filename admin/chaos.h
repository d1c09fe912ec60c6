/* chaos.h: the parts of `surfctl chaos`: nodes that are maltreated and clients that check what they are told. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "admin/admin.h"
#include "admin/chaos_check.h"
#include "base/prng.h"
#include "client/meta/meta_client.h"

/* ---- nodes (chaos_nodes.c): a cluster of our own, in a directory of its own ---- */

struct chaos_node {
    uint32_t id;
    struct rpc_address address;
    pid_t pid; /* 0: it doesn't run, or is not ours */
};
struct chaos_nodes {
    char directory[256]; /* empty: the cluster is somebody else's */
    char program[256];
    char peers[LIMIT_NODES * (LIMIT_ADDRESS_BYTES + 16)];
    unsigned count;
    struct chaos_node list[LIMIT_NODES];
};

/* Makes and starts so many nodes on free ports of the loopback, under `parent`. They end with this process. */
enum err chaos_nodes_begin(struct chaos_nodes *n, unsigned count, const char *parent, struct err_text *why) MUST_USE;
/* One of a cluster that is not ours. */
void chaos_nodes_add(struct chaos_nodes *n, uint32_t id, const char *address);
/* main thread only: the kernel ends a child with the thread that made it */
enum err chaos_node_start(struct chaos_nodes *n, struct chaos_node *node, struct err_text *why) MUST_USE;
void chaos_node_signal(const struct chaos_node *node, int number);
/* SIGKILL, and waits for its end. */
void chaos_node_kill(struct chaos_node *node);
/* Whether it has ended by itself, which none may: then how, in words. */
bool chaos_node_ended(struct chaos_node *node, struct err_text *how);
/* Ends all; the directory goes, unless it is to be looked at. */
void chaos_nodes_end(struct chaos_nodes *n, bool keep);

/* ---- clients (chaos_clients.c) ---- */

#define CHAOS_REGISTERS 8u
#define CHAOS_LISTS 512u
#define CHAOS_LIST_ELEMENTS 2000u /* then the next list */
#define CHAOS_CLIENTS_MAX 256u

struct chaos_counts {
    uint64_t reads, writes, refused; /* refused: a condition that did not hold */
    uint64_t unknown;                /* changes whose outcome their client never learned */
    int64_t longest_ns;              /* that an operation took */
};
struct chaos_client;
struct chaos_work {
    const struct rpc_address *servers;
    size_t server_count;
    uint64_t seed;
    char prefix[64]; /* of all keys */
    struct chaos_check *check;
    atomic_bool stop;
    atomic_uint running;
    atomic_uint_fast64_t appends;
    unsigned client_count;
    struct chaos_client *clients;
};

/* Opens a session for each and lets them go. prefix, servers and seed are set. */
enum err chaos_work_begin(struct chaos_work *w, unsigned clients, int64_t open_timeout_ns,
                          struct err_text *why) MUST_USE;
/* No new operations; waits so long for those under way. False: some never ended, they were cancelled. */
bool chaos_work_stop(struct chaos_work *w, int64_t timeout_ns);
/* Reads all keys a last time, then judges. ERR_OK also when there are violations. */
enum err chaos_work_judge(struct chaos_work *w, unsigned *ret_violations, struct err_text *why) MUST_USE;
/* The keys go: in a cluster that others use too. */
enum err chaos_work_tidy(struct chaos_work *w) MUST_USE;
void chaos_work_count(struct chaos_work *w, struct chaos_counts *ret);
void chaos_work_end(struct chaos_work *w);
