/* kv_verify.c: whether the rows of the key/value space agree with one another. */
#include "meta/kv_verify.h"

#include <inttypes.h>

#include "meta/check.h"

struct verify {
    struct meta *m;
    struct kv_counts *counts;
    uint64_t expiring, expiries; /* keys that say that they expire; rows that say so */
    struct arena arena;
};

static enum err on_key(void *context, struct slice key, struct slice value)
{
    struct verify *v = context;
    struct row_kv row;
    bool sound = key.size > 1 && row_kv_decode(value, &row) == ERR_OK &&
                 (row.type != META_KV_LIST || meta_kv_list_valid(row.value)) && row.version <= v->m->state.applied;
    if (!sound) {
        v->counts->unsound++;
        return ERR_OK;
    }
    v->counts->keys++;
    v->counts->bytes += key.size - 1 + row.value.size;
    v->expiring += row.expires_ns > 0;
    return ERR_OK;
}

static enum err on_expiry(void *context, struct slice key, struct slice value)
{
    struct verify *v = context;
    struct row_kv row = {0};
    struct slice found_value = {0};
    bool found = false;
    (void)value;
    v->expiries++;
    if (key.size > 9) {
        struct schema_kv_key at;
        schema_kv(slice_sub(key, 9, key.size - 9), &at);
        arena_reset(&v->arena);
        TRY(store_read_at(v->m, schema_kv_slice(&at), &v->arena, &found_value, &found));
    }
    if (!found || row_kv_decode(found_value, &row) != ERR_OK || (uint64_t)row.expires_ns != schema_key_u64(key, 1))
        v->counts->unsound++;
    return ERR_OK;
}

enum err kv_verify(struct meta *m, struct meta_check *check, struct kv_counts *ret)
{
    struct verify v = {.m = m, .counts = ret};
    struct schema_key keys = {.bytes = {'k'}, .size = 1}, keys_end = schema_prefix_end(&keys, 1);
    struct schema_key expiries = {.bytes = {'t'}, .size = 1}, expiries_end = schema_prefix_end(&expiries, 1);
    *ret = (struct kv_counts){0};
    enum err e = check_each_row(m, check, &keys, &keys_end, on_key, &v);
    if (e == ERR_OK)
        e = check_each_row(m, check, &expiries, &expiries_end, on_expiry, &v);
    arena_free(&v.arena);
    /* A row of an expiry is of a key that says the same, so equal numbers mean that each has its own. */
    ret->unsound += v.expiring != v.expiries;
    return e;
}
