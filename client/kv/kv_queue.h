/* kv_queue.h: the key/value space without waiting. An operation is submitted and has an id from then on; when its
 * outcome is known, a completion with that id comes out of the queue, once. What the operations do is in kv.h.
 *
 * Each operation is repeated under one number of the session until the cluster has answered, whatever happens to
 * leaders and connections meanwhile: it happens once. Only these outcomes leave it open whether it happened:
 * ERR_CANCELLED (the queue was closed), ERR_TIMEOUT (of a soft client), ERR_SESSION_EXPIRED.
 *
 * Up to options.under_way operations are with the cluster at once, and there is no order between those; with 1, they
 * happen in the order in which they were submitted. More wait in the queue. When options.room operations have been
 * submitted whose completions have not been taken, the next is refused: who only submits must take too.
 *
 * Thread-safe, any number of threads may submit and take. Threads of its own: one for each operation under way. */
#pragma once

#include "client/kv/kv.h"

#define KV_QUEUE_UNDER_WAY_MAX 256u
#define KV_QUEUE_ROOM_MAX 65536u
_Static_assert(KV_QUEUE_UNDER_WAY_MAX <= LIMIT_REPLY_WINDOW / 2, "a session has so many numbers under way");

struct kv_queue;
struct kv_queue_options {
    struct meta_client *client; /* borrowed; must outlive the queue */
    unsigned under_way;         /* 0: 16 */
    unsigned room;              /* 0: 1024 */
};

/* ERR_INVAL: a limit above its maximum; ERR_NOMEM: no threads. */
enum err kv_queue_open(const struct kv_queue_options *options, struct kv_queue **ret) MUST_USE;
/* What is under way is cancelled, and what waits is dropped. To keep it all: kv_queue_drain first. NULL is allowed. */
void kv_queue_close(struct kv_queue *q);
/* Until everything submitted has its completion (which may still be in the queue). ERR_TIMEOUT after so long. */
enum err kv_queue_drain(struct kv_queue *q, int64_t timeout_ns) MUST_USE;

/* Submitting. Everything is copied. Ids count from 1. ERR_BUSY_NOW: there is no room, take completions. What is not
 * possible at all (ERR_INVAL, ERR_TOO_BIG) is told by the completion. */
enum err kv_queue_change(struct kv_queue *q, const struct meta_kv_change *changes, unsigned count,
                         uint64_t *ret_id) MUST_USE;
enum err kv_queue_get(struct kv_queue *q, const struct slice *keys, unsigned count, uint64_t *ret_id) MUST_USE;
enum err kv_queue_list(struct kv_queue *q, struct slice prefix, struct slice after, unsigned max_count,
                       bool with_values, uint64_t *ret_id) MUST_USE;

struct kv_completion {
    uint64_t id;
    enum err status;
    struct kv_changed changed;     /* of a change */
    struct meta_kv_entry *entries; /* of a get: one for each key; of a list */
    unsigned count;
    struct slice last; /* of a list, and end: as in kv_page */
    bool end;
};
/* The next completion, in the order in which they came; to be freed. ERR_TIMEOUT: none within that time (0: now). */
enum err kv_queue_take(struct kv_queue *q, int64_t timeout_ns, struct kv_completion **ret) MUST_USE;
void kv_completion_free(struct kv_completion *c);
/* For poll(2): readable while a completion waits to be taken. The queue's own: not to be read or closed. */
int kv_queue_fd(const struct kv_queue *q);
