/* Block servers: puts and questions come in two halves, the touch and the look, as in daemon/service/block.c; garbage
 * and strays go in steps, as in daemon/block/block_keeper_*.c, between which anything may happen. */
#include <string.h>

#include "base/check.h"
#include "tests/gc_sim/world.h"

void server_restart(struct world *w, unsigned s)
{
    struct server *server = &w->servers[s];
    touch_close(&server->touches);
    touch_init(&server->touches);
    server->life++;
    server->removing = REMOVING_NOTHING;
    memset(&server->past, 0, sizeof server->past);
    w->restarts++;
    seeds_trace("server %u is started anew", s);
}

/* ---- requests ---- */

static void look(struct world *w, const struct message *m)
{
    struct server *server = &w->servers[m->server];
    struct server *asker = &w->servers[STRAY_SERVER];
    bool there = server->here & BIT(m->block);
    switch (m->kind) {
    case MESSAGE_PUT:
        server->here |= BIT(m->block);
        client_answered(w, m, true);
        break;
    case MESSAGE_HAS:
        client_answered(w, m, there);
        break;
    case MESSAGE_COPY:
        server->here |= BIT(m->block);
        break;
    default:
        if (there && asker->removing == REMOVING_SURE && asker->asked_number == m->number)
            asker->sure |= BIT(m->server);
    }
}

void server_deliver(struct world *w, unsigned at)
{
    struct message *m = &w->messages[at];
    struct server *server = &w->servers[m->server];
    if (m->kind == MESSAGE_COMMIT) {
        struct message commit = *m;
        message_remove(w, at);
        client_commit_arrives(w, &commit);
        return;
    }
    if (!m->touched) {
        if (touch_is_leaving(&server->touches, &w->blocks[m->block]))
            return; /* it waits */
        if (!(PLANTED(COLLECT_HAS_IS_NO_TOUCH) && m->kind == MESSAGE_HAS))
            touch_note(&server->touches, &w->blocks[m->block], m->epoch);
        m->touched = true;
        m->life = server->life;
        return;
    }
    struct message whole = *m;
    message_remove(w, at);
    if (whole.life == server->life) /* else the request was lost with the process */
        look(w, &whole);
}

/* ---- garbage ---- */

static void ask(struct world *w, unsigned s)
{
    struct server *server = &w->servers[s];
    /* The first question after a start is a read that sees all that was before it, as all are; the others may lag. */
    server->answer = state_answer(w, server->touches.begun && !PLANTED(COLLECT_RESTART_FORGETS));
    touch_begin_at(&server->touches, server->answer.epoch);
    server->removing = REMOVING_ASKED;
}

static void decide(struct world *w, unsigned s)
{
    struct server *server = &w->servers[s];
    server->limit = collect_limit(server->answer.epoch);
    server->garbage = 0;
    server->past.waiting = 0;
    for (unsigned b = 0; b < BLOCKS; b++) {
        if (!(server->here & ~server->answer.named & BIT(b)))
            continue;
        if (touch_of(&server->touches, &w->blocks[b]) < server->limit)
            server->garbage |= BIT(b);
        else
            server->past.waiting++;
    }
    server->is_stray = false;
    server->removing = server->garbage ? REMOVING_DECIDED : REMOVING_NOTHING;
}

static void leave(struct world *w, unsigned s)
{
    struct server *server = &w->servers[s];
    struct sha256 ids[BLOCKS];
    unsigned of[BLOCKS], count = 0;
    bool leaves[BLOCKS];
    for (unsigned b = 0; b < BLOCKS; b++)
        if (server->garbage & BIT(b)) {
            of[count] = b;
            ids[count++] = w->blocks[b];
        }
    (void)touch_leave(&server->touches, ids, count, server->limit, leaves);
    server->garbage = 0;
    for (unsigned i = 0; i < count; i++)
        server->garbage |= leaves[i] ? BIT(of[i]) : 0;
    server->removing = REMOVING_LEAVING;
}

/* Who counted on the stray counts on the owners, all of which have it. */
static void replace_stray(unsigned *servers)
{
    if (*servers & BIT(STRAY_SERVER))
        *servers = (*servers & ~BIT(STRAY_SERVER)) | (BIT(OWNERS) - 1);
}

static void stray_is_gone(struct world *w, unsigned block)
{
    w->strays++;
    replace_stray(&w->counted[block]);
    for (unsigned c = 0; c < CLIENTS; c++)
        replace_stray(&w->clients[c].acks[block]);
    for (unsigned m = 0; m < w->message_count; m++)
        replace_stray(&w->messages[m].acks[block]);
}

