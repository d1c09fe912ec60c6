/* file.h: contents of open files: gathered writes, commits, reads, read-ahead. One struct file_inode per open inode of
 * this mount, shared by its handles.
 *
 * Writes go into 1 MiB-aligned buffers of the inode; a buffer that is full is hashed and put in the background or by
 * the writer; everything dirty is committed at flush, fsync, 5 s after it was written at the latest, or when the
 * mount's dirty limit is reached (then the writer waits: back-pressure). A commit names exactly the byte ranges that
 * were written. Reads see this mount's own dirty bytes. A write error of a background commit is kept per inode and
 * reported by the next flush, fsync or close of every handle that was open (once each). What was written in one session
 * is committed in that one or lost, with IO: others may have been told that we are gone.
 *
 * Thread-safe. Lock order: file table, then inode. No lock is held over a call to the metastore or block servers,
 * except the inode's commit turn (commits of one inode are one at a time, in order).
 */
#pragma once

#include "base/list.h"
#include "client/block/block_client.h"
#include "client/block/disk_cache.h"
#include "client/meta/meta_client.h"

struct open_files; /* all open inodes of a mount */
struct file_inode;
struct open_file;

struct file_options {
    size_t cache_bytes;      /* block cache in memory */
    struct disk_cache *disk; /* behind it; NULL: none. The caller's */
    size_t dirty_bytes;      /* limit for the mount */
    size_t readahead_bytes;  /* per handle */
    size_t inline_bytes;     /* up to so many written bytes come with their commit (inline_mover.h); 0: none do */
    int64_t inline_look_ns;  /* as in inline_mover.h */
    int64_t merge_after_ns;  /* fragmented files that have been quiet for so long are merged; 0: by others */
    bool atime;              /* reads set access times (atime.c) */
    /* Another mount changed what this kernel may have cached: its pages must go soon, if they are old then. Called
     * without locks held. */
    void (*on_stale)(void *context, uint64_t ino);
    /* When it returns, nothing of the inode is being dropped, and the pages, if they are old, have been. It may wait
     * for requests of this mount. */
    void (*drop_pages)(void *context, uint64_t ino, bool are_old);
    void *context;
    struct known *known; /* may be NULL */
};

struct open_files *open_files_new(struct meta_client *meta, struct block_client *blocks,
                                  const struct file_options *options);
/* Commits what is dirty (waits at most timeout_ns), frees. What could not be committed is logged with its inode. */
void open_files_free(struct open_files *t, int64_t timeout_ns);

/* Opens: asks the metastore for attributes and extents (close-to-open), unless `fresh` gives what a create has just
 * answered. *ret_keep_cache: the kernel's pages are of the current version. ERR_STALE when the inode is gone, or is
 * unlinked and not open here. */
enum err file_open(struct open_files *t, uint64_t ino, int flags, const struct meta_attr *fresh,
                   struct rpc_cancel *cancel, struct open_file **ret, bool *ret_keep_cache) MUST_USE;
/* Never fails; commits in the background what is still dirty (flush came before, so usually nothing is). */
void file_close(struct open_file *h);

/* Into `to`; *ret_size < size only at end of file. */
enum err file_read(struct open_file *h, uint64_t offset, void *to, size_t size, struct rpc_cancel *cancel,
                   size_t *ret_size) MUST_USE;
/* The same; but what lies in one block is lent, not copied: *ret then points into *ret_lent, which the caller unrefs,
 * else into `to`, and *ret_lent is NULL. */
enum err file_read_lent(struct open_file *h, uint64_t offset, void *to, size_t size, struct rpc_cancel *cancel,
                        struct slice *ret, struct block_buffer **ret_lent) MUST_USE;
/* O_APPEND handles: the metastore places the bytes at the end of file as of the commit; the data is then durable and
 * committed at return. Else gathered. */
enum err file_write(struct open_file *h, uint64_t offset, const void *from, size_t size,
                    struct rpc_cancel *cancel) MUST_USE;
/* The same as it is said here, whatever the handle's flags are. */
enum file_write_flags {
    FILE_WRITE_APPEND = 1,
    /* By someone who must not leave a program set-user-ID: the bits go when the bytes are committed, and are not shown
     * here from now on. */
    FILE_WRITE_KILL_SET_ID = 2
};
enum err file_write_as(struct open_file *h, uint64_t offset, const void *from, size_t size, unsigned flags,
                       struct rpc_cancel *cancel) MUST_USE;
