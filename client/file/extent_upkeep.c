#include "client/file/extent_upkeep.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "client/file/fragments.h"
#include "client/file/internal.h"
#include "client/moment.h"

#define LOG_MODULE "upkeep"
#include "base/log.h"

#define QUIET_LEAST_BLOCKS 8u
#define BUSY_LEAST_BLOCKS 64u /* of a file that is always written */
#define BUSY_QUIETS 6         /* so many times as long as a file has to be quiet, until it counts as one of these */
#define EMPTY_QUIETS 6        /* until the next look, when nothing was listed */
#define FILES_MAX 4096u       /* that are kept in mind; those behind them have their turn when some are done */
#define RATE_BYTES_PER_S (64 * (int64_t)MIB)
#define BUSY_PAUSE_NS (500 * NS_PER_MS) /* between two parts while this mount is used */

/* A file that is listed. */
struct listed {
    uint64_t ino, version;
    int64_t version_since_ns; /* when it was seen with this version first, */
    int64_t since_ns;         /* and when it was listed, or looked after while it was busy */
    int64_t not_before_ns;    /* what was left last time is tried again from here on */
};

struct extent_upkeep {
    struct open_files *files;
    struct rpc_cancel *stop;
    int64_t quiet_ns;
    pthread_t thread;
    atomic_uint_fast64_t parts, extents, overtaken;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* protected by lock */

    /* The thread's own. */
    struct listed *list, *list_before; /* by inode; FILES_MAX */
    unsigned count, count_before;
    uint64_t activity;
    int64_t idle_ns; /* until the next look while nothing is listed */
    struct fragments part;
};

/* False: it is to end. */
static bool pause_for(struct extent_upkeep *u, int64_t ns)
{
    int64_t until_ns = clock_boot_ns() + ns, now_ns;
    pthread_mutex_lock(&u->lock);
    while (!u->stopping && (now_ns = clock_boot_ns()) < until_ns)
        moment_wait_for(&u->changed, &u->lock, until_ns - now_ns);
    bool goes_on = !u->stopping;
    pthread_mutex_unlock(&u->lock);
    return goes_on;
}

/* ---- one part ---- */

/* The bytes of a part being put together. */
struct part_read {
    const struct fragments *part;
    uint8_t *to;
    struct sha256 ids[LIMIT_REWRITE_EXTENTS]; /* of the blocks that are to be fetched, each once */
    unsigned count;
    enum err error;
};

/* All pieces of one block. */
static void take_block(void *context, size_t index, struct block_buffer *block)
{
    (void)index;
    struct part_read *r = context;
    const struct fragments *p = r->part;
    for (unsigned n = 0; n < p->count; n++) {
        const struct meta_extent *x = &p->pieces[n];
        if (!sha256_equal(&x->block, &block->id))
            continue;
        if (x->block_offset > block->data.size || x->length > block->data.size - x->block_offset)
            r->error = ERR_CORRUPT;
        else
            memcpy(r->to + (x->file_offset - p->from), block->data.data + x->block_offset, x->length);
    }
}

/* Blocks are small and many here, and what takes the time is waiting for them: so they come together. Not through the
 * cache: what is read here is named by nobody soon. */
static enum err read_part(struct extent_upkeep *u, uint8_t *to)
{
    const struct fragments *p = &u->part;
    struct part_read *r = MEM_NEW(struct part_read);
    r->part = p;
    r->to = to;
    struct map_bytes seen = {0};
    for (unsigned n = 0; n < p->count; n++) {
        const struct sha256 *id = &p->pieces[n].block;
        if (map_bytes_put(&seen, SLICE(id->bytes, SHA256_SIZE), r))
            continue;
        struct block_buffer *block = block_cache_peek(u->files->cache, id);
        if (block)
            take_block(r, 0, block);
        else
            r->ids[r->count++] = *id;
        block_buffer_unref(block);
    }
    map_bytes_free(&seen);
    enum err e = block_client_get_many(u->files->blocks, r->ids, r->count, u->stop, take_block, r);
    if (e == ERR_OK)
        e = r->error;
    free(r);
    return e;
}

static enum err tell(struct extent_upkeep *u, struct meta_command *command)
{
    struct meta_reply reply;
    TRY(meta_client_call(u->files->meta, command, u->stop, &reply));
    return reply.status;
}

/* VERSION: it is another part by now. NOT_FOUND: perhaps also that, or a block of it is lost. */
static enum err rewrite_part(struct extent_upkeep *u, uint64_t ino)
{
    const struct fragments *p = &u->part;
    size_t size = p->to - p->from;
    uint8_t *data = mem_zalloc(size);
    enum err e = read_part(u, data);
    if (e != ERR_OK) {
        free(data);
        return e;
    }
    struct block_buffer *block = block_buffer_new(data, size);
    struct meta_command command = {.op = META_REWRITE,
                                   .rewrite = {.ino = ino,
                                               .offset = p->from,
                                               .length = (uint32_t)size,
                                               .extents = p->pieces,
                                               .extent_count = p->count,
                                               .block = block->id,
                                               .epoch = meta_client_epoch(u->files->meta)}};
    e = block_client_put_batch(u->files->blocks, &block, 1, u->stop);
    if (e == ERR_OK)
        e = tell(u, &command);
    block_buffer_unref(block);
    if (e == ERR_OK) {
        log_debug("inode %llu: %u extents at %llu are one block", (unsigned long long)ino, p->count,
                  (unsigned long long)p->from);
        atomic_fetch_add(&u->parts, 1);
        atomic_fetch_add(&u->extents, p->count);
        file_notice(u->files, &(struct meta_notice){META_NOTICE_REWRITTEN, ino}); /* who does it is not told */
    }
    return e;
}

