/* wire_meta_kv.c: the key/value space in commands, queries and answers. */
#include "proto/meta_parts.h"

static bool list_is_sound(enum meta_kv_type type, struct slice value)
{
    return type != META_KV_LIST || meta_kv_list_valid(value);
}

void wire_kv_fill(Surf__CommandKv *m, const struct meta_kv_change *changes, unsigned count, struct arena *a)
{
    CHECK(count >= 1 && count <= LIMIT_KV_KEYS);
    Surf__KvChange *list = arena_alloc(a, count * sizeof *list);
    m->change = arena_alloc(a, count * sizeof(Surf__KvChange *));
    m->n_change = count;
    for (unsigned i = 0; i < count; i++) {
        const struct meta_kv_change *c = &changes[i];
        CHECK(c->key.size >= 1 && c->key.size <= LIMIT_KV_KEY_BYTES && c->value.size <= LIMIT_KV_VALUE_BYTES);
        m->change[i] = &list[i];
        surf__kv_change__init(&list[i]);
        list[i].kind = c->kind;
        list[i].type = c->type;
        list[i].key = wire_binary_of(c->key);
        list[i].value = wire_binary_of(c->value);
        list[i].expected_version = c->expected_version;
        list[i].expected_value = wire_binary_of(c->expected_value);
        list[i].ttl_ns = (uint64_t)c->ttl_ns;
    }
}

static enum err change_read(const Surf__KvChange *m, struct meta_kv_change *ret, struct err_text *why)
{
    TRY(wire_check_range("command.kv.kind", m->kind, META_KV_PUT, META_KV_KIND_LAST, why));
    enum meta_kv_kind kind = (enum meta_kv_kind)m->kind;
    bool removes = kind == META_KV_DELETE, typed = !removes && kind != META_KV_APPEND;
    bool by_version = kind == META_KV_CAS || removes;
    struct slice key = wire_slice(m->key), value = wire_slice(m->value), expected = wire_slice(m->expected_value);
    TRY(wire_check_range("command.kv.type", m->type, META_KV_BYTES, typed ? META_KV_TYPE_LAST : META_KV_BYTES, why));
    TRY(wire_check_size("command.kv.key", key, 1, LIMIT_KV_KEY_BYTES, why));
    TRY(wire_check_size("command.kv.value", value, 0, removes ? 0 : LIMIT_KV_VALUE_BYTES, why));
    TRY(wire_check_range("command.kv.expected_version", m->expected_version, kind == META_KV_CAS,
                         by_version ? UINT64_MAX : 0, why));
    TRY(wire_check_size("command.kv.expected_value", expected, 0, kind == META_KV_CAS_VALUE ? LIMIT_KV_VALUE_BYTES : 0,
                        why));
    TRY(wire_check_range("command.kv.ttl_ns", m->ttl_ns, 0, removes ? 0 : (uint64_t)META_KV_TTL_MAX_NS, why));
    if (!list_is_sound((enum meta_kv_type)m->type, value))
        return wire_refuse("command.kv.value", value.size, "elements with their lengths", why);
    *ret = (struct meta_kv_change){.kind = kind,
                                   .type = (enum meta_kv_type)m->type,
                                   .key = key,
                                   .value = value,
                                   .expected_version = m->expected_version,
                                   .expected_value = expected,
                                   .ttl_ns = (int64_t)m->ttl_ns};
    return ERR_OK;
}

enum err wire_kv_read(const Surf__CommandKv *m, struct arena *a, const struct meta_kv_change **ret, unsigned *ret_count,
                      struct err_text *why)
{
    TRY(wire_check_count("command.kv.changes", m->n_change, 1, LIMIT_KV_KEYS, why));
    struct meta_kv_change *changes = arena_alloc(a, m->n_change * sizeof *changes);
    size_t bytes = 0;
    for (size_t i = 0; i < m->n_change; i++) {
        TRY(change_read(m->change[i], &changes[i], why));
        bytes += changes[i].key.size + changes[i].value.size + changes[i].expected_value.size;
        for (size_t j = 0; j < i; j++)
            if (slice_equal(changes[i].key, changes[j].key))
                return wire_refuse("command.kv.key", i, "of a key that is not in it before", why);
    }
    TRY(wire_check_range("command.kv.bytes", bytes, 0, LIMIT_KV_CHANGES_BYTES, why));
    *ret = changes;
    *ret_count = (unsigned)m->n_change;
    return ERR_OK;
}

void wire_kv_query_fill(Surf__Query *m, const struct meta_query *q, struct arena *a)
{
    if (q->op == META_QUERY_KV_LIST) {
        CHECK(q->prefix.size <= LIMIT_KV_KEY_BYTES && q->after.size <= LIMIT_KV_KEY_BYTES);
        m->prefix = wire_binary_of(q->prefix);
        m->after = wire_binary_of(q->after);
        m->with_values = q->with_values;
    }
    if (q->op != META_QUERY_KV_GET)
        return;
    CHECK(q->key_count >= 1 && q->key_count <= LIMIT_KV_KEYS);
    m->n_key = q->key_count;
    m->key = arena_alloc(a, q->key_count * sizeof *m->key);
    for (unsigned i = 0; i < q->key_count; i++) {
        CHECK(q->keys[i].size >= 1 && q->keys[i].size <= LIMIT_KV_KEY_BYTES);
        m->key[i] = wire_binary_of(q->keys[i]);
    }
}

