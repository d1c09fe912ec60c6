#include "client/kv/kv.h"

#include <string.h>

#include "base/check.h"

void kv_list_add(struct bytes *list, struct slice element)
{
    bytes_blob(list, element);
}

bool kv_list_next(struct cursor *list, struct slice *ret)
{
    if (!cursor_ok(list) || list->at == list->end)
        return false;
    struct slice element = cursor_blob(list, LIMIT_KV_VALUE_BYTES);
    if (!cursor_ok(list))
        return false;
    *ret = element;
    return true;
}

/* ---- changes ---- */

static bool is_key(struct slice key)
{
    return key.size >= 1 && key.size <= LIMIT_KV_KEY_BYTES;
}

static enum err check_change(const struct meta_kv_change *c)
{
    bool removes = c->kind == META_KV_DELETE, typed = !removes && c->kind != META_KV_APPEND;
    if (c->kind < META_KV_PUT || c->kind > META_KV_KIND_LAST || c->type < META_KV_BYTES ||
        c->type > (typed ? META_KV_TYPE_LAST : META_KV_BYTES))
        return ERR_INVAL;
    if (c->key.size > LIMIT_KV_KEY_BYTES || c->value.size > LIMIT_KV_VALUE_BYTES ||
        c->expected_value.size > LIMIT_KV_VALUE_BYTES)
        return ERR_TOO_BIG;
    bool fits = c->key.size >= 1 && c->ttl_ns >= 0 && c->ttl_ns <= (removes ? 0 : META_KV_TTL_MAX_NS) &&
                (!removes || c->value.size == 0) && (c->kind == META_KV_CAS) <= (c->expected_version > 0) &&
                (c->kind == META_KV_CAS || removes || c->expected_version == 0) &&
                (c->kind == META_KV_CAS_VALUE || c->expected_value.size == 0) &&
                (c->type != META_KV_LIST || meta_kv_list_valid(c->value));
    return fits ? ERR_OK : ERR_INVAL;
}

static enum err check_changes(const struct meta_kv_change *changes, unsigned count, unsigned *ret_refused)
{
    size_t bytes = 0;
    *ret_refused = count;
    if (count < 1 || count > LIMIT_KV_KEYS)
        return count < 1 ? ERR_INVAL : ERR_TOO_BIG;
    for (unsigned i = 0; i < count; i++) {
        enum err e = check_change(&changes[i]);
        bytes += changes[i].key.size + changes[i].value.size + changes[i].expected_value.size;
        for (unsigned j = 0; e == ERR_OK && j < i; j++)
            if (slice_equal(changes[i].key, changes[j].key))
                e = ERR_INVAL;
        if (e != ERR_OK) {
            *ret_refused = i;
            return e;
        }
    }
    return bytes <= LIMIT_KV_CHANGES_BYTES ? ERR_OK : ERR_TOO_BIG;
}

enum err kv_change(struct meta_client *c, const struct meta_kv_change *changes, unsigned count,
                   struct rpc_cancel *cancel, struct kv_changed *ret_changed)
{
    struct kv_changed changed = {0};
    struct meta_reply reply = {0};
    struct meta_command command = {.op = META_KV, .kv = {.changes = changes, .count = count}};
    enum err e = check_changes(changes, count, &changed.refused);
    if (e == ERR_OK) {
        TRY(meta_client_call(c, &command, cancel, &reply));
        changed = (struct kv_changed){.version = reply.kv_version, .refused = reply.kv_refused};
        e = reply.status;
    }
    if (ret_changed)
        *ret_changed = changed;
    return e;
}

enum err kv_put_early(struct meta_client *c, const struct meta_kv_change *puts, unsigned count,
                      struct rpc_cancel *cancel, bool *ret_early)
{
    struct meta_reply reply = {0};
    struct meta_command command = {.op = META_KV, .kv = {.changes = puts, .count = count}};
    unsigned ignored;
    size_t bytes = 0;
    TRY(check_changes(puts, count, &ignored));
    for (unsigned i = 0; i < count; i++) {
        bytes += puts[i].key.size + puts[i].value.size;
        if (puts[i].kind != META_KV_PUT)
            return ERR_INVAL;
    }
    *ret_early = false;
    if (count > KV_EARLY_KEYS || bytes > KV_EARLY_BYTES)
        TRY(meta_client_call(c, &command, cancel, &reply));
    else
        TRY(meta_client_put(c, &command, cancel, &reply, ret_early));
    return reply.status;
}

static enum err change_one(struct meta_client *c, const struct meta_kv_change *change, struct rpc_cancel *cancel,
                           uint64_t *ret_version)
{
    struct kv_changed changed;
    TRY(kv_change(c, change, 1, cancel, &changed));
    if (ret_version)
        *ret_version = changed.version;
    return ERR_OK;
}

