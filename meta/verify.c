/* verify.c: whether the rows of all tables agree with one another. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/mem.h"
#include "meta/extent.h"
#include "meta/store.h"

/* What the rows say of one inode, or of contents that are queued for reaping. */
struct seen {
    struct meta_attr attr;
    uint64_t parent, named_by; /* directories: what they say, and who has them */
    uint64_t names, entries, directories, holders;
    uint64_t bytes, end; /* of extents so far */
    bool garbage;
};

struct verify {
    struct meta *m;
    struct err_text *why;
    struct arena arena;
    struct map_u64 inodes, contents, sessions; /* of struct seen; struct row_session */
    struct bytes blocks;                       /* SHA-256 of every extent, then sorted */
    uint64_t inode_count, bytes;
    size_t block_at; /* in blocks, while the counts are read */
};

#define WRONG(v, ...) return err_explain((v)->why, ERR_CORRUPT, __VA_ARGS__)

typedef enum err (*row_function)(struct verify *v, struct slice key, struct slice value);

static enum err each_row(struct verify *v, char table, row_function function)
{
    struct schema_key from = {.bytes = {(uint8_t)table}, .size = 1};
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    store_range_open_prefix(v->m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        e = function(v, key, value);
        if (e == ERR_CORRUPT && v->why && !v->why->text[0])
            e = err_explain(v->why, e, "a row of table '%c' can't be decoded", table);
    }
    enum err closed = store_range_close(&range);
    if (closed != ERR_OK)
        return err_explain(v->why, closed, "table '%c' can't be read: %s", table, err_message(closed));
    return e;
}

static enum err on_inode(struct verify *v, struct slice key, struct slice value)
{
    struct row_inode row;
    TRY(row_inode_decode(value, &row));
    if (key.size != 9 || row.attr.ino != schema_key_u64(key, 1))
        WRONG(v, "inode %" PRIu64 " is in a row of another", row.attr.ino);
    struct seen *s = arena_zalloc(&v->arena, sizeof *s);
    s->attr = row.attr;
    s->parent = row.parent;
    map_u64_put(&v->inodes, row.attr.ino, s);
    if (row.attr.ino >= v->m->state.next_id || row.attr.content_id >= v->m->state.next_id)
        WRONG(v, "inode %" PRIu64 " has a number that was not given out", row.attr.ino);
    if (S_ISREG(row.attr.mode) && map_u64_put(&v->contents, row.attr.content_id, s))
        WRONG(v, "contents %" PRIu64 " belong to two inodes", row.attr.content_id);
    v->inode_count++;
    v->bytes += row.attr.allocated;
    return ERR_OK;
}

static enum err on_garbage(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    uint64_t id = schema_key_u64(key, 1);
    struct seen *s = arena_zalloc(&v->arena, sizeof *s);
    s->garbage = true;
    if (map_u64_put(&v->contents, id, s))
        WRONG(v, "contents %" PRIu64 " are queued for reaping and belong to an inode", id);
    return ERR_OK;
}

static enum err on_dentry(struct verify *v, struct slice key, struct slice value)
{
    struct row_dentry row;
    TRY(row_dentry_decode(value, &row));
    uint64_t parent = schema_key_u64(key, 1);
    struct seen *p = map_u64_get(&v->inodes, parent), *child = map_u64_get(&v->inodes, row.ino);
    if (!p || !S_ISDIR(p->attr.mode))
        WRONG(v, "a name in %" PRIu64 ", which is no directory", parent);
    if (!child || (child->attr.mode & S_IFMT) != row.type_mode)
        WRONG(v, "directory %" PRIu64 " names inode %" PRIu64 ", which is not there or of another type", parent,
              row.ino);
    struct slice name = slice_sub(key, 17, key.size - 17);
    if (schema_key_u64(key, 9) != dentry_cookie(&v->m->cluster, name))
        WRONG(v, "directory %" PRIu64 ": a name under a cookie that is not its own", parent);
    p->entries++;
    child->names++;
    if (S_ISDIR(row.type_mode)) {
        p->directories++;
        child->named_by = parent;
    }
    return ERR_OK;
}

