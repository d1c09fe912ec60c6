/* files.c: the tree as a table, page by page. A page begins where the one before has ended, which is said as a path:
 * what is there need not be there any more, since the rows of a directory are in the order of a hash of their names,
 * and a name that has gone still has its place among them. So nobody has to keep anything between two pages. */
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/check.h"

#define ROWS_MAX 16384u           /* that a page reads */
#define EXTENTS_COUNTED_MAX 4096u /* of one file */
#define DEPTH_MAX (META_FILE_PATH_BYTES / 2 + 1)

struct level {
    uint64_t ino;
    size_t path_size; /* of walk.path is this directory's */
};
struct walk {
    struct meta *m;
    struct meta_check *check;
    const struct meta_files_query *query;
    struct arena *arena;  /* of the page */
    struct arena scratch; /* of one row */
    struct bytes path;    /* of what was looked at last, without a / at its end */
    struct level *levels; /* the directories above the next row */
    unsigned depth;
    struct store_range range; /* of the last of them */
    bool open;
    struct meta_file *files;
    unsigned count, rows, left_out;
    size_t bytes;
};

/* The next component of a path; false: there is none. */
static bool take_component(struct slice *path, struct slice *ret)
{
    while (path->size > 0 && path->data[0] == '/')
        *path = slice_sub(*path, 1, path->size - 1);
    size_t size = 0;
    while (size < path->size && path->data[size] != '/')
        size++;
    *ret = slice_sub(*path, 0, size);
    *path = slice_sub(*path, size, path->size - size);
    return size > 0;
}

static struct slice last_component(struct slice path)
{
    size_t at = path.size;
    while (at > 0 && path.data[at - 1] != '/')
        at--;
    return slice_sub(path, at, path.size - at);
}

static void set_path(struct walk *w, size_t directory_size, struct slice name)
{
    w->path.size = directory_size;
    bytes_append(&w->path, slice_str("/"));
    bytes_append(&w->path, name);
}

static enum err find(struct walk *w, uint64_t parent, struct slice name, struct row_dentry *ret, bool *ret_found)
{
    struct slice value = {0};
    *ret_found = false;
    if (name.size > LIMIT_NAME_BYTES)
        return ERR_OK;
    struct schema_key key = schema_dentry(parent, dentry_cookie(&w->m->cluster, name), name);
    arena_reset(&w->scratch);
    TRY(store_read(w->m, &key, &w->scratch, &value, ret_found));
    return *ret_found ? row_dentry_decode(value, ret) : ERR_OK;
}

/* ---- going down and up ---- */

static enum err close_level(struct walk *w)
{
    w->open = false;
    return store_range_close(&w->range);
}

/* At the first row of the last level's directory, or behind the one with this name. */
static enum err open_level(struct walk *w, struct slice behind)
{
    uint64_t ino = w->levels[w->depth - 1].ino;
    struct slice key, value;
    struct schema_key from = schema_dentry_prefix(ino);
    if (behind.size > LIMIT_NAME_BYTES)
        return ERR_INVAL;
    if (behind.size > 0)
        from = schema_dentry(ino, dentry_cookie(&w->m->cluster, behind), behind);
    store_range_open_prefix(w->m, &w->range, &from, 9);
    w->open = true;
    if (behind.size > 0 && store_range_get(&w->range, &key, &value) && slice_equal(key, SLICE(from.bytes, from.size)))
        store_range_next(&w->range);
    return ERR_OK;
}

static void push(struct walk *w, uint64_t ino)
{
    CHECK(w->depth < DEPTH_MAX);
    w->levels[w->depth++] = (struct level){.ino = ino, .path_size = w->path.size};
}

/* The last directory is done: the walk goes on behind its name in the one above. */
static enum err pop(struct walk *w)
{
    struct slice directory = SLICE(w->path.data, w->levels[--w->depth].path_size);
    TRY(close_level(w));
    return w->depth > 0 ? open_level(w, last_component(directory)) : ERR_OK;
}

/* ---- what is told ---- */

static enum err add_extents(struct walk *w, uint64_t content_id, struct meta_file *f)
{
    struct store_range range;
    struct slice key, value;
    struct sha256 blocks[META_FILE_BLOCKS_MAX];
    enum err e = ERR_OK;
    content_range_open(w->m, &range, content_id, 0, UINT64_MAX);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_extent extent;
        f->extents_more = f->extent_count == EXTENTS_COUNTED_MAX;
        if (f->extents_more)
            break;
        e = check_row_read(w->check) ? ERR_CANCELLED : row_extent_decode(key, value, &extent);
        if (e != ERR_OK)
            break;
        f->extent_count++;
        if (f->block_count < w->query->blocks_max)
            blocks[f->block_count++] = extent.block;
    }
    TRY(store_range_close(&range));
    f->blocks =
        (const struct sha256 *)(const void *)arena_slice(w->arena, SLICE(blocks, f->block_count * SHA256_SIZE)).data;
    w->rows += (unsigned)f->extent_count;
    w->bytes += f->block_count * SHA256_SIZE;
    return e;
}

/* What walk.path names. An inode that should be there and isn't is for surfctl fsck to tell of: only its number is
 * known. */
