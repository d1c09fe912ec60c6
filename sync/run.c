#include "sync/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/channel.h"
#include "sync/directories.h"
#include "sync/index_file.h"
#include "sync/parallel.h"

#define FILES_AT_A_TIME 8u /* most of the time each waits for answers */
#define INDEX_PERIOD_NS (1 * NS_PER_S)

struct run {
    const struct sync_options *o;
    struct arena arena;
    struct sync_export export;
    struct sync_index index;
    struct sync_index_file file;
    struct map_bytes left_out; /* path -> the run */
    struct sync_scanned here;
    struct sync_remote *remotes;
    size_t remote_count;
    struct slice *directories; /* that are empty on both sides, as far as is known */
    size_t directory_count;
    struct sync_step *steps;
    struct sync_row *rows; /* of each step, as the index is to have it; version 0: not */
    uint64_t *inos;        /* of each step: which file of the server the row is of; 0: none */
    size_t count;
    int64_t as_of_ns;   /* of the index */
    int64_t began_ns;   /* the scan, by the wall clock */
    int64_t written_ns; /* when the index was written last */
    struct sync_progress progress;
    struct sync_counts counts;
    pthread_mutex_t
        lock;         /* protects the following, the callbacks, and what is above, while there are several threads */
    enum err failure; /* that has ended the run */
    struct err_text *why;
};

void sync_memory_free(struct sync_memory *m)
{
    arena_free(&m->arena);
    bytes_free(&m->left_directories);
    *m = (struct sync_memory){0};
}

/* ---- what is told ---- */

static void on_left_out(void *context, struct slice path, enum err e, const char *why)
{
    struct run *r = context;
    if (map_bytes_put(&r->left_out, arena_slice(&r->arena, path), r) == NULL) {
        r->counts.left_out += e != ERR_OK;
        r->o->on_left_out(r->o->context, path, e, why);
    }
}

static void on_directory(void *context, struct slice path)
{
    struct run *r = context;
    if (r->o->on_directory)
        r->o->on_directory(r->o->context, path);
}

static void tell_progress(struct run *r)
{
    if (r->o->on_progress && !r->o->dry_run)
        r->o->on_progress(r->o->context, &r->progress);
}

static void on_bytes(void *context, uint64_t bytes)
{
    struct run *r = context;
    pthread_mutex_lock(&r->lock);
    r->progress.bytes_done += bytes;
    tell_progress(r);
    pthread_mutex_unlock(&r->lock);
}

/* ---- looking ---- */

/* Everything that was here deleted would be a correct answer to an export in which there is nothing, but such an export
 * is rather another one than was synced before. */
static enum err check_export(const struct run *r)
{
    size_t files = 0;
    for (size_t i = 0; i < r->index.count; i++)
        files += !r->index.rows[i].deleted;
    if (files == 0 || r->remote_count > 0 || r->export.own_ino != 0)
        return ERR_OK;
    return err_explain(r->why, ERR_WRONG_CLUSTER,
                       "the index has files, but nothing was ever synced with this export: is it the right one? "
                       "Without " SYNC_INDEX_NAME " everything here will be uploaded");
}

static enum err look(struct run *r, struct sync_memory *memory)
{
    const struct sync_options *o = r->o;
    int64_t began_ns = clock_wall_ns();
    struct sync_scan scan = {.base = o->base,
                             .block_bytes = o->block_bytes,
                             .looks_only = o->dry_run,
                             .links = o->links,
                             .index = &r->index,
                             .known = memory ? memory->locals : NULL,
                             .known_count = memory ? memory->local_count : 0,
                             .known_ns = memory ? memory->began_ns : 0,
                             .on_directory = on_directory,
                             .on_left_out = on_left_out,
                             .context = r,
                             .cancel = o->caller.cancel};
    TRY(sync_scan(&scan, &r->arena, &r->here, r->why));
    r->began_ns = began_ns;
    TRY(sync_export_list(&r->export, &r->index, &r->remotes, &r->remote_count, r->why));
    TRY(check_export(r));
    struct sync_trees trees = {.locals = r->here.files,
                               .local_count = r->here.file_count,
                               .remotes = r->remotes,
                               .remote_count = r->remote_count,
                               .index = &r->index,
                               .written_ns = r->file.there ? r->file.identity.ctime_ns : 0,
                               .left_out = &r->left_out};
    sync_plan(&trees, &r->arena, &r->steps, &r->count);
    return ERR_OK;
}

