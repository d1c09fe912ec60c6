/* Committed entries into the state machine. */
#include <string.h>

#define LOG_MODULE "apply"
#include "base/check.h"
#include "base/log.h"
#include "proto/wire_meta.h"
#include "replica/internal.h"

void apply_tell_cluster_id(struct replica *r)
{
    struct arena arena = {0};
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    struct err_text why = {""};
    if (meta_initialised(r->meta) && meta_query(r->meta, &query, &arena, &reply) == ERR_OK && reply.status == ERR_OK &&
        r->env.cluster_id(r->env.context, reply.cluster.id, &why) != ERR_OK)
        replica_fail(r, "%s", why.text);
    arena_free(&arena);
}

static void cannot_apply(struct replica *r, const struct raft_entry *e, enum err err)
{
    if (err == ERR_LEVEL) {
        replica_fail(r,
                     "the cluster has gone beyond level %u, which is all that this program knows, with entry %llu: a "
                     "newer surfd is needed",
                     r->options.level_max, (unsigned long long)e->index);
        return;
    }
    replica_fail(r, "entry %llu can't be applied: %s%s", (unsigned long long)e->index, err_message(err),
                 err == ERR_CORRUPT ? "; the state is damaged, surfd --rebuild makes it anew from the others" : "");
}

static void apply_command(struct replica *r, const struct raft_entry *e)
{
    struct meta_command command;
    struct meta_reply reply = {0};
    struct err_text why;
    arena_reset(&r->apply_arena);
    enum err err = wire_meta_command_decode(e->data, &r->apply_arena, &command, &why);
    if (err != ERR_OK) {
        replica_fail(r,
                     "entry %llu of the log holds a command that this program doesn't know (%s): a newer surfd is "
                     "needed",
                     (unsigned long long)e->index, why.text);
        return;
    }
    err = meta_apply(r->meta, e->index, e->term, &command, &reply);
    if (err != ERR_OK) {
        cannot_apply(r, e, err);
        return;
    }
    if (command.op == META_INIT)
        apply_tell_cluster_id(r);
    if (r->fault.text[0])
        return;
    visible_applied(r, &command);
    changes_applied(r, &command, &reply);
    kv_events_applied(r);
    duties_applied(r, &command, &reply);
    durable_applied(r, &command);
    r->env.applied(r->env.context, &command, &reply);
    propose_applied(r, e, &command, &reply);
}

static void apply_entry(struct replica *r, const struct raft_entry *e)
{
    CHECK(e->index == meta_applied_index(r->meta) + 1);
    enum err err = ERR_OK;
    if (e->type == RAFT_ENTRY_COMMAND)
        apply_command(r, e);
    else if (e->type == RAFT_ENTRY_CONFIG)
        err = meta_apply_config(r->meta, e->index, e->term, e->data);
    else
        err = meta_apply_nothing(r->meta, e->index, e->term);
    if (err != ERR_OK)
        cannot_apply(r, e, err);
    if (r->role == RAFT_LEADER && e->term == r->term)
        r->ready_term = r->term;
}

unsigned apply_entries(struct replica *r, const struct raft_entry *entries, unsigned count, int64_t until_ns)
{
    unsigned done = 0;
    while (done < count && !r->fault.text[0]) {
        apply_entry(r, &entries[done++]);
        if (replica_now_ns(r) > until_ns)
            break;
    }
    reads_applied(r);
    return done;
}

void apply_keep(struct replica *r, const struct raft_entry *entries, unsigned count)
{
    struct apply_backlog *b = &r->backlog;
    CHECK(b->at == b->count);
    arena_reset(&b->arena);
    b->entries = arena_alloc(&b->arena, count * sizeof *b->entries);
    b->at = 0, b->count = count;
    for (unsigned i = 0; i < count; i++) {
        b->entries[i] = entries[i];
        b->entries[i].data = arena_slice(&b->arena, entries[i].data);
    }
}

bool apply_kept(struct replica *r, int64_t until_ns)
{
    struct apply_backlog *b = &r->backlog;
    b->at += apply_entries(r, b->entries + b->at, b->count - b->at, until_ns);
    return b->at == b->count;
}
