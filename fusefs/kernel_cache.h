/* kernel_cache.h: what the kernel is told to forget when another mount has changed something. None of this waits for a
 * request of this mount: it is done before a notice is acknowledged, and with a request under way in a directory the
 * calls that name an entry would never return (fuse_lowlevel_notify_inval_entry and its kind; measured on 6.18, where
 * even kill -9 then leaves a thread behind). Names are forgotten all at once, by raising the connection's epoch:
 * a name that the kernel learned in an earlier one is looked up again. <linux/fuse.h>, FUSE_NOTIFY_INC_EPOCH; since
 * Linux 6.16. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct meta_attr;
struct mount;

/* When the mount is up: whether the kernel can be told to forget names. */
void kernel_cache_open(struct mount *m);
void kernel_cache_forget_names(void *mount);
/* Of a directory its listing too, if a handle could read from it. may_believe as in known.h. */
void kernel_cache_forget_attr(void *mount, uint64_t ino, bool may_believe);
/* Before the kernel is told these attributes, which it may not have been prepared for by a notice: as when the mount
 * was stopped for longer than its lease. May take 1 s. */
void kernel_cache_tells_attr(struct mount *m, const struct meta_attr *attr);
void kernel_cache_detached(void *mount); /* all such listings */
