#include "proto/wire_kv_events.h"

#include "proto/meta_parts.h"

struct slice wire_kv_events_query_encode(const struct wire_kv_events_query *q, struct arena *a)
{
    Surf__KvEventsQuery m = SURF__KV_EVENTS_QUERY__INIT;
    CHECK(q->prefix.size <= LIMIT_KV_KEY_BYTES);
    m.after = q->after;
    m.from_now = q->from_now;
    m.prefix = wire_binary_of(q->prefix);
    return wire_pack(&m.base, a);
}

enum err wire_kv_events_query_decode(struct slice s, struct arena *a, struct wire_kv_events_query *ret,
                                     struct err_text *why)
{
    WIRE_UNPACK(Surf__KvEventsQuery, surf__kv_events_query, "key events query", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_size("key events query.prefix", wire_slice(m->prefix), 0, LIMIT_KV_KEY_BYTES, why));
    *ret = (struct wire_kv_events_query){.after = m->after, .from_now = m->from_now, .prefix = wire_slice(m->prefix)};
    return ERR_OK;
}

struct slice wire_kv_events_encode(const struct wire_kv_events *e, struct arena *a)
{
    CHECK(e->count <= WIRE_KV_EVENTS);
    Surf__KvEvents m = SURF__KV_EVENTS__INIT;
    m.through = e->through;
    m.missed_upto = e->missed_upto;
    m.n_event = e->count;
    Surf__KvEvent *list = arena_alloc(a, (e->count + 1) * sizeof *list);
    m.event = arena_alloc(a, (e->count + 1) * sizeof(Surf__KvEvent *));
    for (unsigned i = 0; i < e->count; i++) {
        m.event[i] = &list[i];
        surf__kv_event__init(&list[i]);
        list[i].index = e->list[i].index;
        list[i].time_ns = e->list[i].time_ns;
        list[i].kind = e->list[i].kind;
        list[i].version = e->list[i].version;
        list[i].key = wire_binary_of(e->list[i].key);
    }
    return wire_pack(&m.base, a);
}

enum err wire_kv_events_decode(struct slice s, struct arena *a, struct wire_kv_events *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__KvEvents, surf__kv_events, "key events", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    TRY(wire_check_count("key events.event", m->n_event, 0, WIRE_KV_EVENTS, why));
    struct meta_kv_event *list = arena_alloc(a, (m->n_event + 1) * sizeof *list);
    for (size_t i = 0; i < m->n_event; i++) {
        const Surf__KvEvent *from = m->event[i];
        TRY(wire_check_range("key events.kind", from->kind, META_KV_CHANGED, META_KV_EVENT_LAST, why));
        TRY(wire_check_size("key events.key", wire_slice(from->key), 1, LIMIT_KV_KEY_BYTES, why));
        list[i] = (struct meta_kv_event){.kind = (enum meta_kv_event_kind)from->kind,
                                         .index = from->index,
                                         .time_ns = from->time_ns,
                                         .version = from->version,
                                         .key = wire_slice(from->key)};
    }
    *ret = (struct wire_kv_events){
        .through = m->through, .missed_upto = m->missed_upto, .list = list, .count = (unsigned)m->n_event};
    return ERR_OK;
}
