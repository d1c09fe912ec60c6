/* Names that came along with another one: believed like those that were asked for, and told apart only to learn whether
 * it was worth it. */
#include "client/meta/known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/meta/look_ahead.h"

#define DIRECTORY 7u
#define COOKIE 4711u
#define ATTACHMENT 3u

static struct known *known;
static char names[64][8];

static void nothing(void *context)
{
    (void)context;
}

static void nothing_attr(void *context, uint64_t ino, bool may_believe)
{
    (void)context, (void)ino, (void)may_believe;
}

static int begin(bool no_ahead)
{
    known = known_new(&(struct known_options){.inodes_max = 1000,
                                              .no_ahead = no_ahead,
                                              .forget_attr = nothing_attr,
                                              .forget_names = nothing,
                                              .detached = nothing});
    known_attach(known, ATTACHMENT, clock_boot_ns() + 3600 * NS_PER_S);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        snprintf(names[i], sizeof names[i], "n%u", i);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return begin(false);
}

static int setup_without(void **state)
{
    (void)state;
    return begin(true);
}

static int teardown(void **state)
{
    (void)state;
    known_free(known);
    return 0;
}

static struct meta_attr attr_of(unsigned n, uint64_t size)
{
    return (struct meta_attr){.ino = 100 + n, .nlink = 1, .size = size};
}

static uint64_t asked_behind; /* the cookie that the last look-up would send */

/* The answer for name n, of the state at `index`, with `count` of those behind it, when `asked` were asked for. */
static void answer(unsigned n, unsigned asked, unsigned count, uint64_t index, uint64_t size)
{
    struct meta_dirent entries[ARRAY_SIZE(names)];
    struct meta_query q = {.op = META_QUERY_LOOKUP, .ino = DIRECTORY, .name = slice_str(names[n]), .max_count = asked};
    struct meta_query_reply r = {.attr = attr_of(n, size),
                                 .has_attr = true,
                                 .entries = entries,
                                 .entry_count = count,
                                 .ahead_cookie = COOKIE,
                                 .index = index,
                                 .grant = {ATTACHMENT, 0}};
    for (unsigned i = 0; i < count; i++) {
        unsigned other = n + 1 + i;
        entries[i] =
            (struct meta_dirent){.name = slice_str(names[other]), .ino = 100 + other, .attr = attr_of(other, size)};
    }
    known_learn_query(known, &q, &r);
}

static enum known_name look_up(unsigned n, struct meta_attr *ret, unsigned *ret_ahead)
{
    return known_lookup(known, DIRECTORY, slice_str(names[n]), ret, ret_ahead, &asked_behind);
}

static bool is_there(unsigned n, uint64_t size)
{
    struct meta_attr attr;
    unsigned ahead;
    return look_up(n, &attr, &ahead) == KNOWN_THERE && attr.ino == 100 + n && attr.size == size;
}

/* How many entries the mount would ask for with it. */
static unsigned asks(unsigned n)
{
    struct meta_attr attr;
    unsigned ahead = UINT32_MAX;
    assert_int_equal(look_up(n, &attr, &ahead), KNOWN_NOT);
    return ahead;
}

static void the_second_name_brings_others_and_their_use_more(void **state)
{
    (void)state;
    struct known_stats stats;
    assert_int_equal(asks(0), 0);
    answer(0, 0, 0, 10, 1);
    assert_int_equal(asks(1), LOOK_AHEAD_FIRST);
    assert_int_equal(asked_behind, 0);
    answer(1, LOOK_AHEAD_FIRST, LOOK_AHEAD_FIRST, 10, 1);
    known_stats(known, &stats);
    assert_true(stats.ahead == LOOK_AHEAD_FIRST && stats.ahead_used == 0);
    for (unsigned n = 0; n < 2 + LOOK_AHEAD_FIRST; n++)
        assert_true(is_there(n, 1) && is_there(n, 1));
    known_stats(known, &stats);
    assert_true(stats.ahead == LOOK_AHEAD_FIRST && stats.ahead_used == LOOK_AHEAD_FIRST);
    assert_int_equal(asks(40), LOOK_AHEAD_FIRST * LOOK_AHEAD_PER_USE);
    assert_int_equal(asked_behind, COOKIE);
}

