#include "fusefs/kernel_cache.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "base/clock.h"
#include "fusefs/mount.h"

#define LOG_MODULE "fuse"
#include "base/log.h"

#define NOTIFY_INC_EPOCH 8 /* FUSE_NOTIFY_INC_EPOCH, which Debian 12's header does not have yet */
#define DROP_NS (100 * NS_PER_MS)
#define DROP_FIRST_NS (1 * NS_PER_S) /* when it must be done before an answer */

/* 0, or an errno. */
static int raise_epoch(struct mount *m)
{
    struct fuse_out_header header = {.len = sizeof header, .error = NOTIFY_INC_EPOCH};
    return write(fuse_session_fd(m->session), &header, sizeof header) == sizeof header ? 0 : errno;
}

void kernel_cache_open(struct mount *m)
{
    int error = m->options->no_epoch ? ENOSYS : raise_epoch(m);
    if (error != 0)
        log_info("this kernel can't be told to forget names (%s): it looks each up every time", strerror(error));
    surf_set_kernel_names(m->surf, error == 0);
}

void kernel_cache_forget_names(void *mount)
{
    struct mount *m = mount;
    if (atomic_load(&m->up) && !m->options->no_epoch)
        (void)raise_epoch(m);
}

/* Dropping pages waits for who copies from them into memory that may be a file of this mount, or whatever a program has
 * made of it: not for ever. The mtime then tells nearly as well. */
static void drop_listing(struct mount *m, uint64_t ino, int64_t until_ns)
{
    if (!invalidator_drop(&m->listing_invalidator, ino, until_ns))
        log_debug("the listing of directory %llu is in use", (unsigned long long)ino);
}

void kernel_cache_forget_attr(void *mount, uint64_t ino, bool may_believe)
{
    struct mount *m = mount;
    if (!atomic_load(&m->up))
        return;
    /* ENOENT: the kernel doesn't know it, yet. The program that looks it up may just not have been woken with our
     * answer, and would believe that for a while; what it learns in an epoch that is over is looked up again. */
    if (may_believe && fuse_lowlevel_notify_inval_inode(m->session, ino, -1, 0) == -ENOENT)
        kernel_cache_forget_names(m);
    if (listings_outdated(&m->listings, ino))
        drop_listing(m, ino, clock_boot_ns() + DROP_NS);
}

void kernel_cache_tells_attr(struct mount *m, const struct meta_attr *attr)
{
    if (!S_ISDIR(attr->mode) || !listings_is_other(&m->listings, attr))
        return;
    drop_listing(m, attr->ino, clock_boot_ns() + DROP_FIRST_NS);
    listings_dropped(&m->listings, attr);
}

void kernel_cache_detached(void *mount)
{
    struct mount *m = mount;
    size_t count;
    uint64_t *inos = listings_in_use(&m->listings, &count);
    int64_t until_ns = clock_boot_ns() + DROP_NS;
    for (size_t i = 0; i < count; i++)
        drop_listing(m, inos[i], until_ns);
    free(inos);
}
