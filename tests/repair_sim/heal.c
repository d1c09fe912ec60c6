/* Healing, as daemon/block/block_keeper_heal.c goes about it, and who says that something is bad. */
#include <string.h>

#include "base/clock.h"
#include "base/plant.h"
#include "tests/repair_sim/world.h"

static int64_t now_ns(const struct world *w)
{
    return w->now * NS_PER_S;
}

/* A reader's word is only a suspicion. */
void server_scrub(struct world *w, unsigned number, unsigned block)
{
    struct server *s = &w->servers[number];
    bool is_read = below(w, 2) == 0;
    if ((s->bad & BIT(block)) || !is_read)
        (void)suspects_add(&s->suspects, &w->blocks[block], is_read);
}

static void end(struct server *s)
{
    s->heal = HEAL_NONE;
    s->heal_call = 0;
}

static void fetch_next(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    for (; s->heal_next < s->map.count; s->heal_next++) {
        unsigned index = s->heal_order[s->heal_next], slot = server_slot(w, s, index);
        if (index == s->map.self)
            continue;
        if (s->map.health[index] != UPKEEP_UP || !w->servers[slot].up) {
            s->heal_unanswered = true;
            continue;
        }
        s->heal_next++;
        s->heal = HEAL_FETCHING;
        s->heal_call = ++w->calls;
        message_send(w, (struct message){.kind = MESSAGE_GET,
                                         .from = number,
                                         .to = slot,
                                         .number = s->heal_call,
                                         .blocks = {s->heal_block},
                                         .count = 1});
        return;
    }
    if (s->suspects.list[s->suspects.at].bad || s->heal_unanswered)
        (void)suspects_later(&s->suspects, now_ns(w));
    else
        suspects_drop(&s->suspects);
    end(s);
}

void heal_answered(struct world *w, const struct message *m, bool well)
{
    struct server *s = &w->servers[m->from];
    unsigned bit = BIT(s->heal_block);
    if (s->heal != HEAL_FETCHING || m->number != s->heal_call)
        return;
    if (!well || !m->present[0] || (!m->good && !PLANTED(REPAIR_HEALS_FROM_BAD))) {
        s->heal_unanswered = s->heal_unanswered || !well;
        fetch_next(w, m->from);
        return;
    }
    s->here |= bit;
    s->synced |= bit;
    s->mended &= ~bit;
    s->bad = m->good ? s->bad & ~bit : s->bad | bit;
    w->healed++;
    suspects_healed(&s->suspects);
    end(s);
}

static void begin(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    if (s->news != 0 || s->map.self >= s->map.count)
        return;
    const struct suspect *suspect = suspects_begin(&s->suspects, now_ns(w));
    if (!suspect)
        return;
    struct upkeep_owners owners;
    upkeep_owners_of(&s->map, &suspect->id, &owners);
    s->heal_block = block_number(w, &suspect->id);
    s->heal_owner = (owners.set & UPKEEP_BIT(s->map.self)) != 0;
    s->heal_unanswered = false;
    s->heal_next = 0;
    memcpy(s->heal_order, owners.order, sizeof s->heal_order);
    if (server_readable(s, s->heal_block)) {
        suspects_is_good(&s->suspects);
    } else if (s->here & BIT(s->heal_block)) {
        (void)suspects_is_bad(&s->suspects);
        fetch_next(w, number);
    } else if (!s->heal_owner) {
        suspects_drop(&s->suspects);
    } else {
        s->heal_answer = metastore_answer(w, s->touches.begun);
        touch_begin_at(&s->touches, s->heal_answer.epoch);
        s->heal = HEAL_NAMED;
    }
}

void heal_step(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    if (s->heal == HEAL_NONE) {
        begin(w, number);
    } else if (s->heal == HEAL_NAMED) {
        bool is_named = s->heal_answer.named & BIT(s->heal_block);
        if (!is_named && touch_of(&s->touches, &w->blocks[s->heal_block]) < collect_limit(s->heal_answer.epoch)) {
            suspects_drop(&s->suspects);
            end(s);
        } else {
            fetch_next(w, number);
        }
    }
}