static enum err on_extent(struct verify *v, struct slice key, struct slice value)
{
    struct meta_extent x;
    uint64_t id = schema_key_u64(key, 1);
    TRY(row_extent_decode(key, value, &x));
    TRY(extent_validate(&x, v->why));
    struct seen *s = map_u64_get(&v->contents, id);
    if (!s)
        WRONG(v, "an extent of contents %" PRIu64 ", which nobody has", id);
    if (meta_extent_is_hole(&x) || x.file_offset < s->end)
        WRONG(v, "contents %" PRIu64 ": extent at %" PRIu64 " is a hole or overlaps", id, x.file_offset);
    s->end = x.file_offset + x.length;
    s->bytes += x.length;
    if (!s->garbage && s->end > s->attr.size)
        WRONG(v, "inode %" PRIu64 ": extent at %" PRIu64 " reaches behind the end of file", s->attr.ino, x.file_offset);
    bytes_append(&v->blocks, SLICE(x.block.bytes, SHA256_SIZE));
    return ERR_OK;
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_SIZE);
}

static enum err on_block_ref(struct verify *v, struct slice key, struct slice value)
{
    const uint8_t *block = key.data + 1;
    int64_t count, named = 0;
    TRY(row_count_decode(value, &count));
    while (v->block_at < v->blocks.size && memcmp(v->blocks.data + v->block_at, block, SHA256_SIZE) == 0) {
        v->block_at += SHA256_SIZE;
        named++;
    }
    if (key.size != 1 + SHA256_SIZE || count != named)
        WRONG(v, "block %08" PRIx32 "... is counted %" PRId64 " times and named by %" PRId64 " extents",
              get_u32be(block), count, named);
    return ERR_OK;
}

static enum err on_session(struct verify *v, struct slice key, struct slice value)
{
    struct row_session *s = arena_zalloc(&v->arena, sizeof *s);
    TRY(row_session_decode(value, s));
    map_u64_put(&v->sessions, schema_key_u64(key, 1), s);
    return ERR_OK;
}

static enum err on_reply(struct verify *v, struct slice key, struct slice value)
{
    struct meta_reply reply;
    TRY(row_reply_decode(value, &reply));
    uint64_t id = schema_key_u64(key, 1), seq = schema_key_u64(key, 9);
    const struct row_session *s = map_u64_get(&v->sessions, id);
    if (!s || seq <= s->acked || seq > s->last_seq)
        WRONG(v, "a reply to request %" PRIu64 " of session %" PRIu64 ", which is not waited for", seq, id);
    return ERR_OK;
}

static enum err on_nonce(struct verify *v, struct slice key, struct slice value)
{
    (void)key;
    if (value.size != 8)
        return ERR_CORRUPT;
    if (!map_u64_get(&v->sessions, get_u64be(value.data)))
        WRONG(v, "a nonce of session %" PRIu64 ", which is over", get_u64be(value.data));
    return ERR_OK;
}

static enum err on_orphan(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    uint64_t session = schema_key_u64(key, 1), ino = schema_key_u64(key, 9);
    struct row_session *s = map_u64_get(&v->sessions, session);
    struct seen *inode = map_u64_get(&v->inodes, ino);
    if (!s || s->orphans-- == 0)
        WRONG(v, "session %" PRIu64 " keeps inode %" PRIu64 " and does not know", session, ino);
    if (!inode || inode->attr.nlink > 0)
        WRONG(v, "session %" PRIu64 " keeps inode %" PRIu64 ", which is not unlinked", session, ino);
    inode->holders++;
    return ERR_OK;
}

static enum err on_orphan_of(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    struct seen *inode = map_u64_get(&v->inodes, schema_key_u64(key, 1));
    if (!inode || inode->holders-- == 0)
        WRONG(v, "inode %" PRIu64 " is kept by a session that does not know", schema_key_u64(key, 1));
    inode->names++; /* kept, as by a name */
    return ERR_OK;
}

