/* marks.h: latest notices and own changes by inode, that late answers are compared with. Bounded: what is forgotten is
 * taken for marked. Not thread-safe. */
#pragma once

#include "base/map.h"

/* The latest number of something for each inode; below `floor` nothing is remembered. */
struct marks {
    struct map_u64 map; /* ino -> number, as a pointer */
    uint64_t floor, newest;
};

void marks_put(struct marks *m, uint64_t ino, uint64_t number); /* 0: nothing */
/* Is there, or may there be, one above `number`? */
bool marks_above(const struct marks *m, uint64_t ino, uint64_t number);
void marks_clear(struct marks *m);
