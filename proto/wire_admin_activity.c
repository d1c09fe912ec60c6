/* wire_admin_activity.c: what a node has to do. */
#include "base/check.h"
#include "proto/admin_parts.h"
#include "proto/pack.h"

Surf__AdminActivity *wire_admin_activity_fill(const struct wire_admin_activity *q, struct arena *a)
{
    CHECK(q->work_count <= WIRE_ADMIN_METHODS);
    Surf__AdminActivity *m = arena_alloc(a, sizeof *m);
    Surf__AdminWork *work = arena_alloc(a, q->work_count * sizeof *work);
    surf__admin_activity__init(m);
    m->n_work = q->work_count;
    m->work = arena_alloc(a, q->work_count * sizeof m->work[0]);
    for (unsigned i = 0; i < q->work_count; i++) {
        surf__admin_work__init(&work[i]);
        work[i].method = q->work[i].method;
        work[i].count = q->work[i].count, work[i].failed = q->work[i].failed;
        work[i].took_us = q->work[i].took_us;
        m->work[i] = &work[i];
    }
    m->lease_holders = q->lease_holders, m->leased_inodes = q->leased_inodes;
    m->changes_waiting = q->changes_waiting;
    m->leases_granted = q->leases_granted, m->notices = q->notices, m->leases_expired = q->leases_expired;
    return m;
}

enum err wire_admin_activity_read(const Surf__AdminActivity *m, struct arena *a, struct wire_admin_activity *ret,
                                  struct err_text *why)
{
    *ret = (struct wire_admin_activity){0};
    if (!m)
        return ERR_OK;
    TRY(wire_check_count("state.activity.work", m->n_work, 0, WIRE_ADMIN_METHODS, why));
    struct wire_admin_work *work = arena_alloc(a, m->n_work * sizeof *work);
    for (size_t i = 0; i < m->n_work; i++) {
        const Surf__AdminWork *from = m->work[i];
        TRY(wire_check_range("state.activity.work.method", from->method, 1, UINT16_MAX, why));
        work[i] = (struct wire_admin_work){
            .method = from->method, .count = from->count, .failed = from->failed, .took_us = from->took_us};
    }
    *ret = (struct wire_admin_activity){.work = work,
                                        .work_count = (unsigned)m->n_work,
                                        .lease_holders = m->lease_holders,
                                        .leased_inodes = m->leased_inodes,
                                        .changes_waiting = m->changes_waiting,
                                        .leases_granted = m->leases_granted,
                                        .notices = m->notices,
                                        .leases_expired = m->leases_expired};
    return ERR_OK;
}
