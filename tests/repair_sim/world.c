/* One seed: what happens next is drawn, until it is enough; then all is well again, and everything must come to be
 * where it belongs. */
#include "tests/repair_sim/world.h"

#include <string.h>

#include "base/check.h"

#define STEPS 1500u
#define STRAY_AGE_MAX 30u
#define ROUNDS_TO_REST 8u
#define STEPS_OF_A_ROUND 400u

void world_check(const struct world *w, const char *after)
{
    unsigned named = metastore_now(w).named;
    for (unsigned b = 0; b < BLOCKS; b++) {
        bool is_safe = !(named & BIT(b));
        for (unsigned s = 0; s < SERVERS; s++) {
            if (is_safe || !(w->counted[b] & BIT(s)))
                continue;
            if (!(w->servers[s].here & BIT(b)))
                seeds_fail("after %s: block %u is named, and server %u, which is counted on, lacks it", after, b, s);
        }
        for (unsigned s = 0; s < SERVERS; s++)
            is_safe = is_safe || ((w->counted[b] & BIT(s)) && server_durable(&w->servers[s], b));
        if (!is_safe)
            seeds_fail("after %s: block %u is named, and no good copy that is counted on is left", after, b);
    }
}

void world_open(struct world *w)
{
    for (unsigned s = 0; s < SERVERS; s++) {
        repair_batch_init(&w->servers[s].batch, &w->servers[s].map, BLOCKS);
        touch_init(&w->servers[s].touches);
    }
}

void world_close(struct world *w)
{
    for (unsigned s = 0; s < SERVERS; s++) {
        walk_forget(w, s);
        repair_batch_free(&w->servers[s].batch);
        touch_close(&w->servers[s].touches);
    }
}

static void begin(struct world *w, uint64_t seed)
{
    w->seed = seed;
    w->quiet = false;
    w->now = 0;
    w->message_count = 0;
    prng_seed(&w->prng, seed);
    w->is_rough = chance(w, 60);
    w->is_restless = chance(w, 25);
    w->blocks_used = 1 + below(w, BLOCKS);
    w->stray_age = chance(w, 50) ? 0 : below(w, STRAY_AGE_MAX);
    memset(w->clients, 0, sizeof w->clients);
    for (unsigned s = 0; s < SERVERS; s++) {
        struct server *server = &w->servers[s];
        server->registered = server->up = false;
        server->here = server->bad = server->synced = server->mended = server->removed = 0;
        walk_forget(w, s);
    }
    metastore_begin(w);
    for (unsigned s = 0; s < SERVERS; s++)
        if (w->servers[s].registered) {
            server_start(w, s);
            w->servers[s].news = 1;
            server_take_map(w, s);
        }
    for (unsigned c = 0; c < CLIENTS; c++)
        w->clients[c] = (struct client){.map = 1, .epoch = metastore_now(w).epoch};
}

static void keeper_step(struct world *w, unsigned s)
{
    unsigned drawn = below(w, 100);
    if (!w->servers[s].up || w->servers[s].map.version == 0)
        return;
    if (drawn < 70 && !w->servers[s].walk_stalls)
        walk_step(w, s);
    else if (drawn < 80)
        heal_step(w, s);
    else if (drawn < 90)
        collect_step(w, s);
    else
        server_scrub(w, s, below(w, w->blocks_used));
}

static void step(struct world *w)
{
    unsigned drawn = below(w, 100);
    w->steps++;
    w->now++;
    if (w->is_restless && chance(w, 3))
        metastore_map_change(w);
    if (drawn < 50)
        message_step(w);
    else if (drawn < 57 && w->message_count < MESSAGES_MAX / 2)
        client_step(w, below(w, CLIENTS));
    else if (drawn < 94 && w->message_count < MESSAGES_MAX / 2)
        keeper_step(w, below(w, SERVERS));
    else if (drawn < 98)
        fault_step(w);
    else if (chance(w, 30))
        metastore_raise_epoch(w);
    else if (chance(w, 30))
        metastore_unname(w, below(w, w->blocks_used));
    else if (chance(w, 70))
        metastore_map_change(w);
}

/* ---- rest ---- */

static void all_is_well(struct world *w)
{
    for (unsigned s = 0; s < SERVERS; s++) {
        struct server *server = &w->servers[s];
        if (!server->registered)
            continue;
        if (!server->up)
            server_start(w, s);
        server->walk_stalls = server->requests_stall = false;
        for (unsigned i = 0; i < server->map.count; i++)
            server->map.health[i] = UPKEEP_UP;
        if (server->news == 0 && server->map.version != w->map_count - 1)
            server->news = w->map_count - 1;
        if (server->news != 0 && server->walk == WALK_NONE && server->heal == HEAL_NONE)
            server_take_map(w, s);
    }
}

static void check_rest(const struct world *w)
{
    const struct map *m = &w->maps[w->map_count - 1];
    unsigned named = metastore_now(w).named;
    for (unsigned b = 0; b < BLOCKS; b++) {
        unsigned order[LIMIT_BLOCK_SERVERS], owners = 0;
        placement_order(m->servers, m->count, &w->blocks[b], order);
        uint64_t set = placement_owners(m->servers, m->count, order, m->replicas);
        for (unsigned i = 0; (named & BIT(b)) && i < m->count; i++)
            owners |= set & UPKEEP_BIT(i) ? BIT(m->slots[i]) : 0;
        for (unsigned s = 0; s < SERVERS; s++) {
            bool belongs = owners & BIT(s), here = w->servers[s].here & BIT(b);
            if (belongs && !server_readable(&w->servers[s], b))
                seeds_fail("at rest: block %u is %s on its owner %u", b, here ? "bad" : "absent", s);
            if (!belongs && here)
                seeds_fail("at rest: block %u, which is %s, is left on server %u", b,
                           named & BIT(b) ? "named" : "garbage", s);
        }
    }
}

static void come_to_rest(struct world *w)
{
    w->quiet = true;
    for (unsigned c = 0; c < CLIENTS; c++)
        w->clients[c].busy = false;
    if (below(w, 2) == 0)
        metastore_map_end(w);
    for (unsigned round = 0; round < ROUNDS_TO_REST; round++) {
        for (unsigned i = 0; i < STEPS_OF_A_ROUND; i++) {
            w->now++;
            if (i % 2 == 0)
                all_is_well(w);
            for (unsigned n = 0; n < 4; n++)
                message_step(w);
            keeper_step(w, below(w, SERVERS));
        }
        metastore_raise_epoch(w);
    }
    check_rest(w);
}

void world_run(struct world *w, uint64_t seed)
{
    begin(w, seed);
    for (unsigned i = 0; i < STEPS; i++)
        step(w);
    come_to_rest(w);
}
