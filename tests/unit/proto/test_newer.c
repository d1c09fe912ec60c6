/* What a newer program says is refused, not taken for something else by leaving out what is not known; but nodes of
 * different age understand each other's messages. */
#include "by_hand.h"
#include "proto/wire_replica.h"

static enum err command_decode(void)
{
    struct meta_command c;
    return wire_meta_command_decode(written(), &a, &c, &why);
}

static void reap_of(unsigned extra_in_body, unsigned extra)
{
    number(1, 7);
    if (extra_in_body)
        number(extra_in_body, 1);
    struct slice body = written();
    number(1, META_REAP), blob(26, body);
    if (extra)
        number(extra, 1);
}

static void a_command_with_unknown_fields_is_of_a_newer_program(void **state)
{
    (void)state;
    reap_of(0, 0);
    accepted(command_decode());
    reap_of(99, 0);
    newer(command_decode(), "op", "fields");
    reap_of(0, 120);
    newer(command_decode(), "op", "fields");
}

static void a_message_in_a_body(unsigned extra)
{
    number(1, META_LOCK_POSIX), number(2, META_LOCK_READ), number(3, 0), number(4, 5);
    if (extra)
        number(extra, 1);
    struct slice lock = written();
    number(1, 1), blob(2, lock);
    struct slice body = written();
    number(1, META_LOCK), blob(32, body);
}

static void unknown_fields_are_found_at_any_depth(void **state)
{
    (void)state;
    a_message_in_a_body(0);
    accepted(command_decode());
    a_message_in_a_body(88);
    newer(command_decode(), "op", "fields");
}

static void kv_of(unsigned extra_in_second)
{
    struct slice changes[2];
    for (unsigned i = 0; i < 2; i++) {
        number(1, META_KV_DELETE), number(2, META_KV_BYTES), blob(3, i ? slice_str("b") : slice_str("a"));
        if (i == 1 && extra_in_second)
            number(extra_in_second, 1);
        changes[i] = written();
    }
    blob(1, changes[0]), blob(1, changes[1]);
    struct slice body = written();
    number(1, META_KV), blob(56, body);
}

static void unknown_fields_are_found_in_lists(void **state)
{
    (void)state;
    kv_of(0);
    accepted(command_decode());
    kv_of(77);
    newer(command_decode(), "op", "fields");
}

static void an_unknown_command_or_query_is_of_a_newer_program(void **state)
{
    (void)state;
    struct meta_query q;
    number(1, META_OP_LAST + 1);
    newer(command_decode(), "command.op", "31");
    number(1, META_QUERY_LAST + 1);
    newer(wire_meta_query_decode(written(), &a, &q, &why), "query.op", "newer");
    number(1, META_QUERY_CLUSTER), number(99, 5);
    newer(wire_meta_query_decode(written(), &a, &q, &why), "query.op", "fields");
}

static void nodes_of_different_age_understand_each_other(void **state)
{
    (void)state;
    struct wire_hello h;
    struct replica_message m;
    number(1, WIRE_ROLE_NODE), number(2, 1), number(3, 9), number(4, 1), number(101, 3);
    accepted(wire_hello_decode(written(), &a, &h, &why));
    number(1, REPLICA_REMOVED), number(2, 1), number(3, 2), number(11, 7), number(15, 2), number(101, 3);
    accepted(wire_replica_decode(written(), SLICE(NULL, 0), &a, &m, &why));
    assert_int_equal(m.level_max, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_with_unknown_fields_is_of_a_newer_program),
        TEST(unknown_fields_are_found_at_any_depth),
        TEST(unknown_fields_are_found_in_lists),
        TEST(an_unknown_command_or_query_is_of_a_newer_program),
        TEST(nodes_of_different_age_understand_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
