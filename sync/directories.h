/* directories.h: directories that the files do not bring along: empty ones. What is only on one side was made there, or
 * removed on the other: the latter if it was on both sides when the index was written, which has a row of it if it was
 * empty, and else rows of files below it. Nothing but empty directories is ever removed. */
#pragma once

#include "sync/export.h"

struct sync_directories {
    struct sync_export *export;
    int base;
    const struct sync_index *index;
    const struct sync_local_directory *here; /* as they were found; so are export->listed */
    size_t here_count;
    const struct sync_step *steps; /* of the files, which have been done */
    size_t step_count;
    const struct map_bytes *left_out;
    bool dry_run;
    /* One of SYNC_MAKE_... and SYNC_REMOVE_...; with the error of one that failed. */
    void (*on_step)(void *context, struct slice path, enum sync_action action, enum err e);
    void *context;
};
/* *ret: those in which nothing is, on both sides; in the export's arena, in no order. One that can't be made is told
 * of, and does not end it. */
void sync_directories_run(struct sync_directories *d, struct slice **ret, size_t *ret_count);