static void remove_leaving(struct world *w, unsigned s)
{
    struct server *server = &w->servers[s];
    seeds_trace("server %u removes %#x%s", s, server->here & server->garbage, server->is_stray ? " as strays" : "");
    w->removed += (unsigned)__builtin_popcount(server->here & server->garbage);
    server->here &= ~server->garbage;
    touch_left(&server->touches);
    for (unsigned b = 0; server->is_stray && b < BLOCKS; b++)
        if (server->garbage & BIT(b))
            stray_is_gone(w, b);
    server->removing = REMOVING_NOTHING;
    state_check(w, server->is_stray ? "the removal of a stray" : "a removal");
}

void server_collect_step(struct world *w, unsigned s)
{
    switch (w->servers[s].removing) {
    case REMOVING_NOTHING:
        return ask(w, s);
    case REMOVING_ASKED:
        return decide(w, s);
    case REMOVING_DECIDED:
        return leave(w, s);
    case REMOVING_SURE:
        return server_stray_step(w);
    case REMOVING_LEAVING:
        return remove_leaving(w, s);
    }
}

void server_collect_wholly(struct world *w, unsigned s, const struct collect_news *news)
{
    struct server *server = &w->servers[s];
    while (server->removing != REMOVING_NOTHING)
        if (server->removing == REMOVING_SURE)
            server->removing = REMOVING_NOTHING;
        else
            server_collect_step(w, s);
    if (!collect_is_due(&server->past, news, 0, INT64_MAX))
        return;
    server->answer = state_now(w);
    touch_begin_at(&server->touches, server->answer.epoch);
    decide(w, s);
    while (server->removing != REMOVING_NOTHING)
        server_collect_step(w, s);
    server->past.epoch = news->epoch;
    server->past.released = news->released;
}

/* ---- copies ---- */

static void ask_owners(struct world *w)
{
    struct server *server = &w->servers[STRAY_SERVER];
    unsigned block = (unsigned)prng_below(&w->prng, BLOCKS), owners = w->servers[0].here;
    for (unsigned s = 1; s < OWNERS; s++)
        owners &= w->servers[s].here;
    for (unsigned n = 0; n < BLOCKS && !(server->here & owners & BIT(block)); n++)
        block = (block + 1) % BLOCKS;
    if (!(server->here & owners & BIT(block)) || !server->touches.begun)
        return;
    server->stray = block;
    server->sure = 0;
    server->asked_touch = touch_of(&server->touches, &w->blocks[block]);
    server->asked_number = ++w->asked;
    server->removing = REMOVING_SURE;
    for (unsigned s = 0; s < OWNERS; s++)
        message_add(w, (struct message){.kind = MESSAGE_SURE,
                                        .server = s,
                                        .block = block,
                                        .number = server->asked_number,
                                        .epoch = server->asked_touch});
}

void server_stray_step(struct world *w)
{
    struct server *server = &w->servers[STRAY_SERVER];
    if (server->removing == REMOVING_NOTHING) {
        ask_owners(w);
    } else if (server->removing == REMOVING_SURE && server->sure == BIT(OWNERS) - 1) {
        server->garbage = BIT(server->stray);
        server->limit = collect_stray_limit(server->asked_touch);
        server->is_stray = true;
        leave(w, STRAY_SERVER);
    } else if (server->removing == REMOVING_SURE && chance(w, 5)) {
        server->removing = REMOVING_NOTHING; /* an answer doesn't come */
    }
}

void server_repair(struct world *w)
{
    unsigned from = (unsigned)prng_below(&w->prng, SERVERS), to = (unsigned)prng_below(&w->prng, OWNERS);
    unsigned block = (unsigned)prng_below(&w->prng, BLOCKS);
    struct server *server = &w->servers[from];
    if (!(server->here & ~w->servers[to].here & BIT(block)))
        return;
    uint64_t touch = touch_of(&server->touches, &w->blocks[block]);
    struct answer answer = state_answer(w, server->touches.begun);
    if (!(answer.named & BIT(block)) && touch < collect_limit(answer.epoch))
        return;
    message_add(w,
                (struct message){
                    .kind = MESSAGE_COPY, .server = to, .block = block, .epoch = touch == TOUCH_UNKNOWN ? 0 : touch});
}
