#include "client/surf.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/surf_internal.h"

#define LOG_MODULE "surf"
#include "base/log.h"

#define DEFAULT_CACHE_BYTES (256 * MIB)
#define DEFAULT_DIRTY_BYTES (256 * MIB)
#define DEFAULT_READAHEAD_BYTES (8 * MIB)
#define DEFAULT_INODES 1000000u
#define DEFAULT_MERGE_AFTER_NS (5 * NS_PER_S)

static void on_waiting(void *context, const char *text)
{
    struct surf *s = context;
    s->on_waiting(s->on_waiting_context, text);
}

/* Before the files are there nothing is open. */
static void on_notice(void *context, const struct meta_notice *notice)
{
    struct surf *s = context;
    struct open_files *files = atomic_load(&s->files);
    if (files)
        file_notice(files, notice);
}

static unsigned closed_orphans(void *context, uint64_t *inos, unsigned max)
{
    struct surf *s = context;
    struct open_files *files = atomic_load(&s->files);
    return files ? file_closed_orphans(files, inos, max) : 0;
}

static void on_expired(void *context, uint64_t session)
{
    struct surf *s = context;
    struct locks *locks = atomic_load(&s->locks);
    if (locks)
        locks_expired(locks, session);
}

static void on_resolved(void *context, const struct meta_command *command, const struct meta_reply *reply)
{
    struct surf *s = context;
    struct locks *locks = atomic_load(&s->locks);
    if (locks)
        locks_resolved(locks, command, reply);
}

enum err surf_open_export(const struct surf_options *options, struct surf **ret, struct err_text *why)
{
    struct surf *s = MEM_NEW(struct surf);
    s->on_waiting = options->on_waiting;
    s->on_waiting_context = options->context;
    struct meta_client_options meta = {.servers = options->servers,
                                       .server_count = options->server_count,
                                       .export_name = options->export_name,
                                       .client_name = options->client_name,
                                       .open_timeout_ns = options->mount_timeout_ns,
                                       .soft_timeout_ns = options->soft_timeout_ns,
                                       .tells_not_done = options->tells_not_done,
                                       .read_from_any = options->read_from_any,
                                       .on_waiting = options->on_waiting ? on_waiting : NULL,
                                       .on_notice = on_notice,
                                       .closed_orphans = closed_orphans,
                                       .on_expired = on_expired,
                                       .on_resolved = on_resolved,
                                       .context = s};
    if (options->caches && !options->read_from_any) {
        struct known_options known = {.inodes_max = options->inodes_max ? options->inodes_max : DEFAULT_INODES,
                                      .no_ahead = options->no_ahead,
                                      .forget_attr = options->forget_attr,
                                      .forget_names = options->forget_names,
                                      .detached = options->detached,
                                      .context = options->context};
        s->known = meta.known = known_new(&known);
    }
    struct meta_attr root;
    enum err e = ERR_OK;
    if (options->disk_cache)
        e = disk_cache_open(options->disk_cache, options->disk_cache_bytes, &s->disk, why);
    if (e == ERR_OK)
        e = meta_client_open(&meta, &s->meta, &root, why);
    if (e != ERR_OK) {
        disk_cache_free(s->disk);
        known_free(s->known);
        free(s);
        return e;
    }
    struct file_options files = {
        .disk = s->disk,
        .cache_bytes = options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE_BYTES,
        .dirty_bytes = options->dirty_bytes ? options->dirty_bytes : DEFAULT_DIRTY_BYTES,
        .merge_after_ns = options->no_merge             ? 0
                          : options->merge_after_ns > 0 ? options->merge_after_ns
                                                        : DEFAULT_MERGE_AFTER_NS,
        .inline_bytes = options->no_inline ? 0 : LIMIT_INLINE_BYTES,
        .readahead_bytes = options->readahead_bytes ? options->readahead_bytes : DEFAULT_READAHEAD_BYTES,
        .on_stale = options->on_stale,
        .drop_pages = options->drop_pages,
        .atime = options->atime,
        .context = options->context,
        .known = s->known,
    };
    s->blocks = block_client_new(s->meta, options->soft_timeout_ns);
    atomic_store(&s->files, open_files_new(s->meta, s->blocks, &files));
    atomic_store(&s->locks, locks_new(s->meta, s->files));
    *ret = s;
    return ERR_OK;
}

