/* kv_query.c: reading the key/value space. What has expired by the time of the last entry is not there. */
#include "base/mem.h"
#include "meta/store.h"

/* Rows are read with their values, also where only keys are asked for, and those that have expired: so much for one
 * page. */
#define LIST_READ_BYTES ((uint64_t)4 * MIB)
#define LIST_READ_ROWS 4096u

static void fill(struct meta_kv_entry *e, const struct row_kv *row)
{
    e->found = true;
    e->type = row->type;
    e->size = row->value.size;
    e->version = row->version;
    e->ttl_ns = row->ttl_ns;
    e->expires_ns = row->expires_ns;
}

enum err query_kv_get(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    size_t bytes = 0;
    r->kv = arena_zalloc(a, q->key_count * sizeof *r->kv);
    for (unsigned i = 0; i < q->key_count; i++) {
        struct schema_kv_key at;
        struct slice value = {0};
        struct row_kv row;
        bool found;
        schema_kv(q->keys[i], &at);
        TRY(store_read_at(m, schema_kv_slice(&at), a, &value, &found));
        if (!found)
            continue;
        TRY(row_kv_decode(value, &row));
        if (kv_is_expired(&row, m->state.last_time_ns))
            continue;
        bytes += row.value.size;
        if (bytes > LIMIT_KV_REPLY_BYTES)
            return ERR_TOO_BIG;
        fill(&r->kv[i], &row);
        r->kv[i].value = row.value;
    }
    r->kv_count = q->key_count;
    r->index = m->state.applied; /* a watch may begin behind it, whichever member was asked */
    return ERR_OK;
}

/* A page in the making. */
struct listing {
    const struct meta_query *query;
    struct arena *arena;
    struct meta_query_reply *reply;
    unsigned max_count, rows;
    size_t bytes;  /* of the answer */
    uint64_t read; /* bytes */
    int64_t now_ns;
};

/* False: the page is full, and the row belongs to the next one. */
static bool take(struct listing *l, struct slice key, const struct row_kv *row)
{
    struct meta_query_reply *r = l->reply;
    size_t value_bytes = l->query->with_values ? row->value.size : 0;
    if (r->kv_count == l->max_count || (r->kv_count > 0 && l->bytes + key.size + value_bytes > LIMIT_KV_REPLY_BYTES))
        return false;
    struct meta_kv_entry *e = &r->kv[r->kv_count++];
    *e = (struct meta_kv_entry){.key = arena_slice(l->arena, key)};
    fill(e, row);
    if (l->query->with_values)
        e->value = arena_slice(l->arena, row->value);
    l->bytes += key.size + value_bytes;
    return true;
}

/* The key is not told, only that all up to it was looked at. */
static void stop_behind(struct listing *l, struct slice key)
{
    struct meta_query_reply *r = l->reply;
    if (r->kv_count > 0 && slice_equal(r->kv[r->kv_count - 1].key, key))
        return;
    if (r->kv_count == l->max_count)
        return; /* it goes on behind the last one then, which is as right */
    r->kv[r->kv_count++] = (struct meta_kv_entry){.key = arena_slice(l->arena, key)};
}

static enum err list_rows(struct listing *l, struct store_range *range)
{
    struct slice at, value;
    for (; store_range_get(range, &at, &value); store_range_next(range)) {
        struct row_kv row;
        struct slice key = slice_sub(at, 1, at.size - 1);
        if (key.size == l->query->after.size && slice_equal(key, l->query->after))
            continue;
        TRY(row_kv_decode(value, &row));
        if (!kv_is_expired(&row, l->now_ns) && !take(l, key, &row))
            return ERR_OK;
        l->rows++;
        l->read += value.size;
        if (l->rows >= LIST_READ_ROWS || l->read >= LIST_READ_BYTES) {
            stop_behind(l, key);
            return ERR_OK;
        }
    }
    l->reply->end = true;
    return ERR_OK;
}

/* The first key of the store behind all that begin with the prefix. */
static void prefix_end(struct slice prefix, struct schema_kv_key *ret)
{
    schema_kv(prefix, ret);
    while (ret->bytes[ret->size - 1] == UINT8_MAX)
        ret->size--; /* the table's letter is below that */
    ret->bytes[ret->size - 1]++;
}

enum err query_kv_list(struct meta *m, const struct meta_query *q, struct arena *a, struct meta_query_reply *r)
{
    struct schema_kv_key from, upper;
    struct store_range range;
    struct listing l = {.query = q,
                        .arena = a,
                        .reply = r,
                        .max_count = q->max_count ? q->max_count : LIMIT_KV_LIST_ENTRIES,
                        .now_ns = m->state.last_time_ns};
    r->kv = arena_alloc(a, l.max_count * sizeof *r->kv);
    r->index = m->state.applied;
    schema_kv(slice_compare(q->after, q->prefix) > 0 ? q->after : q->prefix, &from);
    prefix_end(q->prefix, &upper);
    if (slice_compare(schema_kv_slice(&from), schema_kv_slice(&upper)) >= 0) {
        r->end = true; /* `after` is behind all that begin with the prefix */
        return ERR_OK;
    }
    store_range_open_at(m, &range, schema_kv_slice(&from), schema_kv_slice(&upper));
    enum err e = list_rows(&l, &range);
    enum err closed = store_range_close(&range);
    return e != ERR_OK ? e : closed;
}
