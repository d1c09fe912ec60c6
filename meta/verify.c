/* verify.c: whether the rows of all tables agree with one another.
 *
 * What refers to an inode is spread over the tables, so what is said of it is gathered in memory while they are read.
 * When there are more inodes or extents than may be held at once, the tables are read several times, each time for a
 * share of the inodes (by number) or of the blocks (by id). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/mem.h"
#include "meta/check.h"
#include "meta/extent.h"
#include "meta/kv_verify.h"
#include "meta/lock_rows.h"

#define INODES_PER_PASS (256 * KIB) /* at about 200 bytes */
#define HASHES_PER_PASS (1 * MIB)   /* at 32 bytes */

/* What the rows say of one inode. */
struct seen {
    uint64_t ino, parent, named_by, content_id; /* named_by: of directories, who has them */
    uint64_t size, allocated, name_hash;        /* name_hash: of the name that it says it has in its parent */
    uint64_t names, entries, directories;
    uint32_t mode, nlink;
    uint32_t xattrs, xattr_list_bytes, xattrs_found, list_bytes_found;
    bool has_name, name_found;
};

/* Of the contents of a file, or of dead ones. */
struct seen_content {
    uint64_t ino, size, allocated;
    uint64_t bytes, end; /* of extents so far */
    bool dead;
};

struct verify {
    struct meta *m;
    struct meta_check *check;
    struct meta_report *report;
    struct arena arena;
    uint64_t pass, passes;                     /* this one is of the numbers that leave this rest */
    struct map_u64 inodes, contents, sessions; /* of struct seen; seen_content; row_session */
    struct bytes blocks;                       /* ids in the extents of this pass, sorted */
    struct schema_key from, to;                /* the rows of their counts */
    size_t block_at;                           /* in blocks, while the counts are read */
    uint64_t inode_count, bytes, inline_bytes, inline_count;
};

static enum err wrong(struct verify *v, const char *format, ...) PRINTF_LIKE(2, 3);

/* Notes it; the check goes on. */
static enum err wrong(struct verify *v, const char *format, ...)
{
    struct meta_report *r = v->report;
    if (r->problem_count++ < META_PROBLEMS_KEPT) {
        struct err_text *text = &r->problems[r->problem_count - 1];
        va_list args;
        va_start(args, format);
        vsnprintf(text->text, sizeof text->text, format, args);
        va_end(args);
    }
    return ERR_OK;
}

struct table {
    char name;
    size_t key_bytes;                                                             /* the shortest key */
    enum err (*function)(struct verify *v, struct slice key, struct slice value); /* CORRUPT: not what was written */
    bool once;                                                                    /* not in every pass */
};
struct table_scan {
    struct verify *v;
    const struct table *table;
};

static enum err on_row(void *context, struct slice key, struct slice value)
{
    struct table_scan *scan = context;
    enum err e = key.size < scan->table->key_bytes ? ERR_CORRUPT : scan->table->function(scan->v, key, value);
    return e == ERR_CORRUPT ? wrong(scan->v, "a row of table '%c' can't be decoded", scan->table->name) : e;
}

static enum err read_rows(struct verify *v, const struct table *table, const struct schema_key *from,
                          const struct schema_key *to)
{
    struct table_scan scan = {v, table};
    enum err e = check_each_row(v->m, v->check, from, to, on_row, &scan);
    if (e != ERR_OK && e != ERR_CANCELLED)
        (void)wrong(v, "table '%c' can't be read: %s", table->name, err_message(e));
    return e;
}

static enum err read_table(struct verify *v, const struct table *table)
{
    struct schema_key from = {.bytes = {(uint8_t)table->name}, .size = 1}, to = schema_prefix_end(&from, 1);
    return table->once && v->pass > 0 ? ERR_OK : read_rows(v, table, &from, &to);
}

static bool is_mine(const struct verify *v, uint64_t number)
{
    return number % v->passes == v->pass;
}

/* ---- inodes and what refers to them ---- */

