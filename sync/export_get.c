/* export_get.c: a file on the server becomes one here. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "sync/export.h"
#include "sync/link.h"

#define PIECE_BYTES (1u * MIB)
#define READ_TRIES 5u

static enum err read_once(struct sync_export *x, uint64_t ino, int fd, struct meta_attr *ret, struct sync_hasher *h)
{
    struct open_file *handle;
    struct meta_attr before, after;
    bool keep_cache;
    size_t size = PIECE_BYTES;
    _cleanup_free_ uint8_t *piece = mem_alloc(PIECE_BYTES);
    TRY(surf_getattr(x->surf, &x->caller, ino, &before));
    if (!S_ISREG(before.mode))
        return ERR_INVAL;
    TRY(surf_open(x->surf, &x->caller, ino, O_RDONLY, &handle, &keep_cache));
    enum err e = ERR_OK;
    for (uint64_t offset = 0; e == ERR_OK && size == PIECE_BYTES && !h->too_many; offset += size) {
        e = file_read(handle, offset, piece, PIECE_BYTES, x->cancel, &size);
        if (e != ERR_OK)
            break;
        sync_hasher_add(h, SLICE(piece, size));
        if (fd >= 0) {
            e = sync_local_write_all(fd, piece, size);
            x->on_bytes(x->context, size);
        }
    }
    file_close(handle);
    TRY(e);
    if (h->too_many)
        return ERR_FBIG;
    TRY(surf_getattr(x->surf, &x->caller, ino, &after));
    *ret = after;
    return before.version == after.version && before.nlink > 0 && after.nlink > 0 ? ERR_OK : ERR_AGAIN;
}

enum err sync_export_read(struct sync_export *x, uint64_t ino, int fd, struct meta_attr *ret_attr,
                          struct sync_sent *ret)
{
    enum err e = ERR_AGAIN;
    for (unsigned try = 0; try < READ_TRIES && e == ERR_AGAIN; try++) {
        struct sync_hasher h;
        if (fd >= 0 && sync_local_truncate(fd) != ERR_OK)
            return ERR_IO;
        sync_hasher_begin(&h, x->arena, x->block_bytes);
        e = read_once(x, ino, fd, ret_attr, &h);
        sync_export_end_hasher(x, &h);
        *ret = (struct sync_sent){.hashes = h.hashes, .hash_count = h.count};
    }
    return e;
}

/* The directory may be another by now, and so may the file. */
static enum err find(struct sync_export *x, struct slice path, uint64_t *ret, bool *ret_link)
{
    struct meta_attr attr = {.ino = META_ROOT_INO};
    size_t from = 0;
    for (size_t i = 0; i <= path.size; i++) {
        if (i < path.size && path.data[i] != '/')
            continue;
        TRY(surf_lookup(x->surf, &x->caller, attr.ino, slice_sub(path, from, i - from), &attr));
        from = i + 1;
    }
    *ret = attr.ino;
    *ret_link = S_ISLNK(attr.mode);
    return S_ISREG(attr.mode) || (*ret_link && x->links) ? ERR_OK : ERR_NOENT;
}

/* Where it leads is checked again: it may be another one than was listed. */
static enum err get_link(struct sync_export *x, int base, const struct sync_step *step, uint64_t ino,
                         struct sync_got *ret)
{
    const struct sync_local *local = step->local;
    struct slice target;
    struct sha256 hash;
    pthread_mutex_lock(&x->lock);
    enum err e = surf_readlink(x->surf, &x->caller, ino, x->arena, &target);
    struct sha256 *kept = arena_alloc(x->arena, sizeof *kept);
    pthread_mutex_unlock(&x->lock);
    if (e != ERR_OK)
        return e == ERR_STALE ? ERR_NOENT : e;
    TRY(sync_link_check(step->path, target, NULL));
    sync_link_hash(target, &hash);
    *kept = hash;
    *ret = (struct sync_got){.version = 1, .hashes = kept, .hash_count = 1};
    if (local && local->is_link && slice_equal(local->target, target))
        return ERR_OK;
    return sync_link_make(base, step->path, target, local ? &local->identity : NULL);
}

enum err sync_export_get(struct sync_export *x, int base, const struct sync_step *step, struct sync_got *ret)
{
    const struct sync_local *local = step->local;
    struct sync_temporary t;
    struct sync_sent now;
    struct meta_attr attr;
    uint64_t ino = step->remote && step->remote->there ? step->remote->ino : 0;
    bool link = ino != 0 && step->remote->is_link;
    /* Only of a conflict it isn't known which file it is now. */
    if (ino == 0 || step->action != SYNC_DOWNLOAD)
        TRY(find(x, step->path, &ino, &link));
    if (!local)
        sync_local_remove_directory(base, step->path); /* an empty one may be in its place */
    if (link)
        return get_link(x, base, step, ino, ret);
    TRY(sync_temporary_begin(base, step->path, &t));
    enum err e = sync_export_read(x, ino, t.fd, &attr, &now);
    if (e != ERR_OK) {
        sync_temporary_drop(&t);
        return e == ERR_STALE ? ERR_NOENT : e;
    }
    sync_export_saw(x, &attr);
    *ret = (struct sync_got){
        .ino = ino, .version = sync_version_of(&attr), .hashes = now.hashes, .hash_count = now.hash_count};
    if (local && !local->is_link && sync_hashes_equal(local->hashes, local->hash_count, now.hashes, now.hash_count)) {
        sync_temporary_drop(&t); /* it is here already */
        return local->is_ours ? sync_local_set_attributes(base, step->path, &local->identity, attr.mode, attr.mtime_ns)
                              : ERR_OK;
    }
    e = sync_temporary_set_mtime(&t, attr.mtime_ns);
    if (e != ERR_OK) {
        sync_temporary_drop(&t);
        return e;
    }
    return sync_temporary_commit(&t, attr.mode, local ? &local->identity : NULL);
}
