/* run.h: one synchronisation of a directory with an export: look at both, plan, do it, write the index. What was done
 * is in the index also when something else failed, and written there now and then meanwhile; a run that is killed
 * leaves nothing that the next one doesn't finish. */
#pragma once

#include "sync/export.h"

struct sync_progress {
    uint64_t steps_done, steps, bytes_done, bytes;
};
struct sync_options {
    struct surf *surf;
    struct surf_caller caller;
    int base;          /* the directory, opened; nobody else may be syncing it */
    const char *owner; /* as for sync_index_file_claim */
    uint32_t block_bytes;
    bool dry_run;
    bool links; /* symbolic links are synced as links, where they lead to what is below the directory */
    /* A step is done (or, with dry_run, is to be), or failed; why is "" or says more. */
    void (*on_step)(void *context, const struct sync_step *step, enum err e, const char *why);
    /* Not synced. e ERR_OK: as nothing of that kind is. */
    void (*on_left_out)(void *context, struct slice path, enum err e, const char *why);
    void (*on_progress)(void *context, const struct sync_progress *p); /* NULL, or often */
    void (*on_directory)(void *context, struct slice path);            /* NULL, or each one here */
    void *context;
};
struct sync_counts {
    uint64_t uploaded, downloaded, deleted_here, deleted_there, attributes, directories, kept, discarded, failed,
        left_out;
};
/* What one run may tell the next. Zero-initialised is nothing. */
struct sync_memory {
    struct arena arena;
    struct sync_local *locals;
    size_t local_count;
    int64_t began_ns;
    struct bytes left_directories; /* as in export.h */
};
void sync_memory_free(struct sync_memory *m);
/* Fails when it could not go on: else what failed has been counted. memory may be NULL. */
enum err sync_run(const struct sync_options *o, struct sync_memory *memory, struct sync_counts *ret,
                  struct err_text *why) MUST_USE;
