/* What is agreed with the kernel when the mount starts, and our place between libfuse and the kernel. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "base/check.h"
#include "fusefs/mount.h"
#include "fusefs/privilege.h"
#include "fusefs/statx.h"

#define LOG_MODULE "fuse"
#include "base/log.h"

/* FUSE_DIRECT_IO_ALLOW_MMAP >> 32, which the header of Debian 12 does not have yet. */
#define DIRECT_IO_ALLOW_MMAP (1u << 4)
#define MAX_BACKGROUND 64u /* read-ahead and other requests that nobody waits for */

void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mount *m = userdata;
    conn->max_write = MAX_TRANSFER;
    conn->max_read = MAX_TRANSFER;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
    conn->time_gran = 1;
    const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
                            FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
                            FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_LOCKS |
                            FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK | FUSE_CAP_EXPORT_SUPPORT;
    conn->want = conn->capable & wanted;
    m->has_acl = conn->want & FUSE_CAP_POSIX_ACL;
    log_debug("kernel %u.%u, capabilities %#x, used %#x", conn->proto_major, conn->proto_minor, conn->capable,
              conn->want);
}

/* libfuse 3.14 never passes PARALLEL_DIROPS on, though it takes it: the kernel would then send lookups in one directory
 * one after the other. Nor does it know what privilege.h is about, nor that shared mappings of handles with direct I/O
 * can be allowed. The first reply of all is that to INIT. */
static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct mount *m = userdata;
    if (atomic_load_explicit(&m->up, memory_order_acquire))
        return writev(fd, iov, count);
    struct fuse_out_header header;
    struct fuse_init_out init;
    bool is_init = false;
    if (count == 2 && iov[0].iov_len == sizeof header && iov[1].iov_len == sizeof init) {
        memcpy(&header, iov[0].iov_base, sizeof header);
        memcpy(&init, iov[1].iov_base, sizeof init);
        is_init = header.error == 0 && init.major == FUSE_KERNEL_VERSION;
    }
    if (!is_init)
        return writev(fd, iov, count);
    init.flags |= FUSE_PARALLEL_DIROPS | PRIVILEGE_INIT_FLAG;
    init.flags |= FUSE_INIT_EXT;
    init.flags2 |= DIRECT_IO_ALLOW_MMAP; /* kernels before 6.6 ignore it */
    struct iovec changed[2] = {iov[0], {.iov_base = &init, .iov_len = sizeof init}};
    ssize_t written = writev(fd, changed, 2);
    int saved = errno;
    if (written > 0 && !atomic_exchange(&m->up, true))
        m->on_up(m);
    errno = saved;
    return written;
}

static ssize_t io_read(int fd, void *buf, size_t size, void *userdata)
{
    struct mount *m = userdata;
    ssize_t got = read(fd, buf, size);
    if (got < 0 && errno == ENODEV) {
        m->on_gone(m);
        errno = ENODEV;
    }
    if (got > 0) {
        atomic_fetch_add_explicit(&m->requests_read, 1, memory_order_relaxed);
        privilege_look(buf, (size_t)got);
        statx_look(buf, (size_t)got);
    }
    return got;
}

int mount_io_install(struct mount *m)
{
    static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
    return fuse_session_custom_io(m->session, &io, fuse_session_fd(m->session));
}