void surf_cluster(struct surf *s, uint8_t ret_id[16])
{
    meta_client_cluster(s->meta, ret_id);
}

void surf_close_export(struct surf *s, int64_t timeout_ns)
{
    if (!s)
        return;
    meta_client_stop_leases(s->meta); /* no notice of a file comes any more */
    locks_stop(s->locks);
    open_files_free(s->files, timeout_ns);
    block_client_free(s->blocks);
    meta_client_close(s->meta); /* the locks go with the session */
    locks_free(s->locks);
    known_free(s->known);
    disk_cache_free(s->disk);
    free(s);
}

bool surf_squashes_root(struct surf *s)
{
    return meta_client_export_options(s->meta) & META_EXPORT_ROOT_SQUASH;
}

enum err surf_check_name(struct slice name)
{
    if (name.size == 0)
        return ERR_INVAL;
    if (name.size > LIMIT_NAME_BYTES)
        return ERR_NAMETOOLONG;
    if (slice_equal(name, slice_str(".")) || slice_equal(name, slice_str("..")))
        return ERR_INVAL;
    return memchr(name.data, '/', name.size) || memchr(name.data, 0, name.size) ? ERR_INVAL : ERR_OK;
}

static struct rpc_cancel *cancel_of(const struct surf_caller *c)
{
    return c ? c->cancel : NULL;
}

enum err surf_change(struct surf *s, const struct surf_caller *c, struct meta_command *command, struct meta_reply *ret)
{
    struct meta_reply reply;
    TRY(meta_client_call(s->meta, command, cancel_of(c), &reply));
    TRY(reply.status);
    *ret = reply;
    return ERR_OK;
}

enum err surf_query(struct surf *s, const struct surf_caller *c, struct meta_query *query, struct arena *arena,
                    struct meta_query_reply *ret)
{
    struct meta_query_reply reply;
    TRY(meta_client_query(s->meta, query, cancel_of(c), arena, &reply));
    TRY(reply.status);
    *ret = reply;
    return ERR_OK;
}

enum err surf_take_attr(struct surf *s, bool has_attr, const struct meta_attr *from, struct meta_attr *ret)
{
    if (!has_attr) {
        log_error("a reply of the metastore lacks its attributes");
        return ERR_PROTOCOL;
    }
    *ret = *from;
    file_overlay_attr(s->files, ret);
    return ERR_OK;
}

enum err surf_statfs(struct surf *s, const struct surf_caller *c, struct surf_space *ret)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_STATFS};
    struct meta_query_reply reply;
    struct block_client_space space = {0};
    enum err e = surf_query(s, c, &query, &arena, &reply);
    if (e == ERR_OK)
        e = block_client_space(s->blocks, cancel_of(c), &space);
    if (e == ERR_OK)
        *ret = (struct surf_space){.total_bytes = space.total,
                                   .free_bytes = space.free,
                                   .available_bytes = space.available,
                                   .used_inodes = reply.statfs.inodes};
    arena_free(&arena);
    return e;
}

void surf_stats(struct surf *s, struct surf_stats *ret)
{
    *ret = (struct surf_stats){.calls = meta_client_calls(s->meta)};
    file_stats(s->files, &ret->files);
    if (s->known)
        known_stats(s->known, &ret->known);
}

bool surf_pages_are_current(struct surf *s, uint64_t ino)
{
    return file_pages_are_current(s->files, ino);
}

struct open_files *surf_files(struct surf *s)
{
    return s->files;
}

struct locks *surf_locks(struct surf *s)
{
    return s->locks;
}

struct meta_client *surf_meta(struct surf *s)
{
    return s->meta;
}
