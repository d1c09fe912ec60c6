/* inline_block.c: blocks whose bytes came with the commit that names them, and stay in the metadata until somebody has
 * put them on their block servers. Extents and counts don't know the difference.
 *
 * The bytes go only on the word of who has put them there (META_MOVED), and only if no other commit has brought the
 * same bytes since: that one may be of a time when the copies on the block servers were unreferenced, and were
 * collected. */
#include "base/check.h"
#include "base/mem.h"
#include "meta/store.h"

/* What a row takes besides its bytes, about: many tiny ones are bounded too. */
#define ROW_COST_BYTES 256u

static uint64_t cost_of(const struct meta_inline_block *b)
{
    return b->data.size + ROW_COST_BYTES;
}

/* ---- all of them, without their bytes ---- */

/* Every small commit asks whether its bytes are here already, which they seldom are, and RocksDB's filters take long to
 * tell so. m->inline_known has all rows; their data is a size without bytes. */

static struct slice id_slice(const struct sha256 *id)
{
    return SLICE(id->bytes, SHA256_SIZE);
}

static void know(struct meta *m, const struct meta_inline_block *b)
{
    struct meta_inline_block *known = map_bytes_get(&m->inline_known, id_slice(&b->id));
    if (!known) {
        known = MEM_NEW(struct meta_inline_block);
        known->id = b->id;
        map_bytes_put(&m->inline_known, id_slice(&known->id), known);
    }
    known->ino = b->ino;
    known->version = b->version;
    known->data = SLICE(NULL, b->data.size);
}

void inline_block_committed(struct meta *m, const struct store_change *c)
{
    struct meta_inline_block b;
    if (c->change == ROW_DELETE) {
        free(map_bytes_remove(&m->inline_known, slice_sub(c->key, 1, SHA256_SIZE)));
        return;
    }
    CHECK(row_inline_block_decode(c->key, c->value, &b) == ERR_OK);
    know(m, &b);
}

enum err inline_blocks_load(struct meta *m)
{
    struct schema_key from = {.bytes = {SCHEMA_TABLE_INLINE_BLOCK}, .size = 1};
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    if (m->state.inline_bytes == 0)
        return ERR_OK;
    store_range_open_prefix(m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_inline_block b;
        e = row_inline_block_decode(key, value, &b);
        if (e == ERR_OK)
            know(m, &b);
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

void inline_blocks_free(struct meta *m)
{
    size_t at = 0;
    struct slice key;
    void *known;
    while (map_bytes_next(&m->inline_known, &at, &key, &known))
        free(known);
    map_bytes_free(&m->inline_known);
}

bool inline_block_is_known(const struct meta *m, const struct meta_inline_block *b)
{
    const struct meta_inline_block *k = map_bytes_get(&m->inline_known, id_slice(&b->id));
    return k && k->ino == b->ino && k->version == b->version && k->data.size == b->data.size;
}

/* ---- in an apply ---- */

/* Of its data the size. */
static enum err get_block(struct meta *m, const struct sha256 *id, struct meta_inline_block *ret, bool *ret_found)
{
    struct schema_key key = schema_inline_block(id);
    const struct written_row *row = written_get(&m->written, SLICE(key.bytes, key.size));
    if (row) {
        *ret_found = !row->deleted;
        return row->deleted ? ERR_OK : row_inline_block_decode(row->key, row->value, ret);
    }
    const struct meta_inline_block *known = map_bytes_get(&m->inline_known, id_slice(id));
    *ret_found = known != NULL;
    if (known)
        *ret = *known;
    return ERR_OK;
}

enum err inline_block_put(struct meta *m, uint64_t ino, uint64_t version, struct slice data)
{
    struct meta_inline_block b = {.ino = ino, .version = version, .data = data}, old;
    bool found;
    sha256_of(data, &b.id);
    TRY(get_block(m, &b.id, &old, &found));
    if (!found && m->next.inline_bytes + cost_of(&b) > LIMIT_INLINE_TOTAL_BYTES)
        return ERR_BUSY;
    struct schema_key key = schema_inline_block(&b.id);
    row_inline_block_encode(&b, &m->scratch);
    store_put_scratch(m, &key);
    m->next.inline_bytes += found ? 0 : cost_of(&b);
    return ERR_OK;
}

enum err inline_block_moved(struct meta *m, const struct meta_inline_block *moved)
{
    struct meta_inline_block b;
    bool found;
    TRY(get_block(m, &moved->id, &b, &found));
    if (!found || b.ino != moved->ino || b.version != moved->version)
        return ERR_OK;
    if (m->next.inline_bytes < cost_of(&b))
        return ERR_CORRUPT;
    struct schema_key key = schema_inline_block(&b.id);
    store_delete(m, &key);
    m->next.inline_bytes -= cost_of(&b);
    return ERR_OK;
}

enum err inline_block_is_there(struct meta *m, const struct sha256 *id, bool *ret)
{
    struct schema_key key = schema_inline_block(id);
    struct arena a = {0};
    struct slice value;
    enum err e = store_read(m, &key, &a, &value, ret);
    arena_free(&a);
    return e;
}

uint64_t inline_block_cost(const struct meta_inline_block *b)
{
    return cost_of(b);
}

/* ---- queries ---- */

static enum err read_one(struct meta *m, const struct sha256 *id, struct arena *a, struct meta_query_reply *r)
{
    struct schema_key key = schema_inline_block(id);
    struct slice value = {0};
    bool found;
    TRY(store_read(m, &key, a, &value, &found));
    if (!found)
        return ERR_OK;
    return row_inline_block_decode(SLICE(key.bytes, key.size), value, &r->inlined[r->inlined_count++]);
}

enum err query_inline(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    r->end = true;
    if (m->state.inline_bytes == 0)
        return ERR_OK;
    r->inlined = arena_alloc(a, LIMIT_MOVED_BLOCKS * sizeof *r->inlined);
    if (!q->next_block)
        return read_one(m, &q->block, a, r);
    struct schema_key from = schema_inline_block(&q->block);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    uint64_t bytes = 0;
    store_range_open_prefix(m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        struct meta_inline_block *b = &r->inlined[r->inlined_count];
        if (slice_equal(key, SLICE(from.bytes, from.size)))
            continue; /* those behind it were asked for */
        if (r->inlined_count == LIMIT_MOVED_BLOCKS || bytes + value.size > LIMIT_INLINE_REPLY_BYTES) {
            r->end = false;
            break;
        }
        e = row_inline_block_decode(key, arena_slice(a, value), b);
        bytes += value.size;
        r->inlined_count += e == ERR_OK;
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}

enum err inline_blocks_of_extents(struct meta *m, struct arena *a, struct meta_query_reply *r)
{
    uint64_t bytes = 0;
    if (m->state.inline_bytes == 0)
        return ERR_OK;
    unsigned max = MIN(r->extent_count, LIMIT_MOVED_BLOCKS);
    r->inlined = arena_alloc(a, max * sizeof *r->inlined);
    for (unsigned i = 0; i < r->extent_count && r->inlined_count < max; i++) {
        const struct meta_extent *x = &r->extents[i];
        if (x->length > LIMIT_INLINE_BYTES || (i > 0 && sha256_equal(&x->block, &x[-1].block)))
            continue;
        unsigned before = r->inlined_count;
        TRY(read_one(m, &x->block, a, r));
        if (r->inlined_count > before)
            bytes += r->inlined[before].data.size;
        if (bytes + LIMIT_INLINE_BYTES > LIMIT_INLINE_REPLY_BYTES)
            break; /* the others are asked for one by one */
    }
    return ERR_OK;
}