static enum err add_content(struct verify *v, uint64_t id, const struct seen_content *from)
{
    if (!is_mine(v, id))
        return ERR_OK;
    struct seen_content *c = arena_alloc(&v->arena, sizeof *c);
    *c = *from;
    struct seen_content *other = map_u64_put(&v->contents, id, c);
    if (other && from->dead)
        return wrong(v, "contents %" PRIu64 " are queued for reaping and belong to inode %" PRIu64, id, other->ino);
    return other ? wrong(v, "contents %" PRIu64 " belong to inodes %" PRIu64 " and %" PRIu64, id, other->ino, c->ino)
                 : ERR_OK;
}

static enum err on_inode(struct verify *v, struct slice key, struct slice value)
{
    struct row_inode row;
    TRY(row_inode_decode(value, &row));
    const struct meta_attr *a = &row.attr;
    uint64_t ino = schema_key_u64(key, 1);
    if (S_ISREG(a->mode))
        TRY(add_content(v, a->content_id,
                        &(struct seen_content){.ino = ino, .size = a->size, .allocated = a->allocated}));
    if (!is_mine(v, ino))
        return ERR_OK;
    struct seen *s = arena_alloc(&v->arena, sizeof *s);
    *s = (struct seen){.ino = ino,
                       .parent = row.parent,
                       .content_id = a->content_id,
                       .size = a->size,
                       .allocated = a->allocated,
                       .name_hash = checksum64(row.name, 0),
                       .mode = a->mode,
                       .nlink = a->nlink,
                       .xattrs = a->xattrs,
                       .xattr_list_bytes = row.xattr_list_bytes,
                       .has_name = row.name.size > 0};
    map_u64_put(&v->inodes, ino, s);
    v->inode_count++;
    v->bytes += a->allocated;
    if (key.size != 9 || a->ino != ino)
        return wrong(v, "inode %" PRIu64 " is in a row of another", a->ino);
    if (ino >= v->m->state.next_id || a->content_id >= v->m->state.next_id)
        return wrong(v, "inode %" PRIu64 " has a number that was not given out", ino);
    return ERR_OK;
}

static enum err on_garbage(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    return add_content(v, schema_key_u64(key, 1), &(struct seen_content){.dead = true});
}

static enum err parent_of_dentry(struct verify *v, uint64_t parent, const struct row_dentry *row, struct slice key)
{
    struct seen *p = map_u64_get(&v->inodes, parent);
    if (!p || !S_ISDIR(p->mode))
        return wrong(v, "a name in %" PRIu64 ", which is no directory", parent);
    p->entries++;
    p->directories += S_ISDIR(row->type_mode);
    if (schema_key_u64(key, 9) != dentry_cookie(&v->m->cluster, slice_sub(key, 17, key.size - 17)))
        return wrong(v, "directory %" PRIu64 ": a name under a cookie that is not its own", parent);
    return ERR_OK;
}

static enum err child_of_dentry(struct verify *v, uint64_t parent, const struct row_dentry *row, struct slice name)
{
    struct seen *child = map_u64_get(&v->inodes, row->ino);
    if (!child || (child->mode & S_IFMT) != row->type_mode)
        return wrong(v, "directory %" PRIu64 " names inode %" PRIu64 " \"%.*s\", which is not there or of another type",
                     parent, row->ino, (int)MIN(name.size, 64u), (const char *)name.data);
    child->names++;
    if (child->parent == parent && child->has_name && checksum64(name, 0) == child->name_hash)
        child->name_found = true;
    if (S_ISDIR(row->type_mode))
        child->named_by = parent;
    return ERR_OK;
}

static enum err on_dentry(struct verify *v, struct slice key, struct slice value)
{
    struct row_dentry row;
    TRY(row_dentry_decode(value, &row));
    uint64_t parent = schema_key_u64(key, 1);
    if (is_mine(v, parent))
        TRY(parent_of_dentry(v, parent, &row, key));
    return is_mine(v, row.ino) ? child_of_dentry(v, parent, &row, slice_sub(key, 17, key.size - 17)) : ERR_OK;
}

