/* lock_list.h: the advisory locks of one kind on one inode, and who waits for them: who is in whose way, ranges that
 * split and merge, whose turn it is. Pure: no rows are read or written here, no time, no threads.
 *
 * Of one owner, held ranges don't overlap, and those of one type don't touch. Of two owners, held ranges overlap only
 * if both are read locks. Who waits has a ticket; lower ones came first. */
#pragma once

#include "meta/schema.h"

#define LOCK_LIST_NEW UINT32_MAX /* place of a lock that is in no row yet */

struct lock_entry {
    struct row_lock row;
    uint32_t place;
    bool changed; /* differs from the row at its place */
};
struct lock_list {
    struct lock_entry *entries;
    unsigned count, capacity;
};

void lock_list_free(struct lock_list *l);
void lock_list_add(struct lock_list *l, const struct row_lock *row, uint32_t place);
void lock_list_remove(struct lock_list *l, unsigned at);

/* How many rows of a session or of an owner. */
struct lock_counts {
    unsigned held, waiting;
};
struct lock_counts lock_list_count(const struct lock_list *l, uint64_t session);
unsigned lock_list_held(const struct lock_list *l, uint64_t session, uint64_t owner);
/* What counts against LIMIT_FILE_LOCKS: who waits may split two ranges when its turn comes. */
unsigned lock_list_weight(const struct lock_list *l);

/* The held lock of another owner that is in this one's way and begins first; l->count: none is. */
unsigned lock_list_conflict(const struct lock_list *l, uint64_t session, const struct meta_lock *lock);
bool lock_is_in_the_way(const struct row_lock *held, uint64_t session, const struct meta_lock *lock);
/* The owner's lock on these bytes becomes that of lock->type; for UNLOCK it goes. True: others may have become free to
 * go on. */
bool lock_list_set(struct lock_list *l, uint64_t session, const struct meta_lock *lock);
/* Who waits and came first among those whom nobody hinders; l->count: nobody. */
unsigned lock_list_next(const struct lock_list *l);
/* Everything of the session goes. */
void lock_list_drop(struct lock_list *l, uint64_t session);
