/* Who copies what to whom: told by hand for small maps, and for random ones that all servers together do what has to be
 * done, and each copy once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "blockstore/upkeep.h"

#define SECOND INT64_C(1000000000)

static struct sha256 block_numbered(uint64_t number)
{
    struct sha256 id;
    sha256_of(SLICE(&number, sizeof number), &id);
    return id;
}

static struct upkeep_map map_of(unsigned count, unsigned replicas, unsigned self)
{
    struct upkeep_map m = {.version = 1, .count = count, .replicas = replicas, .self = self};
    for (unsigned i = 0; i < count; i++)
        m.servers[i] = (struct placement_server){.id = i + 1, .weight = 100};
    return m;
}

static void test_health(void **state)
{
    (void)state;
    assert_int_equal(upkeep_health_of(true, 0, 1000 * SECOND, SECOND), UPKEEP_UP);
    assert_int_equal(upkeep_health_of(false, 10 * SECOND, 11 * SECOND - 1, SECOND), UPKEEP_SILENT);
    assert_int_equal(upkeep_health_of(false, 10 * SECOND, 11 * SECOND, SECOND), UPKEEP_AWAY);
}

static void test_stand_in(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 50; n++) {
        struct sha256 id = block_numbered(n);
        struct upkeep_map m = map_of(5, 3, 0);
        struct upkeep_owners whole, without;
        upkeep_owners_of(&m, &id, &whole);
        uint64_t first = UPKEEP_BIT(whole.order[0]), second = UPKEEP_BIT(whole.order[1]),
                 third = UPKEEP_BIT(whole.order[2]), fourth = UPKEEP_BIT(whole.order[3]);
        assert_true(whole.exact && whole.set == (first | second | third));
        m.health[whole.order[1]] = UPKEEP_SILENT; /* its place is kept */
        upkeep_owners_of(&m, &id, &without);
        assert_true(without.exact && without.set == whole.set);
        m.health[whole.order[1]] = UPKEEP_AWAY;
        upkeep_owners_of(&m, &id, &without);
        assert_true(!without.exact && without.set == (first | third | fourth));
        m.health[whole.order[1]] = UPKEEP_UP;
        m.health[whole.order[4]] = UPKEEP_AWAY; /* none of its business */
        upkeep_owners_of(&m, &id, &without);
        assert_true(without.exact && without.set == whole.set);
    }
    struct sha256 id = block_numbered(1);
    struct upkeep_map small = map_of(2, 3, 0);
    struct upkeep_owners all;
    upkeep_owners_of(&small, &id, &all);
    assert_true(all.exact && all.set == 3);
}

/* Who is drained owns nothing, whoever looks, and gives away what it has. */
static void test_draining(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 50; n++) {
        struct sha256 id = block_numbered(n);
        struct upkeep_map m = map_of(5, 3, 0);
        struct upkeep_owners o;
        struct upkeep_duty d;
        upkeep_owners_of(&m, &id, &o);
        m.self = o.order[1];
        m.servers[m.self].last = true;
        uint64_t owners = UPKEEP_BIT(o.order[0]) | UPKEEP_BIT(o.order[2]) | UPKEEP_BIT(o.order[3]);
        upkeep_owners_of(&m, &id, &o);
        assert_true(o.exact && o.set == owners);
        upkeep_duty_of(&m, &o, owners, 0, &d);
        assert_true(d.push == owners && !d.is_stray);
        upkeep_duty_of(&m, &o, owners, owners, &d);
        assert_true(d.push == 0 && d.is_stray);
    }
}

static void test_duty(void **state)
{
    (void)state;
    struct sha256 id = block_numbered(7);
    struct upkeep_map m = map_of(4, 3, 0);
    struct upkeep_owners o;
    struct upkeep_duty d;
    upkeep_owners_of(&m, &id, &o);
    unsigned first = o.order[0], second = o.order[1], third = o.order[2], other = o.order[3];

    m.self = first; /* the third lacks it; the second, who has it, leaves that to the first */
    upkeep_duty_of(&m, &o, UPKEEP_BIT(second) | UPKEEP_BIT(third), UPKEEP_BIT(second), &d);
    assert_true(d.push == UPKEEP_BIT(third) && d.lacking == d.push && d.unsure == 0 && !d.is_stray);
    m.self = second;
    upkeep_duty_of(&m, &o, UPKEEP_BIT(first) | UPKEEP_BIT(third), UPKEEP_BIT(first), &d);
    assert_true(d.push == 0 && d.lacking == UPKEEP_BIT(third) && d.unsure == 0);
    /* The first can't be asked: the second is the first that is known to have it. */
    upkeep_duty_of(&m, &o, UPKEEP_BIT(third), 0, &d);
    assert_true(d.push == UPKEEP_BIT(third) && d.unsure == UPKEEP_BIT(first));
    /* Only a server that owns nothing of it has it. */
    m.self = other;
    upkeep_duty_of(&m, &o, o.set, 0, &d);
    assert_true(d.push == o.set && !d.is_stray);
    /* An owner has it and makes the copies. */
    upkeep_duty_of(&m, &o, o.set, UPKEEP_BIT(third), &d);
    assert_true(d.push == 0 && !d.is_stray);
    /* One that can't be asked is not taken for one that has it. */
    upkeep_duty_of(&m, &o, UPKEEP_BIT(first) | UPKEEP_BIT(second), UPKEEP_BIT(first) | UPKEEP_BIT(second), &d);
    assert_true(d.push == 0 && !d.is_stray && d.unsure == UPKEEP_BIT(third));
    /* An answer counts only from who was asked. */
    upkeep_duty_of(&m, &o, UPKEEP_BIT(first) | UPKEEP_BIT(second), o.set, &d);
    assert_true(!d.is_stray);
    upkeep_duty_of(&m, &o, o.set, o.set, &d);
    assert_true(d.push == 0 && d.lacking == 0 && d.is_stray);
    o.exact = false;
    upkeep_duty_of(&m, &o, o.set, o.set, &d);
    assert_false(d.is_stray);
    m.self = first;
    o.exact = true;
    upkeep_duty_of(&m, &o, o.set, o.set, &d);
    assert_true(d.push == 0 && !d.is_stray);
}

