/* Arenas: alignment, no overlap, reuse; and lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/prng.h"

static void test_allocations_do_not_overlap(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static uint8_t *at[COUNT];
    static size_t size[COUNT];
    struct arena a = {0};
    struct prng p;
    prng_seed(&p, 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            size[i] = prng_below(&p, i % 100 == 0 ? 100000 : 200);
            at[i] = arena_alloc(&a, size[i]);
            assert_non_null(at[i]);
            assert_int_equal((uintptr_t)at[i] % 16, 0);
            memset(at[i], i & 255, size[i]);
        }
        for (int i = 0; i < COUNT; i++)
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(at[i][k], i & 255);
        assert_true(arena_size(&a) > 0);
        arena_reset(&a);
        assert_int_equal(arena_size(&a), 0);
    }
    arena_free(&a);
    assert_null(a.chunks);
    arena_free(&a);
}

static void test_copies(void **state)
{
    (void)state;
    struct arena a = {0};
    char source[] = "hello";
    struct slice copy = arena_slice(&a, slice_str(source));
    char *text = arena_str(&a, slice_str(source));
    char *none = arena_str(&a, SLICE(NULL, 0));
    source[0] = 'x';
    assert_true(slice_equal(copy, slice_str("hello")));
    assert_string_equal(text, "hello");
    assert_string_equal(none, "");
    assert_int_equal(arena_slice(&a, SLICE(NULL, 0)).size, 0);
    uint8_t *zero = arena_zalloc(&a, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zero[i], 0);
    arena_free(&a);
}

struct item {
    int value;
    struct list_node node;
};

static void test_list(void **state)
{
    (void)state;
    struct list l;
    struct item items[5];
    list_init(&l);
    assert_true(list_empty(&l));
    assert_null(list_first(&l));
    assert_null(list_pop_front(&l));
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        list_node_init(&items[i].node);
        assert_false(list_linked(&items[i].node));
    }
    list_push_back(&l, &items[2].node);
    list_push_back(&l, &items[3].node);
    list_push_front(&l, &items[1].node);
    list_insert_before(&items[1].node, &items[0].node);
    list_push_back(&l, &items[4].node);
    int next = 0;
    list_for_each (node, &l) {
        assert_int_equal(container_of(node, struct item, node)->value, next);
        next++;
    }
    assert_int_equal(next, 5);
    list_for_each_safe (node, &l) {
        if (container_of(node, struct item, node)->value % 2)
            list_remove(node);
    }
    assert_false(list_linked(&items[1].node));
    for (int i = 0; i < 5; i += 2)
        assert_ptr_equal(list_pop_front(&l), &items[i].node);
    assert_true(list_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_do_not_overlap),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
