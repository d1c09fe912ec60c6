#include "snapshot/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "state"
#include "base/log.h"
#include "base/mem.h"
#include "raftlog/raftlog.h"
#include "snapshot/file.h"

/* state: u32 format, u64 number, u8 reset due, u64 index, u64 term; in the envelope of small_file_write. */
#define STATE_NAME "state"
#define STATE_FORMAT 1u
#define STATE_BYTES_MAX 64u
#define META_PREFIX "meta-"
#define OUTGOING_PREFIX "outgoing-"

static void path_of(const struct state_dir *d, uint64_t number, char to[PATH_MAX])
{
    char name[32];
    snprintf(name, sizeof name, META_PREFIX "%llu", (unsigned long long)number);
    file_path(to, d->base, name);
}

static enum err store(const struct state_dir *d, struct err_text *why)
{
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    _cleanup_(bytes_free) struct bytes b = {0};
    bytes_u32(&b, STATE_FORMAT);
    bytes_u64(&b, d->number);
    bytes_u8(&b, d->reset_due);
    bytes_u64(&b, d->index);
    bytes_u64(&b, d->term);
    TRY(files->open_dir(files->context, d->base, &dir, why));
    enum err e = small_file_write(files, dir, STATE_NAME, bytes_slice(&b));
    files->close_dir(files->context, dir);
    return e == ERR_OK ? ERR_OK
                       : err_explain(why, e, "%.150s/%s can't be written: %s", d->base, STATE_NAME, err_message(e));
}

static enum err decode(struct slice s, struct state_dir *d)
{
    struct cursor c = cursor_of(s);
    unsigned format = cursor_u32(&c);
    d->number = cursor_u64(&c);
    unsigned due = cursor_u8(&c);
    d->reset_due = due == 1;
    d->index = cursor_u64(&c);
    d->term = cursor_u64(&c);
    return cursor_done(&c) && format == STATE_FORMAT && due <= 1 && d->number > 0 ? ERR_OK : ERR_CORRUPT;
}

static enum err load(struct state_dir *d, struct err_text *why)
{
    const struct file_table *files = file_table_system();
    struct file_table_dir *dir = NULL;
    struct err_text reason = {""};
    _cleanup_(bytes_free) struct bytes b = {0};
    TRY(files->open_dir(files->context, d->base, &dir, why));
    enum err e = small_file_read(files, dir, STATE_NAME, STATE_BYTES_MAX, &b, &reason);
    files->close_dir(files->context, dir);
    if (e == ERR_OK)
        e = decode(bytes_slice(&b), d);
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        return e;
    return err_explain(why, e, "%.120s/%s is damaged: %.80s", d->base, STATE_NAME,
                       reason.text[0] ? reason.text : err_message(e));
}

enum err state_dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? ERR_OK : err_from_errno(errno);
    enum err e = ERR_OK;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            e = err_from_errno(errno);
    closedir(dir);
    if (e == ERR_OK && rmdir(path) != 0)
        e = err_from_errno(errno);
    return e;
}

/* Removes what a crash left over; *ret_states: other states that there were. */
static enum err clean(const struct state_dir *d, const char *keep, unsigned *ret_states)
{
    DIR *dir = opendir(d->base);
    if (!dir)
        return err_from_errno(errno);
    enum err e = ERR_OK;
    unsigned states = 0;
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(dir));) {
        char path[PATH_MAX];
        bool state = strncmp(entry->d_name, META_PREFIX, strlen(META_PREFIX)) == 0;
        bool outgoing = strncmp(entry->d_name, OUTGOING_PREFIX, strlen(OUTGOING_PREFIX)) == 0;
        file_path(path, d->base, entry->d_name);
        states += state && (!keep || strcmp(path, keep) != 0);
        if (outgoing || (state && keep && strcmp(path, keep) != 0))
            e = state_dir_remove(path);
    }
    closedir(dir);
    *ret_states = states;
    return e;
}

static bool holds_tables(const char *path)
{
    DIR *dir = opendir(path);
    bool tables = false;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        tables = tables || strstr(entry->d_name, ".sst");
    if (dir)
        closedir(dir);
    return tables;
}

/* RocksDB makes an empty state where it finds none: it must not do so in place of one that is lost. Only the first
 * directory may be without one, as it is until RocksDB has made its CURRENT. */
static enum err check_present(const struct state_dir *d, struct err_text *why)
{
    char path[PATH_MAX];
    struct stat s;
    file_path(path, d->path, "CURRENT");
    if (stat(path, &s) == 0)
        return ERR_OK;
    if (errno != ENOENT)
        return err_explain(why, err_from_errno(errno), "%.200s: %s", path, strerror(errno));
    bool is_new = d->number == 1 && stat(d->path, &s) == 0 && !holds_tables(d->path);
    return is_new ? ERR_OK
                  : err_explain(why, ERR_CORRUPT,
                                "%.150s is missing: the state is lost; surfd --rebuild makes it anew from the other "
                                "members",
                                path);
}

/* The directory is there before the small file says so: one that is missing later is a loss. */
static enum err create(struct state_dir *d, struct err_text *why)
{
    unsigned others = 0;
    path_of(d, d->number, d->path);
    (void)!rmdir(d->path); /* a creation that was cut short: only an empty directory goes */
    enum err e = clean(d, NULL, &others);
    if (e == ERR_OK && others > 0)
        return err_explain(why, ERR_CORRUPT, "%.150s/%s is missing, but there is a state", d->base, STATE_NAME);
    if (e == ERR_OK && mkdir(d->path, 0700) != 0)
        e = err_from_errno(errno);
    if (e == ERR_OK)
        e = file_sync_directory(d->base);
    if (e != ERR_OK)
        return err_explain(why, e, "%.200s can't be made: %s", d->path, err_message(e));
    return store(d, why);
}

enum err state_dir_open(const char *base, struct state_dir *ret, struct err_text *why)
{
    struct state_dir d = {.number = 1};
    unsigned others = 0;
    snprintf(d.base, sizeof d.base, "%s", base);
    enum err e = load(&d, why);
    if (e == ERR_NOT_FOUND)
        e = create(&d, why);
    TRY(e);
    path_of(&d, d.number, d.path);
    TRY(check_present(&d, why));
    e = clean(&d, d.path, &others);
    if (e != ERR_OK)
        return err_explain(why, e, "%.150s can't be cleaned: %s", base, err_message(e));
    *ret = d;
    return ERR_OK;
}

enum err state_dir_install(struct state_dir *d, const char *path, uint64_t index, uint64_t term, struct err_text *why)
{
    struct state_dir new = *d;
    new.number++;
    new.reset_due = true;
    new.index = index, new.term = term;
    path_of(&new, new.number, new.path);
    enum err e = state_dir_remove(new.path);
    if (e != ERR_OK || rename(path, new.path) != 0)
        return err_explain(why, e != ERR_OK ? e : err_from_errno(errno), "%.120s can't become %.100s", path, new.path);
    e = file_sync_directory(d->base);
    if (e != ERR_OK)
        return err_explain(why, e, "%.150s can't be synced", d->base);
    TRY(store(&new, why));
    if (state_dir_remove(d->path) != ERR_OK)
        log_warn("%s, the state before, can't be removed", d->path);
    *d = new;
    return ERR_OK;
}

enum err state_dir_settle(struct state_dir *d, struct err_text *why)
{
    struct state_dir settled = *d;
    settled.reset_due = false;
    settled.index = settled.term = 0;
    TRY(store(&settled, why));
    *d = settled;
    return ERR_OK;
}
