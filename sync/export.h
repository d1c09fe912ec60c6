/* export.h: the tree on the server: looking at it, and putting files into it and taking them out, each in one step that
 * only happens if nobody else has changed the file since it was looked at.
 *
 * What is being put is a file in the directory .surfsync of the export until it is complete, and a deleted file leaves
 * its tombstone in .surfsync/deleted: a symbolic link named hash-of-the-path,version that leads to the path. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "client/surf.h"
#include "sync/scan.h"

/* The functions that change files may be called by several threads at a time, each for a file of its own. */
struct sync_export {
    struct surf *surf;
    /* Without a cancel: a change that was broken off might still happen, and what it makes be left behind. */
    struct surf_caller caller;
    struct rpc_cancel *cancel; /* of contents under way, and of lists between two pages; may be NULL */
    uint32_t block_bytes;
    bool links;           /* symbolic links are synced as links */
    bool looks_only;      /* nothing is changed there */
    pthread_mutex_t lock; /* protects the rest, but for the callbacks, while there are several threads */
    struct arena *arena;
    struct sync_directory *listed; /* those that there were, in front of those in them; without the root */
    size_t listed_count;
    struct map_bytes directories;  /* path -> struct sync_directory, of those that there are; the root's is empty */
    struct map_bytes tombstones;   /* hash of a path -> struct sync_tombstone, the newest first */
    uint64_t own_ino, deleted_ino; /* .surfsync, and in it `deleted`; 0: not there */
    int64_t newest_ns;             /* the newest change that was seen */
    /* Directories that a deletion on one side has left on the other, where they still were: each with its length. */
    struct bytes left_directories;
    uint64_t named_ino; /* the file that was given its name last, a change that was not seen; 0: none */
    void (*on_left_out)(void *context, struct slice path, enum err e, const char *why);
    void (*on_bytes)(void *context,
                     uint64_t bytes); /* any thread; so many more have been brought from one side to the other */
    void *context;
};
struct sync_directory {
    uint64_t ino;
    struct slice path;
    uint32_t mode; /* as it was listed */
};
struct sync_tombstone {
    struct sha256 path_hash;
    uint64_t version;
    struct slice name;
    uint64_t ino;
    struct sync_tombstone *older;
};

/* All files, and tombstones, also of paths that are known from nowhere else; by path. `index` tells of which files it
 * is to be made sure that they are what they were. */
enum err sync_export_list(struct sync_export *x, const struct sync_index *index, struct sync_remote **ret,
                          size_t *ret_count, struct err_text *why) MUST_USE;
/* The files alone, as they are now. */
enum err sync_export_look_again(struct sync_export *x, struct sync_remote **ret, size_t *ret_count) MUST_USE;
void sync_export_free(struct sync_export *x);
/* The directory of our own, which tells that something was synced with this export. */
enum err sync_export_own(struct sync_export *x, uint64_t *ret) MUST_USE;
/* newest_ns with what was done here, as far as that can be asked for. */
int64_t sync_export_newest_ns(struct sync_export *x);

/* Outcomes of the next four: VERSION: somebody else was faster, and nothing has happened; AGAIN: the file here has
 * changed, and nothing has happened. */

/* What was sent, and as what the server has it. */
struct sync_sent {
    uint64_t ino; /* of a put */
    struct sha256 *hashes;
    unsigned hash_count;
};
/* sync_export_own has made its directory. */
enum err sync_export_put(struct sync_export *x, int base, const struct sync_step *step, struct sync_sent *ret) MUST_USE;
/* The server's file gets the attributes of the one here. */
enum err sync_export_give(struct sync_export *x, const struct sync_step *step) MUST_USE;
/* Removes it if it is there, and leaves a tombstone of step->version. */
enum err sync_export_delete(struct sync_export *x, int base, const struct sync_step *step) MUST_USE;
/* The file that is there now, which may be newer than the step says. NOENT: there is none any more. */
struct sync_got {
    uint64_t ino, version;
    struct sha256 *hashes;
    unsigned hash_count;
};
enum err sync_export_get(struct sync_export *x, int base, const struct sync_step *step, struct sync_got *ret) MUST_USE;

/* ---- for the parts of it ---- */
#define SYNC_OWN_DIRECTORY SYNC_OWN_PREFIX
#define SYNC_DELETED_DIRECTORY "deleted"
static inline uint64_t sync_version_of(const struct meta_attr *a)
{
    return a->version > 0 ? a->version : 1;
}
/* The lock is taken for a change that was seen, and to keep hashes. */
void sync_export_saw(struct sync_export *x, const struct meta_attr *attr);
void sync_export_end_hasher(struct sync_export *x, struct sync_hasher *h);
/* Finds or makes the directory of this path; under the lock. */
enum err sync_export_directory(struct sync_export *x, struct slice path, uint64_t *ret) MUST_USE;
/* Under the lock. The directory is gone here; there, and those above it, as far as nothing is in them. */
void sync_export_remove_directories(struct sync_export *x, int base, struct slice path);
/* The hashes of what the inode has, read from one version of it. `fd` < 0, or where it is written. AGAIN: it kept
 * changing. */
enum err sync_export_read(struct sync_export *x, uint64_t ino, int fd, struct meta_attr *ret_attr,
                          struct sync_sent *ret) MUST_USE;
enum err sync_tombstones_list(struct sync_export *x) MUST_USE;
uint64_t sync_tombstone_version(const struct sync_export *x, struct slice path);
enum err sync_tombstone_put(struct sync_export *x, struct slice path, uint64_t version) MUST_USE;
/* All of that path; under the lock. Who doesn't manage leaves them, where they do no harm. */
void sync_tombstone_remove(struct sync_export *x, struct slice path);
/* The paths of those that are of none of `known`; each is a remote without a file. */
enum err sync_tombstones_unknown(struct sync_export *x, const struct map_bytes *known, struct sync_remote **list,
                                 size_t *count, size_t *capacity) MUST_USE;
/* The last part, and the rest. */
struct slice sync_path_name(struct slice path);
struct slice sync_path_directory(struct slice path);
