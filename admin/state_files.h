/* state_files.h: the tree as one node has it, for surfctl state N --files. */
#pragma once

#include "admin/admin.h"

#define STATE_FILES_LIMIT 1000u
#define STATE_FILES_LIMIT_MAX 100000u

struct state_files {
    const char *path;  /* of a file, or of a directory with all below it; "" and "/": everything */
    const char *after; /* as told where the last table ended; "": from the beginning */
    uint64_t limit;    /* 1..STATE_FILES_LIMIT_MAX */
};
/* Asks the node at this address, which may be crashed. to NULL: prints a table; else files, files_index,
 * files_last_index, files_left_out and files_next become members of it. */
enum err state_files_tell(struct admin *a, const char *address, const struct state_files *wanted, json_t *to,
                          struct err_text *why) MUST_USE;
