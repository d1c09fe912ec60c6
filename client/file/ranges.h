/* ranges.h: sets of bytes of a file: ranges [from, to), in order, not touching one another. Zero-initialised is empty.
 * Pure; one thread at a time. */
#pragma once

#include <stdint.h>

struct range {
    uint64_t from, to;
};
struct ranges {
    struct range *list;
    unsigned count, capacity;
};
void ranges_add(struct ranges *r, uint64_t from, uint64_t to);
void ranges_remove(struct ranges *r, uint64_t from, uint64_t to);
void ranges_free(struct ranges *r);
uint64_t ranges_bytes(const struct ranges *r);
/* The first that ends behind `offset`; its index, or count. */
unsigned ranges_find(const struct ranges *r, uint64_t offset);
