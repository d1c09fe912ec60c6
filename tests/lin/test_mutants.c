/* test_mutants.c: long histories of clients of a correct store, which must pass quickly, and the same histories with
 * one fault each as a broken store would make it, which must be found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/prng.h"
#include "tests/lin/internal.h"

#define CLIENTS 8u
#define OPS 1000u
#define SEEDS 40u
#define OPEN_OF 60u    /* one of so many operations is open */
#define SECONDS_MAX 1u /* for one history of OPS; the aim is far below, sanitizers take their share */

/* The store's only copy, and what a client is doing. An operation takes effect between its call and its answer. */
struct store {
    struct lin_history *h;
    union lin_state state;
    int64_t list[OPS];
    size_t length;
    enum lin_model model;
    int64_t now;
    struct client {
        enum { IDLE, CALLED, DONE } phase;
        bool opens; /* its operation will be left open */
        size_t operation;
        struct lin_answer answer;
        size_t seen; /* of the list */
    } clients[CLIENTS];
};

static struct lin_call choose_call(struct prng *p, enum lin_model model, size_t number)
{
    static const enum lin_verb of_names[] = {LIN_LOOKUP, LIN_LOOKUP, LIN_LOOKUP,         LIN_CREATE, LIN_CREATE,
                                             LIN_MKDIR,  LIN_UNLINK, LIN_RMDIR,          LIN_RENAME, LIN_RENAME_NEW,
                                             LIN_LINK,   LIN_OPEN,   LIN_RENAME_EXCHANGE};
    static const enum lin_verb of_register[] = {LIN_READ, LIN_READ, LIN_WRITE, LIN_CAS};
    struct lin_call c = {.a = 1 + (int64_t)number};
    switch (model) {
    case LIN_REGISTER:
        c.verb = of_register[prng_below(p, ARRAY_SIZE(of_register))];
        c.b = c.a;
        if (c.verb == LIN_CAS)
            c.a = (int64_t)prng_below(p, number + 1);
        break;
    case LIN_COUNTER:
        c.verb = prng_below(p, 2) ? LIN_ADD : LIN_READ;
        c.a = 1 + (int64_t)prng_below(p, 1000);
        break;
    case LIN_NAMES:
        c.verb = of_names[prng_below(p, ARRAY_SIZE(of_names))];
        c.name = (unsigned)prng_below(p, 6);
        c.new_name = (unsigned)prng_below(p, 6);
        if (c.verb == LIN_LINK)
            c.a = 1 + (int64_t)prng_below(p, number + 1);
        break;
    case LIN_LIST:
    case LIN_SET:
        c.verb = prng_below(p, 4) ? LIN_APPEND : LIN_LIST_ALL;
        break;
    }
    return c;
}

/* The one place where the test is clever: the answer that fits is found by trying the few that there are. */
static struct lin_answer answer_of(struct store *s, const struct lin_call *call)
{
    static const enum err errors[] = {ERR_OK,     ERR_NOENT,   ERR_EXIST, ERR_ISDIR,
                                      ERR_NOTDIR, ERR_VERSION, ERR_STALE, ERR_PERM};
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        struct lin_op op = {.call = *call, .answer = {.error = errors[i], .value = LIN_UNSEEN}};
        union lin_state after = s->state;
        if (!lin_step_of(s->model)(&after, &op))
            continue;
        s->state = after;
        int64_t inode = after.names[call->name];
        bool number = s->model != LIN_NAMES;
        if (call->verb == LIN_READ || call->verb == LIN_ADD || call->verb == LIN_LOOKUP || call->verb == LIN_OPEN)
            op.answer.value = errors[i] != ERR_OK ? 0 : number ? after.value : inode < 0 ? -inode : inode;
        return op.answer;
    }
    CHECK(!"an answer");
    return (struct lin_answer){0};
}