/* Reads and commits of this mount so far. */
static uint64_t activity(struct extent_upkeep *u)
{
    struct block_cache_stats cache;
    block_cache_stats(u->files->cache, &cache);
    return cache.hits + cache.misses + atomic_load(&u->files->commits);
}

static bool yield_after(struct extent_upkeep *u, int64_t begun_ns)
{
    int64_t spent_ns = clock_boot_ns() - begun_ns;
    int64_t least_ns = (int64_t)(u->part.to - u->part.from) * NS_PER_S / RATE_BYTES_PER_S;
    uint64_t now = activity(u);
    bool busy = now != u->activity;
    u->activity = now;
    return pause_for(u, busy ? BUSY_PAUSE_NS : MAX(spent_ns, least_ns));
}

/* ---- one file ---- */

struct walk {
    uint64_t ino, at;
    unsigned least_blocks;
    /* Something was left as it is: it was changed meanwhile, or can't be read. */
    bool overtaken, unreadable;
};

/* What is fragmented in [from, to), which lies in one block of the grid, by these extents. */
static enum err look_at_region(struct extent_upkeep *u, struct walk *w, const struct meta_query_reply *r, uint64_t from,
                               uint64_t to)
{
    while (fragments_find(r->extents, r->extent_count, from, to, w->least_blocks, &u->part)) {
        int64_t begun_ns = clock_boot_ns();
        enum err e = rewrite_part(u, w->ino);
        if (e == ERR_VERSION || e == ERR_STALE_EPOCH) {
            w->overtaken = true;
            atomic_fetch_add(&u->overtaken, 1);
        } else if (e == ERR_NOT_FOUND || e == ERR_CORRUPT) {
            w->unreadable = true;
        } else if (e != ERR_OK) {
            return e;
        }
        from = u->part.to;
        if (!yield_after(u, begun_ns))
            return ERR_CANCELLED;
    }
    return ERR_OK;
}

/* As many regions as one answer tells of. w->at goes on, to UINT64_MAX at the end of the file. */
static enum err look_at_some(struct extent_upkeep *u, struct walk *w)
{
    struct arena a = {0};
    struct meta_query query = {.op = META_QUERY_EXTENTS, .ino = w->ino, .offset = w->at, .length = UINT64_MAX};
    struct meta_query_reply r;
    enum err e = meta_client_query(u->files->meta, &query, u->stop, &a, &r);
    if (e == ERR_OK)
        e = r.status;
    if (e == ERR_OK && !r.end && r.extent_count == 0)
        e = ERR_PROTOCOL;
    uint64_t known_to = META_SIZE_MAX, at = w->at;
    if (e == ERR_OK && !r.end)
        known_to = r.extents[r.extent_count - 1].file_offset + r.extents[r.extent_count - 1].length;
    for (unsigned n = 0; e == ERR_OK && n < r.extent_count;) {
        uint64_t from = MAX(at, r.extents[n].file_offset), end = r.extents[n].file_offset + r.extents[n].length;
        if (from >= end) {
            n++;
            continue;
        }
        uint64_t to = (from / LIMIT_BLOCK_BYTES + 1) * LIMIT_BLOCK_BYTES;
        if (to > known_to && at > w->at)
            break; /* the next answer tells of all of it */
        to = MIN(to, known_to);
        e = look_at_region(u, w, &r, from, to);
        at = to;
    }
    if (e == ERR_OK)
        w->at = r.end ? UINT64_MAX : at;
    arena_free(&a);
    return e;
}

/* *ret_done: it is listed no more. */
static enum err look_at_file(struct extent_upkeep *u, const struct listed *l, bool quiet, bool *ret_done)
{
    struct walk w = {.ino = l->ino, .least_blocks = quiet ? QUIET_LEAST_BLOCKS : BUSY_LEAST_BLOCKS};
    enum err e = ERR_OK;
    while (e == ERR_OK && w.at < META_SIZE_MAX && !(quiet && w.overtaken))
        e = look_at_some(u, &w);
    bool gone = e == ERR_STALE || e == ERR_INVAL;
    if (e != ERR_OK && !gone)
        return e;
    *ret_done = gone || (quiet && !w.overtaken && !w.unreadable);
    if (!*ret_done)
        return ERR_OK;
    struct meta_command done = {.op = META_REWRITE, .rewrite = {.ino = l->ino, .version = l->version}};
    return tell(u, &done);
}

/* ---- all files that are listed ---- */