static enum err check_directory(struct verify *v, const struct seen *s)
{
    const struct meta_attr *a = &s->attr;
    if (a->size != s->entries || a->nlink != 2 + s->directories)
        WRONG(v,
              "directory %" PRIu64 ": size %" PRIu64 " and %" PRIu32 " links, but %" PRIu64 " entries and %" PRIu64
              " subdirectories",
              a->ino, a->size, a->nlink, s->entries, s->directories);
    bool is_root = a->ino == META_ROOT_INO;
    if (s->names != (is_root ? 0 : 1) || s->parent != (is_root ? a->ino : s->named_by))
        WRONG(v, "directory %" PRIu64 ": %" PRIu64 " names, parent %" PRIu64 ", named by %" PRIu64, a->ino, s->names,
              s->parent, s->named_by);
    return ERR_OK;
}

static enum err check_inode(struct verify *v, const struct seen *s)
{
    const struct meta_attr *a = &s->attr;
    if (S_ISDIR(a->mode))
        return check_directory(v, s);
    bool orphan = a->nlink == 0;
    if (orphan ? s->names == 0 : s->names != a->nlink)
        WRONG(v, "inode %" PRIu64 ": %" PRIu32 " links, but %" PRIu64 " names or sessions", a->ino, a->nlink, s->names);
    if (s->holders != 0)
        WRONG(v, "inode %" PRIu64 " does not know of %" PRIu64 " sessions that keep it", a->ino, s->holders);
    if (a->allocated != s->bytes)
        WRONG(v, "inode %" PRIu64 ": %" PRIu64 " bytes allocated, but extents of %" PRIu64, a->ino, a->allocated,
              s->bytes);
    return ERR_OK;
}

static enum err check_totals(struct verify *v)
{
    const struct row_meta *state = &v->m->state;
    size_t at = 0;
    uint64_t number;
    void *value;
    while (map_u64_next(&v->inodes, &at, &number, &value))
        TRY(check_inode(v, value));
    at = 0;
    while (map_u64_next(&v->sessions, &at, &number, &value))
        if (((struct row_session *)value)->orphans != 0)
            WRONG(v, "session %" PRIu64 " counts orphans that it does not keep", number);
    if (v->block_at != v->blocks.size)
        WRONG(v, "block %08" PRIx32 "... is named by extents and not counted", get_u32be(v->blocks.data + v->block_at));
    if (state->inodes != v->inode_count || state->bytes != v->bytes)
        WRONG(v, "%" PRIu64 " inodes and %" PRIu64 " bytes are counted, %" PRIu64 " and %" PRIu64 " are there",
              state->inodes, state->bytes, v->inode_count, v->bytes);
    return ERR_OK;
}

static enum err verify_all(struct verify *v)
{
    static const struct {
        char table;
        row_function function;
    } tables[] = {{'i', on_inode},   {'g', on_garbage}, {'d', on_dentry}, {'x', on_extent}, {'r', on_block_ref},
                  {'s', on_session}, {'q', on_reply},   {'e', on_nonce},  {'o', on_orphan}, {'p', on_orphan_of}};
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        if (tables[i].table == 'r' && v->blocks.size > 0)
            qsort(v->blocks.data, v->blocks.size / SHA256_SIZE, SHA256_SIZE, by_hash);
        TRY(each_row(v, tables[i].table, tables[i].function));
    }
    return check_totals(v);
}

enum err meta_verify(struct meta *m, struct err_text *why)
{
    struct err_text unwanted;
    struct verify v = {.m = m, .why = why ? why : &unwanted};
    v.why->text[0] = 0;
    enum err e = verify_all(&v);
    map_u64_free(&v.inodes);
    map_u64_free(&v.contents);
    map_u64_free(&v.sessions);
    bytes_free(&v.blocks);
    arena_free(&v.arena);
    return e;
}
