#include "fusefs/mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* mountinfo writes blanks and backslashes as \ooo. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++, to++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to = *s;
        }
    }
    *to = 0;
}

struct mount_line {
    char device[32], type[64];
    char options[256], all_options[256]; /* of the mount, and of the file system */
};

/* The last mount on exactly this path is the one that is seen. */
static bool find_mount(const char *path, struct mount_line *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    while (getline(&line, &room, f) > 0) {
        char device[32], point[PATH_MAX], options[256];
        if (sscanf(line, "%*s %*s %31s %*s %4095s %255s", device, point, options) != 3)
            continue;
        unescape(point);
        const char *type = strstr(line, " - ");
        if (strcmp(point, path) != 0 || !type)
            continue;
        found = true;
        snprintf(ret->device, sizeof ret->device, "%s", device);
        snprintf(ret->options, sizeof ret->options, "%s", options);
        ret->all_options[0] = 0;
        if (sscanf(type + 3, "%63s %*s %255s", ret->type, ret->all_options) < 1)
            ret->type[0] = 0;
    }
    free(line);
    fclose(f);
    return found;
}

bool mountpoint_device(const char *path, char *ret, size_t size)
{
    struct mount_line m;
    if (!find_mount(path, &m))
        return false;
    snprintf(ret, size, "%s", m.device);
    return true;
}

static unsigned long flags_of(char *options)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } known[] = {{"ro", MS_RDONLY},       {"nosuid", MS_NOSUID},        {"nodev", MS_NODEV},
                 {"noexec", MS_NOEXEC},   {"sync", MS_SYNCHRONOUS},     {"dirsync", MS_DIRSYNC},
                 {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME}};
    unsigned long flags = 0;
    for (char *item; (item = strsep(&options, ","));)
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            flags |= strcmp(item, known[i].name) == 0 ? known[i].flag : 0;
    return flags;
}

unsigned long mountpoint_flags(const char *path)
{
    struct mount_line m;
    return find_mount(path, &m) ? flags_of(m.options) | flags_of(m.all_options) : 0;
}

/* Only the directory above is looked at: the mountpoint itself may be a mount that doesn't answer. */
static enum err make_absolute(char *path, size_t size, struct err_text *why)
{
    char copy[PATH_MAX], real[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = 0;
    char *slash = strrchr(copy, '/');
    char *name = slash ? slash + 1 : copy;
    int used;
    if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        if (!realpath(copy, real))
            return err_explain(why, err_from_errno(errno), "mountpoint %.180s: %s", path, strerror(errno));
        used = snprintf(path, size, "%s", real);
    } else {
        const char *above = slash == copy ? "/" : slash ? copy : ".";
        if (slash)
            *slash = 0;
        if (!realpath(*above ? above : "/", real))
            return err_explain(why, err_from_errno(errno), "mountpoint %.180s: %s", path, strerror(errno));
        used = snprintf(path, size, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    }
    if (used < 0 || (size_t)used >= size)
        return err_explain(why, ERR_NAMETOOLONG, "mountpoint %.180s: path too long", path);
    return ERR_OK;
}

static bool is_ours(const struct mount_line *m)
{
    return strcmp(m->type, "fuse.surffs") == 0;
}

/* ---- what a killed process has left ---- */

#define ASK_NS (2 * NS_PER_S)
#define POLL_NS (10 * NS_PER_MS)

/* Whether nobody serves the mount any more. Asked by a process of its own: a mount that is alive but doesn't answer
 * must not hold us up. */
static bool is_dead(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        struct statfs st;
        /* Aborted: it ends just now. */
        _exit(statfs(path, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? 0 : 1);
    }
    int status = 0;
    int64_t until_ns = clock_boot_ns() + ASK_NS;
    pid_t ended;
    while ((ended = child < 0 ? -1 : waitpid(child, &status, WNOHANG)) == 0 && clock_boot_ns() < until_ns)
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    if (ended == 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool detach(const char *path)
{
    if (umount2(path, MNT_DETACH) == 0)
        return true;
    /* Not root: the helper that has mounted it for us. */
    pid_t child;
    int status;
    char *arguments[] = {(char[]){"fusermount3"}, (char[]){"-u"}, (char[]){"-z"}, (char *)(uintptr_t)path, NULL};
    return posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ) == 0 &&
           waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A mount of ours whose process was killed: out of the way with it. */
static bool remove_dead(const char *path)
{
    struct mount_line m;
    if (!is_dead(path) || !detach(path) || (find_mount(path, &m) && is_ours(&m)))
        return false;
    fprintf(stderr, "surffs: %s: the process that served the mount there has gone; the mount is replaced\n", path);
    return true;
}

enum err mountpoint_check(char *path, size_t size, bool want_mounted, struct err_text *why)
{
    TRY(make_absolute(path, size, why));
    struct mount_line m;
    bool mounted = find_mount(path, &m) && is_ours(&m);
    if (want_mounted)
        return mounted ? ERR_OK : err_explain(why, ERR_INVAL, "mountpoint %.180s: no SurfFS is mounted there", path);
    if (mounted && !remove_dead(path))
        return err_explain(why, ERR_BUSY,
                           "mountpoint %.180s: a SurfFS is mounted there already (to remove it: umount, or umount -l)",
                           path);
    struct stat st;
    if (stat(path, &st) != 0)
        return err_explain(why, err_from_errno(errno), "mountpoint %.180s: %s", path, strerror(errno));
    /* A symbolic link may lead to a mount. */
    char real[PATH_MAX];
    if (realpath(path, real) && strcmp(real, path) != 0) {
        if (strlen(real) >= size)
            return err_explain(why, ERR_NAMETOOLONG, "mountpoint %.180s: path too long", path);
        strcpy(path, real);
        if (find_mount(path, &m) && is_ours(&m))
            return err_explain(why, ERR_BUSY, "mountpoint %.180s: a SurfFS is mounted there already", path);
    }
    if (!S_ISDIR(st.st_mode))
        return err_explain(why, ERR_NOTDIR, "mountpoint %.180s: not a directory", path);
    return ERR_OK;
}
