#include "sync/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/prng.h"

static void close_at(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static size_t directories_above(struct slice path)
{
    size_t count = 0;
    for (size_t i = 0; i < path.size; i++)
        count += path.data[i] == '/';
    return count;
}

enum err sync_link_check(struct slice path, struct slice target, struct err_text *why)
{
    size_t above = directories_above(path);
    bool up = true;
    if (target.size == 0 || target.size > LIMIT_SYMLINK_BYTES || target.data[0] == '/' ||
        memchr(target.data, 0, target.size))
        return err_explain(why, ERR_INVAL, "a symbolic link that doesn't begin where it is");
    for (size_t from = 0, to; from < target.size; from = to + 1) {
        for (to = from; to < target.size && target.data[to] != '/';)
            to++;
        struct slice part = slice_sub(target, from, to - from);
        if (slice_equal(part, slice_str("..")) && (!up || above-- == 0))
            return err_explain(why, ERR_INVAL, "a symbolic link that may lead out of the directory");
        up = up && (slice_equal(part, slice_str("..")) || slice_equal(part, slice_str(".")) || part.size == 0);
    }
    return ERR_OK;
}

void sync_link_hash(struct slice target, struct sha256 *ret)
{
    sha256_of2(slice_str("symbolic link\n"), target, ret);
}

enum err sync_link_read(int base, struct slice path, struct arena *arena, struct slice *ret)
{
    char name[LIMIT_NAME_BYTES + 1], target[LIMIT_SYMLINK_BYTES + 1];
    enum err e = ERR_OK;
    _cleanup_(close_at) int directory = sync_local_open_directory(base, path, false, false, &e);
    if (directory < 0)
        return e;
    sync_local_last_part(path, name);
    ssize_t size = readlinkat(directory, name, target, sizeof target);
    if (size < 0)
        return err_from_errno(errno);
    if (size > (ssize_t)LIMIT_SYMLINK_BYTES)
        return ERR_NAMETOOLONG;
    *ret = arena_slice(arena, SLICE((const uint8_t *)target, (size_t)size));
    return ERR_OK;
}

enum err sync_link_make(int base, struct slice path, struct slice target, const struct sync_identity *was)
{
    char name[LIMIT_NAME_BYTES + 1], temporary[48], text[LIMIT_SYMLINK_BYTES + 1];
    uint64_t nonce;
    enum err e = ERR_OK;
    _cleanup_(close_at) int directory = sync_local_open_directory(base, path, false, true, &e);
    if (directory < 0)
        return e;
    CHECK(target.size <= LIMIT_SYMLINK_BYTES);
    memcpy(text, target.data, target.size);
    text[target.size] = 0;
    sync_local_last_part(path, name);
    random_bytes(&nonce, sizeof nonce);
    snprintf(temporary, sizeof temporary, SYNC_LINK_PREFIX "%0*llx", SYNC_LINK_DIGITS, (unsigned long long)nonce);
    if (symlinkat(text, directory, temporary) != 0)
        return err_from_errno(errno);
    e = sync_local_take_name(directory, temporary, name, was);
    if (e != ERR_OK)
        (void)unlinkat(directory, temporary, 0);
    else if (fsync(directory) != 0)
        e = err_from_errno(errno);
    return e;
}