static void what_was_known_before_does_not_count(void **state)
{
    (void)state;
    struct known_stats stats;
    for (unsigned n = 0; n < 10; n++)
        answer(n, 0, 0, 10, 1);
    answer(0, 9, 9, 10, 1);
    known_stats(known, &stats);
    assert_int_equal(stats.ahead, 0);
    assert_true(is_there(5, 1));
    known_stats(known, &stats);
    assert_int_equal(stats.ahead_used, 0);
}

static void what_comes_along_twice_counts_once(void **state)
{
    (void)state;
    struct known_stats stats;
    answer(0, 9, 9, 10, 1);
    answer(3, 9, 9, 10, 1);
    known_stats(known, &stats);
    assert_int_equal(stats.ahead,
                     9 + 3); /* the third of the first nine was asked for then, though it need not have been */
    for (unsigned n = 1; n < 13; n++)
        assert_true(is_there(n, 1) && is_there(n, 1));
    known_stats(known, &stats);
    assert_int_equal(stats.ahead_used, 11);
}

static void no_more_is_learned_than_was_asked_for(void **state)
{
    (void)state;
    answer(0, 3, 10, 10, 1);
    assert_true(is_there(3, 1));
    (void)asks(4);
}

static void what_others_change_is_not_believed(void **state)
{
    (void)state;
    answer(0, 10, 10, 10, 1);
    struct meta_notice file = {META_NOTICE_CHANGED, 103}, directory = {META_NOTICE_CHANGED, DIRECTORY};
    known_heed(known, &file, 1, 1);
    (void)asks(3);
    assert_true(is_there(4, 1));
    answer(0, 10, 10, 10, 1); /* of before the notice: it was overtaken */
    (void)asks(3);
    known_heed(known, &directory, 1, 2);
    for (unsigned n = 0; n <= 10; n++)
        (void)asks(n);
    answer(0, 10, 10, 10, 1);
    for (unsigned n = 0; n <= 10; n++)
        (void)asks(n);
}

static void own_changes_count(void **state)
{
    (void)state;
    struct meta_attr attr;
    unsigned ahead;
    struct meta_command c = {.op = META_UNLINK, .unlink = {.parent = DIRECTORY, .name = slice_str("n3")}};
    struct meta_reply r = {.attr = attr_of(3, 1),
                           .has_attr = true,
                           .parent = {.ino = DIRECTORY, .nlink = 2},
                           .has_parent = true,
                           .index = 20,
                           .grant = {ATTACHMENT, 0}};
    r.attr.nlink = 0;
    known_change_begin(known, &c);
    answer(0, 10, 10, 10, 1); /* of before, while it is under way */
    (void)asks(3);
    assert_true(is_there(4, 1));
    known_learn_reply(known, &c, &r);
    known_change_end(known, &c);
    assert_int_equal(look_up(3, &attr, &ahead), KNOWN_ABSENT);
    answer(0, 10, 10, 10, 1); /* once more, behind it */
    assert_int_equal(look_up(3, &attr, &ahead), KNOWN_ABSENT);
    answer(0, 10, 10, 21, 2);
    assert_true(is_there(3, 2) && is_there(5, 2));
}

static void it_can_be_switched_off(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 50; n++) {
        assert_int_equal(asks(n), 0);
        answer(n, 0, 0, 10, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_second_name_brings_others_and_their_use_more, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_known_before_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_along_twice_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_learned_than_was_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_change_is_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(own_changes_count, setup, teardown),
        cmocka_unit_test_setup_teardown(it_can_be_switched_off, setup_without, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