static void add_listed(struct extent_upkeep *u, const struct meta_fragmented *f, unsigned *before, int64_t now_ns)
{
    struct listed *l = &u->list[u->count++];
    *l = (struct listed){.ino = f->ino, .version = f->version, .version_since_ns = now_ns, .since_ns = now_ns};
    while (*before < u->count_before && u->list_before[*before].ino < f->ino)
        ++*before;
    if (*before == u->count_before || u->list_before[*before].ino != f->ino)
        return;
    const struct listed *old = &u->list_before[*before];
    l->since_ns = old->since_ns;
    l->not_before_ns = old->not_before_ns;
    if (old->version == l->version)
        l->version_since_ns = old->version_since_ns;
}

/* The list as it is now; what was known of those that were on it stays known. */
static enum err read_list(struct extent_upkeep *u)
{
    struct listed *other = u->list_before;
    u->list_before = u->list, u->count_before = u->count;
    u->list = other, u->count = 0;
    unsigned before = 0;
    bool end = false;
    enum err e = ERR_OK;
    struct arena a = {0};
    while (e == ERR_OK && !end && u->count < FILES_MAX) {
        struct meta_query query = {.op = META_QUERY_FRAGMENTED, .ino = u->count ? u->list[u->count - 1].ino : 0};
        struct meta_query_reply r;
        e = meta_client_query(u->files->meta, &query, u->stop, &a, &r);
        if (e == ERR_OK)
            e = r.status;
        if (e != ERR_OK)
            break;
        int64_t now_ns = clock_boot_ns();
        for (unsigned n = 0; n < r.fragmented_count && u->count < FILES_MAX; n++)
            add_listed(u, &r.fragmented[n], &before, now_ns);
        end = r.end || r.fragmented_count == 0;
        arena_reset(&a);
    }
    arena_free(&a);
    return e;
}

static bool is_due(const struct extent_upkeep *u, const struct listed *l, bool *ret_quiet)
{
    int64_t now_ns = clock_boot_ns();
    *ret_quiet = now_ns - l->version_since_ns >= u->quiet_ns;
    return now_ns >= l->not_before_ns && (*ret_quiet || now_ns - l->since_ns >= BUSY_QUIETS * u->quiet_ns);
}

static enum err look(struct extent_upkeep *u)
{
    TRY(read_list(u));
    u->activity = activity(u);
    /* Mounts begin at different places, so that they seldom do the same. */
    unsigned first = u->count > 0 ? (unsigned)(meta_client_session(u->files->meta) % u->count) : 0;
    for (unsigned n = 0; n < u->count; n++) {
        struct listed *l = &u->list[(first + n) % u->count];
        bool quiet, done = false;
        if (!is_due(u, l, &quiet))
            continue;
        enum err e = look_at_file(u, l, quiet, &done);
        if (e == ERR_CANCELLED)
            return e;
        if (e != ERR_OK)
            log_debug("inode %llu can't be looked after now: %s", (unsigned long long)l->ino, err_message(e));
        l->since_ns = clock_boot_ns();
        if (!done || e != ERR_OK)
            l->not_before_ns = l->since_ns + (quiet ? BUSY_QUIETS * u->quiet_ns : 0);
    }
    return ERR_OK;
}

static void *upkeep_main(void *p)
{
    struct extent_upkeep *u = p;
    while (pause_for(u, u->count > 0 ? u->quiet_ns : u->idle_ns)) {
        enum err e = look(u);
        if (e != ERR_OK && e != ERR_CANCELLED)
            log_debug("fragmented files can't be listed now: %s", err_message(e));
        u->idle_ns = EMPTY_QUIETS * u->quiet_ns;
    }
    return NULL;
}

struct extent_upkeep *extent_upkeep_new(struct open_files *files, int64_t quiet_ns)
{
    struct extent_upkeep *u = MEM_NEW(struct extent_upkeep);
    u->files = files;
    u->quiet_ns = u->idle_ns = quiet_ns;
    u->stop = rpc_cancel_new();
    u->list = mem_alloc(FILES_MAX * sizeof *u->list);
    u->list_before = mem_alloc(FILES_MAX * sizeof *u->list_before);
    pthread_mutex_init(&u->lock, NULL);
    moment_cond_init(&u->changed);
    thread_start(&u->thread, upkeep_main, u);
    return u;
}

void extent_upkeep_free(struct extent_upkeep *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    pthread_cond_signal(&u->changed);
    pthread_mutex_unlock(&u->lock);
    rpc_cancel_fire(u->stop);
    pthread_join(u->thread, NULL);
    rpc_cancel_free(u->stop);
    pthread_cond_destroy(&u->changed);
    pthread_mutex_destroy(&u->lock);
    free(u->list);
    free(u->list_before);
    free(u);
}

void extent_upkeep_stats(struct extent_upkeep *u, struct extent_upkeep_stats *ret)
{
    *ret = (struct extent_upkeep_stats){
        .parts = atomic_load(&u->parts), .extents = atomic_load(&u->extents), .overtaken = atomic_load(&u->overtaken)};
}
