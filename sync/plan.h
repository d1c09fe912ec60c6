/* plan.h: what is to be done so that a directory and its export are the same: a function of the two trees and of the
 * index, which is what both were when they last were the same. Pure.
 *
 * Versions decide. A file whose version on the server is another than the index's was changed there, and the server
 * wins: what was done to it here meanwhile is lost. One that only was changed here goes to the server with the next
 * version. A deleted file has a version too (its tombstone's), so that one that is made anew under its name has a later
 * one.
 *
 * Permission bits and the time of modification come with the contents. Where only they differ, the index doesn't say
 * which side they have changed on: it was here if the file here has changed since the index was written and the
 * server's has not, and else there. */
#pragma once

#include "sync/index.h"

/* Which file it was that was looked at: before it is replaced or removed it must still be that. */
struct sync_identity {
    uint64_t device, ino, size;
    int64_t mtime_ns, ctime_ns;
};
struct sync_local {
    struct slice path;
    struct sha256 *hashes;
    unsigned hash_count;
    uint32_t mode; /* permission bits */
    bool is_ours;  /* who syncs may change its attributes */
    bool is_link;
    struct slice target; /* of a link */
    struct sync_identity identity;
};
struct sync_remote {
    struct slice path;
    bool there;             /* else only a tombstone is */
    uint64_t version;       /* at least 1 when it is there */
    uint64_t tombstone;     /* the version that deleting it made; 0: none */
    uint64_t ino, at, size; /* at: the inode's own version, which is 0 as long as nothing was written */
    uint32_t mode;          /* permission bits */
    int64_t mtime_ns, ctime_ns;
    bool is_link;
    struct slice target;
    bool replaced; /* the version is the index's, but the contents are others: it is another file of that name */
};

enum sync_action {
    SYNC_KEEP = 0,      /* they are the same; the row may have to be written */
    SYNC_UPLOAD,        /* here -> server */
    SYNC_DOWNLOAD,      /* server -> here */
    SYNC_DELETE_LOCAL,  /* it was deleted on the server */
    SYNC_DELETE_REMOTE, /* it was deleted here */
    SYNC_ADOPT,         /* the attributes: server -> here */
    SYNC_GIVE,          /* the attributes: here -> server */
    SYNC_BURY,          /* it is deleted on both sides, and the server has no tombstone yet */
    /* of directories (directories.h) */
    SYNC_MAKE_LOCAL,
    SYNC_MAKE_REMOTE,
    SYNC_REMOVE_LOCAL,
    SYNC_REMOVE_REMOTE,
    SYNC_BLOCKED /* a file on one side is a directory on the other: nothing is done to either */
};
struct sync_step {
    struct slice path;
    enum sync_action action;
    bool discards;                    /* what was done here is lost: the server has a newer version */
    uint64_t version;                 /* that the file, or its tombstone, has afterwards */
    const struct sync_local *local;   /* NULL: it isn't there */
    const struct sync_row *row;       /* NULL: it wasn't there */
    const struct sync_remote *remote; /* NULL: there is nothing, and never was */
};
/* Paths that are not looked at, on either side: neither they nor what is below them count as deleted. A map to anything
 * that is not NULL. */
struct map_bytes;
struct sync_trees {
    const struct sync_local *locals;
    size_t local_count;
    const struct sync_remote *remotes;
    size_t remote_count;
    const struct sync_index *index;
    int64_t written_ns;               /* when the index was written, by the clock here; 0: there is none */
    const struct map_bytes *left_out; /* may be NULL */
};
/* All lists are by path, without equal ones. One step for each path that is anywhere, by path, in the arena. */
void sync_plan(const struct sync_trees *trees, struct arena *arena, struct sync_step **ret, size_t *ret_count);
/* What a file here has of these permission bits: who syncs has to be able to read it next time. */
static inline uint32_t sync_mode_here(uint32_t mode)
{
    return (mode & 0777) | 0400;
}
const char *sync_action_name(enum sync_action action);
