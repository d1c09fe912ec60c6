#include "durability/merge.h"

#include <string.h>

#include "base/mem.h"

#define ABSENT UINT32_MAX

/* A put that is kept. */
struct vertex {
    struct durability_put put;
    uint32_t *at;    /* its place in each copy; ABSENT */
    unsigned before; /* vertices that lead to it and are not ordered yet */
    bool ordered;
};

struct graph {
    struct vertex *vertices; /* by name */
    unsigned count, copy_count, kept;
    size_t words;    /* of a row */
    uint64_t *edges; /* a row of bits for each vertex: whom it is before */
};

static int compare_names(const void *a, const void *b)
{
    const struct vertex *x = a, *y = b;
    if (x->put.session != y->put.session)
        return x->put.session < y->put.session ? -1 : 1;
    return x->put.seq < y->put.seq ? -1 : x->put.seq > y->put.seq;
}

static bool bit(const struct graph *g, const uint64_t *rows, unsigned from, unsigned to)
{
    return rows[from * g->words + to / 64] >> (to % 64) & 1;
}

/* All puts of all copies, those of one name put together; then only those that enough copies have. */
static void collect(struct graph *g, const struct durability_copy *copies, struct arena *a)
{
    uint64_t settled = 0;
    unsigned total = 0, names = 0;
    for (unsigned c = 0; c < g->copy_count; c++) {
        settled = MAX(settled, copies[c].settled);
        total += copies[c].count;
    }
    struct vertex *all = arena_zalloc(a, (total + (size_t)1) * sizeof *all);
    total = 0;
    for (unsigned c = 0; c < g->copy_count; c++)
        for (unsigned i = 0; i < copies[c].count; i++) {
            if (copies[c].puts[i].term < settled)
                continue;
            struct vertex *v = &all[total++];
            v->put = copies[c].puts[i];
            v->at = arena_alloc(a, g->copy_count * sizeof *v->at);
            memset(v->at, 0xff, g->copy_count * sizeof *v->at);
            v->at[c] = i;
        }
    qsort(all, total, sizeof *all, compare_names);
    for (unsigned i = 0; i < total; i++) {
        if (names > 0 && compare_names(&all[names - 1], &all[i]) == 0) {
            for (unsigned c = 0; c < g->copy_count; c++)
                all[names - 1].at[c] = MIN(all[names - 1].at[c], all[i].at[c]);
            continue;
        }
        all[names++] = all[i];
    }
    g->vertices = all;
    for (unsigned i = 0; i < names; i++) {
        unsigned have = 0;
        for (unsigned c = 0; c < g->copy_count; c++)
            have += all[i].at[c] != ABSENT;
        if (have >= g->kept)
            all[g->count++] = all[i];
    }
}

/* A put that is absent comes behind all that are there, so that one comparison says both. */
static bool leads_to(const struct graph *g, const struct vertex *from, const struct vertex *to)
{
    unsigned votes = 0;
    for (unsigned c = 0; c < g->copy_count; c++)
        votes += from->at[c] < to->at[c];
    return votes >= g->kept;
}

static void connect(struct graph *g, struct arena *a)
{
    g->words = (g->count + 63) / 64;
    g->edges = arena_zalloc(a, g->count * g->words * sizeof *g->edges + 1);
    for (unsigned i = 0; i < g->count; i++)
        for (unsigned j = 0; j < g->count; j++)
            if (i != j && leads_to(g, &g->vertices[i], &g->vertices[j])) {
                g->edges[i * g->words + j / 64] |= UINT64_C(1) << (j % 64);
                g->vertices[j].before++;
            }
}

/* Who leads to whom by any number of steps, among those that are not ordered yet. */
static uint64_t *reach(const struct graph *g)
{
    size_t size = g->count * g->words * sizeof(uint64_t);
    uint64_t *rows = mem_dup(g->edges, size);
    for (unsigned by = 0; by < g->count; by++)
        for (unsigned i = 0; i < g->count && !g->vertices[by].ordered; i++)
            if (!g->vertices[i].ordered && bit(g, rows, i, by))
                for (size_t w = 0; w < g->words; w++)
                    rows[i * g->words + w] |= rows[by * g->words + w];
    return rows;
}

/* Everything that is left has something before it: the first of a circle that nothing outside of it leads to. */
static unsigned break_circle(const struct graph *g)
{
    _cleanup_free_ uint64_t *rows = reach(g);
    for (unsigned i = 0; i < g->count; i++) {
        bool first = !g->vertices[i].ordered;
        for (unsigned j = 0; j < g->count && first; j++)
            first = g->vertices[j].ordered || !bit(g, rows, j, i) || bit(g, rows, i, j);
        if (first)
            return i;
    }
    abort(); /* a finite graph has such a circle */
}

static unsigned next(const struct graph *g)
{
    for (unsigned i = 0; i < g->count; i++)
        if (!g->vertices[i].ordered && g->vertices[i].before == 0)
            return i;
    return break_circle(g);
}

unsigned durability_merge(const struct durability_copy *copies, unsigned copy_count, unsigned kept, struct arena *a,
                          struct durability_put **ret)
{
    struct graph g = {.copy_count = copy_count, .kept = kept};
    collect(&g, copies, a);
    connect(&g, a);
    struct durability_put *order = arena_alloc(a, (g.count + (size_t)1) * sizeof *order);
    for (unsigned n = 0; n < g.count; n++) {
        unsigned at = next(&g);
        g.vertices[at].ordered = true;
        order[n] = g.vertices[at].put;
        for (unsigned j = 0; j < g.count; j++)
            if (bit(&g, g.edges, at, j) && !g.vertices[j].ordered)
                g.vertices[j].before--;
    }
    *ret = order;
    return g.count;
}
