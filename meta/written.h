/* written.h: the rows that the command under way has written so far, so that its reads see them. Internal to meta/.
 *
 * A table by the hash of the key. RocksDB's indexed batch does the same by order, which nobody asks for here; keeping
 * it took a fifth of a command's time. Zero-initialised is empty. Not thread-safe. */
#pragma once

#include "base/bytes.h"

struct written_row {
    uint64_t generation; /* the row is there if it is the table's own */
    uint64_t hash;
    struct slice key, value; /* borrowed until written_clear */
    bool deleted;
};
struct written {
    struct written_row *slots;
    size_t count, capacity; /* capacity is a power of two, and at least twice the count */
    uint64_t generation;
};

/* What was written last under this key; NULL: nothing. Valid until the next put. */
const struct written_row *written_get(const struct written *w, struct slice key);
/* Key and value are borrowed. */
void written_put(struct written *w, struct slice key, struct slice value, bool deleted);
void written_clear(struct written *w);
void written_free(struct written *w);
