/* search.c: is there an order? Depth first over the operations that may come next, as Wing & Gong, remembering the
 * configurations (which operations are done, and the state) that were visited, as Lowe. What keeps it short:
 *
 * - An operation that fits and by its answer only looks is done at once, without an alternative: in any order that
 * completes the configuration it can be moved to the front, for what must come before it is done already.
 * - An open operation is tried last and only where it changes something; of open operations with equal calls the
 * earliest is tried, since it can stand wherever a later one can.
 * - At first not more than one, then three open operations in a row are allowed. Most histories need no more, and how
 * many orders there are of many open operations is out of all bounds.
 * - A configuration that differs from one that was visited only in having used up more open operations can't lead to
 * more, and is left out.
 * - What is done and the state are remembered as a fingerprint of 128 bits, made by exclusive or of a random number for
 *   each answered operation done and a hash of the state. Among the at most 2^32 of a run, two that collide by accident
 * (the one thing that could make this call a good history bad) are less likely than a wrong bit from the hardware. */
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/prng.h"
#include "tests/lin/internal.h"

#define COMPARED_PER_CONFIGURATION 32u /* sets that are compared in the time that a configuration takes */

/* A call or an answer, in a list in order of time; open operations have no answer. */
struct event {
    struct event *previous, *next;
    struct event *answer; /* of a call; NULL when open, and of an answer */
    const struct lin_op *op;
    size_t twin;   /* of the call of an open operation: 1 + the number of the one before with the same call; or 0 */
    size_t number; /* into search.done and marks, of the operation */
    size_t open_number; /* of an open operation among those */
    size_t position;    /* in time */
    bool is_answer;
};

struct fingerprint {
    uint64_t high, low;
};

struct place {
    struct fingerprint print;
    size_t first; /* 1 + the number of the first set of open operations with which it was visited */
};

/* A set has `words` words, behind one with 1 + the number of the next set at the same place. */
struct visited {
    struct place *places;
    size_t count, capacity; /* capacity: a power of two */
    uint64_t *sets;
    size_t set_count, set_capacity, words;
    uint64_t compared; /* sets with one another, ever */
};

/* One operation that was done, and what to return to. */
struct step {
    struct event *event;
    union lin_state before;
    bool forced; /* without an alternative */
};

struct search {
    lin_step_function *step;
    struct event head; /* of the list */
    struct event *events;
    struct fingerprint *marks; /* of each operation */
    bool *done;
    uint64_t *used; /* a bit for each open operation that is done; visited.words words */
    size_t open_count;
    struct step *steps;
    size_t step_count, answers_left;
    union lin_state state;
    struct fingerprint mask;
    struct visited visited;
    uint64_t configurations, budget;
    size_t row_max; /* open operations in a row that are allowed */
    /* The furthest that any order came: the first answer that it could not explain. */
    size_t furthest;
    const struct lin_op *furthest_op;
    union lin_state furthest_state;
};

/* -- visited configurations */

static struct place *place_of(struct place *places, size_t capacity, struct fingerprint f)
{
    size_t i = f.low & (capacity - 1);
    while (places[i].first && (places[i].print.high != f.high || places[i].print.low != f.low))
        i = (i + 1) & (capacity - 1);
    return &places[i];
}

static void grow_places(struct visited *v)
{
    size_t capacity = MAX(1024, 2 * v->capacity);
    struct place *places = mem_zalloc(capacity * sizeof *places);
    for (size_t i = 0; i < v->capacity; i++)
        if (v->places[i].first)
            *place_of(places, capacity, v->places[i].print) = v->places[i];
    free(v->places);
    v->places = places;
    v->capacity = capacity;
}

static bool is_subset(const uint64_t *part, const uint64_t *whole, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (part[i] & ~whole[i])
            return false;
    return true;
}

