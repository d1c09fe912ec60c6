/* map.h: hash maps from u64 or from bytes to a pointer; open addressing, grows by itself, order is unspecified and must
 * never reach replicated state. Zero-initialised is empty. Values are borrowed and not NULL. Not thread-safe. */
#pragma once

#include "base/bytes.h"

struct map_u64 {
    struct map_u64_slot *slots;
    size_t count, capacity, used; /* used counts tombstones too */
};
void *map_u64_get(const struct map_u64 *m, uint64_t key);        /* NULL when absent */
void *map_u64_put(struct map_u64 *m, uint64_t key, void *value); /* the value that it replaced, or NULL */
void *map_u64_remove(struct map_u64 *m, uint64_t key);           /* the value, or NULL */
/* Iterate: *at starts at 0; false at the end. The map must not change meanwhile, except by removing the current key. */
bool map_u64_next(const struct map_u64 *m, size_t *at, uint64_t *ret_key, void **ret_value);
void map_u64_free(struct map_u64 *m);

/* Keys are borrowed: they must live as long as they are in the map (usually inside the value). */
struct map_bytes {
    struct map_bytes_slot *slots;
    size_t count, capacity, used;
};
void *map_bytes_get(const struct map_bytes *m, struct slice key);
void *map_bytes_put(struct map_bytes *m, struct slice key, void *value);
void *map_bytes_remove(struct map_bytes *m, struct slice key);
bool map_bytes_next(const struct map_bytes *m, size_t *at, struct slice *ret_key, void **ret_value);
void map_bytes_free(struct map_bytes *m);
