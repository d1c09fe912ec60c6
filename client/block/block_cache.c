#include "client/block/block_cache.h"

#include <pthread.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "client/moment.h"

#define LOG_MODULE "cache"
#include "base/log.h"

/* What was just written goes to the disk only if it is a good part of a file: pages of databases are written again
 * soon.
 */
#define KEPT_AS_WRITTEN_BYTES (128u * KIB)

struct entry {
    struct list_node node; /* in lru, newest first; out while it is fetched */
    struct sha256 id;
    struct block_buffer *block; /* NULL while it is fetched */
};

struct block_cache {
    struct block_client *blocks;
    struct disk_cache *disk;
    pthread_mutex_t lock; /* protects the rest */
    pthread_cond_t fetched;
    struct map_bytes entries; /* by id */
    struct list lru;
    size_t limit_bytes, bytes;
    uint64_t hits, misses;
};

struct block_cache *block_cache_new(struct block_client *blocks, struct disk_cache *disk, size_t limit_bytes)
{
    struct block_cache *c = MEM_NEW(struct block_cache);
    c->blocks = blocks;
    c->disk = disk;
    c->limit_bytes = limit_bytes;
    list_init(&c->lru);
    pthread_mutex_init(&c->lock, NULL);
    moment_cond_init(&c->fetched);
    return c;
}

static struct slice key_of(const struct entry *e)
{
    return SLICE(e->id.bytes, SHA256_SIZE);
}

static void drop(struct block_cache *c, struct entry *e)
{
    map_bytes_remove(&c->entries, key_of(e));
    if (e->block) {
        list_remove(&e->node);
        c->bytes -= e->block->data.size;
        block_buffer_unref(e->block);
    }
    free(e);
}

