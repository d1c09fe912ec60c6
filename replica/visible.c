/* Who is told what, and when: answers that depend on a change of which somebody still believes the old state wait
 * (leases.h). */
#include <string.h>

#define LOG_MODULE "replica"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

/* An outcome that nobody may be told yet. */
struct hidden_reply {
    struct lease_waiter waiter;
    struct replica *replica;
    struct replica_proposal *proposal;
    struct meta_reply reply;
    uint64_t *inos; /* what it depends on */
    size_t count;
};

static bool leads(const struct replica *r)
{
    return replica_in_service(r) && r->role == RAFT_LEADER;
}

static enum err no_leader_status(const struct replica *r)
{
    return r->closing ? ERR_SHUTDOWN : r->suspended ? ERR_CRASHED : r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
}

/* ---- outcomes of commands ---- */

static void reply_end(struct hidden_reply *h, enum err status)
{
    h->replica->hidden_count--;
    h->proposal->done(h->proposal, status, status == ERR_OK ? &h->reply : NULL);
    free(h->inos);
    free(h);
}

static void reply_ready(struct lease_waiter *w)
{
    struct hidden_reply *h = container_of(w, struct hidden_reply, waiter);
    struct replica *r = h->replica;
    /* Another leader may hide what this one would tell: the client asks there, under the same number. */
    if (!leads(r))
        reply_end(h, no_leader_status(r));
    else if (!leases_must_wait(r->leases, h->inos, h->count, h->reply.index, replica_now_ns(r), w))
        reply_end(h, ERR_OK);
}

static void add(struct hidden_reply *h, uint64_t ino)
{
    if (ino != 0)
        h->inos[h->count++] = ino;
}

/* What the command named and what its reply tells: of a repeated request there is nothing else. */
#define NAMED_MAX 8u /* besides those of READS */
static void add_named(struct hidden_reply *h, const struct meta_command *c, const struct meta_reply *reply)
{
    switch (c->op) {
    case META_CREATE:
    case META_MKDIR:
    case META_MKNOD:
    case META_SYMLINK:
        add(h, c->make.parent);
        break;
    case META_LINK:
        add(h, c->link.parent);
        add(h, c->link.ino);
        break;
    case META_UNLINK:
    case META_RMDIR:
        add(h, c->unlink.parent);
        break;
    case META_RENAME:
        add(h, c->rename.parent);
        add(h, c->rename.new_parent);
        break;
    case META_SETATTR:
        add(h, c->setattr.ino);
        break;
    case META_COMMIT:
        add(h, c->commit.ino);
        break;
    case META_CLONE:
        add(h, c->clone.ino);
        add(h, c->clone.take ? c->clone.source : 0);
        break;
    case META_READS:
        for (unsigned i = 0; i < c->reads.count; i++)
            add(h, c->reads.list[i].ino);
        break;
    default:
        break;
    }
    add(h, reply->has_attr ? reply->attr.ino : 0);
    add(h, reply->has_parent ? reply->parent.ino : 0);
    add(h, reply->has_replaced ? reply->replaced.ino : 0);
}

static void grant(struct replica *r, const struct meta_command *c, const struct meta_reply *reply,
                  struct meta_grant *ret)
{
    uint64_t inos[3];
    size_t count = 0;
    if (reply->has_attr && reply->attr.nlink > 0)
        inos[count++] = reply->attr.ino;
    if (reply->has_parent)
        inos[count++] = reply->parent.ino;
    /* Not of a change that waits: a later one than this. */
    for (size_t i = 0; i < count; i++)
        if (leases_is_changing(r->leases, inos[i]))
            return;
    /* Who creates a file has it open. */
    leases_grant(r->leases, c->session, inos, count, c->op == META_CREATE, ret);
}

void visible_reply(struct replica *r, struct replica_proposal *p, const struct meta_command *c,
                   const struct meta_reply *reply)
{
    struct meta_reply told = *reply;
    told.index = meta_applied_index(r->meta);
    /* Sessions of their own have nobody's files; the leader's own commands tell nobody anything; of keys no mount
     * believes anything. */
    if (c->session == 0 || c->op == META_KV) {
        p->done(p, ERR_OK, &told);
        return;
    }
    struct meta_touched touched;
    meta_touched(r->meta, &touched);
    told.repeated = touched.seen_count == 0; /* whatever else a session asks for is about some inode */
    struct hidden_reply *h = MEM_NEW(struct hidden_reply);
    *h = (struct hidden_reply){.waiter.ready = reply_ready, .replica = r, .proposal = p, .reply = told};
    list_node_init(&h->waiter.link);
    size_t named_max = NAMED_MAX + (c->op == META_READS ? c->reads.count : 0);
    h->inos = mem_alloc((touched.seen_count + named_max) * sizeof *h->inos);
    for (size_t i = 0; i < touched.seen_count; i++)
        add(h, touched.seen[i]);
    add_named(h, c, reply);
    r->hidden_count++;
    if (leases_must_wait(r->leases, h->inos, h->count, told.index, replica_now_ns(r), &h->waiter))
        return;
    grant(r, c, &h->reply, &h->reply.grant);
    reply_end(h, ERR_OK);
}

void visible_applied(struct replica *r, const struct meta_command *c)
{
    if (!r->leader_ready)
        return;
    struct meta_touched touched;
    meta_touched(r->meta, &touched);
    for (size_t i = 0; i < touched.wrote_count; i++)
        if (c->op == META_REWRITE) /* all that was told of it stays true, but for where its bytes are */
            leases_rewritten(r->leases, c->session, touched.wrote[i]);
        else
            leases_changed(r->leases, c->session, meta_applied_index(r->meta), touched.wrote[i], replica_now_ns(r));
}

