/* How many entries a look-up brings along: for those who look up all names in any order, for those who want only a few,
 * and what it costs at most. */
#include "client/meta/look_ahead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"

#define DIRECTORY 77u
#define NAMES_MAX 20000u

/* A directory of `names` entries, numbered in its own order, and what a mount knows of it. */
struct world {
    struct look_ahead ahead;
    int64_t now_ns;
    unsigned names;
    bool known[NAMES_MAX], along[NAMES_MAX];
    unsigned calls, brought, used, most; /* most: that one look-up has brought */
    unsigned twice;                      /* of what was brought: what was known */
};

static struct world w;

static void begin(unsigned names)
{
    w = (struct world){.now_ns = 5, .names = names};
}

/* The cookie of an entry is its number and 1. */
static void answered(unsigned asked, unsigned brought, uint64_t cookie, bool found)
{
    struct look_ahead_answer a = {
        .asked = asked, .brought = brought, .cookie = cookie, .found = found, .entries = w.names};
    look_ahead_answered(&w.ahead, DIRECTORY, &a, w.now_ns);
}

/* One call to the metastore; what it knows already counts as brought all the same. */
static void call(unsigned name)
{
    uint64_t cookie;
    unsigned asked = look_ahead_ask(&w.ahead, DIRECTORY, w.now_ns, &cookie), brought = 0;
    assert_true(asked == 0 || (asked >= LOOK_AHEAD_FIRST && asked <= LIMIT_LOOK_AHEAD));
    unsigned last = cookie != 0 ? (unsigned)cookie - 1 : name;
    while (brought < MIN(asked, w.names - 1)) {
        last = (last + 1) % w.names;
        if (last == name)
            continue;
        w.twice += w.known[last];
        w.along[last] = w.along[last] || !w.known[last];
        w.known[last] = true;
        brought++;
    }
    w.known[name] = true;
    w.calls++;
    w.brought += brought;
    w.most = MAX(w.most, brought);
    answered(asked, brought, last + 1, true);
}

static unsigned ask(void)
{
    uint64_t cookie;
    return look_ahead_ask(&w.ahead, DIRECTORY, w.now_ns, &cookie);
}

static void look_up(unsigned name)
{
    w.now_ns += 1000;
    if (!w.known[name]) {
        call(name);
    } else if (w.along[name]) {
        w.along[name] = false;
        w.used++;
        look_ahead_used(&w.ahead, DIRECTORY, w.now_ns);
    }
}

static void one_name_brings_nothing(void **state)
{
    (void)state;
    begin(100);
    look_up(3);
    assert_int_equal(w.brought, 0);
    look_up(3); /* known */
    look_up(50);
    assert_int_equal(w.brought, LOOK_AHEAD_FIRST);
}

/* find, du, rsync: they go by the order in which they were given the names. */
static void in_the_order_of_the_directory_calls_are_few(void **state)
{
    (void)state;
    begin(10000);
    for (unsigned i = 0; i < w.names; i++)
        look_up((i + 1234) % w.names);
    assert_int_equal(w.most, LIMIT_LOOK_AHEAD);
    assert_true(w.calls <= w.names / LIMIT_LOOK_AHEAD + 5);
    assert_int_equal(w.used + w.calls, w.names);
}

/* Who goes on elsewhere is brought what follows there, soon; and who comes back, too. */
static void another_place_is_found_again(void **state)
{
    (void)state;
    begin(NAMES_MAX);
    for (unsigned from = 0; from < NAMES_MAX; from += NAMES_MAX / 4) {
        unsigned before = w.calls;
        for (unsigned i = 0; i < 3000; i++)
            look_up(from + i);
        assert_true(w.calls - before <= 3000 / LIMIT_LOOK_AHEAD + LOOK_AHEAD_FIRST * LOOK_AHEAD_CALLS + 10);
    }
}

static void shuffle(unsigned *order, unsigned count, struct prng *p)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        unsigned other = (unsigned)prng_below(p, i), was = order[i - 1];
        order[i - 1] = order[other];
        order[other] = was;
    }
}

/* git, ls *, tar: by name. Each name is looked up once. */
static void look_up_all_shuffled(unsigned names, uint64_t seed)
{
    static unsigned order[NAMES_MAX];
    struct prng p;
    prng_seed(&p, seed);
    begin(names);
    shuffle(order, names, &p);
    for (unsigned i = 0; i < names; i++)
        look_up(order[i]);
}

static void in_another_order_calls_are_fewer(void **state)
{
    (void)state;
    static const struct {
        unsigned names, calls; /* on average; which order it is counts most in the smaller ones */
    } cases[] = {{5, 2}, {10, 2}, {17, 2}, {40, 2}, {LOOK_AHEAD_SMALL, 2}, {100, 25}, {1000, 320}, {10000, 3200}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned calls = 0, rounds = 20;
        for (uint64_t seed = 1; seed <= rounds; seed++) {
            look_up_all_shuffled(cases[i].names, seed);
            assert_int_equal(w.calls + w.used, cases[i].names);
            if (cases[i].names >= 1000 && w.twice > cases[i].names)
                fail_msg("%u names: %u twice of %u", cases[i].names, w.twice, w.brought);
            calls += w.calls;
        }
        if (calls > cases[i].calls * rounds)
            fail_msg("%u names: %u calls in %u rounds", cases[i].names, calls, rounds);
    }
}

