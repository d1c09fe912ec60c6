#include "tests/sim/service.h"

#include "proto/wire_meta.h"
#include "tests/sim/faults.h"
#include "tests/sim/member.h"

struct served {
    struct replica_durable durable;
    struct replica_proposal proposal;
    struct replica_read read;
    struct member *member;
    struct packet packet; /* without its message */
    struct replica_query query;
    struct arena arena;
};

static void free_served(struct served *s)
{
    arena_free(&s->arena);
    free(s);
}

/* The session is over for the request: it is answered and forgotten. */
static void answer(struct served *s, enum err status, struct slice message)
{
    struct member *m = s->member;
    struct packet p = s->packet;
    p.status = status;
    p.message = message;
    p.leader = WORLD_NOBODY;
    if (status == ERR_NOT_LEADER && m->leader != 0 && m->leader != m->index + 1)
        p.leader = m->leader - 1;
    if (!m->dying)
        network_answer(m->world, &p);
    free_served(s);
}

static void refuse(struct served *s, enum err status)
{
    answer(s, status, SLICE(NULL, 0));
}

static void command_done(struct replica_proposal *p, enum err status, const struct meta_reply *reply)
{
    struct served *s = container_of(p, struct served, proposal);
    answer(s, status, status == ERR_OK ? wire_meta_reply_encode(reply, &s->arena) : SLICE(NULL, 0));
}

static void serve_command(struct served *s, struct slice message)
{
    struct replica *r = s->member->replica;
    struct meta_command command;
    struct err_text why;
    if (wire_meta_command_decode(message, &s->arena, &command, &why) != ERR_OK) {
        refuse(s, ERR_PROTOCOL);
        return;
    }
    enum err e = replica_may_propose(r, &command, &why);
    if (e != ERR_OK) {
        refuse(s, e);
        return;
    }
    if (command.session != 0)
        (void)replica_session_touch(r, command.session);
    s->proposal.done = command_done;
    if (replica_durable_join(r, command.session, command.seq, &s->proposal))
        return;
    command.time_ns = replica_command_time_ns(r);
    s->proposal.data = wire_meta_command_encode(&command, &s->arena);
    replica_propose(r, &s->proposal);
}

static void durable_done(struct replica_durable *d, enum err status)
{
    struct served *s = container_of(d, struct served, durable);
    s->packet.ack = d->ack;
    refuse(s, status);
}

static void query_done(struct replica_query *query, enum err status)
{
    struct served *s = container_of(query, struct served, query);
    if (status == ERR_OK && s->member->dying)
        status = ERR_SHUTDOWN;
    answer(s, status, status == ERR_OK ? wire_meta_query_reply_encode(&query->reply, &s->arena) : SLICE(NULL, 0));
}

static void serve_query(struct served *s, struct slice message)
{
    struct err_text why;
    if (wire_meta_query_decode(arena_slice(&s->arena, message), &s->arena, &s->query.query, &why) != ERR_OK) {
        refuse(s, ERR_PROTOCOL);
        return;
    }
    s->query.query.any_member = s->packet.forward;
    s->query.arena = &s->arena;
    s->query.done = query_done;
    replica_query(s->member->replica, &s->query);
}

/* As a read: only a leader that is confirmed to be it may tell a session that it is alive, or that it isn't. */
static void keepalive_done(struct replica_read *read, enum err status)
{
    struct served *s = container_of(read, struct served, read);
    struct replica_status replica;
    if (status == ERR_OK && !s->member->dying) {
        replica_status(s->member->replica, &replica);
        if (!replica.leader_ready)
            status = ERR_NO_LEADER;
        else if (!replica_session_touch(s->member->replica, s->packet.session))
            status = ERR_SESSION_EXPIRED;
    }
    refuse(s, status);
}

/* Whether this member can serve at all; else the reason. */
static enum err may_serve(const struct member *m, const struct packet *p)
{
    if (m->faulted)
        return ERR_IO;
    if (!p->forward && m->role != RAFT_LEADER)
        return m->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER;
    return meta_initialised(replica_meta(m->replica)) ? ERR_OK : ERR_NO_LEADER;
}

void service_request(struct world *w, struct member *m, const struct packet *p)
{
    struct served *s = MEM_NEW(struct served);
    s->member = m;
    s->packet = *p;
    s->packet.message = SLICE(NULL, 0);
    if (!m->replica) { /* nobody listens there */
        s->packet.status = ERR_UNREACHABLE;
        network_answer(w, &s->packet);
        free_served(s);
        return;
    }
    enum err e = p->kind == REQUEST_DURABLE ? ERR_OK : may_serve(m, p);
    trace_whose(m->index);
    if (e != ERR_OK) {
        refuse(s, e == ERR_IO ? ERR_CRASHED : e);
    } else if (p->kind == REQUEST_COMMAND) {
        serve_command(s, p->message);
    } else if (p->kind == REQUEST_QUERY) {
        serve_query(s, p->message);
    } else if (p->kind == REQUEST_DURABLE) {
        s->durable.command = arena_slice(&s->arena, p->message);
        s->durable.done = durable_done;
        replica_durable(m->replica, &s->durable); /* s may be gone now */
        faults_taken(w, m);
    } else {
        s->read.done = keepalive_done;
        replica_read(m->replica, &s->read, false);
    }
    member_settle(w, m);
}
