/* references.c: which blocks the files name, and which files name a block: for checks of the blocks from outside. */
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/mem.h"
#include "meta/check.h"

#define ROWS_MAX 4096u /* of one page: many may be of blocks that nobody names any more */
#define PATH_NAMES_MAX 256u
#define PATH_BYTES_MAX 4096u

enum err check_each_row(struct meta *m, struct meta_check *check, const struct schema_key *lower,
                        const struct schema_key *upper, check_row_function function, void *context)
{
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    store_range_open(m, &range, lower, upper);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range))
        e = check_row_read(check) ? ERR_CANCELLED : function(context, key, value);
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

/* Of a block with this count. One that is inline has its bytes in the metadata, and needs none on block servers. */
static enum err belongs_on_servers(struct meta *m, const struct sha256 *id, int64_t count, bool *ret)
{
    bool is_inline = false;
    if (count != 0 && m->state.inline_bytes > 0)
        TRY(inline_block_is_there(m, id, &is_inline));
    *ret = count != 0 && !is_inline;
    return ERR_OK;
}

enum err meta_server_blocks(struct meta *m, const struct sha256 *after, const struct sha256 *upto, unsigned max,
                            struct sha256 *ret, unsigned *ret_count, struct sha256 *ret_through)
{
    struct schema_key from = schema_block_ref(after), to = schema_block_ref(upto);
    to = schema_prefix_end(&to, to.size);
    struct store_range range;
    struct slice key, value;
    struct sha256 through = *upto;
    unsigned count = 0, rows = 0;
    enum err e = ERR_OK;
    store_range_open(m, &range, &from, &to);
    for (; store_range_get(&range, &key, &value); store_range_next(&range)) {
        int64_t references;
        bool belongs = false;
        struct sha256 id;
        if (key.size != 1 + SHA256_SIZE)
            continue; /* no block: the check of the metadata tells of it */
        memcpy(id.bytes, key.data + 1, SHA256_SIZE);
        if (sha256_equal(&id, after))
            continue;
        e = row_count_decode(value, &references);
        if (e == ERR_OK)
            e = belongs_on_servers(m, &id, references, &belongs);
        if (e != ERR_OK)
            break;
        if (belongs)
            ret[count++] = id;
        if (count == max || ++rows == ROWS_MAX) {
            through = id;
            break;
        }
    }
    enum err closed = store_range_close(&range);
    TRY(e);
    TRY(closed);
    *ret_count = count;
    *ret_through = through;
    return ERR_OK;
}

enum err meta_are_server_blocks(struct meta *m, const struct sha256 *blocks, unsigned count, bool *ret)
{
    struct arena arena = {0};
    enum err e = ERR_OK;
    for (unsigned i = 0; e == ERR_OK && i < count; i++) {
        int64_t references;
        e = content_count(m, &blocks[i], &arena, &references);
        if (e == ERR_OK)
            e = belongs_on_servers(m, &blocks[i], references, &ret[i]);
        arena_reset(&arena);
    }
    arena_free(&arena);
    return e;
}

/* ---- which files name a block ---- */

struct search {
    struct meta *m;
    const struct sha256 *blocks;
    unsigned block_count, max, count;
    struct meta_block_use *uses;
    uint64_t content_ids[META_BLOCK_USES_MAX];
    struct map_u64 contents; /* of those that were found */
    struct arena *arena;
};

static enum err on_extent(void *context, struct slice key, struct slice value)
{
    struct search *s = context;
    struct meta_extent x;
    if (s->count == s->max || row_extent_decode(key, value, &x) != ERR_OK)
        return ERR_OK;
    for (unsigned i = 0; i < s->block_count; i++)
        if (sha256_equal(&x.block, &s->blocks[i])) {
            s->content_ids[s->count] = schema_key_u64(key, 1);
            map_u64_put(&s->contents, s->content_ids[s->count], s);
            s->uses[s->count++] = (struct meta_block_use){.block = i, .offset = x.file_offset};
            break;
        }
    return ERR_OK;
}

/* One of its paths, written from its end. Names that an inode keeps may be forgotten: then the path is not known. */
static enum err path_of(struct search *s, uint64_t ino, struct slice *ret)
{
    uint8_t text[PATH_BYTES_MAX];
    size_t at = sizeof text;
    *ret = SLICE(NULL, 0);
    for (unsigned n = 0; ino != META_ROOT_INO; n++) {
        struct meta_place place;
        TRY(meta_place(s->m, ino, s->arena, &place));
        if (place.name.size == 0 || place.name.size + 1 > at || n == PATH_NAMES_MAX)
            return ERR_OK;
        at -= place.name.size;
        memcpy(text + at, place.name.data, place.name.size);
        text[--at] = '/';
        ino = place.parent;
    }
    *ret = arena_slice(s->arena, SLICE(text + at, sizeof text - at));
    return ERR_OK;
}

static enum err on_inode(void *context, struct slice key, struct slice value)
{
    struct search *s = context;
    struct row_inode row;
    (void)key;
    if (row_inode_decode(value, &row) != ERR_OK || !S_ISREG(row.attr.mode) ||
        !map_u64_get(&s->contents, row.attr.content_id))
        return ERR_OK;
    struct slice path;
    TRY(path_of(s, row.attr.ino, &path));
    for (unsigned i = 0; i < s->count; i++)
        if (s->content_ids[i] == row.attr.content_id)
            s->uses[i].ino = row.attr.ino, s->uses[i].path = path;
    return ERR_OK;
}

enum err meta_block_uses(struct meta *m, struct meta_check *check, const struct sha256 *blocks, unsigned count,
                         unsigned max, struct arena *arena, struct meta_block_use *ret, unsigned *ret_count)
{
    struct search s = {.m = m,
                       .blocks = blocks,
                       .block_count = count,
                       .max = MIN(max, META_BLOCK_USES_MAX),
                       .uses = ret,
                       .arena = arena};
    struct schema_key x = {.bytes = {'x'}, .size = 1}, x_end = schema_prefix_end(&x, 1);
    struct schema_key i = {.bytes = {'i'}, .size = 1}, i_end = schema_prefix_end(&i, 1);
    enum err e = check_each_row(m, check, &x, &x_end, on_extent, &s);
    if (e == ERR_OK && s.count > 0)
        e = check_each_row(m, check, &i, &i_end, on_inode, &s);
    map_u64_free(&s.contents);
    if (e == ERR_OK)
        *ret_count = s.count;
    return e;
}