/* ---- rows ---- */

static struct sync_row tombstone_row(const struct sync_step *s)
{
    return (struct sync_row){.path = s->path, .version = s->version, .deleted = true};
}

static struct sync_row row_before(const struct sync_step *s)
{
    if (s->action == SYNC_KEEP && !s->local)
        return tombstone_row(s);
    struct sync_row row = s->row ? *s->row : (struct sync_row){.path = s->path};
    if (s->action == SYNC_KEEP)
        row.version = s->version;
    return row;
}

static struct sync_row directory_row(struct slice path, struct arena *arena)
{
    uint8_t *with_slash = arena_alloc(arena, path.size + 1);
    memcpy(with_slash, path.data, path.size);
    with_slash[path.size] = '/';
    return (struct sync_row){.path = SLICE(with_slash, path.size + 1), .version = 1};
}

static int by_path(const void *a, const void *b)
{
    return slice_compare(((const struct sync_row *)a)->path, ((const struct sync_row *)b)->path);
}

static enum err write_index(struct run *r)
{
    size_t count = 0;
    struct arena arena = {0};
    _cleanup_free_ struct sync_row *rows = mem_alloc((r->count + r->directory_count + 1) * sizeof *rows);
    for (size_t i = 0; i < r->count; i++)
        if (r->rows[i].version > 0)
            rows[count++] = r->rows[i];
    for (size_t i = 0; i < r->directory_count; i++)
        rows[count++] = directory_row(r->directories[i], &arena);
    qsort(rows, count, sizeof *rows, by_path);
    r->written_ns = clock_boot_ns();
    enum err e = sync_index_file_write(&r->file, rows, count, r->as_of_ns, r->why);
    arena_free(&arena);
    return e;
}

static int remote_by_path(const void *a, const void *b)
{
    return slice_compare(((const struct sync_remote *)a)->path, ((const struct sync_remote *)b)->path);
}

/* The index may be as of the newest that was seen or done if each file of a row's version still is the row's: what was
 * replaced while this run was at work is older than what it did afterwards. Else it stays as of when it was, and the
 * next run looks closer at what is newer. */
static void advance(struct run *r)
{
    int64_t newest_ns = sync_export_newest_ns(&r->export);
    struct sync_remote *now;
    size_t count;
    if (newest_ns <= r->as_of_ns || sync_export_look_again(&r->export, &now, &count) != ERR_OK)
        return;
    for (size_t i = 0; i < r->count; i++) {
        const struct sync_remote key = {.path = r->steps[i].path};
        const struct sync_remote *found = bsearch(&key, now, count, sizeof *now, remote_by_path);
        if (found && found->version == r->rows[i].version && found->ino != r->inos[i])
            return;
    }
    r->as_of_ns = newest_ns;
}

/* ---- doing ---- */

/* This file's own business; after anything else there is no use in going on. */
static bool is_of_the_file(enum err e)
{
    switch (e) {
    case ERR_NOENT:
    case ERR_EXIST:
    case ERR_NOTDIR:
    case ERR_ISDIR:
    case ERR_NOTEMPTY:
    case ERR_INVAL:
    case ERR_NAMETOOLONG:
    case ERR_FBIG:
    case ERR_STALE:
    case ERR_AGAIN:
    case ERR_VERSION:
    case ERR_ACCES:
    case ERR_PERM:
    case ERR_LOOP:
        return true;
    default:
        return false;
    }
}

static enum err download(struct run *r, struct sync_step *s, struct sync_row *row)
{
    struct sync_got got;
    TRY(sync_export_get(&r->export, r->o->base, s, &got));
    if (s->local && sync_hashes_equal(s->local->hashes, s->local->hash_count, got.hashes, got.hash_count))
        s->discards = false; /* the same was done on both sides, or by a run that was ended before it could note it */
    s->version = got.version;
    r->inos[s - r->steps] = got.ino;
    *row =
        (struct sync_row){.path = s->path, .version = got.version, .hashes = got.hashes, .hash_count = got.hash_count};
    return ERR_OK;
}

