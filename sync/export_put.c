/* export_put.c: a file here becomes one on the server, or is deleted there. Nobody ever sees a part of it: it is
 * written into a file of ours first, which then takes the name, or gives its contents away. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "sync/export.h"
#include "sync/link.h"

#define LOG_MODULE "sync"
#include "base/log.h"

#define PIECE_BYTES (1u * MIB)

/* A file in .surfsync; gone when it ends, unless it was given a name. */
struct staged {
    char name[40];
    uint64_t ino, version;
};

static struct staged new_staged(void)
{
    uint8_t nonce[12];
    struct staged s = {.name = "put-"};
    random_bytes(nonce, sizeof nonce);
    for (size_t i = 0; i < sizeof nonce; i++)
        snprintf(s.name + 4 + 2 * i, 3, "%02x", nonce[i]);
    return s;
}

static enum err stage_begin(struct sync_export *x, uint32_t mode, struct staged *ret, struct open_file **ret_handle)
{
    struct meta_attr attr;
    bool keep_cache;
    struct staged s = new_staged();
    TRY(surf_create(x->surf, &x->caller, x->own_ino, slice_str(s.name), mode, O_WRONLY | O_EXCL, &attr, ret_handle,
                    &keep_cache));
    s.ino = attr.ino;
    s.version = attr.version;
    *ret = s;
    return ERR_OK;
}

static void stage_drop(struct sync_export *x, const struct staged *s)
{
    enum err e = surf_unlink(x->surf, &x->caller, x->own_ino, slice_str(s->name));
    if (e != ERR_OK && e != ERR_NOENT)
        log_debug("%s stays: %s", s->name, err_message(e));
}

/* ---- contents ---- */

