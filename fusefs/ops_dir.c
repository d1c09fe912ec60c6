/* ops_dir.c: reading directories.
 *
 * A position in a directory is the metastore's cookie of the last entry read, which stays right whatever is made or
 * removed meanwhile; 1 stands for "." and 2 for "..", which are ours. A handle keeps one page of entries, so that
 * several kernel requests are served by one call. */
#include "fusefs/fusefs.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

#define COOKIE_DOT 1u
#define COOKIE_DOTDOT 2u
#define PAGE_ENTRIES 512u

struct directory {
    pthread_mutex_t lock; /* protects the rest: one descriptor may be read by several threads */
    uint64_t ino;
    struct arena arena; /* holds the page */
    struct meta_query_reply page;
    uint64_t page_after; /* the page begins behind this cookie */
    bool has_page, page_has_attr;
};

void fusefs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct directory *d = MEM_NEW(struct directory);
    d->ino = ino;
    pthread_mutex_init(&d->lock, NULL);
    fi->fh = (uintptr_t)d;
    if (fuse_reply_open(req, fi) != 0) {
        pthread_mutex_destroy(&d->lock);
        free(d);
    }
}

void fusefs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct directory *d = (struct directory *)(uintptr_t)fi->fh;
    arena_free(&d->arena);
    pthread_mutex_destroy(&d->lock);
    free(d);
    fuse_reply_err(req, 0);
}

void fusefs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    /* Names are durable when the operation that made them returns. */
    (void)ino, (void)datasync, (void)fi;
    fuse_reply_err(req, 0);
}

static enum err fetch_page(struct fusefs_call *c, struct directory *d, uint64_t after, bool with_attr)
{
    d->has_page = false;
    arena_reset(&d->arena);
    TRY(surf_readdir(c->fs->surf, &c->caller, d->ino, after, PAGE_ENTRIES, with_attr, &d->arena, &d->page));
    d->page_after = after;
    d->page_has_attr = with_attr;
    d->has_page = true;
    return ERR_OK;
}

/* The index in the page of the first entry behind `cookie`; false when the page doesn't tell. */
static bool find_in_page(const struct directory *d, uint64_t cookie, bool with_attr, unsigned *ret)
{
    if (!d->has_page || (with_attr && !d->page_has_attr))
        return false;
    if (cookie == d->page_after) {
        *ret = 0;
        return true;
    }
    for (unsigned i = 0; i < d->page.entry_count; i++)
        if (d->page.entries[i].cookie == cookie) {
            *ret = i + 1;
            return i + 1 < d->page.entry_count || d->page.end;
        }
    return false;
}

struct listing {
    fuse_req_t req;
    char *buffer;
    size_t size, used;
    bool plus;
};

/* False when it doesn't fit any more. */
static bool listing_add(struct listing *l, const char *name, const struct fuse_entry_param *entry, uint64_t cookie)
{
    size_t need =
        l->plus ? fuse_add_direntry_plus(l->req, l->buffer + l->used, l->size - l->used, name, entry, (off_t)cookie)
                : fuse_add_direntry(l->req, l->buffer + l->used, l->size - l->used, name, &entry->attr, (off_t)cookie);
    if (need > l->size - l->used)
        return false;
    l->used += need;
    return true;
}

/* "." and "..": no lookup is counted for them, so they carry no node id. */
static bool listing_add_dot(struct listing *l, const char *name, uint64_t ino, uint64_t cookie)
{
    struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};
    return listing_add(l, name, &entry, cookie);
}

static bool listing_add_entry(struct listing *l, const struct meta_dirent *d)
{
    char name[LIMIT_NAME_BYTES + 1];
    memcpy(name, d->name.data, d->name.size);
    name[d->name.size] = 0;
    struct fuse_entry_param entry = {.attr = {.st_ino = d->ino, .st_mode = d->type_mode}};
    if (l->plus)
        entry = fusefs_entry(&d->attr);
    return listing_add(l, name, &entry, d->cookie);
}

static enum err fill(struct fusefs_call *c, struct directory *d, struct listing *l, uint64_t position)
{
    if (position == 0)
        d->has_page = false; /* from the start means afresh */
    uint64_t after = position <= COOKIE_DOTDOT ? 0 : position;
    unsigned at = 0;
    if (!find_in_page(d, after, l->plus, &at)) {
        TRY(fetch_page(c, d, after, l->plus));
        at = 0;
    }
    if (position < COOKIE_DOT && !listing_add_dot(l, ".", d->ino, COOKIE_DOT))
        return ERR_OK;
    if (position < COOKIE_DOTDOT && !listing_add_dot(l, "..", d->page.parent_ino, COOKIE_DOTDOT))
        return ERR_OK;
    for (;;) {
        for (; at < d->page.entry_count; at++)
            if (!listing_add_entry(l, &d->page.entries[at]))
                return ERR_OK;
        if (d->page.end || d->page.entry_count == 0)
            return ERR_OK;
        /* Something is there to answer with: the next request fetches the next page. */
        if (l->used > 0)
            return ERR_OK;
        TRY(fetch_page(c, d, d->page.entries[d->page.entry_count - 1].cookie, l->plus));
        at = 0;
    }
}

static void list(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
    struct fusefs_call c = fusefs_begin(req);
    struct directory *d = (struct directory *)(uintptr_t)fi->fh;
    size = MIN(size, (size_t)FUSEFS_REQUEST_BYTES);
    struct listing l = {.req = req, .buffer = mem_alloc(size), .size = size, .plus = plus};
    pthread_mutex_lock(&d->lock);
    enum err e = fill(&c, d, &l, (uint64_t)offset);
    pthread_mutex_unlock(&d->lock);
    fusefs_end(&c);
    if (e == ERR_OK)
        fuse_reply_buf(req, l.buffer, l.used);
    else
        fusefs_reply_error(req, e);
    free(l.buffer);
}

void fusefs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    list(req, size, offset, fi, false);
}

void fusefs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    list(req, size, offset, fi, true);
}
