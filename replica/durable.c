/* A voter takes puts into its durability log. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "durability"
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "replica/internal.h"

/* ---- the disk ---- */

static void write_run(struct replica_work *work)
{
    struct replica *r = container_of(work, struct replica, durable.work);
    durability_log_write(r->durable.log, r->durable.write);
}

static void end(struct replica_durable *d, enum err status)
{
    list_remove(&d->link);
    d->done(d, status);
}

/* A leader's word means that raft has the put in front of whatever it orders later. A change of members goes past the
 * queue, and whoever has one in its log doesn't ask for what was acknowledged before it: so the word holds only when
 * the put came first, or is applied. */
static bool leader_holds(const struct replica *r, const struct replica_durable *d)
{
    struct raft_status status;
    if (r->role != RAFT_LEADER || d->applied)
        return r->role == RAFT_LEADER;
    raft_status(r->raft, &status);
    return pending_is_ordered(r, d->session, d->seq) &&
           (status.config_index == d->ack.config_index || PLANTED(DURABILITY_CHANGE_PASSES));
}

/* Only now it is known whether the word that was to be given still holds. */
static enum err judge(const struct replica *r, const struct replica_durable *d)
{
    if (r->fault.text[0])
        return ERR_IO;
    if (r->suspended || r->closing)
        return r->closing ? ERR_SHUTDOWN : ERR_CRASHED;
    if (d->ack.term != r->term)
        return ERR_AGAIN;
    return d->ack.leader && !leader_holds(r, d) ? ERR_AGAIN : ERR_OK;
}

static void acknowledge(struct replica *r)
{
    struct durable *a = &r->durable;
    while (!list_empty(&a->waiting)) {
        struct replica_durable *d = container_of(list_first(&a->waiting), struct replica_durable, link);
        if (d->number > durability_log_written(a->log) && !r->fault.text[0])
            return;
        enum err status = judge(r, d);
        a->acknowledged += status == ERR_OK;
        end(d, status);
    }
}

static void write_done(struct replica_work *work)
{
    struct replica *r = container_of(work, struct replica, durable.work);
    struct durable *a = &r->durable;
    enum err e = durability_log_write_end(a->log, a->write);
    a->write = NULL;
    if (r->closing)
        return;
    if (e != ERR_OK)
        replica_fail(r, "the durability log can't be written: %s", err_message(e));
    acknowledge(r);
    r->env.wake(r->env.context); /* the next batch */
}

static void begin_write(struct replica *r)
{
    struct durable *a = &r->durable;
    if (!a->log || a->write || r->fault.text[0] || r->closing)
        return;
    a->write = durability_log_write_begin(a->log);
    if (!a->write)
        return;
    a->work = (struct replica_work){.run = write_run, .done = write_done, .soon = true};
    r->env.work(r->env.context, &a->work);
}

/* ---- taking ---- */

static enum err check_command(const struct meta_command *c)
{
    if (c->op != META_KV || c->session == 0 || c->seq == 0 || c->kv.count < 1)
        return ERR_INVAL;
    if (c->kv.count > DURABILITY_KEYS_MAX)
        return ERR_TOO_BIG;
    for (unsigned i = 0; i < c->kv.count; i++)
        if (c->kv.changes[i].kind != META_KV_PUT)
            return ERR_INVAL; /* its outcome depends on what is there */
    return ERR_OK;
}

/* Whether this member may give its word now, and which. */
static enum err may_take(struct replica *r, const struct meta_command *c, struct durability_ack *ret)
{
    struct raft_status status;
    if (!replica_in_service(r))
        return r->fault.text[0] ? ERR_IO : ERR_CRASHED;
    if (!r->durable.log || r->options.durability != REPLICA_DURABILITY_ON || r->removed_at != 0)
        return ERR_NOTSUP;
    raft_status(r->raft, &status);
    /* While members change, what a majority is may be another thing to the next leader. */
    const struct raft_config *config = raft_config(r->raft);
    if (!status.voter || status.config_pending || config->joint)
        return ERR_NOT_POSSIBLE;
    *ret = (struct durability_ack){.id = r->options.id, .term = r->term, .config_index = status.config_index};
    for (unsigned i = 0; i < config->count; i++)
        ret->voters += config->members[i].voter;
    ret->leader = r->role == RAFT_LEADER;
    if (!ret->leader)
        return ERR_OK;
    /* A session whose end is on its way would not let the put in. */
    if (!r->leader_ready || r->durable.recovery != RECOVERY_DONE || r->proposals_held)
        return ERR_NO_LEADER;
    return sessions_is_alive(&r->sessions, c->session) ? ERR_OK : ERR_NOT_POSSIBLE;
}

