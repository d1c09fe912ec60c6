/* A member that lost its data takes its own place again. Its data directory has another identity now, so that nothing
 * that the lost one promised is taken for its word: the leader makes it a learner first, and a voter, if it was one,
 * when it has all of the log. What is still to do is kept in the data directory; asking twice does no harm. That it was
 * a voter is looked up, and noted, before the leader is asked for anything: the answer may be lost when the old self
 * has gone from the configuration. */
#include <string.h>

#define LOG_MODULE "rejoin"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/node.h"
#include "proto/methods.h"

#define ASK_NS (5 * NS_PER_S)

static void note(struct node *n, enum datadir_rejoin rejoin)
{
    struct err_text why;
    if (datadir_set_rejoin(n->dir, rejoin, &why) != ERR_OK)
        replica_fail(n->replica, "%s", why.text);
}

static void ask_another(struct node *n, uint32_t leader)
{
    const struct member *m = node_member(n, leader);
    if (m)
        n->rejoin_at = (unsigned)(m - n->members);
    else
        n->rejoin_at++;
}

static void take_answer(struct node *n, const struct rpc_response *response)
{
    struct arena arena = {0};
    struct err_text why;
    enum datadir_rejoin stage = datadir_rejoin(n->dir);
    if (response->status == ERR_OK && (stage == DATADIR_REJOIN_ASK || stage == DATADIR_REJOIN_ASK_VOTER)) {
        struct wire_admin_rejoined rejoined = {.was_voter = false};
        if (wire_admin_rejoined_decode(response->message, &arena, &rejoined, &why) == ERR_OK) {
            bool voter = rejoined.was_voter || stage == DATADIR_REJOIN_ASK_VOTER;
            log_info("taken back as a learner%s", voter ? ", to be a voter when it has caught up" : "");
            note(n, voter ? DATADIR_REJOIN_VOTER : DATADIR_REJOIN_LEARNER);
        }
    } else if (response->status != ERR_OK) {
        struct wire_error error;
        wire_error_decode(response->message, &arena, &error);
        if (response->status == ERR_LEVEL) /* only another program can change that */
            replica_fail(n->replica, "%.*s", (int)error.text.size, (const char *)error.text.data);
        log_debug("not yet: %s %.*s", err_message(response->status), (int)error.text.size,
                  (const char *)error.text.data);
        ask_another(n, error.leader_id);
    }
    arena_free(&arena);
}

static void on_answer(void *context, const struct rpc_response *response)
{
    struct node *n = context;
    n->rejoin_asked = false;
    if (!n->stopping)
        take_answer(n, response);
}

/* Who leads, or whose turn it is; NULL: there is nobody. */
static struct member *next_asked(struct node *n)
{
    struct member *m = node_member(n, n->leader);
    for (unsigned i = 0; i < NODE_MEMBERS_MAX && !(m && m->peer); i++)
        m = &n->members[(n->rejoin_at + i) % NODE_MEMBERS_MAX];
    if (!m || !m->peer)
        return NULL;
    n->rejoin_at = (unsigned)(m - n->members);
    return m;
}

static void take_state(struct node *n, const struct rpc_response *response)
{
    struct arena arena = {0};
    struct wire_admin_state s = {.leader = 0};
    struct err_text why;
    if (response->status == ERR_OK && wire_admin_state_decode(response->message, &arena, &s, &why) == ERR_OK &&
        s.role == RAFT_LEADER && !s.crashed) {
        bool voter = false;
        for (unsigned i = 0; i < s.peer_count; i++)
            voter = voter || (s.peers[i].id == n->config.id && (s.peers[i].voter || s.peers[i].old_voter));
        n->rejoin_looked = true;
        if (voter)
            note(n, DATADIR_REJOIN_ASK_VOTER);
        node_rejoin_second(n);
    } else {
        ask_another(n, s.leader);
    }
    arena_free(&arena);
}

static void on_state(void *context, const struct rpc_response *response)
{
    struct node *n = context;
    n->rejoin_asked = false;
    if (!n->stopping)
        take_state(n, response);
}

static void look(struct node *n)
{
    struct arena arena = {0};
    struct wire_admin_state_query query = {0};
    struct member *m = next_asked(n);
    if (!m)
        return;
    n->rejoin_asked = true;
    rpc_peer_call(m->peer, METHOD_ADMIN_STATE, wire_admin_state_query_encode(&query, &arena), SLICE(NULL, 0),
                  clock_boot_ns() + ASK_NS, on_state, n);
    arena_free(&arena);
}

static void ask(struct node *n, enum wire_member_change_kind kind)
{
    struct arena arena = {0};
    struct wire_admin_member_change change = {.kind = kind, .id = n->config.id};
    struct member *leader = next_asked(n);
    if (!leader)
        return;
    if (kind == WIRE_MEMBER_REJOIN) {
        change.address = slice_str(n->config.advertise.text);
        memcpy(change.identity, datadir_uuid(n->dir), sizeof change.identity);
        change.level_max = NODE_LEVEL_MAX;
    }
    n->rejoin_asked = true;
    rpc_peer_call(leader->peer, METHOD_ADMIN_MEMBERS, wire_admin_member_change_encode(&change, &arena), SLICE(NULL, 0),
                  clock_boot_ns() + ASK_NS, on_answer, n);
    arena_free(&arena);
}

void node_rejoin_second(struct node *n)
{
    enum datadir_rejoin stage = datadir_rejoin(n->dir);
    if (stage == DATADIR_REJOIN_NONE || n->rejoin_asked || !node_in_service(n))
        return;
    const struct raft_member *self = raft_config_find(replica_config(n->replica), n->config.id);
    bool taken = self && memcmp(self->identity, datadir_uuid(n->dir), sizeof self->identity) == 0;
    if (stage == DATADIR_REJOIN_ASK && !n->rejoin_looked)
        look(n);
    else if (stage == DATADIR_REJOIN_ASK || stage == DATADIR_REJOIN_ASK_VOTER || !taken)
        ask(n, WIRE_MEMBER_REJOIN);
    else if (stage == DATADIR_REJOIN_LEARNER || self->voter) {
        log_info("in its place again");
        note(n, DATADIR_REJOIN_NONE);
    } else {
        ask(n, WIRE_MEMBER_PROMOTE);
    }
}
