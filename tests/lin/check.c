/* check.c: a history is taken apart into objects, and what is wrong with one of them is put into words. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lin/internal.h"

#define SHOW_BEFORE 8u   /* operations of a bad history that had ended before what overlaps with the culprit */
#define SHOW_OVERLAP 30u /* and that overlap */

/* By object, and in order of calls within it. */
static int compare_ops(const void *a, const void *b)
{
    const struct lin_op *x = *(const struct lin_op *const *)a, *y = *(const struct lin_op *const *)b;
    if (x->call.object != y->call.object)
        return x->call.object < y->call.object ? -1 : 1;
    if (x->invoked != y->invoked)
        return x->invoked < y->invoked ? -1 : 1;
    return (x > y) - (x < y);
}

/* An operation that certainly had no effect, or could have none that anybody sees, is not part of the order. */
static bool takes_part(const struct lin_op *op)
{
    enum lin_verb verb = op->call.verb;
    if (lin_is_open(op))
        return verb != LIN_READ && verb != LIN_LOOKUP && verb != LIN_LIST_ALL;
    return lin_error_is_answer(verb, op->answer.error);
}

/* -- words */

struct words {
    char *to;
    size_t size, used;
};

static void say(struct words *w, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct words *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->to + w->used, w->size - w->used, format, args);
    va_end(args);
    w->used = MIN(w->size - 1, w->used + (size_t)MAX(n, 0));
}

static void say_op(struct words *w, const struct lin_history *h, const struct lin_op *op, const char *mark)
{
    char text[256];
    lin_describe(h, (size_t)(op - h->ops), text, sizeof text);
    say(w, "%s %s\n", mark, text);
}

static int compare_invoked(const void *a, const void *b)
{
    const struct lin_op *x = *(const struct lin_op *const *)a, *y = *(const struct lin_op *const *)b;
    return (x->invoked > y->invoked) - (x->invoked < y->invoked);
}

/* The last operations that had ended when the culprit was called, and those that overlap with it. */
static void say_around(struct words *w, const struct lin_history *h, const struct lin_object *o,
                       const struct lin_op *culprit)
{
    const struct lin_op *before[SHOW_BEFORE];
    size_t before_count = 0, overlap = 0;
    for (size_t i = 0; i < o->count; i++) {
        const struct lin_op *op = o->ops[i];
        if (op->returned >= culprit->invoked)
            continue;
        if (before_count < SHOW_BEFORE) {
            before[before_count++] = op;
            continue;
        }
        size_t first = 0;
        for (size_t k = 1; k < SHOW_BEFORE; k++)
            if (before[k]->returned < before[first]->returned)
                first = k;
        if (op->returned > before[first]->returned)
            before[first] = op;
    }
    qsort(before, before_count, sizeof *before, compare_invoked);
    for (size_t i = 0; i < before_count; i++)
        say_op(w, h, before[i], " ");
    for (size_t i = 0; i < o->count && overlap < SHOW_OVERLAP; i++) {
        const struct lin_op *op = o->ops[i];
        if (op->returned < culprit->invoked || op->invoked > culprit->returned)
            continue;
        say_op(w, h, op, op == culprit ? ">" : "|");
        overlap++;
    }
}

static void explain(const struct lin_history *h, enum lin_model model, const struct lin_object *o,
                    const struct lin_finding *f, struct lin_report *ret)
{
    struct words w = {.to = ret->why, .size = sizeof ret->why};
    uint64_t object = f->culprit->call.object;
    const char *name = lin_text_object(h->text, object);
    ret->bad_operation = (size_t)(f->culprit - h->ops);
    say(&w, "%s ", lin_model_name(model));
    if (name)
        say(&w, "%s", name);
    else
        say(&w, "%" PRIu64, object);
    say(&w, ", %zu operations: ", o->count);
    if (f->events) {
        char state[256];
        lin_state_describe(h, model, object, &f->before, state, sizeof state);
        say(&w,
            "no order explains the first %zu calls and answers. One that explains all before\nthe operation marked > "
            "leads to: %s\n",
            f->events, state);
    } else {
        say(&w, "%s\n", f->text.text);
    }
    say_around(&w, h, o, f->culprit);
}

/* -- the check */

static void check_object(const struct lin_history *h, enum lin_model model, const struct lin_object *o, uint64_t budget,
                         struct lin_report *ret)
{
    struct lin_finding f = {0};
    if (model == LIN_LIST)
        lin_check_list(o, &f);
    else if (model == LIN_SET)
        lin_check_set(o, &f);
    else
        lin_search(o, lin_step_of(model), budget, &f);
    ret->objects++;
    ret->configurations += f.configurations;
    ret->unknown_objects += f.verdict == LIN_UNKNOWN;
    if (f.verdict == LIN_BAD && ret->bad_objects++ == 0)
        explain(h, model, o, &f, ret);
}

enum lin_verdict lin_check(const struct lin_history *h, enum lin_model model, uint64_t budget, struct lin_report *ret)
{
    _cleanup_free_ const struct lin_op **ops = mem_alloc((h->count + 1) * sizeof *ops);
    size_t count = 0;
    *ret = (struct lin_report){.operations = h->count};
    for (size_t i = 0; i < h->count; i++) {
        CHECK(lin_model_has(model, h->ops[i].call.verb));
        ret->open += lin_is_open(&h->ops[i]);
        if (takes_part(&h->ops[i]))
            ops[count++] = &h->ops[i];
    }
    qsort(ops, count, sizeof *ops, compare_ops);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && ops[end]->call.object == ops[first]->call.object;)
            end++;
        struct lin_object o = {.ops = ops + first, .count = end - first};
        check_object(h, model, &o, budget ? budget : LIN_BUDGET_DEFAULT, ret);
    }
    ret->verdict = ret->bad_objects ? LIN_BAD : ret->unknown_objects ? LIN_UNKNOWN : LIN_OK;
    return ret->verdict;
}
