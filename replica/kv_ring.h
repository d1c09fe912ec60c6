/* kv_ring.h: the last changes of keys that this member has applied, for who watches them. Memory only, bounded in
 * bytes; every member keeps one, so that a new leader can go on where the old one ended. One thread. */
#pragma once

#include "meta/types.h"

#define KV_RING_BYTES ((size_t)4 * MIB)

struct kv_ring;
struct kv_ring *kv_ring_new(size_t bytes);
void kv_ring_free(struct kv_ring *r);
/* Everything is forgotten; the next event has an index above this one. */
void kv_ring_reset(struct kv_ring *r, uint64_t index);
/* Copies. All events of one entry at once; indexes ascend. */
void kv_ring_add(struct kv_ring *r, const struct meta_kv_event *events, unsigned count);
/* All events above this index are here. */
uint64_t kv_ring_floor(const struct kv_ring *r);
/* The events of the first entry above an index: how many, from *ret on; 0: there is none. Valid until the next add or
 * reset. */
unsigned kv_ring_after(const struct kv_ring *r, uint64_t index, const struct meta_kv_event **ret);
