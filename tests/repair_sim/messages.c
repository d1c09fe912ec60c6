/* Requests to block servers, as daemon/service/block.c serves them: what a sure answer rests on is noted when one comes
 * (on the loop), then it is a touch, then the store is looked at (on a worker), then the answer goes. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/plant.h"
#include "tests/repair_sim/world.h"

bool is_from_client(const struct message *m)
{
    return m->kind == MESSAGE_PUT || m->kind == MESSAGE_CLIENT_HAS || m->kind == MESSAGE_COMMIT;
}

/* Who asked hears of it, if it is still the same process. */
static void answer(struct world *w, const struct message *m, bool well)
{
    if (is_from_client(m)) {
        if (well)
            client_answered(w, m);
    } else if (w->servers[m->from].up && w->servers[m->from].life == m->from_life) {
        if (m->kind == MESSAGE_GET)
            heal_answered(w, m, well);
        else
            walk_answered(w, m, well);
    }
}

static struct message take(struct world *w, unsigned at)
{
    struct message m = w->messages[at];
    w->messages[at] = w->messages[--w->message_count];
    return m;
}

void message_lose(struct world *w, unsigned at)
{
    struct message m = take(w, at);
    answer(w, &m, false);
}

void message_send(struct world *w, struct message m)
{
    if (!is_from_client(&m))
        m.from_life = w->servers[m.from].life;
    CHECK(w->message_count < MESSAGES_MAX);
    w->messages[w->message_count++] = m;
}

static void touch_all(struct world *w, struct message *m)
{
    struct server *s = &w->servers[m->to];
    bool is_touch = m->kind == MESSAGE_PUT || m->kind == MESSAGE_COPY || m->epoch > 0;
    for (unsigned i = 0; is_touch && i < m->count; i++)
        if (touch_is_leaving(&s->touches, &w->blocks[m->blocks[i]]))
            return; /* it waits */
    for (unsigned i = 0; is_touch && i < m->count; i++)
        touch_note(&s->touches, &w->blocks[m->blocks[i]], m->epoch);
    m->stage = STAGE_TOUCHED;
}

/* A copy of a copy that can be counted on can be, if what protects that one protects this one too. */
static void count_copy(struct world *w, const struct message *m, unsigned block)
{
    bool is_named = metastore_now(w).named & BIT(block);
    if (is_named && m->named_times == w->named_times[block] && (w->counted[block] & BIT(m->from)) &&
        m->epoch >= w->count_epoch[block])
        w->counted[block] |= BIT(m->to);
}

static void look(struct world *w, struct message *m)
{
    struct server *s = &w->servers[m->to];
    m->stage = STAGE_DONE;
    for (unsigned i = 0; i < m->count; i++) {
        unsigned block = m->blocks[i], bit = BIT(block);
        switch (m->kind) {
        case MESSAGE_PUT:
            if ((s->bad & bit) && !PLANTED(REPAIR_PUT_IS_UNREAD)) {
                s->bad &= ~bit;
                s->mended |= s->synced & bit;
            }
            s->here |= bit; /* not synced yet, if it is new, or is written anew */
            m->present[i] = true;
            break;
        case MESSAGE_COPY:
            s->here |= bit;
            s->synced |= bit;
            if (!PLANTED(REPAIR_PUT_IS_UNREAD))
                s->bad &= ~bit;
            s->mended &= ~bit;
            w->copies++;
            count_copy(w, m, block);
            break;
        case MESSAGE_SURE:
            m->present[i] = PLANTED(REPAIR_SURE_IS_UNREAD) ? (s->here & bit) != 0 : server_readable(s, block);
            break;
        case MESSAGE_GET:
            m->present[i] = (s->here & bit) != 0;
            m->good = !(s->bad & bit);
            break;
        default:
            m->present[i] = (s->here & bit) != 0;
        }
    }
    bool syncs = m->kind == MESSAGE_SURE && !PLANTED(REPAIR_SURE_IS_UNSYNCED);
    if (syncs)
        server_sync(s);
}

static void finish(struct world *w, struct message *m)
{
    struct server *s = &w->servers[m->to];
    if (is_from_client(m)) /* whose barrier comes after its puts */
        server_sync(s);
    if (m->kind == MESSAGE_SURE)
        m->map_version = repair_mark_version(&s->removals, s->map.version, m->mark);
    m->stage = STAGE_ANSWER;
}

/* Puts and answers that can be counted on: it is so from the moment on at which the server has done it. */
static void step_at_server(struct world *w, unsigned at)
{
    struct message *m = &w->messages[at];
    struct server *s = &w->servers[m->to];
    if (!s->up || (m->stage > STAGE_SENT && m->life != s->life)) {
        message_lose(w, at);
        return;
    }
    if (s->requests_stall)
        return;
    switch (m->stage) {
    case STAGE_SENT:
        m->life = s->life;
        m->mark = repair_mark_of(&s->removals, s->map.version);
        m->stage = STAGE_MARKED;
        break;
    case STAGE_MARKED:
        touch_all(w, m);
        break;
    case STAGE_TOUCHED:
        look(w, m);
        break;
    default:
        finish(w, m);
    }
}

/* Often one goes through several stages before anything else happens, or little would come to an end. */
void message_step(struct world *w)
{
    bool goes_on = w->message_count > 0;
    unsigned at = goes_on ? below(w, w->message_count) : 0, number = goes_on ? w->messages[at].number : 0;
    while (goes_on && at < w->message_count && w->messages[at].number == number) {
        struct message *m = &w->messages[at];
        goes_on = below(w, 100) < 70;
        if (chance(w, 1)) {
            message_lose(w, at);
            return;
        }
        if (m->kind == MESSAGE_COMMIT || m->stage == STAGE_ANSWER) {
            struct message done = take(w, at);
            if (done.kind == MESSAGE_COMMIT)
                client_commit_arrives(w, &done);
            else
                answer(w, &done, true);
            return;
        }
        step_at_server(w, at);
    }
}
