/* One seed: what happens next is drawn, until it is enough; then all comes to rest, and no garbage may be left. */
#include "tests/gc_sim/world.h"

#include <string.h>

#include "base/check.h"

#define STEPS 260u
#define ROUNDS_TO_REST 6u

void message_add(struct world *w, struct message m)
{
    if (w->message_count < MESSAGES_MAX)
        w->messages[w->message_count++] = m;
}

void message_remove(struct world *w, unsigned at)
{
    w->messages[at] = w->messages[--w->message_count];
}

void world_open(struct world *w, const char *path)
{
    struct meta_options options = {.path = path, .lose_unflushed = true};
    struct err_text why;
    if (meta_open(&options, &w->meta, &why) != ERR_OK)
        seeds_fail("%s", why.text);
    state_open(w);
}

void world_close(struct world *w)
{
    for (unsigned s = 0; s < SERVERS; s++)
        touch_close(&w->servers[s].touches);
    meta_close(w->meta);
    arena_free(&w->arena);
}

static void begin(struct world *w, uint64_t seed)
{
    w->seed = seed;
    prng_seed(&w->prng, seed);
    w->message_count = 0;
    state_begin(w);
    for (unsigned s = 0; s < SERVERS; s++) {
        struct server *server = &w->servers[s];
        touch_close(&server->touches);
        *server = (struct server){0};
        touch_init(&server->touches);
    }
    for (unsigned i = 0; i <= CLIENTS; i++) {
        struct client *c = &w->clients[i];
        *c = (struct client){
            .session = c->session, .seq = c->seq, .acked = c->seq, .epoch = state_now(w).epoch, .number = c->number};
    }
}

/* A message is dealt with, or lost. */
static void deliver_one(struct world *w)
{
    if (w->message_count == 0)
        return;
    unsigned at = (unsigned)prng_below(&w->prng, w->message_count);
    if (chance(w, 3))
        message_remove(w, at);
    else
        server_deliver(w, at);
}

static void step(struct world *w)
{
    unsigned drawn = (unsigned)prng_below(&w->prng, 100);
    w->steps++;
    if (drawn < 46)
        deliver_one(w);
    else if (drawn < 65)
        client_step(w, (unsigned)prng_below(&w->prng, CLIENTS));
    else if (drawn < 79)
        server_collect_step(w, (unsigned)prng_below(&w->prng, SERVERS));
    else if (drawn < 88)
        server_stray_step(w);
    else if (drawn < 91)
        server_repair(w);
    else if (drawn < 93)
        state_raise_epoch(w);
    else if (drawn < 95)
        state_truncate(w, (unsigned)prng_below(&w->prng, FILES));
    else if (drawn < 97)
        state_clone(w, (unsigned)prng_below(&w->prng, FILES), (unsigned)prng_below(&w->prng, FILES));
    else if (drawn < 99)
        state_reap(w);
    else if (chance(w, 60))
        server_restart(w, (unsigned)prng_below(&w->prng, SERVERS));
}

static void come_to_rest(struct world *w)
{
    w->message_count = 0;
    for (unsigned f = 0; f < FILES; f++)
        state_truncate(w, f);
    for (unsigned f = 0; f < FILES; f++)
        state_reap(w);
    for (unsigned round = 0; round < ROUNDS_TO_REST; round++) {
        struct meta_collection now;
        meta_collection(w->meta, &now);
        const struct collect_news news = {.epoch = now.epoch, .released = now.released};
        for (unsigned s = 0; s < SERVERS; s++)
            server_collect_wholly(w, s, &news);
        state_raise_epoch(w);
    }
    for (unsigned s = 0; s < SERVERS; s++)
        if (w->servers[s].here != 0)
            seeds_fail("garbage %#x is left on server %u", w->servers[s].here, s);
}

void world_run(struct world *w, uint64_t seed)
{
    begin(w, seed);
    for (unsigned i = 0; i < STEPS; i++)
        step(w);
    come_to_rest(w);
    for (unsigned c = 0; c < CLIENTS; c++)
        CHECK(w->clients[c].seq - w->clients[c].acked < SEQS);
}
