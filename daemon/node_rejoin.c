/* A member that lost its data takes its own place again. Its data directory has another identity now, so that nothing
 * that the lost one promised is taken for its word: the leader makes it a learner first, and a voter, if it was one,
 * when it has all of the log. What is still to do is kept in the data directory; asking twice does no harm. */
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

static void take_answer(struct node *n, const struct rpc_response *response)
{
    struct arena arena = {0};
    struct err_text why;
    if (response->status == ERR_OK && datadir_rejoin(n->dir) == DATADIR_REJOIN_ASK) {
        struct wire_admin_rejoined rejoined = {.was_voter = false};
        if (wire_admin_rejoined_decode(response->message, &arena, &rejoined, &why) == ERR_OK) {
            log_info("taken back as a learner%s", rejoined.was_voter ? ", to be a voter when it has caught up" : "");
            note(n, rejoined.was_voter ? DATADIR_REJOIN_VOTER : DATADIR_REJOIN_LEARNER);
        }
    } else if (response->status != ERR_OK) {
        struct wire_error error;
        wire_error_decode(response->message, &arena, &error);
        if (response->status == ERR_LEVEL) /* only another program can change that */
            replica_fail(n->replica, "%.*s", (int)error.text.size, (const char *)error.text.data);
        log_debug("not yet: %s %.*s", err_message(response->status), (int)error.text.size,
                  (const char *)error.text.data);
        struct member *leader = node_member(n, error.leader_id);
        if (leader)
            n->rejoin_at = (unsigned)(leader - n->members);
        else
            n->rejoin_at++;
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

static void ask(struct node *n, enum wire_member_change_kind kind)
{
    struct arena arena = {0};
    struct wire_admin_member_change change = {.kind = kind, .id = n->config.id};
    struct member *leader = node_member(n, n->leader);
    if (!leader || !leader->peer)
        for (unsigned i = 0; i < NODE_MEMBERS_MAX; i++) {
            leader = &n->members[(n->rejoin_at + i) % NODE_MEMBERS_MAX];
            if (leader->id != 0 && leader->peer)
                break;
        }
    if (!leader->peer)
        return;
    n->rejoin_at = (unsigned)(leader - n->members);
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
    if (stage == DATADIR_REJOIN_ASK || !taken)
        ask(n, WIRE_MEMBER_REJOIN);
    else if (stage == DATADIR_REJOIN_LEARNER || self->voter) {
        log_info("in its place again");
        note(n, DATADIR_REJOIN_NONE);
    } else {
        ask(n, WIRE_MEMBER_PROMOTE);
    }
}
