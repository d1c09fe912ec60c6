/* samples_kv.c: samples of the key/value space. */
#include <string.h>

#include "base/mem.h"
#include "tests/fuzz/wire/samples.h"

static struct slice sample_list(struct prng *p, struct arena *a)
{
    struct bytes list = {0};
    for (uint64_t left = prng_below(p, 5); left > 0; left--)
        bytes_blob(&list, sample_bytes(p, a, 0, 50));
    struct slice s = arena_slice(a, bytes_slice(&list));
    bytes_free(&list);
    return s;
}

struct slice *sample_keys(struct prng *p, struct arena *a, unsigned *ret_count)
{
    unsigned count = (unsigned)sample_u64(p, 1, prng_below(p, 10) ? 5 : LIMIT_KV_KEYS);
    struct slice *keys = arena_alloc(a, count * sizeof *keys);
    for (unsigned i = 0; i < count; i++) {
        struct slice any = sample_bytes(p, a, 0, LIMIT_KV_KEY_BYTES - 1);
        uint8_t *bytes = arena_alloc(a, any.size + 1);
        bytes[0] = (uint8_t)i;
        if (any.size > 0)
            memcpy(bytes + 1, any.data, any.size);
        keys[i] = SLICE(bytes, any.size + 1);
    }
    *ret_count = count;
    return keys;
}

struct meta_kv_change *sample_kv_changes(struct prng *p, struct arena *a, unsigned *ret_count)
{
    struct slice *keys = sample_keys(p, a, ret_count);
    struct meta_kv_change *changes = arena_zalloc(a, *ret_count * sizeof *changes);
    for (unsigned i = 0; i < *ret_count; i++) {
        struct meta_kv_change *c = &changes[i];
        c->kind = (enum meta_kv_kind)prng_between(p, META_KV_PUT, META_KV_KIND_LAST);
        c->type = META_KV_BYTES;
        c->key = keys[i];
        if (c->kind == META_KV_CAS || c->kind == META_KV_DELETE)
            c->expected_version = sample_u64(p, c->kind == META_KV_CAS, UINT64_MAX);
        if (c->kind == META_KV_CAS_VALUE)
            c->expected_value = sample_bytes(p, a, 0, 300);
        if (c->kind == META_KV_DELETE)
            continue;
        if (c->kind != META_KV_APPEND && prng_below(p, 2))
            c->type = META_KV_LIST;
        c->value = c->type == META_KV_LIST ? sample_list(p, a) : sample_bytes(p, a, 0, 300);
        c->ttl_ns = (int64_t)sample_u64(p, 0, (uint64_t)META_KV_TTL_MAX_NS);
    }
    return changes;
}

void sample_kv_entries(struct prng *p, struct arena *a, unsigned max, struct meta_query_reply *r)
{
    r->kv_count = (unsigned)sample_u64(p, 0, MIN(max, LIMIT_KV_LIST_ENTRIES));
    r->kv = arena_zalloc(a, r->kv_count * sizeof *r->kv);
    for (unsigned i = 0; i < r->kv_count; i++) {
        struct meta_kv_entry *e = &r->kv[i];
        e->key = sample_bytes(p, a, 0, 100);
        e->index = r->index;
        e->found = prng_below(p, 2);
        if (!e->found)
            continue;
        e->type = (enum meta_kv_type)prng_between(p, META_KV_BYTES, META_KV_LIST);
        e->value = e->type == META_KV_LIST ? sample_list(p, a) : sample_bytes(p, a, 0, 300);
        e->size = e->value.size > 0 ? e->value.size : sample_u64(p, 0, LIMIT_KV_VALUE_BYTES);
        e->version = sample_u64(p, 1, UINT64_MAX);
        e->ttl_ns = (int64_t)sample_u64(p, 0, (uint64_t)META_KV_TTL_MAX_NS);
        e->expires_ns = (int64_t)sample_u64(p, 0, INT64_MAX);
    }
}

void sample_kv_events(struct prng *p, struct arena *a, unsigned max, struct wire_kv_events *ret)
{
    *ret = (struct wire_kv_events){.through = sample_u64(p, 0, UINT64_MAX),
                                   .missed_upto = sample_u64(p, 0, UINT64_MAX),
                                   .count = (unsigned)sample_u64(p, 0, MIN(max, WIRE_KV_EVENTS))};
    struct meta_kv_event *list = arena_alloc(a, ret->count * sizeof *list);
    for (unsigned i = 0; i < ret->count; i++)
        list[i] = (struct meta_kv_event){
            .kind = (enum meta_kv_event_kind)prng_between(p, META_KV_CHANGED, META_KV_EVENT_LAST),
            .index = sample_u64(p, 0, UINT64_MAX),
            .time_ns = (int64_t)sample_u64(p, 0, UINT64_MAX),
            .version = sample_u64(p, 0, UINT64_MAX),
            .key = sample_bytes(p, a, 1, LIMIT_KV_KEY_BYTES)};
    ret->list = list;
}

void sample_kv_events_query(struct prng *p, struct arena *a, struct wire_kv_events_query *ret)
{
    *ret = (struct wire_kv_events_query){.after = sample_u64(p, 0, UINT64_MAX),
                                         .from_now = prng_below(p, 2),
                                         .prefix = sample_bytes(p, a, 0, LIMIT_KV_KEY_BYTES)};
}