/* False: it was visited with these open operations used, or fewer of them. */
static bool visit(struct visited *v, struct fingerprint f, const uint64_t *used)
{
    if (2 * (v->count + 1) > v->capacity)
        grow_places(v);
    struct place *place = place_of(v->places, v->capacity, f);
    for (size_t set = place->first; set; set = (size_t)v->sets[(set - 1) * (v->words + 1)], v->compared++)
        if (is_subset(&v->sets[(set - 1) * (v->words + 1) + 1], used, v->words))
            return false;
    if (v->set_count == v->set_capacity) {
        v->set_capacity = MAX(1024, 2 * v->set_capacity);
        v->sets = mem_realloc(v->sets, v->set_capacity * (v->words + 1) * sizeof *v->sets);
    }
    uint64_t *set = &v->sets[v->set_count * (v->words + 1)];
    set[0] = place->first;
    memcpy(set + 1, used, v->words * sizeof *used);
    v->count += place->first == 0;
    *place = (struct place){.print = f, .first = ++v->set_count};
    return true;
}

static uint64_t *flip_used(struct search *s, const struct event *e)
{
    s->used[e->open_number / 64] ^= UINT64_C(1) << e->open_number % 64;
    return s->used;
}

/* Whether what would come of doing e is new. */
static bool visit_next(struct search *s, const struct event *e, const union lin_state *after)
{
    struct slice bytes = SLICE(after->bytes, sizeof after->bytes);
    struct fingerprint f = {s->mask.high ^ checksum64(bytes, 1), s->mask.low ^ checksum64(bytes, 2)};
    if (e->answer) {
        f.high ^= s->marks[e->number].high;
        f.low ^= s->marks[e->number].low;
        return visit(&s->visited, f, s->used);
    }
    bool is_new = visit(&s->visited, f, flip_used(s, e));
    flip_used(s, e);
    return is_new;
}

/* -- doing and undoing */

static void take_out(struct event *e)
{
    e->previous->next = e->next;
    if (e->next)
        e->next->previous = e->previous;
}

static void put_back(struct event *e)
{
    e->previous->next = e;
    if (e->next)
        e->next->previous = e;
}

static void flip(struct search *s, struct event *e)
{
    if (e->answer) {
        s->mask.high ^= s->marks[e->number].high;
        s->mask.low ^= s->marks[e->number].low;
    } else {
        flip_used(s, e);
    }
    s->done[e->number] = !s->done[e->number];
}

static void do_step(struct search *s, struct event *e, const union lin_state *after, bool forced)
{
    s->steps[s->step_count++] = (struct step){.event = e, .before = s->state, .forced = forced};
    s->state = *after;
    flip(s, e);
    take_out(e);
    if (e->answer) {
        take_out(e->answer);
        s->answers_left--;
    }
}

static struct event *undo_step(struct search *s)
{
    struct step *step = &s->steps[--s->step_count];
    struct event *e = step->event;
    if (e->answer) {
        put_back(e->answer);
        s->answers_left++;
    }
    put_back(e);
    flip(s, e);
    s->state = step->before;
    return e;
}

/* -- the search */

/* Whether it changes nothing wherever it fits. A write of the value that is there already is not meant: elsewhere in
 * the order it would change something, and others may need that. */
static bool only_looks(const struct lin_op *op)
{
    enum lin_verb verb = op->call.verb;
    return op->answer.error != ERR_OK || verb == LIN_READ || verb == LIN_LOOKUP ||
           (verb == LIN_OPEN && op->answer.value != LIN_UNSEEN && op->answer.value != op->call.a);
}

/* Does all that fits and only looks. Once over the list is enough: the state stays, and what becomes possible when an
 * answer is taken out stands behind it. */
static void settle(struct search *s)
{
    for (struct event *e = s->head.next, *next; e && !e->is_answer; e = next) {
        next = e->next;
        if (!e->answer || !only_looks(e->op))
            continue;
        union lin_state after = s->state;
        if (!s->step(&after, e->op))
            continue;
        if (next == e->answer)
            next = next->next;
        do_step(s, e, &s->state, true);
    }
}

static void note_how_far(struct search *s)
{
    const struct event *e = s->head.next;
    while (e && !e->is_answer)
        e = e->next;
    if (e && e->position > s->furthest) {
        s->furthest = e->position;
        s->furthest_op = e->op;
        s->furthest_state = s->state;
    }
}

