#include "snapshot/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "raftlog/raftlog.h"
#include "snapshot/file.h"
#include "snapshot/state_dir.h"

#define MANIFEST_NAME "manifest"
#define FILES_NAME "files"

struct snapshot_sink {
    char path[PATH_MAX], files[PATH_MAX];
    struct snapshot_manifest manifest;
    uint64_t *have; /* bytes that are there, by file */
    unsigned next;  /* the first file that is not complete */
    int fd;         /* of the file `next`; -1: not open */
};

static void close_file(struct snapshot_sink *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void skip_complete(struct snapshot_sink *s)
{
    while (s->next < s->manifest.count && s->have[s->next] == s->manifest.files[s->next].size) {
        close_file(s);
        s->next++;
    }
}

static enum err make_directory(const char *path, struct err_text *why)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return ERR_OK;
    return err_explain(why, err_from_errno(errno), "%.200s can't be made: %s", path, strerror(errno));
}

/* Whether DIR holds pieces of the very same manifest. */
static bool is_same(const struct snapshot_sink *s, struct slice manifest)
{
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    struct err_text why;
    _cleanup_(bytes_free) struct bytes stored = {0};
    if (files->open_dir(files->context, s->path, &dir, &why) != ERR_OK)
        return false;
    enum err e = small_file_read(files, dir, MANIFEST_NAME, SNAPSHOT_MANIFEST_BYTES_MAX, &stored, &why);
    files->close_dir(files->context, dir);
    return e == ERR_OK && slice_equal(bytes_slice(&stored), manifest);
}

static enum err begin_anew(struct snapshot_sink *s, struct slice manifest, struct err_text *why)
{
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    enum err e = state_dir_remove(s->files);
    if (e == ERR_OK)
        e = state_dir_remove(s->path);
    if (e != ERR_OK)
        return err_explain(why, e, "%.200s can't be removed: %s", s->path, err_message(e));
    TRY(make_directory(s->path, why));
    TRY(make_directory(s->files, why));
    TRY(files->open_dir(files->context, s->path, &dir, why));
    e = small_file_write(files, dir, MANIFEST_NAME, manifest);
    files->close_dir(files->context, dir);
    return e == ERR_OK ? ERR_OK : err_explain(why, e, "%.200s can't be written: %s", s->path, err_message(e));
}

/* How far one file is there; it is made when it is missing, since it may be empty in the snapshot. One that is longer
 * than it shall be is begun anew. */