/* Somebody else was faster: the server's file is the one that counts. */
static enum err adopt(struct run *r, struct sync_step *s, struct sync_row *row)
{
    s->discards = s->local != NULL;
    enum err e = download(r, s, row);
    if (e != ERR_OK)
        return e == ERR_NOENT ? ERR_VERSION : e;
    s->action = SYNC_DOWNLOAD;
    return ERR_OK;
}

static enum err upload(struct run *r, struct sync_step *s, struct sync_row *row)
{
    struct sync_sent sent;
    enum err e = sync_export_put(&r->export, r->o->base, s, &sent);
    if (e == ERR_VERSION)
        return adopt(r, s, row);
    TRY(e);
    r->inos[s - r->steps] = sent.ino;
    if (s->local->is_link)
        s->version = 1; /* as all of them have */
    *row =
        (struct sync_row){.path = s->path, .version = s->version, .hashes = sent.hashes, .hash_count = sent.hash_count};
    return ERR_OK;
}

static enum err delete_there(struct run *r, struct sync_step *s, struct sync_row *row)
{
    enum err e = sync_export_delete(&r->export, r->o->base, s);
    if (e == ERR_VERSION)
        return adopt(r, s, row);
    TRY(e);
    *row = tombstone_row(s);
    return ERR_OK;
}

/* Under the export's lock. The directory is gone there; here, and those above it, as far as nothing is in them. */
static void remove_directories(struct run *r, struct slice path)
{
    for (; path.size > 0; path = sync_path_directory(path)) {
        if (map_bytes_get(&r->export.directories, path)) {
            bytes_blob(&r->export.left_directories, path);
            return;
        }
        sync_local_remove_directory(r->o->base, path);
    }
}

/* Who removes a tree removes its files first: directories that were still there when the last run removed its files
 * on the other side may be gone now. */
static void remove_left_directories(struct run *r, struct sync_memory *memory)
{
    struct cursor c = cursor_of(bytes_slice(&memory->left_directories));
    while (cursor_ok(&c) && c.at < c.end) {
        struct slice path = cursor_blob(&c, SYNC_PATH_BYTES);
        if (!map_bytes_get(&r->export.directories, path))
            remove_directories(r, path);
        else if (!sync_local_is_directory(r->o->base, path))
            sync_export_remove_directories(&r->export, r->o->base, path);
    }
    bytes_free(&memory->left_directories);
}

static enum err delete_here(struct run *r, struct sync_step *s, struct sync_row *row)
{
    int base = r->o->base;
    TRY(sync_local_delete(base, s->path, &s->local->identity));
    *row = tombstone_row(s);
    pthread_mutex_lock(&r->export.lock);
    remove_directories(r, sync_path_directory(s->path));
    pthread_mutex_unlock(&r->export.lock);
    if (!s->remote || s->remote->tombstone < s->version)
        return sync_tombstone_put(&r->export, s->path, s->version);
    return ERR_OK;
}

static enum err do_step(struct run *r, struct sync_step *s, struct sync_row *row)
{
    switch (s->action) {
    case SYNC_UPLOAD:
        return upload(r, s, row);
    case SYNC_DOWNLOAD:
        return download(r, s, row);
    case SYNC_DELETE_LOCAL:
        return delete_here(r, s, row);
    case SYNC_DELETE_REMOTE:
    case SYNC_BURY:
        return delete_there(r, s, row);
    case SYNC_ADOPT:
        return sync_local_set_attributes(r->o->base, s->path, &s->local->identity, s->remote->mode,
                                         s->remote->mtime_ns);
    case SYNC_GIVE:
        return sync_export_give(&r->export, s);
    case SYNC_BLOCKED:
        return ERR_EXIST;
    case SYNC_MAKE_LOCAL:
    case SYNC_MAKE_REMOTE:
    case SYNC_REMOVE_LOCAL:
    case SYNC_REMOVE_REMOTE:
    case SYNC_KEEP:
        break;
    }
    return ERR_OK;
}

static void count_step(struct run *r, const struct sync_step *s)
{
    struct sync_counts *c = &r->counts;
    c->uploaded += s->action == SYNC_UPLOAD;
    c->downloaded += s->action == SYNC_DOWNLOAD;
    c->deleted_here += s->action == SYNC_DELETE_LOCAL;
    c->deleted_there += s->action == SYNC_DELETE_REMOTE;
    c->attributes += s->action == SYNC_ADOPT || s->action == SYNC_GIVE;
    c->kept += s->action == SYNC_KEEP && s->local;
    c->discarded += s->discards;
}

