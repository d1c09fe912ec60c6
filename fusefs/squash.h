/* squash.h: root of the mounting machine as nobody (user and group 65534), where the export says so. The kernel lets
 * root do everything and asks us only then: so what it would have asked of others is asked here, of each request of
 * user 0. What it answers from its own caches it answers root as well, without us.
 *
 * Each function gives ERR_OK at once for everybody else. They read attributes as they are now, which may be others when
 * the operation takes place. */
#pragma once

#include "fusefs/access.h"

#define SQUASH_ID 65534u

/* In op_begin: the caller becomes nobody, if it is root and the export squashes it. */
void squash_begin(struct op *op, fuse_req_t req);

/* Of the inode: ACCES unless it grants all of `wanted`. */
enum err squash_permits(struct op *op, fuse_req_t req, uint64_t ino, unsigned wanted) MUST_USE;
/* What open(2) with these flags needs. */
enum err squash_opens(struct op *op, fuse_req_t req, uint64_t ino, int flags) MUST_USE;
/* Whether a name may be made in the directory. */
enum err squash_makes(struct op *op, fuse_req_t req, uint64_t directory) MUST_USE;
/* Whether a name may be taken from the directory, which a sticky one reserves to the owners. A name that isn't there is
 * left for the operation to find. */
enum err squash_removes(struct op *op, fuse_req_t req, uint64_t directory, struct slice name) MUST_USE;
enum err squash_renames(struct op *op, fuse_req_t req, uint64_t from, struct slice name, uint64_t to,
                        struct slice new_name, bool exchanges) MUST_USE;
/* As the kernel's fs.protected_hardlinks wants it of others. */
enum err squash_links(struct op *op, fuse_req_t req, uint64_t ino, uint64_t directory) MUST_USE;
/* by_handle: of a file that is open for it. A set-group-ID bit that nobody may not give goes from the mode. */
enum err squash_sets_attr(struct op *op, fuse_req_t req, uint64_t ino, bool by_handle,
                          struct surf_setattr *set) MUST_USE;
enum err squash_sets_xattr(struct op *op, fuse_req_t req, uint64_t ino, const char *name) MUST_USE;
enum err squash_reads_xattr(struct op *op, fuse_req_t req, uint64_t ino, const char *name) MUST_USE;

/* Whether the kernel may go by itself through a directory that root may not search: then it must not, or root could
 * walk through names that others have looked up. */
bool squash_hides_names(struct mount *m, uint64_t directory);
