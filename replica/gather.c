/* A new leader's first business, where durability logs are in use: it asks a majority of the voters, itself included,
 * for theirs, and orders what may have been acknowledged before anything else. */
#include <string.h>

#define LOG_MODULE "durability"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "replica/internal.h"

struct recovered_put {
    struct replica_proposal proposal;
    struct replica *replica;
    struct arena arena;
    uint64_t term;
};

/* A put that was acknowledged is in the log of at least one other of those that elected this leader, or in its own; and
 * who has such a log says so with each message. So where nobody does there is nothing to gather. */
static bool is_needed(const struct replica *r)
{
    bool needed = r->durable.log != NULL;
    for (unsigned i = 0; i < LIMIT_NODES; i++)
        needed = needed || (r->peers[i].id != 0 && r->peers[i].durable);
    return needed && !PLANTED(DURABILITY_NOT_GATHERED);
}

bool gather_holds(const struct replica *r)
{
    return r->role == RAFT_LEADER && r->durable.recovery == RECOVERY_GATHERS;
}

static unsigned count_voters(const struct raft_config *config)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < config->count; i++)
        voters += config->members[i].voter;
    return voters;
}

static void own_copy(struct replica *r, struct arena *arena, struct durability_copy *ret)
{
    *ret = (struct durability_copy){.count = 0};
    if (r->durable.log)
        durability_log_copy(r->durable.log, arena, ret);
}

/* ---- ordering ---- */

static void finish(struct replica *r)
{
    struct durable *a = &r->durable;
    a->recovery = RECOVERY_DONE;
    arena_free(&a->arena);
    a->copy_count = 0;
    gather_second(r);
}

static void recovered_done(struct replica_proposal *proposal, enum err status, const struct meta_reply *reply)
{
    struct recovered_put *p = container_of(proposal, struct recovered_put, proposal);
    struct replica *r = p->replica;
    struct durable *a = &r->durable;
    bool current = r->role == RAFT_LEADER && a->recovery != RECOVERY_NONE && p->term == a->term && !r->closing;
    (void)reply;
    arena_free(&p->arena);
    free(p);
    if (!current)
        return;
    a->ordering--;
    if (status != ERR_OK)
        a->recovery = RECOVERY_GATHERS; /* all of them again, before anything else: they happen once */
    else if (a->ordering == 0 && a->recovery == RECOVERY_ORDERS)
        finish(r);
}

/* In front of all that clients have asked for meanwhile. */
static void propose(struct replica *r, const struct durability_put *put)
{
    struct recovered_put *p = MEM_NEW(struct recovered_put);
    struct meta_command c;
    struct err_text why;
    p->replica = r;
    p->term = r->durable.term;
    if (wire_meta_command_decode(put->command, &p->arena, &c, &why) != ERR_OK || c.op != META_KV) {
        log_error("a put of a durability log can't be read: %s", why.text);
        arena_free(&p->arena);
        free(p);
        return;
    }
    c.time_ns = replica_command_time_ns(r);
    p->proposal.data = wire_meta_command_encode(&c, &p->arena);
    p->proposal.done = recovered_done;
    list_push_front(&r->queued, &p->proposal.link);
    r->durable.ordering++;
}

static void order(struct replica *r)
{
    struct durable *a = &r->durable;
    struct arena arena = {0};
    struct durability_put *puts;
    unsigned voters = count_voters(raft_config(r->raft));
    unsigned count = durability_merge(a->copies, a->copy_count, durability_kept(voters), &arena, &puts);
    if (count > 0)
        log_info("leader of term %llu: %u puts of %u durability logs come first", (unsigned long long)a->term, count,
                 a->copy_count);
    a->recovery = RECOVERY_ORDERS;
    a->recovered += count;
    for (unsigned i = count; i > 0; i--)
        propose(r, &puts[i - 1]);
    arena_free(&arena);
    if (a->ordering == 0)
        finish(r);
    r->env.wake(r->env.context);
}

/* ---- asking ---- */

static void ask(struct replica *r)
{
    const struct raft_config *config = raft_config(r->raft);
    for (unsigned i = 0; i < config->count; i++) {
        bool has = !config->members[i].voter || config->members[i].id == r->options.id;
        for (unsigned c = 0; c < r->durable.copy_count && !has; c++)
            has = r->durable.copied[c] == config->members[i].id;
        struct replica_message m = {.type = REPLICA_GATHER, .to = config->members[i].id, .term = r->durable.term};
        if (!has)
            driver_send(r, &m);
    }
}

