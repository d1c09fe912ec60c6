/* index_file.h: index.txt on disk. */
#pragma once

#include "sync/local.h"

#define SYNC_OWNER_BYTES 320u
struct sync_index_file {
    int base;
    const char *owner; /* what the directory is synced with; NULL: it is not noted */
    bool there;
    struct sync_identity identity; /* as it was read or written last */
    int64_t as_of_ns;
    struct bytes text;
};
/* One that isn't there is empty. CORRUPT with its line. */
enum err sync_index_file_read(struct sync_index_file *f, int base, struct arena *arena, struct sync_index *ret,
                              struct err_text *why) MUST_USE;
/* Notes with which export of which cluster the index goes, and refuses (WRONG_CLUSTER) one that goes with another: what
 * that one has and this one lacks would count as deleted, and be deleted here too. Kept as an attribute of the file, so
 * that its rows stay what they are; where files have none, nothing is noted and nothing refused. */
enum err sync_index_file_claim(struct sync_index_file *f, const char *owner, struct err_text *why) MUST_USE;
/* Replaces it, unless it is the same. AGAIN: somebody else has changed it. */
enum err sync_index_file_write(struct sync_index_file *f, const struct sync_row *rows, size_t count, int64_t as_of_ns,
                               struct err_text *why) MUST_USE;
void sync_index_file_free(struct sync_index_file *f);