static enum err on_extent(struct verify *v, struct slice key, struct slice value)
{
    struct meta_extent x;
    struct err_text why = {""};
    uint64_t id = schema_key_u64(key, 1);
    if (!is_mine(v, id))
        return ERR_OK;
    TRY(row_extent_decode(key, value, &x));
    if (extent_validate(&x, &why) != ERR_OK)
        return wrong(v, "contents %" PRIu64 ": %.200s", id, why.text);
    struct seen_content *c = map_u64_get(&v->contents, id);
    if (!c)
        return wrong(v, "an extent of contents %" PRIu64 ", which nobody has", id);
    if (meta_extent_is_hole(&x) || x.file_offset < c->end)
        return wrong(v, "contents %" PRIu64 ": extent at %" PRIu64 " is a hole or overlaps", id, x.file_offset);
    c->end = x.file_offset + x.length;
    c->bytes += x.length;
    if (!c->dead && c->end > c->size)
        return wrong(v, "inode %" PRIu64 ": extent at %" PRIu64 " reaches behind the end of file", c->ino,
                     x.file_offset);
    return ERR_OK;
}

static enum err on_xattr(struct verify *v, struct slice key, struct slice value)
{
    uint64_t ino = schema_key_u64(key, 1);
    struct slice content;
    if (!is_mine(v, ino))
        return ERR_OK;
    TRY(row_xattr_decode(value, &content));
    struct seen *inode = map_u64_get(&v->inodes, ino);
    if (!inode || key.size <= 9)
        return wrong(v, "an extended attribute of inode %" PRIu64 ", which is not there, or without a name", ino);
    inode->xattrs_found++;
    inode->list_bytes_found += (uint32_t)(key.size - 9 + 1);
    return ERR_OK;
}

static enum err on_orphan(struct verify *v, struct slice key, struct slice value)
{
    (void)value;
    uint64_t ino = schema_key_u64(key, 1);
    if (!is_mine(v, ino))
        return ERR_OK;
    struct seen *inode = map_u64_get(&v->inodes, ino);
    if (!inode || inode->nlink > 0)
        return wrong(v, "inode %" PRIu64 " is kept as an orphan and is not unlinked", ino);
    inode->names++; /* kept, as by a name */
    return ERR_OK;
}

static enum err on_inline_block(struct verify *v, struct slice key, struct slice value)
{
    struct meta_inline_block b;
    struct sha256 id;
    TRY(row_inline_block_decode(key, value, &b));
    v->inline_bytes += inline_block_cost(&b);
    v->inline_count++;
    if (!v->m->snapshot && !inline_block_is_known(v->m, &b))
        return wrong(v, "inline block %08" PRIx32 "... is not known in memory as it is", get_u32be(b.id.bytes));
    sha256_of(b.data, &id);
    if (!sha256_equal(&id, &b.id))
        return wrong(v, "inline block %08" PRIx32 "... has the bytes of another", get_u32be(b.id.bytes));
    return ERR_OK;
}

static enum err on_fragmented(struct verify *v, struct slice key, struct slice value)
{
    uint64_t version, ino = schema_key_u64(key, 1);
    TRY(row_fragmented_decode(value, &version));
    /* Who looks for fragmented files finds those that are gone, and removes them. */
    if (key.size != 9 || ino >= v->m->state.next_id)
        return wrong(v, "inode %" PRIu64 ", which was never there, is listed as fragmented", ino);
    return ERR_OK;
}

/* ---- sessions ---- */

static enum err on_session(struct verify *v, struct slice key, struct slice value)
{
    struct row_session *s = arena_zalloc(&v->arena, sizeof *s);
    TRY(row_session_decode(value, s));
    s->export = s->client = SLICE(NULL, 0); /* borrowed of the row */
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
        return wrong(v, "a reply to request %" PRIu64 " of session %" PRIu64 ", which is not waited for", seq, id);
    return ERR_OK;
}