static enum err tell(struct walk *w, const struct row_dentry *entry)
{
    struct row_inode row = {.attr.mode = entry->type_mode};
    struct meta_file f = {.ino = entry->ino};
    arena_reset(&w->scratch);
    enum err e = inode_peek(w->m, entry->ino, &w->scratch, &row);
    if (e != ERR_OK && e != ERR_STALE)
        return e;
    f.mode = row.attr.mode, f.nlink = row.attr.nlink, f.size = row.attr.size, f.version = row.attr.version;
    f.mtime_ns = row.attr.mtime_ns;
    if (S_ISREG(f.mode) && row.attr.allocated > 0)
        TRY(add_extents(w, row.attr.content_id, &f));
    f.path = arena_slice(w->arena, bytes_slice(&w->path));
    w->bytes += f.path.size;
    w->files[w->count++] = f;
    return ERR_OK;
}

/* ---- the walk ---- */

/* Goes to what the query names. *ret_only: that was a file, and has been told. */
static enum err go_to_path(struct walk *w, bool *ret_only)
{
    struct slice rest = w->query->path, name;
    struct row_dentry entry = {.ino = META_ROOT_INO, .type_mode = S_IFDIR};
    while (take_component(&rest, &name)) {
        bool found;
        if (!S_ISDIR(entry.type_mode))
            return ERR_NOENT;
        TRY(find(w, entry.ino, name, &entry, &found));
        if (!found || w->path.size + 1 + name.size > META_FILE_PATH_BYTES)
            return ERR_NOENT;
        set_path(w, w->path.size, name);
    }
    *ret_only = !S_ISDIR(entry.type_mode);
    if (*ret_only)
        return w->query->after.size > 0 ? ERR_INVAL : tell(w, &entry);
    push(w, entry.ino);
    return ERR_OK;
}

/* Goes to where the last page ended, as far as that is still there. */
static enum err go_behind(struct walk *w)
{
    size_t above = w->path.size;
    struct slice rest = w->query->after, name = {0};
    if (rest.size == 0)
        return open_level(w, name);
    if (rest.size <= above || (above > 0 && memcmp(rest.data, w->path.data, above) != 0) || rest.data[above] != '/')
        return ERR_INVAL;
    rest = slice_sub(rest, above, rest.size - above);
    while (take_component(&rest, &name)) {
        struct row_dentry entry;
        bool found;
        TRY(find(w, w->levels[w->depth - 1].ino, name, &entry, &found));
        if (!found || !S_ISDIR(entry.type_mode) || w->path.size + 1 + name.size > META_FILE_PATH_BYTES)
            return open_level(w, name);
        set_path(w, w->path.size, name);
        push(w, entry.ino);
    }
    return open_level(w, SLICE(NULL, 0));
}

static bool is_full(const struct walk *w)
{
    return w->count == w->query->max || w->rows >= ROWS_MAX || w->bytes >= META_FILES_PAGE_BYTES;
}

static enum err step(struct walk *w)
{
    struct slice key, value;
    struct row_dentry entry;
    if (!store_range_get(&w->range, &key, &value))
        return pop(w);
    w->rows++;
    if (check_row_read(w->check))
        return ERR_CANCELLED;
    TRY(row_dentry_decode(value, &entry));
    set_path(w, w->levels[w->depth - 1].path_size, slice_sub(key, 17, key.size - 17));
    store_range_next(&w->range);
    if (w->path.size > META_FILE_PATH_BYTES) {
        w->left_out++;
        return ERR_OK;
    }
    TRY(tell(w, &entry));
    if (!S_ISDIR(entry.type_mode))
        return ERR_OK;
    push(w, entry.ino);
    TRY(close_level(w));
    return open_level(w, SLICE(NULL, 0));
}

static enum err walk_tree(struct walk *w)
{
    bool only;
    TRY(go_to_path(w, &only));
    if (only)
        return ERR_OK;
    TRY(go_behind(w));
    while (w->depth > 0 && !is_full(w))
        TRY(step(w));
    return ERR_OK;
}

enum err meta_files(struct meta *m, struct meta_check *check, const struct meta_files_query *query, struct arena *arena,
                    struct meta_files *ret)
{
    CHECK(query->max > 0 && query->max <= META_FILES_MAX && query->blocks_max <= META_FILE_BLOCKS_MAX);
    struct walk w = {.m = m, .check = check, .query = query, .arena = arena};
    w.levels = arena_alloc(arena, DEPTH_MAX * sizeof *w.levels);
    w.files = arena_alloc(arena, query->max * sizeof *w.files);
    enum err e = walk_tree(&w);
    if (w.open) {
        enum err closed = close_level(&w);
        e = e != ERR_OK ? e : closed;
    }
    if (e == ERR_OK)
        *ret =
            (struct meta_files){.files = w.files, .count = w.count, .index = m->state.applied, .left_out = w.left_out};
    if (e == ERR_OK && w.depth > 0)
        ret->next = arena_slice(arena, bytes_slice(&w.path));
    bytes_free(&w.path);
    arena_free(&w.scratch);
    return e;
}
