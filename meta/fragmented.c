/* fragmented.c: files that a commit has left with a short extent among others. Listed so that any mount finds them,
 * whoever has written them and is gone since; that a file is listed doesn't say that rewriting it pays. */
#include "base/mem.h"
#include "meta/store.h"

void fragmented_put(struct meta *m, uint64_t ino, uint64_t version)
{
    struct schema_key key = schema_fragmented(ino);
    row_fragmented_encode(version, &m->scratch);
    store_put_scratch(m, &key);
}

enum err fragmented_remove(struct meta *m, uint64_t ino, uint64_t version)
{
    struct schema_key key = schema_fragmented(ino);
    struct slice value = {0};
    uint64_t listed = 0;
    bool found;
    TRY(store_get(m, &key, &value, &found));
    if (found)
        TRY(row_fragmented_decode(value, &listed));
    if (found && listed == version)
        store_delete(m, &key);
    return ERR_OK;
}

enum err query_fragmented(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct schema_key from = schema_fragmented(q->ino == UINT64_MAX ? q->ino : q->ino + 1);
    struct store_range range;
    struct slice key, value;
    enum err e = ERR_OK;
    r->fragmented = arena_alloc(a, LIMIT_FRAGMENTED * sizeof *r->fragmented);
    r->end = true;
    store_range_open_prefix(m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &key, &value); store_range_next(&range)) {
        if (r->fragmented_count == LIMIT_FRAGMENTED) {
            r->end = false;
            break;
        }
        struct meta_fragmented *f = &r->fragmented[r->fragmented_count++];
        f->ino = schema_key_u64(key, 1);
        e = row_fragmented_decode(value, &f->version);
    }
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}
