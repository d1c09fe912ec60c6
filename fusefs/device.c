#include "fusefs/device.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOG_MODULE "fuse"
#include "base/log.h"

#define READ_AHEAD_KB 1024

static atomic_bool init_replied;

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    /* The first reply of all is INIT's: a header and struct fuse_init_out. */
    if (!atomic_load_explicit(&init_replied, memory_order_relaxed) && count == 2 &&
        iov[1].iov_len == sizeof(struct fuse_init_out)) {
        atomic_store_explicit(&init_replied, true, memory_order_relaxed);
        struct fuse_init_out out;
        memcpy(&out, iov[1].iov_base, sizeof out);
        out.flags |= FUSE_PARALLEL_DIROPS;
        struct iovec changed[2] = {iov[0], {&out, sizeof out}};
        return writev(fd, changed, 2);
    }
    return writev(fd, iov, count);
}

static ssize_t device_read(int fd, void *buffer, size_t size, void *userdata)
{
    (void)userdata;
    return read(fd, buffer, size);
}

enum err device_attach(struct fuse_session *session, struct err_text *why)
{
    static const struct fuse_custom_io io = {.writev = device_writev, .read = device_read};
    int e = fuse_session_custom_io(session, &io, fuse_session_fd(session));
    if (e != 0)
        return err_explain(why, err_from_errno(-e), "FUSE session: %s", strerror(-e));
    return ERR_OK;
}

/* mountinfo writes white space and backslashes in octal. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        unsigned c;
        if (from[0] == '\\' && sscanf(from + 1, "%3o", &c) == 1) {
            *to++ = (char)c;
            from += 3;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
}

/* The line of the topmost mount on `mountpoint`. */
static bool find_mount(const char *mountpoint, unsigned *ret_major, unsigned *ret_minor, bool *ret_ours)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (getline(&line, &capacity, f) > 0) {
        unsigned major, minor;
        char *point = NULL;
        if (sscanf(line, "%*d %*d %u:%u %*s %ms", &major, &minor, &point) == 3) {
            unescape(point);
            if (strcmp(point, mountpoint) == 0) {
                found = true;
                *ret_major = major;
                *ret_minor = minor;
                *ret_ours = strstr(line, " - fuse.surffs ") != NULL;
            }
        }
        free(point);
    }
    free(line);
    fclose(f);
    return found;
}

bool device_is_mounted(const char *mountpoint)
{
    unsigned major, minor;
    bool ours = false;
    return find_mount(mountpoint, &major, &minor, &ours) && ours;
}

void device_set_read_ahead(const char *mountpoint)
{
    unsigned major, minor;
    bool ours;
    if (!find_mount(mountpoint, &major, &minor, &ours))
        return;
    char path[128];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
    FILE *f = fopen(path, "we");
    if (!f) {
        log_debug("%s: %s", path, strerror(errno));
        return;
    }
    fprintf(f, "%d\n", READ_AHEAD_KB);
    fclose(f);
}
