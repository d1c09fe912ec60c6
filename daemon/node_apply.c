/* Committed entries into the state machine. */
#include <string.h>

#define LOG_MODULE "apply"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/node.h"
#include "proto/wire_meta.h"

enum err node_learn_cluster_id(struct node *n, const uint8_t id[16])
{
    if (datadir_cluster_id(n->dir) && memcmp(datadir_cluster_id(n->dir), id, 16) == 0)
        return ERR_OK;
    struct err_text why;
    enum err e = datadir_set_cluster_id(n->dir, id, &why);
    if (e != ERR_OK) {
        node_fail(n, "%s", why.text);
        return e;
    }
    log_info("cluster id %08x-%08x-%08x-%08x", get_u32be(id), get_u32be(id + 4), get_u32be(id + 8), get_u32be(id + 12));
    node_update_hello(n);
    return ERR_OK;
}

static void apply_command(struct node *n, const struct raft_entry *e)
{
    struct meta_command command;
    struct meta_reply reply = {0};
    struct err_text why;
    arena_reset(&n->apply_arena);
    enum err err = wire_meta_command_decode(e->data, &n->apply_arena, &command, &why);
    if (err != ERR_OK) {
        node_fail(n, "entry %llu of the log holds a command that this version doesn't know: %s",
                  (unsigned long long)e->index, why.text);
        return;
    }
    err = meta_apply(n->meta, e->index, &command, &reply);
    if (err != ERR_OK) {
        node_fail(n, "entry %llu can't be applied: %s", (unsigned long long)e->index, err_message(err));
        return;
    }
    if (command.op == META_INIT && reply.status == ERR_OK &&
        node_learn_cluster_id(n, command.init.cluster_id) != ERR_OK)
        return;
    node_leader_applied(n, e, &command, &reply);
    node_proposal_applied(n, e, &reply);
}

static void apply_entry(struct node *n, const struct raft_entry *e)
{
    CHECK(e->index == meta_applied_index(n->meta) + 1);
    if (e->type == RAFT_ENTRY_COMMAND) {
        apply_command(n, e);
    } else {
        enum err err = meta_apply_nothing(n->meta, e->index);
        if (err != ERR_OK)
            node_fail(n, "entry %llu can't be applied: %s", (unsigned long long)e->index, err_message(err));
    }
    if (n->role == RAFT_LEADER && e->term == n->term)
        n->ready_term = n->term;
}

unsigned node_apply(struct node *n, const struct raft_entry *entries, unsigned count, int64_t until_ns)
{
    unsigned done = 0;
    while (done < count && !n->fault.text[0]) {
        apply_entry(n, &entries[done++]);
        if (clock_boot_ns() > until_ns)
            break;
    }
    node_reads_applied(n);
    return done;
}

void node_backlog_keep(struct node *n, const struct raft_entry *entries, unsigned count)
{
    struct apply_backlog *b = &n->backlog;
    CHECK(b->at == b->count);
    arena_reset(&b->arena);
    b->entries = arena_alloc(&b->arena, count * sizeof *b->entries);
    b->at = 0, b->count = count;
    for (unsigned i = 0; i < count; i++) {
        b->entries[i] = entries[i];
        b->entries[i].data = arena_slice(&b->arena, entries[i].data);
    }
}

bool node_backlog_apply(struct node *n, int64_t until_ns)
{
    struct apply_backlog *b = &n->backlog;
    b->at += node_apply(n, b->entries + b->at, b->count - b->at, until_ns);
    return b->at == b->count;
}
