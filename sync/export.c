/* export.c: looking at the tree on the server. */
#include "sync/export.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel.h"
#include "sync/link.h"

#define PAGE 512u

struct slice sync_path_name(struct slice path)
{
    size_t from = path.size;
    while (from > 0 && path.data[from - 1] != '/')
        from--;
    return slice_sub(path, from, path.size - from);
}

struct slice sync_path_directory(struct slice path)
{
    size_t name = sync_path_name(path).size;
    return name == path.size ? SLICE("", 0) : slice_sub(path, 0, path.size - name - 1);
}

void sync_export_free(struct sync_export *x)
{
    map_bytes_free(&x->directories);
    map_bytes_free(&x->tombstones);
    pthread_mutex_destroy(&x->lock);
    bytes_free(&x->left_directories);
}

void sync_export_saw(struct sync_export *x, const struct meta_attr *attr)
{
    pthread_mutex_lock(&x->lock);
    x->newest_ns = MAX(x->newest_ns, attr->ctime_ns);
    pthread_mutex_unlock(&x->lock);
}

void sync_export_end_hasher(struct sync_export *x, struct sync_hasher *h)
{
    pthread_mutex_lock(&x->lock);
    sync_hasher_end(h);
    pthread_mutex_unlock(&x->lock);
}

int64_t sync_export_newest_ns(struct sync_export *x)
{
    struct meta_attr attr;
    pthread_mutex_lock(&x->lock);
    uint64_t ino = x->named_ino;
    x->named_ino = 0;
    pthread_mutex_unlock(&x->lock);
    if (ino != 0 && surf_getattr(x->surf, &x->caller, ino, &attr) == ERR_OK)
        sync_export_saw(x, &attr);
    pthread_mutex_lock(&x->lock);
    int64_t newest_ns = x->newest_ns;
    pthread_mutex_unlock(&x->lock);
    return newest_ns;
}

static void add_directory(struct sync_export *x, struct slice path, uint64_t ino, uint32_t mode)
{
    struct sync_directory *d = arena_zalloc(x->arena, sizeof *d);
    *d = (struct sync_directory){.ino = ino, .path = path, .mode = mode};
    map_bytes_put(&x->directories, path, d);
}

static struct slice join(struct arena *arena, struct slice directory, struct slice name)
{
    size_t prefix = directory.size > 0 ? directory.size + 1 : 0;
    uint8_t *path = arena_alloc(arena, prefix + name.size + 1);
    if (prefix > 0) {
        memcpy(path, directory.data, directory.size);
        path[directory.size] = '/';
    }
    memcpy(path + prefix, name.data, name.size);
    return SLICE(path, prefix + name.size);
}

/* ---- the walk ---- */

struct walk {
    struct sync_export *x;
    struct sync_directory **queue; /* those that were found; they are read in this order */
    size_t queued, queue_capacity, at;
    struct sync_remote *list;
    size_t count, capacity;
};

static void push(struct walk *w, struct slice path, uint64_t ino, uint32_t mode)
{
    add_directory(w->x, path, ino, mode);
    if (w->queued == w->queue_capacity) {
        w->queue_capacity = MAX(2 * w->queue_capacity, (size_t)64);
        w->queue = mem_realloc(w->queue, w->queue_capacity * sizeof(struct sync_directory *));
    }
    w->queue[w->queued++] = map_bytes_get(&w->x->directories, path);
}

static void add_remote(struct walk *w, const struct sync_remote *r)
{
    if (w->count == w->capacity) {
        w->capacity = MAX(2 * w->capacity, (size_t)64);
        w->list = mem_realloc(w->list, w->capacity * sizeof *w->list);
    }
    w->list[w->count++] = *r;
}

static void add_file(struct walk *w, struct slice path, const struct meta_attr *a)
{
    add_remote(w, &(struct sync_remote){.path = path,
                                        .there = true,
                                        .version = sync_version_of(a),
                                        .tombstone = sync_tombstone_version(w->x, path),
                                        .ino = a->ino,
                                        .at = a->version,
                                        .size = a->size,
                                        .mode = a->mode & 0777,
                                        .mtime_ns = a->mtime_ns,
                                        .ctime_ns = a->ctime_ns});
}

/* One that may lead elsewhere is left alone, and so is one that can't be read. */
static void add_link(struct walk *w, struct slice path, const struct meta_attr *a)
{
    struct sync_export *x = w->x;
    struct err_text why;
    struct slice target;
    enum err e = surf_readlink(x->surf, &x->caller, a->ino, x->arena, &target);
    if (e == ERR_NOENT || e == ERR_STALE)
        return;
    if (e != ERR_OK)
        (void)err_explain(&why, e, "the symbolic link on the server can't be read: %s", err_message(e));
    else
        e = sync_link_check(path, target, &why);
    if (e != ERR_OK) {
        x->on_left_out(x->context, path, e, why.text);
        return;
    }
    add_file(w, path, a);
    w->list[w->count - 1].is_link = true;
    w->list[w->count - 1].target = target;
}

