/* http_files_path.c: from a path to an inode. The kernel does this for a mount; here nobody else checks who may pass.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/http_files.h"

#define DEPTH_MAX 512u
#define LINKS_MAX 40u /* as Linux */

struct walk {
    struct http_request *r;
    struct http_file *f;
    uint64_t above[DEPTH_MAX]; /* the directories from the root to where we are */
    unsigned depth;
    unsigned links;
};

bool http_files_may(const struct http_request *r, const struct meta_attr *attr, uint32_t bits)
{
    return r->server->options->http.files == GATEWAY_FILES_ALL || (attr->mode & bits) == bits;
}

static struct slice next_name(struct slice *path)
{
    while (path->size > 0 && path->data[0] == '/')
        *path = slice_sub(*path, 1, path->size - 1);
    const uint8_t *slash = path->size > 0 ? memchr(path->data, '/', path->size) : NULL;
    struct slice name = slice_sub(*path, 0, slash ? (size_t)(slash - path->data) : path->size);
    *path = slice_sub(*path, name.size, path->size - name.size);
    return name;
}

static enum err go_up(struct walk *w, struct err_text *why)
{
    if (w->depth == 0)
        return err_explain(why, ERR_ACCES, "That leads out of the export");
    return surf_getattr(w->f->surf, &w->f->caller, w->above[--w->depth], &w->f->attr);
}

/* The rest of the path goes on behind what the link says. */
static enum err follow(struct walk *w, struct slice *rest, struct err_text *why)
{
    struct arena *arena = &w->r->arena;
    struct slice target;
    if (++w->links > LINKS_MAX)
        return ERR_LOOP;
    TRY(surf_readlink(w->f->surf, &w->f->caller, w->f->attr.ino, arena, &target));
    if (target.size > 0 && target.data[0] == '/')
        return err_explain(why, ERR_ACCES, "That is a symbolic link out of the export");
    /* What is left of the path is nothing, or begins with a slash. */
    uint8_t *joined = arena_alloc(arena, target.size + rest->size + 1);
    memcpy(joined, target.data, target.size);
    if (rest->size > 0)
        memcpy(joined + target.size, rest->data, rest->size);
    *rest = SLICE(joined, target.size + rest->size);
    return surf_getattr(w->f->surf, &w->f->caller, w->above[--w->depth], &w->f->attr);
}

static enum err step(struct walk *w, struct slice name, struct slice *rest, struct err_text *why)
{
    struct http_file *f = w->f;
    if (!S_ISDIR(f->attr.mode))
        return ERR_NOENT;
    if (!http_files_may(w->r, &f->attr, S_IXOTH))
        return err_explain(why, ERR_ACCES, "Not everybody may look in there");
    if (name.size == 0 || slice_equal(name, slice_str(".")))
        return ERR_OK;
    if (slice_equal(name, slice_str("..")))
        return go_up(w, why);
    if (w->depth == DEPTH_MAX)
        return ERR_NAMETOOLONG;
    uint64_t directory = f->attr.ino;
    TRY(surf_lookup(f->surf, &f->caller, directory, name, &f->attr));
    w->above[w->depth++] = directory;
    return S_ISLNK(f->attr.mode) ? follow(w, rest, why) : ERR_OK;
}

enum err http_files_walk(struct http_request *r, struct slice path, struct http_file *f, struct err_text *why)
{
    struct walk w = {.r = r, .f = f};
    f->caller.cancel = gateway_session_cancel(r->server->session);
    TRY(surf_getattr(f->surf, &f->caller, META_ROOT_INO, &f->attr));
    while (path.size > 0)
        TRY(step(&w, next_name(&path), &path, why));
    return ERR_OK;
}
