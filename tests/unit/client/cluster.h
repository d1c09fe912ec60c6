/* cluster.h: a whole cluster in one process, for tests of the block client and of open files: a metastore (the real
 * state machine on one thread, without raft) and block servers that keep their blocks in memory and fail as a test
 * says. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/map.h"
#include "client/block/block_client.h"
#include "client/file/file.h"
#include "meta/meta.h"
#include "rpc/server.h"

#define CLUSTER_SERVERS 5

enum server_fault {
    SERVER_WELL,
    SERVER_REFUSES, /* everything, as if crashed */
    SERVER_SILENT,  /* takes requests and answers none */
    SERVER_STOPPED, /* does not even read */
    SERVER_FULL,    /* no room: puts and syncs fail */
    SERVER_LACKS,   /* has no block, when asked */
    SERVER_LIES     /* gives bytes of the right length, one of them wrong */
};

struct fake_loop {
    uv_loop_t loop;
    uv_async_t wake;
    atomic_bool stopping;
    struct rpc_server *server;
    pthread_t thread;
    char address[64];
};

struct fake_server {
    struct fake_loop base;
    uint32_t id;
    _Atomic int fault;
    atomic_int get_delay_ms, sync_delay_ms, put_delay_ms;
    atomic_uint disk_free, disk_kept; /* of 3000 bytes */
    atomic_bool full;
    atomic_uint puts, gets, syncs, durable_puts, put_blocks, refused;
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    uint64_t boot_id;
    struct map_bytes blocks; /* struct fake_block */
};

struct cluster {
    struct fake_loop meta_base;
    struct meta *meta;
    char meta_path[64];
    pthread_mutex_t meta_lock; /* protects meta's use, and what follows */
    uint64_t index;
    uint64_t map_version;
    atomic_uint commands, queries, commits, layouts;
    _Atomic int meta_silent; /* drops what it is asked */
    atomic_uint dropped;     /* queries, so far */
    _Atomic int commit_delay_ms;
    struct fake_server servers[CLUSTER_SERVERS];
    unsigned server_count;
};

/* Starts a metastore and `servers` block servers. */
void cluster_start(struct cluster *c, unsigned servers);
void cluster_stop(struct cluster *c);
/* The map says from now on that server `i` is where server `instead` is. */
void cluster_misplace(struct cluster *c, unsigned i, unsigned instead);
struct meta_client *cluster_connect(struct cluster *c, int64_t soft_timeout_ns);
/* So many epochs of collection later. Nobody is told but by answers. */
void cluster_raise_epoch(struct cluster *c, unsigned times);
/* As if it had expired. Whose it was hears of it by an answer. */
void cluster_end_session(struct cluster *c, uint64_t session);
/* A file in the root directory. */
uint64_t cluster_create(struct meta_client *m, const char *name, struct meta_attr *ret);

void server_set(struct fake_server *s, enum server_fault fault);
/* As a crash and a restart: what no sync covers is gone. */
void server_restart(struct fake_server *s);
bool server_has(struct fake_server *s, const struct sha256 *id);
bool server_has_durably(struct fake_server *s, const struct sha256 *id);
void server_drop(struct fake_server *s, const struct sha256 *id);
unsigned cluster_copies(struct cluster *c, const struct sha256 *id, bool durable);
/* Waits until the condition holds; fails the test after 10 s. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        int64_t await_until_ = clock_boot_ns() + 10 * NS_PER_S;                                                        \
        while (!(condition)) {                                                                                         \
            if (clock_boot_ns() > await_until_)                                                                        \
                fail_msg("waited in vain for " #condition);                                                            \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                                                   \
        }                                                                                                              \
    } while (0)
