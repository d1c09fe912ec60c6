/* mount.h: one mounted export and what all FUSE operations share. The FUSE layer only translates: names, attributes,
 * flags and errors; what an operation does is libsurf's. */
#pragma once

#include <stdatomic.h>
#include <sys/stat.h>

#include "client/surf.h"
#include "fusefs/fuse.h"
#include "fusefs/invalidate.h"
#include "fusefs/last_told.h"
#include "fusefs/listings.h"
#include "fusefs/options.h"
#include "fusefs/request.h"

#define MAX_TRANSFER (1 * MIB)

struct mount {
    const struct options *options;
    struct surf *surf;
    struct fuse_session *session;
    struct requests requests;
    struct invalidator invalidator, listing_invalidator; /* of files and of directories */
    struct listings listings;
    struct last_told last_told;
    /* Counts the changes that went through this mount, at their begin and their end: pages of directory entries with
     * attributes that were fetched before must not be given to the kernel any more. */
    atomic_ullong changes;
    atomic_ullong requests_read; /* from the kernel */
    bool has_acl;                /* the kernel heeds access control lists; set by INIT */
    atomic_bool mounted;
    atomic_bool up; /* INIT has been answered */
    void (*on_up)(struct mount *m);
    void (*on_gone)(struct mount *m); /* the kernel has dropped the mount */
};

/* One operation: begun, and ended before it is answered. */
struct op {
    struct mount *mount;
    struct request request;
    bool changes;
    bool squashed; /* the caller is root, and does as nobody (squash.h) */
};
void op_begin(struct op *op, fuse_req_t req);
void op_begin_change(struct op *op, fuse_req_t req);
void op_end(struct op *op);

int errno_of(enum err e);
struct open_file *file_handle_of(const struct fuse_file_info *fi);
struct timespec timespec_of_ns(int64_t ns);
void attr_to_stat(const struct meta_attr *attr, struct stat *ret);
/* Inside of surf_answer_begin and end: the attributes that are believed now, and for how long. */
void fill_entry(struct mount *m, uint64_t parent, struct slice name, struct meta_attr *attr,
                struct fuse_entry_param *ret);

/* The common ends of operations; ERR_OK or an error. */
void reply_error(fuse_req_t req, enum err e);
void reply_name_error(fuse_req_t req, enum err e); /* of an operation on a name in a directory */
void reply_entry(fuse_req_t req, enum err e, uint64_t parent, const char *name, struct meta_attr *attr);

extern const struct fuse_lowlevel_ops mount_ops;
/* Puts our reads and writes between libfuse and the kernel. After fuse_session_mount. */
int mount_io_install(struct mount *m);

void op_init(void *userdata, struct fuse_conn_info *conn);
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
               unsigned int flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                        fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t length, int flags);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
