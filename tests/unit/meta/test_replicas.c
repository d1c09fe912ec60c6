/* How many copies each block shall have: a part of the map, and another number is another version of it. */
#include "tests/unit/meta/commands.h"

struct told {
    uint64_t version;
    uint32_t replicas;
};

static struct told told(struct fixture *f)
{
    struct meta_query query = {.op = META_QUERY_CLUSTER};
    struct meta_query_reply reply;
    struct arena a = {0};
    assert_int_equal(meta_query(f->meta, &query, &a, &reply), ERR_OK);
    assert_int_equal(reply.status, ERR_OK);
    struct told t = {reply.cluster.map_version, reply.cluster.replicas};
    arena_free(&a);
    return t;
}

static void set_replicas(struct fixture *f, uint32_t count)
{
    assert_status(fixture_apply(f, (struct meta_command){.op = META_REPLICAS, .replicas.count = count}), ERR_OK);
}

static void another_number_is_another_map(void **state)
{
    struct fixture *f = *state;
    struct told first = told(f);
    assert_int_equal(first.replicas, META_REPLICAS_DEFAULT);
    set_replicas(f, META_REPLICAS_DEFAULT);
    assert_int_equal(told(f).version, first.version);
    set_replicas(f, 1);
    assert_int_equal(told(f).replicas, 1);
    assert_int_equal(told(f).version, first.version + 1);
    set_replicas(f, 1);
    assert_int_equal(told(f).version, first.version + 1);
    set_replicas(f, LIMIT_REPLICAS);
    assert_int_equal(told(f).replicas, LIMIT_REPLICAS);
}

static void it_is_kept(void **state)
{
    struct fixture *f = *state;
    set_replicas(f, 5);
    struct told before = told(f);
    fixture_reopen(f);
    assert_int_equal(told(f).replicas, 5);
    assert_int_equal(told(f).version, before.version);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(another_number_is_another_map), TEST(it_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
