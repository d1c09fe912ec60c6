#include "sync/index_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"

#define OWNER_ATTRIBUTE "user.surfsync.export"

static enum err read_all(int fd, uint64_t size, struct bytes *to)
{
    if (size > SYNC_INDEX_BYTES)
        return ERR_TOO_BIG;
    bytes_reserve(to, size + 1);
    while (to->size <= size) {
        ssize_t n = read(fd, to->data + to->size, size + 1 - to->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        if (n == 0)
            break;
        to->size += (size_t)n;
    }
    return to->size == size ? ERR_OK : ERR_AGAIN;
}

enum err sync_index_file_read(struct sync_index_file *f, int base, struct arena *arena, struct sync_index *ret,
                              struct err_text *why)
{
    *f = (struct sync_index_file){.base = base};
    struct sync_index index = {0};
    uint32_t mode;
    enum err e = ERR_OK;
    int fd = sync_local_open_file(base, slice_str(SYNC_INDEX_NAME), &f->identity, &mode, &e);
    if (fd < 0 && e == ERR_NOENT) {
        *ret = index;
        return ERR_OK;
    }
    if (fd < 0)
        return err_explain(why, e, SYNC_INDEX_NAME ": %s", e == ERR_INVAL ? "it is no regular file" : err_message(e));
    e = read_all(fd, f->identity.size, &f->text);
    close(fd);
    if (e != ERR_OK)
        return err_explain(why, e, SYNC_INDEX_NAME ": %s", err_message(e));
    TRY(sync_index_parse(bytes_slice(&f->text), arena, &index, why));
    f->there = true;
    f->as_of_ns = index.as_of_ns = f->identity.mtime_ns;
    *ret = index;
    return ERR_OK;
}

enum err sync_index_file_claim(struct sync_index_file *f, const char *owner, struct err_text *why)
{
    char noted[SYNC_OWNER_BYTES + 1];
    struct sync_identity identity;
    uint32_t mode;
    enum err e = ERR_OK;
    f->owner = owner;
    int fd = f->there ? sync_local_open_file(f->base, slice_str(SYNC_INDEX_NAME), &identity, &mode, &e) : -1;
    if (fd < 0)
        return e;
    ssize_t size = fgetxattr(fd, OWNER_ATTRIBUTE, noted, sizeof noted - 1);
    close(fd);
    if (size < 0)
        return ERR_OK;
    noted[size] = 0;
    if (strcmp(noted, owner) == 0)
        return ERR_OK;
    return err_explain(why, ERR_WRONG_CLUSTER,
                       SYNC_INDEX_NAME " is of another cluster or export, by which files would be deleted here: "
                                       "remove it to merge this directory with %.100s",
                       owner);
}

static bool is_same(const struct sync_index_file *f, const struct bytes *text)
{
    return f->there && slice_equal(bytes_slice(&f->text), bytes_slice(text));
}

static struct timespec time_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static enum err replace(struct sync_index_file *f, const struct bytes *text, int64_t as_of_ns)
{
    struct sync_temporary t;
    uint32_t mode;
    TRY(sync_temporary_begin(f->base, slice_str(SYNC_INDEX_NAME), &t));
    enum err e = sync_local_write_all(t.fd, text->data, text->size);
    if (e == ERR_OK && f->owner)
        (void)!fsetxattr(t.fd, OWNER_ATTRIBUTE, f->owner, strlen(f->owner), 0);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, time_of(as_of_ns)};
    if (e == ERR_OK && as_of_ns > 0 && futimens(t.fd, times) != 0)
        e = err_from_errno(errno);
    if (e != ERR_OK) {
        sync_temporary_drop(&t);
        return e;
    }
    TRY(sync_temporary_commit(&t, 0644, f->there ? &f->identity : NULL));
    int fd = sync_local_open_file(f->base, slice_str(SYNC_INDEX_NAME), &f->identity, &mode, &e);
    if (fd < 0)
        return e;
    close(fd);
    return ERR_OK;
}

enum err sync_index_file_write(struct sync_index_file *f, const struct sync_row *rows, size_t count, int64_t as_of_ns,
                               struct err_text *why)
{
    struct bytes text = {0};
    sync_index_format(rows, count, &text);
    if (is_same(f, &text) && f->as_of_ns == as_of_ns) {
        bytes_free(&text);
        return ERR_OK;
    }
    enum err e = replace(f, &text, as_of_ns);
    if (e != ERR_OK) {
        bytes_free(&text);
        return err_explain(why, e, SYNC_INDEX_NAME " can't be written: %s",
                           e == ERR_AGAIN ? "another program has changed it" : err_message(e));
    }
    bytes_free(&f->text);
    f->text = text;
    f->there = true;
    f->as_of_ns = as_of_ns;
    return ERR_OK;
}

void sync_index_file_free(struct sync_index_file *f)
{
    bytes_free(&f->text);
}
