/* The ring of changes of keys: bounded, and what one entry has done stays together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "replica/kv_ring.h"

static void add(struct kv_ring *r, uint64_t index, unsigned count)
{
    struct meta_kv_event events[8];
    for (unsigned i = 0; i < count; i++)
        events[i] = (struct meta_kv_event){
            .kind = META_KV_CHANGED, .index = index, .version = index + i, .key = slice_str("a key of some length")};
    kv_ring_add(r, events, count);
}

static void it_is_bounded_and_says_what_is_missing(void **state)
{
    (void)state;
    struct kv_ring *r = kv_ring_new(64 * KIB);
    const struct meta_kv_event *events;
    kv_ring_reset(r, 10);
    assert_int_equal(kv_ring_floor(r), 10);
    assert_int_equal(kv_ring_after(r, 0, &events), 0);
    for (uint64_t i = 11; i < 3000; i += 2)
        add(r, i, (unsigned)(i % 8));
    uint64_t floor = kv_ring_floor(r), at = floor;
    assert_true(floor > 1000 && floor < 2999 && floor % 2 == 1);
    for (unsigned count; (count = kv_ring_after(r, at, &events)) > 0; at = events[0].index) {
        assert_int_equal(events[0].index, at + 2);
        assert_int_equal(count, events[0].index % 8);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(events[i].version, events[0].index + i);
            assert_true(slice_equal(events[i].key, slice_str("a key of some length")));
        }
    }
    assert_int_equal(at, 2999);
    kv_ring_reset(r, 4000);
    assert_int_equal(kv_ring_after(r, 0, &events), 0);
    add(r, 4001, 0); /* an entry that changed no key leaves nothing */
    assert_int_equal(kv_ring_after(r, 0, &events), 0);
    add(r, 4001, 3);
    assert_int_equal(kv_ring_after(r, 4000, &events), 3);
    assert_int_equal(kv_ring_after(r, 4001, &events), 0);
    kv_ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_bounded_and_says_what_is_missing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