static void take_effect(struct store *s, struct client *c)
{
    const struct lin_call *call = &s->h->ops[c->operation].call;
    if (call->verb == LIN_APPEND)
        s->list[s->length++] = call->a;
    else if (call->verb != LIN_LIST_ALL)
        c->answer = answer_of(s, call);
    c->seen = s->length;
}

static void advance(struct store *s, struct prng *p, unsigned number)
{
    struct client *c = &s->clients[number];
    s->now++;
    switch (c->phase) {
    case IDLE: {
        if (lin_size(s->h) == OPS)
            return;
        struct lin_call call = choose_call(p, s->model, lin_size(s->h));
        c->operation = lin_invoke(s->h, number, s->now, &call);
        c->opens = prng_below(p, OPEN_OF) == 0;
        c->answer = (struct lin_answer){.value = LIN_UNSEEN};
        c->phase = CALLED;
        break;
    }
    case CALLED:
        if (!c->opens || prng_below(p, 2))
            take_effect(s, c);
        c->phase = DONE;
        break;
    case DONE:
        if (c->opens)
            lin_open(s->h, c->operation);
        else if (s->h->ops[c->operation].call.verb == LIN_LIST_ALL)
            lin_return_list(s->h, c->operation, s->now, s->list, c->seen);
        else
            lin_return(s->h, c->operation, s->now, &c->answer);
        c->phase = IDLE;
    }
}

static struct lin_history *correct_history(enum lin_model model, uint64_t seed)
{
    static struct store s;
    s = (struct store){.h = lin_history_new(), .model = model};
    struct prng p;
    prng_seed(&p, seed);
    while (lin_size(s.h) < OPS)
        advance(&s, &p, (unsigned)prng_below(&p, CLIENTS));
    return s.h;
}

static enum lin_verdict timed_check(const struct lin_history *h, enum lin_model model, struct lin_report *ret,
                                    int64_t *longest_ns)
{
    int64_t begun = clock_boot_ns();
    enum lin_verdict verdict = lin_check(h, model, 0, ret);
    *longest_ns = MAX(*longest_ns, clock_boot_ns() - begun);
    return verdict;
}

/* -- faults: each changes one answer to what can't be explained, and says whether there was one to change */

static struct lin_op *any_answered(struct lin_history *h, struct prng *p, enum lin_verb verb)
{
    size_t from = prng_below(p, h->count);
    for (size_t k = 0; k < h->count; k++) {
        struct lin_op *op = &h->ops[(from + k) % h->count];
        if (op->call.verb == verb && !lin_is_open(op) && op->answer.error == ERR_OK)
            return op;
    }
    return NULL;
}

/* The value before an acknowledged write that a read must have seen: another write is certainly over in between. */
static bool stale_read(struct lin_history *h, struct prng *p)
{
    struct lin_op *read = any_answered(h, p, LIN_READ);
    const struct lin_op *old = NULL, *newer = NULL;
    for (size_t i = h->count; i-- > 0 && !old;) {
        const struct lin_op *w = &h->ops[i];
        if (w->call.verb != LIN_WRITE || w->returned >= read->invoked)
            continue;
        if (newer && w->returned < newer->invoked)
            old = w;
        else if (!newer || w->invoked > newer->invoked)
            newer = w;
    }
    if (!old)
        return false;
    read->answer.value = old->call.a;
    return true;
}

static bool value_from_nowhere(struct lin_history *h, struct prng *p)
{
    any_answered(h, p, LIN_READ)->answer.value = 1000000;
    return true;
}

static bool lost_create(struct lin_history *h, struct prng *p)
{
    struct lin_op *op = any_answered(h, p, LIN_LOOKUP);
    op->answer.value = 1000000;
    return true;
}

/* One's own retry met its first execution. */
static bool false_exist(struct lin_history *h, struct prng *p)
{
    struct lin_op *op = any_answered(h, p, LIN_CREATE);
    for (size_t i = 0; i < h->count; i++)
        if (h->ops[i].call.verb == LIN_LOOKUP && !lin_is_open(&h->ops[i]) && h->ops[i].answer.value == op->call.a) {
            op->answer.error = ERR_EXIST; /* somebody saw what it says that it didn't make */
            return true;
        }
    return false;
}