/* ---- queries ---- */

void visible_query_end(struct replica_query *q, enum err status)
{
    q->replica->hidden_count--;
    q->done(q, status);
}

/* Entries that a look-up brings along keep nobody waiting: one whose inode has a change that waits is left out. They
 * are for who may believe them, and nobody else. */
static void grant_query(struct replica *r, struct replica_query *q, const struct meta_touched *touched)
{
    struct meta_query_reply *reply = &q->reply;
    bool ahead = q->query.op == META_QUERY_LOOKUP && reply->entry_count > 0;
    const uint64_t *inos = touched->seen;
    size_t count = touched->seen_count;
    if (ahead) {
        unsigned kept = 0;
        uint64_t *all = arena_alloc(q->arena, (count + reply->entry_count) * sizeof *all);
        memcpy(all, inos, count * sizeof *all);
        for (unsigned i = 0; i < reply->entry_count; i++) {
            if (leases_is_changing(r->leases, reply->entries[i].ino))
                continue;
            all[count++] = reply->entries[i].ino;
            reply->entries[kept++] = reply->entries[i];
        }
        reply->entry_count = kept;
        inos = all;
    }
    if (count > 0 && q->query.session != 0)
        leases_grant(r->leases, q->query.session, inos, count, q->query.writer, &reply->grant);
    if (ahead && reply->grant.attachment == 0)
        reply->entry_count = 0;
}

static void query_confirmed(struct replica_read *read, enum err status)
{
    struct replica_query *q = container_of(read, struct replica_query, read);
    struct replica *r = q->replica;
    if (status == ERR_OK) {
        q->reply = (struct meta_query_reply){0};
        status = meta_query(r->meta, &q->query, q->arena, &q->reply);
        if (status != ERR_OK)
            log_error("query %d fails: %s", (int)q->query.op, err_message(status));
    }
    if (status == ERR_OK && r->role == RAFT_LEADER) {
        struct meta_touched touched;
        meta_touched(r->meta, &touched);
        uint64_t index = meta_applied_index(r->meta);
        if (touched.seen_count > 0 &&
            leases_must_wait(r->leases, touched.seen, touched.seen_count, index, replica_now_ns(r), &q->waiter))
            return;
        q->reply.index = index;
        grant_query(r, q, &touched);
    } else if (q->query.op == META_QUERY_LOOKUP) {
        q->reply.entry_count = 0; /* only the leader knows which of them may be told */
    }
    visible_query_end(q, status);
}

static void query_ready(struct lease_waiter *w)
{
    struct replica_query *q = container_of(w, struct replica_query, waiter);
    struct replica *r = q->replica;
    if (!leads(r))
        visible_query_end(q, no_leader_status(r));
    else
        replica_read(r, &q->read, q->query.any_member); /* the state is a later one now, and so may the leader be */
}

void replica_query(struct replica *r, struct replica_query *q)
{
    q->replica = r;
    q->read = (struct replica_read){.done = query_confirmed};
    q->waiter = (struct lease_waiter){.ready = query_ready};
    list_node_init(&q->waiter.link);
    r->hidden_count++;
    if (!pending_holds_query(r, q))
        replica_read(r, &q->read, q->query.any_member);
}

/* ---- leases ---- */

static void on_noticed(void *context, uint64_t session)
{
    struct replica *r = context;
    r->env.noticed(r->env.context, session);
}

static void on_wake(void *context)
{
    struct replica *r = context;
    r->env.wake(r->env.context);
}

static void on_room(void *context, uint64_t session)
{
    struct replica *r = context;
    orphans_session_room(r->orphans, session);
}

void visible_open(struct replica *r)
{
    struct lease_options options = {
        .drift_ns = r->options.lease_drift_ns, .context = r, .noticed = on_noticed, .wake = on_wake, .room = on_room};
    r->leases = leases_new(&options);
}

void visible_stop(struct replica *r)
{
    leases_end(r->leases);
    leases_release(r->leases);
}

void visible_close(struct replica *r)
{
    CHECK(r->hidden_count == 0);
    leases_free(r->leases);
}

void visible_turn(struct replica *r)
{
    if (r->fault.text[0])
        leases_end(r->leases);
    leases_release(r->leases);
}

uint64_t replica_lease(struct replica *r, const struct wire_keepalive *asked)
{
    uint64_t session = asked->session;
    if (!r->leader_ready)
        return 0;
    if (asked->attachment != 0)
        return leases_renew(r->leases, session, asked->attachment, replica_now_ns(r)) ? asked->attachment : 0;
    if (asked->attach == 0)
        return 0;
    uint64_t begun = leases_attach(r->leases, session, asked->attach, asked->keeps, replica_now_ns(r));
    if (begun != 0)
        orphans_session_back(r->orphans, session);
    return begun;
}

enum err replica_notices(struct replica *r, const struct wire_notices_query *q, struct wire_notices *ret)
{
    leases_acknowledge(r->leases, q->session, q->attachment, q->acknowledged, replica_now_ns(r));
    if (!leads(r) || !leases_is_attached(r->leases, q->session, q->attachment))
        return ERR_DETACHED;
    if (q->released_count > 0) {
        orphans_not_open(r->orphans, q->session, q->released, q->released_count);
        duties_release(r);
    }
    ret->count = leases_take(r->leases, q->session, q->acknowledged, ret->list, WIRE_NOTICES, &ret->seq);
    return ERR_OK;
}
