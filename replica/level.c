/* What all members' programs know, and may be used (meta/level.h). Every member tells with each message up to which
 * level its program goes; when all members of the configuration, learners too, have told the leader of this term that
 * they know the next level, it raises the state's. A member whose program doesn't know a level that is used goes out of
 * service. */
#define LOG_MODULE "level"
#include "meta/level.h"
#include "base/log.h"
#include "replica/internal.h"

enum err replica_may_propose(const struct replica *r, const struct meta_command *c, struct err_text *why)
{
    uint32_t needed = meta_level_of(c), level = meta_level(r->meta);
    if (needed <= level || c->op == META_SET_LEVEL || PLANTED(LEVEL_NOT_HEEDED))
        return ERR_OK;
    return err_explain(why, ERR_LEVEL, "%s needs level %u, the cluster is at level %u: some of its nodes are older",
                       meta_op_name(c->op), needed, level);
}

/* Only an answer: its sender is the member that the configuration names (members_admit). */
void level_told(struct replica *r, const struct replica_message *m)
{
    struct peer_state *p = replica_peer(r, m->from);
    if (r->role != RAFT_LEADER || !p || m->raft.type != RAFT_MSG_APPEND_REPLY || m->raft.term != r->term)
        return;
    p->told_level = MAX(m->level_max, META_LEVEL_FIRST);
    p->told_level_term = r->term;
}

/* 0: somebody has not told yet. */
static uint32_t lowest_of_all(struct replica *r)
{
    const struct raft_config *config = raft_config(r->raft);
    uint32_t lowest = r->options.level_max;
    for (unsigned i = 0; i < config->count; i++) {
        uint32_t id = config->members[i].id;
        const struct peer_state *p = id == r->options.id ? NULL : replica_peer(r, id);
        if (p)
            lowest = MIN(lowest, p->told_level_term == r->term ? p->told_level : 0);
        else if (id != r->options.id)
            return 0;
    }
    return PLANTED(LEVEL_RAISED_EARLY) ? r->options.level_max : lowest;
}

static void raised(void *context, enum err status, const struct meta_reply *reply)
{
    struct replica *r = context;
    r->level_proposed = false;
    if (status == ERR_OK && reply->status == ERR_OK)
        log_info("the cluster is at level %u now", meta_level(r->meta));
}

void level_second(struct replica *r)
{
    uint32_t next = meta_level(r->meta) + 1;
    if (!r->leader_ready || r->level_proposed || !meta_initialised(r->meta) || lowest_of_all(r) < next)
        return;
    struct meta_command c = {.op = META_SET_LEVEL, .set_level.level = next};
    r->level_proposed = true;
    replica_propose_own(r, &c, raised, r);
}

void level_leader_ready(struct replica *r)
{
    r->level_proposed = false;
}

enum err level_check_new(const struct replica *r, const struct replica_change *c, struct err_text *why)
{
    uint32_t level = meta_level(r->meta);
    if (!r->leader_ready || r->level_proposed)
        return err_explain(why, ERR_BUSY_NOW,
                           "member %u can't be added now: this leader is new, or the level of the cluster rises",
                           c->id);
    if (c->level_max == 0 || c->level_max >= level)
        return ERR_OK;
    return err_explain(
        why, ERR_LEVEL,
        "member %u can't be added: its program knows up to level %u, the cluster is at level %u: a newer "
        "surfd is needed there",
        c->id, c->level_max, level);
}
