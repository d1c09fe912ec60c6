#include "snapshot/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "snapshot/file.h"

struct snapshot_source {
    char path[PATH_MAX];
    struct snapshot_manifest manifest;
    int open_file; /* index of the file that fd is of */
    int fd;        /* -1: none */
};

static enum err add_file(struct snapshot_source *s, const char *name, struct err_text *why)
{
    char path[PATH_MAX];
    struct snapshot_manifest *m = &s->manifest;
    if (m->count == SNAPSHOT_FILES_MAX)
        return err_explain(why, ERR_TOO_BIG, "%.150s has more than %u files", s->path, SNAPSHOT_FILES_MAX);
    if (!snapshot_name_is_plain(slice_str(name)))
        return err_explain(why, ERR_INVAL, "%.150s holds %.80s, which no snapshot does", s->path, name);
    file_path(path, s->path, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_explain(why, err_from_errno(errno), "%.200s: %s", path, strerror(errno));
    struct snapshot_file *f = &m->files[m->count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    enum err e = file_checksum(fd, &f->checksum, &f->size);
    close(fd);
    return e == ERR_OK ? ERR_OK : err_explain(why, e, "%.200s can't be read", path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_file *)a)->name, ((const struct snapshot_file *)b)->name);
}

static enum err list_files(struct snapshot_source *s, struct err_text *why)
{
    DIR *dir = opendir(s->path);
    if (!dir)
        return err_explain(why, err_from_errno(errno), "%.200s: %s", s->path, strerror(errno));
    enum err e = ERR_OK;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            e = add_file(s, entry->d_name, why);
    closedir(dir);
    qsort(s->manifest.files, s->manifest.count, sizeof *s->manifest.files, by_name);
    return e;
}

enum err snapshot_source_open(const char *path, uint64_t index, uint64_t term, struct snapshot_source **ret,
                              struct err_text *why)
{
    struct snapshot_source *s = MEM_NEW(struct snapshot_source);
    snprintf(s->path, sizeof s->path, "%s", path);
    s->fd = -1;
    s->manifest = (struct snapshot_manifest){.index = index, .term = term};
    s->manifest.files = mem_zalloc(SNAPSHOT_FILES_MAX * sizeof *s->manifest.files);
    enum err e = list_files(s, why);
    if (e != ERR_OK) {
        snapshot_source_close(s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}

void snapshot_source_close(struct snapshot_source *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    snapshot_manifest_free(&s->manifest);
    free(s);
}

const struct snapshot_manifest *snapshot_source_manifest(const struct snapshot_source *s)
{
    return &s->manifest;
}

static enum err use_file(struct snapshot_source *s, unsigned file)
{
    if (s->fd >= 0 && s->open_file == (int)file)
        return ERR_OK;
    char path[PATH_MAX];
    if (s->fd >= 0)
        close(s->fd);
    file_path(path, s->path, s->manifest.files[file].name);
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    s->open_file = (int)file;
    return s->fd >= 0 ? ERR_OK : ERR_IO;
}

enum err snapshot_source_read(struct snapshot_source *s, unsigned file, uint64_t offset, struct bytes *to)
{
    if (file >= s->manifest.count || offset > s->manifest.files[file].size)
        return ERR_INVAL;
    TRY(use_file(s, file));
    uint64_t left = s->manifest.files[file].size - offset;
    size_t size = left < SNAPSHOT_CHUNK_BYTES ? (size_t)left : SNAPSHOT_CHUNK_BYTES;
    bytes_clear(to);
    uint8_t *at = bytes_extend(to, size);
    for (size_t have = 0; have < size;) {
        ssize_t got = pread(s->fd, at + have, size - have, (off_t)(offset + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        have += (size_t)got;
    }
    return ERR_OK;
}
