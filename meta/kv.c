/* kv.c: rows of the key/value space, and what changed in it. */
#include "base/check.h"
#include "meta/store.h"

static uint64_t cost(struct slice key, const struct row_kv *r)
{
    return key.size + r->value.size;
}

enum err kv_row_get(struct meta *m, struct slice key, struct row_kv *ret, bool *ret_found)
{
    struct schema_kv_key at;
    struct slice value = {0};
    schema_kv(key, &at);
    TRY(store_get_at(m, schema_kv_slice(&at), &value, ret_found));
    return *ret_found ? row_kv_decode(value, ret) : ERR_OK;
}

void kv_events_begin(struct meta *m, unsigned max)
{
    m->kv_events = arena_alloc(&m->arena, max * sizeof *m->kv_events);
    m->kv_event_count = 0;
}

static void note(struct meta *m, struct slice key, enum meta_kv_event_kind kind, uint64_t version)
{
    m->kv_events[m->kv_event_count++] = (struct meta_kv_event){
        .kind = kind, .index = m->next.applied, .time_ns = m->time_ns, .version = version, .key = key};
}

/* The row is about to go, or to be replaced by one that expires at another time. */
static void forget(struct meta *m, struct slice key, const struct row_kv *was, int64_t expires_ns)
{
    if (was->expires_ns > 0 && was->expires_ns != expires_ns) {
        struct schema_kv_key at;
        schema_kv_expiry(was->expires_ns, key, &at);
        store_delete_at(m, schema_kv_slice(&at));
    }
    m->next.kv_keys--;
    m->next.kv_bytes -= cost(key, was);
}

void kv_row_put(struct meta *m, struct slice key, const struct row_kv *was, const struct row_kv *row)
{
    struct schema_kv_key at;
    if (was)
        forget(m, key, was, row->expires_ns);
    if (row->expires_ns > 0 && (!was || was->expires_ns != row->expires_ns)) {
        schema_kv_expiry(row->expires_ns, key, &at);
        store_put_scratch_at(m, schema_kv_slice(&at)); /* the key says it all */
        m->kv_expiry_ns = row->expires_ns < m->kv_expiry_ns ? row->expires_ns : m->kv_expiry_ns;
    }
    schema_kv(key, &at);
    row_kv_encode(row, &m->scratch);
    store_put_scratch_at(m, schema_kv_slice(&at));
    m->next.kv_keys++;
    m->next.kv_bytes += cost(key, row);
    note(m, key, META_KV_CHANGED, row->version);
}

void kv_remove(struct meta *m, struct slice key, const struct row_kv *was, enum meta_kv_event_kind why)
{
    struct schema_kv_key at;
    schema_kv(key, &at);
    forget(m, key, was, 0);
    store_delete_at(m, schema_kv_slice(&at));
    note(m, key, why, was->version);
}

const struct meta_kv_event *meta_kv_events(const struct meta *m, unsigned *ret_count)
{
    *ret_count = m->kv_event_count;
    return m->kv_events;
}

int64_t meta_log_time_ns(const struct meta *m)
{
    return m->state.last_time_ns;
}

enum err meta_kv_expiry(struct meta *m, int64_t now_ns, int64_t *ret_ns)
{
    if (m->kv_expiry_ns <= now_ns) {
        struct schema_key from = schema_kv_expiry_from(m->kv_expiry_from_ns);
        struct store_range range;
        struct slice key, value;
        store_range_open_prefix(m, &range, &from, 1);
        int64_t next_ns = INT64_MAX;
        if (store_range_get(&range, &key, &value) && key.size > 9)
            next_ns = (int64_t)schema_key_u64(key, 1);
        TRY(store_range_close(&range));
        m->kv_expiry_ns = next_ns;
    }
    *ret_ns = m->kv_expiry_ns;
    return ERR_OK;
}
