/* surf.h: libsurf, a mounted export as a library: what fusefs/ translates to, and what tools and tests use directly.
 *
 * Thread-safe. Every call may block for as long as the cluster can't answer; `cancel` (NULL is allowed) breaks that
 * with ERR_CANCELLED, after which a change may still happen. Names are slices of 1..255 bytes; the functions check them
 * (NAMETOOLONG, INVAL). Inode numbers are the metastore's; META_ROOT_INO is the export's root as seen here.
 * Attributes include this mount's own data that is not committed yet. */
#pragma once

#include "client/file.h"

struct surf;

struct surf_options {
    const struct rpc_address *servers;
    size_t server_count;
    const char *export_name, *client_name;
    int64_t mount_timeout_ns, soft_timeout_ns;
    size_t cache_bytes, dirty_bytes, readahead_bytes; /* 0: 256 MiB, 256 MiB, 8 MiB */
    void (*on_waiting)(void *context, const char *text);
    void (*on_stale)(void *context, uint64_t ino);
    void *context;
};

struct surf_caller {
    uint32_t uid, gid;
    struct rpc_cancel *cancel;
};

enum err surf_open_export(const struct surf_options *options, struct surf **ret, struct err_text *why) MUST_USE;
/* Commits what is dirty, at most timeout_ns; ends the session. */
void surf_close_export(struct surf *s, int64_t timeout_ns);

enum err surf_lookup(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     struct meta_attr *ret) MUST_USE;
enum err surf_getattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct meta_attr *ret) MUST_USE;
/* Of a directory in which this mount has changed something: its attributes as of that change, if it is not older than
 * max_age_ns; nobody is asked. Another mount may have changed it since. */
bool surf_recent_attr(struct surf *s, uint64_t ino, int64_t max_age_ns, struct meta_attr *ret, int64_t *ret_age_ns);
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
struct surf_space {
    uint64_t total_bytes, free_bytes, used_inodes;
};
enum err surf_statfs(struct surf *s, const struct surf_caller *c, struct surf_space *ret) MUST_USE;
/* Reading, writing, flushing and closing handles: file.h. */
struct open_files *surf_files(struct surf *s);
struct meta_client *surf_meta(struct surf *s);
