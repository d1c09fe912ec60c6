/* Membership: changes that an administrator asks for, identities, and who is removed. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "members"
#include "base/log.h"
#include "replica/internal.h"

static const uint8_t no_identity[16];

static bool is_known(const uint8_t identity[16])
{
    return memcmp(identity, no_identity, sizeof no_identity) != 0;
}

static bool same_identity(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, sizeof no_identity) == 0;
}

static bool is_current(const struct replica *r, uint32_t id)
{
    return raft_config_find(raft_config(r->raft), id) != NULL;
}

struct peer_state *replica_peer(struct replica *r, uint32_t id)
{
    struct peer_state *place = NULL;
    for (unsigned i = 0; i < LIMIT_NODES; i++) {
        struct peer_state *p = &r->peers[i];
        if (p->id == id)
            return p;
        if (!place && (p->id == 0 || !is_current(r, p->id)))
            place = p;
    }
    if (!place || !is_current(r, id))
        return NULL;
    *place = (struct peer_state){.id = id, .offered_ns = INT64_MIN, .fetched_ns = INT64_MIN};
    return place;
}

/* ---- who says what ---- */

static bool is_answer(const struct replica_message *m)
{
    return m->type == REPLICA_GATHERED ||
           (m->type == REPLICA_RAFT && (m->raft.type == RAFT_MSG_VOTE_REPLY || m->raft.type == RAFT_MSG_PREVOTE_REPLY ||
                                        m->raft.type == RAFT_MSG_APPEND_REPLY));
}

/* A candidate that has been removed and doesn't know it is told. */
static void tell_removed(struct replica *r, uint32_t id)
{
    struct raft_status status;
    raft_status(r->raft, &status);
    if (status.config_pending || status.config_index == 0)
        return;
    struct replica_message m = {.type = REPLICA_REMOVED, .to = id, .config_index = status.config_index};
    driver_send(r, &m);
}

bool members_admit(struct replica *r, const struct replica_message *m, const uint8_t identity[16])
{
    const struct raft_member *member = raft_config_find(raft_config(r->raft), m->from);
    if (!member) {
        if (m->type == REPLICA_RAFT && (m->raft.type == RAFT_MSG_PREVOTE || m->raft.type == RAFT_MSG_VOTE))
            tell_removed(r, m->from);
        return true;
    }
    struct peer_state *p = replica_peer(r, m->from);
    if (p && !same_identity(p->heard_identity, identity))
        p->told_level_term = 0; /* that was its old self */
    if (p)
        memcpy(p->heard_identity, identity, sizeof p->heard_identity);
    if (!is_known(member->identity) || same_identity(member->identity, identity)) {
        if (p)
            p->foreign = false;
        return true;
    }
    /* Requests are answered whoever sends them: our configuration may be an old one. What a member promises counts only
     * from the disk that the promise is on (P4). */
    if (p && !p->foreign)
        log_warn("member %u has another data directory than it had: its votes and acknowledgements don't count; surfd "
                 "--rebuild there lets it join again",
                 m->from);
    if (p)
        p->foreign = true;
    return !is_answer(m);
}

bool replica_is_removed(const struct replica *r)
{
    const struct raft_config *config = raft_config(r->raft);
    return r->removed_at != 0 || (config->count > 0 && r->leader == 0 && !raft_config_find(config, r->options.id));
}

bool replica_member_is_foreign(const struct replica *r, uint32_t id)
{
    for (size_t i = 0; i < ARRAY_SIZE(r->peers); i++)
        if (r->peers[i].id == id)
            return id != 0 && r->peers[i].foreign;
    return false;
}

void members_removed(struct replica *r, const struct replica_message *m)
{
    struct raft_status status;
    raft_status(r->raft, &status);
    if (m->config_index <= status.config_index || r->removed_at != 0 || r->role == RAFT_LEADER)
        return;
    r->removed_at = m->config_index;
    reads_fail(r, ERR_NO_LEADER); /* what they wait for may never come here */
    if (status.config_index == 0)
        log_warn("the metastore that answers has other members, and this node was never one of them: start it with an "
                 "empty data directory and join, then add it");
    else
        log_warn("this member has been removed from the metastore (entry %llu)", (unsigned long long)m->config_index);
}

/* ---- changes ---- */

static enum err refuse(enum err e, const struct replica *r, const struct replica_change *c, struct err_text *why)
{
    const char *name = c->kind == REPLICA_MEMBER_ADD       ? "added"
                       : c->kind == REPLICA_MEMBER_PROMOTE ? "promoted"
                       : c->kind == REPLICA_MEMBER_DEMOTE  ? "demoted"
                       : c->kind == REPLICA_MEMBER_REMOVE  ? "removed"
                       : c->kind == REPLICA_MEMBER_MOVE    ? "moved"
                                                           : "taken back";
    switch (e) {
    case ERR_OK:
        return ERR_OK;
    case ERR_BUSY_NOW:
        return err_explain(why, e,
                           "member %u can't be %s now: another change of members is not over, or this leader is "
                           "new",
                           c->id, name);
    case ERR_NOT_POSSIBLE:
        return err_explain(why, e, "member %u can't be %s: %s", c->id, name,
                           c->kind == REPLICA_MEMBER_PROMOTE ? "it has not caught up with the log, or does not answer"
                                                             : "of the voters that would be left no majority is there");
    case ERR_INVAL:
        return err_explain(why, e, "member %u can't be %s: no voter would be left, or there are %u members already",
                           c->id, name, LIMIT_NODES);
    case ERR_EXIST:
        return err_explain(why, e, "member %u is that already", c->id);
    case ERR_NOT_LEADER:
    case ERR_NO_LEADER:
        return err_explain(why, e, "node %u does not lead", r->options.id);
    default:
        return err_explain(why, e, "member %u can't be %s: %s", c->id, name, err_message(e));
    }
}

