/* Changes of keys for who watches them: kept as they are applied, told in the order of the log. Mounts keep nothing of
 * the key/value space, so what has been applied may be told at once. */
#include "replica/internal.h"

#define LOOKED_AT_MAX 4096u /* events that one question looks at */

void kv_events_applied(struct replica *r)
{
    unsigned count;
    const struct meta_kv_event *events = meta_kv_events(r->meta, &count);
    kv_ring_add(r->kv_ring, events, count);
}

void kv_events_reset(struct replica *r)
{
    kv_ring_reset(r->kv_ring, r->meta ? meta_applied_index(r->meta) : 0);
}

static bool has_prefix(struct slice key, struct slice prefix)
{
    return key.size >= prefix.size && slice_equal(slice_sub(key, 0, prefix.size), prefix);
}

enum err replica_kv_events(struct replica *r, const struct wire_kv_events_query *q, struct arena *a,
                           struct wire_kv_events *ret)
{
    if (!replica_in_service(r) || r->role != RAFT_LEADER || !r->leader_ready)
        return r->role != RAFT_LEADER && r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    *ret = (struct wire_kv_events){.through = q->from_now ? meta_applied_index(r->meta) : q->after};
    if (q->from_now)
        return ERR_OK;
    uint64_t floor = kv_ring_floor(r->kv_ring);
    if (ret->through < floor)
        ret->through = ret->missed_upto = floor;
    const struct meta_kv_event *group;
    unsigned count = 1;
    struct meta_kv_event *list = NULL;
    for (unsigned looked_at = 0; looked_at < LOOKED_AT_MAX; looked_at += count) {
        count = kv_ring_after(r->kv_ring, ret->through, &group);
        if (count == 0 || ret->count + count > WIRE_KV_EVENTS)
            break;
        uint64_t index = group[0].index;
        for (unsigned i = 0; i < count; i++) {
            if (!has_prefix(group[i].key, q->prefix))
                continue;
            list = list ? list : arena_alloc(a, WIRE_KV_EVENTS * sizeof *list);
            list[ret->count] = group[i];
            list[ret->count++].key = arena_slice(a, group[i].key);
        }
        ret->through = index;
    }
    ret->list = list;
    if (count == 0)
        ret->through = MAX(ret->through, meta_applied_index(r->meta));
    return ERR_OK;
}
