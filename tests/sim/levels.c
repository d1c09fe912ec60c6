#include "tests/sim/levels.h"

#include "meta/level.h"
#include "tests/sim/faults.h"

#define OLDER META_LEVEL_MAX
#define NEWER (META_LEVEL_MAX + 1)
#define STEP_MIN_NS (100 * NS_PER_MS)
#define STEP_MAX_NS (700 * NS_PER_MS)
#define OLD_FOR_NS (1500 * NS_PER_MS) /* until somebody sees why the member is out of service */

static void later(struct world *w, int64_t delay_ns, void (*run)(struct world *w, struct event *e))
{
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.member = WORLD_NOBODY, .run = run};
    world_after(w, delay_ns, e);
}

static void start_as(struct world *w, struct member *m, uint32_t level_max)
{
    if (m->replica)
        member_crash(w, m, MEMBER_CRASH_PROCESS);
    trace(w, m->index, "has a program of level %u now", level_max);
    m->level_max = level_max;
    m->old = level_max < NEWER && w->level_raised;
    if (!m->disk_fails)
        m->faulted = false;
    if (!m->faulted)
        member_start(w, m);
}

void levels_choose(struct world *w, struct member *m)
{
    if (w->plan.levels)
        m->level_max = world_chance(w, 20) ? NEWER : OLDER;
}

void levels_renew(struct world *w, struct member *m)
{
    if (w->plan.levels && !m->stays_down)
        start_as(w, m, NEWER);
}

static void next_done(void *context, enum err status, const struct meta_reply *reply)
{
    struct world *w = context;
    w->counts.next += status == ERR_OK && reply->status == ERR_OK;
}

static void propose_next(struct world *w)
{
    struct member *leader = faults_leader(w);
    struct meta_command command = {.op = META_NEXT};
    struct err_text why;
    if (!leader)
        return;
    trace_whose(leader->index);
    if (replica_may_propose(leader->replica, &command, &why) == ERR_OK)
        replica_propose_own(leader->replica, &command, next_done, w);
    member_settle(w, leader);
}

/* An operator at work: mostly replaces an older program; when that is done, somebody starts an older one by mistake,
 * and somebody sets that right. */
static void step(struct world *w, struct event *e)
{
    (void)e;
    struct member *m = w->members[prng_below(&w->prng, w->member_count)];
    propose_next(w);
    later(w, world_between_ns(w, STEP_MIN_NS, STEP_MAX_NS), step);
    if (m->stays_down || m->disk_fails || m->paused_until_ns > w->now_ns)
        return;
    if (m->level_max < NEWER && (!m->old || w->healing || world_chance(w, (unsigned)(STEP_MAX_NS * 50 / OLD_FOR_NS))))
        levels_renew(w, m);
    else if (m->level_max == NEWER && w->level_raised && !w->healing && world_chance(w, 15))
        start_as(w, m, OLDER);
}

void levels_begin(struct world *w)
{
    later(w, world_between_ns(w, 0, STEP_MAX_NS), step);
}

void levels_heal(struct world *w)
{
    for (unsigned i = 0; i < w->member_count && w->plan.levels; i++)
        if (w->members[i]->level_max < NEWER)
            levels_renew(w, w->members[i]);
}

void levels_applied(struct world *w, const struct member *m, const struct meta_command *command,
                    const struct meta_reply *reply)
{
    if (command->op != META_SET_LEVEL || reply->status != ERR_OK)
        return;
    w->level_raised = true;
    w->counts.raised++;
    const struct raft_config *config = replica_config(m->replica);
    for (unsigned i = 0; i < config->count; i++)
        if (w->members[config->members[i].id - 1]->level_max < command->set_level.level)
            world_fail(w, "the level rises to %u, which the program of member %u doesn't know",
                       command->set_level.level, config->members[i].id);
}

bool levels_too_old(struct world *w, const struct member *m)
{
    if (!m->old)
        return false;
    w->counts.too_old++;
    return true;
}

bool levels_settled(const struct world *w, const struct member *leader)
{
    bool all = w->plan.levels;
    for (unsigned i = 0; i < w->member_count; i++)
        all = all && !w->members[i]->stays_down;
    return !all || meta_level(replica_meta(leader->replica)) == NEWER;
}