static bool may_try(const struct search *s, const struct event *e, bool open)
{
    if (open ? e->answer != NULL : e->answer == NULL || only_looks(e->op))
        return false;
    return !open || e->twin == 0 || s->done[e->twin - 1];
}

/* Whether another open operation is allowed now. */
static bool may_open(const struct search *s)
{
    size_t row = 0;
    while (row < s->step_count && row < s->row_max && !s->steps[s->step_count - 1 - row].event->answer)
        row++;
    return row < s->row_max;
}

/* Does one operation that doesn't only look, behind `last` in the order of trying (NULL: any); false: none is left. */
static bool branch(struct search *s, struct event *last)
{
    unsigned passes = may_open(s) ? 2 : 1;
    for (unsigned pass = last && !last->answer; pass < passes; pass++, last = NULL)
        for (struct event *e = last ? last->next : s->head.next; e && !e->is_answer; e = e->next) {
            if (!may_try(s, e, pass == 1))
                continue;
            union lin_state after = s->state;
            if (!s->step(&after, e->op) || (pass == 1 && memcmp(&after, &s->state, sizeof after) == 0) ||
                !visit_next(s, e, &after))
                continue;
            s->configurations++;
            do_step(s, e, &after, false);
            return true;
        }
    return false;
}

static enum lin_verdict run_limited(struct search *s)
{
    struct event *last = NULL;
    for (;;) {
        if (!last) {
            settle(s);
            if (s->answers_left == 0)
                return LIN_OK;
            note_how_far(s);
        }
        if (s->configurations + s->visited.compared / COMPARED_PER_CONFIGURATION >= s->budget)
            return LIN_UNKNOWN;
        if (branch(s, last)) {
            last = NULL;
            continue;
        }
        while (s->step_count > 0 && s->steps[s->step_count - 1].forced)
            undo_step(s);
        if (s->step_count == 0)
            return LIN_BAD;
        last = undo_step(s);
    }
}

static enum lin_verdict run(struct search *s)
{
    static const size_t rows[] = {1, 3, SIZE_MAX};
    enum lin_verdict verdict = LIN_BAD;
    for (size_t i = 0; i < ARRAY_SIZE(rows) && verdict == LIN_BAD; i++) {
        if (s->visited.capacity) {
            memset(s->visited.places, 0, s->visited.capacity * sizeof *s->visited.places);
            s->visited.count = s->visited.set_count = 0;
        }
        s->row_max = rows[i];
        verdict = run_limited(s);
        if (s->open_count == 0)
            break; /* nothing was left out */
    }
    return verdict;
}

/* -- events in order of time */

struct moment {
    int64_t time;
    const struct lin_op *op;
    size_t number;
    bool is_answer;
};

/* Calls before answers of the same time: those operations overlap. */
static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->is_answer != y->is_answer)
        return x->is_answer - y->is_answer;
    return (x->number > y->number) - (x->number < y->number);
}

static struct moment *moments_of(const struct lin_object *o, size_t *ret_count)
{
    struct moment *moments = mem_alloc((2 * o->count + 1) * sizeof *moments);
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        moments[count++] = (struct moment){o->ops[i]->invoked, o->ops[i], i, false};
        if (!lin_is_open(o->ops[i]))
            moments[count++] = (struct moment){o->ops[i]->returned, o->ops[i], i, true};
    }
    qsort(moments, count, sizeof *moments, compare_moments);
    *ret_count = count;
    return moments;
}

static bool same_call(const struct lin_call *a, const struct lin_call *b)
{
    return a->verb == b->verb && a->name == b->name && a->new_name == b->new_name && a->a == b->a && a->b == b->b;
}

/* Operations whose answer is behind the cut count as open, with a copy that says so. */
struct cut {
    const struct moment *moments;
    size_t events;
    struct lin_op *open; /* by number; room for those that became open */
};

