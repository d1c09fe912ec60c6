/* touch.h: when each block of a server was touched last, in epochs of collection; and which are being removed. Pure and
 * in memory; one thread at a time.
 *
 * Only what was touched in the last few epochs is known block by block. All others count as touched in `floor`, which
 * is never older than they were: so forgetting, for want of room or by a restart, only delays collection. A block is
 * known by the first bytes of its id; two that share them share the later epoch. */
#pragma once

#include "base/err.h"
#include "base/hash.h"

#define TOUCH_EPOCHS 4u
#define TOUCH_MAX (1u << 20)     /* blocks that are known of one epoch; with more all count as touched in it */
#define TOUCH_LEAVING_MAX 256u   /* that are being removed at once */
#define TOUCH_UNKNOWN UINT64_MAX /* later than any limit */

struct touch_set {
    uint64_t epoch; /* 0: unused */
    uint64_t *keys; /* a table with open addressing; 0: free */
    size_t count, capacity;
};

struct touch_table {
    bool begun; /* else every block's touch is unknown, and none may be removed */
    uint64_t floor;
    struct touch_set sets[TOUCH_EPOCHS];
    uint64_t leaving[TOUCH_LEAVING_MAX];
    unsigned leaving_count;
};

void touch_init(struct touch_table *t);
void touch_close(struct touch_table *t);
/* After a start: this epoch was read from the metastore, in a question that began after the start, and as a read that
 * sees all that was committed before it. So no put of before the start can have carried a later one. */
void touch_begin_at(struct touch_table *t, uint64_t epoch);

/* The block is here, or is about to be: it was put or asked for with this epoch. Not while it is leaving. */
void touch_note(struct touch_table *t, const struct sha256 *id, uint64_t epoch);
/* It was touched in this epoch, or before. */
uint64_t touch_of(const struct touch_table *t, const struct sha256 *id);
/* The blocks among these (at most TOUCH_LEAVING_MAX) that were last touched before `limit` are leaving from now on:
 * told in ret_leaves. The caller removes them, and says so with touch_left. How many there are. */
unsigned touch_leave(struct touch_table *t, const struct sha256 *ids, unsigned count, uint64_t limit, bool *ret_leaves);
void touch_left(struct touch_table *t);
bool touch_is_leaving(const struct touch_table *t, const struct sha256 *id);
