/* test_search.c: small random histories, of which about half are bad, judged by trying all orders and by the checker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "tests/lin/internal.h"

#define OPS_MAX 6u
#define MOMENTS 14u
#define ROUNDS 60000u

struct brute {
    struct lin_op ops[OPS_MAX];
    unsigned count;
    enum lin_model model;
};

struct brute_state {
    union lin_state state;
    int64_t list[OPS_MAX];
    unsigned length;
};

static bool step_list(struct brute_state *s, const struct lin_op *op)
{
    if (op->call.verb == LIN_APPEND) {
        bool fits = lin_is_open(op) || op->answer.value == LIN_UNSEEN || op->answer.value == s->length;
        s->list[s->length++] = op->call.a;
        return fits;
    }
    return lin_is_open(op) ||
           (op->tag_count == s->length && memcmp(op->tags, s->list, s->length * sizeof *s->list) == 0);
}

static bool any_order(const struct brute *b, unsigned done, const struct brute_state *state)
{
    int64_t first_answer = LIN_OPEN_TIME;
    for (unsigned i = 0; i < b->count; i++)
        if (!(done & 1u << i))
            first_answer = MIN(first_answer, b->ops[i].returned);
    if (first_answer == LIN_OPEN_TIME)
        return true;
    for (unsigned i = 0; i < b->count; i++) {
        if ((done & 1u << i) || b->ops[i].invoked > first_answer)
            continue;
        struct brute_state next = *state;
        bool fits =
            b->model == LIN_LIST ? step_list(&next, &b->ops[i]) : lin_step_of(b->model)(&next.state, &b->ops[i]);
        if (fits && any_order(b, done | 1u << i, &next))
            return true;
    }
    return false;
}

/* Only what happened in the first `events` calls and answers. */
static struct brute beginning(const struct brute *b, size_t events)
{
    struct brute cut = {.model = b->model};
    int64_t times[2 * OPS_MAX];
    for (unsigned i = 0; i < b->count; i++) {
        struct lin_op op = b->ops[i];
        size_t called = 0, answered = 0;
        times[0] = op.invoked;
        times[1] = op.returned;
        for (unsigned k = 0; k < b->count; k++) { /* position in time: calls first, then by number */
            const struct lin_op *o = &b->ops[k];
            called += o->invoked < times[0] || (o->invoked == times[0] && k < i);
            called += o->returned < times[0];
            answered += o->invoked <= times[1];
            answered += o->returned < times[1] || (o->returned == times[1] && k < i);
        }
        if (called >= events)
            continue;
        if (answered >= events)
            op.returned = LIN_OPEN_TIME;
        cut.ops[cut.count++] = op;
    }
    return cut;
}

static void choose_names_op(struct prng *p, struct lin_op *op, unsigned number)
{
    static const enum lin_verb choices[] = {LIN_LOOKUP, LIN_LOOKUP, LIN_LOOKUP,     LIN_CREATE,
                                            LIN_CREATE, LIN_CREATE, LIN_UNLINK,     LIN_RENAME,
                                            LIN_LINK,   LIN_MKDIR,  LIN_RENAME_NEW, LIN_RENAME_EXCHANGE};
    op->call.verb = choices[prng_below(p, ARRAY_SIZE(choices))];
    op->call.name = (unsigned)prng_below(p, 2);
    op->call.new_name = (unsigned)prng_below(p, 2);
    bool makes = op->call.verb == LIN_CREATE || op->call.verb == LIN_MKDIR;
    op->call.a = makes ? 1 + number : 1 + (int64_t)prng_below(p, 3);
    op->answer.value = 1 + (int64_t)prng_below(p, 3);
    op->answer.links = (unsigned)prng_below(p, 3);
    if (prng_below(p, 3) == 0)
        op->answer.error = prng_below(p, 2) ? ERR_NOENT : ERR_EXIST;
}