static struct meta_kv_change change_of(enum meta_kv_kind kind, struct slice key, const struct kv_value *v)
{
    return (struct meta_kv_change){.kind = kind, .type = v->type, .key = key, .value = v->bytes, .ttl_ns = v->ttl_ns};
}

enum err kv_put(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version)
{
    struct meta_kv_change change = change_of(META_KV_PUT, key, value);
    return change_one(c, &change, cancel, ret_version);
}

enum err kv_set(struct meta_client *c, struct slice key, const struct kv_value *value, struct rpc_cancel *cancel,
                uint64_t *ret_version)
{
    struct meta_kv_change change = change_of(META_KV_SET, key, value);
    return change_one(c, &change, cancel, ret_version);
}

enum err kv_cas(struct meta_client *c, struct slice key, uint64_t expected_version, const struct kv_value *value,
                struct rpc_cancel *cancel, uint64_t *ret_version)
{
    struct meta_kv_change change = change_of(META_KV_CAS, key, value);
    change.expected_version = expected_version;
    return change_one(c, &change, cancel, ret_version);
}

enum err kv_cas_value(struct meta_client *c, struct slice key, struct slice expected, const struct kv_value *value,
                      struct rpc_cancel *cancel, uint64_t *ret_version)
{
    struct meta_kv_change change = change_of(META_KV_CAS_VALUE, key, value);
    change.expected_value = expected;
    return change_one(c, &change, cancel, ret_version);
}

enum err kv_append(struct meta_client *c, struct slice key, struct slice element, int64_t ttl_ns,
                   struct rpc_cancel *cancel, uint64_t *ret_version)
{
    const struct kv_value value = {.type = META_KV_BYTES, .bytes = element, .ttl_ns = ttl_ns};
    struct meta_kv_change change = change_of(META_KV_APPEND, key, &value);
    return change_one(c, &change, cancel, ret_version);
}

enum err kv_delete(struct meta_client *c, struct slice key, uint64_t expected_version, struct rpc_cancel *cancel)
{
    const struct kv_value none = {.type = META_KV_BYTES};
    struct meta_kv_change change = change_of(META_KV_DELETE, key, &none);
    change.expected_version = expected_version;
    return change_one(c, &change, cancel, NULL);
}

/* ---- reading ---- */

enum err kv_get_many(struct meta_client *c, const struct slice *keys, unsigned count, struct rpc_cancel *cancel,
                     struct arena *arena, struct meta_kv_entry *ret)
{
    if (count < 1)
        return ERR_INVAL;
    if (count > LIMIT_KV_KEYS)
        return ERR_TOO_BIG;
    for (unsigned i = 0; i < count; i++)
        if (!is_key(keys[i]))
            return keys[i].size == 0 ? ERR_INVAL : ERR_TOO_BIG;
    struct meta_query query = {.op = META_QUERY_KV_GET, .keys = keys, .key_count = count};
    struct meta_query_reply reply;
    TRY(meta_client_query(c, &query, cancel, arena, &reply));
    TRY(reply.status);
    if (reply.kv_count != count)
        return ERR_PROTOCOL;
    for (unsigned i = 0; i < count; i++) {
        ret[i] = reply.kv[i];
        ret[i].key = keys[i];
    }
    return ERR_OK;
}

enum err kv_get(struct meta_client *c, struct slice key, struct rpc_cancel *cancel, struct arena *arena,
                struct meta_kv_entry *ret)
{
    struct meta_kv_entry entry;
    TRY(kv_get_many(c, &key, 1, cancel, arena, &entry));
    if (!entry.found)
        return ERR_NOT_FOUND;
    *ret = entry;
    return ERR_OK;
}

enum err kv_list(struct meta_client *c, struct slice prefix, struct slice after, unsigned max_count, bool with_values,
                 struct rpc_cancel *cancel, struct arena *arena, struct kv_page *ret)
{
    if (prefix.size > LIMIT_KV_KEY_BYTES || after.size > LIMIT_KV_KEY_BYTES || max_count > LIMIT_KV_LIST_ENTRIES)
        return ERR_TOO_BIG;
    struct meta_query query = {
        .op = META_QUERY_KV_LIST, .prefix = prefix, .after = after, .max_count = max_count, .with_values = with_values};
    struct meta_query_reply reply;
    TRY(meta_client_query(c, &query, cancel, arena, &reply));
    TRY(reply.status);
    struct kv_page page = {.entries = reply.kv, .count = reply.kv_count, .end = reply.end};
    if (!page.end && page.count == 0)
        return ERR_PROTOCOL; /* it would never get further */
    if (!page.end)
        page.last = page.entries[page.count - 1].key;
    if (page.count > 0 && !page.entries[page.count - 1].found)
        page.count--;
    *ret = page;
    return ERR_OK;
}
