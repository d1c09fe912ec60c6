/* Keys that expire: the leader sees by its clock that some are due, and writes an entry. The time in that entry is what
 * makes them as good as gone, on all members at once; that it also removes some is only tidying up. */
#define LOG_MODULE "leader"
#include "base/log.h"
#include "replica/internal.h"

#define LOOK_MAX_NS (1 * NS_PER_S) /* the clock may be set forward meanwhile */

static void expiry_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    (void)reply;
    r->expiry_proposed = false;
    if (status == ERR_OK) /* there may be more of them */
        r->expiry_at_ns = replica_now_ns(r);
}

void expiry_tick(struct replica *r)
{
    int64_t now_ns = replica_now_ns(r), next_ns;
    if (now_ns < r->expiry_at_ns || !r->leader_ready || r->expiry_proposed)
        return;
    int64_t log_ns = MAX(propose_time_ns(r), meta_log_time_ns(r->meta));
    enum err e = meta_kv_expiry(r->meta, log_ns, &next_ns);
    if (e != ERR_OK) {
        replica_fail(r, "the keys that expire can't be read: %s", err_message(e));
        return;
    }
    r->expiry_at_ns = now_ns + (next_ns > log_ns ? MIN(next_ns - log_ns, LOOK_MAX_NS) : LOOK_MAX_NS);
    if (next_ns > log_ns)
        return;
    struct meta_command c = {.op = META_KV_EXPIRE};
    r->expiry_proposed = true;
    replica_propose_own(r, &c, expiry_done, r);
}

void expiry_applied(struct replica *r, const struct meta_command *c)
{
    if (c->op != META_KV || !r->leader_ready)
        return;
    int64_t now_ns = replica_now_ns(r);
    for (unsigned i = 0; i < c->kv.count; i++)
        if (c->kv.changes[i].ttl_ns > 0)
            r->expiry_at_ns = MIN(r->expiry_at_ns, now_ns + MIN(c->kv.changes[i].ttl_ns, LOOK_MAX_NS));
}

void expiry_leader_ready(struct replica *r)
{
    r->expiry_proposed = false;
    r->expiry_at_ns = replica_now_ns(r);
}
