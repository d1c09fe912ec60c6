#include "sync/directories.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct pass {
    struct sync_directories *d;
    struct map_bytes known;         /* were on both sides */
    struct map_bytes used;          /* paths of files, and what is above them */
    struct map_bytes here, there;   /* path -> what was found */
    const struct slice **gone_here; /* to be removed here, since they were there; those above first */
    const struct slice **gone_there;
    size_t gone_here_count, gone_there_count;
    struct slice *common;
    size_t common_count;
};

static void put_with_those_above(struct map_bytes *map, struct slice path)
{
    for (; path.size > 0 && !map_bytes_get(map, path); path = sync_path_directory(path))
        map_bytes_put(map, path, map);
}

static bool is_left_out(const struct pass *p, struct slice path)
{
    for (; path.size > 0; path = sync_path_directory(path))
        if (map_bytes_get(p->d->left_out, path))
            return true;
    return false;
}

static bool stays(const struct sync_step *s)
{
    switch (s->action) {
    case SYNC_DELETE_LOCAL:
    case SYNC_DELETE_REMOTE:
    case SYNC_BURY:
        return false;
    case SYNC_KEEP:
        return s->local != NULL;
    default:
        return true;
    }
}

static void gather(struct pass *p)
{
    const struct sync_directories *d = p->d;
    for (size_t i = 0; i < d->index->directory_count; i++)
        put_with_those_above(&p->known, d->index->directories[i]);
    for (size_t i = 0; i < d->index->count; i++)
        if (!d->index->rows[i].deleted)
            put_with_those_above(&p->known, sync_path_directory(d->index->rows[i].path));
    for (size_t i = 0; i < d->step_count; i++)
        if (stays(&d->steps[i]))
            put_with_those_above(&p->used, d->steps[i].path);
    for (size_t i = 0; i < d->here_count; i++)
        map_bytes_put(&p->here, d->here[i].path, (void *)(uintptr_t)&d->here[i]);
    for (size_t i = 0; i < d->export->listed_count; i++)
        map_bytes_put(&p->there, d->export->listed[i].path, &d->export->listed[i]);
}

static bool is_there(const struct pass *p, struct slice path)
{
    return map_bytes_get(&p->d->export->directories, path) != NULL;
}

static void tell(struct pass *p, struct slice path, enum sync_action action, enum err e)
{
    p->d->on_step(p->d->context, path, action, e);
}

static void add_common(struct pass *p, struct slice path)
{
    if (!map_bytes_get(&p->used, path))
        p->common[p->common_count++] = path;
}

/* ---- making ---- */

static enum err make_there(struct pass *p, const struct sync_local_directory *l)
{
    struct sync_export *x = p->d->export;
    struct surf_setattr set = {.mask = META_SET_MODE};
    struct meta_attr attr;
    uint64_t ino;
    TRY(sync_export_directory(x, l->path, &ino));
    TRY(surf_getattr(x->surf, &x->caller, ino, &attr));
    set.mode = (attr.mode & 07000) | l->mode;
    if ((attr.mode & 0777) != l->mode)
        TRY(surf_setattr(x->surf, &x->caller, ino, &set, &attr));
    sync_export_saw(x, &attr);
    return ERR_OK;
}

static enum err make_here(struct pass *p, const struct sync_directory *r)
{
    enum err e = ERR_OK;
    int fd = sync_local_open_directory(p->d->base, r->path, true, true, &e);
    if (fd < 0)
        return e;
    if (fchmod(fd, (r->mode & 0777) | 0700) != 0)
        e = err_from_errno(errno);
    close(fd);
    return e;
}

/* Those that files have brought along get their permission bits, too. */
static void look_here(struct pass *p, const struct sync_local_directory *l)
{
    bool used = map_bytes_get(&p->used, l->path) != NULL;
    if (map_bytes_get(&p->there, l->path) || is_left_out(p, l->path))
        return;
    if (p->d->dry_run ? used : !sync_local_is_directory(p->d->base, l->path))
        return;
    if (!used && map_bytes_get(&p->known, l->path)) {
        p->gone_here[p->gone_here_count++] = &l->path;
        return;
    }
    enum err e = p->d->dry_run ? ERR_OK : make_there(p, l);
    if (!used || e != ERR_OK)
        tell(p, l->path, SYNC_MAKE_REMOTE, e);
    if (e == ERR_OK)
        add_common(p, l->path);
}

static void look_there(struct pass *p, const struct sync_directory *r)
{
    bool used = map_bytes_get(&p->used, r->path) != NULL;
    if (map_bytes_get(&p->here, r->path)) {
        if (is_there(p, r->path))
            add_common(p, r->path);
        return;
    }
    if (is_left_out(p, r->path) || (p->d->dry_run ? used : !is_there(p, r->path)))
        return;
    if (!used && map_bytes_get(&p->known, r->path)) {
        p->gone_there[p->gone_there_count++] = &r->path;
        return;
    }
    enum err e = p->d->dry_run ? ERR_OK : make_here(p, r);
    if (!used || e != ERR_OK)
        tell(p, r->path, SYNC_MAKE_LOCAL, e);
    if (e == ERR_OK)
        add_common(p, r->path);
}

/* ---- removing ---- */

/* What is in them, or was made below them meanwhile, keeps them. */
static void remove_here(struct pass *p, struct slice path)
{
    if (!p->d->dry_run) {
        if (is_there(p, path))
            return;
        sync_local_remove_directory(p->d->base, path);
        if (sync_local_is_directory(p->d->base, path))
            return;
    }
    tell(p, path, SYNC_REMOVE_LOCAL, ERR_OK);
}

static void remove_there(struct pass *p, struct slice path)
{
    struct sync_export *x = p->d->export;
    const struct sync_directory *above = map_bytes_get(&x->directories, sync_path_directory(path));
    if (!p->d->dry_run) {
        if (!above || sync_local_is_directory(p->d->base, path) ||
            surf_rmdir(x->surf, &x->caller, above->ino, sync_path_name(path)) != ERR_OK)
            return;
        map_bytes_remove(&x->directories, path);
    }
    tell(p, path, SYNC_REMOVE_REMOTE, ERR_OK);
}

void sync_directories_run(struct sync_directories *d, struct slice **ret, size_t *ret_count)
{
    struct pass p = {.d = d};
    size_t there_count = d->export->listed_count;
    p.common = arena_alloc(d->export->arena, (d->here_count + there_count + 1) * sizeof *p.common);
    p.gone_here = mem_alloc((d->here_count + 1) * sizeof(struct slice *));
    p.gone_there = mem_alloc((there_count + 1) * sizeof(struct slice *));
    gather(&p);
    for (size_t i = 0; i < d->here_count; i++)
        look_here(&p, &d->here[i]);
    for (size_t i = 0; i < there_count; i++)
        look_there(&p, &d->export->listed[i]);
    for (size_t i = p.gone_here_count; i-- > 0;)
        remove_here(&p, *p.gone_here[i]);
    for (size_t i = p.gone_there_count; i-- > 0;)
        remove_there(&p, *p.gone_there[i]);
    *ret = p.common;
    *ret_count = p.common_count;
    map_bytes_free(&p.known);
    map_bytes_free(&p.used);
    map_bytes_free(&p.here);
    map_bytes_free(&p.there);
    free(p.gone_here);
    free(p.gone_there);
}
