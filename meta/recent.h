/* recent.h: the rows of the newest applies, which RocksDB does not have yet. Internal to meta/.
 *
 * Commands that follow each other change the same few rows again and again: the applied index, the session, the
 * directory, the inode that was made a moment ago. They are kept here in order of their keys until there are some
 * hundreds, and then written in one batch, which is a state that RocksDB has as a whole or not at all. Reads look here
 * first; scans go over both (meta/store.c).
 *
 * Zero-initialised is empty. Not thread-safe. Keys and values are copied. */
#pragma once

#include "base/arena.h"

enum row_change {
    ROW_PUT,
    ROW_DELETE,
    ROW_COUNT, /* what RocksDB counts under this key changes by `count` */
};

struct recent_row {
    struct slice key, value; /* value: of ROW_PUT, in its place */
    uint8_t *place;
    size_t room; /* bytes there */
    int64_t count;
    enum row_change change;
};

struct recent {
    struct recent_row **rows; /* in order of keys */
    size_t count, capacity;
    struct arena arena;
};

/* Whether it had better be written out. */
bool recent_is_full(const struct recent *r);
/* The index of the first row at or behind the key; count: none is. */
size_t recent_lower_bound(const struct recent *r, struct slice key);
/* NULL: nothing is known of this key. Valid until the next change of any row. */
const struct recent_row *recent_get(const struct recent *r, struct slice key);
void recent_put(struct recent *r, struct slice key, struct slice value);
void recent_delete(struct recent *r, struct slice key);
void recent_add_count(struct recent *r, struct slice key, int64_t change);
void recent_clear(struct recent *r); /* keeps some memory for what comes next */
void recent_free(struct recent *r);