/* The names are the server's, which may be anything: what can't be a name here is left out. */
static void take_entry(struct walk *w, const struct sync_directory *parent, const struct meta_dirent *entry)
{
    struct sync_export *x = w->x;
    struct err_text why;
    if (memchr(entry->name.data, '/', entry->name.size))
        return;
    if (entry->name.size >= strlen(SYNC_OWN_PREFIX) &&
        memcmp(entry->name.data, SYNC_OWN_PREFIX, strlen(SYNC_OWN_PREFIX)) == 0)
        return;
    struct slice path = join(x->arena, parent->path, entry->name);
    x->newest_ns = MAX(x->newest_ns, entry->attr.ctime_ns);
    bool link = S_ISLNK(entry->attr.mode) && x->links;
    if (!S_ISREG(entry->attr.mode) && !S_ISDIR(entry->attr.mode) && !link)
        x->on_left_out(x->context, path, ERR_OK,
                       S_ISLNK(entry->attr.mode) ? "a symbolic link on the server is not followed"
                                                 : "it is no regular file on the server");
    else if (sync_path_check(path, &why) != ERR_OK)
        x->on_left_out(x->context, path, ERR_INVAL, why.text);
    else if (S_ISDIR(entry->attr.mode))
        push(w, path, entry->attr.ino, entry->attr.mode);
    else if (link)
        add_link(w, path, &entry->attr);
    else
        add_file(w, path, &entry->attr);
}

static enum err list_directory(struct walk *w, const struct sync_directory *d)
{
    struct arena arena = {0};
    struct meta_query_reply page = {0};
    uint64_t cookie = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && !page.end) {
        arena_reset(&arena);
        if (w->x->cancel && rpc_cancel_fired(w->x->cancel))
            e = ERR_CANCELLED;
        else
            e = surf_readdir(w->x->surf, &w->x->caller, d->ino, cookie, PAGE, true, &arena, &page);
        for (unsigned i = 0; e == ERR_OK && i < page.entry_count; i++) {
            cookie = page.entries[i].cookie;
            take_entry(w, d, &page.entries[i]);
        }
    }
    arena_free(&arena);
    /* Removed meanwhile: then its files are too. */
    return e == ERR_STALE && d->path.size > 0 ? ERR_OK : e;
}

static int by_path(const void *a, const void *b)
{
    return slice_compare(((const struct sync_remote *)a)->path, ((const struct sync_remote *)b)->path);
}

static enum err find_own(struct sync_export *x)
{
    struct meta_attr attr;
    enum err e = surf_lookup(x->surf, &x->caller, META_ROOT_INO, slice_str(SYNC_OWN_DIRECTORY), &attr);
    if (e == ERR_OK) {
        x->own_ino = attr.ino;
        e = surf_lookup(x->surf, &x->caller, x->own_ino, slice_str(SYNC_DELETED_DIRECTORY), &attr);
        x->deleted_ino = e == ERR_OK ? attr.ino : 0;
    }
    return e == ERR_NOENT ? ERR_OK : e;
}

/* ---- what runs that were killed have left behind ---- */

#define LEFT_NS (24 * 3600 * NS_PER_S)

/* In .surfsync; what is younger may be somebody's at work. */
static enum err remove_left(struct sync_export *x)
{
    struct arena arena = {0};
    struct meta_query_reply page = {0};
    uint64_t cookie = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && !page.end && x->own_ino != 0) {
        arena_reset(&arena);
        e = surf_readdir(x->surf, &x->caller, x->own_ino, cookie, PAGE, true, &arena, &page);
        for (unsigned i = 0; e == ERR_OK && i < page.entry_count; i++) {
            const struct meta_attr *a = &page.entries[i].attr;
            cookie = page.entries[i].cookie;
            if (S_ISREG(a->mode) && a->ctime_ns < x->newest_ns - LEFT_NS)
                e = surf_unlink(x->surf, &x->caller, x->own_ino, page.entries[i].name);
        }
    }
    arena_free(&arena);
    return e == ERR_NOENT || e == ERR_STALE ? ERR_OK : e;
}

/* ---- files that were replaced by others of the same version ---- */

/* Which contents a file of a version has is settled, unless it was deleted (or renamed) and another one put in its
 * place through a mount, where nothing makes that one's versions go on from the old one's. Something of it has changed
 * then since the index was written, which is rare enough to look at the contents. */
static enum err look_closer(struct sync_export *x, const struct sync_index *index, struct sync_remote *r)
{
    const struct sync_row *row = sync_index_find(index, r->path);
    struct meta_attr attr;
    struct sync_sent now;
    if (!row || row->deleted || row->version != r->version)
        return ERR_OK;
    if (r->is_link) { /* all of them have the same version */
        struct sha256 hash;
        sync_link_hash(r->target, &hash);
        r->replaced = !sync_hashes_equal(&hash, 1, row->hashes, row->hash_count);
        return ERR_OK;
    }
    if (index->as_of_ns == 0 || r->ctime_ns <= index->as_of_ns)
        return ERR_OK;
    enum err e = sync_export_read(x, r->ino, -1, &attr, &now);
    if (e == ERR_AGAIN || e == ERR_STALE || e == ERR_NOENT)
        return ERR_OK; /* it has another version by now, and who is to change it will be told */
    TRY(e);
    r->replaced = !sync_hashes_equal(now.hashes, now.hash_count, row->hashes, row->hash_count);
    return ERR_OK;
}

