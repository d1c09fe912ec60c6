/* request.h: FUSE requests under way, and breaking their waits.
 *
 * An interrupted request that is older than 1 s is cancelled, and answered EINTR unless it just finished; a younger one
 * gets the rest of that second, unless it waits for another program. The kernel keeps a caller, even a killed one,
 * until its request is answered. A process that was killed with open files waits for their flushes when it hears
 * nothing any more: they are cancelled as if it had been interrupted, and those of one that exits by itself after 10 s.
 * What it has written is committed in the background.
 *
 * Thread-safe; one background thread. Lock order: libfuse's lock of a request, then ours. */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "client/surf.h"
#include "fusefs/fuse.h"

#define REQUEST_INTERRUPT_NS (1000 * INT64_C(1000000))
#define REQUEST_EXIT_NS (10 * REQUEST_INTERRUPT_NS)
#define REQUEST_LOOK_NS (REQUEST_INTERRUPT_NS / 4) /* at who closes a file */

struct requests {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct list active; /* struct request, oldest first */
    struct list idle;   /* struct cancel_slot: unfired, for reuse */
    unsigned idle_count;
    bool stopping;
    bool cancel_all; /* no request shall wait any longer */
    pid_t dying;     /* was killed, and has waited long enough for one of its files; 0: nobody */
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
    bool waits;   /* for another program: an interrupt is heeded at once */
    pid_t closes; /* the thread that closes a file, and may be exiting; 0: it does something else */
    pid_t looks;  /* the thread that asks for the mountpoint itself, and may be umount(8); 0: no, or it isn't */
    struct surf_caller caller; /* to be handed to libsurf */
};

void requests_init(struct requests *all); /* starts the thread */
void requests_close(struct requests *all);
/* From now on every request that would wait is cancelled soon. */
void requests_cancel_all(struct requests *all);

void request_begin(struct request *r, struct requests *all, fuse_req_t req);
/* From now on it may wait for another program. */
void request_waits(struct request *r);
/* It is the flush of a file that is being closed. */
void request_closes(struct request *r);
/* It asks for the mountpoint's attributes or the file system's space: umount(8) does, and must not wait for ever. */
void request_looks_at_mountpoint(struct request *r);
/* Before the request is answered. */
void request_end(struct request *r);