/* With one view of who is well, and whoever of those has it: afterwards every owner that is up has it, and nothing was
 * sent twice unless no owner had it. */
static void test_all_together(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 3);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned count = 1 + (unsigned)prng_below(&p, 9);
        struct upkeep_map m = map_of(count, 1 + (unsigned)prng_below(&p, 5), 0);
        struct sha256 id = block_numbered(prng_next(&p));
        unsigned able = 0; /* to own it */
        uint64_t up = 0, have = prng_next(&p) & (UPKEEP_BIT(count) - 1);
        for (unsigned i = 0; i < count; i++) {
            m.servers[i].last = i > 0 && prng_below(&p, 6) == 0;
            m.servers[i].zone = prng_below(&p, 4);
            m.health[i] = prng_below(&p, 3) ? UPKEEP_UP : prng_below(&p, 2) ? UPKEEP_SILENT : UPKEEP_AWAY;
            able += !m.servers[i].last;
            up |= m.health[i] == UPKEEP_UP ? UPKEEP_BIT(i) : 0;
        }
        struct upkeep_owners o;
        upkeep_owners_of(&m, &id, &o);
        uint64_t sent = 0, removed = 0;
        bool twice = false;
        for (m.self = 0; m.self < count; m.self++) {
            struct upkeep_duty d;
            if (!(UPKEEP_BIT(m.self) & up & have))
                continue;
            upkeep_duty_of(&m, &o, up, have, &d);
            twice = twice || (sent & d.push);
            sent |= d.push;
            removed |= d.is_stray ? UPKEEP_BIT(m.self) : 0;
            assert_true((d.push & ~(o.set & up & ~have)) == 0 && (d.unsure & up) == 0);
        }
        if (have & up)
            assert_true(sent == (o.set & up & ~have));
        if (o.set & have & up)
            assert_false(twice);
        /* A copy goes only when each of the owners has it. */
        assert_true((removed & o.set) == 0);
        if (removed)
            assert_true((o.set & ~(have & up)) == 0 && (unsigned)__builtin_popcountll(o.set) == MIN(able, m.replicas));
    }
}

static void test_pace(void **state)
{
    (void)state;
    struct upkeep_pace p = {.rate = 1000}, unlimited = {0};
    int64_t now = 5 * SECOND;
    assert_int_equal(upkeep_pace_wait_ns(&p, now), 0);
    upkeep_pace_spend(&p, 500, now);
    assert_int_equal(upkeep_pace_wait_ns(&p, now), SECOND / 2);
    upkeep_pace_spend(&p, 500, now + SECOND / 4);
    assert_int_equal(upkeep_pace_wait_ns(&p, now + SECOND / 4), 3 * SECOND / 4);
    /* What was not used is not saved up. */
    upkeep_pace_spend(&p, 1000, now + 100 * SECOND);
    assert_int_equal(upkeep_pace_wait_ns(&p, now + 100 * SECOND), SECOND);
    upkeep_pace_spend(&unlimited, UINT64_MAX, now);
    assert_int_equal(upkeep_pace_wait_ns(&unlimited, now), 0);
}

static void test_positions(void **state)
{
    (void)state;
    struct sha256 id = {{0}};
    assert_int_equal(upkeep_position(&id, 10000), 0);
    unsigned steps = 0;
    do
        assert_in_range(upkeep_position(&id, 10000), 0, 9999);
    while (steps++ < 70000 && upkeep_skip(&id, 1));
    assert_int_equal(steps, 65536);
    memset(id.bytes, 0xab, sizeof id.bytes);
    assert_true(upkeep_skip(&id, 1));
    assert_int_equal(id.bytes[1], 0xac);
    assert_int_equal(id.bytes[2], 0);
    assert_false(upkeep_skip(&id, 65536 - 0xabac));
    assert_true(upkeep_skip(&id, 65535 - 0xabac));
    assert_int_equal(get_u16be(id.bytes), 65535);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health),    cmocka_unit_test(test_stand_in), cmocka_unit_test(test_duty),
        cmocka_unit_test(test_draining),  cmocka_unit_test(test_pace),     cmocka_unit_test(test_all_together),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
