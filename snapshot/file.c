#include "snapshot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "snapshot/source.h"

enum err file_checksum(int fd, uint64_t *ret_checksum, uint64_t *ret_size)
{
    _cleanup_free_ uint8_t *piece = mem_alloc(SNAPSHOT_CHUNK_BYTES);
    uint64_t sum = 0, at = 0;
    for (;;) {
        size_t have = 0;
        while (have < SNAPSHOT_CHUNK_BYTES) {
            ssize_t got = pread(fd, piece + have, SNAPSHOT_CHUNK_BYTES - have, (off_t)(at + have));
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return ERR_IO;
            if (got == 0)
                break;
            have += (size_t)got;
        }
        if (have > 0)
            sum = checksum64(SLICE(piece, have), sum);
        at += have;
        if (have < SNAPSHOT_CHUNK_BYTES)
            break;
    }
    *ret_checksum = sum;
    *ret_size = at;
    return ERR_OK;
}

enum err file_sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    enum err e = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    close(fd);
    return e;
}

void file_path(char to[PATH_MAX], const char *directory, const char *name)
{
    CHECK(snprintf(to, PATH_MAX, "%s/%s", directory, name) < PATH_MAX);
}
