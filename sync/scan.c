#include "sync/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel.h"
#include "sync/link.h"

#define READ_BYTES (1u * MIB)
#define READ_TRIES 3u
/* A file that was changed this shortly before it was looked at may change again within the same tick of its clock. */
#define SETTLED_NS (2 * NS_PER_S)

/* ---- hashing ---- */

void sync_hasher_begin(struct sync_hasher *h, struct arena *arena, uint32_t block_bytes)
{
    *h = (struct sync_hasher){.arena = arena, .block_bytes = block_bytes};
}

static void end_block(struct sync_hasher *h, struct slice block)
{
    if (h->count == SYNC_FILE_BLOCKS) {
        h->too_many = true;
        return;
    }
    if (h->count == h->capacity) {
        h->capacity = MAX(2 * h->capacity, 1u);
        h->hashes = mem_realloc(h->hashes, h->capacity * sizeof *h->hashes);
    }
    sha256_of(block, &h->hashes[h->count++]);
}

void sync_hasher_add(struct sync_hasher *h, struct slice data)
{
    while (data.size > 0 && !h->too_many) {
        size_t size = MIN(data.size, h->block_bytes - h->block.size);
        if (size == h->block_bytes) {
            end_block(h, slice_sub(data, 0, size)); /* without a copy */
        } else {
            bytes_append(&h->block, slice_sub(data, 0, size));
            if (h->block.size == h->block_bytes) {
                end_block(h, bytes_slice(&h->block));
                bytes_clear(&h->block);
            }
        }
        data = slice_sub(data, size, data.size - size);
    }
}

void sync_hasher_end(struct sync_hasher *h)
{
    if (h->block.size > 0)
        end_block(h, bytes_slice(&h->block));
    bytes_free(&h->block);
    struct sha256 *hashes = h->hashes;
    h->hashes = arena_alloc(h->arena, (h->count + 1) * sizeof *hashes);
    if (h->count > 0)
        memcpy(h->hashes, hashes, h->count * sizeof *hashes);
    free(hashes);
}

/* ---- one file ---- */

struct scanning {
    const struct sync_scan *s;
    struct arena *arena;
    struct sync_local *found;
    size_t count, capacity;
    struct sync_local_directory *directories; /* still to be read, and those that were; the first is the whole */
    size_t directory_count, directory_capacity, directory_at;
    uint8_t *buffer;
};

static void leave_out(struct scanning *w, struct slice path, enum err e, const char *why)
{
    w->s->on_left_out(w->s->context, path, e, why);
}

