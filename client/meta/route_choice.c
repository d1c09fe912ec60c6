#include "client/meta/route_choice.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define AVOID_SILENT_NS (3 * NS_PER_S / 2) /* followers name a dead leader until they have elected another */
#define AVOID_UNREACHABLE_NS (200 * NS_PER_MS)
#define AT_ONCE_MAX 3u /* members that name each other are not followed for ever without a pause */

void route_choice_init(struct route_choice *c, size_t count)
{
    CHECK(count <= ROUTE_MEMBERS);
    memset(c, 0, sizeof *c);
    c->count = count;
}

size_t route_choice_add(struct route_choice *c)
{
    return c->count < ROUTE_MEMBERS ? c->count++ : ROUTE_NOBODY;
}

static size_t next_in_turn(const struct route_choice *c, size_t failed, int64_t now_ns)
{
    for (size_t i = 1; i < c->count; i++)
        if (c->avoid_until_ns[(failed + i) % c->count] <= now_ns)
            return (failed + i) % c->count;
    return (failed + 1) % c->count;
}

void route_choice_served(struct route_choice *c, size_t member, int64_t now_ns)
{
    CHECK(member < c->count);
    c->served_ns[member] = now_ns;
}

static enum route_verdict move_on(struct route_choice *c, const struct route_failure *f, int64_t now_ns)
{
    c->trouble[f->asked] = f->error;
    if (!f->detailed && (f->error == ERR_TIMEOUT || f->error == ERR_UNREACHABLE))
        c->avoid_until_ns[f->asked] = now_ns + (f->error == ERR_TIMEOUT ? AVOID_SILENT_NS : AVOID_UNREACHABLE_NS);
    bool named = f->leader != ROUTE_NOBODY && f->leader != f->asked && c->avoid_until_ns[f->leader] <= now_ns;
    if (c->current == f->asked)
        c->current = named ? f->leader : next_in_turn(c, f->asked, now_ns);
    return named ? ROUTE_AT_ONCE : ROUTE_LATER;
}

enum route_verdict route_choice_failed(struct route_choice *c, const struct route_failure *f, int64_t now_ns)
{
    CHECK(f->asked < c->count && (f->leader < c->count || f->leader == ROUTE_NOBODY));
    /* A connection that can't be used says nothing about the other members. */
    if (!f->answered && f->error == ERR_TOO_BIG)
        return ROUTE_END;
    /* An answer that waits for other mounts takes up to a lease term (replica/leases.h). Were its server taken for
     * dead, this mount would ask elsewhere for its notices and renewals too, and so let others wait. */
    if (!f->answered && f->error == ERR_TIMEOUT && c->served_ns[f->asked] > f->begun_ns) {
        c->trouble[f->asked] = f->error;
        return ROUTE_LATER;
    }
    if (!f->answered) {
        (void)move_on(c, f, now_ns);
        return ROUTE_LATER;
    }
    switch (err_class(f->error)) {
    case ERR_CLASS_LEADER:
        return move_on(c, f, now_ns);
    case ERR_CLASS_WAIT:
        /* One that is only overloaded is still the right one. */
        if (f->error != ERR_BUSY_NOW)
            (void)move_on(c, f, now_ns);
        return ROUTE_LATER;
    case ERR_CLASS_RETRY:
        return ROUTE_LATER;
    default:
        return ROUTE_END;
    }
}

void route_patience_init(struct route_patience *p)
{
    *p = (struct route_patience){.try_ns = ROUTE_TRY_NS};
}

int64_t route_patience_pause_ns(struct route_patience *p, enum err error, enum route_verdict verdict, struct prng *prng)
{
    if (error == ERR_TIMEOUT && p->timeouts++ > 0)
        p->try_ns = MIN(p->try_ns * 2, ROUTE_TRY_MAX_NS);
    p->failures++;
    if (p->failures == 1 || (verdict == ROUTE_AT_ONCE && p->failures <= AT_ONCE_MAX))
        return 0;
    p->backoff_ns = p->backoff_ns ? MIN(p->backoff_ns * 2, ROUTE_BACKOFF_MAX_NS) : ROUTE_BACKOFF_MIN_NS;
    return (int64_t)prng_between(prng, (uint64_t)p->backoff_ns / 2, (uint64_t)p->backoff_ns);
}