static enum err measure(struct snapshot_sink *s, unsigned file, struct err_text *why)
{
    char path[PATH_MAX];
    struct stat stat_of;
    file_path(path, s->files, s->manifest.files[file].name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_explain(why, err_from_errno(errno), "%.200s: %s", path, strerror(errno));
    bool ok = fstat(fd, &stat_of) == 0;
    s->have[file] = ok ? (uint64_t)stat_of.st_size : 0;
    if (ok && s->have[file] > s->manifest.files[file].size) {
        s->have[file] = 0;
        ok = ftruncate(fd, 0) == 0;
    }
    int reason = errno;
    close(fd);
    return ok ? ERR_OK : err_explain(why, err_from_errno(reason), "%.200s: %s", path, strerror(reason));
}

static enum err prepare(struct snapshot_sink *s, struct slice manifest, struct err_text *why)
{
    if (!is_same(s, manifest))
        TRY(begin_anew(s, manifest, why));
    TRY(make_directory(s->files, why));
    for (unsigned i = 0; i < s->manifest.count; i++)
        TRY(measure(s, i, why));
    skip_complete(s);
    return ERR_OK;
}

enum err snapshot_sink_open(const char *path, struct slice manifest, struct snapshot_sink **ret, struct err_text *why)
{
    struct snapshot_manifest decoded;
    if (snapshot_manifest_decode(manifest, &decoded) != ERR_OK)
        return err_explain(why, ERR_CORRUPT, "the manifest of a snapshot can't be read");
    struct snapshot_sink *s = MEM_NEW(struct snapshot_sink);
    s->fd = -1;
    s->manifest = decoded;
    s->have = mem_zalloc((decoded.count + 1) * sizeof *s->have);
    snprintf(s->path, sizeof s->path, "%s", path);
    file_path(s->files, path, FILES_NAME);
    enum err e = prepare(s, manifest, why);
    if (e != ERR_OK) {
        snapshot_sink_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void snapshot_sink_close(struct snapshot_sink *s)
{
    if (!s)
        return;
    close_file(s);
    snapshot_manifest_free(&s->manifest);
    free(s->have);
    free(s);
}

const struct snapshot_manifest *snapshot_sink_manifest(const struct snapshot_sink *s)
{
    return &s->manifest;
}

bool snapshot_sink_next(const struct snapshot_sink *s, unsigned *ret_file, uint64_t *ret_offset)
{
    if (s->next == s->manifest.count)
        return false;
    *ret_file = s->next;
    *ret_offset = s->have[s->next];
    return true;
}

uint64_t snapshot_sink_bytes(const struct snapshot_sink *s)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < s->manifest.count; i++)
        total += s->have[i];
    return total;
}

enum err snapshot_sink_write(struct snapshot_sink *s, unsigned file, uint64_t offset, struct slice data)
{
    if (s->next == s->manifest.count || file != s->next || offset != s->have[file])
        return ERR_OK; /* late or doubled */
    if (data.size == 0 || data.size > s->manifest.files[file].size - offset)
        return ERR_INVAL;
    if (s->fd < 0) {
        char path[PATH_MAX];
        file_path(path, s->files, s->manifest.files[file].name);
        s->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (s->fd < 0)
            return err_from_errno(errno);
    }
    for (size_t done = 0; done < data.size;) {
        ssize_t put = pwrite(s->fd, data.data + done, data.size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? err_from_errno(errno) : ERR_IO;
        done += (size_t)put;
    }
    s->have[file] += data.size;
    skip_complete(s);
    return ERR_OK;
}

/* One file against the manifest, and onto the disk. */
static enum err check_file(struct snapshot_sink *s, unsigned file, struct err_text *why)
{
    char path[PATH_MAX];
    const struct snapshot_file *f = &s->manifest.files[file];
    uint64_t checksum = 0, size = 0;
    file_path(path, s->files, f->name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_explain(why, err_from_errno(errno), "%.200s: %s", path, strerror(errno));
    enum err e = file_checksum(fd, &checksum, &size);
    bool matches = e == ERR_OK && size == f->size && checksum == f->checksum;
    if (matches && fsync(fd) != 0)
        e = ERR_IO;
    if (e == ERR_OK && !matches && ftruncate(fd, 0) != 0)
        e = ERR_IO;
    close(fd);
    if (e != ERR_OK)
        return err_explain(why, e, "%.200s: %s", path, err_message(e));
    if (matches)
        return ERR_OK;
    s->have[file] = 0;
    return err_explain(why, ERR_CORRUPT, "%.100s is not what the snapshot has (%llu bytes)", f->name,
                       (unsigned long long)size);
}

enum err snapshot_sink_finish(struct snapshot_sink *s, const char **ret_path, struct err_text *why)
{
    CHECK(s->next == s->manifest.count);
    close_file(s);
    enum err result = ERR_OK;
    for (unsigned i = 0; i < s->manifest.count; i++) {
        enum err e = check_file(s, i, why);
        if (e == ERR_CORRUPT)
            result = e; /* the rest is looked at all the same */
        else if (e != ERR_OK)
            return e;
    }
    if (result != ERR_OK) {
        s->next = 0;
        skip_complete(s);
        return result;
    }
    enum err e = file_sync_directory(s->files);
    if (e != ERR_OK)
        return err_explain(why, e, "%.200s can't be synced", s->files);
    *ret_path = s->files;
    return ERR_OK;
}
