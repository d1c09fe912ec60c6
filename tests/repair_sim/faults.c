/* What goes wrong: processes end, disks lose what was written, or everything, or some of it goes bad, views are wrong.
 * The last good copy that somebody counts on is not taken. */
#include <string.h>

#include "base/plant.h"
#include "tests/repair_sim/world.h"

void server_start(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    s->up = true;
    s->walk_stalls = s->requests_stall = false;
    s->life++;
    s->leaver = 0;
    s->walk = WALK_NONE;
    s->heal = HEAL_NONE;
    s->collect = COLLECT_NONE;
    s->suspects.count = 0;
    s->suspects.healing = false;
    touch_close(&s->touches);
    touch_init(&s->touches);
    walk_forget(w, number);
    s->map = (struct upkeep_map){0}; /* it knows of none yet */
    s->news = 0;
}

/* What was not synced is gone, or some of it isn't; what was removed may be back. */
void server_crash(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    unsigned kept = chance(w, 50) ? below(w, 1u << BLOCKS) : 0;
    s->up = false;
    s->here &= s->synced | kept;
    s->bad = (s->bad | (s->mended & ~kept)) & s->here;
    s->mended = 0;
    unsigned back = chance(w, 50) ? s->removed & ~s->here : 0;
    s->here |= back;
    s->synced |= back;
    s->removed = 0;
    w->crashes++;
    seeds_trace("server %u ends", number);
    world_check(w, "a crash");
}

/* It relies on the word of an owner that it has this block, or is about to. */
static bool relies_on(const struct world *w, unsigned asker, unsigned owner, unsigned block)
{
    const struct server *s = &w->servers[asker];
    if (s->walk != WALK_SURE && s->walk != WALK_LEAVING)
        return false;
    return (s->vouched[block] & BIT(owner)) != 0;
}

static bool is_solid(const struct world *w, unsigned number, unsigned block)
{
    const struct server *s = &w->servers[number];
    if (!server_durable(s, block))
        return false;
    bool leaves = (s->walk == WALK_SURE || s->walk == WALK_LEAVING) && s->batch.sure_count > 0;
    for (unsigned i = 0; leaves && i < s->batch.sure_count; i++)
        if (block_number(w, &s->batch.ids[s->batch.sure[i]]) == block)
            return false;
    return s->collect < COLLECT_DECIDED || !(s->garbage & BIT(block));
}

static bool one_is_left(const struct world *w, unsigned set, unsigned without, unsigned block)
{
    if (!(set & BIT(without)))
        return true;
    for (unsigned s = 0; s < SERVERS; s++)
        if (s != without && (set & BIT(s)) && is_solid(w, s, block))
            return true;
    return false;
}

bool fault_may_take(const struct world *w, unsigned number, unsigned block)
{
    for (unsigned s = 0; s < SERVERS; s++)
        if (relies_on(w, s, number, block))
            return false;
    for (unsigned c = 0; c < CLIENTS; c++)
        if (w->clients[c].busy && w->clients[c].block == block && !one_is_left(w, w->clients[c].relied, number, block))
            return false;
    for (unsigned i = 0; i < w->message_count; i++) {
        const struct message *m = &w->messages[i];
        if (m->kind == MESSAGE_COMMIT && m->blocks[0] == block && !one_is_left(w, m->relied, number, block))
            return false;
        /* An acknowledgement on its way will be relied on. */
        bool will_be = m->to == number || (m->relied & BIT(number));
        if ((m->kind == MESSAGE_PUT || m->kind == MESSAGE_CLIENT_HAS) && will_be && m->blocks[0] == block)
            return false;
    }
    return one_is_left(w, w->counted[block], number, block);
}

static void wipe(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    for (unsigned b = 0; b < BLOCKS; b++)
        if ((s->here & BIT(b)) && !fault_may_take(w, number, b))
            return;
    for (unsigned b = 0; b < BLOCKS; b++)
        w->counted[b] &= ~BIT(number);
    for (unsigned c = 0; c < CLIENTS; c++)
        w->clients[c].relied &= ~BIT(number);
    for (unsigned i = 0; i < w->message_count; i++)
        w->messages[i].relied &= ~BIT(number);
    s->here = s->bad = s->synced = s->mended = s->removed = 0;
    w->wiped++;
    seeds_trace("server %u loses all that it had", number);
    server_crash(w, number);
}

static void flip(struct world *w, unsigned number, unsigned block)
{
    struct server *s = &w->servers[number];
    if (!server_durable(s, block) || !fault_may_take(w, number, block))
        return;
    s->bad |= BIT(block);
    w->flipped++;
    seeds_trace("server %u: the copy of block %u goes bad", number, block);
    world_check(w, "a flipped byte");
}

static void change_view(struct world *w, struct server *s)
{
    if (s->map.count == 0)
        return;
    unsigned index = below(w, s->map.count);
    if (index != s->map.self)
        s->map.health[index] = (enum upkeep_health)below(w, 3);
}

/* Any that it has not had; after a start also an old one, which its own replica may show it first. */
static void hear_of_map(struct world *w, struct server *s)
{
    unsigned least = s->map.version ? (unsigned)s->map.version : 1;
    if (s->news == 0)
        s->news = least + below(w, w->map_count - least);
    if (s->news == s->map.version)
        s->news = 0;
}

static bool same_members(const struct world *w, const struct server *s)
{
    const struct map *now = &w->maps[s->map.version], *next = &w->maps[s->news];
    return now->count == next->count && memcmp(now->slots, next->slots, now->count * sizeof now->slots[0]) == 0;
}

void fault_step(struct world *w)
{
    unsigned number = below(w, SERVERS), drawn = below(w, 100);
    struct server *s = &w->servers[number];
    if (!s->registered)
        return;
    if (!s->up) {
        if (drawn < 50)
            server_start(w, number);
    } else if (drawn < 40) {
        hear_of_map(w, s);
    } else if (drawn < 60) {
        change_view(w, s);
    } else if (w->is_rough && drawn < 75) {
        flip(w, number, below(w, w->blocks_used));
    } else if (w->is_rough && drawn < 80) {
        wipe(w, number);
    } else if (w->is_rough && drawn < 84) {
        server_crash(w, number);
    } else {
        s->walk_stalls = !s->walk_stalls && chance(w, 50);
        s->requests_stall = !s->requests_stall && chance(w, 50);
    }
    for (unsigned i = 0; i < SERVERS; i++) {
        s = &w->servers[i];
        bool free = s->walk == WALK_NONE && s->heal == HEAL_NONE;
        if (s->up && s->news != 0 && (free || (PLANTED(REPAIR_MAP_IN_THE_MIDDLE) && same_members(w, s))))
            server_take_map(w, i);
    }
}
