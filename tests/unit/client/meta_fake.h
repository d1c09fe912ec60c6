/* meta_fake.h: a metastore that does what a test says: one node on its own thread, real frames on a loopback port. It
 * keeps sessions and replies by number as the real one does, and counts how often a command took effect. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/err.h"
#include "meta/types.h"
#include "rpc/address.h"
#include "rpc/server.h"

enum fake_mode {
    FAKE_SERVES,
    FAKE_REFUSES, /* with `refusal` and the hint */
    FAKE_SILENT,  /* takes effect, and answers nothing */
    FAKE_DEFERS,  /* refuses after FAKE_DEFERS_MS, and says that it is not done */
    FAKE_DROPS,   /* takes effect, and closes the connection instead of answering */
};

#define FAKE_SEQUENCES 4096
#define FAKE_DEFERS_MS 25

/* What the nodes of one metastore share. */
struct fake_state {
    pthread_mutex_t lock; /* protects all below */
    uint64_t session;     /* the live one; 0: none */
    uint64_t next_session;
    uint64_t sessions_opened, sessions_ended;
    bool no_export;
    bool done[FAKE_SEQUENCES];
    uint64_t effects, repeats, acked, last_seq;
    uint64_t map_version;
    char servers; /* how many block servers the map has */
};

struct fake_node {
    struct fake_state *state;
    _Atomic int mode;
    _Atomic int refusal;
    char hint[LIMIT_ADDRESS_BYTES + 1];
    atomic_uint requests;
    uv_loop_t loop;
    uv_async_t stop;
    struct rpc_server *server;
    pthread_t thread;
    struct rpc_address address;
};

void fake_state_init(struct fake_state *s);
void fake_node_start(struct fake_node *n, struct fake_state *s);
void fake_node_stop(struct fake_node *n);
