/* Garbage, as daemon/block/block_keeper_collect.c goes about it. */
#include "base/check.h"
#include "tests/repair_sim/world.h"

static void decide(struct world *w, struct server *s)
{
    s->limit = collect_limit(s->collect_answer.epoch);
    s->garbage = 0;
    for (unsigned b = 0; b < BLOCKS; b++)
        if ((s->here & ~s->collect_answer.named & BIT(b)) && touch_of(&s->touches, &w->blocks[b]) < s->limit)
            s->garbage |= BIT(b);
    s->collect = s->garbage ? COLLECT_DECIDED : COLLECT_NONE;
}

static void leave(struct world *w, struct server *s)
{
    struct sha256 ids[BLOCKS];
    unsigned of[BLOCKS], count = 0;
    bool leaves[BLOCKS];
    if (s->leaver != 0)
        return; /* it waits for the other */
    s->leaver = 2;
    for (unsigned b = 0; b < BLOCKS; b++)
        if (s->garbage & BIT(b)) {
            of[count] = b;
            ids[count++] = w->blocks[b];
        }
    (void)touch_leave(&s->touches, ids, count, s->limit, leaves);
    s->garbage = 0;
    for (unsigned i = 0; i < count; i++)
        s->garbage |= leaves[i] ? BIT(of[i]) : 0;
    s->collect = COLLECT_LEAVING;
}

static void remove_garbage(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    seeds_trace("server %u removes garbage %#x", number, s->here & s->garbage);
    w->collected += (unsigned)__builtin_popcount(s->here & s->garbage);
    server_remove(s, s->garbage);
    touch_left(&s->touches);
    s->leaver = 0;
    s->collect = COLLECT_NONE;
    world_check(w, "a collection");
}

void collect_step(struct world *w, unsigned number)
{
    struct server *s = &w->servers[number];
    switch (s->collect) {
    case COLLECT_NONE:
        s->collect_answer = metastore_answer(w, s->touches.begun);
        touch_begin_at(&s->touches, s->collect_answer.epoch);
        s->collect = COLLECT_ASKED;
        return;
    case COLLECT_ASKED:
        return decide(w, s);
    case COLLECT_DECIDED:
        return leave(w, s);
    case COLLECT_LEAVING:
        return remove_garbage(w, number);
    }
}
