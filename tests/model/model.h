/* model.h: a tiny file system in arrays: what the state machine must do, written again as simply as possible. */
#pragma once

#include "meta/types.h"
#include "tests/model/xattrs.h"

#define MODEL_INODES 400u
#define MODEL_BYTES 3000u /* the longest file */
#define MODEL_NAMES 6u
#define MODEL_SESSIONS 3u

/* Each byte of a file: which block, and where in it. Block 0 is a hole. */
struct model_byte {
    uint32_t block, at;
};

struct model_inode {
    bool used;
    uint64_t ino;
    uint32_t mode, uid, gid, rdev;
    unsigned nlink;
    uint64_t size, version;
    int64_t atime, mtime, ctime;
    struct model_byte bytes[MODEL_BYTES];
    unsigned entries[MODEL_NAMES]; /* directories: index of the inode under each name; 0: none */
    unsigned parent;               /* directories */
    unsigned target;               /* symlinks: length of the target */
    bool orphan;                   /* unlinked, not released */
    struct model_xattrs xattrs;
};

#define MODEL_INLINED 12u /* different blocks that commits bring along; their first byte says which one it is */

struct model_inlined {
    bool there;
    uint64_t ino, version; /* which commit brought it last */
};

struct model {
    struct model_inlined inlined[MODEL_INLINED];
    struct model_inode inodes[MODEL_INODES]; /* [1] is the root; [0] is nobody */
    int64_t now;                             /* the latest time of any command */
};

struct model_outcome {
    enum err status;
    unsigned inode; /* the one made, changed, or that lost a link */
    bool orphaned, existed;
    uint64_t set;            /* of READS */
    struct model_inode copy; /* of that inode when it was changed (it may be gone now) */
};

/* time_ns: of the command that made the root. */
void model_init(struct model *m, int64_t time_ns);
/* A command with this time has been applied, whatever came of it: time doesn't go back. */
void model_time(struct model *m, int64_t time_ns);
unsigned model_find(const struct model *m, uint64_t ino); /* 0: none */
/* Executes the command; names are "a", "b", ... new_ino names an inode that is
 * made: the model has no opinion on numbers. */
struct model_outcome model_apply(struct model *m, const struct meta_command *c, uint64_t new_ino);
unsigned model_name(struct slice name); /* its index */