static void choose_number_op(struct prng *p, enum lin_model model, struct lin_op *op)
{
    static const enum lin_verb of_register[] = {LIN_READ, LIN_READ, LIN_WRITE, LIN_CAS};
    op->call.verb = model == LIN_REGISTER ? of_register[prng_below(p, 4)] : prng_below(p, 2) ? LIN_ADD : LIN_READ;
    op->call.a = (int64_t)prng_below(p, 3);
    op->call.b = (int64_t)prng_below(p, 3);
    op->answer.value = prng_below(p, 8) ? (int64_t)prng_below(p, 3) : LIN_UNSEEN;
    if (op->call.verb == LIN_CAS && prng_below(p, 2))
        op->answer.error = ERR_VERSION;
}

static void choose_list_op(struct prng *p, struct lin_op *op, unsigned number, int64_t *room)
{
    op->call.verb = prng_below(p, 2) ? LIN_APPEND : LIN_LIST_ALL;
    op->call.a = 1 + number;
    op->answer.value = LIN_UNSEEN;
    op->tags = room;
    op->tag_count = prng_below(p, 3);
    for (size_t k = 0; k < op->tag_count; k++)
        room[k] = 1 + (int64_t)prng_below(p, OPS_MAX);
}

static void choose(struct prng *p, struct brute *b, int64_t (*room)[OPS_MAX])
{
    b->count = 2 + (unsigned)prng_below(p, OPS_MAX - 1);
    for (unsigned i = 0; i < b->count; i++) {
        struct lin_op *op = &b->ops[i];
        *op = (struct lin_op){.client = i, .invoked = (int64_t)prng_below(p, MOMENTS)};
        op->returned = prng_below(p, 6) == 0 ? LIN_OPEN_TIME : op->invoked + (int64_t)prng_below(p, MOMENTS / 2);
        if (b->model == LIN_NAMES)
            choose_names_op(p, op, i);
        else if (b->model == LIN_LIST)
            choose_list_op(p, op, i, room[i]);
        else
            choose_number_op(p, b->model, op);
        if (!lin_error_is_answer(op->call.verb, op->answer.error))
            op->answer.error = ERR_OK;
    }
}

static int compare_calls(const void *a, const void *b)
{
    const struct lin_op *x = a, *y = b;
    return (x->invoked > y->invoked) - (x->invoked < y->invoked);
}

static bool is_good(const struct brute *b)
{
    return any_order(b, 0, &(struct brute_state){.length = 0});
}

static void compare(enum lin_model model, uint64_t seed)
{
    struct prng p;
    prng_seed(&p, seed);
    unsigned bad = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct brute b = {.model = model};
        int64_t room[OPS_MAX][OPS_MAX];
        choose(&p, &b, room);
        qsort(b.ops, b.count, sizeof *b.ops, compare_calls);
        const struct lin_op *ops[OPS_MAX];
        for (unsigned i = 0; i < b.count; i++)
            ops[i] = &b.ops[i];
        struct lin_object o = {.ops = ops, .count = b.count};
        struct lin_finding f = {0};
        if (model == LIN_LIST)
            lin_check_list(&o, &f);
        else
            lin_search(&o, lin_step_of(model), LIN_BUDGET_DEFAULT, &f);
        bool good = is_good(&b);
        if (f.verdict != (good ? LIN_OK : LIN_BAD))
            fail_msg("%s, seed %llu, round %u: found %d, good is %d", lin_model_name(model), (unsigned long long)seed,
                     round, (int)f.verdict, good);
        bad += !good;
        if (good || model == LIN_LIST)
            continue;
        struct brute shortest = beginning(&b, f.events), shorter = beginning(&b, f.events - 1);
        if (is_good(&shortest) || !is_good(&shorter))
            fail_msg("%s, round %u: %zu events are not the shortest bad beginning", lin_model_name(model), round,
                     f.events);
    }
    print_message("%s: %u histories, %u bad\n", lin_model_name(model), ROUNDS, bad);
    assert_in_range(bad, ROUNDS / 10, ROUNDS * 19 / 20); /* else the comparison says little */
}

static void test_register(void **state)
{
    (void)state;
    compare(LIN_REGISTER, 1);
}

static void test_counter(void **state)
{
    (void)state;
    compare(LIN_COUNTER, 2);
}

static void test_names(void **state)
{
    (void)state;
    compare(LIN_NAMES, 3);
}

static void test_list(void **state)
{
    (void)state;
    compare(LIN_LIST, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_counter),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests_name("lin search", tests, NULL, NULL);
}