static const char *failure_text(const struct sync_step *s, enum err e)
{
    if (e == ERR_AGAIN)
        return "it has changed here meanwhile; sync again";
    if (e == ERR_VERSION || e == ERR_NOENT)
        return "it has changed on the server meanwhile; sync again";
    if (s->action == SYNC_BLOCKED)
        return "here and on the server it is not the same kind of thing; remove one of them";
    return err_message(e);
}

/* With the lock. The first failure that ends the run counts. */
static void end_run(struct run *r, enum err e, struct slice path)
{
    if (r->failure != ERR_OK)
        return;
    r->failure = e;
    if (e == ERR_CANCELLED)
        (void)err_explain(r->why, e, "interrupted");
    else if (path.size > 0)
        (void)err_explain(r->why, e, "%.*s: %s", (int)MIN(path.size, (size_t)150), (const char *)path.data,
                          err_message(e));
}

/* With the lock. */
static void end_step(struct run *r, const struct sync_step *s, enum err e)
{
    r->counts.failed += e != ERR_OK && s->action != SYNC_BLOCKED;
    r->counts.left_out += s->action == SYNC_BLOCKED;
    if (e == ERR_OK)
        count_step(r, s);
    if (s->action != SYNC_KEEP)
        r->o->on_step(r->o->context, s, e, e == ERR_OK ? "" : failure_text(s, e));
    r->progress.steps_done += s->action != SYNC_KEEP;
    tell_progress(r);
    if (r->o->dry_run || clock_boot_ns() - r->written_ns <= INDEX_PERIOD_NS)
        return;
    e = write_index(r);
    if (e != ERR_OK)
        end_run(r, e, SLICE(NULL, 0)); /* which has told why */
}

struct round {
    struct run *r;
    size_t *steps; /* their indexes */
};

/* Any thread. */
static void run_step(void *context, size_t n)
{
    struct round *round = context;
    struct run *r = round->r;
    size_t i = round->steps[n];
    struct sync_step *s = &r->steps[i];
    struct sync_row row = r->rows[i];
    pthread_mutex_lock(&r->lock);
    if (r->o->caller.cancel && rpc_cancel_fired(r->o->caller.cancel))
        end_run(r, ERR_CANCELLED, s->path);
    bool over = r->failure != ERR_OK;
    pthread_mutex_unlock(&r->lock);
    if (over)
        return;
    enum err e = r->o->dry_run && s->action != SYNC_BLOCKED ? ERR_OK : do_step(r, s, &row);
    pthread_mutex_lock(&r->lock);
    r->rows[i] = row;
    if (e == ERR_OK || is_of_the_file(e))
        end_step(r, s, e);
    else
        end_run(r, e, s->path);
    pthread_mutex_unlock(&r->lock);
}

/* One kind after the other, since what is deleted may be in the way of what comes. */
static enum err do_all(struct run *r)
{
    static const enum sync_action order[] = {SYNC_DELETE_LOCAL, SYNC_DELETE_REMOTE, SYNC_BURY,
                                             SYNC_DOWNLOAD,     SYNC_UPLOAD,        SYNC_ADOPT,
                                             SYNC_GIVE,         SYNC_BLOCKED,       SYNC_KEEP};
    _cleanup_free_ bool *done = mem_zalloc(r->count + 1);
    _cleanup_free_ size_t *steps = mem_alloc((r->count + 1) * sizeof *steps);
    for (size_t kind = 0; kind < ARRAY_SIZE(order); kind++) {
        size_t count = 0;
        for (size_t i = 0; i < r->count; i++) {
            bool told = order[kind] == SYNC_BLOCKED && map_bytes_get(&r->left_out, r->steps[i].path);
            if (!done[i] && !told && r->steps[i].action == order[kind]) {
                done[i] = true;
                steps[count++] = i;
            }
        }
        struct round round = {.r = r, .steps = steps};
        sync_parallel(r->o->dry_run ? 1 : FILES_AT_A_TIME, count, run_step, &round);
    }
    return r->failure;
}

static void on_directory_step(void *context, struct slice path, enum sync_action action, enum err e)
{
    struct run *r = context;
    struct sync_step step = {.path = path, .action = action, .version = 1};
    r->counts.directories += e == ERR_OK;
    r->counts.failed += e != ERR_OK;
    r->o->on_step(r->o->context, &step, e, e == ERR_OK ? "" : err_message(e));
}