/* What is brought for nothing is a small part of what the calls cost. */
static void who_wants_few_names_is_brought_little(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 7);
    begin(NAMES_MAX);
    for (unsigned i = 0; i < 500; i++)
        look_up((unsigned)prng_below(&p, w.names));
    assert_true(w.brought <= LOOK_AHEAD_FIRST + w.calls / LOOK_AHEAD_CALLS + w.used * LOOK_AHEAD_PER_USE);
    assert_true(w.brought <= w.calls);
    /* One that others change all the time. */
    begin(1000);
    for (unsigned i = 0; i < 500; i++) {
        memset(w.known, 0, sizeof w.known);
        memset(w.along, 0, sizeof w.along);
        look_up(5);
    }
    assert_true(w.brought <= LOOK_AHEAD_FIRST + 500 / LOOK_AHEAD_CALLS);
}

static void what_was_used_once_does_not_count_for_ever(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 8);
    begin(NAMES_MAX);
    for (unsigned i = 0; i < 2000; i++)
        look_up(i);
    unsigned calls = w.calls, brought = w.brought, used = w.used;
    assert_int_equal(w.most, LIMIT_LOOK_AHEAD);
    for (unsigned i = 0; i < 300; i++)
        look_up(3000 + (unsigned)prng_below(&p, w.names - 3000));
    calls = w.calls - calls, brought = w.brought - brought, used = w.used - used;
    assert_true(brought <= LIMIT_LOOK_AHEAD + calls / LOOK_AHEAD_CALLS + used * LOOK_AHEAD_PER_USE);
}

static void a_pause_begins_anew(void **state)
{
    (void)state;
    begin(NAMES_MAX);
    for (unsigned i = 0; i < 18; i++)
        look_up(i);
    unsigned brought = w.brought;
    w.now_ns += LOOK_AHEAD_SOON_NS + 1;
    look_up(1000);
    assert_int_equal(w.brought, brought);
    look_up(2000);
    assert_int_equal(w.brought, brought + LOOK_AHEAD_FIRST);
    /* A long way through what was brought is none. */
    begin(NAMES_MAX);
    look_up(0), look_up(1);
    for (unsigned i = 2; i < 18; i++) {
        w.now_ns += LOOK_AHEAD_SOON_NS - 10000;
        look_up(i);
    }
    look_up(18);
    assert_int_equal(w.brought, LOOK_AHEAD_FIRST + LOOK_AHEAD_FIRST * LOOK_AHEAD_PER_USE);
}

static void absent_names_begin_nothing_and_cost_nothing(void **state)
{
    (void)state;
    begin(100);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(ask(), 0);
        answered(0, 0, 0, false);
    }
    look_up(1);
    for (unsigned i = 0; i < 10; i++) {
        unsigned asked = ask();
        assert_int_equal(asked, LOOK_AHEAD_FIRST);
        answered(asked, 0, 0, false);
    }
    /* Nor do they keep it awake. */
    w.now_ns += LOOK_AHEAD_SOON_NS - 5;
    answered(0, 0, 0, false);
    w.now_ns += 10;
    assert_int_equal(ask(), 0);
}

/* An answer is not to be believed in how much it brings, and a call that fails has none. */
static void odd_answers_do_no_harm(void **state)
{
    (void)state;
    begin(100);
    look_up(1);
    assert_int_equal(ask(), LOOK_AHEAD_FIRST);
    answered(LOOK_AHEAD_FIRST, LOOK_AHEAD_FIRST + 100, 7, true);
    assert_int_equal(ask(), 0);
    for (unsigned i = 0; i < 1000; i++)
        answered(0, 0, 0, true);
    assert_int_equal(ask(), LIMIT_LOOK_AHEAD); /* and no more */
    assert_int_equal(ask(), 0);                /* another thread, meanwhile */
}

static void directories_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct look_ahead ahead = {0};
    /* Whatever places they have: each of many is either served or forgotten, and never takes another's credit. */
    for (uint64_t ino = 1; ino <= 4 * LOOK_AHEAD_DIRECTORIES; ino++)
        look_ahead_answered(&ahead, ino, &(struct look_ahead_answer){.found = true}, 0);
    unsigned served = 0;
    uint64_t cookie;
    for (uint64_t ino = 1; ino <= 4 * LOOK_AHEAD_DIRECTORIES; ino++)
        served += look_ahead_ask(&ahead, ino, 0, &cookie);
    assert_true(served > LOOK_AHEAD_DIRECTORIES / 2 * LOOK_AHEAD_FIRST);
    assert_true(served <= LOOK_AHEAD_DIRECTORIES * LOOK_AHEAD_FIRST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_brings_nothing),
        cmocka_unit_test(in_the_order_of_the_directory_calls_are_few),
        cmocka_unit_test(another_place_is_found_again),
        cmocka_unit_test(in_another_order_calls_are_fewer),
        cmocka_unit_test(who_wants_few_names_is_brought_little),
        cmocka_unit_test(what_was_used_once_does_not_count_for_ever),
        cmocka_unit_test(a_pause_begins_anew),
        cmocka_unit_test(absent_names_begin_nothing_and_cost_nothing),
        cmocka_unit_test(odd_answers_do_no_harm),
        cmocka_unit_test(directories_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
