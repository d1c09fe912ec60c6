/* Reading directories. A handle keeps one page of entries, from which several requests are served. Offsets that the
 * kernel hands back are cookies: 1 is ".", 2 is "..", all others are the metastore's, which never change. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fusefs/squash.h"

#define COOKIE_DOT 1u
#define COOKIE_DOT_DOT 2u
#define PAGE_ENTRIES LIMIT_READDIR_ENTRIES
#define PAGE_ENTRIES_MIN 16u
#define PLUS_ENTRY_BYTES 160u         /* the least that an entry with attributes takes in a reply */
#define ATTR_AGE_NS (200 * NS_PER_MS) /* attributes of a page are given to the kernel for so long */

struct dir_handle {
    pthread_mutex_t lock; /* protects the page */
    struct arena arena;
    struct meta_query_reply page;
    bool listed;     /* it has entered mount.listings: the kernel may list from its copy */
    bool asked_attr; /* after the first part; see listings_end */
    bool has_page, with_attr;
    uint64_t from; /* the cookie behind which the page begins; 0: from the start */
    int64_t fetched_ns;
    unsigned long long changes; /* mount.changes before it was fetched */
};

static struct dir_handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct dir_handle *)(uintptr_t)fi->fh;
}

static void free_handle(struct mount *m, uint64_t ino, struct dir_handle *d)
{
    /* At first: the kernel sends the next opendir without waiting for this. */
    if (d->listed)
        listings_leave(&m->listings, ino);
    arena_free(&d->arena);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mount *m = fuse_req_userdata(req);
    struct op op;
    op_begin(&op, req);
    enum err e = squash_permits(&op, req, ino, ACCESS_READ);
    op_end(&op);
    if (e != ERR_OK) {
        reply_error(req, e);
        return;
    }
    struct dir_handle *d = MEM_NEW(struct dir_handle);
    pthread_mutex_init(&d->lock, NULL);
    bool keep;
    d->listed = listings_enter(&m->listings, ino, &keep);
    fi->fh = (uintptr_t)d;
    fi->cache_readdir = d->listed;
    fi->keep_cache = keep;
    if (fuse_reply_open(req, fi) == -ENOENT)
        free_handle(m, ino, d);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    free_handle(fuse_req_userdata(req), ino, handle_of(fi));
    fuse_reply_err(req, 0);
}

/* Every change of a directory is committed when its call returns. */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync, (void)fi;
    fuse_reply_err(req, 0);
}

/* ---- the page ---- */

/* The metastore's cookie for a kernel offset. */
static uint64_t cookie_of(uint64_t offset)
{
    return offset <= COOKIE_DOT_DOT ? 0 : offset;
}

static uint64_t last_cookie(const struct dir_handle *d)
{
    return d->page.entry_count ? d->page.entries[d->page.entry_count - 1].cookie : d->from;
}

static bool attrs_are_fresh(const struct dir_handle *d, const struct mount *m)
{
    return d->with_attr && d->changes == atomic_load(&m->changes) && clock_boot_ns() - d->fetched_ns < ATTR_AGE_NS;
}

/* Has the page an answer to what follows this offset? At offset 0 a reader starts over and wants the present state. */
static bool page_serves(const struct dir_handle *d, const struct mount *m, uint64_t offset, bool plus)
{
    if (!d->has_page || offset == 0)
        return false;
    uint64_t cookie = cookie_of(offset);
    if (cookie < d->from || (cookie >= last_cookie(d) && !d->page.end && offset > COOKIE_DOT_DOT))
        return false;
    return !plus || attrs_are_fresh(d, m);
}

static enum err fetch_page(struct dir_handle *d, struct op *op, uint64_t ino, uint64_t offset, size_t reply_size,
                           bool plus)
{
    /* When this mount is changing things, attributes of a long page would be outdated before they are used. */
    bool quiet = !d->has_page || d->changes == atomic_load(&op->mount->changes);
    unsigned count = PAGE_ENTRIES;
    if (plus && !quiet)
        count = (unsigned)MIN(MAX(reply_size / PLUS_ENTRY_BYTES, (size_t)PAGE_ENTRIES_MIN), (size_t)PAGE_ENTRIES);
    d->has_page = false;
    arena_reset(&d->arena);
    d->changes = atomic_load(&op->mount->changes);
    d->fetched_ns = clock_boot_ns();
    d->with_attr = plus;
    d->from = cookie_of(offset);
    d->page = (struct meta_query_reply){0};
    enum err e = surf_readdir(op->mount->surf, &op->request.caller, ino, d->from, count, plus, &d->arena, &d->page);
    if (e == ERR_STALE) {
        /* A directory that has been removed while it was open is empty. */
        d->page = (struct meta_query_reply){.end = true, .parent_ino = ino};
        e = ERR_OK;
    }
    d->has_page = e == ERR_OK;
    return e;
}

