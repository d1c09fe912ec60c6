/* access.h: who may do what, where the kernel doesn't judge. It judges all callers by the attributes and lists that it
 * has from us, but not who opens a file that it takes for new; and it lets root do everything, also where the export
 * has root for nobody (squash.h). */
#pragma once

#include "fusefs/mount.h"

enum access_wish { ACCESS_SEARCH = 1, ACCESS_WRITE = 2, ACCESS_READ = 4 }; /* as in mode bits */

/* ACCES unless the mode bits or the list of the inode grant the caller all of `wanted` (path_resolution(7)). */
enum err access_permits(struct op *op, fuse_req_t req, const struct meta_attr *attr, unsigned wanted) MUST_USE;
bool access_in_group(const struct op *op, fuse_req_t req, uint32_t gid);
/* What open(2) with these flags wants. */
unsigned access_wanted(int flags);
