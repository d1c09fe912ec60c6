/* surf.h: libsurf, a mounted export as a library: what fusefs/ translates to, and what tools and tests use directly.
 *
 * Thread-safe. Every call may block for as long as the cluster can't answer; `cancel` (NULL is allowed) breaks that
 * with ERR_CANCELLED, after which a change may still happen. Names are slices of 1..255 bytes; the functions check them
 * (NAMETOOLONG, INVAL). Inode numbers are the metastore's; META_ROOT_INO is the export's root as seen here.
 * Attributes include this mount's own data that is not committed yet. */
#pragma once

#include "client/lock/locks.h"

struct surf;

struct surf_options {
    const struct rpc_address *servers;
    size_t server_count;
    const char *export_name, *client_name;
    int64_t mount_timeout_ns, soft_timeout_ns;
    bool tells_not_done;                              /* as in meta_client_options */
    bool atime;                                       /* reads set access times, as with relatime */
    bool read_from_any;                               /* members of the metastore, not only its leader */
    size_t cache_bytes, dirty_bytes, readahead_bytes; /* 0: 256 MiB, 256 MiB, 8 MiB */
    const char *disk_cache; /* a directory for blocks (client/block/disk_cache.h); NULL: none */
    uint64_t disk_cache_bytes;
    bool no_ahead;  /* no name brings others of its directory along (client/meta/look_ahead.h) */
    bool no_inline; /* also small contents are put on block servers before they are committed */
    bool no_merge;  /* fragmented files are left to others, */
    int64_t
        merge_after_ns; /* else merged when they have been quiet for so long (client/file/extent_upkeep.h); 0: 5 s */
    void (*on_waiting)(void *context, const char *text);
    void (*on_stale)(void *context, uint64_t ino);
    void (*drop_pages)(void *context, uint64_t ino, bool are_old); /* both as in file.h */
    /* What is told may be kept, by us and by whoever asks us (client/meta/known.h); false: everybody asks each time.
     * Not with read_from_any: only the leader knows who keeps what. */
    bool caches;
    size_t inodes_max; /* 0: 1,000,000 */
    void (*forget_attr)(void *context, uint64_t ino, bool may_believe);
    void (*forget_names)(void *context);
    void (*detached)(void *context); /* as in known.h */
    void *context;
};

struct surf_caller {
    uint32_t uid, gid;
    uint32_t umask;    /* of what makes something */
    bool kills_set_id; /* must not leave a program set-user-ID that it truncates or writes */
    struct rpc_cancel *cancel;
};

enum err surf_open_export(const struct surf_options *options, struct surf **ret, struct err_text *why) MUST_USE;
void surf_cluster(struct surf *s, uint8_t ret_id[16]);
/* Commits what is dirty, at most timeout_ns; ends the session. */
void surf_close_export(struct surf *s, int64_t timeout_ns);

/* META_EXPORT_ROOT_SQUASH, as it was when the session was opened. */
bool surf_squashes_root(struct surf *s);

enum err surf_lookup(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     struct meta_attr *ret) MUST_USE;
enum err surf_getattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct meta_attr *ret) MUST_USE;
/* Around an answer to the kernel: how long from now it may keep the attributes, which are replaced by those that are
 * believed now, and that a name leads to this inode. 0: not at all. */
void surf_set_kernel_names(struct surf *s, bool can); /* whether the kernel can be told to forget them; first: no */
void surf_answer_begin(struct surf *s);
void surf_answer_end(struct surf *s);
int64_t surf_attr_ns(struct surf *s, struct meta_attr *attr);
/* What may be believed of it without asking; own data that is not committed is not in it. */
bool surf_believed_attr(struct surf *s, uint64_t ino, struct meta_attr *ret);
int64_t surf_name_ns(struct surf *s, uint64_t directory, struct slice name, uint64_t ino); /* ino 0: absent */
/* mask etc. as in meta_command.setattr */
struct surf_setattr {
    uint32_t mask, mode, uid, gid;
    uint64_t size;
    int64_t atime_ns, mtime_ns;
};
enum err surf_setattr(struct surf *s, const struct surf_caller *c, uint64_t ino, const struct surf_setattr *set,
                      struct meta_attr *ret) MUST_USE;
