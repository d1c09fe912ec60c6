#include "proto/meta_parts.h"
#include "proto/wire_meta.h"

struct slice wire_meta_reply_encode(const struct meta_reply *r, struct arena *a)
{
    Surf__Reply m = SURF__REPLY__INIT;
    Surf__Attr attr, parent, replaced;
    m.status = r->status;
    if (r->has_attr) {
        wire_attr_fill(&attr, &r->attr);
        m.attr = &attr;
    }
    if (r->has_parent) {
        wire_attr_fill(&parent, &r->parent);
        m.parent = &parent;
    }
    if (r->has_replaced) {
        wire_attr_fill(&replaced, &r->replaced);
        m.replaced = &replaced;
    }
    m.existed = r->existed;
    m.orphaned = r->orphaned;
    m.session = r->session;
    m.offset = r->offset;
    m.more = r->more;
    m.ticket = r->ticket;
    m.place = r->place;
    m.held = r->held;
    m.export_options = r->export_options;
    m.kv_version = r->kv_version;
    m.kv_refused = r->kv_refused;
    m.index = r->index;
    m.repeated = r->repeated;
    m.epoch = r->epoch;
    m.set = r->set;
    Surf__Grant grant;
    m.grant = wire_grant_fill(&grant, &r->grant);
    return wire_pack(&m.base, a);
}

enum err wire_meta_reply_decode(struct slice s, struct arena *a, struct meta_reply *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Reply, surf__reply, "reply", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("reply.offset", m->offset, 0, META_SIZE_MAX, why));
    TRY(wire_check_range("reply.place", m->place, 0, LIMIT_SESSION_WAITS - 1, why));
    TRY(wire_check_range("reply.held", m->held, 0, LIMIT_FILE_LOCKS, why));
    TRY(wire_check_range("reply.kv_refused", m->kv_refused, 0, LIMIT_KV_KEYS - 1, why));
    struct meta_reply r = {
        .status = err_from_wire(m->status),
        .has_attr = m->attr,
        .has_parent = m->parent,
        .has_replaced = m->replaced,
        .existed = m->existed,
        .orphaned = m->orphaned,
        .session = m->session,
        .offset = m->offset,
        .more = m->more,
        .ticket = m->ticket,
        .place = m->place,
        .held = m->held,
        .export_options = m->export_options,
        .kv_version = m->kv_version,
        .kv_refused = m->kv_refused,
        .index = m->index,
        .repeated = m->repeated,
        .epoch = m->epoch,
        .set = m->set,
        .grant = wire_grant_read(m->grant),
    };
    if (m->attr)
        TRY(wire_attr_read(m->attr, "reply.attr", &r.attr, why));
    if (m->parent)
        TRY(wire_attr_read(m->parent, "reply.parent", &r.parent, why));
    if (m->replaced)
        TRY(wire_attr_read(m->replaced, "reply.replaced", &r.replaced, why));
    *ret = r;
    return ERR_OK;
}

struct slice wire_keepalive_encode(const struct wire_keepalive *k, struct arena *a)
{
    Surf__Keepalive m = SURF__KEEPALIVE__INIT;
    m.session = k->session;
    m.attachment = k->attachment;
    m.attach = k->attach;
    m.keeps = k->keeps;
    return wire_pack(&m.base, a);
}

enum err wire_keepalive_decode(struct slice s, struct arena *a, struct wire_keepalive *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Keepalive, surf__keepalive, "keepalive", s, WIRE_SMALL_BYTES, a, m);
    TRY(wire_check_range("keepalive.session", m->session, 1, UINT64_MAX, why));
    *ret = (struct wire_keepalive){
        .session = m->session, .attachment = m->attachment, .attach = m->attach, .keeps = m->keeps};
    return ERR_OK;
}

struct slice wire_keepalive_reply_encode(const struct wire_keepalive_reply *k, struct arena *a)
{
    Surf__KeepaliveReply m = SURF__KEEPALIVE_REPLY__INIT;
    m.map_version = k->map_version;
    m.session_timeout_ms = k->session_timeout_ms;
    m.attachment = k->attachment;
    m.members = wire_binary_of(wire_members_encode(&k->members, a));
    return wire_pack(&m.base, a);
}

enum err wire_keepalive_reply_decode(struct slice s, struct arena *a, struct wire_keepalive_reply *ret,
                                     struct err_text *why)
{
    WIRE_UNPACK(Surf__KeepaliveReply, surf__keepalive_reply, "keepalive reply", s, WIRE_SMALL_BYTES, a, m);
    struct wire_members members;
    TRY(wire_members_decode(wire_slice(m->members), a, &members, why));
    *ret = (struct wire_keepalive_reply){.map_version = m->map_version,
                                         .attachment = m->attachment,
                                         .session_timeout_ms = m->session_timeout_ms,
                                         .members = members};
    return ERR_OK;
}
