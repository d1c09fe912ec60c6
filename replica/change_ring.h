/* change_ring.h: the last changes of names, contents and attributes that this member has applied, for who watches the
 * tree. Memory only, bounded in bytes; every member keeps one, so that a new leader can go on where the old one ended.
 *
 * What is kept of a change are inodes and names as of that moment; paths are made when they are asked for. The state
 * then knows where a directory is now, and the ring what has been moved since: where it was at the time of the change.
 * One thread. */
#pragma once

#include "meta/meta.h"
#include "proto/wire_changes.h"

#define CHANGE_RING_BYTES ((size_t)4 * MIB)

/* One applied command that changed something; at most one of each index. */
struct change {
    uint64_t index;
    int64_t time_ns;
    enum wire_change_op op;
    uint32_t mode;                 /* of ino; 0: not known */
    uint64_t ino;                  /* made, changed, moved, or what has lost the name */
    uint64_t other_ino;            /* rename: replaced; exchange: the other one; 0: none */
    uint64_t parent;               /* 0: a change of the inode, no name of it came or went */
    uint64_t new_parent;           /* rename, exchange */
    uint64_t session;              /* who did it */
    struct slice name;             /* in parent; what a link has added */
    struct slice new_name;         /* in new_parent */
    struct slice client;           /* what the session calls itself; may be empty */
    uint64_t before, other_before; /* private: the change before this one that moved ino, other_ino; 0: none */
};

struct change_ring;
struct change_ring *change_ring_new(size_t bytes);
void change_ring_free(struct change_ring *r);
/* Everything is forgotten; the next change has an index above this one. */
void change_ring_reset(struct change_ring *r, uint64_t index);
/* Copies. Indexes ascend. */
void change_ring_add(struct change_ring *r, const struct change *c);
/* All changes above this index are here. */
uint64_t change_ring_floor(const struct change_ring *r);
/* The first one above an index, or NULL. Valid until the next add or reset. */
const struct change *change_ring_after(const struct change_ring *r, uint64_t index);
/* *place is where the inode is now; becomes where it was right after the change at `index`. */
void change_ring_roll_back(const struct change_ring *r, uint64_t ino, uint64_t index, struct meta_place *place);