static enum err hash_file(struct scanning *w, int fd, uint32_t block_bytes, struct sync_local *to)
{
    struct sync_hasher h;
    enum err e = ERR_OK;
    sync_hasher_begin(&h, w->arena, block_bytes);
    while (e == ERR_OK && !h.too_many) {
        ssize_t n = read(fd, w->buffer, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            e = err_from_errno(errno);
        else if (w->s->cancel && rpc_cancel_fired(w->s->cancel))
            e = ERR_CANCELLED;
        if (n <= 0)
            break;
        sync_hasher_add(&h, SLICE(w->buffer, n));
    }
    sync_hasher_end(&h);
    to->hashes = h.hashes;
    to->hash_count = h.count;
    return h.too_many ? ERR_FBIG : e;
}

/* The hashes that the row has are of blocks of another size, when that is what makes them differ: a power of two that
 * gives as many. The file is the same then, and the row stays as it is. */
static enum err try_other_size(struct scanning *w, int fd, struct sync_local *to)
{
    const struct sync_row *row = sync_index_find(w->s->index, to->path);
    struct sync_local other = *to;
    if (!row || row->deleted || row->hash_count == 0 || row->hash_count == to->hash_count)
        return ERR_OK;
    for (uint32_t size = 1; size <= LIMIT_BLOCK_BYTES; size *= 2) {
        if ((to->identity.size + size - 1) / size != row->hash_count)
            continue;
        if (lseek(fd, 0, SEEK_SET) < 0)
            return err_from_errno(errno);
        TRY(hash_file(w, fd, size, &other));
        if (sync_hashes_equal(other.hashes, other.hash_count, row->hashes, row->hash_count))
            *to = other;
        return ERR_OK;
    }
    return ERR_OK;
}

static int by_path(const void *a, const void *b)
{
    return slice_compare(((const struct sync_local *)a)->path, ((const struct sync_local *)b)->path);
}

static bool take_over(struct scanning *w, struct sync_local *to)
{
    const struct sync_scan *s = w->s;
    const struct sync_local *known =
        s->known_count > 0 ? bsearch(to, s->known, s->known_count, sizeof *to, by_path) : NULL;
    if (!known || !sync_identity_equal(&known->identity, &to->identity) ||
        MAX(known->identity.mtime_ns, known->identity.ctime_ns) > s->known_ns - SETTLED_NS)
        return false;
    to->hash_count = known->hash_count;
    to->hashes = arena_alloc(w->arena, (known->hash_count + 1) * sizeof *to->hashes);
    memcpy(to->hashes, known->hashes, known->hash_count * sizeof *to->hashes);
    return true;
}

/* AGAIN: it changed while it was read. */
static enum err read_file(struct scanning *w, struct sync_local *to)
{
    struct sync_identity after;
    uint32_t mode;
    enum err e = ERR_OK;
    int fd = sync_local_open_file(w->s->base, to->path, &to->identity, &to->mode, &e);
    if (fd < 0)
        return e;
    if (!take_over(w, to)) {
        e = hash_file(w, fd, w->s->block_bytes, to);
        if (e == ERR_OK)
            e = try_other_size(w, fd, to);
    }
    close(fd);
    TRY(e);
    fd = sync_local_open_file(w->s->base, to->path, &after, &mode, &e);
    if (fd < 0)
        return e;
    close(fd);
    return sync_identity_equal(&to->identity, &after) ? ERR_OK : ERR_AGAIN;
}

static void add_found(struct scanning *w, const struct sync_local *local)
{
    if (w->count == w->capacity) {
        w->capacity = MAX(2 * w->capacity, (size_t)64);
        w->found = mem_realloc(w->found, w->capacity * sizeof *w->found);
    }
    w->found[w->count++] = *local;
}

/* What can't be read or named fails the whole: it must not count as deleted. One that is always written, as logs are,
 * is left as it is on both sides. */
static enum err scan_file(struct scanning *w, struct slice path, const struct stat *st, struct err_text *why)
{
    struct sync_local local = {.path = path, .is_ours = st->st_uid == geteuid() || geteuid() == 0};
    enum err e = ERR_AGAIN;
    for (unsigned try = 0; try < READ_TRIES && e == ERR_AGAIN; try++)
        e = read_file(w, &local);
    if (e == ERR_NOENT)
        return ERR_OK;
    if (e == ERR_FBIG)
        return err_explain(why, e, "%.*s: more than %u blocks of %u bytes", (int)MIN(path.size, (size_t)120),
                           (const char *)path.data, SYNC_FILE_BLOCKS, w->s->block_bytes);
    if (e == ERR_AGAIN) {
        leave_out(w, path, e, "it is being written");
        return ERR_OK;
    }
    if (e != ERR_OK)
        return err_explain(why, e, "%.*s: %s", (int)MIN(path.size, (size_t)180), (const char *)path.data,
                           err_message(e));
    add_found(w, &local);
    return ERR_OK;
}

/* One that may lead elsewhere is left alone. */
static enum err scan_link(struct scanning *w, struct slice path, const struct stat *st, struct err_text *why)
{
    struct sync_local local = {.path = path, .is_link = true, .hash_count = 1, .identity = sync_identity_of(st)};
    struct err_text reason;
    enum err e = sync_link_read(w->s->base, path, w->arena, &local.target);
    if (e == ERR_NOENT)
        return ERR_OK;
    if (e == ERR_OK && sync_link_check(path, local.target, &reason) != ERR_OK) {
        leave_out(w, path, ERR_INVAL, reason.text);
        return ERR_OK;
    }
    if (e != ERR_OK)
        return err_explain(why, e, "%.*s: %s", (int)MIN(path.size, (size_t)180), (const char *)path.data,
                           err_message(e));
    local.hashes = arena_alloc(w->arena, sizeof *local.hashes);
    sync_link_hash(local.target, local.hashes);
    add_found(w, &local);
    return ERR_OK;
}

/* ---- directories ---- */

static void push_directory(struct scanning *w, struct slice path, uint32_t mode)
{
    if (w->directory_count == w->directory_capacity) {
        w->directory_capacity = MAX(2 * w->directory_capacity, (size_t)64);
        w->directories = mem_realloc(w->directories, w->directory_capacity * sizeof *w->directories);
    }
    w->directories[w->directory_count++] = (struct sync_local_directory){.path = path, .mode = mode};
}

static struct slice join(struct arena *arena, struct slice directory, const char *name)
{
    size_t size = strlen(name), prefix = directory.size > 0 ? directory.size + 1 : 0;
    uint8_t *path = arena_alloc(arena, prefix + size + 1);
    if (prefix > 0) {
        memcpy(path, directory.data, directory.size);
        path[directory.size] = '/';
    }
    memcpy(path + prefix, name, size);
    return SLICE(path, prefix + size);
}

static enum err scan_entry(struct scanning *w, int directory, struct slice parent, const char *name,
                           struct err_text *why)
{
    struct stat st;
    struct err_text reason;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (parent.size == 0 && strcmp(name, SYNC_INDEX_NAME) == 0))
        return ERR_OK;
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_OK : err_explain(why, err_from_errno(errno), "%s: %s", name, strerror(errno));
    if (strncmp(name, SYNC_OWN_PREFIX, strlen(SYNC_OWN_PREFIX)) == 0) {
        /* Left behind by a run that was killed: only one works here at a time. */
        bool is_left = (S_ISREG(st.st_mode) && sync_temporary_is_name(name)) ||
                       (S_ISLNK(st.st_mode) && sync_temporary_is_link_name(name));
        if (is_left && !w->s->looks_only)
            (void)unlinkat(directory, name, 0);
        if (!is_left && strcmp(name, SYNC_OWN_PREFIX) != 0)
            leave_out(w, join(w->arena, parent, name), ERR_OK,
                      "names that begin with " SYNC_OWN_PREFIX " are reserved");
        return ERR_OK;
    }
    struct slice path = join(w->arena, parent, name);
    bool link = S_ISLNK(st.st_mode) && w->s->links;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !link)
        leave_out(w, path, ERR_OK, S_ISLNK(st.st_mode) ? "a symbolic link is not followed" : "it is no regular file");
    else if (sync_path_check(path, &reason) != ERR_OK)
        leave_out(w, path, ERR_INVAL, reason.text);
    else if (S_ISDIR(st.st_mode))
        push_directory(w, path, st.st_mode & 0777);
    else
        return link ? scan_link(w, path, &st, why) : scan_file(w, path, &st, why);
    return ERR_OK;
}