enum err wire_kv_query_read(const Surf__Query *m, struct arena *a, struct meta_query *q, struct err_text *why)
{
    bool gets = q->op == META_QUERY_KV_GET;
    size_t text = q->op == META_QUERY_KV_LIST ? LIMIT_KV_KEY_BYTES : 0;
    TRY(wire_check_size("query.prefix", wire_slice(m->prefix), 0, text, why));
    TRY(wire_check_size("query.after", wire_slice(m->after), 0, text, why));
    TRY(wire_check_count("query.keys", m->n_key, gets, gets ? LIMIT_KV_KEYS : 0, why));
    struct slice *keys = gets ? arena_alloc(a, m->n_key * sizeof *keys) : NULL;
    for (size_t i = 0; i < m->n_key; i++) {
        keys[i] = wire_slice(m->key[i]);
        TRY(wire_check_size("query.key", keys[i], 1, LIMIT_KV_KEY_BYTES, why));
    }
    q->prefix = wire_slice(m->prefix);
    q->after = wire_slice(m->after);
    q->with_values = m->with_values;
    q->keys = keys;
    q->key_count = (unsigned)m->n_key;
    return ERR_OK;
}

void wire_kv_entries_fill(Surf__QueryReply *m, const struct meta_query_reply *r, struct arena *a)
{
    CHECK(r->kv_count <= LIMIT_KV_LIST_ENTRIES);
    if (r->kv_count == 0)
        return;
    Surf__KvEntry *entries = arena_alloc(a, r->kv_count * sizeof *entries);
    m->kv = arena_alloc(a, r->kv_count * sizeof(Surf__KvEntry *));
    m->n_kv = r->kv_count;
    for (unsigned i = 0; i < r->kv_count; i++) {
        const struct meta_kv_entry *from = &r->kv[i];
        m->kv[i] = &entries[i];
        surf__kv_entry__init(&entries[i]);
        entries[i].key = wire_binary_of(from->key);
        if (!from->found)
            continue;
        entries[i].type = from->type;
        entries[i].value = wire_binary_of(from->value);
        entries[i].size = from->size;
        entries[i].version = from->version;
        entries[i].ttl_ns = (uint64_t)from->ttl_ns;
        entries[i].expires_ns = (uint64_t)from->expires_ns;
    }
}

static enum err entry_read(const Surf__KvEntry *m, struct meta_kv_entry *ret, struct err_text *why)
{
    struct slice value = wire_slice(m->value);
    TRY(wire_check_size("query reply.kv.key", wire_slice(m->key), 0, LIMIT_KV_KEY_BYTES, why));
    *ret = (struct meta_kv_entry){.key = wire_slice(m->key), .found = m->version > 0};
    if (!ret->found)
        return ERR_OK;
    TRY(wire_check_range("query reply.kv.type", m->type, META_KV_BYTES, META_KV_TYPE_LAST, why));
    TRY(wire_check_range("query reply.kv.size", m->size, 0, LIMIT_KV_VALUE_BYTES, why));
    TRY(wire_check_size("query reply.kv.value", value, 0, m->size, why));
    TRY(wire_check_range("query reply.kv.ttl_ns", m->ttl_ns, 0, (uint64_t)META_KV_TTL_MAX_NS, why));
    TRY(wire_check_range("query reply.kv.expires_ns", m->expires_ns, 0, INT64_MAX, why));
    if (!list_is_sound((enum meta_kv_type)m->type, value))
        return wire_refuse("query reply.kv.value", value.size, "elements with their lengths", why);
    ret->type = (enum meta_kv_type)m->type;
    ret->value = value;
    ret->size = m->size;
    ret->version = m->version;
    ret->ttl_ns = (int64_t)m->ttl_ns;
    ret->expires_ns = (int64_t)m->expires_ns;
    return ERR_OK;
}

enum err wire_kv_entries_read(const Surf__QueryReply *m, struct arena *a, struct meta_query_reply *r,
                              struct err_text *why)
{
    TRY(wire_check_count("query reply.kv", m->n_kv, 0, LIMIT_KV_LIST_ENTRIES, why));
    if (m->n_kv == 0)
        return ERR_OK;
    struct meta_kv_entry *entries = arena_alloc(a, m->n_kv * sizeof *entries);
    for (size_t i = 0; i < m->n_kv; i++) {
        TRY(entry_read(m->kv[i], &entries[i], why));
        entries[i].index = m->index;
    }
    r->kv = entries;
    r->kv_count = (unsigned)m->n_kv;
    return ERR_OK;
}