static void link_events(struct search *s, const struct cut *cut, size_t operations)
{
    _cleanup_free_ struct event **calls = mem_zalloc((operations + 1) * sizeof *calls);
    struct event *tail = &s->head;
    for (size_t i = 0; i < cut->events; i++) {
        const struct moment *m = &cut->moments[i];
        struct event *e = &s->events[i];
        *e = (struct event){
            .previous = tail, .op = m->op, .number = m->number, .position = i, .is_answer = m->is_answer};
        tail->next = e;
        tail = e;
        if (m->is_answer) {
            calls[m->number]->answer = e;
            s->answers_left++;
        } else {
            calls[m->number] = e;
        }
    }
    for (size_t i = 0; i < operations; i++) {
        struct event *e = calls[i];
        if (!e || e->answer)
            continue;
        cut->open[i] = *e->op;
        cut->open[i].returned = LIN_OPEN_TIME;
        e->op = &cut->open[i];
        e->open_number = s->open_count++;
        for (size_t k = i; k-- > 0 && !e->twin;)
            if (calls[k] && !calls[k]->answer && same_call(&calls[k]->op->call, &e->op->call))
                e->twin = k + 1;
    }
}

/* The first `events` of the moments. */
static enum lin_verdict search_cut(const struct lin_object *o, lin_step_function *step, const struct moment *moments,
                                   size_t events, uint64_t budget, struct lin_finding *ret)
{
    _cleanup_free_ struct event *room = mem_alloc((events + 1) * sizeof *room);
    _cleanup_free_ struct fingerprint *marks = mem_alloc((o->count + 1) * sizeof *marks);
    _cleanup_free_ bool *done = mem_zalloc(o->count + 1);
    _cleanup_free_ struct step *steps = mem_alloc((o->count + 1) * sizeof *steps);
    _cleanup_free_ struct lin_op *open = mem_alloc((o->count + 1) * sizeof *open);
    struct search s = {.step = step, .events = room, .marks = marks, .done = done, .steps = steps, .budget = budget};
    struct prng p;
    prng_seed(&p, 1);
    for (size_t i = 0; i < o->count; i++)
        marks[i] = (struct fingerprint){prng_next(&p), prng_next(&p)};
    link_events(&s, &(struct cut){moments, events, open}, o->count);
    s.visited.words = s.open_count / 64 + 1;
    s.used = mem_zalloc(s.visited.words * sizeof *s.used);
    enum lin_verdict verdict = run(&s);
    free(s.used);
    free(s.visited.places);
    free(s.visited.sets);
    ret->configurations += s.configurations;
    if (verdict == LIN_BAD) {
        CHECK(s.furthest_op);
        ret->culprit = s.furthest_op;
        ret->before = s.furthest_state;
        ret->events = s.furthest + 1;
    }
    return verdict;
}

void lin_search(const struct lin_object *o, lin_step_function *step, uint64_t budget, struct lin_finding *ret)
{
    size_t count;
    _cleanup_free_ struct moment *moments = moments_of(o, &count);
    *ret = (struct lin_finding){0};
    ret->verdict = search_cut(o, step, moments, count, budget, ret);
    if (ret->verdict != LIN_BAD)
        return;
    /* A beginning of a linearizable history is linearizable, so halving finds the shortest bad one. It isn't shorter
     * than what some order explained, and often no longer. A beginning that is too much for the budget counts as good.
     */
    size_t good = ret->events - 1, bad = count, middle = ret->events;
    struct lin_finding shorter = {0};
    for (; bad - good > 1; middle = good + (bad - good) / 2) {
        shorter.verdict = search_cut(o, step, moments, middle, budget, &shorter);
        if (shorter.verdict == LIN_BAD)
            bad = middle;
        else
            good = middle;
    }
    shorter.configurations += ret->configurations;
    if (shorter.culprit) {
        search_cut(o, step, moments, bad, budget, &shorter);
        shorter.verdict = LIN_BAD;
        *ret = shorter;
    }
    ret->events = bad;
    ret->culprit = moments[bad - 1].op;
}