static enum err on_nonce(struct verify *v, struct slice key, struct slice value)
{
    (void)key;
    if (value.size != 8)
        return ERR_CORRUPT;
    if (!map_u64_get(&v->sessions, get_u64be(value.data)))
        return wrong(v, "a nonce of session %" PRIu64 ", which is over", get_u64be(value.data));
    return ERR_OK;
}

/* ---- reference counts ---- */

static bool is_of_pass(const struct verify *v, const struct sha256 *block)
{
    return get_u32be(block->bytes) * v->passes >> 32 == v->pass;
}

static enum err on_named_block(struct verify *v, struct slice key, struct slice value)
{
    struct meta_extent x;
    if (row_extent_decode(key, value, &x) == ERR_OK && !meta_extent_is_hole(&x) && is_of_pass(v, &x.block))
        bytes_append(&v->blocks, SLICE(x.block.bytes, SHA256_SIZE));
    return ERR_OK; /* one that can't be decoded has been told of */
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_SIZE);
}

/* Those in front of this id have no row. */
static enum err skip_named(struct verify *v, const uint8_t *block)
{
    while (v->block_at < v->blocks.size && (!block || by_hash(v->blocks.data + v->block_at, block) < 0)) {
        const uint8_t *first = v->blocks.data + v->block_at;
        for (; v->block_at < v->blocks.size && by_hash(v->blocks.data + v->block_at, first) == 0;)
            v->block_at += SHA256_SIZE;
        TRY(wrong(v, "block %08" PRIx32 "... is named by extents and not counted", get_u32be(first)));
    }
    return ERR_OK;
}

static enum err on_block_ref(struct verify *v, struct slice key, struct slice value)
{
    const uint8_t *block = key.data + 1;
    int64_t count, named = 0;
    if (key.size > 1 + SHA256_SIZE)
        return ERR_CORRUPT;
    TRY(row_count_decode(value, &count));
    TRY(skip_named(v, block));
    while (v->block_at < v->blocks.size && by_hash(v->blocks.data + v->block_at, block) == 0) {
        v->block_at += SHA256_SIZE;
        named++;
    }
    v->report->blocks += count > 0;
    if (count != named)
        return wrong(v, "block %08" PRIx32 "... is counted %" PRId64 " times and named by %" PRId64 " extents",
                     get_u32be(block), count, named);
    return ERR_OK;
}

/* ---- what comes of it ---- */

static enum err check_directory(struct verify *v, const struct seen *s)
{
    if (s->size != s->entries || s->nlink != 2 + s->directories)
        TRY(wrong(v,
                  "directory %" PRIu64 ": size %" PRIu64 " and %" PRIu32 " links, but %" PRIu64 " entries and %" PRIu64
                  " subdirectories",
                  s->ino, s->size, s->nlink, s->entries, s->directories));
    bool is_root = s->ino == META_ROOT_INO;
    if (s->names != (is_root ? 0 : 1) || s->parent != (is_root ? s->ino : s->named_by))
        return wrong(v, "directory %" PRIu64 ": %" PRIu64 " names, parent %" PRIu64 ", named by %" PRIu64, s->ino,
                     s->names, s->parent, s->named_by);
    return ERR_OK;
}

static enum err check_inode(struct verify *v, const struct seen *s)
{
    if (s->xattrs != s->xattrs_found || s->xattr_list_bytes != s->list_bytes_found)
        TRY(wrong(v,
                  "inode %" PRIu64 ": %" PRIu32 " extended attributes with %" PRIu32 " bytes of names, but %" PRIu32
                  " with %" PRIu32 " are there",
                  s->ino, s->xattrs, s->xattr_list_bytes, s->xattrs_found, s->list_bytes_found));
    bool may_lack_name = !S_ISDIR(s->mode) || s->ino == META_ROOT_INO;
    if (s->has_name ? !s->name_found : !may_lack_name)
        TRY(wrong(v, "inode %" PRIu64 " is not in directory %" PRIu64 " under the name that it has kept", s->ino,
                  s->parent));
    if (S_ISDIR(s->mode))
        return check_directory(v, s);
    if (s->names != MAX(s->nlink, 1u)) /* one that is unlinked is kept by its row among the orphans */
        TRY(wrong(v, "inode %" PRIu64 ": %" PRIu32 " links, but %" PRIu64 " names", s->ino, s->nlink, s->names));
    if (!S_ISREG(s->mode) && s->allocated != 0)
        return wrong(v, "inode %" PRIu64 ": %" PRIu64 " bytes allocated, and no file", s->ino, s->allocated);
    return ERR_OK;
}

