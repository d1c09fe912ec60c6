/* wire_changes.h: what happens in the tree, for who watches it. */
#pragma once

#include "proto/wire_common.h"

enum wire_change_op {
    WIRE_CHANGE_CREATE = 1,
    WIRE_CHANGE_MKDIR,
    WIRE_CHANGE_MKNOD,
    WIRE_CHANGE_SYMLINK,
    WIRE_CHANGE_LINK, /* the name that was added */
    WIRE_CHANGE_UNLINK,
    WIRE_CHANGE_RMDIR,
    WIRE_CHANGE_RENAME,
    WIRE_CHANGE_EXCHANGE,
    WIRE_CHANGE_WRITE,    /* contents, also holes and clones */
    WIRE_CHANGE_TRUNCATE, /* the size was set */
    WIRE_CHANGE_ATTR,     /* mode, owner, times */
    WIRE_CHANGE_XATTR     /* extended attributes and access control lists */
};
#define WIRE_CHANGE_LAST WIRE_CHANGE_XATTR
const char *wire_change_name(enum wire_change_op op);

#define WIRE_CHANGE_PATH_BYTES (16 * KIB) /* longer paths are not told */

/* Asks for what came after a change, and is held until there is something or a moment has passed. */
struct wire_changes_query {
    uint64_t after; /* the index of a change, or what `through` said */
    bool from_now;  /* in place of after: answered at once, with no changes and where they begin */
    /* Only changes of this path and below it; and those that move a directory above it. Empty: of all. Begins with a
     * '/' and does not end with one. */
    struct slice path;
};

struct wire_change {
    uint64_t index; /* of the entry that made it */
    int64_t time_ns;
    enum wire_change_op op;
    uint32_t mode; /* 0: not known */
    uint64_t ino;
    /* As of the change; from the root of the export, beginning with '/'. Empty: not known. Of a file with several
     * names, one of them. */
    struct slice path;
    struct slice new_path; /* rename, exchange */
    uint64_t session;
    struct slice client; /* its host and mountpoint; empty: it ended before it was asked for */
};
#define WIRE_CHANGES 256u
struct wire_changes {
    uint64_t through;     /* everything up to this index has been looked at: the next question's `after` */
    uint64_t missed_upto; /* changes up to this index are not known any more; 0: none are missing */
    struct wire_change *list;
    unsigned count; /* <= WIRE_CHANGES */
};

struct slice wire_changes_query_encode(const struct wire_changes_query *q, struct arena *a);
enum err wire_changes_query_decode(struct slice s, struct arena *a, struct wire_changes_query *ret,
                                   struct err_text *why) MUST_USE;
struct slice wire_changes_encode(const struct wire_changes *c, struct arena *a);
enum err wire_changes_decode(struct slice s, struct arena *a, struct wire_changes *ret, struct err_text *why) MUST_USE;
