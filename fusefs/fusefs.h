/* fusefs.h: what the files of the FUSE layer share. This layer only translates: between libfuse's low-level requests
 * and client/surf.h, between enum err and errno, between meta_attr and struct stat. Inode numbers are the metastore's,
 * so there is no table of lookups, and forget has nothing to do. */
#pragma once

#define FUSE_USE_VERSION 314

#include <fuse3/fuse_lowlevel.h>

#include "client/surf.h"
#include "fusefs/interrupt.h"

/* How long the kernel may believe a name or attributes without asking. Negative names are never kept. */
#define FUSEFS_TIMEOUT_S 1.0
#define FUSEFS_REQUEST_BYTES (1u * MIB) /* one read or write */

struct fusefs {
    struct surf *surf;
    struct fuse_session *session;
    struct interrupts *interrupts;
    bool read_only;
};

/* One request under way: who asks, and the way to break it off. */
struct fusefs_call {
    struct fusefs *fs;
    fuse_req_t req;
    struct surf_caller caller;
    struct interrupt_slot *slot;
};
struct fusefs_call fusefs_begin(fuse_req_t req);
/* Before the reply: after it no interrupt reaches this request any more. */
void fusefs_end(struct fusefs_call *c);

/* enum err as the caller of the system call sees it. What waits for the cluster or lost it is EIO, a cancelled wait is
 * EINTR. */
int fusefs_errno(enum err e);
void fusefs_reply_error(fuse_req_t req, enum err e); /* ERR_OK: success without data */
void fusefs_stat(const struct meta_attr *attr, struct stat *ret);
struct fuse_entry_param fusefs_entry(const struct meta_attr *attr);

/* All operations; ops_*.c define them. */
extern const struct fuse_lowlevel_ops fusefs_operations;

void fusefs_init(void *userdata, struct fuse_conn_info *connection);
void fusefs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fusefs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fusefs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fusefs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int mask, struct fuse_file_info *fi);
void fusefs_readlink(fuse_req_t req, fuse_ino_t ino);
void fusefs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fusefs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fusefs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fusefs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fusefs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fusefs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                   unsigned flags);
void fusefs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void fusefs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void fusefs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fusefs_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                  struct fuse_file_info *fi);
void fusefs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fusefs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fusefs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fusefs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fusefs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fusefs_statfs(fuse_req_t req, fuse_ino_t ino);