static enum err check_gathered(struct verify *v)
{
    size_t at = 0;
    uint64_t number;
    void *value;
    while (map_u64_next(&v->inodes, &at, &number, &value))
        TRY(check_inode(v, value));
    at = 0;
    while (map_u64_next(&v->contents, &at, &number, &value)) {
        const struct seen_content *c = value;
        if (!c->dead && c->allocated != c->bytes)
            TRY(wrong(v, "inode %" PRIu64 ": %" PRIu64 " bytes allocated, but extents of %" PRIu64, c->ino,
                      c->allocated, c->bytes));
    }
    return ERR_OK;
}

static void forget_gathered(struct verify *v)
{
    map_u64_free(&v->inodes);
    map_u64_free(&v->contents);
    map_u64_free(&v->sessions);
    arena_free(&v->arena);
}

static enum err check_inodes(struct verify *v)
{
    static const struct table tables[] = {
        {'i', 9, on_inode, false},     {'g', 9, on_garbage, false},
        {'d', 18, on_dentry, false},   {'x', 17, on_extent, false},
        {'o', 9, on_orphan, false},    {'a', 10, on_xattr, false},
        {'s', 9, on_session, true},    {'q', 17, on_reply, true},
        {'e', 1, on_nonce, true},      {'b', 1 + SHA256_SIZE, on_inline_block, true},
        {'f', 9, on_fragmented, true},
    };
    enum err e = ERR_OK;
    for (unsigned i = 0; e == ERR_OK && i < ARRAY_SIZE(tables); i++)
        e = read_table(v, &tables[i]);
    if (e == ERR_OK)
        e = check_gathered(v);
    forget_gathered(v);
    return e;
}

/* The counts of the blocks of one pass. */
static enum err check_counts(struct verify *v)
{
    static const struct table extents = {'x', 17, on_named_block, false};
    static const struct table counts = {'r', 1 + SHA256_SIZE, on_block_ref, false};
    struct schema_key from = {.bytes = {'r'}, .size = 5}, to = schema_prefix_end(&from, 1);
    bytes_clear(&v->blocks);
    v->block_at = 0;
    TRY(read_table(v, &extents));
    if (v->blocks.size > 0)
        qsort(v->blocks.data, v->blocks.size / SHA256_SIZE, SHA256_SIZE, by_hash);
    /* The first id of a pass is the first whose product with the number of passes reaches it. */
    put_u32be(from.bytes + 1, (uint32_t)(((v->pass << 32) + v->passes - 1) / v->passes));
    if (v->pass + 1 < v->passes) {
        to = from;
        put_u32be(to.bytes + 1, (uint32_t)((((v->pass + 1) << 32) + v->passes - 1) / v->passes));
    }
    TRY(read_rows(v, &counts, &from, &to));
    return skip_named(v, NULL);
}

static enum err check_locks(struct verify *v)
{
    struct err_text why = {""};
    enum err e = lock_verify(v->m, &why);
    if (e == ERR_OK)
        return ERR_OK;
    TRY(wrong(v, "%.250s", why.text[0] ? why.text : "the locks can't be read"));
    return e == ERR_CORRUPT ? ERR_OK : e;
}

