/* request.h: FUSE requests under way, and breaking their waits.
 *
 * An interrupted request that is older than 1 s is cancelled, and answered EINTR unless it just finished; a younger one
 * gets the rest of that second. The kernel keeps a caller, even a killed one, until its request is answered.
 *
 * Thread-safe; one background thread. Lock order: libfuse's lock of a request, then ours. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "client/surf.h"
#include "fusefs/fuse.h"

#define REQUEST_INTERRUPT_NS (1000 * INT64_C(1000000))

struct requests {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct list active; /* struct request, oldest first */
    struct list idle;   /* struct cancel_slot: unfired, for reuse */
    unsigned idle_count;
    bool stopping;
    bool cancel_all; /* no request shall wait any longer */
    pthread_t thread;
};

/* On the stack of the operation. */
struct request {
    struct list_node node; /* in requests.active */
    struct requests *all;
    fuse_req_t req;
    struct cancel_slot *slot;
    int64_t begun_ns;
    bool interrupted;
    struct surf_caller caller; /* to be handed to libsurf */
};

void requests_init(struct requests *all); /* starts the thread */
void requests_close(struct requests *all);
/* From now on every request that would wait is cancelled soon. */
void requests_cancel_all(struct requests *all);

void request_begin(struct request *r, struct requests *all, fuse_req_t req);
/* Before the request is answered. */
void request_end(struct request *r);
