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

uint64_t surf_orphan_of(enum meta_op op, const struct meta_reply *reply)
{
    if (reply->status != ERR_OK || !reply->orphaned)
        return 0;
    return op == META_RENAME ? reply->replaced.ino : reply->attr.ino;
}

/* An unlink whose caller was interrupted has made an orphan after all: nothing but this knows of it. */
static void on_resolved(void *context, enum meta_op op, const struct meta_reply *reply)
{
    struct surf *s = context;
    if (op != META_UNLINK && op != META_RENAME)
        return;
    uint64_t orphan = surf_orphan_of(op, reply);
    if (orphan == 0)
        return;
    uint64_t inos[LIMIT_OPEN_HINTS];
    unsigned count;
    (void)file_unlinks_begin(s->files, inos, &count);
    file_unlinks_end(s->files, orphan);
}

static void on_waiting(void *context, const char *text)
{
    struct surf *s = context;
    s->on_waiting(s->on_waiting_context, text);
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
                                       .on_waiting = options->on_waiting ? on_waiting : NULL,
                                       .on_resolved = on_resolved,
                                       .context = s};
    struct meta_attr root;
    int64_t asked = clock_boot_ns();
    enum err e = meta_client_open(&meta, &s->meta, &root, why);
    if (e != ERR_OK) {
        free(s);
        return e;
    }
    struct file_options files = {
        .cache_bytes = options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE_BYTES,
        .dirty_bytes = options->dirty_bytes ? options->dirty_bytes : DEFAULT_DIRTY_BYTES,
        .readahead_bytes = options->readahead_bytes ? options->readahead_bytes : DEFAULT_READAHEAD_BYTES,
        .on_stale = options->on_stale,
        .context = options->context,
    };
    surf_recent_init(&s->recent);
    surf_recent_put(&s->recent, &root, asked);
    s->blocks = block_client_new(s->meta, options->soft_timeout_ns);
    s->files = open_files_new(s->meta, s->blocks, &files);
    *ret = s;
    return ERR_OK;
}

void surf_close_export(struct surf *s, int64_t timeout_ns)
{
    if (!s)
        return;
    open_files_free(s->files, timeout_ns);
    block_client_free(s->blocks);
    meta_client_close(s->meta);
    surf_recent_close(&s->recent);
    free(s);
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

enum err surf_change(struct surf *s, const struct surf_caller *c, struct meta_command *command, uint64_t parent,
                     uint64_t other, struct meta_reply *ret)
{
    struct meta_reply reply;
    int64_t asked = clock_boot_ns();
    enum err e = meta_client_call(s->meta, command, cancel_of(c), &reply);
    if (e == ERR_OK && reply.status != ERR_OK)
        return reply.status;
    /* Without an outcome nobody knows what these look like now. */
    surf_recent_drop(&s->recent, parent);
    if (other != 0)
        surf_recent_drop(&s->recent, other);
    TRY(e);
    if (reply.has_attr)
        surf_recent_drop(&s->recent, reply.attr.ino);
    if (reply.has_replaced)
        surf_recent_drop(&s->recent, reply.replaced.ino);
    if (reply.has_parent)
        surf_recent_put(&s->recent, &reply.parent, asked);
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
        *ret = (struct surf_space){
            .total_bytes = space.total, .free_bytes = space.free, .used_inodes = reply.statfs.inodes};
    arena_free(&arena);
    return e;
}

struct open_files *surf_files(struct surf *s)
{
    return s->files;
}

struct meta_client *surf_meta(struct surf *s)
{
    return s->meta;
}