static enum err check_keys(struct verify *v)
{
    const struct row_meta *state = &v->m->state;
    struct kv_counts counts;
    enum err e = kv_verify(v->m, v->check, &counts);
    if (e == ERR_CANCELLED)
        return e;
    if (e != ERR_OK) {
        (void)wrong(v, "the key/value space can't be read: %s", err_message(e));
        return e;
    }
    v->report->keys = counts.keys, v->report->kv_bytes = counts.bytes;
    if (counts.unsound > 0)
        TRY(wrong(v, "%" PRIu64 " rows of the key/value space are damaged or contradict others", counts.unsound));
    if (counts.keys != state->kv_keys || counts.bytes != state->kv_bytes)
        return wrong(v, "%" PRIu64 " keys with %" PRIu64 " bytes are counted, %" PRIu64 " with %" PRIu64 " are there",
                     state->kv_keys, state->kv_bytes, counts.keys, counts.bytes);
    return ERR_OK;
}

static enum err on_lost_directory(void *context, uint64_t ino)
{
    return wrong(context, "directory %" PRIu64 " is not reached from the root", ino);
}

static enum err check_all(struct verify *v, const uint64_t rows[256])
{
    const struct row_meta *state = &v->m->state;
    uint64_t inodes = v->check->inodes ? v->check->inodes : INODES_PER_PASS;
    uint64_t hashes = v->check->hashes ? v->check->hashes : HASHES_PER_PASS;
    v->passes = MAX(rows['i'], rows['g']) / inodes + 1;
    for (v->pass = 0; v->pass < v->passes; v->pass++)
        TRY(check_inodes(v));
    TRY(check_tree(v->m, v->check, inodes, on_lost_directory, v));
    if (state->inodes != v->inode_count || state->bytes != v->bytes)
        TRY(wrong(v, "%" PRIu64 " inodes and %" PRIu64 " bytes are counted, %" PRIu64 " and %" PRIu64 " are there",
                  state->inodes, state->bytes, v->inode_count, v->bytes));
    if (!v->m->snapshot && v->m->inline_known.count != v->inline_count)
        TRY(wrong(v, "%zu inline blocks are known in memory, and there are %" PRIu64, v->m->inline_known.count,
                  v->inline_count));
    if (state->inline_bytes != v->inline_bytes)
        TRY(wrong(v, "inline blocks are counted with %" PRIu64 " bytes, and take %" PRIu64, state->inline_bytes,
                  v->inline_bytes));
    v->passes = MIN(rows['x'] / hashes + 1, UINT32_MAX);
    for (v->pass = 0; v->pass < v->passes; v->pass++)
        TRY(check_counts(v));
    TRY(check_keys(v));
    return check_locks(v);
}

enum err meta_check(struct meta *m, struct meta_check *check, struct meta_report *ret)
{
    struct verify v = {.m = m, .check = check, .report = ret};
    uint64_t rows[256] = {0};
    *ret = (struct meta_report){.index = m->state.applied, .chain = m->state.chain};
    enum err e = check_hash_rows(m, check, rows, &ret->state);
    if (e != ERR_OK && e != ERR_CANCELLED)
        (void)wrong(&v, "the rows can't all be read: %s", err_message(e));
    ret->names = rows['d'], ret->extents = rows['x'], ret->orphans = rows['o'];
    ret->sessions = rows['s'], ret->dead = rows['g'];
    if (e == ERR_OK)
        e = check_all(&v, rows);
    ret->inodes = v.inode_count, ret->bytes = v.bytes;
    forget_gathered(&v);
    bytes_free(&v.blocks);
    if (e == ERR_CANCELLED)
        return e;
    ret->unread = e; /* what can't be read is what was found */
    return ERR_OK;
}

enum err meta_verify(struct meta *m, struct err_text *why)
{
    struct meta_check check = {.on_row = NULL};
    struct meta_report *report = MEM_NEW(struct meta_report);
    enum err e = meta_check(m, &check, report);
    if (e == ERR_OK && report->problem_count > 0)
        e = err_explain(why, report->unread != ERR_OK ? report->unread : ERR_CORRUPT, "%s", report->problems[0].text);
    free(report);
    return e;
}