void gather_role_changed(struct replica *r)
{
    struct durable *a = &r->durable;
    if (r->role == RAFT_LEADER && a->recovery != RECOVERY_NONE && a->term == r->term)
        return;
    a->recovery = RECOVERY_NONE;
    a->copy_count = a->ordering = 0;
    arena_free(&a->arena);
    if (r->role != RAFT_LEADER)
        return;
    const struct raft_config *config = raft_config(r->raft);
    a->term = r->term;
    /* Nothing is acknowledged while the voters change, and whoever has that change in its log has all that was
     * acknowledged before it (ARCHITECTURE.md). */
    if (!is_needed(r) || config->joint) {
        a->recovery = RECOVERY_DONE;
        return;
    }
    a->recovery = RECOVERY_GATHERS;
    a->copies_needed = durability_majority(count_voters(config));
    /* A leader that is only to see its own removal through is not one of the majority. */
    const struct raft_member *self = raft_config_find(config, r->options.id);
    if (self && self->voter) {
        own_copy(r, &a->arena, &a->copies[0]);
        a->copied[a->copy_count++] = r->options.id;
    }
    a->ask_now = true;
    r->env.wake(r->env.context);
}

void gather_turn(struct replica *r)
{
    struct durable *a = &r->durable;
    if (!a->ask_now || !replica_in_service(r))
        return;
    a->ask_now = false;
    if (!gather_holds(r))
        return;
    if (a->copy_count < a->copies_needed)
        ask(r);
    else if (a->ordering == 0)
        order(r);
}

void gather_soon(struct replica *r)
{
    if (!gather_holds(r))
        return;
    r->durable.ask_now = true;
    r->env.wake(r->env.context);
}

/* What was acknowledged in earlier terms is applied when the recovery is over and an entry of this term is, which is
 * behind all of it: the rest goes. */
void gather_second(struct replica *r)
{
    const struct raft_config *config = raft_config(r->raft);
    if (!r->leader_ready || r->durable.recovery != RECOVERY_DONE || r->durable.term != r->term || !is_needed(r))
        return;
    if (r->durable.log)
        durability_log_settle(r->durable.log, r->durable.term);
    r->env.wake(r->env.context);
    for (unsigned i = 0; i < config->count; i++) {
        struct replica_message m = {.type = REPLICA_SETTLED, .to = config->members[i].id, .term = r->durable.term};
        if (config->members[i].id != r->options.id)
            driver_send(r, &m);
    }
}

/* ---- answering ---- */

static void answer(struct replica *r, uint32_t to)
{
    struct arena arena = {0};
    _cleanup_(bytes_free) struct bytes data = {0};
    struct durability_copy copy;
    own_copy(r, &arena, &copy);
    durability_copy_encode(&copy, &data);
    struct replica_message m = {
        .type = REPLICA_GATHERED, .to = to, .term = r->term, .data = SLICE(data.data, data.size)};
    driver_send(r, &m);
    arena_free(&arena);
}

/* A log is told only when the leader's term is on disk here: after a crash this member must not be of an older one, and
 * acknowledge in that what it did not tell. Who does not know yet that it is a voter might be the former self's empty
 * successor. */
static void asked(struct replica *r, const struct replica_message *m)
{
    struct raft_status status;
    raft_status(r->raft, &status);
    if (m->term != r->term || r->role == RAFT_LEADER || !status.voter)
        return; /* not yet, or not any more: it is asked again */
    if (r->persist_done >= r->persist_given) {
        answer(r, m->from);
        return;
    }
    r->durable.asked_by = m->from;
    r->durable.asked_term = m->term;
    r->durable.asked_number = r->persist_given;
}

void gather_persisted(struct replica *r)
{
    struct durable *a = &r->durable;
    if (a->asked_by == 0 || r->persist_done < a->asked_number)
        return;
    uint32_t to = a->asked_by;
    a->asked_by = 0;
    if (a->asked_term == r->term && r->role != RAFT_LEADER)
        answer(r, to);
}

static void told(struct replica *r, const struct replica_message *m)
{
    struct durable *a = &r->durable;
    const struct raft_member *member = raft_config_find(raft_config(r->raft), m->from);
    if (!gather_holds(r) || m->term != r->term || !member || !member->voter || a->copy_count >= a->copies_needed)
        return;
    for (unsigned i = 0; i < a->copy_count; i++)
        if (a->copied[i] == m->from)
            return;
    struct durability_copy *copy = &a->copies[a->copy_count];
    if (durability_copy_decode(arena_slice(&a->arena, m->data), &a->arena, copy) != ERR_OK) {
        log_error("the durability log of member %u can't be read", m->from);
        return;
    }
    a->copied[a->copy_count++] = m->from;
    if (a->copy_count == a->copies_needed)
        order(r);
}

void gather_receive(struct replica *r, const struct replica_message *m)
{
    if (m->type == REPLICA_GATHER)
        asked(r, m);
    else if (m->type == REPLICA_GATHERED)
        told(r, m);
    else if (r->durable.log) {
        /* Complete: what of earlier terms was not found then was never acknowledged, and is applied here in time if it
         * was. A member that was away hears of it so. */
        durability_log_settle(r->durable.log, m->term);
        r->env.wake(r->env.context);
    }
}
