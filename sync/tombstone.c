/* tombstone.c: what is left of deleted files: the version that deleting made. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sync/export.h"

#define LOG_MODULE "sync"
#include "base/log.h"

#define HASH_DIGITS (2 * SHA256_SIZE)
#define PAGE 256u

/* hash,version. False for what is no tombstone of ours. */
static bool parse_name(struct slice name, struct sha256 *ret_hash, uint64_t *ret_version)
{
    uint64_t version = 0;
    if (name.size < HASH_DIGITS + 2 || name.size > HASH_DIGITS + 1 + 18 || name.data[HASH_DIGITS] != ',')
        return false;
    for (size_t i = 0; i < HASH_DIGITS; i++) {
        uint8_t c = name.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        ret_hash->bytes[i / 2] = (uint8_t)(i % 2 ? ret_hash->bytes[i / 2] | digit : digit << 4);
    }
    for (size_t i = HASH_DIGITS + 1; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return false;
        version = 10 * version + (name.data[i] - '0');
    }
    *ret_version = version;
    return version > 0;
}

static void add(struct sync_export *x, const struct sha256 *hash, uint64_t version, struct slice name, uint64_t ino)
{
    struct sync_tombstone *t = arena_zalloc(x->arena, sizeof *t);
    *t = (struct sync_tombstone){
        .path_hash = *hash, .version = version, .name = arena_slice(x->arena, name), .ino = ino};
    struct slice key = SLICE(t->path_hash.bytes, SHA256_SIZE);
    struct sync_tombstone *first = map_bytes_get(&x->tombstones, key);
    if (first && first->version >= version) {
        t->older = first->older;
        first->older = t;
        return;
    }
    t->older = first;
    map_bytes_remove(&x->tombstones, key);
    map_bytes_put(&x->tombstones, key, t);
}

enum err sync_tombstones_list(struct sync_export *x)
{
    struct arena arena = {0};
    struct meta_query_reply page = {0};
    uint64_t cookie = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK && !page.end && x->deleted_ino != 0) {
        struct sha256 hash;
        uint64_t version;
        arena_reset(&arena);
        e = surf_readdir(x->surf, &x->caller, x->deleted_ino, cookie, PAGE, false, &arena, &page);
        for (unsigned i = 0; e == ERR_OK && i < page.entry_count; i++) {
            cookie = page.entries[i].cookie;
            if (parse_name(page.entries[i].name, &hash, &version))
                add(x, &hash, version, page.entries[i].name, page.entries[i].ino);
        }
    }
    arena_free(&arena);
    return e == ERR_NOENT || e == ERR_STALE ? ERR_OK : e;
}

static struct sync_tombstone *find(const struct sync_export *x, struct slice path)
{
    struct sha256 hash;
    sha256_of(path, &hash);
    return map_bytes_get(&x->tombstones, SLICE(hash.bytes, SHA256_SIZE));
}

uint64_t sync_tombstone_version(const struct sync_export *x, struct slice path)
{
    const struct sync_tombstone *t = find(x, path);
    return t ? t->version : 0;
}

enum err sync_tombstones_unknown(struct sync_export *x, const struct map_bytes *known, struct sync_remote **list,
                                 size_t *count, size_t *capacity)
{
    size_t at = 0;
    struct slice key;
    void *value;
    while (map_bytes_next(&x->tombstones, &at, &key, &value)) {
        const struct sync_tombstone *t = value;
        struct slice path;
        struct sha256 hash;
        if (map_bytes_get(known, key))
            continue;
        enum err e = surf_readlink(x->surf, &x->caller, t->ino, x->arena, &path);
        if (e == ERR_NOENT || e == ERR_STALE || e == ERR_INVAL)
            continue;
        TRY(e);
        sha256_of(path, &hash);
        if (!sha256_equal(&hash, &t->path_hash) || sync_path_check(path, NULL) != ERR_OK)
            continue;
        if (*count == *capacity) {
            *capacity = MAX(2 * *capacity, (size_t)64);
            *list = mem_realloc(*list, *capacity * sizeof **list);
        }
        (*list)[(*count)++] = (struct sync_remote){.path = path, .tombstone = t->version};
    }
    return ERR_OK;
}

static enum err deleted_directory(struct sync_export *x, uint64_t *ret)
{
    uint64_t own;
    struct meta_attr attr;
    if (x->deleted_ino == 0) {
        TRY(sync_export_own(x, &own));
        struct slice name = slice_str(SYNC_DELETED_DIRECTORY);
        enum err e = surf_mkdir(x->surf, &x->caller, own, name, 0700, &attr);
        if (e == ERR_EXIST)
            e = surf_lookup(x->surf, &x->caller, own, name, &attr);
        TRY(e);
        x->deleted_ino = attr.ino;
    }
    *ret = x->deleted_ino;
    return ERR_OK;
}

enum err sync_tombstone_put(struct sync_export *x, struct slice path, uint64_t version)
{
    struct sha256 hash;
    struct meta_attr attr;
    uint64_t directory;
    char text[HASH_DIGITS + 32];
    pthread_mutex_lock(&x->lock);
    enum err e = deleted_directory(x, &directory);
    pthread_mutex_unlock(&x->lock);
    TRY(e);
    sha256_of(path, &hash);
    sha256_hex(&hash, text);
    snprintf(text + HASH_DIGITS, sizeof text - HASH_DIGITS, ",%" PRIu64, version);
    e = surf_symlink(x->surf, &x->caller, directory, slice_str(text), path, &attr);
    if (e == ERR_EXIST)
        return ERR_OK;
    TRY(e);
    pthread_mutex_lock(&x->lock);
    sync_tombstone_remove(x, path); /* the older ones */
    add(x, &hash, version, slice_str(text), attr.ino);
    pthread_mutex_unlock(&x->lock);
    return ERR_OK;
}

void sync_tombstone_remove(struct sync_export *x, struct slice path)
{
    struct sync_tombstone *t = find(x, path);
    if (t)
        map_bytes_remove(&x->tombstones, SLICE(t->path_hash.bytes, SHA256_SIZE));
    for (; t; t = t->older) {
        enum err e = surf_unlink(x->surf, &x->caller, x->deleted_ino, t->name);
        if (e != ERR_OK)
            log_debug("a tombstone stays: %s", err_message(e));
    }
}
