#include <fcntl.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "client/surf_internal.h"

static struct rpc_cancel *cancel_of(const struct surf_caller *c)
{
    return c ? c->cancel : NULL;
}

/* Queries whose answer is attributes. */
static enum err query_attr(struct surf *s, const struct surf_caller *c, struct meta_query *query, struct meta_attr *ret)
{
    struct arena arena = {0};
    struct meta_query_reply reply;
    enum err e = surf_query(s, c, query, &arena, &reply);
    if (e == ERR_OK)
        e = surf_take_attr(s, reply.has_attr, &reply.attr, ret);
    arena_free(&arena);
    return e;
}

static enum err lookup(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                       struct meta_attr *ret)
{
    unsigned ahead = 0;
    uint64_t cookie = 0;
    enum known_name known = s->known ? known_lookup(s->known, parent, name, ret, &ahead, &cookie) : KNOWN_NOT;
    if (known == KNOWN_ABSENT)
        return ERR_NOENT;
    if (known == KNOWN_THERE) {
        file_overlay_attr(s->files, ret);
        return ERR_OK;
    }
    struct meta_query query = {
        .op = META_QUERY_LOOKUP, .ino = parent, .name = name, .max_count = ahead, .cookie = cookie};
    return query_attr(s, c, &query, ret);
}

enum err surf_lookup(struct surf *s, const struct surf_caller *c, uint64_t parent, struct slice name,
                     struct meta_attr *ret)
{
    TRY(surf_check_name(name));
    struct file_create mark;
    file_create_begin(s->files, &mark);
    enum err e = lookup(s, c, parent, name, ret);
    if (e == ERR_OK && S_ISREG(ret->mode))
        file_looked_up(s->files, &mark, ret->ino);
    else
        file_create_end(s->files, &mark);
    return e;
}

enum err surf_getattr(struct surf *s, const struct surf_caller *c, uint64_t ino, struct meta_attr *ret)
{
    if (s->known && known_attr(s->known, ino, ret)) {
        file_overlay_attr(s->files, ret);
        return ERR_OK;
    }
    struct meta_query query = {.op = META_QUERY_GETATTR, .ino = ino};
    return query_attr(s, c, &query, ret);
}

bool surf_believed_attr(struct surf *s, uint64_t ino, struct meta_attr *ret)
{
    return s->known && known_attr(s->known, ino, ret);
}

void surf_answer_begin(struct surf *s)
{
    if (s->known)
        known_answer_begin(s->known);
}

void surf_answer_end(struct surf *s)
{
    if (s->known)
        known_answer_end(s->known);
}

int64_t surf_attr_ns(struct surf *s, struct meta_attr *attr)
{
    int64_t ns = s->known ? known_attr_ns(s->known, attr) : 0;
    if (ns > 0)
        file_overlay_attr(s->files, attr);
    return ns;
}

int64_t surf_name_ns(struct surf *s, uint64_t directory, struct slice name, uint64_t ino)
{
    return s->known ? known_name_ns(s->known, directory, name, ino) : 0;
}

void surf_set_kernel_names(struct surf *s, bool can)
{
    if (s->known)
        known_set_kernel_names(s->known, can);
}

enum err surf_setattr(struct surf *s, const struct surf_caller *c, uint64_t ino, const struct surf_setattr *set,
                      struct meta_attr *ret)
{
    if ((set->mask & META_SET_SIZE) && set->size > META_SIZE_MAX)
        return ERR_FBIG;
    uint32_t mask = set->mask;
    if ((mask & META_SET_SIZE) && c && c->kills_set_id)
        mask |= META_KILL_SET_ID;
    /* A later commit would set the time of the last write over the one that is given now, and take bits of the mode. */
    if (mask & (META_SET_MODE | META_SET_MTIME | META_SET_MTIME_NOW | META_SET_ATIME | META_SET_ATIME_NOW))
        TRY(file_commit_ino(s->files, ino, cancel_of(c)));
    struct meta_reply reply;
    do {
        struct meta_command command = {.op = META_SETATTR,
                                       .setattr = {.ino = ino,
                                                   .mask = mask,
                                                   .mode = set->mode,
                                                   .uid = set->uid,
                                                   .gid = set->gid,
                                                   .size = set->size,
                                                   .atime_ns = set->atime_ns,
                                                   .mtime_ns = set->mtime_ns}};
        if (mask & META_SET_SIZE)
            TRY(file_truncate(s->files, &command, cancel_of(c), &reply));
        else
            TRY(meta_client_call(s->meta, &command, cancel_of(c), &reply));
        /* PARTIAL: a truncation of a file with many extents goes in bounded steps. */
    } while (reply.status == ERR_PARTIAL);
    TRY(reply.status);
    return surf_take_attr(s, reply.has_attr, &reply.attr, ret);
}

enum err surf_readlink(struct surf *s, const struct surf_caller *c, uint64_t ino, struct arena *arena,
                       struct slice *ret)
{
    struct meta_query query = {.op = META_QUERY_READLINK, .ino = ino};
    struct meta_query_reply reply;
    TRY(surf_query(s, c, &query, arena, &reply));
    *ret = reply.target;
    return ERR_OK;
}

enum err surf_readdir(struct surf *s, const struct surf_caller *c, uint64_t ino, uint64_t cookie, unsigned max_count,
                      bool with_attr, struct arena *arena, struct meta_query_reply *ret)
{
    CHECK(max_count <= LIMIT_READDIR_ENTRIES);
    struct meta_query query = {
        .op = META_QUERY_READDIR, .ino = ino, .cookie = cookie, .max_count = max_count, .with_attr = with_attr};
    struct meta_query_reply reply;
    TRY(surf_query(s, c, &query, arena, &reply));
    for (unsigned i = 0; with_attr && i < reply.entry_count; i++)
        if (S_ISREG(reply.entries[i].attr.mode))
            file_overlay_attr(s->files, &reply.entries[i].attr);
    *ret = reply;
    return ERR_OK;
}

enum err surf_open(struct surf *s, const struct surf_caller *c, uint64_t ino, int flags, struct open_file **ret,
                   bool *ret_keep_cache)
{
    if (flags & O_TRUNC) {
        struct meta_attr attr;
        TRY(surf_setattr(s, c, ino, &(struct surf_setattr){.mask = META_SET_SIZE}, &attr));
    }
    return file_open(s->files, ino, flags, NULL, cancel_of(c), ret, ret_keep_cache);
}