static bool double_add(struct lin_history *h, struct prng *p)
{
    struct lin_op *op = any_answered(h, p, LIN_ADD);
    op->answer.value += op->call.a + 1000001;
    return true;
}

static bool lost_append(struct lin_history *h, struct prng *p)
{
    struct lin_op *list = any_answered(h, p, LIN_LIST_ALL);
    for (size_t i = 0; list && i < h->count; i++)
        if (h->ops[i].call.verb == LIN_APPEND && h->ops[i].returned < list->invoked)
            for (size_t k = 0; k < list->tag_count; k++)
                if (list->tags[k] == h->ops[i].call.a) {
                    memmove(list->tags + k, list->tags + k + 1, (list->tag_count - k - 1) * sizeof *list->tags);
                    list->tag_count--;
                    return true;
                }
    return false;
}

static bool double_append(struct lin_history *h, struct prng *p)
{
    struct lin_op *list = any_answered(h, p, LIN_LIST_ALL);
    if (!list || list->tag_count < 2)
        return false;
    list->tags[list->tag_count - 1] = list->tags[0];
    return true;
}

static void check_model(enum lin_model model, bool (*const *faults)(struct lin_history *, struct prng *))
{
    static struct lin_report r;
    int64_t good_ns = 0, bad_ns = 0;
    unsigned mutants = 0, caught = 0, unknown = 0;
    struct prng p;
    prng_seed(&p, 77);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct lin_history *h = correct_history(model, seed);
        if (timed_check(h, model, &r, &good_ns) != LIN_OK)
            fail_msg("%s, seed %llu: verdict %d\n%s", lin_model_name(model), (unsigned long long)seed, (int)r.verdict,
                     r.why);
        lin_history_free(h);
        for (unsigned i = 0; faults[i]; i++) {
            h = correct_history(model, seed);
            if (faults[i](h, &p)) {
                enum lin_verdict verdict = timed_check(h, model, &r, &bad_ns);
                mutants++;
                caught += verdict == LIN_BAD;
                unknown += verdict == LIN_UNKNOWN;
            }
            lin_history_free(h);
        }
    }
    print_message("%s: %u good histories of %u operations by %u clients, at most %.1f ms; %u mutants, %u caught, %u "
                  "undecided, at most %.1f ms\n",
                  lin_model_name(model), SEEDS, OPS, CLIENTS, (double)good_ns / 1e6, mutants, caught, unknown,
                  (double)bad_ns / 1e6);
    assert_true(mutants >= SEEDS / 2);
    assert_int_equal(caught + unknown, mutants);
    assert_true(unknown * 20 <= mutants);
    assert_true(good_ns < SECONDS_MAX * NS_PER_S);
}

#define FAULTS(...)                                                                                                    \
    (bool (*const[])(struct lin_history *, struct prng *))                                                             \
    {                                                                                                                  \
        __VA_ARGS__, NULL                                                                                              \
    }

static void test_register(void **state)
{
    (void)state;
    check_model(LIN_REGISTER, FAULTS(stale_read, value_from_nowhere));
}

static void test_counter(void **state)
{
    (void)state;
    check_model(LIN_COUNTER, FAULTS(double_add, value_from_nowhere));
}

static void test_names(void **state)
{
    (void)state;
    check_model(LIN_NAMES, FAULTS(lost_create, false_exist));
}

static void test_list(void **state)
{
    (void)state;
    check_model(LIN_LIST, FAULTS(lost_append, double_append));
}

static void test_set(void **state)
{
    (void)state;
    check_model(LIN_SET, FAULTS(lost_append, double_append));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register), cmocka_unit_test(test_counter), cmocka_unit_test(test_names),
        cmocka_unit_test(test_list),     cmocka_unit_test(test_set),
    };
    return cmocka_run_group_tests_name("lin mutants", tests, NULL, NULL);
}
