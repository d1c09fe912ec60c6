/* One order out of several logs, against the rule said as plainly as it can be; and what makes a put durable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "durability/merge.h"
#include "durability/quorum.h"

#define LETTERS 8u
#define COPIES_MAX 4u

struct logs {
    struct arena arena;
    struct durability_copy copies[COPIES_MAX];
    char text[COPIES_MAX][LETTERS + 1];
    unsigned count;
};

static void set_logs(struct logs *l, unsigned count, char text[][LETTERS + 1])
{
    l->count = count;
    for (unsigned c = 0; c < count; c++) {
        struct durability_copy *copy = &l->copies[c];
        *copy = (struct durability_copy){.count = (unsigned)strlen(text[c])};
        copy->puts = arena_zalloc(&l->arena, (copy->count + 1) * sizeof *copy->puts);
        snprintf(l->text[c], sizeof l->text[c], "%s", text[c]);
        for (unsigned i = 0; i < copy->count; i++)
            copy->puts[i] = (struct durability_put){.session = (uint64_t)text[c][i], .seq = 1, .term = 1};
    }
}

static void merge(struct logs *l, unsigned kept, char to[LETTERS + 1])
{
    struct durability_put *order;
    unsigned count = durability_merge(l->copies, l->count, kept, &l->arena, &order);
    assert_true(count <= LETTERS);
    for (unsigned i = 0; i < count; i++)
        to[i] = (char)order[i].session;
    to[count] = 0;
}

/* ---- the rule, by brute force ---- */

static unsigned having(const struct logs *l, char a)
{
    unsigned n = 0;
    for (unsigned c = 0; c < l->count; c++)
        n += strchr(l->text[c], a) != NULL;
    return n;
}

static bool edge(const struct logs *l, unsigned kept, char a, char b)
{
    unsigned n = 0;
    for (unsigned c = 0; c < l->count; c++) {
        const char *at_a = strchr(l->text[c], a), *at_b = strchr(l->text[c], b);
        if (at_a && (!at_b || at_a < at_b))
            n++;
    }
    return n >= kept;
}

static bool leads(const struct logs *l, unsigned kept, const char *all, char a, char b, unsigned steps)
{
    if (a != b && edge(l, kept, a, b))
        return true;
    for (const char *by = all; *by && steps > 0; by++)
        if (*by != a && edge(l, kept, a, *by) && leads(l, kept, all, *by, b, steps - 1))
            return true;
    return false;
}

static void assert_rule(struct logs *l, unsigned kept)
{
    char order[LETTERS + 1], all[LETTERS + 1];
    unsigned count = 0;
    merge(l, kept, order);
    for (char a = 'a'; a < (char)('a' + LETTERS); a++)
        if (having(l, a) >= kept)
            all[count++] = a;
    all[count] = 0;
    assert_int_equal(strlen(order), count);
    for (unsigned i = 0; i < count; i++)
        assert_non_null(strchr(order, all[i]));
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = i + 1; j < count; j++)
            if (edge(l, kept, order[j], order[i])) /* only one that is part of a circle may be broken */
                assert_true(leads(l, kept, all, order[i], order[j], count));
}

static void test_examples(void **state)
{
    (void)state;
    struct logs l = {0};
    char order[LETTERS + 1];
    char first[][LETTERS + 1] = {"bacd", "bacd", "abc"}, second[][LETTERS + 1] = {"bacd", "abc", ""};
    set_logs(&l, 3, first);
    merge(&l, durability_kept(5), order);
    assert_string_equal(order, "bacd");
    set_logs(&l, 3, second);
    merge(&l, durability_kept(5), order);
    assert_int_equal(strlen(order), 3);
    assert_true(strcmp(order, "abc") == 0 || strcmp(order, "bac") == 0);
    arena_free(&l.arena);
}

/* What one log lacks does not count as being first in it. */
static void test_absent_is_not_first(void **state)
{
    (void)state;
    struct logs l = {0};
    char order[LETTERS + 1], logs[][LETTERS + 1] = {"ba", "ba", "a"}, absent[][LETTERS + 1] = {"ab", "a", "b"};
    set_logs(&l, 3, logs);
    merge(&l, 2, order);
    assert_string_equal(order, "ba");
    set_logs(&l, 3, absent);
    merge(&l, 2, order);
    assert_string_equal(order, "ab");
    arena_free(&l.arena);
}

static void test_circle_is_broken_the_same_way(void **state)
{
    (void)state;
    struct logs l = {0};
    char order[LETTERS + 1];
    char one[][LETTERS + 1] = {"habc", "hbca", "hcab"}, other[][LETTERS + 1] = {"hcab", "habc", "hbca"};
    set_logs(&l, 3, one);
    merge(&l, 2, order);
    assert_string_equal(order, "habc");
    set_logs(&l, 3, other);
    merge(&l, 2, order);
    assert_string_equal(order, "habc");
    arena_free(&l.arena);
}

