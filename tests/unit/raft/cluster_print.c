/* cluster_print.c: what a member tells its driver, one line for each thing to do, in the order of raft.h. */
#include <inttypes.h>

#include "base/mem.h"
#include "tests/unit/raft/cluster.h"

#define PRINTED_DATA_MAX 40u    /* longer data is told by its size */
#define PRINTED_ENTRIES_MAX 16u /* more are told by the first, the last and how many */

const char *cluster_message_name(enum raft_message_type type)
{
    static const char *const names[] = {"?",      "prevote",      "prevote-reply", "vote", "vote-reply",
                                        "append", "append-reply", "timeout-now",   "read", "read-reply"};
    return (unsigned)type < ARRAY_SIZE(names) ? names[type] : "?";
}

static void print_member(FILE *out, const struct raft_member *m)
{
    fprintf(out, "%u", m->id);
    if (m->identity[0] != 0)
        fprintf(out, "%c", m->identity[0]);
}

static void print_voters(FILE *out, const struct raft_config *config, const char *what, bool old)
{
    bool any = false;
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_member *m = &config->members[i];
        if (!(old ? m->old_voter : m->voter))
            continue;
        fprintf(out, "%s", any ? " " : what);
        print_member(out, m);
        any = true;
    }
}

void cluster_print_config(FILE *out, const struct raft_config *config)
{
    if (config->joint) {
        print_voters(out, config, "[", true);
        print_voters(out, config, " + ", false);
    } else {
        print_voters(out, config, "[", false);
    }
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_member *m = &config->members[i];
        if (m->voter || m->leaving)
            continue;
        fprintf(out, m->old_voter ? ", later learner " : ", learner ");
        print_member(out, m);
    }
    fprintf(out, config->count > 0 ? "]" : "[nobody]");
}

static void print_entry(FILE *out, const struct raft_entry *e)
{
    struct raft_config config;
    fprintf(out, " %" PRIu64 "/%" PRIu64, e->index, e->term);
    if (e->type == RAFT_ENTRY_NOOP)
        fprintf(out, "=noop");
    else if (e->type == RAFT_ENTRY_CONFIG && raft_config_decode(e->data, &config) == ERR_OK)
        cluster_print_config(out, &config);
    else if (e->data.size > PRINTED_DATA_MAX)
        fprintf(out, "=%zu KiB", e->data.size / 1024);
    else
        fprintf(out, "=%.*s", (int)e->data.size, e->data.data ? (const char *)e->data.data : "");
}

void cluster_print_entries(FILE *out, const struct raft_entry *entries, unsigned count)
{
    if (count > PRINTED_ENTRIES_MAX) {
        print_entry(out, &entries[0]);
        fprintf(out, " to");
        print_entry(out, &entries[count - 1]);
        fprintf(out, ", %u entries", count);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        print_entry(out, &entries[i]);
}

static void print_message(FILE *out, const struct raft_message *m)
{
    fprintf(out, "%s to %u, term %" PRIu64, cluster_message_name(m->type), m->to, m->term);
    switch (m->type) {
    case RAFT_MSG_PREVOTE:
    case RAFT_MSG_VOTE:
        fprintf(out, ", log ends %" PRIu64 "/%" PRIu64 "%s", m->index, m->log_term, m->force ? ", forced" : "");
        break;
    case RAFT_MSG_PREVOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        fprintf(out, ", %s", m->reject ? "no" : "yes");
        break;
    case RAFT_MSG_APPEND:
        fprintf(out, ", after %" PRIu64 "/%" PRIu64 ", commit %" PRIu64 ":", m->index, m->log_term, m->commit);
        cluster_print_entries(out, m->entries, m->entry_count);
        if (m->entry_count == 0)
            fprintf(out, " nothing");
        break;
    case RAFT_MSG_APPEND_REPLY:
        if (m->reject)
            fprintf(out, ", no, try %" PRIu64 "/%" PRIu64, m->index, m->log_term);
        else
            fprintf(out, ", has %" PRIu64, m->index);
        break;
    case RAFT_MSG_READ:
        fprintf(out, ", number %" PRIu64, m->round);
        break;
    case RAFT_MSG_READ_REPLY:
        fprintf(out, ", number %" PRIu64, m->round);
        if (m->reject)
            fprintf(out, ", no");
        else
            fprintf(out, ", as of %" PRIu64, m->index);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        break;
    }
    fputc('\n', out);
}

static void print_role(FILE *out, const struct cluster_node *n)
{
    struct raft_status s;
    raft_status(n->raft, &s);
    fprintf(out, "%u: %s, term %" PRIu64 ", ", n->id, raft_role_name(s.role), s.term);
    fprintf(out, s.leader ? "leader %u\n" : "no leader\n", s.leader);
}

static void print_writes(FILE *out, const struct cluster_node *n, const struct raft_update *u)
{
    if (u->reset)
        fprintf(out, "%u: empty the log, go on after %" PRIu64 "/%" PRIu64 "\n", n->id, u->reset_index, u->reset_term);
    if (u->truncate)
        fprintf(out, "%u: cut the log after %" PRIu64 "\n", n->id, u->truncate_after);
    if (u->hard_state_changed)
        fprintf(out, "%u: save term %" PRIu64 ", vote %u\n", n->id, u->hard.term, u->hard.vote);
    if (u->entry_count > 0) {
        fprintf(out, "%u: save", n->id);
        cluster_print_entries(out, u->entries, u->entry_count);
        fputc('\n', out);
    }
}

void cluster_print_update(FILE *out, const struct cluster_node *n, const struct raft_update *u)
{
    if (u->status != ERR_OK)
        fprintf(out, "%u: refused: %s\n", n->id, err_name(u->status));
    if (u->role_changed)
        print_role(out, n);
    print_writes(out, n, u);
    if (u->config_changed) {
        fprintf(out, "%u: members ", n->id);
        cluster_print_config(out, raft_config(n->raft));
        fputc('\n', out);
    }
    for (unsigned i = 0; i < u->message_count; i++) {
        fprintf(out, "%u: send%s ", n->id, u->messages[i].after_persist ? " when saved" : "");
        print_message(out, &u->messages[i]);
    }
    if (u->committed_count > 0) {
        fprintf(out, "%u: apply", n->id);
        cluster_print_entries(out, u->committed, u->committed_count);
        fputc('\n', out);
    }
    for (unsigned i = 0; i < u->read_count; i++)
        if (u->reads[i].status == ERR_OK)
            fprintf(out, "%u: read %" PRIu64 " as of %" PRIu64 "\n", n->id, u->reads[i].id, u->reads[i].index);
        else
            fprintf(out, "%u: read %" PRIu64 " refused: %s\n", n->id, u->reads[i].id, err_name(u->reads[i].status));
}
