/* The members that a node knows, and its connections to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "daemon/node.h"
#include "proto/methods.h"

static struct node node;
static uv_loop_t loop;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    node = (struct node){.loop = &loop, .config = {.id = 1, .roles = WIRE_NODE_META}};
    snprintf(node.config.advertise.text, sizeof node.config.advertise.text, "127.0.0.1:1");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_members_close(&node);
    uv_run(&loop, UV_RUN_DEFAULT);
    arena_free(&node.hello_arena);
    return uv_loop_close(&loop);
}

/* Nobody listens there. */
static void set_members(unsigned count)
{
    struct raft_config config = {.count = count};
    for (unsigned i = 0; i < count; i++) {
        config.members[i].id = i + 1;
        config.members[i].voter = true;
        snprintf(config.members[i].address, sizeof config.members[i].address, "127.0.0.1:%u", i + 1);
    }
    node_members_set(&node, &config);
}

static unsigned ended;

/* As the block reporter does: whoever leads is asked again. */
static void ask_again(void *context, const struct rpc_response *response)
{
    const struct member *m = node_member(&node, 3);
    (void)context;
    assert_int_equal(response->status, ERR_CLOSED);
    ended++;
    if (m && m->peer)
        rpc_peer_send(m->peer, METHOD_RAFT, SLICE(NULL, 0), SLICE(NULL, 0));
}

static void test_calls_to_a_member_that_goes_end(void **state)
{
    (void)state;
    ended = 0;
    set_members(3);
    struct member *m = node_member(&node, 3);
    assert_non_null(m);
    rpc_peer_call(m->peer, METHOD_BLOCK_REPORT, SLICE(NULL, 0), SLICE(NULL, 0), clock_boot_ns() + 60 * NS_PER_S,
                  ask_again, NULL);
    set_members(2);
    assert_int_equal(ended, 1);
    assert_null(node_member(&node, 3));
    assert_non_null(node_member(&node, 2));
}

static uint64_t hello_of(uint32_t id, uint8_t identity)
{
    struct arena arena = {0};
    struct err_text why = {""};
    struct wire_hello hello = {.role = id ? WIRE_ROLE_NODE : WIRE_ROLE_CLIENT,
                               .version_min = WIRE_VERSION_MIN,
                               .version_max = WIRE_VERSION_MAX,
                               .node_id = id,
                               .identity = {identity},
                               .name = slice_str("test"),
                               .address = slice_str("127.0.0.1:3")};
    uint64_t tag = UINT64_MAX;
    assert_int_equal(node_on_hello(&node, wire_hello_encode(&hello, &arena), &tag, &why), ERR_OK);
    assert_int_equal(node_of_tag(tag), id);
    arena_free(&arena);
    return tag;
}

static void assert_identity(uint64_t tag, uint8_t identity)
{
    const uint8_t *found = node_identity_of_tag(&node, tag);
    assert_non_null(found);
    assert_int_equal(found[0], identity);
}

/* A member that was given up with its disk and lives, and the one that has its place. */
static void test_two_data_directories_under_one_id(void **state)
{
    (void)state;
    set_members(3);
    uint64_t old = hello_of(3, 7);
    assert_identity(old, 7);
    uint64_t new = hello_of(3, 8), again = hello_of(3, 8);
    assert_identity(old, 7);
    assert_identity(new, 8);
    assert_identity(again, 8);
    assert_null(node_identity_of_tag(&node, hello_of(3, 9)));
    node_on_close(&node, old);
    assert_null(node_identity_of_tag(&node, old));
    uint64_t third = hello_of(3, 9);
    assert_identity(third, 9);
    assert_identity(new, 8);
    assert_null(node_identity_of_tag(&node, hello_of(0, 0)));
    /* It is known as long as it speaks to us. */
    set_members(2);
    node_on_close(&node, third);
    node_on_close(&node, new);
    assert_identity(again, 8);
    node_on_close(&node, again);
    set_members(2);
    assert_null(node_member(&node, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls_to_a_member_that_goes_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_data_directories_under_one_id, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
