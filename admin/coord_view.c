#include "admin/coord_view.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define GAIN_SMOOTHED 8 /* RFC 6298 section 2 */
#define GAIN_DEVIATION 4
#define DEVIATIONS 4

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct coord_member *)a)->id, y = ((const struct coord_member *)b)->id;
    return (x > y) - (x < y);
}

void coord_view_init(struct coord_view *v, const uint32_t *ids, unsigned count, unsigned lost_max)
{
    CHECK(count <= LIMIT_NODES && lost_max > 0);
    *v = (struct coord_view){.lost_max = lost_max, .version = 1, .count = count};
    for (unsigned i = 0; i < count; i++)
        v->members[i] = (struct coord_member){.id = ids[i], .timeout_ns = COORD_TIMEOUT_FIRST_NS};
    qsort(v->members, count, sizeof v->members[0], by_id);
}

struct coord_member *coord_view_find(struct coord_view *v, uint32_t id)
{
    for (unsigned i = 0; i < v->count; i++)
        if (v->members[i].id == id)
            return &v->members[i];
    return NULL;
}

static int64_t clamp(int64_t ns)
{
    return MAX(COORD_TIMEOUT_MIN_NS, MIN(ns, COORD_TIMEOUT_FIRST_NS));
}

static void take_time(struct coord_member *m, int64_t took_ns)
{
    if (m->smoothed_ns == 0) {
        m->smoothed_ns = took_ns;
        m->deviation_ns = took_ns / 2;
    } else {
        m->deviation_ns += (llabs(m->smoothed_ns - took_ns) - m->deviation_ns) / GAIN_DEVIATION;
        m->smoothed_ns += (took_ns - m->smoothed_ns) / GAIN_SMOOTHED;
    }
    m->timeout_ns = clamp(m->smoothed_ns + DEVIATIONS * m->deviation_ns);
}

static void enter(struct coord_view *v, struct coord_member *m, enum coord_state state)
{
    if (m->state == state)
        return;
    m->state = state;
    v->version++;
}

void coord_view_heard(struct coord_view *v, uint32_t id, int64_t took_ns, const struct coord_answer *answer)
{
    struct coord_member *m = coord_view_find(v, id);
    if (!m)
        return;
    take_time(m, took_ns);
    m->lost = 0;
    bool was_cut_off = m->cut_off >= COORD_CUT_OFF;
    m->cut_off = answer->leads && !answer->hears_majority ? MIN(m->cut_off + 1, COORD_CUT_OFF) : 0;
    if (m->answer.leads != answer->leads || m->answer.term != answer->term ||
        was_cut_off != (m->cut_off >= COORD_CUT_OFF))
        v->version++;
    m->answer = *answer;
    enter(v, m, answer->in_service ? COORD_ALIVE : COORD_FAILED);
}

void coord_view_lost(struct coord_view *v, uint32_t id)
{
    struct coord_member *m = coord_view_find(v, id);
    if (!m)
        return;
    m->lost++;
    m->timeout_ns = clamp(m->timeout_ns * 2);
    if (m->lost >= v->lost_max)
        enter(v, m, COORD_FAILED);
}

unsigned coord_view_alive(const struct coord_view *v)
{
    unsigned alive = 0;
    for (unsigned i = 0; i < v->count; i++)
        alive += v->members[i].state == COORD_ALIVE;
    return alive;
}

bool coord_view_has_majority(const struct coord_view *v)
{
    return v->count > 0 && coord_view_alive(v) >= v->count / 2 + 1;
}

const struct coord_member *coord_view_leader(const struct coord_view *v)
{
    const struct coord_member *leader = NULL;
    for (unsigned i = 0; i < v->count; i++) {
        const struct coord_member *m = &v->members[i];
        if (m->state == COORD_ALIVE && m->answer.leads && m->cut_off < COORD_CUT_OFF &&
            (!leader || m->answer.term > leader->answer.term))
            leader = m;
    }
    return leader;
}

bool coord_view_wants_leader(const struct coord_view *v)
{
    for (unsigned i = 0; i < v->count; i++)
        if (v->members[i].state == COORD_UNKNOWN)
            return false;
    return coord_view_has_majority(v) && !coord_view_leader(v);
}

static int best_first(const void *a, const void *b)
{
    const struct coord_member *x = *(const struct coord_member *const *)a, *y = *(const struct coord_member *const *)b;
    bool x_cut = x->cut_off >= COORD_CUT_OFF, y_cut = y->cut_off >= COORD_CUT_OFF;
    if (x_cut != y_cut)
        return x_cut - y_cut;
    if (x->answer.last_term != y->answer.last_term)
        return x->answer.last_term > y->answer.last_term ? -1 : 1;
    if (x->answer.last != y->answer.last)
        return x->answer.last > y->answer.last ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

unsigned coord_view_candidates(const struct coord_view *v, const struct coord_member *ret[LIMIT_NODES])
{
    unsigned count = 0;
    for (unsigned i = 0; i < v->count; i++)
        if (v->members[i].state == COORD_ALIVE)
            ret[count++] = &v->members[i];
    qsort(ret, count, sizeof ret[0], best_first);
    return count;
}
