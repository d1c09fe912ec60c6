/* Time: events in the order of their moments. */
#include "tests/sim/world.h"

#include <string.h>

#include "base/check.h"
#include "tests/sim/checks.h"
#include "tests/sim/client.h"
#include "tests/sim/faults.h"
#include "tests/sim/levels.h"
#include "tests/sim/member.h"
#include "tests/sim/workload.h"

#define STEPS_MAX UINT64_C(5000000) /* a seed that does not end is a fault too */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct world *w, struct event *e)
{
    if (w->heap_size == w->heap_room) {
        w->heap_room = MAX(2 * w->heap_room, (size_t)256);
        w->heap = mem_realloc(w->heap, w->heap_room * sizeof *w->heap);
    }
    size_t at = w->heap_size++;
    for (; at > 0 && is_before(e, w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = e;
}

static struct event *heap_pop(struct world *w)
{
    struct event *first = w->heap[0], *last = w->heap[--w->heap_size];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->heap_size; at = child) {
        if (child + 1 < w->heap_size && is_before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!is_before(w->heap[child], last))
            break;
        w->heap[at] = w->heap[child];
    }
    if (w->heap_size > 0)
        w->heap[at] = last;
    return first;
}

void world_at(struct world *w, int64_t at_ns, struct event *e)
{
    e->at_ns = MAX(at_ns, w->now_ns);
    e->order = ++w->order;
    heap_push(w, e);
}

void world_after(struct world *w, int64_t delay_ns, struct event *e)
{
    world_at(w, w->now_ns + delay_ns, e);
}

static void drop(struct event *e)
{
    if (e->drop)
        e->drop(e);
    else
        free(e);
}

static void carry_out(struct world *w, struct event *e)
{
    struct member *m = e->member == WORLD_NOBODY ? NULL : w->members[e->member];
    if (m && e->life != 0 && e->life != m->life) {
        drop(e);
        return;
    }
    if (m && m->paused_until_ns > w->now_ns) {
        /* What has piled up meanwhile comes in any order: a request may be read before a timer that is long due. */
        world_at(w, m->paused_until_ns + world_between_ns(w, 0, NS_PER_MS), e);
        return;
    }
    w->steps++;
    e->run(w, e);
    drop(e);
    if (m)
        checks_member(w, m);
}

static void run_until(struct world *w, int64_t end_ns)
{
    while (w->heap_size > 0 && w->heap[0]->at_ns <= end_ns) {
        struct event *e = heap_pop(w);
        w->now_ns = e->at_ns;
        carry_out(w, e);
        if (w->steps > STEPS_MAX)
            world_fail(w, "no end after %llu steps", (unsigned long long)w->steps);
    }
    w->now_ns = end_ns;
}

/* Until all is well, or until it should have been. */
static void run_heal(struct world *w)
{
    int64_t end_ns = w->now_ns + w->plan.heal_ns;
    faults_heal(w);
    while (!checks_recovered(w)) {
        if (w->now_ns >= end_ns)
            checks_explain_stuck(w);
        run_until(w, w->now_ns + 50 * NS_PER_MS);
    }
}

void world_run(struct world *w, uint64_t seed, const char *base, bool levels, bool trace_lines)
{
    *w = (struct world){.seed = seed, .plan.levels = levels, .trace = trace_lines, .out = stdout};
    trace_attach(w);
    prng_seed(&w->prng, seed);
    (void)prng_next(&w->prng);
    snprintf(w->directory, sizeof w->directory, "%s", base);
    faults_plan(w);
    for (unsigned i = 0; i < WORLD_ENDPOINTS; i++)
        for (unsigned j = 0; j < WORLD_ENDPOINTS; j++)
            w->links[i][j].slow = 1;
    checks_init(w);
    workload_init(w);
    for (unsigned i = 0; i < w->plan.members + w->plan.spares; i++)
        member_new(w);
    for (unsigned i = 0; i < w->plan.clients; i++)
        client_new(w);
    faults_begin(w);
    if (levels)
        levels_begin(w);
    run_until(w, w->plan.faults_ns);
    run_heal(w);
    checks_end(w);
    trace(w, WORLD_NOBODY, "end after %llu steps", (unsigned long long)w->steps);
}

void world_free(struct world *w)
{
    w->over = true;
    for (unsigned i = 0; i < w->client_count; i++)
        client_free(w, w->clients[i]);
    for (unsigned i = 0; i < w->member_count; i++)
        member_free(w, w->members[i]);
    while (w->heap_size > 0)
        drop(heap_pop(w));
    free(w->heap);
    workload_free(w);
    checks_free(w);
    trace_attach(NULL);
}
