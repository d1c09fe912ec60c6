/* Configurations as bytes: they are a storage format and come from other members. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/prng.h"
#include "raft/raft.h"

#define MEMBER_BYTES (4 + 16 + 1 + 1) /* without its address */
#define FLAGS_AT (3 + 4 + 16)         /* of the first member */

static struct raft_config joint_config(void)
{
    struct raft_config c = {.joint = true, .count = 4};
    c.members[0] = (struct raft_member){.id = 1, .voter = true, .old_voter = true, .address = "a:1"};
    c.members[1] = (struct raft_member){.id = 2, .old_voter = true, .leaving = true, .address = "[::1]:65535"};
    c.members[2] = (struct raft_member){.id = 7, .voter = true, .identity = {1, 2, 3}};
    c.members[3] = (struct raft_member){.id = UINT32_MAX, .identity = {255, 0, 255}};
    memset(c.members[3].address, 'x', LIMIT_ADDRESS_BYTES);
    return c;
}

static void assert_same(const struct raft_config *a, const struct raft_config *b)
{
    assert_int_equal(a->joint, b->joint);
    assert_int_equal(a->count, b->count);
    for (unsigned i = 0; i < a->count; i++) {
        const struct raft_member *m = &a->members[i], *n = &b->members[i];
        assert_int_equal(m->id, n->id);
        assert_memory_equal(m->identity, n->identity, sizeof m->identity);
        assert_int_equal(m->voter, n->voter);
        assert_int_equal(m->old_voter, n->old_voter);
        assert_int_equal(m->leaving, n->leaving);
        assert_string_equal(m->address, n->address);
    }
}

static void test_what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct raft_config configs[] = {joint_config(), {.count = 0}, {.count = LIMIT_NODES}}, back;
    for (unsigned i = 0; i < LIMIT_NODES; i++) {
        configs[2].members[i] = (struct raft_member){.id = i + 1, .voter = i == 3};
        snprintf(configs[2].members[i].address, sizeof configs[2].members[i].address, "host%u:1", i);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(configs); i++) {
        struct bytes b = {0};
        raft_config_encode(&configs[i], &b);
        assert_int_equal(raft_config_decode(bytes_slice(&b), &back), ERR_OK);
        assert_same(&configs[i], &back);
        bytes_free(&b);
    }
}

/* Entries of today must be readable to later versions: these bytes may not change. */
static void test_format_stays(void **state)
{
    (void)state;
    static const uint8_t expected[] = {1, 0, 1, 0, 0, 0, 5, 9, 0, 0, 0, 0,   0,   0,
                                       0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 'h', ':', '1'};
    struct raft_config c = {.count = 1, .members = {{.id = 5, .identity = {9}, .voter = true, .address = "h:1"}}};
    struct bytes b = {0};
    raft_config_encode(&c, &b);
    assert_int_equal(b.size, sizeof expected);
    assert_memory_equal(b.data, expected, sizeof expected);
    bytes_free(&b);
}

static void assert_corrupt(struct slice s)
{
    struct raft_config c = {.count = 77};
    /* A copy of its own, so that a read behind the end is seen. */
    _cleanup_free_ uint8_t *copy = s.size > 0 ? mem_dup(s.data, s.size) : mem_alloc(1);
    assert_int_equal(raft_config_decode(SLICE(copy, s.size), &c), ERR_CORRUPT);
    assert_int_equal(c.count, 77); /* untouched */
}

static void test_cut_off_and_too_long(void **state)
{
    (void)state;
    struct raft_config c = joint_config();
    struct bytes b = {0};
    raft_config_encode(&c, &b);
    for (size_t size = 0; size < b.size; size++)
        assert_corrupt(SLICE(b.data, size));
    bytes_u8(&b, 0);
    assert_corrupt(bytes_slice(&b));
    bytes_free(&b);
}

/* What no encoder wrote, made from what one has by changing one byte. */
static void assert_corrupt_with(const struct raft_config *c, size_t at, uint8_t value)
{
    struct bytes b = {0};
    raft_config_encode(c, &b);
    assert_true(at < b.size);
    b.data[at] = value;
    assert_corrupt(bytes_slice(&b));
    bytes_free(&b);
}

static void test_contradictions(void **state)
{
    (void)state;
    struct raft_config one = {.count = 1, .members = {{.id = 5, .voter = true, .address = "h:1"}}};
    struct raft_config two = {.count = 2, .members = {{.id = 5, .voter = true}, {.id = 6}}}, none = {.count = 0};
    assert_corrupt_with(&one, 0, 0); /* format */
    assert_corrupt_with(&one, 0, 2);
    assert_corrupt_with(&one, 1, 2);               /* joint is 0 or 1 */
    assert_corrupt_with(&one, 2, LIMIT_NODES + 1); /* more members than there may be */
    assert_corrupt_with(&one, 2, 255);
    assert_corrupt_with(&one, 6, 0);                    /* id 0 */
    assert_corrupt_with(&one, FLAGS_AT, 0);             /* no voter */
    assert_corrupt_with(&one, FLAGS_AT, 8 | 1);         /* a flag that nobody knows */
    assert_corrupt_with(&one, FLAGS_AT, 2 | 1);         /* an old voter, and not joint */
    assert_corrupt_with(&one, FLAGS_AT, 4 | 1);         /* leaving, and not joint */
    assert_corrupt_with(&one, FLAGS_AT + 1, 2);         /* an address that is too short, */
    assert_corrupt_with(&one, FLAGS_AT + 1, 4);         /* too long, */
    assert_corrupt_with(&one, FLAGS_AT + 3, 0);         /* or ends within */
    assert_corrupt_with(&one, 1, 1);                    /* joint without an old voter */
    assert_corrupt_with(&none, 1, 1);                   /* joint without anybody */
    assert_corrupt_with(&two, 3 + MEMBER_BYTES + 3, 5); /* an id twice */
    assert_corrupt_with(&two, 3 + MEMBER_BYTES + 3, 4); /* out of order */
    struct raft_config joint = joint_config();
    assert_corrupt_with(&joint, FLAGS_AT, 4 | 2 | 1); /* a voter that leaves */
    assert_corrupt_with(&joint, FLAGS_AT, 4);         /* a learner that leaves: it would just go */
}

/* Whatever is taken is what its encoder would write: there are no two ways to say the same. */
static void test_noise(void **state)
{
    (void)state;
    struct prng prng;
    unsigned taken = 0;
    prng_seed(&prng, 1);
    for (unsigned round = 0; round < 200000; round++) {
        struct raft_config c = joint_config(), back;
        struct bytes b = {0}, again = {0};
        raft_config_encode(&c, &b);
        for (uint64_t changes = prng_below(&prng, 4) + 1; changes > 0; changes--)
            b.data[prng_below(&prng, b.size)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        size_t size = prng_below(&prng, 4) > 0 ? b.size : (size_t)prng_below(&prng, b.size);
        if (raft_config_decode(SLICE(b.data, size), &back) == ERR_OK) {
            raft_config_encode(&back, &again);
            assert_true(slice_equal(SLICE(b.data, size), bytes_slice(&again)));
            taken++;
        }
        bytes_free(&b);
        bytes_free(&again);
    }
    assert_true(taken > 1000); /* identities and addresses may be anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_encoded_is_decoded),
        cmocka_unit_test(test_format_stays),
        cmocka_unit_test(test_cut_off_and_too_long),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
