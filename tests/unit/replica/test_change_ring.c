/* The ring of changes: what it keeps, and where it says that inodes were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "replica/change_ring.h"

static struct change change_of(uint64_t index, enum wire_change_op op, uint64_t ino, uint64_t parent, const char *name)
{
    return (struct change){.index = index, .op = op, .ino = ino, .parent = parent, .name = slice_str(name)};
}

static void it_is_bounded_and_says_what_is_missing(void **state)
{
    (void)state;
    struct change_ring *r = change_ring_new(64 * KIB);
    change_ring_reset(r, 10);
    assert_int_equal(change_ring_floor(r), 10);
    assert_null(change_ring_after(r, 0));
    for (uint64_t i = 11; i < 5000; i += 2) {
        struct change c = change_of(i, WIRE_CHANGE_UNLINK, i, 1, "a name of some length");
        change_ring_add(r, &c);
    }
    uint64_t floor = change_ring_floor(r), at = floor;
    assert_true(floor > 3000 && floor < 4999);
    for (const struct change *c; (c = change_ring_after(r, at)); at = c->index) {
        assert_int_equal(c->index, at + 2);
        assert_int_equal(c->ino, c->index);
        assert_true(slice_equal(c->name, slice_str("a name of some length")));
    }
    assert_int_equal(at, 4999);
    assert_int_equal(change_ring_after(r, floor + 1)->index, floor + 2);
    change_ring_reset(r, 20);
    assert_null(change_ring_after(r, 0));
    struct change c = change_of(21, WIRE_CHANGE_UNLINK, 5, 1, "x");
    change_ring_add(r, &c);
    assert_int_equal(change_ring_after(r, 0)->index, 21);
    change_ring_free(r);
}

static void place_is(const struct change_ring *r, uint64_t ino, uint64_t index, struct meta_place now, const char *name)
{
    change_ring_roll_back(r, ino, index, &now);
    assert_true(slice_equal(now.name, slice_str(name)));
}

static void of_several_links_one_that_was_there_is_told(void **state)
{
    (void)state;
    const struct meta_place none = {0};
    struct change_ring *r = change_ring_new(CHANGE_RING_BYTES);
    struct change list[] = {
        change_of(2, WIRE_CHANGE_LINK, 5, 1, "b"),
        change_of(4, WIRE_CHANGE_UNLINK, 5, 1, "b"),
        change_of(6, WIRE_CHANGE_UNLINK, 5, 1, "a"),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
        change_ring_add(r, &list[i]);
    place_is(r, 5, 6, none, "");
    place_is(r, 5, 5, none, "a");
    place_is(r, 5, 3, none, "a");
    place_is(r, 5, 1, none, "a");
    change_ring_reset(r, 0);
    for (unsigned i = 0; i < 2; i++)
        change_ring_add(r, &list[i]);
    place_is(r, 5, 3, none, "b");
    place_is(r, 5, 1, none, ""); /* it was not b then, and nobody knows what else */
    place_is(r, 5, 1, (struct meta_place){1, slice_str("a")}, "a");
    change_ring_free(r);
}

/* Inodes that each have one name among few, moved at random; where each was after each change is remembered. */
#define INODES 6u
#define CHANGES 4000u
struct history {
    char names[CHANGES + 1][INODES][8]; /* "": gone */
    uint64_t parents[CHANGES + 1][INODES];
};

static void name_some(struct prng *p, char name[8], unsigned serial)
{
    snprintf(name, 8, "%c%u", (int)('a' + prng_below(p, 3)), serial);
}

static void move_some(struct prng *p, struct change_ring *r, struct history *h, unsigned at)
{
    unsigned i = (unsigned)prng_below(p, INODES), other = (unsigned)prng_below(p, INODES);
    char name[8];
    memcpy(h->names[at], h->names[at - 1], sizeof h->names[at]);
    memcpy(h->parents[at], h->parents[at - 1], sizeof h->parents[at]);
    if (!h->names[at][i][0])
        return;
    struct change c = {.index = at,
                       .ino = i + 1,
                       .parent = h->parents[at][i],
                       .name = slice_str(h->names[at - 1][i]),
                       .new_parent = prng_below(p, 3) + 1};
    name_some(p, name, at);
    c.op = prng_below(p, 100) == 0 ? WIRE_CHANGE_RMDIR : WIRE_CHANGE_RENAME;
    if (c.op == WIRE_CHANGE_RMDIR) {
        h->names[at][i][0] = 0;
        c.new_parent = 0;
    } else if (other != i && h->names[at][other][0] && prng_below(p, 2)) {
        c.op = prng_below(p, 50) == 0 ? WIRE_CHANGE_RENAME : WIRE_CHANGE_EXCHANGE;
        c.other_ino = other + 1;
        c.new_parent = h->parents[at - 1][other];
        snprintf(name, sizeof name, "%s", h->names[at - 1][other]);
        snprintf(h->names[at][other], 8, "%s", c.op == WIRE_CHANGE_EXCHANGE ? h->names[at - 1][i] : "");
        h->parents[at][other] = h->parents[at - 1][i];
    }
    if (c.op != WIRE_CHANGE_RMDIR) {
        c.new_name = slice_str(name);
        snprintf(h->names[at][i], 8, "%s", name);
        h->parents[at][i] = c.new_parent;
    }
    change_ring_add(r, &c);
}

static void where_everything_was_is_known(void **state)
{
    (void)state;
    static struct history h;
    struct prng p;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        prng_seed(&p, seed);
        struct change_ring *r = change_ring_new(seed % 2 ? CHANGE_RING_BYTES : 32 * KIB);
        for (unsigned i = 0; i < INODES; i++) {
            snprintf(h.names[0][i], 8, "n%u", i);
            h.parents[0][i] = 1;
        }
        for (unsigned at = 1; at <= CHANGES; at++)
            move_some(&p, r, &h, at);
        for (uint64_t at = change_ring_floor(r); at <= CHANGES; at++) {
            for (unsigned i = 0; i < INODES; i++) {
                struct meta_place now = {h.parents[CHANGES][i], slice_str(h.names[CHANGES][i])};
                if (!h.names[CHANGES][i][0])
                    now = (struct meta_place){0};
                change_ring_roll_back(r, i + 1, at, &now);
                assert_true(slice_equal(now.name, slice_str(h.names[at][i])));
                assert_true(now.name.size == 0 || now.parent == h.parents[at][i]);
            }
        }
        change_ring_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_bounded_and_says_what_is_missing),
        cmocka_unit_test(of_several_links_one_that_was_there_is_told),
        cmocka_unit_test(where_everything_was_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