static struct raft_member *find(struct raft_config *c, uint32_t id)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].id == id)
            return &c->members[i];
    return NULL;
}

static enum err check_address_is_free(const struct raft_config *config, const char *address, struct err_text *why)
{
    for (unsigned i = 0; i < config->count; i++)
        if (strcmp(config->members[i].address, address) == 0)
            return err_explain(why, ERR_EXIST, "address %.200s is that of member %u", address, config->members[i].id);
    return ERR_OK;
}

static enum err add(struct raft_config *config, const struct replica_change *c, struct err_text *why)
{
    const struct raft_member *same = find(config, c->id);
    if (same)
        return err_explain(why, ERR_EXIST, "member %u exists, at %s", same->id, same->address);
    TRY(check_address_is_free(config, c->address, why));
    if (config->count == LIMIT_NODES)
        return err_explain(why, ERR_INVAL, "there are %u members already", LIMIT_NODES);
    unsigned at = config->count++;
    while (at > 0 && config->members[at - 1].id > c->id) {
        config->members[at] = config->members[at - 1];
        at--;
    }
    struct raft_member *m = &config->members[at];
    *m = (struct raft_member){.id = c->id};
    memcpy(m->identity, c->identity, sizeof m->identity);
    snprintf(m->address, sizeof m->address, "%s", c->address);
    return ERR_OK;
}

static enum err remove_member(struct raft_config *config, uint32_t id)
{
    struct raft_member *m = find(config, id);
    size_t behind = (size_t)(config->members + config->count - (m + 1));
    memmove(m, m + 1, behind * sizeof *m);
    config->count--;
    return ERR_OK;
}

static enum err edit(struct raft_config *config, const struct replica_change *c, struct err_text *why)
{
    struct raft_member *m = find(config, c->id);
    if (c->kind == REPLICA_MEMBER_ADD || (c->kind == REPLICA_MEMBER_REJOIN && !m))
        return add(config, c, why);
    if (!m)
        return err_explain(why, ERR_NO_NODE, "there is no member %u", c->id);
    switch (c->kind) {
    case REPLICA_MEMBER_PROMOTE:
        if (m->voter)
            return err_explain(why, ERR_EXIST, "member %u is a voter already", c->id);
        m->voter = true;
        return ERR_OK;
    case REPLICA_MEMBER_DEMOTE:
        if (!m->voter)
            return err_explain(why, ERR_EXIST, "member %u is a learner already", c->id);
        m->voter = false;
        return ERR_OK;
    case REPLICA_MEMBER_MOVE:
        TRY(check_address_is_free(config, c->address, why));
        snprintf(m->address, sizeof m->address, "%s", c->address);
        return ERR_OK;
    case REPLICA_MEMBER_REJOIN:
        if (same_identity(m->identity, c->identity))
            return err_explain(why, ERR_EXIST, "member %u is back already", c->id);
        return remove_member(config, c->id); /* its old self first: what that promised is lost */
    default:
        return remove_member(config, c->id);
    }
}

static enum err propose(struct replica *r, const struct raft_config *config)
{
    struct raft_event e = {.type = RAFT_EVENT_CHANGE, .change.config = config};
    return driver_step(r, &e);
}

enum err replica_change_members(struct replica *r, const struct replica_change *change, struct err_text *why)
{
    if (!replica_in_service(r) || r->role != RAFT_LEADER)
        return refuse(r->leader != 0 ? ERR_NOT_LEADER : ERR_NO_LEADER, r, change, why);
    /* A change goes past the queue, and what was acknowledged is to be before it. */
    if (raft_config(r->raft)->joint || r->durable.recovery != RECOVERY_DONE)
        return refuse(ERR_BUSY_NOW, r, change, why);
    if (change->kind == REPLICA_MEMBER_ADD || change->kind == REPLICA_MEMBER_REJOIN)
        TRY(level_check_new(r, change, why));
    struct raft_config wanted = *raft_config(r->raft);
    TRY(edit(&wanted, change, why));
    enum err e = propose(r, &wanted);
    if (e == ERR_OK)
        log_info("members: %u of them from now on", raft_config(r->raft)->count);
    return refuse(e, r, change, why);
}

/* The first configuration names no data directories: what was heard of them is added, so that from then on a member
 * that lost its disk is noticed. */
void members_second(struct replica *r)
{
    const struct raft_config *now = raft_config(r->raft);
    /* Without timers nothing happens that nobody has asked for. */
    if (r->role != RAFT_LEADER || !r->leader_ready || r->durable.recovery != RECOVERY_DONE || now->joint ||
        r->options.election == RAFT_ELECTION_MANUAL)
        return;
    struct raft_config wanted = *now;
    bool changed = false;
    for (unsigned i = 0; i < wanted.count; i++) {
        struct raft_member *m = &wanted.members[i];
        const struct peer_state *p = replica_peer(r, m->id);
        const uint8_t *heard = m->id == r->options.id ? r->options.identity : p ? p->heard_identity : no_identity;
        if (is_known(m->identity) || !is_known(heard))
            continue;
        memcpy(m->identity, heard, sizeof m->identity);
        changed = true;
    }
    if (changed)
        (void)!propose(r, &wanted);
}
