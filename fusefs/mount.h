/* mount.h: one mounted export and what all FUSE operations share. The FUSE layer only translates: names, attributes,
 * flags and errors; what an operation does is libsurf's. */
#pragma once

#include <stdatomic.h>
#include <sys/stat.h>

#include "client/surf.h"
#include "fusefs/fuse.h"
#include "fusefs/invalidate.h"
#include "fusefs/options.h"
#include "fusefs/request.h"

#define ENTRY_TIMEOUT_S 1.0 /* how long the kernel believes a name */
#define ATTR_TIMEOUT_S 1.0  /* and attributes */
#define MAX_TRANSFER (1 * MIB)

struct mount {
    const struct options *options;
    struct surf *surf;
    struct fuse_session *session;
    struct requests requests;
    struct invalidator invalidator;
    /* Counts the changes that went through this mount, at their begin and their end: pages of directory entries with
     * attributes that were fetched before must not be given to the kernel any more. */
    atomic_ullong changes;
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
};
void op_begin(struct op *op, fuse_req_t req);
void op_begin_change(struct op *op, fuse_req_t req);
void op_end(struct op *op);

int errno_of(enum err e);
void attr_to_stat(const struct meta_attr *attr, struct stat *ret);
void attr_to_entry(const struct meta_attr *attr, struct fuse_entry_param *ret);

/* The common ends of operations; ERR_OK or an error. */
void reply_error(fuse_req_t req, enum err e);
void reply_entry(fuse_req_t req, enum err e, const struct meta_attr *attr);

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
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