static void random_log(struct prng *p, char to[LETTERS + 1])
{
    unsigned count = 0;
    for (char a = 'a'; a < (char)('a' + LETTERS); a++)
        if (prng_below(p, 3) > 0)
            to[count++] = a;
    to[count] = 0;
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)prng_below(p, i);
        char t = to[j];
        to[j] = to[i - 1], to[i - 1] = t;
    }
}

static void test_random(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 1);
    for (unsigned n = 0; n < 3000; n++) {
        struct logs l = {0};
        char text[COPIES_MAX][LETTERS + 1];
        unsigned voters = (unsigned)prng_between(&p, 1, 7), count = durability_majority(voters);
        for (unsigned c = 0; c < count; c++)
            random_log(&p, text[c]);
        set_logs(&l, count, text);
        assert_rule(&l, durability_kept(voters));
        arena_free(&l.arena);
    }
}

/* With three voters both logs must have it, and their orders can't contradict the result. */
static void test_three_voters_keep_every_order(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 2);
    for (unsigned n = 0; n < 1000; n++) {
        struct logs l = {0};
        char text[2][LETTERS + 1], order[LETTERS + 1];
        random_log(&p, text[0]);
        random_log(&p, text[1]);
        set_logs(&l, 2, text);
        merge(&l, 2, order);
        for (unsigned i = 0; order[i]; i++)
            for (unsigned j = i + 1; order[j]; j++)
                assert_false(edge(&l, 2, order[j], order[i]));
        arena_free(&l.arena);
    }
}

static void test_settled_puts_are_left_out(void **state)
{
    (void)state;
    struct logs l = {0};
    char order[LETTERS + 1], text[][LETTERS + 1] = {"abc", "abc"};
    set_logs(&l, 2, text);
    for (unsigned c = 0; c < 2; c++)
        l.copies[c].puts[1].term = 7;
    l.copies[1].settled = 5;
    merge(&l, 2, order);
    assert_string_equal(order, "b");
    arena_free(&l.arena);
}

static void test_copy_travels(void **state)
{
    (void)state;
    struct arena a = {0};
    struct bytes to = {0};
    struct durability_put puts[] = {{.term = 3, .session = 4, .seq = 5, .command = slice_str("x")},
                                    {.term = 3, .session = 4, .seq = 6, .command = slice_str("")}};
    struct durability_copy copy = {.settled = 2, .puts = puts, .count = 2}, back;
    durability_copy_encode(&copy, &to);
    assert_int_equal(durability_copy_decode(bytes_slice(&to), &a, &back), ERR_OK);
    assert_int_equal(back.settled, 2);
    assert_int_equal(back.count, 2);
    assert_true(slice_equal(back.puts[0].command, puts[0].command) && back.puts[1].seq == 6);
    for (size_t size = 0; size < to.size; size++)
        assert_int_equal(durability_copy_decode(SLICE(to.data, size), &a, &back), ERR_PROTOCOL);
    put_u32be(to.data + 8, UINT32_MAX); /* a count that would need much memory */
    assert_int_equal(durability_copy_decode(bytes_slice(&to), &a, &back), ERR_PROTOCOL);
    bytes_free(&to);
    arena_free(&a);
}

/* ---- acknowledgements ---- */

static void test_numbers(void **state)
{
    (void)state;
    const unsigned needed[] = {0, 1, 2, 3, 3, 4, 5, 6, 6, 7};
    for (unsigned n = 1; n < ARRAY_SIZE(needed); n++) {
        unsigned m = durability_majority(n), k = durability_kept(n), a = durability_needed(n);
        assert_int_equal(a, needed[n]);
        assert_true(a <= n && a + m - n >= k && 2 * k > m);
    }
    assert_false(durability_exclusive(3));
    assert_true(durability_exclusive(5));
}

static void test_acknowledgements(void **state)
{
    (void)state;
    const struct durability_ack leader = {.id = 1, .term = 4, .config_index = 9, .voters = 3, .leader = true};
    struct durability_ack ack = {.id = 2, .term = 4, .config_index = 9, .voters = 3};
    struct durability_acks acks = {.count = 0};
    assert_false(durability_acks_add(&acks, &ack));
    assert_false(durability_acks_add(&acks, &leader));
    assert_false(durability_acks_add(&acks, &ack)); /* one voter counts once */
    ack.id = 3, ack.term = 5;
    assert_false(durability_acks_add(&acks, &ack));
    ack.term = 4, ack.config_index = 8;
    assert_false(durability_acks_add(&acks, &ack));
    ack.config_index = 9;
    assert_true(durability_acks_add(&acks, &ack));
    struct durability_acks headless = {.count = 0};
    for (unsigned i = 1; i <= 3; i++) {
        ack.id = i;
        assert_false(durability_acks_add(&headless, &ack));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_absent_is_not_first),
        cmocka_unit_test(test_circle_is_broken_the_same_way),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_three_voters_keep_every_order),
        cmocka_unit_test(test_settled_puts_are_left_out),
        cmocka_unit_test(test_copy_travels),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_acknowledgements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