static void do_directories(struct run *r)
{
    struct sync_directories d = {.export = &r->export,
                                 .base = r->o->base,
                                 .index = &r->index,
                                 .here = r->here.directories,
                                 .here_count = r->here.directory_count,
                                 .steps = r->steps,
                                 .step_count = r->count,
                                 .left_out = &r->left_out,
                                 .dry_run = r->o->dry_run,
                                 .on_step = on_directory_step,
                                 .context = r};
    sync_directories_run(&d, &r->directories, &r->directory_count);
}

static void measure(struct run *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct sync_step *s = &r->steps[i];
        r->progress.steps += s->action != SYNC_KEEP;
        r->progress.bytes += s->action == SYNC_UPLOAD     ? s->local->identity.size
                             : s->action == SYNC_DOWNLOAD ? s->remote->size
                                                          : 0;
    }
}

static enum err run_steps(struct run *r)
{
    r->rows = arena_alloc(&r->arena, (r->count + 1) * sizeof *r->rows);
    r->inos = arena_zalloc(&r->arena, (r->count + 1) * sizeof *r->inos);
    for (size_t i = 0; i < r->count; i++) {
        const struct sync_remote *remote = r->steps[i].remote;
        r->rows[i] = row_before(&r->steps[i]);
        r->inos[i] = remote && remote->there ? remote->ino : 0;
    }
    r->as_of_ns = MAX(r->index.as_of_ns, (int64_t)1); /* of 0 nothing would be known */
    r->directories = r->index.directories;            /* until there is more to say */
    r->directory_count = r->index.directory_count;
    r->written_ns = clock_boot_ns();
    measure(r);
    tell_progress(r);
    uint64_t own;
    enum err e = r->o->dry_run ? ERR_OK : sync_export_own(&r->export, &own); /* from now on it was synced */
    if (e == ERR_OK) {
        e = do_all(r);
        if (e == ERR_OK)
            do_directories(r);
    } else {
        (void)err_explain(r->why, e, "/" SYNC_OWN_DIRECTORY ": %s", err_message(e));
    }
    if (r->o->dry_run)
        return e;
    if (e == ERR_OK)
        advance(r);
    struct err_text first = *r->why;
    enum err written = write_index(r);
    if (e == ERR_OK)
        return written;
    *r->why = first;
    return e;
}

enum err sync_run(const struct sync_options *o, struct sync_memory *memory, struct sync_counts *ret,
                  struct err_text *why)
{
    struct run r = {.o = o, .lock = PTHREAD_MUTEX_INITIALIZER, .why = why};
    r.export = (struct sync_export){.surf = o->surf,
                                    .caller = o->caller,
                                    .cancel = o->caller.cancel,
                                    .block_bytes = o->block_bytes,
                                    .looks_only = o->dry_run,
                                    .links = o->links,
                                    .lock = PTHREAD_MUTEX_INITIALIZER,
                                    .arena = &r.arena,
                                    .on_left_out = on_left_out,
                                    .on_bytes = on_bytes,
                                    .context = &r};
    r.export.caller.cancel = NULL;
    enum err e = sync_index_file_read(&r.file, o->base, &r.arena, &r.index, why);
    if (e == ERR_OK)
        e = sync_index_file_claim(&r.file, o->owner, why);
    if (e == ERR_OK)
        e = look(&r, memory);
    if (e == ERR_OK && memory && !o->dry_run)
        remove_left_directories(&r, memory);
    if (e == ERR_OK)
        e = run_steps(&r);
    *ret = r.counts;
    if (memory && e == ERR_OK) {
        bytes_free(&memory->left_directories);
        memory->left_directories = r.export.left_directories;
        r.export.left_directories = (struct bytes){0};
    }
    sync_export_free(&r.export);
    pthread_mutex_destroy(&r.lock);
    sync_index_file_free(&r.file);
    map_bytes_free(&r.left_out);
    if (memory && e == ERR_OK) {
        arena_free(&memory->arena);
        memory->arena = r.arena;
        memory->locals = r.here.files;
        memory->local_count = r.here.file_count;
        memory->began_ns = r.began_ns; /* of these: a run that fails leaves all of it as it was */
    } else {
        arena_free(&r.arena);
    }
    return e;
}