static enum err send_contents(struct sync_export *x, int fd, struct open_file *handle, struct sync_hasher *h)
{
    _cleanup_free_ uint8_t *piece = mem_alloc(PIECE_BYTES);
    for (uint64_t offset = 0;;) {
        ssize_t n = read(fd, piece, PIECE_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : file_flush(handle, x->cancel);
        sync_hasher_add(h, SLICE(piece, n));
        if (h->too_many)
            return ERR_FBIG;
        TRY(file_write(handle, offset, piece, (size_t)n, x->cancel));
        offset += (uint64_t)n;
        x->on_bytes(x->context, (uint64_t)n);
    }
}

/* AGAIN when it is not what was looked at, before or afterwards. */
static enum err send_file(struct sync_export *x, int base, const struct sync_local *local, struct open_file *handle,
                          struct sync_hasher *h)
{
    struct sync_identity before, after;
    uint32_t mode;
    enum err e = ERR_OK;
    int fd = sync_local_open_file(base, local->path, &before, &mode, &e);
    if (fd < 0)
        return e == ERR_NOENT ? ERR_AGAIN : e;
    e = send_contents(x, fd, handle, h);
    close(fd);
    TRY(e);
    fd = sync_local_open_file(base, local->path, &after, &mode, &e);
    if (fd < 0)
        return e == ERR_NOENT ? ERR_AGAIN : e;
    close(fd);
    bool same = sync_identity_equal(&before, &after) && sync_identity_equal(&before, &local->identity);
    return same ? ERR_OK : ERR_AGAIN;
}

/* ---- taking effect ---- */

/* Bits that are not permission bits stay. */
static enum err set_attributes(struct sync_export *x, uint64_t ino, uint32_t mode, int64_t mtime_ns)
{
    struct surf_setattr set = {.mask = META_SET_MODE | META_SET_MTIME, .mode = mode, .mtime_ns = mtime_ns};
    struct meta_attr attr;
    TRY(surf_getattr(x->surf, &x->caller, ino, &attr));
    set.mode = (attr.mode & 07000) | (mode & 0777);
    TRY(surf_setattr(x->surf, &x->caller, ino, &set, &attr));
    sync_export_saw(x, &attr);
    return ERR_OK;
}

enum err sync_export_give(struct sync_export *x, const struct sync_step *step)
{
    return set_attributes(x, step->remote->ino, step->local->mode, step->local->identity.mtime_ns);
}

static enum err give_contents(struct sync_export *x, struct staged *s, const struct sync_step *step)
{
    struct meta_attr attr;
    enum err e = surf_take(x->surf, &x->caller, s->ino, step->remote->ino, step->remote->at, step->version, &attr);
    if (e != ERR_OK)
        return e == ERR_STALE ? ERR_VERSION : e;
    sync_export_saw(x, &attr);
    /* The contents are there in any case; who removes the file now makes this fail. */
    e = set_attributes(x, step->remote->ino, step->local->mode, step->local->identity.mtime_ns);
    return e == ERR_STALE || e == ERR_NOENT ? ERR_OK : e;
}

/* A version that is higher than the one wanted (of contents that took several commits) can't be lowered: then the
 * contents go to a fresh inode. */
static enum err set_version(struct sync_export *x, struct staged *s, uint32_t mode, uint64_t version)
{
    struct meta_attr attr;
    if (s->version > version) {
        struct staged fresh;
        struct open_file *handle;
        TRY(stage_begin(x, mode, &fresh, &handle));
        file_close(handle);
        enum err e = surf_take(x->surf, &x->caller, s->ino, fresh.ino, fresh.version, version, &attr);
        stage_drop(x, e == ERR_OK ? s : &fresh);
        TRY(e);
        *s = fresh;
    } else if (s->version < version) {
        TRY(surf_take(x->surf, &x->caller, s->ino, s->ino, s->version, version, &attr));
    }
    s->version = version;
    return ERR_OK;
}

/* The directory to put it into, which has no empty directory under this name any more. */
static enum err make_room(struct sync_export *x, struct slice path, uint64_t *ret)
{
    TRY(sync_export_directory(x, sync_path_directory(path), ret));
    if (!map_bytes_get(&x->directories, path))
        return ERR_OK;
    TRY(surf_rmdir(x->surf, &x->caller, *ret, sync_path_name(path)));
    map_bytes_remove(&x->directories, path);
    return ERR_OK;
}

/* Links have no versions to go by: who changes one in the moment between this and the next step is overwritten. */
static enum err is_still_there(struct sync_export *x, uint64_t directory, const struct sync_step *step)
{
    struct meta_attr attr;
    enum err e = surf_lookup(x->surf, &x->caller, directory, sync_path_name(step->path), &attr);
    if (e == ERR_OK && (attr.ino != step->remote->ino || attr.version != step->remote->at))
        e = ERR_VERSION;
    return e == ERR_NOENT ? ERR_VERSION : e;
}

/* Over what is there, where that or this is a link, and else where nothing is. */
static enum err take_name(struct sync_export *x, const struct staged *s, const struct sync_step *step)
{
    uint64_t directory;
    bool replaces = step->remote && step->remote->there;
    pthread_mutex_lock(&x->lock);
    enum err e = make_room(x, step->path, &directory);
    pthread_mutex_unlock(&x->lock);
    TRY(e);
    if (replaces)
        TRY(is_still_there(x, directory, step));
    e = surf_rename(x->surf, &x->caller, x->own_ino, slice_str(s->name), directory, sync_path_name(step->path),
                    replaces ? 0 : META_RENAME_NOREPLACE);
    if (e == ERR_EXIST)
        return ERR_VERSION;
    TRY(e);
    pthread_mutex_lock(&x->lock);
    x->named_ino = s->ino;
    sync_tombstone_remove(x, step->path);
    pthread_mutex_unlock(&x->lock);
    return ERR_OK;
}

static enum err give_name(struct sync_export *x, struct staged *s, const struct sync_step *step)
{
    TRY(set_version(x, s, step->local->mode, step->version));
    TRY(set_attributes(x, s->ino, step->local->mode, step->local->identity.mtime_ns));
    return take_name(x, s, step);
}

static enum err put_link(struct sync_export *x, int base, const struct sync_step *step, struct sync_sent *ret)
{
    const struct sync_local *local = step->local;
    struct staged s = new_staged();
    struct arena arena = {0};
    struct meta_attr attr;
    struct slice now = {0};
    enum err e = sync_link_read(base, step->path, &arena, &now);
    bool same = e == ERR_OK && slice_equal(now, local->target);
    arena_free(&arena);
    if (!same)
        return ERR_AGAIN;
    TRY(surf_symlink(x->surf, &x->caller, x->own_ino, slice_str(s.name), local->target, &attr));
    s.ino = attr.ino;
    e = take_name(x, &s, step);
    if (e != ERR_OK) {
        stage_drop(x, &s);
        return e;
    }
    *ret = (struct sync_sent){.hashes = local->hashes, .hash_count = local->hash_count};
    return ERR_OK;
}

enum err sync_export_put(struct sync_export *x, int base, const struct sync_step *step, struct sync_sent *ret)
{
    struct staged s;
    struct open_file *handle;
    struct sync_hasher h;
    struct meta_attr attr;
    bool replaces = step->remote && step->remote->there && !step->remote->is_link, named = false;
    if (step->local->is_link)
        return put_link(x, base, step, ret);
    TRY(stage_begin(x, step->local->mode, &s, &handle));
    sync_hasher_begin(&h, x->arena, x->block_bytes);
    enum err e = send_file(x, base, step->local, handle, &h);
    sync_export_end_hasher(x, &h);
    file_close(handle);
    if (e == ERR_OK)
        e = surf_getattr(x->surf, &x->caller, s.ino, &attr);
    if (e == ERR_OK) {
        s.version = attr.version;
        e = replaces ? give_contents(x, &s, step) : give_name(x, &s, step);
        named = e == ERR_OK && !replaces;
    }
    if (!named)
        stage_drop(x, &s);
    TRY(e);
    uint64_t ino = replaces ? step->remote->ino : s.ino;
    *ret = (struct sync_sent){.ino = ino, .hashes = h.hashes, .hash_count = h.count};
    return ERR_OK;
}

/* ---- deleting ---- */

void sync_export_remove_directories(struct sync_export *x, int base, struct slice path)
{
    for (; path.size > 0; path = sync_path_directory(path)) {
        struct sync_directory *d = map_bytes_get(&x->directories, path);
        struct sync_directory *parent = map_bytes_get(&x->directories, sync_path_directory(path));
        if (!d || !parent)
            return;
        if (sync_local_is_directory(base, path)) {
            bytes_blob(&x->left_directories, path);
            return;
        }
        if (surf_rmdir(x->surf, &x->caller, parent->ino, sync_path_name(path)) != ERR_OK)
            return;
        map_bytes_remove(&x->directories, path);
    }
}

enum err sync_export_delete(struct sync_export *x, int base, const struct sync_step *step)
{
    struct slice path = step->path;
    const struct sync_remote *r = step->remote;
    if (r && r->there) {
        pthread_mutex_lock(&x->lock);
        const struct sync_directory *d = map_bytes_get(&x->directories, sync_path_directory(path));
        uint64_t directory = d ? d->ino : 0;
        pthread_mutex_unlock(&x->lock);
        enum err e = !directory
                         ? ERR_NOENT
                         : surf_unlink_version(x->surf, &x->caller, directory, sync_path_name(path), r->ino, r->at);
        /* Whoever else deleted it may not have left a tombstone. */
        if (e != ERR_OK && e != ERR_NOENT && e != ERR_STALE)
            return e;
    }
    TRY(sync_tombstone_put(x, path, step->version));
    pthread_mutex_lock(&x->lock);
    sync_export_remove_directories(x, base, sync_path_directory(path));
    pthread_mutex_unlock(&x->lock);
    return ERR_OK;
}
