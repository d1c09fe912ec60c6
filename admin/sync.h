/* sync.h: what the parts of `surfctl sync` share.
 *
 *   cmd_sync.c        arguments, one run, exit code
 *   sync_output.c     what is printed: lines, the bar, JSON
 *   sync_changes.c    for --watch: waiting until something has changed here or on the server */
#pragma once

#include "admin/admin.h"
#include "client/surf.h"
#include "sync/index_file.h"
#include "sync/run.h"

struct sync_changes;

struct sync_command {
    struct admin *a;
    const char *path, *export_name;
    uint32_t block_bytes;
    bool dry_run, watch, links;
    int base; /* the directory, locked */
    char client_name[256];
    struct rpc_cancel *cancel; /* fired by signals */
    struct surf *surf;         /* NULL: to be opened */
    struct sync_memory memory;
    struct sync_changes *changes; /* with watch */
    bool is_behind;               /* the last run could not do all that it would have */

    /* Output. */
    bool bar;          /* on standard error, which is a terminal */
    bool bar_is_shown; /* and there is one on the line now */
    int64_t bar_ns;    /* when it was drawn last */
    json_t *actions, *problems;
};

/* ---- sync_output.c; the three are callbacks of sync_run ---- */
void sync_output_begin(struct sync_command *c);
void sync_output_step(void *context, const struct sync_step *step, enum err e, const char *why);
void sync_output_left_out(void *context, struct slice path, enum err e, const char *why);
void sync_output_progress(void *context, const struct sync_progress *p);
/* The exit code of the run. */
int sync_output_end(struct sync_command *c, const struct sync_counts *counts, enum err e, const struct err_text *why);

/* ---- sync_changes.c ---- */
enum err sync_changes_begin(struct sync_command *c, struct err_text *why) MUST_USE;
void sync_changes_directory(void *context, struct slice path); /* a callback of sync_run */
/* Until there is a change that this program has not made, or the cancel; at most timeout_ns. */
void sync_changes_wait(struct sync_command *c, int64_t timeout_ns);
void sync_changes_end(struct sync_command *c);
