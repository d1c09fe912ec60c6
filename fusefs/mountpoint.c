#include "fusefs/mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
        char device[32], point[PATH_MAX];
        if (sscanf(line, "%*s %*s %31s %*s %4095s", device, point) != 2)
            continue;
        unescape(point);
        const char *type = strstr(line, " - ");
        if (strcmp(point, path) != 0 || !type)
            continue;
        found = true;
        snprintf(ret->device, sizeof ret->device, "%s", device);
        if (sscanf(type + 3, "%63s", ret->type) != 1)
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

enum err mountpoint_check(char *path, size_t size, bool want_mounted, struct err_text *why)
{
    TRY(make_absolute(path, size, why));
    struct mount_line m;
    bool mounted = find_mount(path, &m) && is_ours(&m);
    if (want_mounted)
        return mounted ? ERR_OK : err_explain(why, ERR_INVAL, "mountpoint %.180s: no SurfFS is mounted there", path);
    if (mounted)
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
