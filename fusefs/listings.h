/* listings.h: of which directories the kernel has a copy of the listing (FOPEN_CACHE_DIR), and whether it is of the
 * present state.
 *
 * The kernel copies the entries that it is given, from the start of a directory to its end; then it lists from its copy
 * without asking, as long as the directory's mtime stays the same. That is not enough: programs set mtime back, and an
 * answer that tells the new one may be dropped by the kernel when a notice crosses it. So each opendir says whether the
 * copy is still good, which a directory's ctime tells: every change gives it a new one that nobody can choose.
 *
 * Only one handle of a directory at a time reads from the copy, or makes it. With two, an answer that was on its way to
 * one of them during a change could become part of the copy that the other begins behind the change. Further handles
 * are served by us.
 *
 * A copy that is no good is not left behind: before its last part is given, what there is of it is dropped, which makes
 * the kernel begin anew with the next listing. Thread-safe. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "client/surf.h"

struct listings {
    pthread_mutex_t lock; /* protects the map; before the locks of libsurf */
    struct surf *surf;
    struct map_u64 map; /* directory -> struct listing */
};

void listings_init(struct listings *l);
void listings_set_surf(struct listings *l, struct surf *surf); /* before the first request */
void listings_close(struct listings *l);

/* True: the handle may read from the kernel's copy, and must be taken leave of. *ret_keep: the copy may stay. */
bool listings_enter(struct listings *l, uint64_t ino, bool *ret_keep);
void listings_leave(struct listings *l, uint64_t ino);
/* The kernel reads from the start, through the handle that has entered: before it is given anything. */
void listings_begin(struct listings *l, uint64_t ino);
/* It is about to be told that it has seen the end. with_attr: it has asked for attributes as well. False: what it has
 * copied must be dropped first. */
bool listings_end(struct listings *l, uint64_t ino, bool with_attr) MUST_USE;
/* The kernel has looked up a name in it. */
void listings_looked_up(struct listings *l, uint64_t ino);
/* After a change by another mount: whether there is a handle that could still read from the copy, which must be dropped
 * then. */
bool listings_outdated(struct listings *l, uint64_t ino);
/* The kernel is about to be told these attributes of the directory: whether a handle could still read from a copy of
 * another state, which must be dropped before, since the mtime may be the same. */
bool listings_is_other(struct listings *l, const struct meta_attr *attr);
void listings_dropped(struct listings *l, const struct meta_attr *attr); /* that has been done */
/* All for which there is such a handle, in memory that is the caller's. */
uint64_t *listings_in_use(struct listings *l, size_t *ret_count);
