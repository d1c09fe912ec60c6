/* file.h: contents of open files: gathered writes, commits, reads, read-ahead. One struct file_inode per open inode of
 * this mount, shared by its handles.
 *
 * Writes go into 1 MiB-aligned buffers of the inode; a buffer that is full is hashed and put in the background or by
 * the writer; everything dirty is committed at flush, fsync, 5 s after it was written at the latest, or when the
 * mount's dirty limit is reached (then the writer waits: back-pressure). A commit names exactly the byte ranges that
 * were written. Reads see this mount's own dirty bytes. A write error of a background commit is kept per inode and
 * reported by the next flush, fsync or close of every handle that was open (once each).
 *
 * Thread-safe. Lock order: file table, then inode. No lock is held over a call to the metastore or block servers,
 * except the inode's commit turn (commits of one inode are one at a time, in order).
 */
#pragma once

#include "client/block_client.h"
#include "client/meta_client.h"

struct open_files; /* all open inodes of a mount */
struct file_inode;
struct open_file;

struct file_options {
    size_t cache_bytes;     /* block cache in memory */
    size_t dirty_bytes;     /* limit for the mount */
    size_t readahead_bytes; /* per handle */
    /* Another mount changed what this kernel may have cached: its pages must go. Called without locks held. */
    void (*on_stale)(void *context, uint64_t ino);
    void *context;
};

struct open_files *open_files_new(struct meta_client *meta, struct block_client *blocks,
                                  const struct file_options *options);
/* Commits what is dirty (waits at most timeout_ns), frees. What could not be committed is logged with its inode. */
void open_files_free(struct open_files *t, int64_t timeout_ns);

/* Opens: asks the metastore for attributes and extents (close-to-open), unless `fresh` gives what a create has just
 * answered. *ret_keep_cache: the kernel's pages are of the current version. ERR_STALE when the inode is gone.
 * An open of an inode that isn't open here yet waits for the unlinks that are under way (see file_open_inos). */
enum err file_open(struct open_files *t, uint64_t ino, int flags, const struct meta_attr *fresh,
                   struct rpc_cancel *cancel, struct open_file **ret, bool *ret_keep_cache) MUST_USE;
/* Never fails; commits in the background what is still dirty (flush came before, so usually nothing is). */
void file_close(struct open_file *h);

/* Into `to`; *ret_size < size only at end of file. */
enum err file_read(struct open_file *h, uint64_t offset, void *to, size_t size, struct rpc_cancel *cancel,
                   size_t *ret_size) MUST_USE;
/* O_APPEND handles: the metastore places the bytes at the end of file as of the commit; the data is then durable and
 * committed at return. Else gathered. */
enum err file_write(struct open_file *h, uint64_t offset, const void *from, size_t size,
                    struct rpc_cancel *cancel) MUST_USE;
enum err file_flush(struct open_file *h, struct rpc_cancel *cancel) MUST_USE; /* close(2): committed and durable */
enum err file_fsync(struct open_file *h, struct rpc_cancel *cancel) MUST_USE;
uint64_t open_file_ino(const struct open_file *h);

/* Own dirty size and mtime on top of attributes that came from the metastore. */
void file_overlay_attr(struct open_files *t, struct meta_attr *attr);
/* Around a truncation to `size` by this mount: commits (or, for 0, drops) dirty data, runs the command, forgets
 * extents. */
enum err file_truncate(struct open_files *t, struct meta_command *setattr, struct rpc_cancel *cancel,
                       struct meta_reply *ret) MUST_USE;
/* Commits the inode's dirty data, if any (before attributes of it are set, e.g. mtime by utimens). */
enum err file_commit_ino(struct open_files *t, uint64_t ino, struct rpc_cancel *cancel) MUST_USE;

/* For the open-here hints of unlink and rename: fills the list of inodes that are open here; false when there are more
 * than LIMIT_OPEN_HINTS (then the command says open_unknown). Between begin and end, first opens of further inodes
 * wait. After the reply: file_unlinks_end with the inode that became an orphan of this session (0: none); it is
 * released (META_RELEASE, in the background) at its last close, or at once if it isn't open. */
bool file_unlinks_begin(struct open_files *t, uint64_t inos[LIMIT_OPEN_HINTS], unsigned *ret_count);
void file_unlinks_end(struct open_files *t, uint64_t orphan_ino);

struct file_stats {
    uint64_t cache_bytes, dirty_bytes, open_inodes, cache_hits, cache_misses, commits;
};
void file_stats(struct open_files *t, struct file_stats *ret);
