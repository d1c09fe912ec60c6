/* op_kv.c: changes of the key/value space. */
#include <string.h>

#include "base/check.h"
#include "meta/store.h"

/* was: the key, unless it isn't there or has expired. */
static enum err may_change(const struct meta_kv_change *c, const struct row_kv *was)
{
    switch (c->kind) {
    case META_KV_PUT:
        return ERR_OK;
    case META_KV_SET:
        return was ? ERR_EXIST : ERR_OK;
    case META_KV_CAS:
    case META_KV_DELETE:
        if (!was)
            return ERR_NOT_FOUND;
        return c->expected_version == was->version || (c->kind == META_KV_DELETE && c->expected_version == 0)
                   ? ERR_OK
                   : ERR_VERSION;
    case META_KV_CAS_VALUE:
        if (!was)
            return ERR_NOT_FOUND;
        if (was->type != c->type)
            return ERR_WRONG_TYPE;
        return slice_equal(was->value, c->expected_value) ? ERR_OK : ERR_VERSION;
    case META_KV_APPEND:
        if (was && was->type != META_KV_LIST)
            return ERR_WRONG_TYPE;
        return (was ? was->value.size : 0) + 4 + c->value.size <= LIMIT_KV_VALUE_BYTES ? ERR_OK : ERR_TOO_BIG;
    }
    CHECK(!"a change that is listed");
}

static struct slice appended(struct meta *m, struct slice list, struct slice element)
{
    size_t size = list.size + 4 + element.size;
    uint8_t *data = arena_alloc(&m->arena, size);
    if (list.size > 0)
        memcpy(data, list.data, list.size);
    put_u32be(data + list.size, (uint32_t)element.size);
    if (element.size > 0)
        memcpy(data + list.size + 4, element.data, element.size);
    return SLICE(data, size);
}

static int64_t expires_at(int64_t now_ns, int64_t ttl_ns)
{
    return ttl_ns == 0 ? 0 : now_ns > INT64_MAX - ttl_ns ? INT64_MAX : now_ns + ttl_ns;
}

/* *ret_version: as in the reply. */
static enum err change(struct meta *m, const struct meta_kv_change *c, uint64_t *ret_version)
{
    struct row_kv old;
    bool there;
    TRY(kv_row_get(m, c->key, &old, &there));
    const struct row_kv *was = there && !kv_is_expired(&old, m->time_ns) ? &old : NULL;
    *ret_version = was ? was->version : 0;
    TRY(may_change(c, was));
    if (c->kind == META_KV_DELETE) {
        kv_remove(m, c->key, was, META_KV_DELETED);
        return ERR_OK;
    }
    /* An entry raises a key's version by one at most, so no version of a key is above the index that it was given at:
     * one that begins at the index of its entry is above all that the key had before. */
    struct row_kv row = {.type = c->type,
                         .version = was ? was->version + 1 : m->next.applied,
                         .ttl_ns = c->ttl_ns,
                         .expires_ns = expires_at(m->time_ns, c->ttl_ns),
                         .value = c->value};
    if (c->kind == META_KV_APPEND) {
        row.type = META_KV_LIST;
        row.value = appended(m, was ? was->value : SLICE(NULL, 0), c->value);
        if (was && c->ttl_ns == 0)
            row.ttl_ns = was->ttl_ns, row.expires_ns = was->expires_ns;
    }
    kv_row_put(m, c->key, there ? &old : NULL, &row);
    *ret_version = row.version;
    return ERR_OK;
}

OP(kv)
{
    uint64_t version = 0;
    kv_events_begin(m, c->kv.count);
    for (unsigned i = 0; i < c->kv.count; i++) {
        enum err e = change(m, &c->kv.changes[i], &version);
        if (e == ERR_OK)
            continue;
        if (!is_outcome(e))
            return e;
        *r = (struct meta_reply){.status = e, .kv_version = version, .kv_refused = i};
        return ERR_OK;
    }
    *r = (struct meta_reply){.kv_version = version};
    return ERR_OK;
}

/* What has expired by the time of this entry. It was as good as gone before, so it doesn't matter how much of it goes
 * now. */
OP(kv_expire)
{
    struct schema_key from = schema_kv_expiry_from(m->kv_expiry_from_ns);
    struct store_range range;
    struct slice at, value;
    enum err e = ERR_OK;
    int64_t expires_ns = 0;
    bool more = false;
    (void)c;
    kv_events_begin(m, LIMIT_KV_EXPIRE);
    store_range_open_prefix(m, &range, &from, 1);
    for (; e == ERR_OK && store_range_get(&range, &at, &value); store_range_next(&range)) {
        struct row_kv row;
        bool found = false;
        expires_ns = at.size > 9 ? (int64_t)schema_key_u64(at, 1) : 0;
        more = expires_ns <= m->time_ns && m->kv_event_count == LIMIT_KV_EXPIRE;
        if (expires_ns > m->time_ns || more)
            break;
        struct slice key = at.size > 9 ? arena_slice(&m->arena, slice_sub(at, 9, at.size - 9)) : SLICE(NULL, 0);
        e = kv_row_get(m, key, &row, &found);
        if (e == ERR_OK && (!found || row.expires_ns != expires_ns))
            e = ERR_CORRUPT;
        if (e == ERR_OK)
            kv_remove(m, key, &row, META_KV_EXPIRED);
    }
    enum err closed = store_range_close(&range);
    TRY(e != ERR_OK ? e : closed);
    m->kv_expiry_from_ns = more ? expires_ns : m->time_ns;
    m->kv_expiry_ns = m->kv_expiry_from_ns;
    *r = (struct meta_reply){.more = more};
    return ERR_OK;
}
