/* Copies that are said to be bad: each is counted once however many say so and whenever, and what nobody has good bytes
 * of waits longer and longer, and makes room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "blockstore/suspects.h"

static struct sha256 block_numbered(uint64_t number)
{
    struct sha256 id;
    sha256_of(SLICE(&number, sizeof number), &id);
    return id;
}

static void add(struct suspects *s, uint64_t number, bool bad)
{
    struct sha256 id = block_numbered(number);
    assert_true(suspects_add(s, &id, bad));
}

static void assert_begun(struct suspects *s, int64_t now_ns, uint64_t number)
{
    struct sha256 id = block_numbered(number);
    const struct suspect *begun = suspects_begin(s, now_ns);
    assert_non_null(begun);
    assert_true(sha256_equal(&begun->id, &id));
}

/* The scrub has read a block on its worker; before it can say so the same one, which a reader told of, is healed. */
static void test_word_that_comes_late(void **state)
{
    (void)state;
    _cleanup_free_ struct suspects *s = MEM_NEW(struct suspects);
    add(s, 1, false);
    assert_begun(s, 0, 1);
    assert_true(suspects_is_bad(s));
    suspects_healed(s);
    add(s, 1, true);
    assert_int_equal(suspects_bad(s), 1);
    assert_begun(s, 0, 1);
    suspects_is_good(s);
    assert_int_equal(s->found, 1);
    assert_int_equal(s->healed, 1);
    assert_int_equal(suspects_bad(s), 0);
}

static void test_many_who_say_so(void **state)
{
    (void)state;
    _cleanup_free_ struct suspects *s = MEM_NEW(struct suspects);
    add(s, 1, true);
    add(s, 1, false);
    assert_begun(s, 0, 1);
    add(s, 1, true);
    assert_true(suspects_is_bad(s));
    assert_true(suspects_later(s, 0));
    assert_null(suspects_begin(s, NS_PER_S));
    add(s, 1, true);
    assert_begun(s, 2 * NS_PER_S, 1);
    assert_false(suspects_is_bad(s));
    suspects_healed(s);
    assert_null(suspects_begin(s, 1000 * NS_PER_S));
    assert_int_equal(s->found, 1);
    assert_int_equal(s->healed, 1);
}

/* One that was counted and that a put has made good is healed; one that should be here and isn't counts when it is. */
static void test_each_that_is_found_is_healed(void **state)
{
    (void)state;
    _cleanup_free_ struct suspects *s = MEM_NEW(struct suspects);
    add(s, 1, false);
    assert_begun(s, 0, 1);
    assert_true(suspects_is_bad(s));
    suspects_pause(s);
    assert_begun(s, 0, 1);
    suspects_is_good(s);
    add(s, 2, false);
    assert_begun(s, 0, 2);
    suspects_healed(s);
    add(s, 3, false);
    assert_begun(s, 0, 3);
    suspects_drop(s);
    assert_int_equal(s->found, 2);
    assert_int_equal(s->healed, 2);
    assert_int_equal(s->count, 0);
}

static void test_who_was_tried_often_makes_room(void **state)
{
    (void)state;
    _cleanup_free_ struct suspects *s = MEM_NEW(struct suspects);
    for (uint64_t n = 0; n < SUSPECTS_MAX; n++)
        add(s, n, false);
    struct sha256 more = block_numbered(SUSPECTS_MAX);
    assert_false(suspects_add(s, &more, true));
    int64_t now_ns = 0;
    for (unsigned tries = 0; tries < 3; tries++, now_ns += 100 * NS_PER_S) {
        assert_false(suspects_add(s, &more, true));
        assert_begun(s, now_ns, 0);
        assert_int_equal(suspects_later(s, now_ns), tries == 0);
    }
    assert_begun(s, now_ns, 0);
    assert_false(suspects_add(s, &more, true)); /* it keeps its place while it is being healed */
    suspects_pause(s);
    assert_true(suspects_add(s, &more, true));
    assert_int_equal(s->count, SUSPECTS_MAX);
    assert_int_equal(suspects_bad(s), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word_that_comes_late),
        cmocka_unit_test(test_many_who_say_so),
        cmocka_unit_test(test_each_that_is_found_is_healed),
        cmocka_unit_test(test_who_was_tried_often_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