static enum err scan_directory(struct scanning *w, struct slice path, struct err_text *why)
{
    enum err e = ERR_OK;
    int fd = sync_local_open_directory(w->s->base, path, true, false, &e);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        e = fd >= 0 ? err_from_errno(errno) : e;
        if (fd >= 0)
            close(fd);
        if (e == ERR_NOENT && path.size > 0)
            return ERR_OK;
        return err_explain(why, e, "%.*s: %s", (int)MIN(path.size, (size_t)180), (const char *)path.data,
                           err_message(e));
    }
    if (w->s->on_directory)
        w->s->on_directory(w->s->context, path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            e = err_explain(why, err_from_errno(errno), "%.*s: %s", (int)MIN(path.size, (size_t)180),
                            (const char *)path.data, strerror(errno));
        if (!entry || e != ERR_OK)
            break;
        e = scan_entry(w, dirfd(dir), path, entry->d_name, why);
    }
    closedir(dir);
    return e;
}

enum err sync_scan(const struct sync_scan *s, struct arena *arena, struct sync_scanned *ret, struct err_text *why)
{
    struct scanning w = {.s = s, .arena = arena, .buffer = mem_alloc(READ_BYTES)};
    enum err e = ERR_OK;
    push_directory(&w, SLICE("", 0), 0);
    while (e == ERR_OK && w.directory_at < w.directory_count)
        e = scan_directory(&w, w.directories[w.directory_at++].path, why);
    if (e == ERR_OK) {
        if (w.count > 1)
            qsort(w.found, w.count, sizeof *w.found, by_path);
        size_t directories = w.directory_count - 1;
        *ret = (struct sync_scanned){.file_count = w.count, .directory_count = directories};
        ret->files = arena_alloc(arena, (w.count + 1) * sizeof *ret->files);
        if (w.count > 0)
            memcpy(ret->files, w.found, w.count * sizeof *ret->files);
        ret->directories = arena_alloc(arena, (directories + 1) * sizeof *ret->directories);
        memcpy(ret->directories, w.directories + 1, directories * sizeof *ret->directories);
    }
    free(w.found);
    free(w.directories);
    free(w.buffer);
    return e;
}
