/* index_ring.h: pieces of memory in the order of the log, of which the oldest go: what kv_ring and change_ring have in
 * common. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Embedded by what is kept. */
struct index_ring_item {
    uint64_t index;
    size_t size; /* what it counts for */
};
/* Zero is empty. */
struct index_ring {
    struct index_ring_item **places; /* a circle of `room`, a power of two */
    size_t room, first, count;
    size_t bytes;
    uint64_t floor; /* all above this index are here */
};

/* Indexes ascend, from above the floor. */
void index_ring_push(struct index_ring *r, struct index_ring_item *item);
/* Takes the oldest out, whose index the floor is then; NULL: it is empty. */
struct index_ring_item *index_ring_pop(struct index_ring *r);
/* The first one above this index, or NULL. */
struct index_ring_item *index_ring_after(const struct index_ring *r, uint64_t index);
/* It is empty. */
void index_ring_close(struct index_ring *r);