static unsigned first_behind(const struct dir_handle *d, uint64_t cookie)
{
    unsigned low = 0, high = d->page.entry_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (d->page.entries[middle].cookie > cookie)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- the reply ---- */

struct filler {
    fuse_req_t req;
    char *data;
    size_t used, size;
    struct mount *mount;
    uint64_t directory;
    bool plus;      /* with room for attributes */
    bool with_attr; /* and they may be believed */
};

/* False: it doesn't fit. */
static bool fill(struct filler *f, const char *name, uint64_t ino, uint32_t mode, uint64_t cookie,
                 struct meta_attr *attr)
{
    size_t room = f->size - f->used, need;
    if (f->plus) {
        struct fuse_entry_param entry = {0};
        /* An entry without a node id tells the kernel the name and type only. */
        if (attr && !listings_is_other(&f->mount->listings, attr) &&
            (surf_attr_ns(f->mount->surf, attr) > 0 || f->with_attr))
            fill_entry(f->mount, f->directory, slice_str(name), attr, &entry);
        bool told = entry.ino != 0;
        entry.attr.st_ino = ino;
        entry.attr.st_mode = told ? attr->mode : mode;
        need = fuse_add_direntry_plus(f->req, f->data + f->used, room, name, &entry, (off_t)cookie);
    } else {
        struct stat st = {.st_ino = ino, .st_mode = mode};
        need = fuse_add_direntry(f->req, f->data + f->used, room, name, &st, (off_t)cookie);
    }
    if (need > room)
        return false;
    f->used += need;
    return true;
}

static bool fill_dots(struct filler *f, const struct dir_handle *d, uint64_t ino, uint64_t offset)
{
    if (offset < COOKIE_DOT && !fill(f, ".", ino, S_IFDIR, COOKIE_DOT, NULL))
        return false;
    uint64_t parent = d->page.parent_ino ? d->page.parent_ino : ino;
    return offset >= COOKIE_DOT_DOT || fill(f, "..", parent, S_IFDIR, COOKIE_DOT_DOT, NULL);
}

static void fill_page(struct filler *f, const struct dir_handle *d, uint64_t offset)
{
    size_t group_used = f->used;
    for (unsigned i = first_behind(d, cookie_of(offset)); i < d->page.entry_count; i++) {
        struct meta_dirent *entry = &d->page.entries[i];
        /* Entries with one cookie must not be separated: the rest of them could not be asked for. */
        if (i == 0 || d->page.entries[i - 1].cookie != entry->cookie)
            group_used = f->used;
        char name[LIMIT_NAME_BYTES + 1];
        CHECK(entry->name.size <= LIMIT_NAME_BYTES);
        memcpy(name, entry->name.data, entry->name.size);
        name[entry->name.size] = 0;
        if (!fill(f, name, entry->ino, entry->type_mode, entry->cookie, d->with_attr ? &entry->attr : NULL)) {
            f->used = group_used;
            return;
        }
    }
}

static void fill_reply(struct filler *f, struct dir_handle *d, uint64_t ino, uint64_t offset)
{
    f->with_attr = f->plus && attrs_are_fresh(d, f->mount);
    if (fill_dots(f, d, ino, offset))
        fill_page(f, d, offset);
}

static bool is_end(const struct dir_handle *d, uint64_t offset)
{
    return offset >= COOKIE_DOT_DOT && d->page.end && first_behind(d, cookie_of(offset)) == d->page.entry_count;
}

/* What the kernel makes of the reply, if it copies (listings.h). */
static void end_listing(struct dir_handle *d, struct mount *m, uint64_t ino, uint64_t offset, bool plus)
{
    d->asked_attr = offset > 0 && (d->asked_attr || plus);
    /* Its own handle holds the directory's position: nobody has its pages locked. */
    if (is_end(d, offset) && !listings_end(&m->listings, ino, d->asked_attr))
        (void)fuse_lowlevel_notify_inval_inode(m->session, ino, 0, 0);
}

static void reply_entries(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct dir_handle *d = handle_of(fi);
    size = MIN(size, (size_t)MAX_TRANSFER);
    struct filler f = {.req = req,
                       .data = mem_alloc(size),
                       .size = size,
                       .mount = fuse_req_userdata(req),
                       .directory = ino,
                       .plus = plus};
    struct op op;
    op_begin(&op, req);
    pthread_mutex_lock(&d->lock);
    enum err e = ERR_OK;
    if (d->listed && off == 0)
        listings_begin(&op.mount->listings, ino);
    if (!page_serves(d, op.mount, (uint64_t)off, plus))
        e = fetch_page(d, &op, ino, (uint64_t)off, size, plus);
    if (e == ERR_OK && d->listed)
        end_listing(d, op.mount, ino, (uint64_t)off, plus);
    op_end(&op);
    surf_answer_begin(f.mount->surf);
    if (e == ERR_OK)
        fill_reply(&f, d, ino, (uint64_t)off);
    pthread_mutex_unlock(&d->lock); /* once it is answered, the handle may be gone */
    if (e == ERR_OK)
        fuse_reply_buf(req, f.data, f.used);
    else
        reply_error(req, e);
    surf_answer_end(f.mount->surf);
    free(f.data);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    reply_entries(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    reply_entries(req, ino, size, off, fi, true);
}