enum err file_flush(struct open_file *h, struct rpc_cancel *cancel) MUST_USE; /* close(2): committed and durable */
enum err file_fsync(struct open_file *h, struct rpc_cancel *cancel) MUST_USE;

/* ---- space (space.c); what is dirty is committed first, and the change is committed at return ---- */

/* mode: FALLOC_FL_* as in fallocate(2). Without PUNCH_HOLE and ZERO_RANGE only the size can change: nothing is
 * reserved. kill_set_id: as FILE_WRITE_KILL_SET_ID. Errors: NOTSUP (mode), BADF, INVAL (length 0), FBIG. */
enum err file_allocate(struct open_file *h, int mode, uint64_t offset, uint64_t length, bool kill_set_id,
                       struct rpc_cancel *cancel) MUST_USE;
struct file_place {
    struct open_file *file;
    uint64_t offset;
};
/* copy_file_range(2): both files then name the same blocks. *ret_done < length at the end of the source, or when an
 * error came after that much. INVAL: ranges of one file that overlap. */
enum err file_clone(struct file_place from, struct file_place to, uint64_t length, bool kill_set_id,
                    struct rpc_cancel *cancel, uint64_t *ret_done) MUST_USE;
/* Where data (else: a hole, as which the end of file counts) is from `offset` on. NOT_FOUND: nowhere, or offset is not
 * below the size. */
enum err file_seek(struct open_file *h, uint64_t offset, bool data, struct rpc_cancel *cancel, uint64_t *ret) MUST_USE;

uint64_t open_file_ino(const struct open_file *h);
/* As this mount was told last; another one may have changed them since. */
void open_file_attr(const struct open_file *h, struct meta_attr *ret);
/* For who has just got a lock: reads after it find everything that was committed before, the kernel's cache included.
 * attr (NULL is allowed): as of when the lock was got. */
enum err file_refresh(struct open_file *h, const struct meta_attr *attr, struct rpc_cancel *cancel) MUST_USE;
/* From now on its reads and writes fail with IO; of what the kernel has of the file a moment later. */
void open_file_refuse(struct open_file *h);

/* Own dirty size and mtime on top of attributes that came from the metastore. */
void file_overlay_attr(struct open_files *t, struct meta_attr *attr);
/* Around a truncation to `size` by this mount: commits dirty data (or, for 0, drops it when the command has been done),
 * runs the command, forgets extents. When it is cancelled or times out it may happen yet (truncate.c). */
enum err file_truncate(struct open_files *t, struct meta_command *setattr, struct rpc_cancel *cancel,
                       struct meta_reply *ret) MUST_USE;
/* Commits the inode's dirty data, if any (before attributes of it are set, e.g. mtime by utimens). */
enum err file_commit_ino(struct open_files *t, uint64_t ino, struct rpc_cancel *cancel) MUST_USE;

/* Around a create and the open of what it has made, or looking a name up: until the end, each inode that is unlinked
 * meanwhile may be it. */
struct file_create {
    struct list_node node;
    uint64_t serial;
};
void file_create_begin(struct open_files *t, struct file_create *c);
void file_create_end(struct open_files *t, struct file_create *c);
/* The end of a lookup that has found this file. An open(2) that has looked it up may be about to open it: for
 * FILE_LOOKED_UP_NS from now that is possible, though it be unlinked meanwhile, by whomever. */
void file_looked_up(struct open_files *t, struct file_create *c, uint64_t ino);

/* What the leader tells of an inode (meta_notice): another mount has changed it, or looks at it while it is written
 * here, or it is unlinked. */
void file_notice(struct open_files *t, const struct meta_notice *notice);
/* Of the unlinked ones, those that are not open here any more, and won't be: each is said once. */
unsigned file_closed_orphans(struct open_files *t, uint64_t *inos, unsigned max);

/* Of fragmented files (extent_upkeep.h). */
struct extent_upkeep_stats {
    uint64_t parts, extents; /* rewritten: parts, and what they were made of */
    uint64_t overtaken;      /* parts that somebody has changed while they were read */
};
struct file_stats {
    struct disk_cache_stats disk;
    uint64_t cache_bytes, dirty_bytes, open_inodes, cache_hits, cache_misses, commits;
    struct extent_upkeep_stats upkeep;
};
void file_stats(struct open_files *t, struct file_stats *ret);

/* Whether the kernel's pages of it are of what is here, as far as is known. */
bool file_pages_are_current(struct open_files *t, uint64_t ino);