void block_cache_free(struct block_cache *c)
{
    if (!c)
        return;
    for (struct list_node *n; (n = list_first(&c->lru));)
        drop(c, container_of(n, struct entry, node));
    CHECK(c->entries.count == 0);
    map_bytes_free(&c->entries);
    pthread_cond_destroy(&c->fetched);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The entry gets its block; older ones make room. Under the lock. */
static void fill(struct block_cache *c, struct entry *e, struct block_buffer *block)
{
    e->block = block_buffer_ref(block);
    c->bytes += block->data.size;
    list_push_front(&c->lru, &e->node);
    while (c->bytes > c->limit_bytes && c->lru.head.prev != &e->node)
        drop(c, container_of(c->lru.head.prev, struct entry, node));
}

static struct entry *add(struct block_cache *c, const struct sha256 *id)
{
    struct entry *e = MEM_NEW(struct entry);
    e->id = *id;
    list_node_init(&e->node);
    map_bytes_put(&c->entries, key_of(e), e);
    return e;
}

static enum err fetch(struct block_cache *c, const struct sha256 *id, struct rpc_cancel *cancel,
                      struct block_buffer **ret)
{
    *ret = c->disk ? disk_cache_get(c->disk, id) : NULL;
    if (*ret)
        return ERR_OK;
    TRY(block_client_get(c->blocks, id, cancel, ret));
    if (c->disk)
        disk_cache_put(c->disk, *ret);
    return ERR_OK;
}

enum err block_cache_get(struct block_cache *c, const struct sha256 *id, struct rpc_cancel *cancel,
                         struct block_buffer **ret)
{
    pthread_mutex_lock(&c->lock);
    for (;;) {
        struct entry *e = map_bytes_get(&c->entries, SLICE(id->bytes, SHA256_SIZE));
        if (e && e->block) {
            c->hits++;
            list_remove(&e->node);
            list_push_front(&c->lru, &e->node);
            *ret = block_buffer_ref(e->block);
            pthread_mutex_unlock(&c->lock);
            return ERR_OK;
        }
        if (!e)
            break;
        enum err waited = moment_wait(&c->fetched, &c->lock, cancel); /* somebody fetches it */
        if (waited != ERR_OK) {
            pthread_mutex_unlock(&c->lock);
            return waited;
        }
    }
    c->misses++;
    struct entry *mine = add(c, id);
    pthread_mutex_unlock(&c->lock);
    struct block_buffer *block;
    enum err e = fetch(c, id, cancel, &block);
    pthread_mutex_lock(&c->lock);
    if (e != ERR_OK)
        drop(c, mine); /* those who waited try themselves */
    else if (!mine->block)
        fill(c, mine, block);
    pthread_cond_broadcast(&c->fetched);
    pthread_mutex_unlock(&c->lock);
    if (e == ERR_OK)
        *ret = block;
    return e;
}

/* Blocks that one thread fetches together. */
struct fetching {
    struct block_cache *cache;
    struct sha256 ids[LIMIT_BLOCKS_PER_FRAME];
    struct entry *entries[LIMIT_BLOCKS_PER_FRAME]; /* NULL: it has come */
    unsigned count;
};

static void fill_fetched(struct fetching *f, size_t index, struct block_buffer *block)
{
    struct block_cache *c = f->cache;
    pthread_mutex_lock(&c->lock);
    fill(c, f->entries[index], block);
    f->entries[index] = NULL;
    pthread_cond_broadcast(&c->fetched);
    pthread_mutex_unlock(&c->lock);
}

static void take_fetched(void *context, size_t index, struct block_buffer *block)
{
    struct fetching *f = context;
    fill_fetched(f, index, block);
    if (f->cache->disk)
        disk_cache_put(f->cache->disk, block);
}

/* What the disk has leaves the list. */
static void fetch_from_disk(struct fetching *f)
{
    unsigned kept = 0;
    for (unsigned n = 0; n < f->count; n++) {
        struct block_buffer *block = disk_cache_get(f->cache->disk, &f->ids[n]);
        if (block) {
            fill_fetched(f, n, block);
            block_buffer_unref(block);
            continue;
        }
        f->ids[kept] = f->ids[n];
        f->entries[kept++] = f->entries[n];
    }
    f->count = kept;
}

void block_cache_fetch(struct block_cache *c, const struct sha256 *ids, unsigned count, struct rpc_cancel *cancel)
{
    CHECK(count <= LIMIT_BLOCKS_PER_FRAME);
    struct fetching *f = NULL;
    pthread_mutex_lock(&c->lock);
    for (unsigned n = 0; n < count; n++) {
        if (map_bytes_get(&c->entries, SLICE(ids[n].bytes, SHA256_SIZE)))
            continue;
        if (!f)
            f = MEM_NEW(struct fetching);
        f->cache = c;
        f->ids[f->count] = ids[n];
        f->entries[f->count++] = add(c, &ids[n]);
        c->misses++;
    }
    pthread_mutex_unlock(&c->lock);
    if (!f)
        return;
    if (c->disk)
        fetch_from_disk(f);
    /* Of several none waits for long: who needs one of them would wait for the others as well. */
    enum err e = f->count == 1 ? block_client_get_many(c->blocks, f->ids, 1, cancel, take_fetched, f)
                               : block_client_get_together(c->blocks, f->ids, f->count, cancel, take_fetched, f);
    if (e != ERR_OK)
        log_debug("blocks that were to be fetched: %s", err_message(e));
    pthread_mutex_lock(&c->lock);
    for (unsigned n = 0; n < f->count; n++)
        if (f->entries[n])
            drop(c, f->entries[n]); /* those who waited try themselves */
    pthread_cond_broadcast(&c->fetched);
    pthread_mutex_unlock(&c->lock);
    free(f);
}

void block_cache_insert(struct block_cache *c, struct block_buffer *block)
{
    if (c->disk && block->data.size >= KEPT_AS_WRITTEN_BYTES)
        disk_cache_put(c->disk, block);
    pthread_mutex_lock(&c->lock);
    /* One that is being fetched is left to its fetcher. */
    if (!map_bytes_get(&c->entries, SLICE(block->id.bytes, SHA256_SIZE)))
        fill(c, add(c, &block->id), block);
    pthread_mutex_unlock(&c->lock);
}

struct block_buffer *block_cache_peek(struct block_cache *c, const struct sha256 *id)
{
    pthread_mutex_lock(&c->lock);
    const struct entry *e = map_bytes_get(&c->entries, SLICE(id->bytes, SHA256_SIZE));
    struct block_buffer *block = e && e->block ? block_buffer_ref(e->block) : NULL;
    pthread_mutex_unlock(&c->lock);
    return block;
}

bool block_cache_has(struct block_cache *c, const struct sha256 *id)
{
    pthread_mutex_lock(&c->lock);
    bool has = map_bytes_get(&c->entries, SLICE(id->bytes, SHA256_SIZE)) != NULL;
    pthread_mutex_unlock(&c->lock);
    return has;
}

void block_cache_stats(struct block_cache *c, struct block_cache_stats *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = (struct block_cache_stats){.bytes = c->bytes, .hits = c->hits, .misses = c->misses};
    pthread_mutex_unlock(&c->lock);
}
