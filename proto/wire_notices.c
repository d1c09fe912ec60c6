/* What the leader tells a mount that keeps what it was told (replica/leases.h). */
#include "proto/meta_parts.h"
#include "proto/wire_meta.h"

struct slice wire_notices_query_encode(const struct wire_notices_query *q, struct arena *a)
{
    CHECK(q->released_count <= WIRE_NOTICES);
    Surf__NoticesQuery m = SURF__NOTICES_QUERY__INIT;
    m.session = q->session;
    m.attachment = q->attachment;
    m.acknowledged = q->acknowledged;
    m.n_released = q->released_count;
    m.released = q->released;
    return wire_pack(&m.base, a);
}

enum err wire_notices_query_decode(struct slice s, struct arena *a, struct wire_notices_query *ret,
                                   struct err_text *why)
{
    WIRE_UNPACK(Surf__NoticesQuery, surf__notices_query, "notices query", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    TRY(wire_check_range("notices query.session", m->session, 1, UINT64_MAX, why));
    TRY(wire_check_range("notices query.attachment", m->attachment, 1, UINT64_MAX, why));
    TRY(wire_check_count("notices query.released", m->n_released, 0, WIRE_NOTICES, why));
    for (size_t i = 0; i < m->n_released; i++)
        TRY(wire_check_range("notices query.released", m->released[i], 1, UINT64_MAX, why));
    *ret = (struct wire_notices_query){.session = m->session,
                                       .attachment = m->attachment,
                                       .acknowledged = m->acknowledged,
                                       .released = m->released,
                                       .released_count = (unsigned)m->n_released};
    return ERR_OK;
}

struct slice wire_notices_encode(const struct wire_notices *n, struct arena *a)
{
    CHECK(n->count <= WIRE_NOTICES);
    Surf__Notices m = SURF__NOTICES__INIT;
    m.seq = n->seq;
    m.n_kind = m.n_ino = n->count;
    if (n->count > 0) {
        m.kind = arena_alloc(a, n->count * sizeof *m.kind);
        m.ino = arena_alloc(a, n->count * sizeof *m.ino);
    }
    for (unsigned i = 0; i < n->count; i++) {
        m.kind[i] = n->list[i].kind;
        m.ino[i] = n->list[i].ino;
    }
    return wire_pack(&m.base, a);
}

enum err wire_notices_decode(struct slice s, struct arena *a, struct wire_notices *ret, struct err_text *why)
{
    WIRE_UNPACK(Surf__Notices, surf__notices, "notices", s, LIMIT_FRAME_MESSAGE_BYTES, a, m);
    TRY(wire_check_count("notices.kind", m->n_kind, 0, WIRE_NOTICES, why));
    TRY(wire_check_count("notices.ino", m->n_ino, m->n_kind, m->n_kind, why));
    struct wire_notices n = {.seq = m->seq, .count = (unsigned)m->n_kind};
    n.list = arena_alloc(a, n.count * sizeof *n.list);
    for (unsigned i = 0; i < n.count; i++) {
        TRY(wire_check_range("notices.kind", m->kind[i], META_NOTICE_CHANGED, META_NOTICE_LAST, why));
        TRY(wire_check_range("notices.ino", m->ino[i], 1, UINT64_MAX, why));
        n.list[i] = (struct meta_notice){.kind = (enum meta_notice_kind)m->kind[i], .ino = m->ino[i]};
    }
    *ret = n;
    return ERR_OK;
}