/* False: it was there. */
static bool note_known(struct arena *arena, struct map_bytes *known, struct slice path)
{
    struct sha256 *hash = arena_alloc(arena, sizeof *hash);
    sha256_of(path, hash);
    if (map_bytes_get(known, SLICE(hash->bytes, SHA256_SIZE)))
        return false;
    map_bytes_put(known, SLICE(hash->bytes, SHA256_SIZE), hash);
    return true;
}

/* Those of paths in the index need no question. */
static enum err add_tombstones(struct walk *w, const struct sync_index *index)
{
    struct sync_export *x = w->x;
    struct map_bytes known = {0};
    struct arena arena = {0};
    for (size_t i = 0; i < w->count; i++)
        (void)note_known(&arena, &known, w->list[i].path);
    for (size_t i = 0; i < index->count; i++) {
        uint64_t version = sync_tombstone_version(x, index->rows[i].path);
        if (version > 0 && note_known(&arena, &known, index->rows[i].path))
            add_remote(w, &(struct sync_remote){.path = index->rows[i].path, .tombstone = version});
    }
    enum err e = sync_tombstones_unknown(x, &known, &w->list, &w->count, &w->capacity);
    map_bytes_free(&known);
    arena_free(&arena);
    return e;
}

static enum err walk_all(struct walk *w)
{
    enum err e = ERR_OK;
    push(w, SLICE("", 0), META_ROOT_INO, 0);
    while (e == ERR_OK && w->at < w->queued)
        e = list_directory(w, w->queue[w->at++]);
    return e;
}

static void give_list(struct walk *w, enum err e, struct sync_remote **ret, size_t *ret_count)
{
    if (e == ERR_OK) {
        if (w->count > 1)
            qsort(w->list, w->count, sizeof *w->list, by_path);
        *ret = arena_alloc(w->x->arena, (w->count + 1) * sizeof **ret);
        if (w->count > 0)
            memcpy(*ret, w->list, w->count * sizeof **ret);
        *ret_count = w->count;
    }
    free(w->list);
    free(w->queue);
}

static void keep_listed(const struct walk *w)
{
    struct sync_export *x = w->x;
    x->listed = arena_alloc(x->arena, w->queued * sizeof *x->listed);
    for (size_t i = 1; i < w->queued; i++)
        x->listed[x->listed_count++] = *w->queue[i];
}

enum err sync_export_list(struct sync_export *x, const struct sync_index *index, struct sync_remote **ret,
                          size_t *ret_count, struct err_text *why)
{
    struct walk w = {.x = x};
    enum err e = find_own(x);
    if (e == ERR_OK)
        e = sync_tombstones_list(x);
    if (e == ERR_OK)
        e = walk_all(&w);
    if (e == ERR_OK && !x->looks_only)
        e = remove_left(x);
    for (size_t i = 0; e == ERR_OK && i < w.count; i++)
        e = look_closer(x, index, &w.list[i]);
    if (e == ERR_OK)
        e = add_tombstones(&w, index);
    if (e == ERR_OK)
        keep_listed(&w);
    give_list(&w, e, ret, ret_count);
    return e == ERR_OK ? e : err_explain(why, e, "the tree on the server can't be read: %s", err_message(e));
}

enum err sync_export_look_again(struct sync_export *x, struct sync_remote **ret, size_t *ret_count)
{
    struct walk w = {.x = x};
    enum err e = walk_all(&w);
    give_list(&w, e, ret, ret_count);
    return e;
}

/* ---- directories ---- */

enum err sync_export_directory(struct sync_export *x, struct slice path, uint64_t *ret)
{
    struct sync_directory *d = map_bytes_get(&x->directories, path);
    struct meta_attr attr;
    uint64_t parent;
    if (d) {
        *ret = d->ino;
        return ERR_OK;
    }
    TRY(sync_export_directory(x, sync_path_directory(path), &parent));
    enum err e = surf_mkdir(x->surf, &x->caller, parent, sync_path_name(path), 0777, &attr);
    if (e == ERR_EXIST)
        e = surf_lookup(x->surf, &x->caller, parent, sync_path_name(path), &attr);
    TRY(e);
    if (!S_ISDIR(attr.mode))
        return ERR_NOTDIR;
    add_directory(x, path, attr.ino, attr.mode);
    *ret = attr.ino;
    return ERR_OK;
}

enum err sync_export_own(struct sync_export *x, uint64_t *ret)
{
    struct meta_attr attr;
    if (x->own_ino == 0) {
        struct slice name = slice_str(SYNC_OWN_DIRECTORY);
        enum err e = surf_mkdir(x->surf, &x->caller, META_ROOT_INO, name, 0700, &attr);
        if (e == ERR_EXIST)
            e = surf_lookup(x->surf, &x->caller, META_ROOT_INO, name, &attr);
        TRY(e);
        x->own_ino = attr.ino;
    }
    *ret = x->own_ino;
    return ERR_OK;
}