/* ret_handle NULL: don't open. *ret_existed: it was there (not exclusive). */
enum err surf_create(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                     int flags, struct meta_attr *ret, struct open_file **ret_handle, bool *ret_keep_cache) MUST_USE;
enum err surf_mkdir(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                    struct meta_attr *ret) MUST_USE;
enum err surf_mknod(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name, uint32_t mode,
                    uint32_t rdev, struct meta_attr *ret) MUST_USE;
enum err surf_symlink(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                      struct slice target, struct meta_attr *ret) MUST_USE;
enum err surf_link(struct surf *s, const struct surf_caller *c, uint64_t ino, uint64_t parent, struct slice name,
                   struct meta_attr *ret) MUST_USE;
enum err surf_unlink(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name) MUST_USE;
/* The same if that name is of this inode, with this version of its contents: else VERSION. */
enum err surf_unlink_version(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                             uint64_t ino, uint64_t version) MUST_USE;
/* All contents of `source` become those of `ino` in one step, if those are still of this version: else VERSION, and
 * nothing has happened. The source, of which nothing may be dirty here, has none then. new_version: a later one. Both
 * inodes may be the same: then only the version is set. STALE: ino has no name any more. */
enum err surf_take(struct surf *s, const struct surf_caller *c, uint64_t source, uint64_t ino, uint64_t version,
                   uint64_t new_version, struct meta_attr *ret) MUST_USE;
enum err surf_rmdir(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name) MUST_USE;
enum err surf_rename(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     uint64_t new_parent, struct slice new_name, uint32_t meta_flags) MUST_USE;
enum err surf_readlink(struct surf *s, const struct surf_caller *c, uint64_t ino, struct arena *arena,
                       struct slice *ret) MUST_USE;
/* One page of entries behind `cookie`, in the arena; "." and ".." are the caller's. with_attr: own dirty data included.
 */
enum err surf_readdir(struct surf *s, const struct surf_caller *c, uint64_t ino, uint64_t cookie, unsigned max_count,
                      bool with_attr, struct arena *arena, struct meta_query_reply *ret) MUST_USE;
enum err surf_open(struct surf *s, const struct surf_caller *c, uint64_t ino, int flags, struct open_file **ret,
                   bool *ret_keep_cache) MUST_USE;
/* Extended attributes. NOTSUP outside the namespaces user, trusted and security, except access control lists; flags:
 * meta_xattr_flags; TOO_BIG: a value over 64 KiB. What is got is in the arena or empty; a list is names, each with a
 * NUL behind it. */
enum err surf_setxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name, struct slice value,
                       uint32_t flags) MUST_USE;
enum err surf_removexattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name) MUST_USE;
enum err surf_getxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct slice name,
                       struct arena *arena, struct slice *ret) MUST_USE;
enum err surf_listxattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct arena *arena,
                        struct slice *ret) MUST_USE;
struct surf_space {
    uint64_t total_bytes, free_bytes, used_inodes;
    uint64_t available_bytes; /* <= free_bytes: what can be written */
};
enum err surf_statfs(struct surf *s, const struct surf_caller *c, struct surf_space *ret) MUST_USE;
struct surf_stats {
    uint64_t calls; /* meta_client_calls */
    struct known_stats known;
    struct file_stats files;
};
void surf_stats(struct surf *s, struct surf_stats *ret);

bool surf_pages_are_current(struct surf *s, uint64_t ino); /* as in file.h */
/* Reading, writing, flushing and closing handles: file.h. */
struct open_files *surf_files(struct surf *s);
struct locks *surf_locks(struct surf *s);
struct meta_client *surf_meta(struct surf *s);