static enum err take(struct replica *r, struct replica_durable *d, struct arena *arena)
{
    struct meta_command c;
    struct err_text why;
    uint64_t keys[DURABILITY_KEYS_MAX];
    TRY(wire_meta_command_decode(d->command, arena, &c, &why));
    TRY(check_command(&c));
    TRY(replica_may_propose(r, &c, &why));
    TRY(may_take(r, &c, &d->ack));
    for (unsigned i = 0; i < c.kv.count; i++)
        keys[i] = checksum64(c.kv.changes[i].key, 0);
    struct durability_put put = {.term = r->term, .session = c.session, .seq = c.seq, .command = d->command};
    TRY(durability_log_add(r->durable.log, &put, keys, c.kv.count, durability_exclusive(d->ack.voters), &d->number));
    d->session = c.session, d->seq = c.seq;
    r->durable.taken++;
    if (d->ack.leader)
        pending_add(r, d->command);
    return ERR_OK;
}

void replica_durable(struct replica *r, struct replica_durable *d)
{
    struct arena arena = {0};
    list_node_init(&d->link);
    enum err e = take(r, d, &arena);
    arena_free(&arena);
    if (e != ERR_OK) {
        d->done(d, e);
        return;
    }
    r->env.wake(r->env.context);
    if (PLANTED(DURABILITY_ACK_BEFORE_SYNC) && !d->ack.leader)
        d->done(d, ERR_OK);
    else
        list_push_back(&r->durable.waiting, &d->link);
}

/* ---- leaving ---- */

void durable_ordered(struct replica *r, uint64_t session, uint64_t seq)
{
    list_for_each (node, &r->durable.waiting) {
        struct replica_durable *d = container_of(node, struct replica_durable, link);
        d->applied = d->applied || (d->session == session && d->seq == seq);
    }
}

void durable_applied(struct replica *r, const struct meta_command *c)
{
    if (r->durable.log && c->op == META_KV)
        durability_log_remove(r->durable.log, c->session, c->seq);
}

/* What the state has done, or will never do, without an entry that was applied here since the log was opened. */
void durable_drop_applied(struct replica *r, unsigned max)
{
    struct arena arena = {0};
    struct durability_copy copy;
    if (!r->durable.log || durability_log_count(r->durable.log) == 0 || !r->meta)
        return;
    durability_log_copy(r->durable.log, &arena, &copy);
    for (unsigned i = 0; i < copy.count && i < max && !r->fault.text[0]; i++) {
        bool over;
        enum err e = meta_request_is_over(r->meta, copy.puts[i].session, copy.puts[i].seq, &over);
        if (e != ERR_OK)
            replica_fail(r, "the sessions can't be read: %s", err_message(e));
        else if (over)
            durability_log_remove(r->durable.log, copy.puts[i].session, copy.puts[i].seq);
    }
    arena_free(&arena);
}

void durable_installed(struct replica *r)
{
    durable_drop_applied(r, DURABILITY_PUTS_MAX);
}

/* ---- beginnings and ends ---- */

enum err durable_open(struct replica *r, struct err_text *why)
{
    struct durable *a = &r->durable;
    if (r->options.durability == REPLICA_DURABILITY_NONE)
        return ERR_OK;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/" REPLICA_DURABILITY_NAME, PATH_MAX - 16, r->data_path);
    struct durability_log_options options = {
        .files = r->options.durability_files ? r->options.durability_files : r->options.files, .path = path};
    memcpy(options.identity, r->options.identity, sizeof options.identity);
    TRY(durability_log_open(&options, &a->log, why));
    unsigned found = durability_log_count(a->log);
    durable_drop_applied(r, DURABILITY_PUTS_MAX);
    log_info("durability log: %u puts, of which %u have been applied", found, found - durability_log_count(a->log));
    return ERR_OK;
}

void durable_fail(struct replica *r, enum err status)
{
    for (struct list_node *node; (node = list_first(&r->durable.waiting));)
        end(container_of(node, struct replica_durable, link), status);
    pending_turn(r);
}

void durable_close(struct replica *r)
{
    durability_log_close(r->durable.log);
    r->durable.log = NULL;
    arena_free(&r->durable.arena);
}

void durable_turn(struct replica *r)
{
    gather_turn(r);
    pending_turn(r);
    begin_write(r);
}

void durable_second(struct replica *r)
{
    durable_drop_applied(r, DURABILITY_PUTS_MAX / 8);
    gather_second(r);
}
