/* snapshot.c: copies of the state by hard links, and what a state that nobody has open holds. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/rocks.h"
#include "meta/level.h"
#include "meta/store.h"

enum err meta_checkpoint(struct meta *m, const char *path, struct err_text *why)
{
    char *message = NULL;
    struct stat there;
    if (stat(path, &there) == 0)
        return err_explain(why, ERR_EXIST, "%.200s is there already", path);
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(m->db, &message);
    TRY(rocks_result(message, "metadata checkpoint", why));
    /* 0: what is only in memory is flushed first; without that it would be missing. */
    rocksdb_checkpoint_create(c, path, 0, &message); /* in PATH.tmp, which goes when it fails */
    rocksdb_checkpoint_object_destroy(c);
    return rocks_result(message, path, why);
}

static enum err read_row(rocksdb_t *db, const rocksdb_readoptions_t *read, const struct schema_key *key,
                         struct arena *arena, struct slice *ret, bool *ret_found, struct err_text *why)
{
    char *message = NULL;
    size_t size = 0;
    char *value = rocksdb_get(db, read, (const char *)key->bytes, key->size, &size, &message);
    TRY(rocks_result(message, "snapshot read", why));
    *ret_found = value != NULL;
    if (value)
        *ret = arena_slice(arena, SLICE((const uint8_t *)value, size));
    rocksdb_free(value);
    return ERR_OK;
}

static enum err inspect(rocksdb_t *db, const rocksdb_readoptions_t *read, struct arena *arena,
                        struct meta_snapshot_info *ret, struct err_text *why)
{
    struct schema_key key = schema_meta(), members = schema_members(), level = schema_level();
    struct slice value = {0};
    struct row_meta row = {0};
    bool found = false;
    struct meta_snapshot_info info = {.level = META_LEVEL_FIRST};
    TRY(read_row(db, read, &level, arena, &value, &found, why));
    if (found && row_level_decode(value, &info.level) != ERR_OK)
        return err_explain(why, ERR_CORRUPT, "the level of a snapshot can't be read");
    TRY(read_row(db, read, &key, arena, &value, &found, why));
    if (!found || row_meta_decode(value, &row) != ERR_OK)
        return err_explain(why, ERR_CORRUPT, "a snapshot has no applied index");
    info.index = row.applied, info.term = row.term;
    TRY(read_row(db, read, &members, arena, &value, &found, why));
    if (found && row_members_decode(value, &info.config_index, &info.config) != ERR_OK)
        return err_explain(why, ERR_CORRUPT, "the members in a snapshot can't be read");
    *ret = info;
    return ERR_OK;
}

static bool is_state(const char *path)
{
    char current[PATH_MAX];
    struct stat s;
    return snprintf(current, sizeof current, "%s/CURRENT", path) < (int)sizeof current && stat(current, &s) == 0;
}

enum err meta_inspect(const char *path, struct arena *arena, struct meta_snapshot_info *ret, struct err_text *why)
{
    if (!is_state(path))
        return err_explain(why, ERR_NOT_FOUND, "%.200s holds no state", path);
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    char *message = NULL;
    rocksdb_options_set_merge_operator(options, count_rows_merge_operator());
    rocksdb_t *db = rocksdb_open_for_read_only(options, path, 0, &message);
    enum err e = rocks_result(message, path, why);
    if (e == ERR_OK)
        e = inspect(db, read, arena, ret, why);
    if (db)
        rocksdb_close(db);
    rocksdb_readoptions_destroy(read);
    rocksdb_options_destroy(options);
    return e;
}

#ifdef SURF_PLANTS
void meta_plant_forget_replies(struct meta *m)
{
    CHECK(store_write_out(m) == ERR_OK);
    rocksdb_iterator_t *it = rocksdb_create_iterator(m->db, m->read);
    char *message = NULL;
    for (rocksdb_iter_seek(it, "q", 1); PLANTED(META_DEDUP_LOST_IN_SNAPSHOT) && rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        size_t size;
        const char *key = rocksdb_iter_key(it, &size);
        if (key[0] != 'q')
            break;
        rocksdb_delete(m->db, m->write, key, size, &message);
    }
    rocksdb_iter_destroy(it);
}

void meta_plant_keep_name(struct meta *m, bool restore)
{
    static struct bytes key, value;
    char *message = NULL;
    size_t size;
    if (!PLANTED(META_SNAPSHOT_STALE_KEY))
        return;
    CHECK(store_write_out(m) == ERR_OK);
    if (restore && key.size > 0) {
        rocksdb_put(m->db, m->write, (const char *)key.data, key.size, (const char *)value.data, value.size, &message);
        return;
    }
    rocksdb_iterator_t *it = rocksdb_create_iterator(m->db, m->read);
    rocksdb_iter_seek_for_prev(it, "d\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    bytes_clear(&key);
    bytes_clear(&value);
    if (rocksdb_iter_valid(it) && rocksdb_iter_key(it, &size)[0] == 'd') {
        const char *at = rocksdb_iter_key(it, &size);
        bytes_append(&key, SLICE((const uint8_t *)at, size));
        at = rocksdb_iter_value(it, &size);
        bytes_append(&value, SLICE((const uint8_t *)at, size));
    }
    rocksdb_iter_destroy(it);
}
#endif
