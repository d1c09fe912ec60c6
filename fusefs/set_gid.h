/* set_gid.h: the set-group-ID bit of a file that its group may not execute. Local file systems take it when somebody
 * writes, truncates or gives away the file who is not of its group and has no CAP_FSETID. The kernel leaves it to us,
 * and the state machine, which takes the bits of programs (privilege.h), doesn't know who is of which group. So it is
 * taken here, by a command of its own before the change, as local file systems do it. */
#pragma once

#include "fusefs/mount.h"

/* Before contents are changed by a handle. Costs nothing but for such a file. */
enum err set_gid_drop(struct op *op, fuse_req_t req, const struct open_file *h) MUST_USE;
/* Before an open that truncates. */
enum err set_gid_drop_by_open(struct op *op, fuse_req_t req, uint64_t ino) MUST_USE;
/* META_KILL_SET_GID enters the mask where this change of attributes takes the bit. */
enum err set_gid_look(struct op *op, fuse_req_t req, uint64_t ino, struct surf_setattr *set) MUST_USE;
